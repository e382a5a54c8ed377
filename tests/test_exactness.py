"""Exactness: mass, positivity, symmetry, the Gibbs state, the lattice twin; to
rounding, for every kind of ends.
"""

import jax.numpy as jnp
import numpy as np
import pytest

import exact
import fpsolve as fp
from measure import (
    check_conserves,
    check_mass,
    check_positive,
    check_symmetric,
    generator_matrix,
    operator,
    relative_error,
    solve,
    symmetric_form,
)

VOLUMES = [fp.ScharfetterGummel(), fp.SquareRoot()]
WELL = fp.DoubleWell(2.0)
ENDS = {
    "line": fp.Grid(fp.Line(-2.5, 2.5, 40)),
    "reflecting": fp.Grid(fp.Reflecting(-1.7, 2.1, 33)),
    "legendre": fp.Grid(fp.Legendre(-2.0, 2.0, 24)),
    "absorbing": fp.Grid(fp.Absorbing(-2.0, 2.0, 30)),
    "periodic": fp.Grid(fp.Periodic(0.0, 2 * np.pi, 31)),
    "reflecting x periodic": fp.Grid(
        fp.Reflecting(-1.5, 1.5, 12), fp.Periodic(0.0, 2 * np.pi, 11)
    ),
    "periodic x absorbing": fp.Grid(
        fp.Periodic(0.0, 2 * np.pi, 9), fp.Absorbing(-1.5, 1.5, 10)
    ),
    "legendre x line": fp.Grid(fp.Legendre(-1.5, 1.5, 9), fp.Line(-2.0, 2.0, 10)),
    "reflecting x periodic x legendre": fp.Grid(
        fp.Reflecting(-1.5, 1.5, 6),
        fp.Periodic(0.0, 2 * np.pi, 5),
        fp.Legendre(-1.0, 1.0, 4),
    ),
}


def energy_on(grid):
    """A potential that is periodic on rings, a double well in the first other
    coordinate, harmonic in the rest.
    """
    rings = jnp.asarray([isinstance(axis, fp.Periodic) for axis in grid.axes])
    wells = jnp.asarray([2.0, 0.0, 0.0])[: grid.ndim]
    return lambda x: jnp.sum(
        jnp.where(rings, jnp.cos(x), wells * (x**2 - 1) ** 2 + x**2 / 2 + 0.2 * x)
    )


def with_schemes(names):
    """Every name with both schemes of finite volumes."""
    pairs = [(name, scheme) for name in names for scheme in VOLUMES]
    cases = [
        pytest.param(*pair, id=f"{pair[0]}-{type(pair[1]).__name__}") for pair in pairs
    ]
    return pytest.mark.parametrize(("name", "scheme"), cases)


def absorbs(grid):
    return any(isinstance(axis, fp.Absorbing) for axis in grid.axes)


@with_schemes(ENDS)
def test_finite_volume_matrices_are_what_they_claim(name, scheme):
    grid = ENDS[name]
    made = operator(scheme, fp.FokkerPlanck(energy_on(grid), 0.7), grid)
    h = symmetric_form(made)
    rates = generator_matrix(made)
    root = np.exp(np.asarray(made.log_sqrt_pi)).ravel()
    w = np.asarray(grid.weights).ravel()
    check_symmetric(h)
    assert np.linalg.eigvalsh(h)[0] >= -1e-13 * np.abs(h).max()
    assert np.allclose(
        rates,
        -root[:, None] * h / np.sqrt(w)[:, None] * np.sqrt(w) / root,
        atol=1e-13 * np.abs(rates).max(),
    )
    assert np.all(rates - np.diag(np.diag(rates)) >= 0)
    if not absorbs(grid):
        check_conserves(rates, grid.weights)
        for slope in made.factor(jnp.exp(made.log_sqrt_pi)):
            assert float(jnp.max(jnp.abs(slope))) <= 1e-13 * np.sqrt(np.abs(h).max())


@pytest.mark.parametrize("name", [name for name in ENDS if "reflecting" not in name])
def test_spectral_matrices_are_symmetric_with_a_real_spectrum_from_zero(name):
    grid = ENDS[name]
    h = symmetric_form(
        operator(fp.Spectral(), fp.FokkerPlanck(energy_on(grid), 0.7), grid)
    )
    check_symmetric(h)
    # a pure sum of squares
    if all(isinstance(axis, fp.Legendre) for axis in grid.axes):
        assert np.linalg.eigvalsh(h)[0] >= -1e-12 * np.abs(h).max()


@pytest.mark.parametrize("name", ["legendre", "periodic", "legendre x line"])
def test_spectral_fluxes_conserve_mass_under_a_force(name):
    grid = ENDS[name]
    push = lambda x: 0.5 + 0.3 * jnp.sin(x[::-1])
    check_conserves(
        generator_matrix(
            operator(fp.Spectral(), fp.FokkerPlanck(None, 0.7, push), grid)
        ),
        grid.weights,
        1e-12,
    )


@pytest.mark.parametrize(
    "name", ["line", "reflecting", "periodic", "reflecting x periodic"]
)
def test_the_square_root_scheme_is_the_lattice_laplacian_plus_a_well(name):
    grid, diffusion = ENDS[name], 0.7
    made = operator(fp.SquareRoot(), fp.FokkerPlanck(energy_on(grid), diffusion), grid)
    laplacian = np.zeros((grid.size, grid.size))
    for i, axis in enumerate(grid.axes):
        step = np.diff(np.eye(axis.n), axis=0)
        if isinstance(axis, fp.Periodic):
            step = np.vstack([step, np.eye(axis.n)[0] - np.eye(axis.n)[-1]])
        one = -step.T @ step / (axis.length / axis.n) ** 2
        sides = [np.eye(other.n) for other in grid.axes]
        sides[i] = one
        laplacian += sides[0] if grid.ndim == 1 else np.kron(*sides)
    root = np.exp(np.asarray(made.log_sqrt_pi)).ravel()
    twin = -diffusion * laplacian + np.diag(diffusion * (laplacian @ root) / root)
    h = symmetric_form(made)
    assert np.abs(h - twin).max() <= 1e-14 * np.abs(h).max()


@with_schemes(["reflecting", "reflecting x periodic"])
def test_the_gibbs_state_stands_still_for_ten_thousand_units_of_time(name, scheme):
    grid = ENDS[name]
    equation = fp.FokkerPlanck(energy_on(grid), 0.7)
    gibbs = equation.gibbs(grid)
    solution = fp.evolve(equation, gibbs, [1e4], grid=grid, scheme=scheme)
    assert float(grid.integrate(jnp.abs(solution.values[-1] - gibbs))) <= 1e-10
    check_mass(solution)


@with_schemes(["reflecting", "periodic", "legendre", "reflecting x periodic"])
def test_finite_volumes_keep_mass_and_sign_from_a_single_cell(name, scheme):
    grid = ENDS[name]
    spike = jnp.zeros(grid.size).at[grid.size // 3].set(1.0).reshape(grid.shape)
    times = [1e-3, 0.1, 3.0, 1e4]
    solution = fp.evolve(
        fp.FokkerPlanck(energy_on(grid), 0.7),
        grid.density(spike),
        times,
        grid=grid,
        scheme=scheme,
    )
    check_mass(solution)
    check_positive(solution)


@pytest.mark.parametrize("strength", [1.0, 300.0])
@pytest.mark.parametrize("name", ["periodic", "reflecting x periodic", "legendre"])
def test_uniformisation_keeps_mass_and_sign_under_any_force(name, strength):
    grid = ENDS[name]
    push = lambda x: strength * (1.0 + jnp.sin(x[::-1] + 0.3))
    equation = fp.FokkerPlanck(energy_on(grid), 0.3, push)
    spike = grid.density(
        jnp.zeros(grid.size).at[grid.size // 3].set(1.0).reshape(grid.shape)
    )
    method = fp.Uniformization()
    scheme = fp.ScharfetterGummel()
    solution = fp.evolve(
        equation, spike, [1e-3, 0.05], grid=grid, scheme=scheme, method=method
    )
    check_mass(solution)
    assert float(jnp.min(solution.values)) >= 0.0


@pytest.mark.parametrize("name", ["absorbing", "periodic x absorbing"])
def test_absorbing_walls_only_ever_take_mass(name):
    grid = ENDS[name]
    solution = fp.evolve(
        fp.FokkerPlanck(energy_on(grid), 0.7),
        lambda x: 1.0,
        [0.01, 0.1, 1.0],
        grid=grid,
        scheme=fp.ScharfetterGummel(),
    )
    assert np.all(np.diff([1.0, *np.asarray(solution.mass)]) < 0)
    check_positive(solution)


@pytest.mark.parametrize(
    ("scheme", "n", "most"),
    [(fp.Spectral(), 12, 1e-3), (fp.ScharfetterGummel(), 12, 0.1)],
    ids=["spectral", "volumes"],
)
def test_four_dimensions_run_through_the_same_lines(scheme, n, most):
    numbers = (
        np.diag([1.0, 1.2, 0.9, 1.1]) + 0.1,
        np.zeros(4),
        1.0,
        0.3 * np.ones(4),
        0.8 * np.eye(4),
    )
    system = exact.Oscillator(*(jnp.asarray(number) for number in numbers), half=4.5)
    solution = solve(system, n, 0.2, scheme=scheme)
    assert solution.values.shape == (1, n, n, n, n)
    assert relative_error(system, solution) <= most
    if isinstance(scheme, fp.ScharfetterGummel):
        assert solution.stats["mass_drift"] <= 1e-12
        check_positive(solution)


@pytest.mark.parametrize(
    "scheme", [*VOLUMES, fp.Spectral()], ids=lambda s: type(s).__name__
)
def test_a_run_repeats_to_the_bit(scheme):
    runs = [
        solve(exact.still()["oscillator"], 64, 0.3, scheme=scheme).values
        for _ in range(2)
    ]
    assert np.array_equal(*map(np.asarray, runs))


@pytest.mark.parametrize(
    "name", ["periodic", "legendre", "absorbing", "reflecting x periodic"]
)
def test_chebyshev_uniformisation_and_the_dense_exponential_agree(name):
    grid = ENDS[name]
    equation = fp.FokkerPlanck(energy_on(grid), 0.7)
    scheme = fp.ScharfetterGummel()
    start = grid.density(lambda x: jnp.exp(-jnp.sum((x - 0.5) ** 2)))
    runs = [
        fp.evolve(
            equation,
            start,
            [0.05, 0.5],
            grid=grid,
            scheme=scheme,
            method=method,
            tol=1e-10,
        ).values
        for method in (fp.Dense(), fp.Chebyshev(), fp.Uniformization())
    ]
    for run in runs[1:]:
        assert float(jnp.max(grid.integrate(jnp.abs(run - runs[0])))) <= 1e-11

"""Functions that jump, have kinks, or diffusions that vanish: on finite volumes,
against exact answers.

ring, U and f piecewise linear   p = e^{-phi} (K - int e^phi) / Z,  phi = (U - f x) / D,  in closed form by pieces
Ito, b = 0, between walls        p ~ 1 / D;  in the flux form p is constant
Wright-Fisher, D = x (1 - x) / 2 levels k (k + 1) / 2 and tau = -2 (x ln x + (1 - x)
ln(1 - x)) between absorbing ends
    with mutation (Jacobi)       levels k (theta + (k - 1) / 2), a beta density
D = x, drift a - x (Feller)      levels k, a gamma density
D = (0, 1), linear drift         a normal density, moments by the matrix exponential
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, special, stats

import fpsolve as fp
from fpsolve.operator.subcells import changes
from fpsolve.plan.resolution import numerical_diffusion, why_no_basis
from measure import check_order

VOLUMES = fp.ScharfetterGummel()


class Pieces(eqx.Module):
    """A function of period 1, linear between breaks: at(x) = start + slope (x - break),
    with jumps and kinks.
    """

    breaks: tuple = eqx.field(static=True)
    starts: tuple = eqx.field(static=True)
    slopes: tuple = eqx.field(static=True)

    def __call__(self, x):
        y = jnp.mod(x[0], 1.0)
        value = jnp.zeros_like(y)
        for left, start, slope in zip(
            self.breaks, self.starts, self.slopes, strict=True
        ):
            value = jnp.where(y >= left, start + slope * (y - left), value)
        return value


BARRIER = Pieces((0.0, 0.3, 0.6), (0.0, 2.0, 0.0), (0.0, 0.0, 0.0))
OFF_FACES = Pieces((0.0, 0.3137, 0.6211), (0.0, 2.0, 0.0), (0.0, 0.0, 0.0))
SAWTOOTH = Pieces((0.0, 0.8), (0.0, 1.0), (1.25, -5.0))
BOTH = Pieces((0.0, 0.2371, 0.6877), (0.0, -1.0, 0.4), (1.1, 2.0, -0.4 / (1 - 0.6877)))


def ring_exact(pieces: Pieces, force: float, diffusion: float) -> tuple[complex, float]:
    """The mean of e^{2 pi i x} and the current of a stationary process on a ring, by
    Gauss rules in the pieces.
    """
    nodes, weights = np.polynomial.legendre.leggauss(40)
    ends = [*pieces.breaks, 1.0]
    done, parts = 0.0, []
    for k, (start, slope) in enumerate(zip(pieces.starts, pieces.slopes, strict=True)):
        a, b = ends[k], ends[k + 1]
        phi = lambda x, a=a, start=start, slope=slope: (
            (start + slope * (x - a) - force * x) / diffusion
        )
        integral = lambda c, d, phi=phi: (
            (d - c) / 2 * weights @ np.exp(phi(c + (d - c) * (nodes + 1) / 2))
        )
        x = a + (b - a) * (nodes + 1) / 2
        parts.append(
            (
                x,
                weights * (b - a) / 2,
                phi(x),
                done + np.asarray([integral(a, c) for c in x]),
            )
        )
        done += integral(a, b)
    factor = np.exp(force / diffusion)
    whole = factor * done / (factor - 1)
    density = [(x, w, np.exp(-phi) * (whole - inner)) for x, w, phi, inner in parts]
    mass = sum(w @ p for _, w, p in density)
    return sum(
        (w * p) @ np.exp(2j * np.pi * x) for x, w, p in density
    ) / mass, diffusion / mass


def ring(
    pieces: Pieces, force: float, diffusion: float, n: int
) -> tuple[complex, float]:
    """The same by finite volumes, and the flux through the first face."""
    grid = fp.Grid(fp.Periodic(0.0, 1.0, n))
    equation = fp.FokkerPlanck(pieces, diffusion, lambda x: force + 0 * x)
    density = fp.spectrum(equation, grid, 1, scheme=VOLUMES).stationary
    operator = VOLUMES.build(equation, grid, 0.0, float, False)
    current = operator.up[0][0] * density[0] - operator.down[0][0] * density[1]
    mean = complex(
        grid.integrate(density * jnp.exp(2j * jnp.pi * grid.nodes[0]))
    ) * np.sinc(1 / n)
    return mean, float(current)


def test_a_barrier_with_a_force_on_a_ring() -> None:
    grid = fp.Grid(fp.Periodic(0.0, 1.0, 100))
    modes = fp.spectrum(fp.FokkerPlanck(BARRIER, force=lambda x: 3.0 + 0 * x), grid, 1)
    inside = (grid.nodes[0] > 0.3) & (grid.nodes[0] < 0.6)
    assert (
        abs(float(grid.integrate(jnp.where(inside, modes.stationary, 0))) - 0.0707)
        < 1e-4
    )
    assert "jump" in modes.stats["scheme"]
    assert abs(ring(BARRIER, 3.0, 1.0, 100)[1] - 1.49313) < 3e-5


@pytest.mark.parametrize(
    ("pieces", "force", "diffusion"), [(BARRIER, 3.0, 1.0), (SAWTOOTH, 0.5, 0.2)]
)
def test_order_two_for_jumps_on_faces_and_for_kinks(
    pieces: Pieces, force: float, diffusion: float
) -> None:
    mean, current = ring_exact(pieces, force, diffusion)
    sizes = [40, 80, 160, 320]
    found = [ring(pieces, force, diffusion, n) for n in sizes]
    check_order([abs(m - mean) for m, _ in found], sizes)
    check_order([abs(j - current) for _, j in found], sizes)


@pytest.mark.parametrize(
    ("pieces", "force", "diffusion"), [(OFF_FACES, 3.0, 1.0), (BOTH, -1.3, 0.4)]
)
def test_order_two_wherever_jumps_lie(
    pieces: Pieces, force: float, diffusion: float
) -> None:
    """The constant depends on where in its cell a jump lies, so the error is compared
    with h^2 and not by a slope.

    A jump that is moved to a face, as by differences between nodes alone, has an error
    of order h.
    """
    mean, current = ring_exact(pieces, force, diffusion)
    for n in (50, 100, 200, 400):
        found, flux = ring(pieces, force, diffusion, n)
        assert abs(found - mean) < 4.0 / n**2
        assert abs(flux / current - 1) < 8.0 / n**2


def test_the_sawtooth_at_both_sizes() -> None:
    """With 201 nodes a basis was chosen, which gave 0.4084."""
    for n in (201, 64):
        grid = fp.Grid(fp.Periodic(0.0, 1.0, n))
        modes = fp.spectrum(
            fp.FokkerPlanck(SAWTOOTH, 0.2, lambda x: 0.5 + 0 * x), grid, 1
        )
        assert modes.stats["scheme"].startswith("ScharfetterGummel")
        mean = float(
            grid.integrate(modes.stationary * jnp.cos(2 * jnp.pi * grid.nodes[0]))
        )
        assert abs(mean - 0.40240) < 2.5 / n**2


def test_a_force_that_jumps_has_its_own_line_integral() -> None:
    """A force -2, then 1.5, between walls: a density of two exponentials with a kink at
    0.4321.
    """
    edge = 0.4321
    force = lambda x: jnp.where(x < edge, -2.0, 1.5)
    phi = lambda x: np.where(x < edge, 2 * x, 2 * edge - 1.5 * (x - edge))
    for n in (50, 100, 200):
        grid = fp.Grid(fp.Reflecting(0.0, 1.0, n))
        density = fp.spectrum(fp.FokkerPlanck(force=force), grid, 1).stationary
        log_ratio = (
            np.log(np.asarray(density / density[0]))
            + phi(np.asarray(grid.nodes[0]))
            - phi(0.5 / n)
        )
        assert np.max(np.abs(log_ratio)) < 1e-5


@pytest.mark.parametrize("edge", [1.0, 0.7318])
def test_a_diffusion_that_jumps(edge: float) -> None:
    """In the Ito form p is as 1 / D, in the flux form constant, wherever D jumps."""
    diffusion = lambda x: jnp.where(x[0] < edge, 1.0, 3.0)
    grid = fp.Grid(fp.Line(0.0, 2.0, 100))
    nodes = np.asarray(grid.nodes[0])
    part = np.clip((edge - nodes) / 0.02 + 0.5, 0, 1)  # of each cell on the left
    exact = part + (1 - part) / 3
    density = np.asarray(
        fp.spectrum(fp.FokkerPlanck.ito(lambda x: 0 * x, diffusion), grid, 1).stationary
    )
    np.testing.assert_allclose(density, exact / np.sum(exact) / 0.02, rtol=1e-5)
    density = np.asarray(
        fp.spectrum(fp.FokkerPlanck(None, diffusion), grid, 1).stationary
    )
    np.testing.assert_allclose(density, 0.5, rtol=1e-10)


def test_the_equilibrium_of_a_jump_is_the_average_over_cells() -> None:
    """Without force, on a line: detailed balance, also in the cell with the jump, and
    mass.
    """
    step = lambda x: jnp.where(x[0] < 0.5173, 0.0, 3.0)
    grid = fp.Grid(fp.Reflecting(0.0, 1.0, 50))
    operator = VOLUMES.build(fp.FokkerPlanck(step), grid, 0.0, float, True)
    part = np.clip((0.5173 - np.asarray(grid.nodes[0])) * 50 + 0.5, 0, 1)
    exact = part + (1 - part) * np.exp(-3.0)
    np.testing.assert_allclose(
        np.exp(2 * operator.log_sqrt_pi), exact / np.sum(exact) * 50, rtol=1e-5
    )
    assert np.max(np.abs(operator.generator(jnp.exp(2 * operator.log_sqrt_pi)))) < 1e-9


WRIGHT_FISHER = fp.FokkerPlanck.ito(lambda x: 0 * x, lambda x: x * (1 - x) / 2)


def test_wright_fisher_between_absorbing_ends() -> None:
    levels = fp.spectrum(WRIGHT_FISHER, fp.Grid(fp.Absorbing(0.0, 1.0, 200)), 4).values
    np.testing.assert_allclose(levels.real, [1, 3, 6, 10], rtol=3e-3)
    errors = []
    sizes = [51, 101, 201, 401]
    for n in sizes:
        grid = fp.Grid(fp.Absorbing(0.0, 1.0, n))
        tau = fp.mean_first_passage_time(WRIGHT_FISHER, grid, lambda x: False)
        errors.append(abs(float(tau[n // 2]) - 2 * np.log(2)))
    assert errors[-1] < 1e-5
    check_order(errors, sizes)
    x = np.asarray(grid.nodes[0])
    inner = (x > 0.05) & (x < 0.95)
    exact = -2 * (special.xlogy(x, x) + special.xlogy(1 - x, 1 - x))
    np.testing.assert_allclose(np.asarray(tau)[inner], exact[inner], rtol=2e-4)


def test_wright_fisher_between_reflecting_ends_is_a_martingale() -> None:
    grid = fp.Grid(fp.Reflecting(0.0, 1.0, 100))
    start = grid.density(fp.Gaussian(0.3, 0.003))
    solution = fp.evolve(
        WRIGHT_FISHER, start, [0.5, 5.0], grid=grid, observables={"x": lambda x: x[0]}
    )
    mean = float(grid.integrate(start * grid.nodes[0]))
    np.testing.assert_allclose(solution.observables["x"], mean, rtol=1e-7)
    assert abs(mean - 0.3) < 1e-6
    # At late times the mass is in the cells at both ends, in the ratio that keeps the
    # mean.
    assert float(solution.values[1][-1]) / 100 == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("rate", [0.3, 1.0, 2.5])
def test_a_diffusion_proportional_to_x(rate: float) -> None:
    """dX = (a - X) dt + sqrt(2 X) dW: for a < 1 the density is infinite at the end,
    which is reached.
    """
    grid = fp.Grid(fp.Reflecting(0.0, 25.0, 400))
    modes = fp.spectrum(fp.FokkerPlanck.ito(lambda x: rate - x, lambda x: x), grid, 3)
    exact = np.diff(stats.gamma.cdf(grid.axes[0].edges, rate))
    assert np.sum(np.abs(np.asarray(modes.stationary) * 25 / 400 - exact)) < 6e-4
    np.testing.assert_allclose(modes.values.real, [0, 1, 2], atol=0.02)


def test_mutation_and_drift() -> None:
    """Wright-Fisher with mutation: a beta density that is infinite at both ends."""
    theta = 0.4
    equation = fp.FokkerPlanck.ito(
        lambda x: theta * (0.3 - x), lambda x: x * (1 - x) / 2
    )
    grid = fp.Grid(fp.Reflecting(0.0, 1.0, 100))
    modes = fp.spectrum(equation, grid, 3)
    exact = np.diff(
        stats.beta.cdf(grid.axes[0].edges, 2 * theta * 0.3, 2 * theta * 0.7)
    )
    assert np.sum(np.abs(np.asarray(modes.stationary) / 100 - exact)) < 1e-4
    np.testing.assert_allclose(modes.values.real, [0, 0.4, 1.8], atol=0.015)


@pytest.mark.parametrize("n", [50, 51])
def test_a_zero_inside_holds_what_enters(n: int) -> None:
    """Ito D = x^2, b = 0: nothing crosses zero, at a face and at a node; the mean stays
    on either side.
    """
    grid = fp.Grid(fp.Reflecting(-1.0, 1.0, n))
    equation = fp.FokkerPlanck.ito(lambda x: 0 * x, lambda x: x**2)
    solution = fp.evolve(
        equation,
        grid.density(lambda x: jnp.exp(-100 * (x[0] - 0.5) ** 2) * (x[0] > 0)),
        [2.0],
        grid=grid,
    )
    left = jnp.where(grid.nodes[0] < -1e-9, solution.values[0], 0)
    assert float(grid.integrate(left)) < 1e-10
    assert np.all(np.isfinite(solution.values))


MATRIX = np.array([[0.0, 1.0], [-1.0, -1.0]])
UNDERDAMPED = fp.FokkerPlanck(
    diffusion=[0.0, 1.0], force=lambda x: jnp.asarray(MATRIX) @ x
)


def test_underdamped_motion_is_of_order_one_and_says_so() -> None:
    """<x^2> at t = 1 from the covariance 0.3, of a noisy oscillator: its error is that
    of the diffusion reported.
    """
    flow = linalg.expm(MATRIX)
    exact = (flow @ (0.3 * np.eye(2) - np.eye(2)) @ flow.T + np.eye(2))[0, 0]
    errors, added = [], []
    sizes = [24, 36, 48, 72]
    for n in sizes:
        grid = fp.Grid(fp.Line(-5.0, 5.0, n), fp.Line(-5.0, 5.0, n))
        solution = fp.evolve(
            UNDERDAMPED,
            fp.Gaussian([0.0, 0.0], 0.3),
            [1.0],
            grid=grid,
            tol=1e-6,
            observables={"x": lambda x: x[0] ** 2},
        )
        assert float(jnp.min(solution.values)) > -1e-12
        errors.append(abs(float(solution.observables["x"][0]) - exact))
        added.append(
            float(
                grid.integrate(
                    numerical_diffusion(UNDERDAMPED, grid)[..., 0] * solution.values[0]
                )
            )
        )
    check_order(errors, sizes, 1)
    # In a time of one the added diffusion D' widens x by about 2 D' t.
    assert all(
        0.3 < error / (2 * d) < 3 for error, d in zip(errors, added, strict=True)
    )


def test_the_added_diffusion_has_its_two_limits() -> None:
    grid = fp.Grid(fp.Line(0.0, 1.0, 10))
    push = lambda diffusion: fp.FokkerPlanck(
        diffusion=diffusion, force=lambda x: 2.0 + 0 * x
    )
    small = jax.jit(lambda d: numerical_diffusion(push(d), grid))(50.0)
    np.testing.assert_allclose(small, 2.0**2 * 0.1**2 / (12 * 50.0), rtol=1e-5)
    np.testing.assert_allclose(numerical_diffusion(push(1e-6), grid), 0.1, rtol=1e-4)
    plane = fp.Grid(fp.Line(0.0, 1.0, 10), fp.Line(0.0, 1.0, 10))
    still = fp.FokkerPlanck(
        diffusion=[0.0, 1.0], force=lambda x: jnp.stack([2.0 + 0 * x[0], 0 * x[1]])
    )
    np.testing.assert_allclose(
        numerical_diffusion(still, plane)[..., 0], 0.1, rtol=1e-12
    )


def test_no_basis_for_what_its_derivatives_miss() -> None:
    """Jumps and kinks wherever they lie between nodes are seen, smooth functions are
    not taken for them.
    """
    grid = fp.Grid(fp.Periodic(0.0, 1.0, 40))
    force = lambda x: 1.0 + 0 * x
    for place in np.linspace(0.4, 0.425, 9):
        kink = fp.FokkerPlanck(lambda x, c=place: jnp.abs(x[0] - c), force=force)
        assert why_no_basis(kink, fp.Grid(fp.Line(0.0, 1.0, 40))) is not None
        jump = fp.FokkerPlanck(None, 1.0, lambda x, c=place: jnp.where(x < c, 1.0, 2.0))
        assert why_no_basis(jump, grid) is not None
    for k in (1, 2, 5, 9):
        smooth = fp.FokkerPlanck(
            lambda x, k=k: jnp.cos(2 * jnp.pi * k * x[0]),
            lambda x: 2 + jnp.sin(2 * jnp.pi * x),
            force,
        )
        assert why_no_basis(smooth, grid) is None
    assert (
        why_no_basis(WRIGHT_FISHER, fp.Grid(fp.Absorbing(0.0, 1.0, 40)))
        == "the diffusion vanishes"
    )


def test_smooth_functions_show_no_changes() -> None:
    """Control: a threshold of one would take parabolas for jumps."""
    x = np.linspace(-1, 1, 41)
    for smooth in (x**2, x**3, np.cos(7 * x), np.exp(-20 * x**2), np.ones(41)):
        assert not np.any(changes(jnp.asarray(smooth), 0))
    assert (
        np.sum(changes(jnp.asarray(np.where(x < 0.312, 0, 1e-3) + x**2 * 1e-3), 0)) == 1
    )


@pytest.mark.parametrize("varying", [False, True])
@pytest.mark.parametrize("as_force", [False, True])
def test_functions_that_are_infinite_at_a_wall(varying: bool, as_force: bool) -> None:
    """The distance from the centre of a trap in three dimensions: levels 0, 2, 4, by U
    = -2 log r or by f = 2 / r.
    """
    diffusion = (lambda x: 1.0 + 0.0 * x[0]) if varying else 1.0
    if as_force:
        equation = fp.FokkerPlanck(lambda x: x[0] ** 2 / 2, diffusion, lambda x: 2 / x)
    else:
        equation = fp.FokkerPlanck(
            lambda x: x[0] ** 2 / 2 - 2 * jnp.log(x[0]), diffusion
        )
    found = fp.spectrum(equation, fp.Grid(fp.Reflecting(0.0, 9.0, 200)), 3, check=False)
    np.testing.assert_allclose(np.real(found.values), [0, 2, 4], atol=2e-2)


def test_a_node_on_a_wall_has_one_half() -> None:
    """Legendre nodes lie on the walls; where f is zero, e^{-U} stays, whatever D is."""
    grid = fp.Grid(fp.Legendre(-2.0, 2.0, 40))
    equation = fp.FokkerPlanck(lambda x: x[0] ** 2, lambda x: 1 + x[0] ** 2 / 8)
    start = fp.Gaussian(0.5, 0.2)
    found = fp.evolve(equation, start, 40.0, grid=grid, scheme=VOLUMES)
    basis = fp.evolve(equation, start, 40.0, grid=grid, scheme=fp.Spectral())
    np.testing.assert_allclose(
        found.values, basis.values, atol=5e-3 * float(jnp.max(basis.values))
    )


def test_derivatives_and_batches_through_jumps_and_zeros() -> None:
    def gap(height):
        equation = fp.FokkerPlanck(
            lambda x: height * jnp.where((x[0] > 0.31) & (x[0] < 0.6), 1.0, 0.0),
            force=lambda x: 3.0 + 0 * x,
        )
        return (
            fp.spectrum(equation, fp.Grid(fp.Periodic(0.0, 1.0, 30)), 2, scheme=VOLUMES)
            .values[1]
            .real
        )

    def jacobi(theta):
        equation = fp.FokkerPlanck.ito(
            lambda x: theta * (0.3 - x), lambda x: x * (1 - x) / 2
        )
        return (
            fp.spectrum(equation, fp.Grid(fp.Reflecting(0.0, 1.0, 30)), 2)
            .values[1]
            .real
        )

    for function, at in ((gap, 2.0), (jacobi, 0.4)):
        difference = (function(at + 1e-3) - function(at - 1e-3)) / 2e-3
        assert float(jax.jit(jax.grad(function))(at)) == pytest.approx(
            float(difference), rel=1e-5
        )
        batch = jax.vmap(function)(jnp.asarray([at, 1.2 * at]))
        np.testing.assert_allclose(batch, [function(at), function(1.2 * at)], rtol=1e-9)

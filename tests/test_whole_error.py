"""The whole error of an evolution: time, nodes, box and start, against exact answers on
grids that are too coarse, too narrow, or just right. Truth tests: the exact density of
an Ornstein-Uhlenbeck process at the nodes.
"""

import dataclasses
import importlib
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.plan.run import run as run_plan
from fpsolve.solve.second_look import look
from harmonic_runs import exact, harmonic, run, true_error


@pytest.mark.parametrize(
    ("half", "n", "mean", "variance"),
    [
        (2.0, 64, 0.0, 0.2),
        (3.0, 48, 0.7, 0.3),
        (6.0, 64, 1.0, 0.5),
        (6.0, 24, -0.5, 0.4),
        (9.0, 64, 2.0, 0.1),
    ],
)
@pytest.mark.parametrize(
    "scheme", [None, fp.ScharfetterGummel()], ids=["chosen", "volumes"]
)
def test_the_reported_error_bounds_the_true_one(half, n, mean, variance, scheme):
    solution = run(
        fp.Grid(fp.Line(-half, half, n)), mean, variance, [0.1, 1.0, 5.0], scheme=scheme
    )
    true = true_error(solution, mean, variance)
    reported = np.asarray(solution.error)
    assert np.all(true <= 3 * reported + 1e-12), (true, reported)
    parts = solution.errors
    np.testing.assert_allclose(
        sum(np.asarray(part) for part in parts.values()), reported, rtol=1e-9
    )


def test_a_box_that_is_too_narrow_says_so():
    with pytest.warns(fp.AccuracyWarning, match="wider box"):
        solution = run(fp.Grid(fp.Line(-2.0, 2.0, 64)), 0.0, 0.2, [5.0])
    assert solution.result == "grid_too_coarse"
    assert float(solution.errors["box"][0]) > 0.03
    assert float(solution.error[0]) > 3e-2


def test_no_warning_where_the_grid_is_good():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solution = run(fp.Grid(fp.Line(-8.0, 8.0, 96)), 0.3, 0.5, [0.5, 2.0], tol=1e-7)
    assert solution.result == "successful" and float(jnp.max(solution.error)) < 1e-7


def test_without_a_check_one_run_shows_a_part():
    good = run(fp.Grid(fp.Line(-8.0, 8.0, 96)), 0.3, 0.5, [0.5], check=False)
    bad = run(fp.Grid(fp.Line(-2.0, 2.0, 64)), 0.0, 0.2, [5.0], check=False)
    assert good.stats["check"].startswith("run") and float(good.error[0]) < 1e-6
    assert float(bad.error[0]) > 3e-2


def test_under_jit_a_start_that_the_nodes_miss_is_part_of_the_error():
    grid = fp.Grid(fp.Line(-6.0, 6.0, 64))

    @jax.jit
    def solve(variance):
        found = fp.evolve(
            fp.FokkerPlanck(harmonic),
            fp.Gaussian(0.3, variance),
            [0.01, 1.0],
            grid=grid,
        )
        return found.values, found.error

    for variance in (1e-4, 0.5):
        values, error = solve(variance)
        for t, value, reported in zip((0.01, 1.0), values, error, strict=True):
            density = exact(grid.axes[0].nodes, t, 0.3, variance)
            true = float(jnp.sum(jnp.abs(value - density)) * 12 / 64)
            assert true <= 3 * float(reported) + 1e-9


def test_a_start_on_a_ring_is_wrapped():
    grid = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 65))
    solution = fp.evolve(fp.FokkerPlanck(), fp.Gaussian(0.1, 0.3), [0.5], grid=grid)
    x = np.asarray(grid.nodes[0])
    k = np.arange(1, 30)[:, None]
    exact_density = (
        1 + 2 * np.sum(np.exp(-(k**2) * (0.15 + 0.5)) * np.cos(k * (x - 0.1)), axis=0)
    ) / (2 * np.pi)
    np.testing.assert_allclose(solution.values[0], exact_density, atol=1e-9)


def test_finite_volumes_on_a_ring_of_wells():
    """Six wells on 96 cells: an error of a few percent, which a dense reference on 1536
    cells confirms.
    """
    equation = fp.FokkerPlanck(lambda x: 3 * jnp.cos(6 * x[0]))
    start = lambda x: jnp.exp(jnp.cos(x[0] - 1))
    coarse, fine = (
        fp.evolve(
            equation,
            start,
            [10.0],
            grid=fp.Grid(fp.Periodic(0.0, 2 * np.pi, n)),
            scheme=fp.ScharfetterGummel(),
            check=n < 100,
        )
        for n in (96, 1536)
    )
    averages = np.asarray(fine.values[0]).reshape(96, 16).mean(1)
    true = float(
        np.sum(np.abs(np.asarray(coarse.values[0]) - averages)) * 2 * np.pi / 96
    )
    assert true <= 3 * float(coarse.error[0]) and float(coarse.error[0]) < 10 * true


def test_a_contraction_that_a_full_run_does_not_confirm_is_given_up():
    """A double well turned by 45 degrees: the mean of the square along its narrow axis
    is that of an oscillator.
    """
    cos = sin = np.sqrt(0.5)
    along = lambda x: cos * x[0] + sin * x[1]
    across = lambda x: cos * x[1] - sin * x[0]
    equation = fp.FokkerPlanck(lambda x: (along(x) ** 2 - 1) ** 2 + across(x) ** 2 / 2)
    grid = fp.Grid(fp.Line(-6.016, 5.954, 63), fp.Line(-5.563, 5.509, 60))
    times = np.array([0.1, 1.0, 20.0])
    start = fp.Gaussian([-cos, -sin], 0.04)
    squares = {"square": lambda x: across(x) ** 2}
    solution = fp.evolve(
        equation, start, times, grid=grid, tol=1e-4, observables=squares
    )
    assert "did not confirm" in solution.stats["method"]
    np.testing.assert_allclose(
        solution.observables["square"], 1 - 0.96 * np.exp(-2 * times), rtol=1e-6
    )
    assert solution.result == "successful" and float(jnp.max(solution.error)) < 1e-4


def test_a_density_that_grows_in_its_basis_gives_way_to_its_wave() -> None:
    """The wave is not resolved to the tolerance, but the density would err by 0.4."""
    equation = fp.FokkerPlanck(
        lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2 * (1 + x[0] ** 2)
    )
    start = fp.Gaussian([-1.0, 0.0], 0.1)
    times = [0.1, 1.0]
    grid = fp.Grid(fp.Line(-2.71, 2.655, 24), fp.Line(-3.31, 3.255, 20))
    with pytest.warns(fp.AccuracyWarning):
        solution = fp.evolve(
            equation, start, times, grid=grid, scheme=fp.Spectral(), tol=1e-5
        )
    assert "grew" in solution.stats["scheme"]
    # each third node is one of `grid`
    fine = fp.Grid(fp.Line(-2.71, 2.655, 72), fp.Line(-3.31, 3.255, 60))
    reference = fp.evolve(
        equation, start, times, grid=fine, scheme=fp.ScharfetterGummel(), check=False
    )
    assert np.allclose(fine.axes[0].nodes[1::3], grid.axes[0].nodes)
    error = np.asarray(
        grid.integrate(jnp.abs(solution.values - reference.values[:, 1::3, 1::3]))
    )
    assert np.all(error < 3 * solution.error + 2e-2)
    assert np.all(solution.error < 1e-3)


@pytest.mark.parametrize("moves", [False, True])
def test_a_start_far_above_an_underflowed_gibbs_density_has_an_error(moves):
    """p / sqrt(pi) is infinite at t = 0 beyond |x| = 3.7, where p = 1e-30: what is
    clipped there is no error.
    """
    static = lambda x: 2 * x[0] ** 4
    equation = fp.FokkerPlanck(
        (lambda x, t: static(x) + 0.1 * t * x[0]) if moves else static, diffusion=0.5
    )
    grid = fp.Grid(fp.Line(-5.0, 5.0, 128))
    solution = fp.evolve(
        equation,
        fp.Gaussian(0.0, 0.1),
        [0.0, 0.5],
        grid=grid,
        scheme=fp.Spectral(),
        tol=1e-6,
    )
    assert solution.stats["picture"] == "wave" and np.all(solution.error < 1e-6)
    nodes = fp.Grid(fp.Line(-1.5, 1.5, 24))
    start = np.asarray(solution.on(nodes)[0])
    assert np.allclose(
        start, np.exp(-(nodes.nodes[0] ** 2) / 0.2) / np.sqrt(0.2 * np.pi), atol=1e-6
    )


@pytest.mark.parametrize(
    ("axis", "narrow"),
    [(fp.Line(-4.0, 4.0, 64), True), (fp.Line(-8.0, 8.0, 20), False)],
)
def test_a_narrow_box_is_told_from_long_cells(axis, narrow):
    equation = fp.FokkerPlanck(harmonic)
    attempt = fp.plan(
        equation, fp.Gaussian(0.0, 0.5), [1.0], grid=fp.Grid(axis), scheme=fp.Spectral()
    )
    found = look(attempt, run_plan(attempt), True)
    assert found.compared and found.worst > 1e-6
    assert found.narrow == narrow


def test_a_grid_that_is_made_finer_has_a_folder_of_its_own(tmp_path, monkeypatch):
    module = importlib.import_module("fpsolve.solve.evolve")
    # A fit that errs by more than the tolerance.
    monkeypatch.setattr(
        module, "CONSTANTS", dataclasses.replace(module.CONSTANTS, fit_fraction=8.0)
    )
    equation = fp.FokkerPlanck(lambda x: x[0] ** 2 / 2)
    start = fp.Gaussian(0.5, 0.3)
    first, again = (
        fp.evolve(equation, start, [0.5], tol=1e-6, checkpoint=tmp_path)
        for _ in range(2)
    )
    assert "made finer" in first.stats["scheme"]
    assert (tmp_path / "finer_1" / "time_000000.npz").exists()
    np.testing.assert_array_equal(again.values, first.values)


@pytest.mark.parametrize("count", [8, 40])
def test_a_start_given_as_an_array_is_compared_from_the_first_moment_on(count):
    # A well that moves, c = t / 2. Its density at rest has the variance 1/2, and falls
    # behind by (1 - exp(-2 t)) / 4.
    grid = fp.Grid(fp.Line(-8.0, 10.0, 96))
    nodes = grid.axes[0].nodes
    gibbs = lambda x: np.exp(-(x**2)) / np.sqrt(np.pi)
    equation = fp.FokkerPlanck(lambda x, t: (x[0] - t / 2) ** 2)
    times = np.geomspace(3e-3, 3.0, count)
    solution = fp.evolve(equation, jnp.asarray(gibbs(nodes)), times, grid=grid)
    means = times / 2 - (1 - np.exp(-2 * times)) / 4
    true = np.sum(
        grid.axes[0].weights
        * np.abs(np.asarray(solution.values) - gibbs(nodes - means[:, None])),
        axis=1,
    )
    reported = np.asarray(solution.error)
    assert reported.shape == (count,)
    assert np.all(true <= 3 * reported + 1e-12), (true, reported)
    # The companion's start has the wave of the run: interpolation of the density alone
    # reports 5e-2 here.
    assert np.all(reported < 1e-6), reported


@pytest.mark.parametrize(
    "axis",
    [
        fp.Periodic(0.0, 2.0, 64),
        fp.Absorbing(0.0, 2.0, 64),
        fp.Legendre(0.0, 2.0, 64),
        fp.Line(-3.0, 5.0, 64),
    ],
)
def test_a_smooth_start_has_no_error_of_its_own(axis):
    # The first waves over a density are compared with dense values: by modes of the
    # axis, which its nodes integrate.
    length = axis.upper - axis.lower
    shape = {
        "periodic": lambda s: jnp.exp(3 * jnp.cos(2 * jnp.pi * (s - 0.3))),
        "absorbing": lambda s: jnp.sin(jnp.pi * s) + 0.4 * jnp.sin(2 * jnp.pi * s),
        "no_flux": lambda s: jnp.exp(1.5 * jnp.cos(jnp.pi * s)),
    }[axis.boundary]
    if isinstance(axis, fp.Line):
        shape = lambda s: jnp.exp(-80 * (s - 0.45) ** 2)
    start = lambda x: shape((x[0] - axis.lower) / length)
    solution = fp.evolve(
        fp.FokkerPlanck(lambda x: 0.0 * x[0], 0.1),
        start,
        [0.05, 0.3],
        grid=fp.Grid(axis),
    )
    assert np.all(np.asarray(solution.errors["start"]) < 1e-8), solution.errors

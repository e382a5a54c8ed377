"""Densities and waves that decay: between absorbing walls, or above a lowest level that
is not zero. Truth tests: what is left is known in closed form, and the reported error
is relative to it, however little it is.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp

TIMES = np.asarray([0.1, 1.0, 3.0, 6.0])


def free_density(nodes, t, modes=64):
    """From (1 + x) on [0, 1] with D = 1/2 between absorbing walls, `(n,)`: sum of 2 <f,
    sin> e^{-D (k pi)^2 t} sin.
    """
    k = np.arange(1, modes + 1) * np.pi
    parts = 2 * (1 - 2 * np.cos(k)) / k
    return np.sin(np.outer(nodes, k)) @ (parts * np.exp(-(k**2) * t / 2))


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
@pytest.mark.parametrize("ndim", [1, 2])
def test_the_error_of_what_absorbing_walls_leave_is_relative_to_it(dtype, ndim):
    grid = fp.Grid(*[fp.Absorbing(0.0, 1.0, 24)] * ndim)
    nodes = grid.axes[0].nodes
    first = free_density(nodes, 0.02)
    start = first if ndim == 1 else np.multiply.outer(first, first)
    equation = fp.FokkerPlanck(lambda x: 0.0 * jnp.sum(x), 0.5)
    options = {
        "method": fp.Chebyshev(()),
        "tol": 1e-10 if dtype == jnp.float64 else 1e-4,
        "check": False,
    }
    solution = fp.evolve(
        equation, jnp.asarray(start, dtype), TIMES, grid=grid, throw=False, **options
    )
    one = [free_density(nodes, t + 0.02) for t in TIMES]
    right = np.asarray(
        one if ndim == 1 else [np.multiply.outer(density, density) for density in one]
    )
    axes = tuple(range(1, 1 + ndim))
    true = np.sum(np.abs(np.asarray(solution.values) - right), axes) / np.sum(
        right, axes
    )
    reported = np.asarray(solution.errors["time"])
    assert np.all(true <= 3 * reported), (true, reported)
    # 1e-13 of the mass is left on a line, 1e-26 in the plane, and keeps its digits.
    assert np.all(true < (1e-9 if dtype == jnp.float64 else 1e-3)), true


@pytest.mark.parametrize(
    "scheme", [fp.ScharfetterGummel(), None], ids=["volumes", "basis"]
)
def test_methods_agree_about_what_a_steep_escape_leaves(scheme):
    grid = fp.Grid(fp.Absorbing(0.0, 1.3, 64))
    equation = fp.FokkerPlanck(
        lambda x: x[0] + 2 * x[0] ** 2 + 0.3 * jnp.cos(4 * x[0]), 0.5
    )
    run = lambda method: fp.evolve(
        equation,
        fp.Gaussian(0.65, 0.01),
        TIMES,
        grid=grid,
        scheme=scheme,
        method=method,
        check=False,
    )
    by_series, by_levels = run(fp.Chebyshev(())), run(fp.Dense())
    difference = np.sum(np.abs(np.asarray(by_series.values - by_levels.values)), 1)
    difference = difference / np.sum(np.asarray(by_levels.values), 1)
    allowed = 3 * np.asarray(by_series.errors["time"] + by_levels.errors["time"])
    assert np.all(difference <= allowed), (difference, allowed)
    assert np.all(difference < 1e-8), difference


def test_a_wave_far_above_zero_keeps_its_digits():
    # -psi'' / 2 + x^2 / 2 + 40 from its second state: e^{-(40 + 3/2) t} is left.
    grid = fp.Grid(fp.Line(-8.0, 8.0, 64))
    x = grid.axes[0].nodes
    first = x * np.exp(-(x**2) / 2)
    times = [0.5, 2.0, 8.0]
    equation = fp.Schrodinger(lambda x: x[0] ** 2 / 2 + 40.0, 0.5)
    solution = fp.evolve(
        equation,
        jnp.asarray(first),
        times,
        grid=grid,
        method=fp.Chebyshev(()),
        check=False,
    )
    right = np.exp(-41.5 * np.asarray(times))[:, None] * first
    true = np.sum(np.abs(np.asarray(solution.values) - right), 1) / np.sum(
        np.abs(right), 1
    )
    assert np.all(true <= 3 * np.asarray(solution.errors["time"]) + 1e-13), (
        true,
        solution.errors["time"],
    )
    # e^8 = 3000 times the rounding, by the lowest state
    assert np.all(true < 1e-7), true


def test_one_run_counts_the_error_of_a_rate_for_as_long_as_it_acts():
    # On finite volumes the rate of escape errs by h^2 pi^2 / 12, and what is left by
    # that times the rate and the time.
    grid = fp.Grid(fp.Absorbing(0.0, 1.0, 24))
    nodes = grid.axes[0].nodes
    equation = fp.FokkerPlanck(lambda x: 0.0 * x[0], 0.5)
    run = lambda start: (
        fp.evolve(
            equation,
            start,
            TIMES,
            grid=grid,
            scheme=fp.ScharfetterGummel(),
            check=False,
        ).error
    )
    right = np.asarray([free_density(nodes, t + 0.02) for t in TIMES])
    start = jnp.asarray(free_density(nodes, 0.02))
    values = fp.evolve(
        equation, start, TIMES, grid=grid, scheme=fp.ScharfetterGummel(), check=False
    ).values
    true = np.sum(np.abs(np.asarray(values) - right), 1) / np.sum(right, 1)
    for reported in (run(start), jax.jit(run)(start)):
        assert np.all(true <= 3 * np.asarray(reported)) and np.all(
            np.asarray(reported) <= 10 * true
        ), (true, reported)


@pytest.mark.parametrize(
    "scheme", [fp.ScharfetterGummel(), None], ids=["volumes", "basis"]
)
@pytest.mark.parametrize("depth", [0.0, 8.0])
def test_another_well_outlives_the_one_of_the_start(scheme, depth):
    # The start is in a well next to a wall, which empties fast. Behind a barrier of 6 D
    # is another one, which keeps what little comes there: at t = 30 and 200 nearly all
    # that is left.
    grid = fp.Grid(fp.Absorbing(-3.0, 3.0, 64))
    potential = lambda x: (
        6 * jnp.exp(-2 * x[0] ** 2) - depth * jnp.exp(-1.5 * (x[0] - 1.5) ** 2)
    )
    start = fp.Gaussian(-2.0, 0.05)
    equation = fp.FokkerPlanck(potential)
    for times in ([3.0, 30.0, 200.0], [30.0]):
        options = {"grid": grid, "scheme": scheme, "check": False}
        by_series = fp.evolve(
            equation, start, times, method=fp.Chebyshev(()), **options
        )
        by_levels = fp.evolve(equation, start, times, method=fp.Dense(), **options)
        left = np.sum(np.asarray(by_levels.values), 1)
        true = np.sum(np.abs(np.asarray(by_series.values - by_levels.values)), 1) / left
        assert np.all(
            true <= 3 * np.asarray(by_series.errors["time"] + by_levels.errors["time"])
        ), true
        assert np.all(true < 1e-9), true


@pytest.mark.parametrize("wick", [0.7, np.pi / 2])
def test_complex_time_between_absorbing_walls(wick):
    # (sin x + sin 3x / 3) e^{...}: with D = 1/2 the parts turn and decay by e^{-k^2 t
    # e^{iw} / 2}.
    grid = fp.Grid(fp.Absorbing(0.0, np.pi, 40))
    x = grid.axes[0].nodes
    times = np.asarray([0.1, 1.0, 4.0])
    equation = fp.Schrodinger(lambda x: 0.0 * x[0], 0.5)
    start = jnp.asarray(np.sin(x) + np.sin(3 * x) / 3)
    solution = fp.evolve(
        equation,
        start,
        times,
        grid=grid,
        wick=wick,
        method=fp.Chebyshev(()),
        check=False,
    )
    factor = np.exp(-times[:, None] * np.exp(1j * wick) / 2)
    right = factor * np.sin(x) + factor**9 * np.sin(3 * x) / 3
    true = np.linalg.norm(np.asarray(solution.values) - right, axis=1) / np.linalg.norm(
        right, axis=1
    )
    assert np.all(true <= 3 * np.asarray(solution.errors["time"])), (
        true,
        solution.errors["time"],
    )
    assert np.all(true < 1e-10), true


def test_a_deep_narrow_well_in_complex_time():
    # The start has little of the lowest state, at about -300, which grows by e^{460}:
    # beyond the square root of the largest number.
    grid = fp.Grid(fp.Line(-10.0, 10.0, 801))
    equation = fp.Schrodinger(lambda x: -1 / jnp.sqrt(x[0] ** 2 + 1e-6))

    def run(times):
        method = fp.Chebyshev(())
        return fp.evolve(
            equation,
            fp.Gaussian(0.3, 0.5),
            times,
            grid=grid,
            wick=0.7,
            method=method,
            check=False,
        ).values

    # By then the lowest state alone is left, and its level is that of the grid's own
    # spectrum.
    level = fp.spectrum(equation, grid, k=1, check=False).values[0]
    assert level < -250
    before, after = np.asarray(run([2.0, 2.0 + 1e-3]))
    largest = np.max(np.abs(before))
    assert np.log(largest) == pytest.approx(-2.0 * np.cos(0.7) * float(level), rel=0.02)
    kept = np.abs(before) > 1e-6 * largest
    np.testing.assert_allclose(
        (after / before)[kept], np.exp(-1e-3 * np.exp(0.7j) * float(level)), rtol=1e-6
    )

"""Densities and waves that decay: between absorbing walls, or above a lowest level that is not zero. Truth tests: what
is left is known in closed form, and the reported error is relative to it, however little it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp

TIMES = np.asarray([0.1, 1.0, 3.0, 6.0])


def free_density(nodes, t, modes=64):
    """From (1 + x) on [0, 1] with D = 1/2 between absorbing walls, `(n,)`: sum of 2 <f, sin> e^{-D (k pi)^2 t} sin."""
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
    options = {"method": fp.Chebyshev(()), "tol": 1e-10 if dtype == jnp.float64 else 1e-4, "check": False}
    solution = fp.evolve(equation, jnp.asarray(start, dtype), TIMES, grid=grid, throw=False, **options)
    one = [free_density(nodes, t + 0.02) for t in TIMES]
    right = np.asarray(one if ndim == 1 else [np.multiply.outer(density, density) for density in one])
    axes = tuple(range(1, 1 + ndim))
    true = np.sum(np.abs(np.asarray(solution.values) - right), axes) / np.sum(right, axes)
    reported = np.asarray(solution.errors["time"])
    assert np.all(true <= 3 * reported), (true, reported)
    # 1e-13 of the mass is left on a line, 1e-26 in the plane, and keeps its digits.
    assert np.all(true < (1e-9 if dtype == jnp.float64 else 1e-3)), true


@pytest.mark.parametrize("scheme", [fp.ScharfetterGummel(), None], ids=["volumes", "basis"])
def test_methods_agree_about_what_a_steep_escape_leaves(scheme):
    grid = fp.Grid(fp.Absorbing(0.0, 1.3, 64))
    equation = fp.FokkerPlanck(lambda x: x[0] + 2 * x[0] ** 2 + 0.3 * jnp.cos(4 * x[0]), 0.5)
    run = lambda method: fp.evolve(
        equation, fp.Gaussian(0.65, 0.01), TIMES, grid=grid, scheme=scheme, method=method, check=False
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
    solution = fp.evolve(equation, jnp.asarray(first), times, grid=grid, method=fp.Chebyshev(()), check=False)
    right = np.exp(-41.5 * np.asarray(times))[:, None] * first
    true = np.sum(np.abs(np.asarray(solution.values) - right), 1) / np.sum(np.abs(right), 1)
    assert np.all(true <= 3 * np.asarray(solution.errors["time"]) + 1e-13), (true, solution.errors["time"])
    assert np.all(true < 1e-7), true  # e^8 = 3000 times the rounding, by the lowest state


def test_one_run_counts_the_error_of_a_rate_for_as_long_as_it_acts():
    # On finite volumes the rate of escape errs by h^2 pi^2 / 12, and what is left by that times the rate and the time.
    grid = fp.Grid(fp.Absorbing(0.0, 1.0, 24))
    nodes = grid.axes[0].nodes
    equation = fp.FokkerPlanck(lambda x: 0.0 * x[0], 0.5)
    run = lambda start: fp.evolve(equation, start, TIMES, grid=grid, scheme=fp.ScharfetterGummel(), check=False).error
    right = np.asarray([free_density(nodes, t + 0.02) for t in TIMES])
    start = jnp.asarray(free_density(nodes, 0.02))
    values = fp.evolve(equation, start, TIMES, grid=grid, scheme=fp.ScharfetterGummel(), check=False).values
    true = np.sum(np.abs(np.asarray(values) - right), 1) / np.sum(right, 1)
    for reported in (run(start), jax.jit(run)(start)):
        assert np.all(true <= 3 * np.asarray(reported)) and np.all(np.asarray(reported) <= 10 * true), (true, reported)

"""Starts that are far from their Gibbs density, or wider than it: their wave
p / sqrt(pi) is beyond the precision, and the density itself is evolved. The truth is
the normal density of a linear drift, whose moments are known.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.interpolate
import scipy.linalg

import fpsolve as fp
from fpsolve.plan import first_plan, validate
from fpsolve.plan.run import run
from fpsolve.propagate import Picture
from fpsolve.solve.turned import on_given_axes


def turned(stiffness: list[float], angle: float) -> np.ndarray:
    """The matrix K `(2, 2)` with the given eigenvalues and turned eigenvectors."""
    turn = np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return turn @ np.diag(stiffness) @ turn.T


def linear(stiffness: np.ndarray, diffusion: float = 1.0) -> fp.FokkerPlanck:
    """The process of U = x K x / 2."""
    return fp.FokkerPlanck(lambda x: x @ jnp.asarray(stiffness) @ x / 2, diffusion)


def normal(
    grid: fp.Grid,
    stiffness: np.ndarray,
    mean: Any,
    variance: float,
    t: float,
    diffusion: float = 1.0,
) -> Any:
    """The density at time t of `linear` from a normal start of equal variances."""
    decay = scipy.linalg.expm(-t * stiffness)
    stationary = diffusion * np.linalg.inv(stiffness)
    covariance = (
        stationary + decay @ (variance * np.eye(len(mean)) - stationary) @ decay.T
    )
    return _normal(grid, decay @ np.asarray(mean), covariance)


def _normal(grid: fp.Grid, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    offsets = np.asarray(grid.points) - mean
    exponents = (
        np.einsum("...i,ij,...j", offsets, np.linalg.inv(covariance), offsets) / 2
    )
    return np.exp(-exponents) / np.sqrt(np.linalg.det(2 * np.pi * covariance))


def distance(solution: fp.Solution, k: int, truth: Any) -> float:
    return float(solution.grid.integrate(jnp.abs(solution.values[k] - truth)))


@pytest.mark.parametrize("far", [10.0, 40.0])
def test_a_poisson_sum_in_a_basis_is_stable_where_the_drift_is_strong(
    far: float,
) -> None:
    # The drift of one cell is up to 25 times its diffusion.
    grid = fp.Grid(fp.Line(-6.0, far + 6.0, round(2 * far) + 41))
    options = {
        "scheme": fp.Spectral(),
        "method": fp.Uniformization(),
        "tol": 1e-4,
        "check": False,
    }
    solution = fp.evolve(
        fp.FokkerPlanck(fp.Harmonic()),
        fp.Gaussian(far, 0.5),
        [1.0, 4.0],
        grid=grid,
        **options,
    )
    for k, t in enumerate((1.0, 4.0)):
        exact = normal(grid, np.eye(1), [far], 0.5, t)
        assert distance(solution, k, exact) < 1e-4


@pytest.mark.parametrize(
    ("stiffness", "mean", "variance", "tol"),
    [
        (np.eye(2), [30.0, 0.0], 1.0, 1e-4),
        (turned([0.5, 2.0], 0.7), [-12.0, 25.0], 0.4, 1e-4),
        (turned([1.0, 3.0], -0.4), [8.0, 8.0], 0.3, 1e-6),
    ],
)
def test_a_far_start_in_the_plane(
    stiffness: np.ndarray, mean: list[float], variance: float, tol: float
) -> None:
    times = [0.1, 0.6]
    solution = fp.evolve(linear(stiffness), fp.Gaussian(mean, variance), times, tol=tol)
    for k, t in enumerate(times):
        true = distance(
            solution, k, normal(solution.grid, stiffness, mean, variance, t)
        )
        assert true <= 3 * float(solution.error[k])
        assert float(solution.error[k]) <= tol


def test_a_far_start_in_a_quartic_well() -> None:
    """U = (a^4 + b^4) / 4: the axes are independent, and each is a problem on a line of
    its own.
    """
    line = lambda x: x[0] ** 4 / 4
    plane = fp.evolve(
        fp.FokkerPlanck(lambda x: (x[0] ** 4 + x[1] ** 4) / 4),
        fp.Gaussian([2.5, 0.0], 0.1),
        [0.2],
        tol=1e-3,
    )
    first, second = plane.grid.axes
    alone = [
        fp.evolve(
            fp.FokkerPlanck(line),
            fp.Gaussian(mean, 0.1),
            [0.2],
            grid=fp.Grid(axis),
            scheme=fp.Spectral(),
        )
        for mean, axis in ((2.5, first), (0.0, second))
    ]
    truth = jnp.multiply.outer(alone[0].values[0], alone[1].values[0])
    assert distance(plane, 0, truth) < 1e-3


def test_what_would_take_too_long_is_refused_for_this_reason() -> None:
    stiffness = turned([1.0, 3000.0], 0.6)
    start = fp.Gaussian([0.5, 0.0], 0.05)
    with pytest.raises(
        ValueError,
        match=r"the density itself would take .* products on .* nodes, about",
    ) as failure:
        fp.fit_grid(linear(stiffness), start, tol=1e-3, times=[0.5])
    # The cost of a Poisson sum grows as the time: so much shorter, a grid is found.
    assert "shorter times" in str(failure.value)
    assert fp.fit_grid(linear(stiffness), start, tol=1e-3, times=[5e-6]).ndim == 2


def ridge(stiff: float, angle: float, variance: float) -> np.ndarray:
    """A covariance along the ridge of `turned([1, stiff], angle)`."""
    return np.linalg.inv(turned([1 / variance, stiff], angle))


@pytest.mark.parametrize(("stiff", "angle"), [(400.0, 0.6), (150.0, -1.1)])
def test_a_stiff_well_that_is_turned(stiff: float, angle: float) -> None:
    stiffness = turned([1.0, stiff], angle)
    along = np.asarray([np.cos(angle), np.sin(angle)])
    covariance = ridge(stiff, angle, 0.7)
    solution = fp.evolve(
        linear(stiffness),
        fp.Gaussian(0.8 * along, covariance),
        [0.3, 1.0],
        tol=1e-4,
        observables={
            "x": lambda x: x,
            "square": lambda x: (jnp.asarray(along) @ x) ** 2,
        },
    )
    assert "turned" in solution.stats["coordinates"]
    for k, t in enumerate((0.3, 1.0)):
        along_variance = 1 - 0.3 * np.exp(-2 * t)
        exact = _normal(
            solution.grid, 0.8 * np.exp(-t) * along, ridge(stiff, angle, along_variance)
        )
        assert distance(solution, k, exact) <= 3 * float(solution.error[k]) <= 3e-4
        np.testing.assert_allclose(
            solution.observables["x"][k], 0.8 * np.exp(-t) * along, atol=1e-4
        )
        second = along_variance + (0.8 * np.exp(-t)) ** 2
        np.testing.assert_allclose(solution.observables["square"][k], second, atol=3e-4)
    # The values are on the user's axes, and stay those of the user's process.
    assert float(jnp.max(jnp.abs(solution.mass - 1))) < 1e-6
    smaller = fp.Grid(
        *(fp.Line(axis.lower / 2, axis.upper / 2, 60) for axis in solution.grid.axes)
    )
    on_smaller = _normal(
        smaller, 0.8 * np.exp(-1.0) * along, ridge(stiff, angle, 1 - 0.3 * np.exp(-2.0))
    )
    assert float(jnp.max(jnp.abs(solution.on(smaller)[1] - on_smaller))) < 1e-3 * float(
        np.max(on_smaller)
    )


def between_nodes(one: fp.Solution, k: int, at: np.ndarray) -> np.ndarray:
    """The k-th density of a line at any places; zero outside of its box."""
    # So fine that cubics between the nodes are right to rounding.
    fine = fp.Grid(fp.Line(one.grid.axes[0].lower, one.grid.axes[0].upper, 8_000))
    spline = scipy.interpolate.CubicSpline(
        fine.axes[0].nodes, np.asarray(one.on(fine))[k], extrapolate=False
    )
    return np.nan_to_num(spline(at))


def test_a_steep_valley_across_the_axes() -> None:
    # Far from the bottom of the valley, on the corners of a box along the axes, V is
    # 10^12 and more: the axis potentials of a smaller basis were those of the corners,
    # and its answer was wrong by .8 with an error of 1e-7.
    diffusion = 6.0
    angle = 0.75
    times = [0.4, 1.5]
    turn = np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    valleys = (
        lambda y: 0.25 * y**6 + 0.4 * y**4,
        lambda y: 0.2 * y**2 + 0.8 * jnp.cos(5.0 * y),
    )
    mean, variances = np.asarray([-1.2, 3.0]), np.asarray([0.08, 0.9])
    plane = fp.evolve(
        fp.FokkerPlanck(
            lambda x: sum(
                u((jnp.asarray(turn.T) @ x)[i]) for i, u in enumerate(valleys)
            ),
            diffusion,
        ),
        fp.Gaussian(turn @ mean, turn @ np.diag(variances) @ turn.T),
        times,
        tol=1e-5,
    )
    alone = [
        fp.evolve(
            fp.FokkerPlanck(lambda x, u=u: u(x[0]), diffusion),
            fp.Gaussian(m, v),
            times,
            tol=1e-7,
        )
        for u, m, v in zip(valleys, mean, variances, strict=True)
    ]
    y = np.moveaxis(np.asarray(plane.grid.points) @ turn, -1, 0)
    for k in range(len(times)):
        truth = np.ones(plane.grid.shape)
        for one, at in zip(alone, y, strict=True):
            truth = truth * between_nodes(one, k, at)
        assert distance(plane, k, truth) <= 3 * float(plane.error[k]) <= 3e-5


def test_a_box_whose_ends_cut_the_gibbs_density_at_different_heights() -> None:
    # The start reaches further than the Gibbs density at one end. More nodes did not
    # lessen what leaked at the other.
    steep = lambda y: 0.08 * y**6 - 0.74 * y**4 + 0.27 * y**2
    equation = fp.FokkerPlanck(lambda x: steep(x[0]) + 0.17 * x[1] ** 4, 5.6)
    start = fp.Gaussian([1.7, 2.1], np.diag([0.015, 0.44]))
    solution = fp.evolve(equation, start, [0.8], tol=1e-4)
    assert max(solution.grid.shape) < 160
    assert float(solution.error[0]) < 1e-4
    alone = fp.evolve(
        fp.FokkerPlanck(lambda x: steep(x[0]), 5.6),
        fp.Gaussian(1.7, 0.015),
        [0.8],
        tol=1e-6,
    )
    line = fp.Grid(solution.grid.axes[0])
    marginal = np.asarray(solution.values[0]) @ np.asarray(
        solution.grid.axes[1].weights
    )
    truth = between_nodes(alone, 0, np.asarray(line.points[:, 0]))
    assert float(line.integrate(jnp.abs(marginal - truth))) < 1e-4


def test_a_plan_says_that_coordinates_are_turned() -> None:
    plan = fp.plan(
        linear(turned([1.0, 200.0], 0.6)),
        fp.Gaussian([0.0, 0.0], ridge(200.0, 0.6, 0.6)),
        [0.3],
        tol=1e-3,
    )
    assert "turned" in str(plan)
    # A round well has no other coordinates.
    plan = fp.plan(linear(np.eye(2)), fp.Gaussian([0.5, 0.0], 0.5), [0.3], tol=1e-3)
    assert "turned" not in str(plan)


def test_a_start_at_time_zero_in_turned_coordinates() -> None:
    covariance = ridge(300.0, 0.5, 0.6)
    start = lambda x: jnp.exp(-x @ jnp.asarray(np.linalg.inv(covariance)) @ x / 2)
    solution = fp.evolve(
        linear(turned([1.0, 300.0], 0.5)),
        start,
        [0.0, 0.2],
        tol=1e-3,
        features=[[0.1, 0.2]],
    )
    assert "turned" in solution.stats["coordinates"]
    assert distance(solution, 0, _normal(solution.grid, np.zeros(2), covariance)) < 1e-3


@pytest.mark.parametrize(
    ("stiff", "variance", "mean"), [(400.0, 0.1, [1.0, 0.0]), (100.0, 0.3, [-3.0, 4.0])]
)
def test_a_wide_start_in_a_stiff_well_that_is_turned(
    stiff: float, variance: float, mean: list[float]
) -> None:
    """No wave, and a Poisson sum would take 1e5 products: exponentials along the turned
    axes.
    """
    stiffness = turned([1.0, stiff], 0.6)
    solution = fp.evolve(
        linear(stiffness), fp.Gaussian(mean, variance), [0.5], tol=1e-3
    )
    assert "Splitting" in solution.stats["method"]
    exact = normal(solution.grid, stiffness, mean, variance, 0.5)
    assert distance(solution, 0, exact) <= 3 * float(solution.error[0]) <= 3e-3


@pytest.mark.parametrize("coupling", [0.0, 0.7])
def test_splitting_in_a_basis(coupling: float) -> None:
    """Exact for independent axes, whatever the step; of the given order for others."""
    stiffness = np.asarray([[1.0, coupling], [coupling, 2.0]])
    grid = fp.Grid(fp.Line(-6.0, 10.0, 41), fp.Line(-5.0, 5.0, 33))
    request = validate(
        linear(stiffness),
        fp.Gaussian([5.0, 0.0], 0.5),
        [0.5],
        grid,
        fp.Spectral(),
        None,
        1e-6,
        0.0,
        None,
    )
    plan = first_plan(request)
    assert plan.problem.picture is Picture.DENSITY
    exact = normal(grid, stiffness, [5.0, 0.0], 0.5, 0.5)
    states, errors = [], []
    for steps in (8, 16, 64):
        outcome = run(
            dataclasses.replace(plan, method=fp.Splitting(order=4, steps=steps))
        )
        states.append(outcome.values[0])
        errors.append(float(outcome.error[0]))
        # The nodes themselves leave 2e-7.
        assert (
            float(grid.integrate(jnp.abs(states[-1] - exact))) <= 3 * errors[-1] + 4e-7
        )
    distances = [
        float(grid.integrate(jnp.abs(state - states[-1]))) for state in states[:-1]
    ]
    if coupling == 0:
        assert max(distances) < 1e-12
    else:
        assert np.log2(distances[0] / distances[1]) == pytest.approx(4, abs=0.5)


def test_a_turned_run_that_failed_is_not_moved():
    # `evolve` then solves on the axes given.
    grid = fp.Grid(fp.Line(-5.0, 5.0, 16), fp.Line(-5.0, 5.0, 16))
    equation = fp.FokkerPlanck(fp.Harmonic())
    solution = fp.evolve(equation, fp.Gaussian(0.5, 1.0), [0.1], grid=grid, check=False)
    failed = dataclasses.replace(
        solution, values=solution.values.at[0, 3, 3].set(jnp.nan)
    )
    with pytest.raises(ValueError, match="the run in turned coordinates failed"):
        on_given_axes(failed, equation, np.eye(2), 1e-6)

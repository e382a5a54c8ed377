"""Order and cost of each method, as the table in README.md says.

See `test_structure.py`.
"""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import fpsolve as fp
from fpsolve.propagate.rational import choose_order
from measure import check_order, generator_matrix, operator
from method_runs import (
    BASIS,
    CLAIMS,
    LANDSCAPES,
    LINE,
    PLANE,
    SLOPES,
    TOLERANCE,
    potentials,
    run,
)

STEPPED = [name for name, claim in CLAIMS.items() if claim.order != TOLERANCE]
COUNTS = (4, 8, 16, 32)
TIME, WAIT = 0.6, 0.1


def transition(name, grid, potential, t, begin=0.0):
    """The matrix of p(begin) -> p(begin + t)."""
    answers = run(name, grid, potential, t, 1e-12, begin)
    return answers.values[: grid.size].T * answers.weights


def exactly(grid, t):
    """The same where nothing moves, by scipy."""
    made = operator(fp.ScharfetterGummel(), fp.FokkerPlanck(LANDSCAPES["mild"]), grid)
    return scipy.linalg.expm(t * generator_matrix(made))


def composed(name, grid, potential, count):
    """K over `TIME` as a product of `count` shorter ones."""
    whole, h = np.eye(grid.size), TIME / count
    for k in range(count):
        whole = (
            transition(name, grid, potential, h, k * h if "Magnus" in name else 0.0)
            @ whole
        )
    return whole


def stepping_errors(name):
    """Relative L1 errors from a start whose sharpest modes have decayed, one for each
    of `COUNTS`.
    """
    time_dependent = "Magnus" in name
    grid = PLANE if "Splitting" in name else LINE
    potential = "pulled" if time_dependent else "mild"
    start = exactly(grid, WAIT) @ run(name, grid, potential, 1e-3).starts[-1]
    truth = (
        composed("`Magnus`", grid, potential, 2 * COUNTS[-1])
        if time_dependent
        else exactly(grid, TIME)
    )
    size = lambda matrix: np.asarray(grid.weights).ravel() @ np.abs(matrix @ start)
    return [
        size(composed(name, grid, potential, count) - truth) / size(truth)
        for count in COUNTS
    ]


@pytest.mark.parametrize("name", STEPPED)
def test_order(name):
    check_order(stepping_errors(name), COUNTS, float(CLAIMS[name].order))


TOLERANCES = (1e-3, 1e-5, 1e-7, 1e-9)
STILL = [
    name
    for name, claim in CLAIMS.items()
    if claim.order == TOLERANCE and "Magnus" not in name
]
BELL = fp.Gaussian(-1.0, 0.04)
DENSE = fp.Dense()


def check_tolerance(error, reported, tol):
    """The true error is below the tolerance and not much above the error reported."""
    assert error <= tol, f"error {error:.1e} at tol = {tol:.0e}"
    assert error <= 2 * reported + 1e-12, f"error {error:.1e}, reported {reported:.1e}"


@pytest.mark.parametrize("name", STILL)
def test_tolerance_standing_still(name):
    spectral = "spectral" in name
    grid, potential = (BASIS, "smooth") if spectral else (LINE, "mild")
    weights = np.asarray(grid.weights).ravel()
    for tol in TOLERANCES:
        if "Rational" in name:  # whose order is chosen outside programs
            answers = run(
                name,
                grid,
                potential,
                TIME,
                tol,
                0.0,
                fp.Rational(choose_order(tol, jnp.float64)),
            )
        else:
            answers = run(name, grid, potential, TIME, tol)
        if spectral:
            truth = run(name, grid, potential, TIME, 1e-8, 0.0, DENSE).values[-1]
        else:
            truth = exactly(grid, TIME) @ answers.starts[-1]
        check_tolerance(
            weights @ np.abs(answers.values[-1] - truth), answers.errors[-1], tol
        )


@pytest.mark.parametrize(
    ("name", "mean"),
    [("`Magnus`", -1.0), ("`Magnus`, spectral", -1.0), ("`Magnus`, spectral", 0.0)],
)
def test_tolerance_on_the_move(name, mean):
    scheme, grid = (
        (fp.Spectral(), BASIS) if "spectral" in name else (fp.ScharfetterGummel(), LINE)
    )
    options = {"grid": grid, "scheme": scheme, "method": fp.Magnus(), "throw": False}
    equation = fp.FokkerPlanck(LANDSCAPES["pulled"])
    start = fp.Gaussian(mean, 0.04)
    solve = lambda tol: fp.evolve(equation, start, [1.0], tol=tol, **options)
    truth = solve(1e-11).values[0]
    for tol in TOLERANCES:
        solution = solve(tol)
        check_tolerance(
            float(grid.integrate(jnp.abs(solution.values[0] - truth))),
            float(solution.error[0]),
            tol,
        )


def check_slope(cost, calls, times, slack=0.05):
    slope = np.polyfit(np.log(times), np.log(calls), 1)[0]
    assert abs(slope - SLOPES[cost]) <= slack, (
        f"calls grow as t^{slope:.2f}, claimed {cost}: {list(calls)}"
    )


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, claim in CLAIMS.items()
        if claim.order != TOLERANCE or name in STILL
    ],
)
def test_cost(name):
    grid = BASIS if "spectral" in name else PLANE if "Splitting" in name else LINE
    times = (3.0, 10.0, 30.0, 100.0) if "Uniformization" in name else (1e2, 1e3, 1e4)
    potential = "smooth" if "Magnus" in name else potentials(name)[0]
    check_slope(
        CLAIMS[name].cost,
        [run(name, grid, potential, t).calls.max() for t in times],
        times,
    )


@pytest.mark.parametrize("name", ["`Magnus`", "`Magnus`, spectral"])
def test_cost_on_the_move(name):
    scheme, grid = (
        (fp.Spectral(), BASIS) if "spectral" in name else (fp.ScharfetterGummel(), LINE)
    )
    periods, calls = np.array([8, 16, 32]), []
    for count in periods:  # as much tolerance for each period
        times, tol = np.arange(1, count + 1) * 2 * np.pi / 3, 1e-6 * float(count)
        options = {"grid": grid, "scheme": scheme, "method": fp.Magnus(), "tol": tol}
        calls.append(
            fp.evolve(
                fp.FokkerPlanck(LANDSCAPES["pulled"]), BELL, times, **options
            ).stats["operator_calls"]
        )
    check_slope(CLAIMS[name].cost, calls, periods, 0.1)

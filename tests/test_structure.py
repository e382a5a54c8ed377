"""What each method keeps, as the table in README.md says, every cell measured on a
small grid.

A batch of starts (a spike in every cell, the Gibbs density, a smooth density) goes
through one compiled program a method, for any operator and any length of time t; all
that is claimed is read from the answers:

    mass         sum_i w_i p_i                                          from every spike, in a steep potential
    positivity   sum_i w_i max(-p_i, 0)                                 the same
    Gibbs        sum_i w_i |p_i - pi_i| from pi                         after t = 1e4 and, in between, huge steps
    symmetry     K_ij pi_j = K_ji pi_i, K_ij the density at i from a spike at j: the propagator is in detailed balance
    order        slope of the error of K(T/N)^N against N; for methods without steps, the error at a tolerance
    cost         slope of log(operator calls) against log(t), at given steps where the method steps
"""

from functools import cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import fpsolve as fp
from blocks import ROOT
from fpsolve.operator.constants import CONSTANTS
from fpsolve.propagate.rational import choose_order
from fpsolve.step.interval import integrate_interval_evenly
from measure import check_order, discretise, generator_matrix, operator

# how much a claim says, the most first
EXACT, ROUNDING, ERROR, SHOWN = "exact", "rounding", "error", "shown"
TOLERANCE = "tol"  # in place of an order: no steps, or as many as the tolerance takes
SLOPES = {"1": 0.0, "√t": 0.5, "t": 1.0}


class Claim(NamedTuple):
    """A row of the table: the method with its steps given, and what it keeps."""

    method: Any
    mass: str
    positivity: str
    gibbs: str
    symmetry: str
    order: str
    cost: str


METHODS = {
    "`Chebyshev`": fp.Chebyshev(),
    "`Chebyshev`, spectral": fp.Chebyshev(),
    "`Rational`": fp.Rational(),
    "`Splitting(2)`": fp.Splitting(2, 4),
    "`Splitting(4)`": fp.Splitting(4, 4),
    "`Implicit(1)`": fp.Implicit(1, 4),
    "`Implicit(2)`": fp.Implicit(2, 4),
    "`Implicit(3)`": fp.Implicit(3, 4),
    "`Magnus`, spectral": fp.Magnus(8),
    "`Magnus`": fp.Magnus(4),
    "`Magnus(extrapolate=False)`": fp.Magnus(4, extrapolate=False),
    "`Uniformization`": fp.Uniformization(),
    "`Dense`": fp.Dense(),
}
CLAIMS = {
    name: Claim(method, *method.keeps("spectral" in name))
    for name, method in METHODS.items()
}
COLUMNS = ("mass", "positivity", "Gibbs", "symmetry", "order", "calls against t")


class Landscape(eqx.Module):
    """a (x0^2 - 1)^2 + b x1^2 + c x0 x_last, pulled to and fro by d x0 sin(3 t);
    numbers do not recompile.
    """

    a: jax.Array
    b: jax.Array
    c: jax.Array
    d: jax.Array

    def __call__(self, x: jax.Array, t: Any = 0.0) -> jax.Array:
        """U."""
        plane = jnp.sum(self.b * x[1:] ** 2) + self.c * x[0] * x[-1]
        return self.a * (x[0] ** 2 - 1) ** 2 + plane + self.d * x[0] * jnp.sin(3 * t)


def landscape(a, b, c, d=0.0):
    return Landscape(*(jnp.asarray(float(number)) for number in (a, b, c, d)))


LANDSCAPES = {
    "steep": landscape(30, 8, 4),
    "mild": landscape(1, 1, 0.5),
    "smooth": landscape(3, 2, 0.5),
    "pulled": landscape(3, 2, 0.5, 2),
}
LINE = fp.Grid(fp.Line(-1.8, 1.8, 18))
PLANE = fp.Grid(fp.Line(-1.8, 1.8, 8), fp.Line(-1.5, 1.5, 6))
BASIS = fp.Grid(fp.Line(-2.2, 2.2, 48))
BASIS_PLANE = fp.Grid(fp.Line(-2.2, 2.2, 44), fp.Line(-3.2, 3.2, 28))


class Answers(NamedTuple):
    """Densities `(B, n)` after t, with errors and calls `(B,)`, weights `(n,)` and the
    Gibbs density `(n,)`.

    The last two starts are the Gibbs density and a smooth one; those before are spikes,
    or on a basis narrow bells.
    """

    values: np.ndarray
    errors: np.ndarray
    calls: np.ndarray
    weights: np.ndarray
    gibbs: np.ndarray
    starts: np.ndarray


@eqx.filter_jit
def _compute(method, problem, starts, begin, end, tol):
    """As a run does it, with tails of waves clipped."""
    time_dependent = isinstance(method, fp.Magnus)
    prepared = (
        None
        if time_dependent
        else method.prepare(problem.at(begin, starts.dtype), problem.picture)
    )

    def one(u):
        u = problem.to_state(u, tol * CONSTANTS.clipping_tol_fraction)
        if time_dependent:
            return integrate_interval_evenly(method, problem, u, begin, end, tol)[:3]
        taken = method.apply(prepared, u, (end - begin)[None], tol, 0.0)
        return taken.field[0], taken.calls, taken.error[0]

    states, calls, errors = jax.vmap(one)(starts)
    return problem.to_field(states, end), calls, errors


@cache
def _starts(grid, potential, spectral):
    gibbs = fp.FokkerPlanck(LANDSCAPES[potential]).gibbs(grid)
    smooth = grid.density(fp.Gaussian([-0.7] + [0.2] * (grid.ndim - 1), 0.06))
    if spectral:
        bells = [
            grid.density(fp.Gaussian([x] + [0.0] * (grid.ndim - 1), 0.04))
            for x in (-1.0, 0.0, 0.9)
        ]
        first = bells + [
            grid.density(gibbs * (1 + jnp.sin(k * grid.points[..., 0] + k)))
            for k in (1, 2, 3)
        ]
    else:
        first = list(
            (jnp.eye(grid.size) / grid.weights.ravel()).reshape(-1, *grid.shape)
        )
    return gibbs, jnp.stack([*first, gibbs, smooth])


@cache
def run(name, grid, potential, t, tol=1e-8, begin=0.0, method=None):
    """All starts through the method of a row, or another in its place, from `begin` for
    a time t.
    """
    spectral, equation = "spectral" in name, fp.FokkerPlanck(LANDSCAPES[potential])
    method = CLAIMS[name].method if method is None else method
    gibbs, starts = _starts(grid, potential, spectral)
    scheme, picture = (
        (fp.Spectral(), "wave") if spectral else (fp.ScharfetterGummel(), "density")
    )
    problem = discretise(equation, scheme, grid, picture)
    begin, end, tol = (jnp.asarray(float(number)) for number in (begin, begin + t, tol))
    values, calls, errors = _compute(method, problem, starts, begin, end, tol)
    flat = lambda u: np.asarray(u).reshape(-1, grid.size)
    weights = np.asarray(grid.weights).ravel()
    return Answers(
        flat(values),
        np.asarray(errors),
        np.asarray(calls),
        weights,
        flat(gibbs)[0],
        flat(starts),
    )


def allowed(strength, answers):
    """What a defect may be, for every start: nothing, rounding of the numbers in the
    answer, the error reported, or what a basis that resolves the start to five digits
    leaves.
    """
    size = np.maximum(1, np.abs(answers.values) @ answers.weights)
    rounding = np.maximum(1e-12, np.finfo(float).eps * answers.calls) * size
    return {
        EXACT: 0 * size,
        ROUNDING: rounding,
        ERROR: rounding + answers.errors,
        SHOWN: 1e-5 * size,
    }[strength]


def check(strength, defects, answers, what):
    """Defects within what the strength allows, start by start."""
    most = allowed(strength, answers)[: len(defects)]
    worst = int(np.argmax(defects - most))
    assert np.all(defects <= most), (
        f"{what} off by {defects[worst]:.1e}; '{strength}' allows {most[worst]:.1e}"
    )


def mass_defects(answers):
    return np.abs(answers.values @ answers.weights - 1)


def negative_parts(answers):
    return np.maximum(-answers.values, 0) @ answers.weights


def gibbs_defects(answers):
    stands = np.arange(len(answers.values)) == len(answers.values) - 2
    return np.where(stands, np.abs(answers.values - answers.gibbs) @ answers.weights, 0)


def imbalances(answers, spectral):
    """K_ij pi_j against its transpose, relative to the largest entry. On a basis, where
    no spike lives, the integrals of g_i p_j(t) with g_j = p_j(0) / pi bounded.
    """
    if spectral:
        flow = (
            answers.starts[3:-2] * (answers.weights / answers.gibbs)
        ) @ answers.values[3:-2].T
        return np.concatenate([np.zeros(3), np.abs(flow - flow.T).max(1)])
    flow = answers.values[:-2] * answers.gibbs[:, None]
    return np.abs(flow - flow.T).max(1) / np.abs(flow).max()


def cases():
    """Rows on the grids they take, the cheaper grid by default."""
    for name in CLAIMS:
        line, plane = (BASIS, BASIS_PLANE) if "spectral" in name else (LINE, PLANE)
        if "Splitting" in name:
            line, plane = plane, line
        yield pytest.param(name, line, id=f"{name}-{line.ndim}")
        if "Rational" not in name:
            yield pytest.param(name, plane, id=f"{name}-{plane.ndim}")


def potentials(name):
    """Where mass and signs are measured, and where the Gibbs density and the balance
    are.
    """
    if "Magnus" in name:
        return "pulled", "smooth"
    return ("smooth", "smooth") if "spectral" in name else ("steep", "steep")


def lengths(name):
    """Short, middling, long; a Poisson sum in a steep potential takes 1e5 products
    already at t = 100.
    """
    if "Uniformization" in name:
        return 1e-3, 0.05, 100.0
    if "spectral" in name:  # a bell is not resolved before
        return (0.05, 1.0) if "Magnus" in name else (0.05, 1e4)
    return 1e-3, 0.05, 1e4


def check_row(claim, name, grid):
    """Mass, positivity, Gibbs and symmetry of a row."""
    moved, rests = potentials(name)
    for t in lengths(name):
        answers = run(name, grid, moved, t)
        check(claim.mass, mass_defects(answers), answers, f"mass at t = {t:g}")
        check(
            claim.positivity,
            negative_parts(answers),
            answers,
            f"positivity at t = {t:g}",
        )
        answers = run(name, grid, rests, t)
        check(claim.gibbs, gibbs_defects(answers), answers, f"Gibbs at t = {t:g}")
        check(
            claim.symmetry,
            imbalances(answers, "spectral" in name),
            answers,
            f"symmetry at t = {t:g}",
        )


@pytest.mark.parametrize(("name", "grid"), list(cases()))
def test_mass_positivity_gibbs_and_symmetry(name, grid):
    check_row(CLAIMS[name], name, grid)


def test_a_claim_that_is_too_strong_is_caught():
    name = "`Implicit(2)`"
    with pytest.raises(AssertionError, match="positivity"):
        check_row(CLAIMS[name]._replace(positivity=ROUNDING), name, LINE)


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
    grid, potential = (
        PLANE if "Splitting" in name else LINE,
        "pulled" if time_dependent else "mild",
    )
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
BELL, DENSE = fp.Gaussian(-1.0, 0.04), fp.Dense()


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
    equation, start = fp.FokkerPlanck(LANDSCAPES["pulled"]), fp.Gaussian(mean, 0.04)
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


def rows(text):
    """The table of methods under "## Structure" of a page: name to cells."""
    lines = text.partition("## Structure")[2].partition("\n## ")[0].splitlines()
    table = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("| ")
    ]
    return tuple(table[0][1:]), {
        cells[0]: tuple(cells[1:])
        for cells in table[1:]
        if not cells[0].startswith("---")
    }


def check_page(text):
    """The page says what the table here says, in the same words and order."""
    columns, told = rows(text)
    assert columns == COLUMNS, f"the columns are {columns}, and should be {COLUMNS}"
    measured = {name: tuple(claim[1:]) for name, claim in CLAIMS.items()}
    assert told == measured, (
        "README.md differs from what is measured in "
        f"{set(told.items()) ^ set(measured.items())}"
    )
    assert list(told) == list(measured)


def test_the_page_says_what_is_measured():
    check_page((ROOT / "README.md").read_text(encoding="utf-8"))


def test_a_page_that_says_more_is_caught():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    row = "| `Rational` | rounding | error |"
    assert row in text
    with pytest.raises(AssertionError, match="differs"):
        check_page(text.replace(row, "| `Rational` | rounding | exact |"))

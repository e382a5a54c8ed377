"""The axes of one problem: their kinds, the box that they span, the nodes that each needs.

    box       where the start, the Gibbs density and all between have decayed: profiles U*_i(x) = min_y U(x_i = x, y)
    spacing   what resolves the lines U(x_i = x; y) through the mode, the rest of the bulk, the start and its way

Each line is a problem in one dimension, solved on trial axes and compared with a finer one.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..core.checks import raise_value_error
from ..equation import FokkerPlanck, WithPotential
from ..grid import Gaussian, Grid, Periodic
from ..grid import Line as LineAxis
from ..plan import choose_scheme
from ..plan.validation import initial_field
from .bounding_box import NotConfining, period
from .domain import Station, Where, continuum
from .sampled_equation import Landscape, moments_of
from .search import ALL, Goal, Reference, Unresolved, fit_box, fit_nodes, refer
from .slice_problem import Line

MARGIN = 14.0  # of a reference, in log p, beyond log(1 / tol)
LEVELS, LINES_FOR_BOX = 6, 2
LOOSE = 0.1  # of its distance from the continuum, by which a bound state may move in a box of twice the length
ASIDE = 0.3  # of a box, by which lines of a process without a Gibbs density are longer
SPACING = 0.3  # of the tolerance, in a box that costs nothing
PLACES = 3  # lines on which a period is looked for
PROFILE = 160  # nodes of the profile of a well
GROWTH, ROUNDS = 1.07, 12  # of a grid on which a run would not take Spectral


class Question(NamedTuple):
    """What is to be answered: states at `times` from `initial`, or levels (`k` of them, if given) at the time `t`."""

    equation: WithPotential
    initial: Any
    tol: float
    times: np.ndarray | None
    k: int | None
    wick: float
    t: float


def fit_axes(question: Question, like: Grid | None, ndim: int) -> tuple[Grid, float, str]:
    """The grid, its estimated error, and words."""
    landscape = Landscape(question.equation, ndim)
    kinds: list[Any] = [LineAxis] * ndim if like is None else [type(axis) for axis in like.axes]
    lower, upper = np.full(ndim, -1.0), np.full(ndim, 1.0)
    if like is not None:
        held = [i for i in range(ndim) if kinds[i] is not LineAxis]
        lower[held], upper[held] = [like.axes[i].lower for i in held], [like.axes[i].upper for i in held]
    depth = np.log(1 / question.tol) + MARGIN
    while True:
        where = Where(landscape, question, lower, upper, kinds)
        try:
            low, high = where.holds(depth)
            break
        except NotConfining as trouble:
            i, length = trouble.axis, _period(landscape, trouble.axis, question.t)
            if length is None:
                raise
            middle = moments_of(question.initial, ndim)[0][i] if isinstance(question.initial, Gaussian) else length / 2
            kinds[i], lower[i], upper[i] = Periodic, middle - length / 2, middle + length / 2
    slice_points = where.slice_points(low, high)
    times = question.times
    if question.initial is not None and times is None:
        times = _all_times(where, slice_points[0], low, high, depth)
    goals = _goals(question, where, slice_points[0], low, high, times)
    searched = [[_refer(goals[i], where, i, y, depth, kinds[i], low, high) for y in slice_points] for i in range(ndim)]
    grid, error, words = _assemble(where, searched, goals, kinds, low, high)
    return _taken(question, grid, error) if ndim > 1 else grid, error, words


def _taken(question: Question, grid: Grid, error: float) -> Grid:
    """The grid, refined until a run would take `fp.Spectral` on it. **Raises** `ValueError` where none would and the
    density cannot be a wave."""
    equation, t, fits = question.equation, question.t, True
    for _ in range(ROUNDS):
        levels = question.initial is None
        if not isinstance(equation, FokkerPlanck):
            return grid
        field = equation.gibbs(grid, t) if levels else initial_field(equation, grid, question.initial)
        times = jnp.asarray([t] if levels or question.times is None else question.times)
        chosen = choose_scheme(equation, grid, None, field, times, question.tol)
        if chosen.scheme.spectral:
            return grid
        fits = chosen.wave_representable
        grid = grid.refine(GROWTH)
    if fits:
        return grid
    raise Unresolved(list(grid.shape), [error])


class _Searched(NamedTuple):
    line: Line
    reference: Reference


def _refer(
    goal: Goal, where: Where, i: int, y: Station, depth: float, kind: Any, low: np.ndarray, high: np.ndarray
) -> _Searched:
    line = where.line(i, y)
    ends = low[i], high[i]
    if where.landscape.ndim > 1 and line.reversible:
        ends = where.line_span(i, y.point, depth, line)
    elif where.landscape.ndim > 1 and line.process and kind is LineAxis:
        aside = ASIDE * (high[i] - low[i])  # a force that is no gradient pushes along a line as it never does for long
        ends = low[i] - aside, high[i] + aside
    return _Searched(line, refer(goal, line, lambda a, b, n: kind(float(a), float(b), n), *ends))


def _profile(where: Where, goal: Goal, i: int, low: np.ndarray, high: np.ndarray) -> _Searched:
    line, axis = where.profile_line(i, low, high), LineAxis(float(low[i]), float(high[i]), PROFILE)
    answer = goal.answer(line, axis)
    return _Searched(line, Reference(axis, answer, goal.envelope(answer)))


def _assemble(
    where: Where, searched: list[list[_Searched]], goals: list[Goal], kinds: list[Any], low: Any, high: Any
) -> tuple[Grid, float, str]:
    ndim, error, axes, words = len(kinds), 0.0, [], []
    well = not where.landscape.process and ndim > 1
    boxes: list[Any] = [[] for _ in range(ndim)]
    for i in (i for i in range(ndim) if kinds[i] is LineAxis):
        pairs = [_profile(where, goals[i], i, low, high)] if well else searched[i][:LINES_FOR_BOX]
        boxes[i] = [fit_box(goals[i], pair.line, pair.reference) for pair in pairs]
    cuts = [box[2] for row in boxes for box in row]
    if ndim == 1 and boxes[0]:
        low, high = np.asarray([boxes[0][0][0]]), np.asarray([boxes[0][0][1]])
    elif well:
        low = np.asarray([row[0].lower if row else a for row, a in zip(boxes, low, strict=True)])
        high = np.asarray([row[0].upper if row else b for row, b in zip(boxes, high, strict=True)])
    elif cuts:
        low, high = where.tight(max(cuts), low, high)
    for i, kind in enumerate(kinds):
        spacing, worst, alone = np.inf, 0.0, ndim == 1 or kind is not LineAxis
        for line, reference in searched[i]:
            ends = (low[i], high[i]) if alone else (reference.axis.lower, reference.axis.upper)
            make = lambda n, ends=ends, kind=kind: kind(float(ends[0]), float(ends[1]), n)
            n, found = fit_nodes(goals[i], line, make, reference, ALL if alone else SPACING)
            spacing, worst = min(spacing, (ends[1] - ends[0]) / n), max(worst, found)
        worst += 0 if alone else max((box[3] for box in boxes[i]), default=0.0)
        n = int(np.ceil((high[i] - low[i]) / spacing * (1 - 1e-9)))
        axes.append(kind(float(low[i]), float(high[i]), max(n, 3)))
        error += worst
        words.append(f"{axes[-1]!r} by {len(searched[i])} lines")
    return Grid(*axes), error, "; ".join(words)


def _goals(question: Question, where: Where, y: Station, low: Any, high: Any, times: Any) -> list[Goal]:
    """One goal an axis: a share of the tolerance, and the levels that the lowest k of all have along it."""
    ndim = where.landscape.ndim
    share = question.tol / ndim
    if times is not None:
        return [Goal(share, times, 0)] * ndim
    wanted, found, starts, edges = question.k or LEVELS, [], [], []
    for i in range(ndim):
        line, ends = where.line(i, y), (low[i], high[i])
        kind = LineAxis if not where.fixed[i] else where.kinds[i]
        found.append(line.levels(kind(float(ends[0]), float(ends[1]), 256))[: wanted + 1])
        starts.append(continuum(line, *ends) if kind is LineAxis else np.inf)
        edges.append(_edge(line, found[-1], starts[-1], *ends))
    ground = sum(levels[0] for levels in found)
    sums, counts = np.zeros(1), np.zeros((1, ndim), int)
    for i, levels in enumerate(found):
        sums = np.add.outer(sums, levels - levels[0]).ravel()
        counts = np.repeat(counts, len(levels), axis=0)
        counts[:, i] = np.tile(np.arange(len(levels)), len(counts) // len(levels))
        keep = np.argsort(sums, kind="stable")[: wanted + 1]
        sums, counts = sums[keep], counts[keep]
    top = min((start - levels[0] for start, levels in zip(starts, found, strict=True)), default=np.inf)
    edge = min(edge - levels[0] for edge, levels in zip(edges, found, strict=True))
    bound = int(np.sum(sums < (edge - 1e-6 * abs(edge) if np.isfinite(edge) else np.inf)))
    if bound < min(wanted, 2 if question.k is None and where.landscape.process else 1) or (question.k or 0) > bound:
        begin = top + ground if abs(top + ground) > 1e-9 * abs(top) else 0.0
        many = "no levels lie" if not bound else f"only {bound} level{'s lie' if bound > 1 else ' lies'}"
        cure = f"Ask for k={bound}, or deepen the well." if bound else "Deepen the well, or give like= with walls."
        raise_value_error("k", wanted, f"{many} below the continuum, which starts at {begin:.6g}", cure)
    k = min(wanted, bound)
    return [Goal(share, None, int(np.max(counts[:k, i])) + 1) for i in range(ndim)]


def _edge(line: Line, levels: np.ndarray, start: float, lower: float, upper: float) -> float:
    """The lowest level that is no bound state: the continuum, or a level that rises towards it in a wider box."""
    if not np.isfinite(start):
        return start
    reach = (upper - lower) / 2
    wider = line.levels(LineAxis(float(lower - reach), float(upper + reach), 512))[: len(levels)]
    moved = (levels < start) & (np.abs(wider - levels) > LOOSE * (start - levels))
    return float(np.min(levels[moved])) if moved.any() else start


def _all_times(where: Where, y: Station, low: Any, high: Any, depth: float) -> np.ndarray:
    """Times from far below the quickest to beyond the slowest relaxation."""
    gaps = []
    for i in range(where.landscape.ndim):
        line = where.line(i, y)
        apart = where.landscape.ndim > 1 and line.process
        ends = where.line_span(i, y.point, depth, line) if apart else (low[i], high[i])
        axis = (where.kinds[i] if where.fixed[i] else LineAxis)(float(ends[0]), float(ends[1]), 128)
        rates = np.sort(-np.linalg.eigvals(line.generator(axis, 0.0)).real) if line.process else line.levels(axis)
        gaps.append(max(rates[1] - (0 if line.process else rates[0]), 1e-6))
    return np.asarray([0.003, 0.03, 0.1, 0.3, 1.0, 3.0]) / min(gaps)


def _period(landscape: Landscape, axis: int, t: float) -> float | None:
    """The period of the drift and of the energy along an axis, the same on several lines; None if there is none."""
    lengths = []
    for y in np.random.default_rng(1).uniform(-1, 1, (PLACES, landscape.ndim)):

        def at(x: np.ndarray, y: np.ndarray = y) -> np.ndarray:
            points = np.tile(y, (len(x), 1))
            points[:, axis] = x
            return points

        lengths.append(period(lambda x: landscape.energy(at(x), t)))
    found = [length for length in lengths if length is not None]
    return found[0] if len(found) == PLACES and np.ptp(found) < 1e-9 * found[0] else None

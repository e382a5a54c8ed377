"""The fewest nodes on one axis: first the box, on nodes that trial and reference share, then the spacing.

    box      [a, b] cut where the envelope max_t p has fallen to exp(-c); the least c whose error is allowed
    nodes    the least n in that box whose error is

The reference is refined, and widened, until what it lacks is far below the tolerance.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..grid import Axis
from ..grid import Line as LineAxis
from .slice_problem import Line, States, distance

MOST, FEWEST = 800, 3  # nodes
BELOW, ROUNDING = 0.03, 0.15  # of the tolerance, which a reference may lack, once, or twice in a row
BOX, ALL = 0.2, 0.5  # of the tolerance: what the box may cost, and box and spacing together
STEP = 1.5  # in log p, between boxes
LEFT, WIDENINGS = 1e-4, 12  # of the tolerance, the envelope at the ends of a reference; how often it is widened

SMALL = 1e-3  # of the next level, below which a gap is small


class Unresolved(Exception):
    """The reference did not converge: the errors of its last refinements, from n nodes up."""

    def __init__(self, sizes: list[int], errors: list[float]):
        self.sizes, self.errors = sizes, errors


class BoxNotFound(Exception):
    """The envelope did not decay, however wide the box: its ends."""

    def __init__(self, lower: float, upper: float):
        self.lower, self.upper = lower, upper


@dataclasses.dataclass(frozen=True)
class Goal:
    """What is asked of a grid: states at `times`, or the `k` lowest levels where there are none; to `tol`."""

    tol: float
    times: np.ndarray | None
    k: int

    def answer(self, line: Line, axis: Axis) -> Any:
        """The states or the levels on one axis."""
        if self.times is not None:
            return line.solve(axis, self.times, uncut=True)
        return line.modes(axis)

    def error(self, line: Line, axis: Axis, reference: Any, uncut: bool = False) -> float:
        """Of a trial against the reference, the largest over times or levels, relative."""
        if self.times is not None:
            return float(np.max(distance(line.solve(axis, self.times, uncut), reference)))
        k = min(self.k, axis.n)
        levels, exact = line.levels(axis)[:k], reference[0][: self.k]
        if k < self.k:
            return np.inf
        return level_error(levels, exact, line.process, SMALL * reference[0][min(2, len(reference[0]) - 1)])

    def leak(self, line: Line, axis: Axis) -> float:
        """By how much the ground level of a process misses zero, relative to its gap: what a kink in U does to it."""
        if self.times is not None or not line.process or axis.boundary == "absorbing":
            return 0.0
        levels = line.levels(axis)
        return float(abs(levels[0]) / max(levels[1], SMALL * levels[2]))

    def envelope(self, answer: Any) -> np.ndarray:
        """The largest density met with, at the nodes of the reference."""
        if isinstance(answer, States):
            line = answer.line
            assert line.start is not None, "states need a start"
            first = line.density(answer.axis) if line.process else np.abs(line.start(answer.axis.nodes))
            values = np.concatenate([np.abs(answer.values), first[None]])
            peaks = np.max(values / np.max(values, axis=1, keepdims=True), axis=0)
            if answer.log_sqrt_pi is None or not line.process:
                return peaks
            root = np.max(np.exp(answer.log_sqrt_pi - np.max(answer.log_sqrt_pi, axis=1, keepdims=True)), axis=0)
            return np.maximum(peaks, root**2)
        modes = answer[1][:, : self.k] ** 2
        return np.max(modes / np.max(modes, axis=0), axis=1)


def level_error(levels: np.ndarray, exact: np.ndarray, process: bool, least: float = 0.0) -> float:
    """The largest relative error; that of the level 0 of a process is relative to its gap.

    A gap of a process below `least` counts as if it were that: through A, or the partner on a line, it has digits that
    the levels of H, which are compared here, have not.
    """
    scale = np.abs(exact)
    smallest = exact[1] - exact[0] if len(exact) > 1 else 1.0
    if process:
        scale = np.maximum(np.where(np.arange(len(exact)) == 0, smallest, scale), least)
    else:
        scale = np.maximum(scale, SMALL * smallest)
    return float(np.max(np.abs(levels - (0 if process and len(exact) == 1 else exact)) / scale))


class Reference(NamedTuple):
    """A resolved answer on an axis that is wide and fine, and its envelope."""

    axis: Axis
    answer: Any
    envelope: np.ndarray


def refer(goal: Goal, line: Line, make: Callable[[float, float, int], Axis], lower: float, upper: float) -> Reference:
    """Refine until two references agree; widen until the envelope has decayed at both ends of a `fp.Line`."""
    for _ in range(WIDENINGS):
        reference = _refine(goal, line, make, lower, upper)
        least = goal.tol * LEFT * np.max(reference.envelope)
        beyond = reference.envelope[[0, -1]] > least
        if not isinstance(reference.axis, LineAxis) or not beyond.any():
            return reference
        length = upper - lower
        lower, upper = lower - 0.25 * length * beyond[0], upper + 0.25 * length * beyond[1]
    raise BoxNotFound(lower, upper)


def _refine(goal: Goal, line: Line, make: Callable[[float, float, int], Axis], lower: float, upper: float) -> Reference:
    n, sizes, errors = 48, [], []
    while True:
        coarse, n = make(lower, upper, n), round(1.4 * n)
        axis = make(lower, upper, n)
        fine = goal.answer(line, axis)
        error = goal.error(line, coarse, fine, uncut=True) + goal.leak(line, coarse)
        sizes, errors = [*sizes, coarse.n], [*errors, error]
        if errors[-1] < BELOW * goal.tol or (len(errors) > 1 and max(errors[-2:]) < ROUNDING * goal.tol):
            return Reference(axis, fine, goal.envelope(fine))
        if n > MOST:
            raise Unresolved(sizes, errors)


class Box(NamedTuple):
    """The ends of a box, the c that it reaches down to, and what it costs."""

    lower: float
    upper: float
    cut: float
    error: float


def fit_box(goal: Goal, line: Line, reference: Reference) -> Box:
    """The smallest box, with ends at edges of the reference's cells, that costs at most `BOX` of the tolerance."""
    axis, level = reference.axis, -np.log(np.maximum(reference.envelope, 1e-300))

    def cut(c: float) -> Axis:
        inside = np.flatnonzero(level <= c)
        first, last = max(0, inside[0] - 1), min(axis.n, inside[-1] + 2)
        return LineAxis(float(axis.edges[first]), float(axis.edges[last]), max(3, int(last - first)))

    def fits(c: float) -> bool:
        small = cut(c)
        if goal.error(line, small, reference.answer) > BOX * goal.tol:
            return False
        return not demanding or line.resolved(small, goal.times)

    demanding = line.resolved(axis, goal.times)
    # What moves is weighed by pi_t at all times, and feels what is cut off it in full.
    least = np.log(1 / (BOX * goal.tol)) if line.time_dependent else 1.0
    c, top = max(0.9 * np.log(1 / goal.tol), least), float(np.max(level))
    if fits(c):
        while c - STEP > least and fits(c - STEP):
            c -= STEP
    else:
        while c < top and not fits(c):
            c += STEP
        c -= STEP / 2 * fits(c - STEP / 2)
    box = cut(c)
    return Box(box.lower, box.upper, c, goal.error(line, box, reference.answer))


def fit_nodes(
    goal: Goal, line: Line, make: Callable[[int], Axis], reference: Reference, share: float
) -> tuple[int, float]:
    """The fewest nodes whose error is at most `share` of the tolerance, and that error."""
    whole = make(reference.axis.n)
    alike = make(max(FEWEST, round(reference.axis.n * whole.length / reference.axis.length)))
    demanding = line.resolved(alike, goal.times)

    def cost(n: int) -> float:
        found = goal.error(line, make(n), reference.answer)
        fails = found <= share * goal.tol and demanding and not line.resolved(make(n), goal.times)
        return np.inf if fails else found

    low, high = FEWEST - 1, reference.axis.n
    error = cost(high)
    while error > share * goal.tol and high < MOST:
        low, high = high, round(1.3 * high)
        error = cost(high)
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        found = cost(middle)
        if found <= share * goal.tol:
            high, error = middle, found
        else:
            low = middle
    if error > share * goal.tol:
        raise Unresolved([high], [error])
    return high, error

"""A moving problem as expansions in time, part by part, through which a run is stepped
on the host.

Each stretch between two breakpoints is halved until an expansion of fixed length
reaches rounding on every part (`operator.expand`). The parts depend on the breakpoints
alone, not on where a run stands, so a run that is resumed meets the same ones. Where a
stretch needs too many parts, the functions themselves are evaluated in every step.
"""

import dataclasses
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ..core.types import AnyArray, DType
from ..operator import OperatorPath
from ..operator.constants import CONSTANTS as OPERATOR
from .constants import CONSTANTS
from .magnus import Magnus
from .problem import Problem


class Part(NamedTuple):
    """The problem on [start, end], as arrays."""

    start: float
    end: float
    problem: Problem


class Timeline:
    """The problem of a run at any time in [0, last], as arrays where that is possible.

    **Arguments**: `problem`, whose operator is an `OperatorPath`; `edges`, the ends of
    the stretches without a breakpoint inside, `(S, 2)`, ascending; `rounding`, how
    exactly times are known. A remainder of a part that is shorter than `rounding`
    belongs to the next part, whose expansion holds there as well.
    """

    def __init__(
        self, problem: Problem, edges: list[tuple[float, float]], rounding: float
    ):
        self._problem = problem
        self._edges = edges
        self._rounding = rounding
        self._parts: dict[tuple[float, float], list[Part]] = {}
        grid = problem.grid
        # A slope on each axis, the potential term and log pi may depend on time. Each
        # is as large as the grid.
        numbers = OPERATOR.expansion_terms * (grid.ndim + 2) * grid.size
        # 0 for the largest grids: even one expansion would be too large, and the
        # functions are evaluated instead.
        self._max_parts = CONSTANTS.max_expansion_numbers // numbers

    def covering(self, now: float, end: float = math.inf) -> tuple[Problem, float]:
        """A problem that holds from `now` on, and the time until which it holds: `end`
        if it is as late to rounding.
        """
        # At a breakpoint itself, between two stretches, the later one: a run that has
        # reached it has passed it.
        stretch = next(((a, b) for a, b in self._edges if now < b), None)
        if stretch is None:
            return self._problem, end
        # The part that `now` lies in, unless only a rounding error of it is left.
        parts = self._split(*stretch)
        later = (part for part in parts if now < part.end - self._rounding)
        part = next(later, parts[-1])
        # A breakpoint is an exception: it is not passed, however near it is.
        if end - self._rounding < part.end < stretch[1]:
            return part.problem, end
        return part.problem, part.end

    def at(self, t: float) -> Problem:
        """The problem at time t: at the end of a stretch its own, and at a breakpoint
        itself the later one.
        """
        stretch = next(((a, b) for a, b in self._edges if t <= b), None)
        if stretch is None:
            return self.covering(t)[0]
        return next(part.problem for part in self._split(*stretch) if t <= part.end)

    def after(self, until: float) -> float:
        """The time from which a run that has reached `until` goes on: `until`, or the
        other side of a breakpoint.
        """
        if not any(until == end for _, end in self._edges):
            return until
        return next((start for start, _ in self._edges if start >= until), until)

    def _split(self, start: float, end: float) -> list[Part]:
        """The parts of a stretch, computed once; the stretch itself where there would
        be too many.
        """
        if (start, end) not in self._parts:
            # Expansions are made when a run first comes to a stretch, and kept for
            # `at`.
            found = None
            if self._max_parts:
                found = self._halved(start, end, CONSTANTS.max_halvings)
            if found is None or len(found) > self._max_parts:
                found = [Part(start, end, self._problem)]
            self._parts[start, end] = found
        return self._parts[start, end]

    def _halved(self, start: float, end: float, depth: int) -> list[Part] | None:
        """Parts on which the expansion converges; None where one does not after `depth`
        halvings.
        """
        path = self._problem.operator
        assert isinstance(path, OperatorPath)
        operator = path.expanded(start, end)
        if operator is not None:
            problem = dataclasses.replace(self._problem, operator=operator)
            return [Part(start, end, problem)]
        if depth == 0:
            return None
        # The right half is not tried if the left one failed already.
        middle = (start + end) / 2
        left = self._halved(start, middle, depth - 1)
        if left is None:
            return None
        right = self._halved(middle, end, depth - 1)
        return None if right is None else left + right


def make_timeline(
    method: Magnus, problem: Problem, last: float, dtype: DType
) -> Timeline:
    """The stretches between the method's breakpoints in [0, last], each from just after
    one to just before the next.
    """
    edges = []
    now = 0.0
    for t in np.asarray(method.breakpoints):
        if not 0 <= t <= last:
            continue
        # A state at a breakpoint belongs to neither side, so the stretches end a few
        # roundings before and after it.
        sides = beside_breakpoint(np.asarray(t, dtype))
        before, after = (float(side) for side in sides)
        if before > now:
            edges.append((now, before))
        # Two breakpoints may be so near to each other that no stretch is left between
        # them.
        now = max(now, after)
    if last > now:
        edges.append((now, last))
    rounding = CONSTANTS.time_rounding * jnp.finfo(dtype).eps * last
    return Timeline(problem, edges, float(rounding))


def beside_breakpoint(t: AnyArray) -> tuple[AnyArray, AnyArray]:
    """The times just before and just after a breakpoint."""
    distance = CONSTANTS.breakpoint_distance * jnp.finfo(t.dtype).eps * abs(t)
    return t - distance, t + distance

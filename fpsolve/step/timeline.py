"""A moving problem as expansions in time, interval by interval: what a run steps through on the host.

Each stretch between two breakpoints is halved until an expansion of fixed length reaches rounding on every part
(`operator.expand`). The parts depend on the breakpoints alone, not on where a run stands, so a run that is resumed
meets the same ones. Where a stretch needs too many parts, the functions themselves are stepped through.
"""

import dataclasses
import math

from ..operator import OperatorPath
from ..operator.moving import NODES
from .problem import Problem

DEPTH = 7  # halvings of a stretch at most, 128 parts (a free choice: a rough function costs eight vain expansions)
LARGEST = 2**25  # numbers in all parts of a stretch, 256 MiB (a free choice)

Part = tuple[float, float, Problem]


class Timeline:
    """The problem of a run at any time in [0, last], as arrays where that is possible.

    **Arguments**: `problem`, whose operator is an `OperatorPath`; `edges`, the ends of the stretches without a
    breakpoint inside, `(S, 2)`, ascending; `rounding`, how exactly times are known. What is left of a part by so little
    belongs to its neighbour, whose expansion holds there as well.
    """

    def __init__(self, problem: Problem, edges: list[tuple[float, float]], rounding: float):
        self._problem = problem
        self._edges = edges
        self._rounding = rounding
        self._parts: dict[tuple[float, float], list[Part]] = {}
        grid = problem.grid
        # Of the samples a slope on each axis, a well and log pi may depend on time, each as large as the grid.
        numbers = NODES * (grid.ndim + 2) * grid.size
        self._most = LARGEST // numbers

    def covering(self, now: float, end: float = math.inf) -> tuple[Problem, float]:
        """A problem that holds from `now` on, and until when: `end` if it holds until there, to rounding."""
        stretch = next(((a, b) for a, b in self._edges if a <= now < b), None)
        if stretch is None:
            return self._problem, end
        parts = self._split(*stretch)
        _, until, problem = next((part for part in parts if now < part[1] - self._rounding), parts[-1])
        if end - self._rounding < until < stretch[1]:  # a breakpoint is not passed by, however near
            until = end
        return problem, until

    def at(self, t: float) -> Problem:
        """A problem that holds at time t; at the end of a stretch, the one before it."""
        stretch = next(((a, b) for a, b in self._edges if a < t <= b), None)
        if stretch is None:
            return self.covering(t)[0]
        return next(problem for _, end, problem in self._split(*stretch) if t <= end)

    def after(self, until: float) -> float:
        """Where a run goes on that has come to `until`: there, or beyond a breakpoint."""
        if not any(until == end for _, end in self._edges):
            return until
        return next((start for start, _ in self._edges if start >= until), until)

    def _split(self, start: float, end: float) -> list[Part]:
        if (start, end) not in self._parts:
            found = self._halved(start, end, DEPTH) if self._most else None
            whole = found is None or len(found) > self._most
            self._parts[start, end] = [(start, end, self._problem)] if whole or found is None else found
        return self._parts[start, end]

    def _halved(self, start: float, end: float, depth: int) -> list[Part] | None:
        """Parts on which the expansion converges; None where one does not after `depth` halvings."""
        path = self._problem.operator
        assert isinstance(path, OperatorPath)
        operator = path.expanded(start, end)
        if operator is not None:
            return [(start, end, dataclasses.replace(self._problem, operator=operator))]
        if depth == 0:
            return None
        middle = (start + end) / 2
        left = self._halved(start, middle, depth - 1)
        right = None if left is None else self._halved(middle, end, depth - 1)
        return None if left is None or right is None else left + right

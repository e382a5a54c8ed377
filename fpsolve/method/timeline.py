"""A moving problem as expansions in time, interval by interval: what a run steps through on the host.

Each stretch between two breakpoints is halved until an expansion of fixed length reaches rounding (`scheme.expand`).
The intervals depend on the breakpoints alone, not on where a run stands, so a run that is resumed meets the same ones.
"""

import dataclasses
import math

import numpy as np

from ..scheme import EvaluatedPath, OperatorPath, expand
from ..scheme.moving import NODES
from .problem import Problem

DEPTH = 12  # halvings, after which the functions themselves are stepped through: 4096 expansions (a free choice)
LARGEST = (
    2**25
)  # numbers in an expansion, 256 MiB; beyond, the functions themselves are stepped through (a free choice)


class Timeline:
    """The problem of a run at any time in [0, last], as arrays where that is possible.

    **Arguments**: `problem`, whose operator is an `EvaluatedPath`; `edges`, the ends of the stretches without a
    breakpoint inside, `(S, 2)`, ascending.
    """

    def __init__(self, problem: Problem, edges: list[tuple[float, float]]):
        self._problem = problem
        self._edges = edges
        self._found: dict[tuple[float, float], Problem | None] = {}

    def covering(self, now: float) -> tuple[Problem, float]:
        """A problem that holds from `now` on, and until when."""
        path = self._problem.operator
        inside = [(a, b) for a, b in self._edges if a <= now < b]
        if not inside or not isinstance(path, EvaluatedPath) or NODES * _numbers(path) > LARGEST:
            return self._problem, inside[0][1] if inside else math.inf
        start, end = inside[0]
        for _ in range(DEPTH):
            found = self._expanded(path, start, end)
            if found is not None:
                return found, end
            middle = (start + end) / 2
            start, end = (start, middle) if now < middle else (middle, end)
        return self._problem, inside[0][1]

    def at(self, t: float) -> Problem:
        """A problem that holds at time t; at the end of a stretch, the one before it."""
        start = next((a for a, b in self._edges if a < t <= b), None)
        if start is None:
            return self.covering(t)[0]
        now = start
        while True:
            problem, until = self.covering(now)
            if until >= t:
                return problem
            now = until

    def after(self, until: float) -> float:
        """Where a run goes on that has come to `until`: there, or beyond a breakpoint."""
        return next((start for start, _ in self._edges if start >= until), until) if self._ends(until) else until

    def _ends(self, until: float) -> bool:
        return any(until == end for _, end in self._edges)

    def _expanded(self, path: EvaluatedPath, start: float, end: float) -> Problem | None:
        if (start, end) not in self._found:
            operator: OperatorPath | None = expand(path, start, end)
            made = None if operator is None else dataclasses.replace(self._problem, operator=operator)
            self._found[start, end] = made
        return self._found[start, end]


def _numbers(path: EvaluatedPath) -> int:
    """How many numbers of the samples depend on time."""
    layout = path.layout
    moving = [*layout.slope, layout.well, layout.log_gibbs]
    return sum(int(np.prod(leaf.shape)) for leaf in moving if leaf is not None)

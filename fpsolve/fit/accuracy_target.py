"""What an answer on one axis is compared by: states at given times, or levels."""

import dataclasses
from typing import Any

import numpy as np

from ..grid import Axis
from .constants import CONSTANTS
from .slice_evolution import SliceStates, relative_distance, solve_slice
from .slice_problem import SliceProblem


@dataclasses.dataclass(frozen=True)
class AccuracyTarget:
    """States at `times` `(T,)`, or the `k` lowest levels where `times` is None, to a
    relative error `tol`.
    """

    tol: float
    times: np.ndarray | None
    k: int

    def answer(self, problem: SliceProblem, axis: Axis) -> Any:
        """The states, or the levels and modes, on one axis."""
        if self.times is not None:
            return solve_slice(problem, axis, self.times, forbid_clipping=True)
        return problem.modes(axis)

    def error(
        self,
        problem: SliceProblem,
        axis: Axis,
        reference: Any,
        forbid_clipping: bool = False,
    ) -> float:
        """The relative error of a trial against the `answer` of a reference, the
        largest over times or levels.
        """
        if self.times is not None:
            trial = solve_slice(problem, axis, self.times, forbid_clipping)
            return float(np.max(relative_distance(trial, reference)))
        # An axis with fewer nodes than levels cannot have them all.
        if axis.n < self.k:
            return np.inf
        # more levels than requested: the third sets the scale of a small gap
        all_exact = reference[0]
        levels = problem.levels(axis)[: self.k]
        exact = all_exact[: self.k]
        smallest_gap = CONSTANTS.small_gap * all_exact[min(2, len(all_exact) - 1)]
        return level_error(levels, exact, problem.evolves_density, smallest_gap)

    def ground_level_error(self, problem: SliceProblem, axis: Axis) -> float:
        """How far the ground level of a Fokker-Planck equation is from zero, relative
        to its gap.

        A kink in U shows here: it makes V singular, and coarse and fine levels may
        agree on a wrong value.
        """
        if self.times is not None or not problem.evolves_density:
            return 0.0
        # Where mass leaves at the ends, the ground level is no zero.
        if axis.boundary == "absorbing":
            return 0.0
        levels = problem.levels(axis)
        # As in `level_error`: a gap far below the next level has lost its digits.
        gap = max(levels[1], CONSTANTS.small_gap * levels[2])
        return float(abs(levels[0]) / gap)

    def envelope(self, answer: Any) -> np.ndarray:
        """The largest density `(n,)` at each node of an answer, each density relative
        to its own peak.
        """
        if not isinstance(answer, SliceStates):
            densities = answer[1][:, : self.k] ** 2
            return np.max(densities / np.max(densities, axis=0), axis=1)
        problem = answer.problem
        assert problem.initial is not None, "states need an initial state"
        if problem.evolves_density:
            first = problem.initial_density(answer.axis)
        else:
            first = np.abs(problem.initial(answer.axis.nodes))
        # The initial state counts, too, even if t = 0 is not among the times.
        values = np.concatenate([np.abs(answer.values), first[None]])
        relative = values / np.max(values, axis=1, keepdims=True)
        peaks = np.max(relative, axis=0)
        if answer.log_sqrt_pi is None or not problem.evolves_density:
            return peaks
        # A wave also needs sqrt(pi) to have decayed at the ends of the box.
        largest = np.max(answer.log_sqrt_pi, axis=1, keepdims=True)
        sqrt_pi = np.max(np.exp(answer.log_sqrt_pi - largest), axis=0)
        return np.maximum(peaks, sqrt_pi**2)


def level_error(
    levels: np.ndarray,
    exact: np.ndarray,
    evolves_density: bool,
    smallest_gap: float = 0.0,
) -> float:
    """The largest relative error of levels `(k,)`. That of level 0 of a Fokker-Planck
    equation, which is zero, is relative to the gap.

    A gap below `smallest_gap` is replaced by it. A run finds small gaps through the
    factor A, or from a supersymmetric partner, with more digits than the eigenvalues of
    H have that are compared here.
    """
    scale = np.abs(exact)
    gap = exact[1] - exact[0] if len(exact) > 1 else 1.0
    if evolves_density:
        is_ground = np.arange(len(exact)) == 0
        scale = np.maximum(np.where(is_ground, gap, scale), smallest_gap)
    else:
        # A level of a Schrodinger equation may be near zero, where a relative error has
        # no meaning.
        spread = exact[-1] - exact[0] if len(exact) > 1 else 0.0
        least = max(CONSTANTS.small_gap * gap, CONSTANTS.zero_level * spread)
        scale = np.maximum(scale, least)
    # Of a single level no gap is known; the exact value of the ground level is then 0,
    # and its error is absolute.
    if evolves_density and len(exact) == 1:
        exact = np.zeros(1)
    return float(np.max(np.abs(levels - exact) / scale))

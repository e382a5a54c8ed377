"""An evolution on companion grids: the answers that a second look compares.

A companion (`plan.companion`) has other nodes and another box. The answer on it is
brought to the nodes of the first grid by the accuracy of the scheme (`interpolation`).
"""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..equation import Equation
from ..grid import Grid
from ..operator.constants import CONSTANTS as OPERATOR
from ..plan import Outcome, Plan, validate
from ..plan.companion import companion
from ..plan.plan import plan_for, plan_in_wave_picture
from ..plan.run import run, run_accepted
from ..propagate import Chebyshev, Picture
from .constants import CONSTANTS
from .interpolation import interpolate, moved_as_wave


@dataclasses.dataclass(frozen=True)
class Answer:
    """Values on the grid of a plan, how they were evolved, and at which of its output
    times `(T,)` they are compared with others: at the positions `compared` `(K,)`.
    """

    plan: Plan
    outcome: Outcome
    compared: np.ndarray

    @property
    def values_with_start(self) -> np.ndarray:
        """The state at t = 0, then those that are compared, `(1 + K, *shape)`."""
        start = np.asarray(self.plan.field)[None]
        later = np.asarray(self.outcome.values)[self.compared]
        return np.concatenate([start, later])

    @property
    def times_with_start(self) -> np.ndarray:
        """0, then the output times that are compared, `(1 + K,)`."""
        times = np.asarray(self.plan.times)[self.compared]
        return np.concatenate([np.zeros(1, times.dtype), times])

    def at_nodes_of(self, other: "Answer") -> np.ndarray:
        """The state at t = 0 and the others at the nodes of another answer,
        `(1 + K, *shape)`.
        """
        equation = self.plan.request.equation
        grid = self.plan.grid
        values = self.values_with_start
        times = self.times_with_start
        spectral = self.plan.scheme.spectral
        as_wave = self.plan.problem.picture is Picture.GIBBS_WAVE
        if spectral and as_wave and _has_absolute_gibbs(equation):
            # log pi is known at the nodes of both: nothing is sampled. The start is
            # clipped as the run clips it; later states were waves of the run.
            fraction = self.plan.tol * OPERATOR.clipping_tol_fraction
            clipped = [fraction if t == 0 else None for t in times]
            before, after = self.log_gibbs, other.log_gibbs
            moved = [
                moved_as_wave(grid, other.plan.grid, before, after, *state)
                for state in zip(values, clipped, strict=True)
            ]
            return np.stack(moved)
        found = interpolate(
            equation,
            grid,
            other.plan.grid,
            times,
            as_array(values, values.dtype),
            spectral=spectral,
            as_wave=as_wave,
        )
        return np.asarray(found)

    @property
    def log_gibbs(self) -> np.ndarray:
        """log pi up to a constant at the nodes, `(*shape)`."""
        sampled = self.plan.request.sampled
        return np.asarray(sampled.samples(self.plan.scheme).log_gibbs)


def _has_absolute_gibbs(equation: Equation) -> bool:
    """Whether samples of log pi on two grids have the same constant: with several
    diffusions it depends on the grid.
    """
    return (
        not equation.time_dependent
        and equation.evolves_density
        and np.ndim(equation.diffusion) == 0
    )


def solve_companions(answer: Answer) -> tuple[Answer, ...]:
    """The answers on the companion and on the companion of that, where they exist."""
    first = _solve_companion(answer)
    if first is None:
        return ()
    # The second shows how fast the differences fall.
    second = _solve_companion(first)
    return (first,) if second is None else (first, second)


def _solve_companion(answer: Answer) -> Answer | None:
    """The answer on the companion grid; None where there is none."""
    # In a wider box the drift may be so strong that a run takes many times as long:
    # then the box is kept.
    for widen in (True, False):
        times = answer.times_with_start[1:]
        first = _companion_plan(answer.plan, times, widen)
        if first is None or not _is_affordable(first, answer.plan):
            continue
        # At the ends of a wider box a start may be too far above sqrt(pi) for a wave.
        if widen and _evolves_density(first) and not _evolves_density(answer.plan):
            continue

        # `first` is bound now, since the next turn of the loop has another one.
        def may_try(fallback: Plan, first: Plan = first) -> bool:
            # All functions in place of the larger basis may take far too long.
            same_kind = bool(_ranks(first)) == bool(_ranks(fallback))
            return same_kind and _is_affordable(fallback, answer.plan)

        other, outcome = run_accepted(first, run, may_try)
        if np.all(np.isfinite(np.asarray(outcome.values))):
            return Answer(other, outcome, np.arange(len(outcome.values)))
    return None


def _companion_plan(plan: Plan, times: np.ndarray, widen: bool) -> Plan | None:
    """The plan of the same problem to `times` `(K,)` on a companion grid; None where
    its functions cannot be sampled.
    """
    request = plan.request
    grid = companion(plan.grid, plan.scheme.spectral, widen)
    initial = request.initial if request.smooth else _start_on(plan, grid)
    method = request.method
    if isinstance(plan.method, Chebyshev) and plan.method.ranks is not None:
        # What a smaller basis misses is seen in a larger one. All functions would take
        # many times as long.
        method = Chebyshev(_larger(plan.method.ranks, grid), plan.method.stretch)
    options = (
        plan.scheme,
        method,
        request.tol,
        request.wick,
        None,
        request.breakpoints,
    )
    try:
        other = validate(request.equation, initial, times, grid, *options)
        chosen = other.choose(other.scheme)
        # Coarser nodes may not resolve the wave to the tolerance. It is evolved all the
        # same: what it is not resolved to belongs to the difference, and a density
        # would need another program, which may take many times as long.
        is_wave = plan.problem.picture is Picture.GIBBS_WAVE
        if is_wave and chosen.wave_in_range and chosen.picture is Picture.DENSITY:
            return plan_in_wave_picture(other, chosen, "but it is compared with a wave")
        return plan_for(other, chosen)
    except ValueError:
        # A function that is not finite beyond the box, or too little memory.
        return None


def _ranks(plan: Plan) -> tuple[int, ...]:
    """The functions of each axis in which a plan runs; none for all."""
    if not isinstance(plan.method, Chebyshev):
        return ()
    return tuple(plan.method.ranks or ())


def _larger(ranks: tuple[int, ...], grid: Grid) -> tuple[int, ...]:
    """The numbers of functions of a larger basis; none for all functions."""
    if not ranks:
        return ()
    larger = [
        CONSTANTS.larger_basis * rank + CONSTANTS.more_functions for rank in ranks
    ]
    # No axis has more functions than nodes.
    return tuple(
        min(math.ceil(rank), n) for rank, n in zip(larger, grid.shape, strict=True)
    )


def _is_affordable(other: Plan, plan: Plan) -> bool:
    """Whether a companion is estimated to take not much longer than the run itself."""
    # What could not be estimated is run.
    if other.seconds is None or plan.seconds is None:
        return True
    longest = CONSTANTS.costliest_companion * plan.seconds + CONSTANTS.companion_seconds
    return other.seconds <= longest


def _evolves_density(plan: Plan) -> bool:
    return plan.problem.picture is Picture.DENSITY


def _start_on(plan: Plan, grid: Grid) -> Array:
    """An initial state that was given as an array, at the nodes of another grid."""
    field = plan.request.given
    zero = jnp.zeros(1, plan.times.dtype)
    moved = interpolate(
        plan.request.equation,
        plan.grid,
        grid,
        zero,
        field[None],
        spectral=plan.scheme.spectral,
        as_wave=plan.problem.picture is Picture.GIBBS_WAVE,
        # The wave of the run itself: in tails of a density, whose interpolation has
        # errors of rounding of its peak, that error over a small sqrt(pi) would be a
        # large wave that no grid resolves.
        clipped=plan.tol * OPERATOR.clipping_tol_fraction,
    )[0]
    if plan.problem.picture is Picture.WAVE:
        return moved
    # Interpolation errs, also to below zero, which a density may not be.
    return jnp.maximum(moved, 0)

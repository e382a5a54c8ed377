"""The second look at an evolution: the same problem on two companion grids, with other
nodes and other boxes.

    inside     d = int |p - q| over the box, q the companion's answer at the nodes of p
    outside    the mass that q has beyond the ends of the box, and an exponential tail beyond those of its own
    start      the same two at t = 0, as far as they are still seen later

The companion (`plan.companion`) is coarser and wider, so that d is the error of the
coarser answer in space, and of the narrower box, if errors fall fast. Whether they do
is seen from d', the difference between the companion and its own companion. If each
step to a finer grid leaves a part r = d / d' of the difference, the steps still to come
add up to

    d (r + r^2 + ...) = d r / (1 - r)

which is Richardson's extrapolation with the observed order. The error is the larger one
of this and d, and not below a fixed part of d': two answers may agree by chance.

Reference: Roache, Verification and Validation in Computational Science and Engineering
(1998), chapter 5.
"""

import dataclasses
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, spread_positions
from ..core.checks import is_concrete
from ..core.decision import Decision
from ..core.types import Initial
from ..equation import Equation
from ..fit.constants import CONSTANTS as FIT
from ..grid import Gaussian, Grid
from ..operator.constants import CONSTANTS as OPERATOR
from ..plan import Outcome, Plan, validate
from ..plan.companion import companion
from ..plan.error_parts import ErrorParts
from ..plan.plan import plan_for, plan_in_wave_picture
from ..plan.run import run, run_accepted
from ..plan.single_look import single_look, tails_beyond
from ..propagate import Chebyshev, Picture
from .between_nodes import misplaced_start, unseen_features, unseen_start
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
        return np.concatenate(
            [
                np.asarray(self.plan.field)[None],
                np.asarray(self.outcome.values)[self.compared],
            ]
        )

    @property
    def times_with_start(self) -> np.ndarray:
        """0, then the output times that are compared, `(1 + K,)`."""
        times = np.asarray(self.plan.times)[self.compared]
        return np.concatenate([np.zeros(1, times.dtype), times])

    def at_nodes_of(self, other: "Answer") -> np.ndarray:
        """The state at t = 0 and the others at the nodes of another answer,
        `(1 + K, *shape)`.
        """
        request, grid = self.plan.request, other.plan.grid
        values = self.values_with_start
        as_wave = self.plan.problem.picture is Picture.GIBBS_WAVE
        if (
            self.plan.scheme.spectral
            and as_wave
            and _has_absolute_gibbs(request.equation)
        ):
            # log pi is known at the nodes of both: nothing is sampled. The start is
            # clipped as the run clips it; later states were waves of the run.
            fraction = self.plan.tol * OPERATOR.clipping_tol_fraction
            clipped = [fraction if t == 0 else None for t in self.times_with_start]
            before, after = self.log_gibbs, other.log_gibbs
            moved = [
                moved_as_wave(self.plan.grid, grid, before, after, *state)
                for state in zip(values, clipped, strict=True)
            ]
            return np.stack(moved)
        times = self.times_with_start
        spectral = self.plan.scheme.spectral
        states = as_array(values, values.dtype)
        found = interpolate(
            request.equation,
            self.plan.grid,
            grid,
            times,
            states,
            spectral=spectral,
            as_wave=as_wave,
        )
        return np.asarray(found)

    @property
    def log_gibbs(self) -> np.ndarray:
        """log pi up to a constant at the nodes, `(*shape)`."""
        return np.asarray(self.plan.request.sampled.samples(self.plan.scheme).log_gibbs)


def _has_absolute_gibbs(equation: Equation) -> bool:
    """Whether samples of log pi on two grids have the same constant: with several
    diffusions it depends on the grid.
    """
    return (
        not equation.time_dependent
        and equation.evolves_density
        and np.ndim(equation.diffusion) == 0
    )


class Look(NamedTuple):
    """The parts of the error of a run, how they were found, and whether the box is what
    limits it.

    A companion has a wider box and longer cells. Where the box is too narrow, two
    companions agree with one another better than with the run; where cells are too
    long, it is the other way round.
    """

    parts: ErrorParts
    decision: Decision
    narrow: bool = False

    @property
    def compared(self) -> bool:
        """Whether the run was compared with another one."""
        return self.decision.choice == "companion"

    @property
    def worst(self) -> float:
        """The largest whole error; infinity where it is not known."""
        return float(np.nan_to_num(np.max(np.asarray(self.parts.whole)), nan=np.inf))


def look(plan: Plan, outcome: Outcome, check: bool) -> Look:
    """The error of a run. With `check`, the problem is solved on two companions."""
    found = _look(plan, outcome, check)
    # What was set to zero in a start that was given as an array, no run can see.
    if (negative := plan.request.negative_mass) > 0:
        parts = found.parts
        found = found._replace(
            parts=parts._replace(
                start=parts.start + as_array(negative, parts.start.dtype)
            )
        )
    return found


def _look(plan: Plan, outcome: Outcome, check: bool) -> Look:
    # Under a transformation nothing can be repeated on the host.
    if not is_concrete(
        plan.request.equation, plan.start, outcome.values, outcome.error, plan.times
    ):
        return Look(
            single_look(plan, outcome),
            Decision("run", "nothing is repeated under a transformation of JAX"),
        )
    if not check:
        return Look(single_look(plan, outcome), Decision("run", "check=False"))
    if not _on_one_device(outcome.values):
        return Look(
            single_look(plan, outcome),
            Decision("run", "the values are placed on several devices"),
        )
    answer = Answer(plan, outcome, _compared_times(plan))
    companions = _solve_companions(answer)
    if not companions:
        unknown = as_array(np.full(len(outcome.error), np.nan), outcome.error.dtype)
        because = (
            "the companion grid could not be solved, so the error in space is not known"
        )
        return Look(
            ErrorParts(outcome.error, unknown, unknown, unknown),
            Decision("none", because),
        )
    axes = companions[0].plan.grid.axes
    decision = Decision("companion", f"compared with {' x '.join(map(repr, axes))}")
    parts, narrow = _compare(answer, *companions)
    # A fit has looked between its nodes.
    if not plan.request.fitted:
        parts = _with_unseen(answer, parts)
    return Look(_with_misplaced(answer, parts), decision, narrow)


def _solve_companions(answer: Answer) -> tuple[Answer, ...]:
    """The answers on the companion grid and on the companion of that, as far as they
    exist.
    """
    first = _solve_companion(answer)
    if first is None:
        return ()
    second = _solve_companion(first)
    return (first,) if second is None else (first, second)


def _compared_times(plan: Plan) -> np.ndarray:
    """The positions of the output times at which a run is compared with its companions,
    `(K,)`, ascending.

    A static problem reaches all times at once. A moving one is integrated from one to
    the next: with fewer of them its companions take longer steps.
    """
    count = len(plan.times)
    return spread_positions(
        count, CONSTANTS.compared_times if plan.problem.time_dependent else count
    )


def _at_all_times(row: np.ndarray, compared: np.ndarray, count: int) -> np.ndarray:
    """Errors `(K,)` of the times that were compared at all output times `(T,)`: between
    two, the larger one.
    """
    positions = np.arange(count)
    after = np.searchsorted(compared, positions)
    before = np.searchsorted(compared, positions, side="right") - 1
    return np.maximum(row[before], row[after])


def _on_one_device(values: Array) -> bool:
    return not hasattr(values, "sharding") or len(values.sharding.device_set) == 1


def _solve_companion(answer: Answer) -> Answer | None:
    """The answer on the companion grid; None where there is none."""
    # In a wider box the drift may be so strong that a run takes many times as long:
    # then the box is kept.
    for widen in (True, False):
        first = _companion_plan(answer.plan, answer.times_with_start[1:], widen)
        if first is None or not _is_affordable(first, answer.plan):
            continue
        # The start may be too far above sqrt(pi) at the ends of a wider box for the
        # wave.
        if widen and _evolves_density(first) and not _evolves_density(answer.plan):
            continue

        def may_try(fallback: Plan, first: Plan = first) -> bool:
            # All functions in the place of the larger basis may take thousands of times
            # as long.
            return bool(_ranks(first)) == bool(_ranks(fallback)) and _is_affordable(
                fallback, answer.plan
            )

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
    return tuple(plan.method.ranks or ()) if isinstance(plan.method, Chebyshev) else ()


def _larger(ranks: tuple[int, ...], grid: Grid) -> tuple[int, ...]:
    """The numbers of functions of a larger basis; none for all functions."""
    larger = [
        CONSTANTS.larger_basis * rank + CONSTANTS.more_functions for rank in ranks
    ]
    return (
        tuple(
            min(math.ceil(rank), n) for rank, n in zip(larger, grid.shape, strict=True)
        )
        if ranks
        else ()
    )


def _is_affordable(other: Plan, plan: Plan) -> bool:
    """Whether a run on a companion grid is estimated to take not much longer than the
    run itself.
    """
    if other.seconds is None or plan.seconds is None:
        return True
    return (
        other.seconds
        <= CONSTANTS.costliest_companion * plan.seconds + CONSTANTS.companion_seconds
    )


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
    # Interpolation leaves values below zero by its own error, which a density may not
    # have.
    return jnp.maximum(moved, 0)


def _compare(
    answer: Answer, other: Answer, third: Answer | None = None
) -> tuple[ErrorParts, bool]:
    """The parts of the error of `answer`, from its companion and the companion of that,
    and whether its box is too narrow.
    """
    reference = other.at_nodes_of(answer)
    difference = _difference(answer, reference)
    steps = ratio = np.ones(len(difference))
    if third is not None:
        before = _difference(other, third.at_nodes_of(other))
        ratio = difference / np.maximum(before, np.finfo(before.dtype).tiny)
        # On finite volumes, and of sines at walls where a second derivative is not
        # zero, convergence is algebraic.
        algebraic = not answer.plan.scheme.spectral or answer.plan.grid.absorbs
        fastest = (
            CONSTANTS.fastest_algebraic if algebraic else CONSTANTS.fastest_convergence
        )
        difference = np.maximum(difference, before / fastest)
        # Slow convergence leaves about the same difference at each step. Where
        # functions of a basis make the first one several times larger, one of the first
        # two runs differs from the two others, and the difference is its error.
        steps = ratio if algebraic else np.minimum(ratio, 1 / np.maximum(ratio, 1))
    inside = difference * _convergence_factor(steps)
    outside = _outside(answer, other, reference)
    # At t = 0 the values are the initial state as it was given.
    at_start = answer.times_with_start == 0

    whole = inside + outside
    box = np.minimum(2 * outside, whole)
    # A difference of the two starts decays, and is seen later at most as it was.
    start = np.minimum(whole - box, inside[0])
    space = whole - box - start
    space, start = np.where(at_start, 0, space), np.where(at_start, 0, start)
    error = answer.outcome.error
    rows = (
        _at_all_times(part[1:], answer.compared, len(error))
        for part in (space, box, start)
    )
    parts = (as_array(row, error.dtype) for row in rows)
    narrow = bool(ratio[np.argmax(np.where(at_start, 0, whole))] > CONSTANTS.narrow_box)
    return ErrorParts(error, *parts), narrow


def _with_misplaced(answer: Answer, parts: ErrorParts) -> ErrorParts:
    """The parts of an error, with that of the start at least what its own dense values
    show.

    Companions may err alike by chance in the mass of a narrow peak. How it decays, they
    tell.
    """
    request = answer.plan.request
    initial: Initial = request.initial
    if (
        not callable(initial)
        or isinstance(initial, Gaussian)
        or not request.equation.evolves_density
    ):
        return parts
    times, whole = np.asarray(request.times), np.asarray(parts.whole)
    after = np.flatnonzero(times > 0)
    if not len(after) or not whole[after[0]] > 0:
        return parts
    decay = np.where(times > 0, np.minimum(whole / whole[after[0]], 1), 0)
    least = (
        misplaced_start(initial, request.grid, np.asarray(answer.plan.field)) * decay
    )
    return parts._replace(
        start=as_array(np.maximum(np.asarray(parts.start), least), parts.start.dtype)
    )


def _with_unseen(answer: Answer, parts: ErrorParts) -> ErrorParts:
    """The parts of an error, and what lies between the nodes of a given grid and of its
    companions.
    """
    request, grid = answer.plan.request, answer.plan.grid
    dtype = parts.time.dtype
    times = np.asarray(request.times, float)
    moments = (
        times[-1] * np.asarray(FIT.look_times)
        if request.equation.time_dependent
        else np.zeros(1)
    )
    features = unseen_features(request.equation, request.grid, moments)
    if np.any(features):
        states = np.abs(np.asarray(answer.outcome.values))
        share = grid.integrate_on_host(states * features) / grid.integrate_on_host(
            states
        )
        # Mass that is missing in one place is too much in others, and a rate acts over
        # the time.
        share = 2 * share if request.equation.evolves_density else share * times
        # Nothing is known where it exceeds the state. At t = 0 no feature has acted.
        share = np.where(times > 0, np.minimum(share, 1), 0)
        parts = parts._replace(space=as_array(np.asarray(parts.space) + share, dtype))
    initial: Initial = request.initial
    if callable(initial) and not isinstance(initial, Gaussian):
        missed = unseen_start(initial, request.grid)
        parts = parts._replace(
            start=as_array(np.asarray(parts.start) + 2 * missed, dtype)
        )
    return parts


def _difference(answer: Answer, reference: np.ndarray) -> np.ndarray:
    """The relative L1 difference `(1 + T,)` of an answer and other values at its nodes."""
    grid, values = answer.plan.grid, answer.values_with_start
    return grid.integrate_on_host(np.abs(values - reference)) / grid.integrate_on_host(
        np.abs(values)
    )


def _convergence_factor(ratio: np.ndarray) -> np.ndarray:
    """max(1, r / (1 - r)), with r the part of the difference that each step to a finer
    grid leaves, `(1 + T,)`.
    """
    ratio = np.minimum(ratio, CONSTANTS.slowest_convergence)
    return np.maximum(1, ratio / (1 - ratio))


def _outside(answer: Answer, other: Answer, reference: np.ndarray) -> np.ndarray:
    """The mass `(1 + T,)` beyond the ends of the lines of `answer`; `reference` is that
    of `other` at its nodes.
    """
    if not any(axis.unbounded for axis in answer.plan.grid.axes):
        return np.zeros(len(reference))
    states = np.abs(other.values_with_start)
    mass = other.plan.grid.integrate_on_host(states)
    if answer.plan.request.equation.evolves_density:
        # Short waves of coarse nodes cancel in the integral of a density, and are no
        # mass beyond the ends.
        signed = other.plan.grid.integrate_on_host(other.values_with_start)
        beyond = signed - answer.plan.grid.integrate_on_host(reference)
    else:
        beyond = mass - answer.plan.grid.integrate_on_host(np.abs(reference))
    # The two integrals agree only to the accuracy of the nodes: a negative difference
    # is no mass.
    seen = np.maximum(beyond, 0)
    # A companion that is too narrow as well says so by its own tails.
    tails = tails_beyond(other.plan.grid, states, np)
    return (seen + mass * tails) / answer.plan.grid.integrate_on_host(
        np.abs(answer.values_with_start)
    )

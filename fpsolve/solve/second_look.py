"""The second look at an evolution: the same problem on two companion grids, with other
nodes and other boxes.

    inside     d = int |p - q| over the box, q the companion's answer at the nodes of p
    outside    the mass that q has beyond the ends of the box, and an exponential tail
               beyond those of its own
    start      the same two at t = 0, as far as they are still seen later

The companion (`companion_runs`) is coarser and wider, so that d is the error of the
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

from typing import NamedTuple

import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, spread_positions
from ..core.checks import is_concrete
from ..core.decision import Decision
from ..core.types import Initial
from ..fit.constants import CONSTANTS as FIT
from ..grid import Gaussian
from ..plan import Outcome, Plan
from ..plan.error_parts import ErrorParts
from ..plan.single_look import single_look, tails_beyond
from .between_nodes import misplaced_start, unseen_features, unseen_start
from .companion_runs import Answer, solve_companions
from .constants import CONSTANTS


class Look(NamedTuple):
    """The parts of the error of a run, their origin, and whether the box limits it.

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
        worst = np.max(np.asarray(self.parts.whole))
        return float(np.nan_to_num(worst, nan=np.inf))


def look(plan: Plan, outcome: Outcome, check: bool) -> Look:
    """The error of a run. With `check`, the problem is solved on two companions."""
    found = _look(plan, outcome, check)
    # What was set to zero in a start that was given as an array, no run can see.
    if (negative := plan.request.negative_mass) > 0:
        start = found.parts.start
        start = start + as_array(negative, start.dtype)
        found = found._replace(parts=found.parts._replace(start=start))
    return found


def _look(plan: Plan, outcome: Outcome, check: bool) -> Look:
    # Under a transformation nothing can be repeated on the host.
    concrete = is_concrete(
        plan.request.equation, plan.start, outcome.values, outcome.error, plan.times
    )
    if not concrete:
        why = "nothing is repeated under a transformation of JAX"
        return Look(single_look(plan, outcome), Decision("run", why))
    if not check:
        return Look(single_look(plan, outcome), Decision("run", "check=False"))
    if not _on_one_device(outcome.values):
        why = "the values are placed on several devices"
        return Look(single_look(plan, outcome), Decision("run", why))
    answer = Answer(plan, outcome, _compared_times(plan))
    companions = solve_companions(answer)
    if not companions:
        error = outcome.error
        unknown = as_array(np.full(len(error), np.nan), error.dtype)
        parts = ErrorParts(error, unknown, unknown, unknown)
        why = (
            "the companion grid could not be solved, so the error in space is not known"
        )
        return Look(parts, Decision("none", why))
    axes = companions[0].plan.grid.axes
    decision = Decision("companion", f"compared with {' x '.join(map(repr, axes))}")
    parts, narrow = _compare(answer, *companions)
    # A fit has looked between its nodes.
    if not plan.request.fitted:
        parts = _with_unseen(answer, parts)
    return Look(_with_misplaced(answer, parts), decision, narrow)


def _compared_times(plan: Plan) -> np.ndarray:
    """The positions of the output times at which a run is compared with its companions,
    `(K,)`, ascending.

    A static problem reaches all times at once. A moving one is integrated from one to
    the next: with fewer of them its companions take longer steps.
    """
    count = len(plan.times)
    wanted = CONSTANTS.compared_times if plan.problem.time_dependent else count
    return spread_positions(count, wanted)


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


def _compare(
    answer: Answer, other: Answer, third: Answer | None = None
) -> tuple[ErrorParts, bool]:
    """The parts of the error of `answer`, from its companion and the companion of that,
    and whether its box is too narrow.
    """
    reference = other.at_nodes_of(answer)
    difference = _difference(answer, reference)
    ratio = np.ones(len(difference))
    steps = ratio
    if third is not None:
        before = _difference(other, third.at_nodes_of(other))
        # `tiny` stands for two companions that agree to the last bit.
        ratio = difference / np.maximum(before, np.finfo(before.dtype).tiny)
        # On finite volumes, and of sines at walls where a second derivative is not
        # zero, convergence is algebraic.
        algebraic = not answer.plan.scheme.spectral or answer.plan.grid.absorbs
        fastest = CONSTANTS.fastest_convergence
        if algebraic:
            fastest = CONSTANTS.fastest_algebraic
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
    # What is missing beyond the box is too much inside.
    box = np.minimum(2 * outside, whole)
    # A difference of the two starts decays, and is seen later at most as it was.
    start = np.minimum(whole - box, inside[0])
    space = whole - box - start
    space = np.where(at_start, 0, space)
    start = np.where(at_start, 0, start)
    error = answer.outcome.error
    # The first row, t = 0, is no output time.
    rows = (
        _at_all_times(part[1:], answer.compared, len(error))
        for part in (space, box, start)
    )
    parts = (as_array(row, error.dtype) for row in rows)
    worst = np.argmax(np.where(at_start, 0, whole))
    return ErrorParts(error, *parts), bool(ratio[worst] > CONSTANTS.narrow_box)


def _with_misplaced(answer: Answer, parts: ErrorParts) -> ErrorParts:
    """The parts of an error, the start at least what its own dense values show.

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
    times = np.asarray(request.times)
    whole = np.asarray(parts.whole)
    after = np.flatnonzero(times > 0)
    if not len(after) or not whole[after[0]] > 0:
        return parts
    # The part of the first error that is left; a start decays.
    remaining = np.minimum(whole / whole[after[0]], 1)
    decay = np.where(times > 0, remaining, 0)
    field = np.asarray(answer.plan.field)
    least = misplaced_start(initial, request.grid, field) * decay
    start = np.maximum(np.asarray(parts.start), least)
    return parts._replace(start=as_array(start, parts.start.dtype))


def _with_unseen(answer: Answer, parts: ErrorParts) -> ErrorParts:
    """The parts of an error, and what lies between the nodes of all grids."""
    request = answer.plan.request
    grid = answer.plan.grid
    dtype = parts.time.dtype
    times = np.asarray(request.times, float)
    moments = np.zeros(1)
    if request.equation.time_dependent:
        moments = times[-1] * np.asarray(FIT.look_times)
    features = unseen_features(request.equation, request.grid, moments)
    if np.any(features):
        states = np.abs(np.asarray(answer.outcome.values))
        mass = grid.integrate_on_host(states)
        share = grid.integrate_on_host(states * features) / mass
        # Mass that is missing in one place is too much in others, and a rate acts over
        # the time.
        share = 2 * share if request.equation.evolves_density else share * times
        # Nothing is known where it exceeds the state. At t = 0 no feature has acted.
        share = np.where(times > 0, np.minimum(share, 1), 0)
        space = np.asarray(parts.space) + share
        parts = parts._replace(space=as_array(space, dtype))
    initial: Initial = request.initial
    # Of a Gaussian nothing is missed: cells too wide for it hold its averages.
    if callable(initial) and not isinstance(initial, Gaussian):
        missed = unseen_start(initial, request.grid)
        start = np.asarray(parts.start) + 2 * missed
        parts = parts._replace(start=as_array(start, dtype))
    return parts


def _difference(answer: Answer, reference: np.ndarray) -> np.ndarray:
    """The relative L1 difference `(1 + T,)` of an answer and values at its nodes."""
    grid = answer.plan.grid
    values = answer.values_with_start
    apart = grid.integrate_on_host(np.abs(values - reference))
    return apart / grid.integrate_on_host(np.abs(values))


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
    grid = answer.plan.grid
    wider = other.plan.grid
    if not any(axis.unbounded for axis in grid.axes):
        return np.zeros(len(reference))
    values = other.values_with_start
    states = np.abs(values)
    mass = wider.integrate_on_host(states)
    if answer.plan.request.equation.evolves_density:
        # Short waves of coarse nodes cancel in the integral of a density, and are no
        # mass beyond the ends.
        signed = wider.integrate_on_host(values)
        beyond = signed - grid.integrate_on_host(reference)
    else:
        beyond = mass - grid.integrate_on_host(np.abs(reference))
    # The two integrals agree only to the accuracy of the nodes: a negative difference
    # is no mass.
    seen = np.maximum(beyond, 0)
    # A companion that is too narrow as well says so by its own tails.
    tails = tails_beyond(wider, states, np)
    own_mass = grid.integrate_on_host(np.abs(answer.values_with_start))
    return (seen + mass * tails) / own_mass

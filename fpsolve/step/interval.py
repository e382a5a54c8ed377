"""One interval between two output times of a moving problem, past its breakpoints.

A wave on a spectral grid is integrated by collocation, anything else by midpoint steps
with extrapolation. No step crosses a jump or a kink in time. `Prediction` passes the
number of steps on from one interval to the next.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import compiled, quick_program, run_program, shape_program
from ..core.types import Scalar, Time
from ..propagate.base import Picture
from .collocation import integrate_adaptive, integrate_fixed
from .collocation_step import StepperState
from .constants import CONSTANTS
from .magnus import Magnus
from .midpoint import adaptive_levels, extrapolate, fixed_levels, run_seconds
from .problem import Problem
from .ranks import choose_ranks, rank_errors
from .timeline import Timeline, beside_breakpoint


class Prediction(NamedTuple):
    """How many steps the next interval of the same length is likely to take, 0 if
    unknown, and of which kind.

    `by_midpoints` is set after collocation has failed at length, so that it is not
    tried again in every interval.
    """

    steps: int = 0
    by_midpoints: bool = False

    def scaled(self, factor: float) -> "Prediction":
        """The same for an interval that is `factor` times as long."""
        if self.steps == 0 or factor == 1:
            return self
        return self._replace(steps=max(1, round(self.steps * factor)))

    @property
    def number(self) -> int:
        """One number for it, as a checkpoint keeps it: negative for midpoints."""
        return -self.steps if self.by_midpoints else self.steps

    @classmethod
    def from_number(cls, number: int) -> "Prediction":
        """The prediction that `number` stands for."""
        return cls(abs(number), number < 0)


class StepResult(NamedTuple):
    """The field after an interval, the operator calls, the estimated relative error,
    and what the next may take.
    """

    field: Array
    calls: Scalar
    error: Scalar
    prediction: Prediction


class EvenResult(NamedTuple):
    """The field after an interval of equal steps, the operator calls, and the estimated
    relative error.
    """

    field: Array
    calls: Array
    error: Array


def integrate_interval(
    method: Magnus,
    timeline: Timeline,
    field: Array,
    start: Time,
    end: Time,
    tol: float,
    prediction: Prediction,
) -> StepResult:
    """Integrate one interval in steps chosen for `tol`; times are numbers of numpy."""
    number = field.real.dtype.type
    calls = 0.0
    error = 0.0
    now = number(start)
    # Each part gets the part of the tolerance that its length is of the interval.
    whole = float(end) - float(start)
    while now < end:
        problem, until = timeline.covering(float(now), float(end))
        # The end of a stretch may lie below `now` by rounding in the precision of the
        # run.
        stop = min(number(min(until, float(end))), number(end))
        if stop > now:
            part = float(stop - now) / whole
            taken = _integrate_part(
                method, problem, field, now, stop, tol * part, prediction.scaled(part)
            )
            field = taken.field
            if part > CONSTANTS.shortest_memory:
                prediction = taken.prediction.scaled(1 / part)
            calls = calls + float(taken.calls)
            error = error + float(taken.error)
        # The interval is finished, although `now` may be below `end` by rounding.
        if until >= float(end):
            break
        after = timeline.after(until)
        beyond = min(number(after), number(end))
        # Across a breakpoint the density is the same, but the wave is relative to
        # another sqrt(pi).
        if after > until:
            field = regauge(problem, timeline.covering(after)[0], field, stop, beyond)
        now = beyond
    return StepResult(field, calls, error, prediction)


def integrate_interval_evenly(
    method: Magnus,
    problem: Problem,
    field: Array,
    start: Time,
    end: Time,
    tol: Array | float,
    is_short: bool = False,
) -> EvenResult:
    """Integrate one interval in a number of steps known beforehand: can be traced.

    `is_short` says that the interval is one of many, which take fewer steps if `method`
    does not give their number. The breakpoints may be traced, so there is one stretch
    for each of them and one more; those outside of the interval have length 0.
    """
    calls = jnp.zeros((), field.real.dtype)
    error = jnp.zeros((), field.real.dtype)
    now = start
    collocation_steps = CONSTANTS.traced_collocation_steps
    midpoint_steps = CONSTANTS.traced_midpoint_steps
    if is_short:
        collocation_steps = CONSTANTS.few_steps
        midpoint_steps = CONSTANTS.few_midpoint_steps
    for k in range(len(method.breakpoints) + 1):
        last = k == len(method.breakpoints)
        if last:
            before, after = end, end
        else:
            time = method.breakpoints[k].astype(start.dtype)
            before, after = beside_breakpoint(time)
        # A breakpoint outside of the interval is moved to its nearer end.
        before = jnp.clip(before, now, end)
        after = jnp.clip(after, now, end)
        # Without extrapolation the invariants of the exponential are wanted, which
        # collocation does not keep.
        if problem.collocated and method.extrapolate:
            done = integrate_fixed(
                problem, field, now, before, method.steps or collocation_steps, tol
            )
            field = done.fine
            calls = calls + done.calls
            error = error + done.error
        else:
            levels = fixed_levels(method.steps or midpoint_steps)
            taken = extrapolate(method, problem, field, now, before, levels, None)
            field = taken.field
            calls = calls + taken.calls
            error = error + taken.error
        if not last:
            field = regauge(problem, problem, field, before, after)
        now = after
    return EvenResult(field, calls, error)


def _integrate_part(
    method: Magnus,
    problem: Problem,
    field: Array,
    start: Time,
    end: Time,
    tol: float,
    prediction: Prediction,
) -> StepResult:
    """A part of an interval without a breakpoint inside, from `start` to `end`."""
    if method.steps is not None:
        # The part has no breakpoint: without those of the method the program does not
        # depend on their number.
        unbroken = eqx.tree_at(lambda m: m.breakpoints, method, jnp.zeros(0))
        even = _evenly(unbroken, problem, field, start, end, tol)
        return StepResult(even.field, even.calls, even.error, prediction)
    if not (problem.collocated and method.extrapolate) or prediction.by_midpoints:
        # A prediction of steps by collocation says nothing of midpoint steps.
        first = CONSTANTS.first_steps
        if prediction.by_midpoints:
            first = max(first, prediction.steps)
        return by_midpoints(method, problem, field, start, end, tol, first)

    done = _by_collocation(problem, field, start, end, tol, prediction)
    if np.isfinite(float(done.error)):
        steps = max(1, round(float(end - start) / float(done.length)))
        return StepResult(
            field=done.fine,
            calls=done.calls,
            error=done.error,
            prediction=Prediction(steps),
        )
    # Collocation gave up: midpoint steps take this interval, and the next ones too
    # unless the failure was cheap.
    taken = by_midpoints(method, problem, field, start, end, tol, CONSTANTS.first_steps)
    if float(done.calls) < CONSTANTS.cheap_failure:
        return taken._replace(
            calls=float(taken.calls) + float(done.calls), prediction=Prediction()
        )
    return taken


def by_midpoints(
    method: Magnus,
    problem: Problem,
    field: Array,
    start: Time,
    end: Time,
    tol: float,
    first: int,
) -> StepResult:
    """Midpoint steps with extrapolation, from `first` steps up; midpoint steps are
    predicted for the next interval.
    """
    taken = extrapolate(method, problem, field, start, end, adaptive_levels(first), tol)
    finest = taken.levels[-1] if taken.levels else 0
    steps = max(CONSTANTS.first_steps, finest // CONSTANTS.next_level_divisor)
    return StepResult(
        field=taken.field,
        calls=taken.calls,
        error=taken.error,
        prediction=Prediction(steps, by_midpoints=True),
    )


def _by_collocation(
    problem: Problem,
    field: Array,
    start: Time,
    end: Time,
    tol: float,
    prediction: Prediction,
) -> StepperState:
    """Adaptive collocation, in a reduced basis where that is worthwhile."""
    length = (end - start) / (prediction.steps or CONSTANTS.first_collocation_steps)
    # An array, not a number: every tolerance would else be a program of its own.
    step_tol = np.asarray(tol, field.real.dtype)
    seconds = run_seconds(problem)
    ranks: tuple[int, ...] = ()
    # On one axis there is nothing to save. Little work is done sooner than a program of
    # other ranks is compiled.
    work = prediction.steps * problem.grid.size
    little_work = 0 < work <= CONSTANTS.rank_compile_work
    is_gibbs_wave = problem.picture is Picture.GIBBS_WAVE
    if is_gibbs_wave and problem.grid.ndim > 1 and not little_work:
        errors = _rank_errors(problem, field, start, end)
        ranks = choose_ranks(errors, tol, problem.grid.shape)
    done = _integrate_adaptive(
        problem, field, start, end, step_tol, length, ranks, seconds=seconds
    )
    # The ranks were chosen by an estimate. The error is measured, and decides.
    if ranks and not float(done.error) < tol:
        done = _integrate_adaptive(
            problem, field, start, end, step_tol, length, (), seconds=seconds
        )
    return done


_integrate_adaptive = run_program(integrate_adaptive)
_rank_errors = shape_program(rank_errors)
_evenly = compiled(integrate_interval_evenly)


@quick_program
def regauge(
    old: Problem, new: Problem, field: Array, before: Time, after: Time
) -> Array:
    """The density of a state of `old` at time `before`, as a state of `new` at time
    `after`.
    """
    dtype = field.real.dtype
    old_gauge = old.log_sqrt_pi(before, dtype)
    new_gauge = new.log_sqrt_pi(after, dtype)
    # The difference first: each of the two factors alone may be out of range.
    return field * jnp.exp(old_gauge - new_gauge)

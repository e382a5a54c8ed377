"""A run from one output time to the next, on the host: with as many steps in each
interval as the tolerance needs, a progress bar, or a checkpoint.

    error(t_k) = error(t_{k-1}) + what the interval k adds
    tol_k      = tol (t_k - t_{k-1}) / t_last

Many short intervals of a moving line are run several at a time (`several.py`).
"""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.program import compiled, quick_program
from ..core.types import AnyArray, Time
from ..operator.constants import CONSTANTS as OPERATOR
from ..propagate.base import Propagator
from .constants import CONSTANTS
from .interval import Prediction, integrate_interval
from .magnus import Magnus
from .problem import Problem
from .representation import clipping_error, report_at, stack_fields
from .several import run_several
from .timeline import make_timeline
from .trajectory import Trajectory


@runtime_checkable
class Checkpoint(Protocol):
    """Where a run keeps its states, so that a later call can resume it
    (`solve.checkpoint`).
    """

    def load(self, index: int) -> tuple[Array, float, float, int] | None:
        """The state, the operator calls, the error and the number of a `Prediction` at
        output time `index`, or None.
        """
        ...

    def save(
        self, index: int, state: Array, calls: float, error: float, first: int
    ) -> None:
        """Keep them."""
        ...


@runtime_checkable
class ProgressBar(Protocol):
    """What shows the progress of a run."""

    def update(self) -> object:
        """One more output time is done."""
        ...

    def close(self) -> object:
        """The run is finished."""
        ...


class Advanced(NamedTuple):
    """The state at an output time, what the interval before it added to the operator
    calls and to the error, and what the next interval is likely to take.
    """

    state: Array
    calls: float
    error: float
    prediction: Prediction


@runtime_checkable
class _Steps(Protocol):
    """The steps of one run: how a state is made, advanced and reported."""

    def start(self, field: Array) -> tuple[Array, float]:
        """The state at t = 0 of a density or a wave, and the error that clipping its
        tails made.
        """
        ...

    def advance(
        self, state: Array, now: Time, later: Time, prediction: Prediction
    ) -> Advanced:
        """From the output time `now` to the next one, `later`."""
        ...

    def report(self, state: Array, t: Time) -> tuple[Array, float]:
        """The density or the wave of a state, and its error on the axes."""
        ...

    def run_together(
        self, state: Array, error: float, moments: AnyArray
    ) -> Trajectory | None:
        """The whole run in programs of several intervals, or None where the intervals
        must be run one by one.
        """
        ...


def run_by_interval(
    problem: Problem,
    method: Propagator | Magnus,
    field: Array,
    times: Array,
    tol: float,
    bar: ProgressBar | None,
    saved: Checkpoint | None,
) -> Trajectory:
    """From one output time to the next, on the host: for adaptive steps, a progress
    bar, or a checkpoint.

    **Arguments**: `times` `(T,)`, ascending and at least zero; `tol`, the relative L1
    error allowed at the last time.
    """
    # The two kinds of steps differ in what they carry over from one interval to the
    # next.
    steps: _Steps
    if isinstance(method, Magnus):
        steps = _MovingSteps(problem, method, field, times, tol)
    else:
        steps = _StaticSteps(problem, method, tol)
    # Times are numbers of numpy in the precision of the field, so that no program is
    # compiled to subtract them.
    moments = np.asarray(times, field.real.dtype)
    now = moments.dtype.type(0)
    # The state is a wave where that is possible, and its error so far is that of
    # clipping.
    state, error = steps.start(field)
    if bar is None and saved is None:
        together = steps.run_together(state, error, moments)
        if together is not None:
            return together
    calls = 0.0
    # Many output times mean short intervals, for which the usual first step would be
    # far too short.
    is_short = len(moments) >= CONSTANTS.many_times
    prediction = Prediction(CONSTANTS.few_steps if is_short else 0)
    values, errors = [], []
    for index, t in enumerate(moments):
        # A state that was saved replaces the integration, and everything that the next
        # interval depends on.
        kept = None if saved is None else saved.load(index)
        if kept is not None:
            state, calls, error, number = kept
            prediction = Prediction.from_number(number)
        elif t > now:
            taken = steps.advance(state, now, t, prediction)
            state = taken.state
            prediction = taken.prediction
            calls = calls + taken.calls
            error = error + taken.error
        # Every time is saved before its answer is reported, so that a run that is
        # interrupted there can go on from it.
        if saved is not None:
            saved.save(index, state, calls, error, prediction.number)
        now = t
        value, representation_error = steps.report(state, t)
        values.append(value)
        # At t = 0 the field is given, and has no error.
        errors.append(error + representation_error if t > 0 else 0.0)
        if bar is not None:
            bar.update()
    if bar is not None:
        bar.close()
    return Trajectory(
        values=stack_fields(values),
        calls=as_array(calls, moments.dtype),
        error=as_array(errors, moments.dtype),
    )


class _StaticSteps:
    """The steps of a static problem: one call of the method for each interval."""

    def __init__(self, problem: Problem, method: Propagator, tol: float):
        self._problem = problem
        self._method = method
        self._tol = tol

    def start(self, field: Array) -> tuple[Array, float]:
        """The state at t = 0. The error of clipping is part of the method's own."""
        tol = self._tol * OPERATOR.clipping_tol_fraction
        fraction = as_array(tol, field.real.dtype)
        state, _ = _start(self._problem, field, fraction)
        return state, 0.0

    def advance(
        self, state: Array, now: Time, later: Time, prediction: Prediction
    ) -> Advanced:
        """From one output time to the next."""
        length = as_array([later - now], state.real.dtype)
        tol = as_array(self._tol, state.real.dtype)
        state, calls, error = _step_static(
            self._problem, self._method, state, length, tol
        )
        return Advanced(state, float(calls), float(error), prediction)

    def report(self, state: Array, t: Time) -> tuple[Array, float]:
        """The density or the wave of a state, and no further error."""
        return report_at(self._problem, state, t)[0], 0.0

    def run_together(
        self, state: Array, error: float, moments: AnyArray
    ) -> Trajectory | None:
        """None: a method takes the intervals of a static problem one by one where they
        are not run at once.
        """
        return None


class _MovingSteps:
    """The steps of a moving problem, chosen by the tolerance of each interval."""

    def __init__(
        self, problem: Problem, method: Magnus, field: Array, times: Array, tol: float
    ):
        self._last = float(np.asarray(times)[-1])
        self._method = method
        self._tol = tol
        self._timeline = make_timeline(method, problem, self._last, field.real.dtype)
        self._aliasing_error = 0.0

    def start(self, field: Array) -> tuple[Array, float]:
        """The state at t = 0, and the error that clipping made."""
        tol = self._tol * OPERATOR.clipping_tol_fraction
        fraction = as_array(tol, field.real.dtype)
        state, error = _start(self._timeline.at(0.0), field, fraction)
        return state, float(error)

    def advance(
        self, state: Array, now: Time, later: Time, prediction: Prediction
    ) -> Advanced:
        """From one output time to the next, with the part of the tolerance that the
        time between them is of the run.
        """
        # What clipping may take of the tolerance is not left for the steps.
        steps_tol = self._tol * (1 - OPERATOR.clipping_tol_fraction)
        tol = steps_tol * float(later - now) / self._last
        taken = integrate_interval(
            self._method, self._timeline, state, now, later, tol, prediction
        )
        return Advanced(
            state=taken.field,
            calls=float(taken.calls),
            error=float(taken.error),
            prediction=taken.prediction,
        )

    def report(self, state: Array, t: Time) -> tuple[Array, float]:
        """The density or the wave of a state, and the largest aliasing error up to now.

        A wave that was not resolved at one time has an error at all later ones.
        """
        value, aliasing = report_at(self._timeline.at(float(t)), state, t)
        if t > 0:
            self._aliasing_error = max(self._aliasing_error, float(aliasing))
        return value, self._aliasing_error

    def run_together(
        self, state: Array, error: float, moments: AnyArray
    ) -> Trajectory | None:
        """The run in programs of several intervals each, where there are many and
        collocation succeeds in all.
        """
        # The programs of several intervals choose their steps by the error.
        given_steps = self._method.steps is not None or not self._method.extrapolate
        if given_steps or len(moments) < CONSTANTS.together / 2:
            return None
        tol = self._tol * (1 - OPERATOR.clipping_tol_fraction)
        found = run_several(self._method, self._timeline, state, moments, tol)
        if found is None:
            return None
        # The errors of the intervals add up. The aliasing error is that of a state, and
        # its largest one remains.
        aliasing_error = np.maximum.accumulate(found.aliasing_error)
        errors = error + found.error + aliasing_error
        return Trajectory(
            values=found.values,
            calls=as_array(found.calls, moments.dtype),
            error=as_array(np.where(moments > 0, errors, 0.0), moments.dtype),
        )


@quick_program
def _start(problem: Problem, field: Array, fraction: Array) -> tuple[Array, Array]:
    """The state of a field at t = 0, and the error that clipping its tails made."""
    state = problem.to_state(field, fraction)
    return state, clipping_error(problem, field, state)


@compiled
def _step_static(
    problem: Problem, method: Propagator, state: Array, length: Array, tol: Array
) -> tuple[Array, Array, Array]:
    """The state after one `length` `(1,)`, the operator calls, and the error."""
    operator = problem.at(0.0, state.real.dtype)
    prepared = method.prepare(operator, problem.picture)
    taken = method.apply(prepared, state, length, tol, problem.wick)
    return taken.field[0].astype(state.dtype), taken.calls, taken.error[0]

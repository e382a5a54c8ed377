"""Drivers: from the state at t = 0 to the states at all output times.

    run_static        a static operator: one program for all times
    run_by_interval   any operator, from Python: as many steps in each interval as the tolerance needs; many short
                      intervals of a moving line are run several at a time
                      (`several.py`)
    run_moving        a moving operator under transformations: a fixed number of steps in each interval

States are densities, or waves psi = p / sqrt(pi_t) relative to the Gibbs density of
their own time.
"""

import dataclasses
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.program import compiled, quick_program, shape_program
from ..core.types import AnyArray, Time
from ..operator.constants import CONSTANTS as OPERATOR
from ..propagate.base import Picture, Propagator
from ..propagate.chebyshev import Chebyshev
from .constants import CONSTANTS
from .interval import Prediction, integrate_interval, integrate_interval_evenly
from .magnus import Magnus
from .midpoint import adaptive_levels, extrapolate
from .problem import Problem
from .representation import boundary_aliasing_error, clipping_error, report
from .several import run_several
from .timeline import make_timeline


class Trajectory(NamedTuple):
    """Densities or waves `(T, *shape)`, operator calls, and the error accumulated at
    each time.
    """

    values: Array
    calls: Array
    error: Array


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
        """The density or the wave of a state, and the error of its representation on
        the axes.
        """
        ...

    def run_together(
        self, state: Array, error: float, moments: AnyArray
    ) -> Trajectory | None:
        """The whole run in programs of several intervals, or None where the intervals
        must be run one by one.
        """
        ...


def run_static(
    problem: Problem, method: Propagator, field: Array, lengths: Array, tol: Array
) -> Trajectory:
    """From one field to all lengths `(T,)` with a static operator, in one program."""
    # The tails of p / sqrt(pi) may be so large that their rounding would exceed the
    # tolerance: they are clipped first.
    state = problem.to_state(field, tol * OPERATOR.clipping_tol_fraction)
    prepared = method.prepare(problem.at(0.0, state.real.dtype), problem.picture)
    # The method reaches all lengths in one call, so that it can share the work between
    # them.
    taken = method.apply(prepared, state, lengths, tol, problem.wick)
    values = problem.to_field(taken.field.astype(state.dtype), 0.0)
    return Trajectory(values, taken.calls, jnp.where(lengths > 0, taken.error, 0))


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
    prediction = Prediction(
        CONSTANTS.few_steps if len(moments) >= CONSTANTS.many_times else 0
    )
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
            state, prediction = taken.state, taken.prediction
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
    dtype = moments.dtype
    return Trajectory(_stack(values), as_array(calls, dtype), as_array(errors, dtype))


class _StaticSteps:
    """The steps of a static problem: one call of the method for each interval."""

    def __init__(self, problem: Problem, method: Propagator, tol: float):
        self._problem = problem
        self._method = method
        self._tol = tol

    def start(self, field: Array) -> tuple[Array, float]:
        """The state at t = 0. The error of clipping is part of the method's own."""
        return _start(
            self._problem,
            field,
            as_array(self._tol * OPERATOR.clipping_tol_fraction, field.real.dtype),
        )[0], 0.0

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
        return _report(self._problem, state, t)[0], 0.0

    def run_together(
        self, state: Array, error: float, moments: AnyArray
    ) -> Trajectory | None:
        """None: a method takes the intervals of a static problem one by one where they
        are not run at once.
        """
        return None


class _MovingSteps:
    """The steps of a moving problem: as many for each interval as its part of the
    tolerance needs.
    """

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
        fraction = as_array(
            self._tol * OPERATOR.clipping_tol_fraction, field.real.dtype
        )
        state, error = _start(self._timeline.at(0.0), field, fraction)
        return state, float(error)

    def advance(
        self, state: Array, now: Time, later: Time, prediction: Prediction
    ) -> Advanced:
        """From one output time to the next, with the part of the tolerance that the
        time between them is of the run.
        """
        tol = (
            self._tol
            * (1 - OPERATOR.clipping_tol_fraction)
            * float(later - now)
            / self._last
        )
        taken = integrate_interval(
            self._method, self._timeline, state, now, later, tol, prediction
        )
        return Advanced(
            taken.field, float(taken.calls), float(taken.error), taken.prediction
        )

    def report(self, state: Array, t: Time) -> tuple[Array, float]:
        """The density or the wave of a state, and the largest aliasing error up to now.

        A wave that was not resolved at one time has an error at all later ones.
        """
        value, aliasing = _report(self._timeline.at(float(t)), state, t)
        if t > 0:
            self._aliasing_error = max(self._aliasing_error, float(aliasing))
        return value, self._aliasing_error

    def run_together(
        self, state: Array, error: float, moments: AnyArray
    ) -> Trajectory | None:
        """The run in programs of several intervals each, where there are many and
        collocation succeeds in all.
        """
        given_steps = self._method.steps is not None or not self._method.extrapolate
        if given_steps or len(moments) < CONSTANTS.together / 2:
            return None
        tol = self._tol * (1 - OPERATOR.clipping_tol_fraction)
        found = run_several(self._method, self._timeline, state, moments, tol)
        if found is None:
            return None
        # The errors of the intervals add up. The aliasing error is that of a state, and
        # its largest one remains.
        errors = np.where(
            moments > 0,
            error + found.error + np.maximum.accumulate(found.aliasing_error),
            0.0,
        )
        return Trajectory(
            found.values,
            as_array(found.calls, moments.dtype),
            as_array(errors, moments.dtype),
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
    prepared = method.prepare(problem.at(0.0, state.real.dtype), problem.picture)
    taken = method.apply(prepared, state, length, tol, problem.wick)
    return taken.field[0].astype(state.dtype), taken.calls, taken.error[0]


_report = quick_program(report)


@quick_program
def _stack(arrays: list[Array]) -> Array:
    """One array `(T, *shape)` of fields `(*shape)`."""
    return jnp.stack(arrays)


class BothSides(NamedTuple):
    """One evolution in two pictures.

    - `density`: by L; `wave`: by H; `density_of_wave`: sqrt(pi) times the wave; all
      `(T, *shape)`
    - `error`: the error in time that both have in common, `(T,)`
    """

    density: Array
    wave: Array
    density_of_wave: Array
    error: Array


def run_both(problem: Problem, field: Array, times: Array) -> BothSides:
    """The same evolution by L and by H, with the same steps in time; `problem` is that
    of the density.

    No tails are clipped, so that nothing but rounding is left between the two.
    """
    if not problem.time_dependent:
        return _both_static(problem, field, as_array(times, field.dtype))
    return _both_moving(problem, field, times)


def _both_moving(problem: Problem, field: Array, times: Array) -> BothSides:
    """Both pictures of a moving problem: midpoint steps, whose number the density
    decides for both.
    """
    dtype = field.dtype
    tol = (
        CONSTANTS.both_tol_double if dtype == jnp.float64 else CONSTANTS.both_tol_single
    )
    last = float(np.asarray(times)[-1])
    method = Magnus()
    timeline = make_timeline(method, problem, last, dtype)
    density = field
    wave = _unclipped_wave(_as_wave(timeline.at(0.0)), field)
    now = np.zeros((), dtype)
    error = 0.0
    first = CONSTANTS.first_steps
    densities, waves, densities_of_waves, errors = [], [], [], []
    for t in np.asarray(times, dtype):
        # The parts of the timeline end at other times than the output times do.
        while now < t:
            here, until = timeline.covering(float(now), float(t))
            stop = min(t, dtype.type(until))
            part_tol = tol * float(stop - now) / last
            taken = extrapolate(
                method, here, density, now, stop, adaptive_levels(first), part_tol
            )
            # The levels that the density took, and no tolerance: the wave takes the
            # same steps.
            reference = extrapolate(
                method, _as_wave(here), wave, now, stop, taken.levels, None
            )
            density, wave = taken.field, reference.field
            error = error + float(taken.error)
            first = max(
                CONSTANTS.first_steps, taken.levels[-1] // CONSTANTS.next_level_divisor
            )
            now = stop
        densities.append(density)
        waves.append(wave)
        densities_of_waves.append(_report(_as_wave(timeline.at(float(t))), wave, t)[0])
        errors.append(error)
    return BothSides(
        _stack(densities),
        _stack(waves),
        _stack(densities_of_waves),
        as_array(errors, dtype),
    )


def _as_wave(problem: Problem) -> Problem:
    """The same problem with states relative to sqrt(pi)."""
    return dataclasses.replace(problem, picture=Picture.GIBBS_WAVE)


@quick_program
def _unclipped_wave(wave: Problem, field: Array) -> Array:
    """p / sqrt(pi), whatever its size."""
    return wave.to_state(field)


@shape_program
def _both_static(problem: Problem, field: Array, lengths: Array) -> BothSides:
    """Both pictures of a static problem, to rounding."""
    method = Chebyshev()
    exact = jnp.asarray(jnp.finfo(field.dtype).eps, field.dtype)
    sides = []
    # The clipping of tails, which `run_static` does, would show as a difference of the
    # two pictures.
    for side in (problem, _as_wave(problem)):
        state = side.to_state(field)
        prepared = method.prepare(side.at(0.0, field.dtype), side.picture)
        sides.append(method.apply(prepared, state, lengths, exact, 0.0))
    density, wave = sides
    error = jnp.where(lengths > 0, density.error, 0)
    return BothSides(
        density.field, wave.field, _as_wave(problem).to_field(wave.field, 0.0), error
    )


class _Row(NamedTuple):
    """What `run_moving` gives at one output time."""

    value: Array
    calls: Array
    error: Array
    aliasing_error: Array


def run_moving(
    problem: Problem, method: Magnus, field: Array, times: Array, tol: float
) -> Trajectory:
    """A moving operator under `jit`, `vmap` or `grad`: a fixed number of steps for each
    interval.
    """
    dtype = field.real.dtype
    is_short = len(times) >= CONSTANTS.many_times

    def interval(
        carry: tuple[Array, Array], later: Array
    ) -> tuple[tuple[Array, Array], _Row]:
        state, now = carry
        taken = integrate_interval_evenly(
            method, problem, state, now, later, tol, is_short
        )
        aliasing_error = boundary_aliasing_error(problem, taken.field, later)
        value = problem.to_field(taken.field, later)
        return (taken.field, later), _Row(
            value, taken.calls, taken.error, aliasing_error
        )

    # A scan, not a loop in Python: one program for any number of output times.
    start = (
        problem.to_state(
            field, jnp.asarray(tol * OPERATOR.clipping_tol_fraction, dtype)
        ),
        jnp.zeros((), dtype),
    )
    _, rows = jax.lax.scan(interval, start, times.astype(dtype))
    clipped = jnp.where(times > 0, clipping_error(problem, field, start[0]), 0).astype(
        dtype
    )
    # The errors of the intervals add up. The aliasing error is that of a state, and its
    # largest one remains.
    error = clipped + jnp.cumsum(rows.error) + jax.lax.cummax(rows.aliasing_error)
    return Trajectory(rows.value, jnp.sum(rows.calls), error)

"""Many intervals between output times of a moving line, several in one program.

One by one, a short interval takes longer to start from Python than to compute: measured
on 96 nodes, 7 ms of which 3.5 ms remain here. In the plane and in space the computation
dominates, and the ranks of `_by_collocation` are chosen on the host.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import run_program
from ..core.types import AnyArray, Time
from .collocation import integrate_adaptive
from .constants import CONSTANTS
from .interval import by_midpoints, regauge
from .magnus import Magnus
from .midpoint import run_seconds
from .problem import Problem
from .representation import report, report_at
from .timeline import Timeline


class SeveralResult(NamedTuple):
    """The fields at the output times `(T, *shape)`, the operator calls, the error
    accumulated at each time `(T,)`, and the aliasing error of each state `(T,)`.
    """

    values: Array
    calls: float
    error: np.ndarray
    aliasing_error: np.ndarray


class _Interval(NamedTuple):
    """A part of the run inside one `problem`; `reported` says whether it ends at an
    output time.
    """

    problem: Problem
    start: Time
    end: Time
    reported: bool


class _Row(NamedTuple):
    """What the program gives at the end of one interval: the field, the state, the
    steps that the next interval may take, the operator calls, the error of the
    interval, and the aliasing error of the state.
    """

    value: AnyArray
    state: AnyArray
    steps: AnyArray
    calls: AnyArray
    error: AnyArray
    aliasing_error: AnyArray


def run_several(
    method: Magnus, timeline: Timeline, state: Array, moments: AnyArray, tol: float
) -> SeveralResult | None:
    """The run from the `state` at t = 0 to the output times `moments` `(T,)`, ascending
    from 0 or later.

    None where the problem is not a line that collocation can integrate. An interval in
    which collocation fails is integrated by midpoint steps. `tol` is the relative L1
    error allowed at the last time, of which each interval gets the part of its length.
    """
    first = timeline.at(0.0)
    if first.grid.ndim > 1 or not first.collocated:
        return None
    # Many output times mean short intervals, for which the usual first step would be
    # far too short.
    steps = CONSTANTS.first_collocation_steps
    if len(moments) >= CONSTANTS.many_times:
        steps = CONSTANTS.few_steps
    run = _Run(method, state, tol / float(moments[-1]), steps)
    intervals = list(_intervals(timeline, moments))
    position = 0
    while position < len(intervals):
        if run.uses_midpoints:
            position += run.by_midpoints(intervals[position])
        else:
            group = intervals[position : position + CONSTANTS.together]
            position += run.by_collocation(_of_one_problem(group))
    # At t = 0 the state is given, and has no error.
    at_start = []
    if not moments[0] > 0:
        value, _ = report_at(first, state, moments[0])
        at_start.append(np.asarray(value))
    no_error = np.zeros(len(at_start))
    return SeveralResult(
        values=jnp.asarray(np.stack([*at_start, *run.values])),
        calls=run.calls,
        error=np.append(no_error, run.errors),
        aliasing_error=np.append(no_error, run.aliasing_errors),
    )


def _of_one_problem(intervals: list[_Interval]) -> list[_Interval]:
    """The intervals up to the first that has another problem."""
    problem = intervals[0].problem
    return list(
        itertools.takewhile(lambda interval: interval.problem is problem, intervals)
    )


class _Run:
    """Where a run stands: the `state` after the intervals so far, and what they gave.

    **Arguments**: `state` at t = 0; `tol_per_time`, the relative L1 error allowed for
    each unit of time; `steps`, what the first interval is predicted to take.
    """

    def __init__(self, method: Magnus, state: Array, tol_per_time: float, steps: int):
        self.values: list[np.ndarray] = []
        self.errors: list[float] = []
        self.aliasing_errors: list[float] = []
        self.calls = 0.0
        self.uses_midpoints = False
        self._method = method
        self._state = state
        self._tol_per_time = tol_per_time
        self._steps: AnyArray = np.asarray(steps, state.real.dtype)
        self._midpoint_steps = CONSTANTS.first_steps
        self._error = 0.0
        self._last: _Interval | None = None

    def by_collocation(self, group: list["_Interval"]) -> int:
        """Integrate a group of intervals in one program, up to one in which collocation
        fails: that by midpoint steps. Returns how many are done.
        """
        self._enter(group[0])
        problem = group[0].problem
        # Intervals of length 0 fill the group up, so that there is one program for any
        # number of them.
        empty = group[-1]._replace(start=group[-1].end)
        filled = group + [empty] * (CONSTANTS.together - len(group))
        starts = np.asarray([interval.start for interval in filled])
        ends = np.asarray([interval.end for interval in filled])
        tols = (ends - starts) * ends.dtype.type(self._tol_per_time)
        found = _integrate_several(
            problem,
            self._state,
            starts,
            ends,
            tols,
            self._steps,
            seconds=run_seconds(problem),
        )
        # On the host, so that no program is compiled to take a row.
        rows = _Row(*map(np.asarray, found))
        failed = np.flatnonzero(~np.isfinite(rows.error[: len(group)]))
        done = int(failed[0]) if len(failed) else len(group)
        for k, interval in enumerate(group[:done]):
            self._add(
                interval,
                rows.value[k],
                float(rows.calls[k]),
                float(rows.error[k]),
                float(rows.aliasing_error[k]),
            )
        if done:
            self._state = jnp.asarray(rows.state[done - 1])
            self._steps = rows.steps[done - 1]
        if not len(failed):
            return done
        taken = self.by_midpoints(group[done])
        # They take the next ones too, unless the failure was cheap.
        self.calls += float(rows.calls[done])
        self.uses_midpoints = float(rows.calls[done]) >= CONSTANTS.cheap_failure
        return done + taken

    def by_midpoints(self, interval: "_Interval") -> int:
        """Integrate one interval by midpoint steps. Returns 1, the number of intervals
        done.
        """
        self._enter(interval)
        tol = self._tol_per_time * float(interval.end - interval.start)
        taken = by_midpoints(
            self._method,
            interval.problem,
            self._state,
            interval.start,
            interval.end,
            tol,
            self._midpoint_steps,
        )
        self._state = taken.field
        self._midpoint_steps = taken.prediction.steps
        value, aliasing_error = report_at(interval.problem, self._state, interval.end)
        self._add(
            interval,
            value,
            float(taken.calls),
            float(taken.error),
            float(aliasing_error),
        )
        return 1

    def _enter(self, interval: "_Interval") -> None:
        """The state at the start of an interval. Across a breakpoint the density is the
        same, but the wave is relative to another sqrt(pi).
        """
        if self._last is not None and interval.start > self._last.end:
            self._state = regauge(
                self._last.problem,
                interval.problem,
                self._state,
                self._last.end,
                interval.start,
            )
        # Where collocation fails at once, the same interval is entered again.
        self._last = interval

    def _add(
        self,
        interval: "_Interval",
        value: AnyArray,
        calls: float,
        error: float,
        aliasing_error: float,
    ) -> None:
        """Note what an interval gave."""
        self.calls += calls
        self._error += error
        self._last = interval
        if interval.reported:
            self.values.append(np.asarray(value))
            self.errors.append(self._error)
            self.aliasing_errors.append(aliasing_error)


def _intervals(timeline: Timeline, moments: AnyArray) -> Iterator[_Interval]:
    """From one output time to the next, and inside from one part of the timeline to the
    next.
    """
    number = moments.dtype.type
    now = number(0)
    for end in moments[moments > 0]:
        while True:
            problem, until = timeline.covering(float(now), float(end))
            # The end of a part may lie below `now` by rounding in the precision of the
            # run.
            stop = min(max(number(until), now), end)
            finished = until >= float(end)
            if stop > now or finished:
                yield _Interval(problem, now, end if finished else stop, finished)
            if finished:
                now = end
                break
            # A breakpoint is passed: its two sides belong to different parts.
            now = min(number(timeline.after(until)), end)


@run_program
def _integrate_several(
    problem: Problem,
    state: Array,
    starts: Array,
    ends: Array,
    tols: Array,
    steps: Array,
) -> _Row:
    """A row for each of the intervals from `starts` to `ends` `(K,)`; one of length 0
    changes nothing. `steps` is what the first interval is predicted to take.
    """

    def interval(
        carry: tuple[Array, Array], given: tuple[Array, ...]
    ) -> tuple[tuple[Array, Array], _Row]:
        state, steps = carry
        start, end, tol = given
        empty = end <= start
        length = (end - start) / steps
        done = integrate_adaptive(problem, state, start, end, tol, length, ())
        state = jnp.where(empty, state, done.fine)
        # The length that the control suggests for the next step; 1 instead of 0 avoids
        # a division by zero.
        suggested = jnp.round((end - start) / jnp.where(empty, 1, done.length))
        steps = jnp.where(empty, steps, jnp.maximum(suggested, 1))
        value, aliasing_error = report(problem, state, end)
        row = _Row(
            value=value,
            state=state,
            steps=steps,
            calls=done.calls,
            error=done.error,
            aliasing_error=aliasing_error,
        )
        return (state, steps), row

    _, rows = jax.lax.scan(interval, (state, steps), (starts, ends, tols))
    return rows

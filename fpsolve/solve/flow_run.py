"""One run of a flow: the waves psi = sqrt(p) of a velocity at the output times.

static velocity     exp(-t G), exact in time
moving velocity     interval by interval, between breakpoints, by steps that the
                    host chooses
the same in `jit`   a fixed number of steps in each interval
"""

import dataclasses
import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.decision import Decision
from ..equation import Continuity
from ..grid import Grid
from ..step.breakpoints import examine_in_time
from ..step.constants import CONSTANTS as STEP
from ..step.skew_steps import (
    Taken,
    adaptive_interval,
    run_static,
    sample_velocity,
    traced_interval,
)


@dataclasses.dataclass(frozen=True)
class FlowProblem:
    """A flow on a grid: the equation, whose function was read, the `wave` `(*shape)` at
    t = 0 and what is requested.
    """

    equation: Continuity
    grid: Grid
    wave: Array
    times: Array
    breakpoints: np.ndarray
    tol: float

    @property
    def concrete(self) -> bool:
        """Whether nothing is traced, so that the host may choose the steps."""
        return is_concrete(self.equation, self.wave, self.times)


@dataclasses.dataclass(frozen=True)
class FlowRun:
    """The waves `(T, *shape)`, the estimated errors in time `(T,)` of their densities
    in L1, and the products.
    """

    problem: FlowProblem
    waves: Array
    error: Array
    calls: Array
    method: Decision

    @property
    def densities(self) -> Array:
        """psi^2, `(T, *shape)`."""
        return self.waves**2

    @property
    def with_start(self) -> np.ndarray:
        """The wave at t = 0, then all others, `(1 + T, *shape)`."""
        start = np.asarray(self.problem.wave)[None]
        return np.concatenate([start, np.asarray(self.waves)])


def run_flow(problem: FlowProblem, bar: Any = None) -> FlowRun:
    """Solve a problem. `bar` shows the progress on the terminal."""
    # In units of cells: one program serves all boxes of a shape. The wave is then that
    # of the mass of a cell.
    if not problem.equation.time_dependent:
        velocity = sample_velocity(problem.equation, problem.grid, np.zeros(1))[0]
        times = jnp.asarray(problem.times)
        waves, calls = run_static(velocity, problem.wave, times, problem.grid.in_cells)
        if bar is not None:
            bar.update(len(times))
        static = Decision("Chebyshev", "because the velocity is static")
        return FlowRun(problem, waves, _rounding(calls), calls[-1], static)
    return _run_moving(problem, bar)


def _run_moving(problem: FlowProblem, bar: Any) -> FlowRun:
    """A velocity that depends on time: from output time to output time."""
    # No step crosses a jump or a kink of the velocity.
    edges, stops = _edges(problem)
    wave = problem.wave
    error = jnp.zeros((), wave.dtype)
    calls = jnp.zeros((), wave.dtype)
    steps = STEP.first_skew_steps
    longest = 0
    rows = []
    for parts in edges:
        for start, end in itertools.pairwise(parts):
            taken = _interval(problem, wave, start, end, steps)
            wave = taken.wave
            error = error + taken.error
            calls = calls + taken.calls
            # The next interval is compared with half as many steps first.
            steps = max(STEP.first_skew_steps, taken.steps // 2)
            longest = max(longest, taken.steps)
        rows.append((wave, error))
        if bar is not None:
            bar.update(1)
    waves, errors = (jnp.stack(column) for column in zip(*rows, strict=True))
    why = (
        f"because the velocity moves in time; up to {longest} steps of order 6 between "
        "two times"
    )
    if stops:
        why += f", in parts that end at {stops} further times"
    whole = errors + _rounding(calls)
    return FlowRun(problem, waves, whole, calls, Decision("Magnus", why))


def _interval(
    problem: FlowProblem,
    wave: Array,
    start: Array,
    end: Array,
    steps: int,
) -> Taken:
    """One interval between two breakpoints."""
    equation = problem.equation
    grid = problem.grid
    if not problem.concrete:
        return traced_interval(equation, grid, wave, start, end)
    # An interval without length, as from t = 0 to an output time of zero.
    if not end > start:
        zero = jnp.zeros((), wave.dtype)
        return Taken(wave, zero, zero, 0)
    # Errors of intervals add up: each gets its part of the tolerance.
    part = float(end - start) / float(problem.times[-1])
    tol = part * problem.tol
    return adaptive_interval(equation, grid, wave, float(start), float(end), tol, steps)


def _edges(problem: FlowProblem) -> tuple[list[list[Array]], int]:
    """The ends of the steps in each interval between two output times, breakpoints
    included; the number of breakpoints and narrow features that were found.
    """
    times = problem.times
    stops = np.asarray(problem.breakpoints, float)
    found = 0
    # Sampling in time needs concrete numbers; a run to t = 0 has no interval.
    if problem.concrete and float(times[-1]) > 0:
        features = examine_in_time(
            problem.equation, problem.grid, np.asarray(times), problem.tol, stops
        )
        new = np.concatenate([features.breakpoints, features.stops])
        found = len(new)
        stops = np.unique(np.concatenate([stops, new]))
    starts = [jnp.zeros_like(times[0]), *times[:-1]]
    edges = []
    for start, end in zip(starts, times, strict=True):
        edges.append([start, *_between(stops, start, end), end])
    return edges, found


def _between(stops: np.ndarray, start: Array, end: Array) -> list[Array]:
    """The breakpoints between two times, in ascending order."""
    if not is_concrete(start, end):
        # Traced times cannot be compared with breakpoints. One that lies outside is
        # moved to the nearer end, where it cuts off a part of no length.
        return [jnp.clip(as_array(stop), start, end) for stop in stops]
    inside = stops[(stops > float(start)) & (stops < float(end))]
    return [as_array(stop) for stop in inside]


def _rounding(calls: Array) -> Array:
    """The rounding of a wave after some products, in L1 of its density."""
    first, each = STEP.skew_roundings
    return jnp.finfo(calls.dtype).eps * (first + each * calls)

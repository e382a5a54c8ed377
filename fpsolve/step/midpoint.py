"""The exponential midpoint rule for moving problems, and its extrapolation.

In either picture (a_t = d_t log pi_t, theorem T13) a step of length s is

    p    <- exp(s L_{t+s/2}) p
    psi  <- sqrt(pi_{t+s/2} / pi_{t+s}) exp(-s H_{t+s/2}) sqrt(pi_t / pi_{t+s/2}) psi,

where the two factors are the extra term exp(-int a/2 dt) integrated exactly. The two
lines are the same map in two pictures. It is symmetric in time, so its error is a
series in s^2, and the table

    T_{l,0} = the rule with n 2^l steps,
    T_{l,j} = T_{l,j-1} + (T_{l,j-1} - T_{l-1,j-1}) / (4^j - 1)

removes one power of s^2 in each column, or less where the problem is stiff. Levels are
added until the best entries of two rows agree to the tolerance: the error reported is
that of the row *before* the one returned. Since a step of length s costs about sqrt(s
|H|) products, halving every step costs only sqrt(2) times more. Without extrapolation
the finest level is returned as it is, with its distance from the one before.

References: Magnus, Comm. Pure Appl. Math. 7 (1954) 649; Hochbruck and Lubich, SIAM J.
Numer. Anal. 41 (2003) 945; extrapolation: Hairer, Norsett and Wanner, Solving ODEs I,
II.9.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import is_concrete
from ..core.loop import run_loop
from ..core.program import quick_program, run_program
from ..core.types import Scalar, Time
from ..propagate.base import Picture
from .constants import CONSTANTS
from .magnus import Magnus
from .moving_wave import relative_distance, wave_measure
from .problem import Problem


class FixedSteps(NamedTuple):
    """The field after some steps, the operator calls, and the error of the exponentials
    themselves.
    """

    field: Array
    calls: Array
    error: Array


class Extrapolated(NamedTuple):
    """The field after an interval, the operator calls, the estimated relative error,
    and the `levels` (steps each).
    """

    field: Array
    calls: Scalar
    error: Scalar
    levels: tuple[int, ...]


class _StepLoop(NamedTuple):
    """The field, log sqrt(pi) at its time, the operator calls so far, and the largest
    error of an exponential.
    """

    field: Array
    log_sqrt_pi: Array
    calls: Array
    error: Array


def fixed_steps(
    method: Magnus,
    problem: Problem,
    field: Array,
    start: Time,
    end: Time,
    count: Array | int,
) -> FixedSteps:
    """`count` midpoint steps from `start` to `end`."""
    dtype = field.real.dtype
    # Equal steps: `count` may be traced, since the loop has a length that is known at
    # run time.
    length = (end - start) / count

    def step(
        k: Array, parameters: tuple[Problem, Time, Time], now: _StepLoop
    ) -> _StepLoop:
        problem, start, length = parameters
        middle = start + (k + 0.5) * length
        log_sqrt_pi_after = problem.log_sqrt_pi(start + (k + 1) * length, dtype)
        operator = problem.at(middle, dtype)
        # The step itself is done relative to sqrt(pi) of its midpoint.
        log_sqrt_pi_middle = jnp.zeros((), dtype)
        if problem.picture is Picture.GIBBS_WAVE:
            log_sqrt_pi_middle = operator.log_sqrt_pi
        prepared = method.exponential.prepare(operator, problem.picture)
        # Tolerance 0: the exponentials are taken to rounding, so that the error is that
        # of the midpoint rule alone.
        taken = method.exponential.apply(
            prepared,
            now.field * jnp.exp(now.log_sqrt_pi - log_sqrt_pi_middle),
            length[None],
            jnp.zeros((), dtype),
            problem.wick,
        )
        return _StepLoop(
            field=taken.field[0] * jnp.exp(log_sqrt_pi_middle - log_sqrt_pi_after),
            log_sqrt_pi=log_sqrt_pi_after,
            calls=now.calls + taken.calls,
            error=jnp.maximum(now.error, taken.error[0]),
        )

    zero = jnp.zeros((), dtype)
    first = _StepLoop(
        field=field,
        log_sqrt_pi=problem.log_sqrt_pi(start, dtype),
        calls=zero,
        error=zero,
    )
    last = run_loop(count, step, (problem, start, length), first)
    # The roundings of the steps add up like a random walk.
    error = last.error * jnp.sqrt(jnp.asarray(count, dtype))
    return FixedSteps(last.field, last.calls, error)


def extrapolate(
    method: Magnus,
    problem: Problem,
    field: Array,
    start: Scalar,
    end: Scalar,
    levels: Sequence[int],
    tol: float | None,
) -> Extrapolated:
    """Integrate one interval by the extrapolation table.

    **Arguments**: `levels`, the steps of each level; `tol`, the error at which no
    further level is added, or None to take all levels. **Returns** the entry with the
    smallest estimated error, or the last one for `tol=None`.
    """
    concrete = is_concrete(problem, field, start, end)
    # Under a transformation the calls are an array, on the host a number.
    calls: Scalar = 0.0
    best = Extrapolated(field, calls, np.inf, ())
    row: list[Array] = []
    measure = _measure(problem, end, field)
    seconds = run_seconds(problem)
    for level, count in enumerate(levels):
        finest = _fixed_steps(
            method, problem, field, start, end, np.asarray(count), seconds=seconds
        )
        calls = calls + (float(finest.calls) if concrete else finest.calls)
        # The number of entries that are used of the row above limits the order.
        above = row[: CONSTANTS.table_columns]
        row, distance = _next_row(finest.field, above, measure, method.extrapolate)
        # One level alone has no error estimate.
        if level == 0:
            continue
        taken = Extrapolated(
            field=row[-1],
            calls=calls,
            error=distance + finest.error,
            levels=tuple(levels[: level + 1]),
        )
        if tol is None:
            best = taken
            continue
        is_better = float(taken.error) < float(best.error)
        best = taken if is_better else best._replace(calls=calls)
        reached = float(best.error) < tol
        # The error has reached rounding, or is not yet in the region where
        # extrapolation helps.
        stuck = len(taken.levels) > len(best.levels) + CONSTANTS.levels_without_progress
        most_calls = CONSTANTS.max_products * CONSTANTS.midpoint_products
        if reached or stuck or float(calls) > most_calls:
            break
    return best


def run_seconds(problem: Problem) -> float:
    """The time that a run is assumed to take when its program is compiled. What it
    takes is seen only on the way.
    """
    return 0.0 if problem.grid.size <= CONSTANTS.quick_compile_points else np.inf


def adaptive_levels(first: int) -> list[int]:
    """The levels that an adaptive integration may take, from `first` steps up."""
    return [first * 2**level for level in range(CONSTANTS.max_levels)]


def fixed_levels(steps: int) -> list[int]:
    """Three levels, of which the finest has `steps`: two for the result, and the first
    to estimate its error.
    """
    return [max(1, steps // 4), max(2, steps // 2), steps]


_fixed_steps = run_program(fixed_steps)


@quick_program
def _next_row(
    finest: Array, above: list[Array], measure: Array, extrapolate: bool
) -> tuple[list[Array], Array]:
    """A row of the table from the one above it, and the distance of the best entries of
    both; 0 for the first row.
    """
    row = [finest]
    for j, coarse in enumerate(above if extrapolate else [], start=1):
        fine = row[-1]
        row.append(fine + (fine - coarse) / (4**j - 1))
    if not above:
        return row, jnp.zeros((), finest.real.dtype)
    return row, relative_distance(row[-1], above[-1], measure)


@quick_program
def _measure(problem: Problem, t: Scalar, like: Array) -> Array:
    """The weights that turn a state at time t into the masses of a density, in the
    precision of `like`.
    """
    return wave_measure(problem, jnp.asarray(t), like.real.dtype)

"""Moving operators: collocation in a moving frame, or products of exponentials at midpoints, extrapolated.

Waves on spectral grids go by `collocation`. Everything else takes steps of the exponential midpoint rule, in either
picture (a_t = d_t log pi_t, theorem T13),

    p    <- exp(s L_{t+s/2}) p
    psi  <- sqrt(pi_{t+s/2} / pi_{t+s}) exp(-s H_{t+s/2}) sqrt(pi_t / pi_{t+s/2}) psi,

where the two factors are the extra term exp(-int a/2 dt) integrated exactly. The two lines are the same map seen in two
pictures. It is symmetric in time, so its error is a series in s^2, and the table

    T_{l,0} = the rule with n 2^l steps,      T_{l,j} = T_{l,j-1} + (T_{l,j-1} - T_{l-1,j-1}) / (4^j - 1)

removes one power of s^2 a column, or less where the problem is stiff. Levels are added until the best entries of two
rows agree to the tolerance: the error reported is that of the row *before* the one returned. Since a step of length s
costs about sqrt(s |H|) products, halving every step costs only sqrt(2) times more. Without extrapolation the finest
level is returned as it is, with its distance from the one before. Neither steps over a jump or a kink in time.

References: Magnus, Comm. Pure Appl. Math. 7 (1954) 649; Hochbruck and Lubich, SIAM J. Numer. Anal. 41 (2003) 945;
extrapolation: Hairer, Norsett and Wanner, Solving ODEs I, II.9.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, host_module
from ..core.checks import check_integer, check_numbers, is_concrete, raise_value_error
from ..core.loop import run_loop
from ..core.program import compiled, quick_program
from ..propagate.base import Keeps, Picture, Propagator
from ..propagate.chebyshev import Chebyshev
from .collocation import MOST, choose_ranks, integrate_adaptive, integrate_fixed, tails
from .moving_wave import relative_distance, wave_measure
from .problem import Problem
from .timeline import Timeline

COLUMNS = 5
FIRST, LEVELS, PATIENCE = 4, 12, 2  # steps of the coarsest level, levels, and those without progress
TRACED, EVEN = 128, 24  # steps under a transformation, of midpoints and of collocation
START = 16  # the part of an interval that the first step by collocation tries
QUICK = 2**18  # steps foretold times points, for which a program of other ranks is not worth its compilation
# Points up to which steps are compiled as soon as possible: on 64 nodes a moving trap takes 2.6 s at first for 4.4, and
# 33 ms afterwards for 30 (measured); in the plane the compiler's work pays.
SMALL = 512
# The part of an interval from which the steps of the whole are foretold: the least number of steps of a shorter one, as
# beside a breakpoint, says nothing (a free choice).
SHORTEST = 1 / 128
CHEAP = 2000  # products after which collocation that gave up is tried again in the next interval
ROUNDINGS = 4.0  # units of rounding of the last time by which a part of a run and an interval may miss each other
APART = 4  # a state beside a breakpoint is this many units of rounding from it


class Magnus(eqx.Module):
    """Steps for potentials and forces that move, of lengths chosen by an error estimate.

    d_t psi = -(H_t + d_t log sqrt(pi_t)) psi by collocation of order 14 in a frame that moves along, for waves on
    spectral grids; exp(s L) at midpoints, extrapolated, elsewhere.

    **Arguments**

    - `steps`: between two output times (of the finest level, for midpoints); None chooses them from `tol` (under
      `jit`, `vmap` and `grad`, where nothing can be looked at, it is 24 or 128, and the error is reported)
    - `exponential`: the method for a frozen step, where midpoints are taken
    - `breakpoints`: times at which U or f jumps or has a kink. No step crosses one. Those that a fine sampling in time
      shows are found by themselves, outside transformations
    - `extrapolate`: False takes midpoints as they are, of order 2, which keeps what the exponential keeps

    **Keeps**: mass and positivity to the error reported. With `extrapolate=False`, as `exponential` does: on finite
    volumes mass to rounding, positivity, and the Gibbs density of each midpoint. **Error**: the distance of two
    solutions of different order, of which the better is returned. **Cost**: by collocation, ten to thirty products of a
    batch of seven fields a step. **Raises**: `ValueError` for `steps` below 4, or breakpoints that are no numbers.

    **Reference**: Hochbruck and Ostermann, Acta Numerica 19 (2010) 209; Magnus, Comm. Pure Appl. Math. 7 (1954) 649.

    ```python
    import fpsolve as fp

    equation = fp.FokkerPlanck(lambda x, t: (x[0] - t) ** 2 / 2)
    grid = fp.Grid(fp.Line(-6.0, 8.0, 64))
    solution = fp.evolve(equation, fp.Gaussian(0.0, 1.0), [1.0], grid=grid, method=fp.Magnus())
    ```
    """

    exponential: Propagator
    breakpoints: Array
    steps: int | None = eqx.field(static=True)
    extrapolate: bool = eqx.field(static=True)

    def __init__(
        self,
        steps: int | None = None,
        exponential: Propagator | None = None,
        breakpoints: Any = (),
        extrapolate: bool = True,
    ):
        if steps is not None:
            check_integer("Magnus.steps", steps, 4, "Give at least 4 steps, or None.")
        if exponential is not None and not isinstance(exponential, Propagator):
            raise_value_error(
                "Magnus.exponential",
                exponential,
                "it must be a method for static operators",
                "Give fp.Chebyshev().",
            )
        if not isinstance(extrapolate, bool):
            raise_value_error(
                "Magnus.extrapolate", extrapolate, "it must be True or False", "Give False to keep positivity."
            )
        if is_concrete(breakpoints) and np.size(breakpoints) > 0:
            cure = "Give breakpoints=(0.5, 1.0), say."
            array = check_numbers("Magnus.breakpoints", breakpoints, "they must be times", cure)
            if array.ndim != 1 or not np.all(np.isfinite(array)):
                raise_value_error("Magnus.breakpoints", breakpoints, "they must be finite times, (B,)", cure)
        self.steps = steps
        self.exponential = Chebyshev() if exponential is None else exponential
        xp = host_module(breakpoints)
        self.breakpoints = as_array(xp.sort(xp.asarray(breakpoints, dtype=float)))
        self.extrapolate = extrapolate

    def keeps(self, spectral: bool) -> Keeps:
        """What `Propagator.keeps` says of a method, for one that steps."""
        if spectral:
            return Keeps("rounding", "shown", "shown", "error", "tol", "t")
        if self.extrapolate:
            return Keeps("rounding", "error", "rounding", "rounding", "tol", "t")
        return Keeps("rounding", "rounding", "rounding", "rounding", "2", "√t")

    def with_exponential(self, exponential: Propagator) -> "Magnus":
        """The same with another method for frozen steps."""
        return eqx.tree_at(lambda m: m.exponential, self, exponential)

    def with_breakpoints(self, breakpoints: Any) -> "Magnus":
        """The same with other breakpoints `(B,)`, ascending."""
        return eqx.tree_at(lambda m: m.breakpoints, self, as_array(breakpoints))


class Interval(NamedTuple):
    """The field after an interval, its calls, the estimated relative error, and the levels taken (steps each)."""

    field: Array
    calls: Any
    error: Any
    levels: tuple[int, ...]


class StepResult(NamedTuple):
    """The field after an interval, its calls, the estimated relative error, and how long the next steps should be:
    the steps an interval takes, 0 where that is not known, negative where midpoints are to go on."""

    field: Array
    calls: Any
    error: Any
    first: int


def integrate_interval(
    method: Magnus, timeline: Timeline, field: Array, start: Any, end: Any, tol: Any, first: int
) -> StepResult:
    """One interval between outputs, in steps chosen for `tol`, from breakpoint to breakpoint; times are numpy's."""
    number = field.real.dtype.type
    calls, error, now, whole = 0.0, 0.0, number(start), float(end) - float(start)
    while now < end:
        problem, until = timeline.covering(float(now), float(end))
        # The end of a stretch may lie below `now` by rounding in the precision of the run.
        stop = min(number(min(until, float(end))), number(end))
        if stop > now:
            part = float(stop - now) / whole
            taken = _piece(method, problem, field, now, stop, tol * part, _scaled(first, part))
            field = taken.field
            if part > SHORTEST:
                first = _scaled(taken.first, 1 / part)
            calls, error = calls + float(taken.calls), error + float(taken.error)
        if until >= float(end):
            break
        after = timeline.after(until)
        beyond = min(number(after), number(end))
        if after > until:  # across a breakpoint: the same density, relative to another sqrt(pi)
            field = _regauge(problem, timeline.covering(after)[0], field, stop, beyond)
        now = beyond
    return StepResult(field, calls, error, first)


def _scaled(first: int, part: float) -> int:
    """A number of steps for another length; its sign and zero have a meaning of their own."""
    return first if first == 0 or part == 1 else int(math.copysign(max(1, round(abs(first) * part)), first))


def integrate_interval_evenly(
    method: Magnus, problem: Problem, field: Array, start: Any, end: Any, tol: Any
) -> Interval:
    """One interval in a number of steps known beforehand, from breakpoint to breakpoint; what can be traced."""
    calls, error, now = jnp.zeros((), field.real.dtype), jnp.zeros((), field.real.dtype), start
    for k in range(len(method.breakpoints) + 1):
        last = k == len(method.breakpoints)
        before, after = (end, end) if last else _around(method.breakpoints[k].astype(start.dtype))
        before, after = jnp.clip(before, now, end), jnp.clip(after, now, end)
        if problem.collocated and method.extrapolate:
            there = integrate_fixed(problem, field, now, before, method.steps or EVEN, tol)
            field, calls, error = there.fine, calls + there.calls, error + there.error
        else:
            part = advance(method, problem, field, now, before, fixed_levels(method.steps), None)
            field, calls, error = part.field, calls + part.calls, error + part.error
        if not last:
            field = _regauge(problem, problem, field, before, after)
        now = after
    return Interval(field, calls, error, ())


def _piece(method: Magnus, problem: Problem, field: Array, start: Any, end: Any, tol: float, first: int) -> StepResult:
    if method.steps is not None:
        taken = _evenly(eqx.tree_at(lambda m: m.breakpoints, method, jnp.zeros(0)), problem, field, start, end, tol)
        return StepResult(taken.field, taken.calls, taken.error, first)
    if problem.collocated and method.extrapolate and first >= 0:
        length = (end - start) / (first or START)
        goal, ranks = np.asarray(tol, field.real.dtype), ()
        if (
            problem.picture is Picture.GIBBS_WAVE
            and problem.grid.ndim > 1
            and not 0 < first * problem.grid.size <= QUICK
        ):
            ranks = choose_ranks(_tails(problem, field, start, end), tol, problem.grid.shape)
        cross = _adaptively_soon if problem.grid.size <= SMALL else _adaptively
        there = cross(problem, field, start, end, goal, length, ranks)
        if ranks and not float(there.error) < tol:
            there = cross(problem, field, start, end, goal, length, ())
        if np.isfinite(float(there.error)):
            steps = max(1, round(float(end - start) / float(there.length)))
            return StepResult(there.fine, there.calls, there.error, steps)
        if float(there.calls) < CHEAP:
            taken = advance(method, problem, field, start, end, adaptive_levels(FIRST), tol)
            return StepResult(taken.field, float(taken.calls) + float(there.calls), taken.error, 0)
    taken = advance(method, problem, field, start, end, adaptive_levels(max(FIRST, -first)), tol)
    return StepResult(taken.field, taken.calls, taken.error, -max(FIRST, taken.levels[-1] // 8 if taken.levels else 0))


def _around(t: Any) -> tuple[Any, Any]:
    """Just before and just after a breakpoint."""
    apart = APART * jnp.finfo(t.dtype).eps * abs(t)
    return t - apart, t + apart


def make_timeline(method: Magnus, problem: Problem, last: float, dtype: Any) -> Timeline:
    """The stretches between the method's breakpoints in [0, last], each from just after one to just before the next."""
    edges, now = [], 0.0
    for t in np.asarray(method.breakpoints):
        if not 0 <= t <= last:
            continue
        before, after = (float(side) for side in _around(np.asarray(t, dtype)))
        if before > now:
            edges.append((now, before))
        now = max(now, after)
    if last > now:
        edges.append((now, last))
    return Timeline(problem, edges, float(ROUNDINGS * jnp.finfo(dtype).eps * last))


def march(
    method: Magnus, problem: Problem, field: Array, start: Any, end: Any, count: Any
) -> tuple[Array, Array, Array]:
    """`count` midpoint steps from `start` to `end`; the field, the operator calls and the steps' own errors."""
    dtype = field.real.dtype
    length = (end - start) / count

    def step(k: Array, parameters: Any, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        problem, start, length = parameters
        field, gauge, calls, error = carry
        middle, after = start + (k + 0.5) * length, problem.log_sqrt_pi(start + (k + 1) * length, dtype)
        operator = problem.at(middle, dtype)
        inside = operator.log_sqrt_pi if problem.picture is Picture.GIBBS_WAVE else jnp.zeros((), dtype)
        prepared = method.exponential.prepare(operator, problem.picture)
        taken = method.exponential.apply(
            prepared, field * jnp.exp(gauge - inside), length[None], jnp.zeros((), dtype), problem.wick
        )
        field = taken.field[0] * jnp.exp(inside - after)
        return field, after, calls + taken.calls, jnp.maximum(error, taken.error[0])

    zero = jnp.zeros((), dtype)
    field, _, calls, error = run_loop(
        count, step, (problem, start, length), (field, problem.log_sqrt_pi(start, dtype), zero, zero)
    )
    return field, calls, error * jnp.sqrt(jnp.asarray(count, dtype))  # rounding adds up like a random walk


def advance(
    method: Magnus, problem: Problem, field: Array, start: Any, end: Any, levels: Sequence[int], tol: float | None
) -> Interval:
    """One interval between outputs: extrapolate over `levels` (steps each) until the error is below `tol`, if given."""
    above: list[Array] = []
    concrete = is_concrete(problem, field, start, end)
    calls: Any = 0.0
    best = Interval(field, calls, np.inf, ())
    measure = _measure(problem, end, field)
    for level, count in enumerate(levels):
        steps = _march_soon if problem.grid.size <= SMALL else _march
        finest, more, rounding = steps(method, problem, field, start, end, np.asarray(count))
        calls = calls + (float(more) if concrete else more)
        above, distance = _table_row(finest, above[:COLUMNS], measure, method.extrapolate)
        if level == 0:
            continue
        taken = Interval(above[-1], calls, distance + rounding, tuple(levels[: level + 1]))
        if tol is None:
            best = taken
            continue
        best = taken if float(taken.error) < float(best.error) else best._replace(calls=calls)
        reached, stuck = float(best.error) < tol, len(taken.levels) > len(best.levels) + PATIENCE
        if reached or stuck or float(calls) > MOST / 2:
            break
    return best


def adaptive_levels(first: int) -> list[int]:
    """Levels to adapt over, from `first` steps up."""
    return [first * 2**level for level in range(LEVELS)]


def fixed_levels(steps: int | None) -> list[int]:
    """Three levels that end in `steps`."""
    finest = steps or TRACED
    return [max(1, finest // 4), max(2, finest // 2), finest]


_march = compiled(march)
_adaptively = compiled(integrate_adaptive)
_adaptively_soon = quick_program(integrate_adaptive)
_march_soon = quick_program(march)
_tails = compiled(tails)
_evenly = compiled(integrate_interval_evenly)


@quick_program
def _table_row(finest: Array, above: list[Array], measure: Array, extrapolate: bool) -> tuple[list[Array], Array]:
    """A row of the extrapolation table from the one above it, and the distance of the best entries of both."""
    row = [finest]
    for j, coarse in enumerate(above if extrapolate else [], start=1):
        row.append(row[-1] + (row[-1] - coarse) / (4**j - 1))
    if not above:
        return row, jnp.zeros((), finest.real.dtype)
    return row, relative_distance(row[-1], above[-1], measure)


@quick_program
def _measure(problem: Problem, t: Any, like: Array) -> Array:
    """The weights in which a state at time t has the size of its density."""
    return wave_measure(problem, jnp.asarray(t), like.real.dtype)


@quick_program
def _regauge(old: Problem, new: Problem, field: Array, before: Any, after: Any) -> Array:
    """The same density as a wave of another time."""
    dtype = field.real.dtype
    return field * jnp.exp(old.log_sqrt_pi(before, dtype) - new.log_sqrt_pi(after, dtype))

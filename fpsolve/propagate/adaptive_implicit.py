"""Implicit steps of lengths that are chosen by their error: the control, the sweeps,
and the replay for derivatives.

A double step compares two steps of h / 2 with one of h. The difference estimates its
local error, from which the next h is computed. The signed local errors are propagated
with the field, e <- R(hL) e + new, so the error that is reported is what the dynamics
leaves of them. Where it is above the tolerance, the whole run is swept again with a
smaller local tolerance. For derivatives the steps that were taken are replayed: their
lengths are constants.

Reference: Hairer and Wanner, Solving ODEs II, IV.2 (control) and IV.8 (error estimates
of stiff problems).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.loop import run_loop
from .constants import CONSTANTS
from .implicit_steps import Prepared, Run, resolvent_of, step, two_steps


class _State(NamedTuple):
    """Where a run stands within an interval between two output times.

    - `field`; `error`, its signed estimate `(*shape)`; `residual`, the sum of the
      bounds of all residuals
    - `t`, the time in the interval; `h`, the length of the double step to try next
    - `last_error`: the local error of the last accepted double step, in units of the
      local tolerance
    - `tried` and `count`: double steps tried, and accepted; `fractions`, the lengths of
      the latter
    """

    field: Array
    error: Array
    residual: Array
    t: Array
    h: Array
    last_error: Array
    tried: Array
    count: Array
    fractions: Array


class _Sweep(NamedTuple):
    """The last run, the local tolerance for the next, and the number of runs so far."""

    run: Run
    local_tol: Array
    count: Array


class _DoubleStep(NamedTuple):
    """The field after two steps of h / 2, the signed error there, its new part, and the
    residuals' bound.
    """

    field: Array
    error: Array
    new_error: Array
    residual: Array


@jax.custom_jvp
def adaptive_run(
    prepared: Prepared, stationary: Array, field: Array, lengths: Array, tol: Array
) -> Run:
    """Sweeps over all lengths with a smaller local tolerance each, until the error at
    the end is below `tol`.

    **Arguments**: `stationary`, the part of the density that is left out of `field`;
    errors are relative to both.
    """
    least = CONSTANTS.local_tol_rounding * jnp.finfo(field.dtype).eps
    order = prepared.order
    local_tol = jnp.maximum(CONSTANTS.local_tol_factor * tol ** (1 + 1 / order), least)

    def size(u: Array) -> Array:
        return prepared.norm(stationary + u)

    def largest_error(run: Run) -> Array:
        return jnp.max(run.error / jax.vmap(size)(run.field))

    def unfinished(now: _Sweep) -> Array:
        too_large = largest_error(now.run) > tol
        # At the smallest local tolerance another sweep would be the same.
        can_improve = (now.count < CONSTANTS.max_sweeps) & (now.local_tol > least)
        return (now.count == 0) | (too_large & can_improve)

    def another(now: _Sweep) -> _Sweep:
        # The global error is proportional to local_tol^(order / (order + 1)).
        wanted = CONSTANTS.sweep_target * tol / largest_error(now.run)
        change = jnp.clip(wanted, *CONSTANTS.sweep_factors)
        smaller = jnp.maximum(now.local_tol * change ** (1 + 1 / order), least)
        local_tol = jnp.where(now.count == 0, now.local_tol, smaller)
        run = _sweep(prepared, stationary, field, lengths, local_tol)
        run = run._replace(calls=run.calls + now.run.calls)
        return _Sweep(run, local_tol, now.count + 1)

    zeros = jnp.zeros(lengths.shape, field.dtype)
    nothing = Run(
        field=jnp.stack([field] * len(zeros)),
        error=zeros,
        calls=zeros,
        fractions=jnp.zeros((len(zeros), CONSTANTS.max_double_steps), field.dtype),
        count=zeros,
    )
    start = _Sweep(nothing, local_tol, jnp.zeros((), int))
    return jax.lax.while_loop(unfinished, another, start).run


@adaptive_run.defjvp
def _(primals: Any, tangents: Any) -> Any:
    run = adaptive_run(*primals)
    prepared, _, field, lengths, tol = primals

    def replayed(prepared: Prepared, field: Array, lengths: Array) -> Array:
        return _replay(prepared, field, lengths, run.fractions, run.count, tol)

    smooth = (prepared, field, lengths)
    directions = (tangents[0], tangents[2], tangents[3])
    _, change = jax.jvp(replayed, smooth, directions)
    # Errors and counts are constants to derivatives.
    no_change = jax.tree.map(jnp.zeros_like, run)
    return run, no_change._replace(field=change)


def _sweep(
    prepared: Prepared,
    stationary: Array,
    field: Array,
    lengths: Array,
    local_tol: Array,
) -> Run:
    """A run to all lengths with local errors of relative size `local_tol`."""
    order = prepared.order
    dtype = field.dtype
    zero = jnp.zeros((), dtype)
    # The lengths are recorded in arrays of fixed size, so that a second program can
    # replay them.
    no_fractions = jnp.zeros((CONSTANTS.max_double_steps,), dtype)
    # The first length: its local error is local_tol if the field changes by its own
    # size in 1 / slope.
    change = prepared.norm(prepared.operator.generator(field))
    slope = change / prepared.norm(stationary + field)
    change_allowed = local_tol ** (1 / (order + 1))
    first = change_allowed / jnp.where(slope > 0, slope, 1)

    def interval(now: _State, length: Array) -> tuple[_State, Run]:
        now = now._replace(t=zero, tried=zero, count=zero, fractions=no_fractions)
        end = jax.lax.while_loop(
            lambda state: state.t < length,
            lambda state: _attempt(prepared, stationary, local_tol, length, state),
            now,
        )
        error = prepared.norm(end.error) + end.residual
        # Three steps of `order` resolvents each for a double step.
        return end, Run(
            field=end.field,
            error=error,
            calls=3 * order * end.tried,
            fractions=end.fractions,
            count=end.count,
        )

    start = _State(
        field=field,
        error=jnp.zeros_like(field),
        residual=zero,
        t=zero,
        h=first,
        last_error=zero + 1,
        tried=zero,
        count=zero,
        fractions=no_fractions,
    )
    _, run = jax.lax.scan(interval, start, jnp.diff(lengths, prepend=0.0))
    return run


def _attempt(
    prepared: Prepared, stationary: Array, local_tol: Array, length: Array, now: _State
) -> _State:
    """Try one double step; accept it if its local error is small, and compute the next
    h.
    """
    remaining = length - now.t
    # The last double step that there is room for in `fractions` takes the whole rest,
    # whatever its error.
    forced = now.count >= CONSTANTS.max_double_steps - 1
    last = forced | (now.h >= remaining * (1 - CONSTANTS.last_step_slack))
    h = jnp.where(last, remaining, jnp.minimum(now.h, remaining))
    residual_tol = CONSTANTS.residual_fraction * local_tol + 2 * jnp.finfo(h.dtype).eps
    taken = _double_step(prepared, now, h, residual_tol)

    # The local error in units of the local tolerance, within limits that keep its
    # powers finite.
    allowed = prepared.norm(stationary + taken.field) * local_tol
    size = prepared.norm(taken.new_error) / allowed
    least = jnp.maximum(size, CONSTANTS.smallest_error)
    size = jnp.where(jnp.isfinite(size), least, CONSTANTS.largest_error)

    # A step at the resolution of time cannot be made shorter, and the number of
    # attempts is limited.
    too_many = now.tried >= 2 * CONSTANTS.max_double_steps
    shortest = h <= 4 * jnp.finfo(h.dtype).eps * length
    accepted = (size <= CONSTANTS.accepted_error) | forced | too_many | shortest
    factor = _next_factor(size, now.last_error, accepted, prepared.order)
    # A last step may have been cut short by the output time. The next interval goes on
    # with the longer length.
    proposed = h * factor
    longer = jnp.maximum(now.h, proposed)
    proposed = jnp.where(accepted & last, longer, proposed)

    position = now.count.astype(int)
    after = _State(
        field=taken.field,
        error=taken.error,
        residual=now.residual + taken.residual,
        t=jnp.where(last, length, now.t + h),
        h=proposed,
        last_error=jnp.maximum(size, CONSTANTS.remembered_error),
        tried=now.tried + 1,
        count=now.count + 1,
        fractions=now.fractions.at[position].set(h / length),
    )
    rejected = now._replace(h=proposed, tried=now.tried + 1)

    def pick(new: Array, old: Array) -> Array:
        return jnp.where(accepted, new, old)

    return jax.tree.map(pick, after, rejected)


def _double_step(
    prepared: Prepared, now: _State, h: Array, residual_tol: Array
) -> _DoubleStep:
    """Two steps of h / 2, and one of h for the error."""
    order = prepared.order
    half = resolvent_of(prepared, h / 2)
    fine = two_steps(half, order, now.field, residual_tol)
    # The error so far evolves like the field, and one longer step is accurate enough
    # for it: both as one batch.
    whole = resolvent_of(prepared, h)
    both = jnp.stack([now.field, now.error])
    (coarse, error), _ = step(whole, order, both, residual_tol)
    # Richardson: the difference is 2^order - 1 times the error of the finer field.
    new_error = (fine.field - coarse) / (2**order - 1)
    return _DoubleStep(fine.field, error + new_error, new_error, fine.residual)


def _next_factor(size: Array, last_size: Array, accepted: Array, order: int) -> Array:
    """The factor from h to the next one, by local errors in units of their tolerance.

    Proportional-integral control after an accepted step: the error before it damps the
    oscillations of h that stiff problems show. After a rejected one the error alone
    decides.
    """
    proportional = CONSTANTS.proportional_exponent / (order + 1)
    integral = CONSTANTS.integral_exponent / (order + 1)
    control = size ** (-proportional)
    after_accepted = CONSTANTS.step_safety * control * last_size**integral
    after_rejected = CONSTANTS.step_safety * size ** (-1 / (order + 1))
    return jnp.where(
        accepted,
        jnp.clip(after_accepted, *CONSTANTS.accepted_factors),
        jnp.clip(after_rejected, *CONSTANTS.rejected_factors),
    )


def _replay(
    prepared: Prepared,
    field: Array,
    lengths: Array,
    fractions: Array,
    count: Array,
    tol: Array,
) -> Array:
    """The fields at all lengths by the same steps, as a differentiable program."""
    order = prepared.order
    # The residual tolerance of the first sweep, whatever was needed in later ones.
    first = CONSTANTS.residual_fraction * CONSTANTS.local_tol_factor
    epsilon = jnp.finfo(field.dtype).eps
    residual_tol = first * tol ** (1 + 1 / order) + 2 * epsilon

    def body(
        k: Array, parameters: tuple[Prepared, Array, Array, Array], u: Array
    ) -> Array:
        prepared, fractions, length, residual_tol = parameters
        half = resolvent_of(prepared, fractions[k] * length / 2)
        return two_steps(half, order, u, residual_tol).field

    def interval(u: Array, given: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        length, fractions, count = given
        parameters = (prepared, fractions, length, residual_tol)
        u = run_loop(count.astype(int), body, parameters, u)
        return u, u

    intervals = (jnp.diff(lengths, prepend=0.0), fractions, count)
    _, fields = jax.lax.scan(interval, field, intervals)
    return fields

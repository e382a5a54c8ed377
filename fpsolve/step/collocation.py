"""Integration of moving waves by collocation in a moving frame, without stiffness.

    d_t psi = -e^{iw} (H_t + d_t log sqrt(pi_t)) psi      (theorem T13)
            = -e^{iw} (E + W(x, t)) psi,

    E = sum_i h_i,      h_i = K_i + v_i(x_i),      W = V + d_t log sqrt(pi) - sum_i v_i

A Schrödinger equation has no term d_t log sqrt(pi). Every step takes E from its middle
and diagonalises it (small matrices, one an axis), so that W holds only what changes
with time and what couples the axes. `collocation_step.py` does one step with n - 1 and
with n Gauss points, whose errors are of order 2n - 1 and 2n + 1 in its length. Both
solutions are integrated to the end of the interval. Their distance is the error that is
reported, the finer one is returned, and the steps are as long as keeps the distance
below the tolerance.

References: Hochbruck and Ostermann, Acta Numerica 19 (2010) 209, section 2.4; Tal-Ezer,
Kosloff and Schaefer, J. Sci. Comput. 53 (2012) 211.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.types import DType, Time
from .collocation_step import CollocationStep, StepperState, collocation_step, points_of
from .constants import CONSTANTS
from .moving_wave import amplification, wave_distance
from .problem import Problem


class _Judgement(NamedTuple):
    """The `error` of both solutions after a step, whether it is `accepted`, and the
    `factor` for the next length.
    """

    error: Array
    accepted: Array
    factor: Array


def integrate_adaptive(
    problem: Problem,
    field: Array,
    start: Time,
    end: Time,
    tol: Time,
    length: Time,
    ranks: tuple[int, ...],
) -> StepperState:
    """Integrate from `start` to `end` in steps chosen on the way.

    **Arguments**: `tol`, the relative L1 error allowed over the interval; `length`, of
    the first step; `ranks`, the number of functions of each axis, () for all.
    **Returns** the last state; its error is infinite where the steps became too many or
    too short.
    """
    dtype = field.real.dtype
    # The step control, the tolerances and the limits of effort are all in proportion to
    # the whole interval.
    whole = end - start
    epsilon = jnp.finfo(dtype).eps
    # Below 64 units of rounding of the time, the points of a step are no longer
    # distinct.
    shortest = jnp.maximum(64 * epsilon * jnp.abs(end), CONSTANTS.shortest_step * whole)

    def unfinished(now: StepperState) -> Array:
        rejected = now.attempts - now.steps
        # The limits of effort grow with what has been achieved, so a hopeless interval
        # is given up early.
        passed = jnp.maximum((now.t - start) / whole, CONSTANTS.start_products)
        affordable = now.calls < CONSTANTS.max_products * passed
        return (
            (now.t < end)
            & (now.length > shortest)
            & (rejected < CONSTANTS.max_rejections + now.steps)
            & affordable
        )

    def attempt(now: StepperState) -> StepperState:
        # The rest of the interval is divided into equal steps, so that no short one is
        # left at its end.
        remaining = end - now.t
        count = jnp.ceil(remaining / now.length - CONSTANTS.last_step_slack)
        count = jnp.maximum(count, 1)
        length = remaining / count
        # The last step ends at `end` itself, not beside it by rounding.
        after = jnp.where(count > 1, now.t + length, end)
        # A small relative error of a wave is a larger one of its density, where the
        # wave has large tails.
        amplified = amplification(problem, now.fine, now.t)
        step_tol = tol * length / whole
        residual_tol = _residual_tol(step_tol, amplified, dtype)
        taken = collocation_step(problem, now, length, residual_tol, False, ranks)
        # The error allowed up to `after`: more than in proportion to the time, so that
        # a sharp start is not too costly.
        at_start = CONSTANTS.tol_at_start
        allowed = tol * (at_start + (1 - at_start) * (after - start) / whole)
        judged = _judge(problem, now, taken, after, allowed, step_tol, amplified)

        def pick(new: Array, old: Array) -> Array:
            return jnp.where(judged.accepted, new, old)

        # A rejected step changes nothing but the next length and the effort.
        return StepperState(
            t=pick(after, now.t),
            length=length * judged.factor,
            coarse=pick(taken.coarse, now.coarse),
            fine=pick(taken.fine, now.fine),
            stage_values=pick(taken.stage_values, now.stage_values),
            last=pick(length, now.last),
            error=pick(judged.error, now.error),
            missed=pick(now.missed + taken.missed, now.missed),
            calls=now.calls + taken.calls,
            steps=now.steps + judged.accepted,
            attempts=now.attempts + 1,
        )

    first = _initial_state(field, start, length)
    done = jax.lax.while_loop(unfinished, attempt, first)
    # A run that was given up has no answer.
    error = jnp.where(done.t < end, jnp.inf, done.error + done.missed)
    return done._replace(error=error + _rounding(problem, field, start))


def _residual_tol(step_tol: Array | float, amplified: Array, dtype: DType) -> Array:
    """The relative residual that an iteration may leave: its error in the density is
    `amplified` times larger.
    """
    return jnp.clip(
        CONSTANTS.residual_fraction * step_tol / amplified,
        2 * jnp.finfo(dtype).eps,
        CONSTANTS.max_residual_tol,
    )


def _judge(
    problem: Problem,
    now: StepperState,
    taken: CollocationStep,
    after: Array,
    allowed: Array,
    step_tol: Array | float,
    amplified: Array,
) -> _Judgement:
    """Accept or reject a step to `after`, up to which the error may be `allowed`.

    A step is accepted by what it adds to the error, since the distance of the two
    solutions includes former steps.
    """
    error = wave_distance(problem, taken.fine, taken.coarse, after)
    unused_tol = allowed - now.error - now.missed
    # Old errors must not leave a step without any tolerance.
    remaining_tol = jnp.maximum(unused_tol, step_tol * CONSTANTS.least_step_tol)
    # Errors of old steps decay, so the distance may become smaller; that is no credit
    # for the step.
    added = jnp.maximum(error - now.error, 0) + taken.missed
    epsilon = jnp.finfo(now.fine.real.dtype).eps
    # Shorter steps do not reduce what is rounding.
    rounding = CONSTANTS.rounding_units * epsilon * amplified
    is_small = added <= jnp.maximum(remaining_tol, rounding)
    accepted = taken.converged & jnp.isfinite(error) & is_small

    # The length for which the step would add what remains, if its error were of the
    # order that control assumes.
    least_error = error * CONSTANTS.least_error_fraction
    counted = jnp.maximum(added, least_error + CONSTANTS.least_error_tol * step_tol)
    factor = (remaining_tol / counted) ** (1 / CONSTANTS.control_order)
    factor = jnp.clip(
        CONSTANTS.safety * factor, CONSTANTS.smallest_factor, CONSTANTS.largest_factor
    )
    # An iteration that did not converge makes the error meaningless. A field that
    # overflowed has none at all.
    factor = jnp.where(accepted | taken.converged, factor, CONSTANTS.unconverged_factor)
    factor = jnp.where(jnp.isfinite(error), factor, CONSTANTS.smallest_factor)
    return _Judgement(error, accepted, factor)


def integrate_fixed(
    problem: Problem,
    field: Array,
    start: Time,
    end: Time,
    count: int,
    tol: Array | float,
) -> StepperState:
    """Integrate from `start` to `end` in `count` equal steps: traceable, and
    differentiable in both modes.
    """
    length = (end - start) / count

    def one_step(now: StepperState, _: None) -> tuple[StepperState, None]:
        amplified = amplification(problem, now.fine, now.t)
        residual_tol = _residual_tol(tol / count, amplified, length.dtype)
        taken = collocation_step(problem, now, length, residual_tol, True)
        after = now.t + length
        distance = wave_distance(problem, taken.fine, taken.coarse, after)
        error = jnp.where(taken.converged, distance, jnp.inf)
        # Nothing is rejected here. A step whose iteration failed makes the error
        # infinite.
        steps = now.steps + 1
        done = StepperState(
            t=after,
            length=length,
            coarse=taken.coarse,
            fine=taken.fine,
            stage_values=taken.stage_values,
            last=length,
            error=error,
            missed=now.missed + jax.lax.stop_gradient(taken.missed),
            calls=now.calls + taken.calls,
            steps=steps,
            attempts=steps,
        )
        return done, None

    first = _initial_state(field, start, length)
    done, _ = jax.lax.scan(one_step, first, None, length=count)
    error = done.error + done.missed
    return done._replace(error=error + _rounding(problem, field, start))


def _rounding(problem: Problem, field: Array, start: Array) -> Array:
    """The relative error that rounding makes, amplified; infinite where the
    amplification overflows.
    """
    epsilon = jnp.finfo(field.real.dtype).eps
    # Eight roundings a value over an interval: a free choice, since the number of steps
    # hardly matters.
    error = 8 * epsilon * amplification(problem, field, start)
    return jnp.where(jnp.isfinite(error), error, jnp.inf)


def _initial_state(field: Array, start: Array, length: Array) -> StepperState:
    """The state before the first step: both solutions are the field itself."""
    dtype = field.real.dtype
    zero = jnp.zeros((), dtype)
    return StepperState(
        t=start,
        length=length,
        coarse=field,
        fine=field,
        stage_values=jnp.broadcast_to(field, (points_of(dtype), *field.shape)),
        last=zero,
        error=zero,
        missed=zero,
        calls=zero,
        steps=zero,
        attempts=zero,
    )

"""A density that starts too wide for its wave: evolved as a density until it has
narrowed, and as a wave from then on.

    s <= t:   p(s)   = exp(sL) p(0)                rounding eps |L| s
    s > t:    psi(s) = exp(-(s - t) H) psi(t)      rounding eps |psi(t)|

with psi = p / sqrt(pi).

t is searched by doubling: while p narrows towards pi, |psi| falls. The wave keeps the
digits of slow modes over any time, which exp(sL) does not.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..operator.aliasing import aliasing_error, short_wave_damping
from ..operator.clipping import clip_tails
from ..operator.constants import CONSTANTS as OPERATOR
from .base import Step, node_weights
from .constants import CONSTANTS
from .full_matrix import (
    GeneralMatrix,
    SymmetricMatrix,
    by_decomposition,
    by_exponentials,
)


class RelaxingDensity(eqx.Module):
    """A reversible problem whose start is too wide for its wave: the `density` is
    evolved until it has narrowed, then its `wave`; `diffusion` `(d,)` is the least
    along each axis.
    """

    density: GeneralMatrix
    wave: SymmetricMatrix
    diffusion: Array


class _Relaxed(NamedTuple):
    """The search for the time at which a wave takes the place of a density: exp(`time`
    L) as `exponential`; the best time so far, its wave `(*shape)` and its error.
    """

    time: Array
    exponential: Array
    best_time: Array
    wave: Array
    error: Array


def by_relaxation(
    prepared: RelaxingDensity, field: Array, lengths: Array, tol: Array
) -> Step:
    """The density up to a time, and its wave from there on."""
    found = _relax(prepared, field, lengths, tol)
    found = _confirmed(prepared, field, lengths, tol, found)
    early = lengths <= found.best_time
    until = jnp.minimum(lengths, found.best_time)
    as_density = by_exponentials(prepared.density, field, until)
    # An infinite time means no wave; infinity less infinity would be no number.
    time = jnp.where(jnp.isfinite(found.best_time), found.best_time, 0)
    later = jnp.where(early, 0, lengths - time)
    as_wave = by_decomposition(prepared.wave, found.wave, later, 0.0)
    log_sqrt_pi = prepared.wave.operator.log_sqrt_pi
    assert log_sqrt_pi is not None, "a reversible process has a Gibbs density"
    each = early.reshape(-1, *[1] * field.ndim)
    density_of_wave = as_wave.field * jnp.exp(log_sqrt_pi)
    return Step(
        field=jnp.where(each, as_density.field, density_of_wave),
        calls=as_density.calls + as_wave.calls,
        error=jnp.where(early, as_density.error, found.error + as_wave.error),
    )


def _confirmed(
    prepared: RelaxingDensity, field: Array, lengths: Array, tol: Array, found: _Relaxed
) -> _Relaxed:
    """The same with what the wave and the density differ by at later times, in L1; with
    an infinite time where this is more than the error that either is known to have.

    Short waves of a tall wave are mixed with long ones before they are damped, which no
    measure of the wave shows. They are damped at one of the later times.
    """
    operator = prepared.wave.operator
    log_sqrt_pi = operator.log_sqrt_pi
    weights = node_weights(operator)
    assert log_sqrt_pi is not None, "a reversible process has a Gibbs density"
    time = jnp.where(jnp.isfinite(found.best_time), found.best_time, 0)
    later = jnp.asarray(CONSTANTS.compared_times, time.dtype)
    density = by_exponentials(prepared.density, field, later * time).field
    since = (later - 1) * time
    wave = by_decomposition(prepared.wave, found.wave, since, 0.0).field
    size = jnp.sum(weights * jnp.abs(field))
    axes = tuple(range(1, 1 + field.ndim))
    apart = jnp.abs(density - wave * jnp.exp(log_sqrt_pi))
    # The short waves are damped at one of the two times.
    difference = jnp.min(jnp.sum(weights * apart, axes)) / size
    known_error = jnp.maximum(found.error, _density_error(prepared, lengths, tol))
    # Written so that a difference that is not finite is no confirmation.
    confirmed = difference < known_error
    return found._replace(
        best_time=jnp.where(confirmed, found.best_time, jnp.inf),
        error=found.error + difference,
    )


def _density_error(prepared: RelaxingDensity, lengths: Array, tol: Array) -> Array:
    """The error of the density up to the last length, by rounding, beyond which a wave
    takes its place.
    """
    norm = jnp.max(jnp.sum(jnp.abs(prepared.density.matrix), axis=0))
    rounding = jnp.finfo(norm.dtype).eps * norm * lengths[-1]
    return rounding + CONSTANTS.density_over_wave * tol


def _relax(
    prepared: RelaxingDensity, field: Array, lengths: Array, tol: Array
) -> _Relaxed:
    """The time at which p / sqrt(pi) of the density that has narrowed errs least, by
    doubling; infinite where the density itself errs less up to the last length.

    Rounding of exp(tL) grows as eps |L| t; that of the wave is eps |psi|, and its
    levels keep their digits.
    """
    operator = prepared.wave.operator
    matrix = prepared.density.matrix
    grid = operator.grid
    log_sqrt_pi = operator.log_sqrt_pi
    weights = node_weights(operator)
    epsilon = jnp.finfo(field.dtype).eps
    norm = jnp.max(jnp.sum(jnp.abs(matrix), axis=0))
    enough = CONSTANTS.relaxed_fraction * tol
    last = lengths[-1]
    clipped_fraction = tol * OPERATOR.clipping_tol_fraction

    def unfinished(state: _Relaxed) -> Array:
        # Beyond the time at which rounding of the density alone is as large as the best
        # error, nothing is gained.
        gains = epsilon * norm * state.time < state.error
        worthwhile = gains & (state.time < last)
        # A density that keeps its digits up to the last time is left alone.
        return worthwhile & (state.error > enough) & (epsilon * norm * last > enough)

    def double(state: _Relaxed) -> _Relaxed:
        density = (state.exponential @ field.ravel()).reshape(field.shape)
        wave = clip_tails(density, log_sqrt_pi, weights, clipped_fraction)
        size = jnp.sqrt(jnp.sum(weights * wave**2))
        # Up to the next output time short waves are damped.
        next_time = jnp.min(jnp.where(lengths > state.time, lengths, last))
        first = next_time - state.time
        damping = []
        for i, axis in enumerate(grid.axes):
            damping.append(short_wave_damping(prepared.diffusion[i], axis, first))
        of_wave, of_density = aliasing_error(grid, wave, jnp.exp(log_sqrt_pi), damping)
        # What the density has of it is no error of the wave.
        aliasing = jnp.maximum(of_wave - OPERATOR.aliasing_excess * of_density, 0)
        error = epsilon * (norm * state.time + 8 * size) + aliasing
        # Written so that a wave that is not finite is no improvement.
        better = error < state.error
        return _Relaxed(
            time=2 * state.time,
            exponential=state.exponential @ state.exponential,
            best_time=jnp.where(better, state.time, state.best_time),
            wave=jnp.where(better, wave, state.wave),
            error=jnp.where(better, error, state.error),
        )

    start = _Relaxed(
        time=1 / norm,
        exponential=jax.scipy.linalg.expm(matrix / norm),
        best_time=jnp.full((), jnp.inf, norm.dtype),
        wave=jnp.zeros_like(field),
        error=_density_error(prepared, lengths, tol),
    )
    return jax.lax.while_loop(unfinished, double, start)

"""The exponential of an antisymmetric matrix by Chebyshev polynomials, in real numbers.

With |G| <= R, S = G / R and z = s R,

    exp(-s G) = J_0(z) P_0 + 2 sum_k J_k(z) P_k,
    P_0 = 1,      P_1 = -S,      P_{k+1} = P_{k-1} - 2 S P_k

P_k = (-i)^k T_k(i S) is a real matrix of norm at most 1. The Bessel functions come from
their integral

    J_k(z) = (1/pi) int_0^pi cos(z sin u - k u) du

by the midpoint rule, which is accurate to rounding here. Beyond k = z they fall faster
than exponentially: about z + 12 z^(1/3) products are taken, so that what is left out is
below rounding and the matrix is orthogonal to rounding.

Reference: Tal-Ezer and Kosloff, J. Chem. Phys. 81 (1984) 3967.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.loop import run_loop
from ..operator.skew import SkewOperator
from .constants import CONSTANTS


class Moved(NamedTuple):
    """exp(-s G) psi, and the products with G that it took."""

    wave: Array
    calls: Array


def skew_exponential(operator: SkewOperator, wave: Array, length: Array) -> Moved:
    """exp(-s G) psi for one length s >= 0, to rounding.

    **Arguments**: `wave` `(*shape)`, real; `length`, a scalar. **Cost**: about z + 12
    z^(1/3) products, z = s |G|.
    """
    block = CONSTANTS.block
    # R is only a scale: the result does not depend on it.
    tiny = jnp.finfo(wave.dtype).tiny ** 0.5
    largest = jax.lax.stop_gradient(jnp.maximum(operator.largest, tiny))
    size = length * largest
    # The integrand oscillates z times, so long times are cut into pieces that the nodes
    # resolve.
    pieces = jnp.ceil(jax.lax.stop_gradient(size) / CONSTANTS.wick_size)
    pieces = jnp.maximum(1, pieces).astype(int)
    z = size / pieces
    blocks = _terms(z) // block + 1

    def piece(
        k: Array, parameters: tuple[SkewOperator, Array, Array, Array], wave: Array
    ) -> Array:
        operator, largest, z, blocks = parameters
        return _sum(operator, largest, z, blocks, wave)

    # A derivative may trace the parameters: the body takes them as arguments.
    parameters = (operator, largest, z, blocks)
    wave = run_loop(pieces, piece, parameters, wave)
    calls = pieces * blocks * block
    return Moved(wave, calls.astype(wave.dtype))


class _Recurrence(NamedTuple):
    """P_{k-1} psi, P_k psi, and the sum of the terms below k."""

    before: Array
    now: Array
    total: Array


def _sum(
    operator: SkewOperator, largest: Array, z: Array, blocks: Array, wave: Array
) -> Array:
    """The sum of `blocks` blocks of terms, applied to a wave."""

    def block(
        j: Array, parameters: tuple[SkewOperator, Array, Array], carry: _Recurrence
    ) -> _Recurrence:
        operator, largest, z = parameters
        coefficients = _coefficients(z, CONSTANTS.block * j)
        factor = 2 / largest

        # Two steps a turn, so that each field is overwritten in place.
        def two_steps(k: Array, carry: _Recurrence) -> _Recurrence:
            before, now, total = carry
            total = total + coefficients[2 * k] * now
            before = before - factor * operator.apply(now)
            total = total + coefficients[2 * k + 1] * before
            now = now - factor * operator.apply(before)
            return _Recurrence(before, now, total)

        return jax.lax.fori_loop(0, CONSTANTS.block // 2, two_steps, carry)

    # P_{-1} = S starts the recurrence: then P_1 = P_{-1} - 2 S = -S.
    first = _Recurrence(operator.apply(wave) / largest, wave, jnp.zeros_like(wave))
    return run_loop(blocks, block, (operator, largest, z), first).total


def _coefficients(z: Array, start: Array) -> Array:
    """(2 - [k = 0]) J_k(z) for one block of k from `start`."""
    nodes = CONSTANTS.wick_nodes
    midpoints = (jnp.arange(nodes) + 0.5).astype(z.dtype)
    angles = jnp.pi * midpoints / nodes
    k = (start + jnp.arange(CONSTANTS.block)).astype(z.dtype)
    phases = z * jnp.sin(angles) - k[:, None] * angles
    bessel = jnp.mean(jnp.cos(phases), axis=1)
    return jnp.where(k == 0, 1, 2) * bessel


def _terms(z: Array) -> Array:
    """The least k at which J_k(z), at most exp( sqrt(k^2 - z^2) - k arccosh(k / z) ),
    is below rounding.
    """
    precision = jnp.finfo(z.dtype)
    # At z = 0 the quotients below must stay finite.
    z = jnp.maximum(jax.lax.stop_gradient(z), precision.tiny**0.5)
    exponent = -jnp.log(precision.eps * CONSTANTS.skew_truncation)
    # The bound is convex in k, so that Newton's iteration comes down to the root from
    # beyond it.
    k = z + CONSTANTS.wick_airy_widths * z ** (1 / 3) + CONSTANTS.wick_extra_terms
    for _ in range(CONSTANTS.term_iterations):
        slope = jnp.arccosh(k / z)
        value = k * slope - jnp.sqrt(k**2 - z**2) - exponent
        k = k - value / slope
    return jnp.ceil(k).astype(int) + 2

"""exp(sQ) of a Markov chain, by arithmetic on non-negative numbers only.

`rates[i, j]` is the rate at which mass moves from node j to node i, and Q takes it from j as it gives it to i,

    Q = rates - diag(leaving),     leaving_j = sum_i rates[i, j].

With q the largest of `out_rates`, P = 1 + Q/q, s = 2^k r and q r <= 1/2,

    exp(rQ) = e^{-qr} sum_l (qr P)^l / l!,      exp(sQ) = exp(rQ)^(2^k) by k squarings,

where no number is negative, so that nothing cancels and every entry keeps its relative accuracy. The sum, to l = 15, is
a polynomial in P^4 with polynomials in P below P^4 for coefficients: six products. Columns sum to one; dividing by
their sum after each squaring keeps the rounding of the large entries (mass that stays) from growing into a rate.

References: Paterson and Stockmeyer, SIAM J. Comput. 2 (1973) 60; relative accuracy of squaring non-negative
exponentials: Shao, Gao and Xue, SIAM J. Matrix Anal. Appl. 35 (2014) 1122.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.loop import run_loop
from ..core.machine import EXACTLY

BLOCKS, LARGEST = 4, 0.5  # (1/2)^16 / 16! is below the rounding of float64
DOUBLINGS = 1100  # more than q s can ask for before it overflows


def doublings(rates: Array, length: Array) -> Array:
    """The number k of squarings that exp(length Q) takes."""
    size = jax.lax.stop_gradient(jnp.max(jnp.sum(rates, axis=-2)) * length) / LARGEST
    return jnp.clip(jnp.ceil(jnp.log2(jnp.maximum(size, 1))), 0, DOUBLINGS).astype(int)


def transition(rates: Array, length: Array) -> Array:
    """exp(length Q) `(..., n, n)`, its columns summing to one, for `rates` `(..., n, n)` with a diagonal of zeros.

    **Keeps**: entries at least zero, exactly; the null vector of Q to rounding, whatever the length. **Cost**: 6 +
    log2(2 q length) products of matrices.
    """
    count = doublings(rates, length)
    return run_loop(
        count, lambda k, _, now: squared(now), (), _taylor(rates, length * (0.5**count).astype(length.dtype))
    )


def squared(matrix: Array) -> Array:
    """exp(2sQ) from exp(sQ)."""
    return _normalised(_product(matrix, matrix))


def _taylor(rates: Array, length: Array) -> Array:
    """exp(length Q) where q length is at most `LARGEST`."""
    out_rates, one = jnp.sum(rates, axis=-2), jnp.eye(rates.shape[-1], dtype=rates.dtype)
    rate = jax.lax.stop_gradient(jnp.maximum(jnp.max(out_rates), jnp.finfo(rates.dtype).tiny))
    stay = (1 - out_rates / rate)[..., None, :] * one
    first = (rate * length) * (rates / rate + stay)
    second = _product(first, first)
    powers = (one, first, second, _product(second, first))
    fourth, total = _product(second, second), jnp.zeros_like(first)
    for block in reversed(range(BLOCKS)):
        total = _product(fourth, total) if block < BLOCKS - 1 else total
        total = total + sum(power / math.factorial(4 * block + k) for k, power in enumerate(powers))
    return _normalised(total)


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=EXACTLY)


def _normalised(matrix: Array) -> Array:
    return matrix / jnp.sum(matrix, axis=-2, keepdims=True)

"""exp(sQ) of a Markov chain, by arithmetic on non-negative numbers only.

`rates[i, j]` is the rate at which mass moves from node j to node i, so Q removes it
from j and adds it to i,

    Q = rates - diag(out_rates),     out_rates_j = sum_i rates[i, j].

With q the largest of `out_rates`, P = 1 + Q/q, s = 2^k r and q r <= 1/2,

    exp(rQ) = e^{-qr} sum_l (qr P)^l / l!,      exp(sQ) = exp(rQ)^(2^k) by k squarings,

where no number is negative, so nothing cancels and every entry keeps its relative
accuracy. The sum, to l = 15, is a polynomial in P^4 with polynomials in P below P^4 for
coefficients: six products. Columns sum to one; dividing by their sum after each
squaring keeps the rounding of the large entries (mass that stays) from growing into a
rate.

References: Paterson and Stockmeyer, SIAM J. Comput. 2 (1973) 60; relative accuracy of
squaring non-negative exponentials: Shao, Gao and Xue, SIAM J. Matrix Anal. Appl. 35
(2014) 1122.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.loop import run_loop
from .constants import CONSTANTS
from .matrix_exponential import full_product, taylor_polynomial


def doublings(rates: Array, length: Array) -> Array:
    """The number k of squarings that exp(length Q) takes."""
    largest = jnp.max(jnp.sum(rates, axis=-2))
    size = jax.lax.stop_gradient(largest * length) / CONSTANTS.taylor_radius
    # At least one: a short step needs no squaring.
    count = jnp.ceil(jnp.log2(jnp.maximum(size, 1)))
    return jnp.clip(count, 0, CONSTANTS.max_squarings).astype(int)


def transition(rates: Array, length: Array) -> Array:
    """exp(length Q) `(..., n, n)`, its columns summing to one, for `rates`
    `(..., n, n)` with a diagonal of zeros.

    **Keeps**: entries at least zero, exactly; the null vector of Q to rounding,
    whatever the length. **Cost**: 6 + log2(2 q length) products of matrices.
    """
    count = doublings(rates, length)
    fraction = (0.5**count).astype(length.dtype)
    start = _taylor(rates, length * fraction)
    return run_loop(count, lambda k, _, now: squared(now), (), start)


def squared(matrix: Array) -> Array:
    """exp(2sQ) from exp(sQ)."""
    return _normalised(full_product(matrix, matrix))


def _taylor(rates: Array, length: Array) -> Array:
    """exp(length Q) where q length is at most `CONSTANTS.taylor_radius`."""
    out_rates = jnp.sum(rates, axis=-2)
    one = jnp.eye(rates.shape[-1], dtype=rates.dtype)
    # Any q at least as large as all out-rates gives the same exponential, so its
    # derivative is zero. The smallest normal number keeps q positive where all rates
    # are zero.
    tiny = jnp.finfo(rates.dtype).tiny
    rate = jax.lax.stop_gradient(jnp.maximum(jnp.max(out_rates), tiny))
    stay = (1 - out_rates / rate)[..., None, :] * one
    first = (rate * length) * (rates / rate + stay)

    return _normalised(taylor_polynomial(first))


def _normalised(matrix: Array) -> Array:
    """Columns that sum to one, which exp(sQ) has."""
    return matrix / jnp.sum(matrix, axis=-2, keepdims=True)

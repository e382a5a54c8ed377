"""exp(sA) of small matrices of any kind, many at once, by scaling and squaring of a Taylor polynomial.

    exp(sA) = exp(2^-k s A)^(2^k),      |2^-k s A| <= 1/2,      sum_l (2^-k s A)^l / l!  to l = 15

All matrices take the same number of squarings, so that nothing depends on the numbers of one of them. The exponential
of Markov chains keeps more (`markov_expm`). Scaling and squaring loses digits in proportion to the norm of sA.

Reference: Moler and Van Loan, SIAM Review 45 (2003) 3, methods 1 and 3.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.loop import run_loop
from ..core.machine import EXACTLY
from .constants import CONSTANTS


def exponential(matrix: Array, length: Array) -> Array:
    """exp(length matrix) `(..., n, n)`.

    **Cost**: 6 + log2(2 |length matrix|) products of matrices.
    """
    norm = jax.lax.stop_gradient(jnp.max(jnp.sum(jnp.abs(matrix), axis=-2)) * length)
    count = jnp.ceil(jnp.log2(jnp.maximum(norm / CONSTANTS.taylor_radius, 1)))
    count = jnp.clip(count, 0, CONSTANTS.max_squarings).astype(int)
    small = matrix * (length * (0.5**count).astype(length.dtype))

    return run_loop(count, lambda k, _, now: full_product(now, now), (), taylor_polynomial(small))


def taylor_polynomial(matrix: Array) -> Array:
    """sum_l A^l / l! `(..., n, n)` to l = 4 `taylor_blocks` - 1, by six products (Paterson and Stockmeyer)."""
    # Horner's rule in the fourth power, with polynomials of degree 3 as coefficients.
    second = full_product(matrix, matrix)
    one = jnp.eye(matrix.shape[-1], dtype=matrix.dtype)
    powers = (one, matrix, second, full_product(second, matrix))
    fourth = full_product(second, second)
    total = jnp.zeros_like(matrix)
    blocks = CONSTANTS.taylor_blocks
    for block in reversed(range(blocks)):
        total = full_product(fourth, total) if block < blocks - 1 else total
        total = total + sum(power / math.factorial(4 * block + k) for k, power in enumerate(powers))
    return total


def full_product(a: Array, b: Array) -> Array:
    """In full precision: accelerators would round the factors, and squarings would amplify that."""
    return jnp.matmul(a, b, precision=EXACTLY)

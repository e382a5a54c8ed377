"""exp(sA) of small matrices of any kind, many at once, by scaling and squaring of a
Taylor polynomial.

    exp(sA) = exp(2^-k s A)^(2^k),      |2^-k s A| <= 1/2,
    exp(2^-k s A) ~ sum_l (2^-k s A)^l / l!  to l = 15

All matrices take the same number of squarings, so that nothing depends on the numbers
of one of them. The exponential of Markov chains keeps more (`markov_expm`). Scaling and
squaring loses digits in proportion to the norm of sA.

Reference: Moler and Van Loan, SIAM Review 45 (2003) 3, methods 1 and 3.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.loop import run_loop
from ..core.machine import EXACTLY
from .constants import CONSTANTS


def exponential(matrix: Array, length: Array) -> Array:
    """exp(length matrix) `(..., n, n)`.

    **Cost**: 6 + log2(2 |length matrix|) products of matrices.
    """
    column_sums = jnp.sum(jnp.abs(matrix), axis=-2)
    # The number of squarings is a choice, which has no derivative.
    norm = jax.lax.stop_gradient(jnp.max(column_sums) * length)
    count = jnp.ceil(jnp.log2(jnp.maximum(norm / CONSTANTS.taylor_radius, 1)))
    count = jnp.clip(count, 0, CONSTANTS.max_squarings).astype(int)
    fraction = (0.5**count).astype(length.dtype)
    start = taylor_polynomial(matrix * (length * fraction))

    return run_loop(count, lambda k, _, now: full_product(now, now), (), start)


def exponential_on_host(matrix: np.ndarray) -> np.ndarray:
    """exp(matrix) `(n, n)` by numpy; NaN where the matrix is not finite.

    scipy has this function, but brings a second copy of OpenBLAS. The threads of each
    copy wait in busy loops for some milliseconds after a product, so that a search that
    calls both in turn takes four times as long on two cores. **Cost**: that of
    `exponential`.
    """
    norm = float(np.linalg.norm(matrix, 1))
    # `math.ceil` would raise for the logarithm of such a norm.
    if not math.isfinite(norm):
        return np.full_like(matrix, np.nan)
    ratio = max(norm / CONSTANTS.taylor_radius, 1)
    count = max(0, math.ceil(math.log2(ratio)))
    found = taylor_polynomial(matrix * 0.5**count)
    for _ in range(count):
        found = found @ found
    return found


def taylor_polynomial(matrix: Any) -> Any:
    """sum_l A^l / l! `(..., n, n)` to l = 4 `taylor_blocks` - 1, by six products
    (Paterson and Stockmeyer).
    """
    # Horner's rule in the fourth power, with polynomials of degree 3 as coefficients.
    second = full_product(matrix, matrix)
    xp = np if isinstance(matrix, np.ndarray) else jnp
    one = xp.eye(matrix.shape[-1], dtype=matrix.dtype)
    powers = (one, matrix, second, full_product(second, matrix))
    fourth = full_product(second, second)
    total = xp.zeros_like(matrix)
    blocks = CONSTANTS.taylor_blocks
    for block in reversed(range(blocks)):
        # At first the total is zero, and the product is saved.
        total = full_product(fourth, total) if block < blocks - 1 else total
        terms = (
            power / math.factorial(4 * block + k) for k, power in enumerate(powers)
        )
        total = total + sum(terms)
    return total


def full_product(a: Any, b: Any) -> Any:
    """a b in full precision: squarings would amplify rounded factors."""
    if isinstance(a, np.ndarray):
        return a @ b
    return jnp.matmul(a, b, precision=EXACTLY)

"""exp(sA) of small matrices of any kind, many at once, by scaling and squaring of a
Taylor polynomial.

    exp(sA) = exp(2^-k s A)^(2^k),      |2^-k s A| <= 1/2,      sum_l (2^-k s A)^l / l!  to l = 15

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
    norm = jax.lax.stop_gradient(jnp.max(jnp.sum(jnp.abs(matrix), axis=-2)) * length)
    count = jnp.ceil(jnp.log2(jnp.maximum(norm / CONSTANTS.taylor_radius, 1)))
    count = jnp.clip(count, 0, CONSTANTS.max_squarings).astype(int)
    small = matrix * (length * (0.5**count).astype(length.dtype))

    return run_loop(
        count, lambda k, _, now: full_product(now, now), (), taylor_polynomial(small)
    )


def exponential_on_host(matrix: np.ndarray) -> np.ndarray:
    """exp(matrix) `(n, n)` by numpy; NaN where the matrix is not finite.

    scipy has this function, but brings a second copy of OpenBLAS. The threads of each
    copy wait in busy loops for some milliseconds after a product, so that a search that
    calls both in turn takes four times as long on two cores. **Cost**: that of
    `exponential`.
    """
    norm = float(np.linalg.norm(matrix, 1))
    if not math.isfinite(norm):
        return np.full_like(matrix, np.nan)
    count = max(0, math.ceil(math.log2(max(norm / CONSTANTS.taylor_radius, 1))))
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
        total = full_product(fourth, total) if block < blocks - 1 else total
        total = total + sum(
            power / math.factorial(4 * block + k) for k, power in enumerate(powers)
        )
    return total


def full_product(a: Any, b: Any) -> Any:
    """In full precision: accelerators would round the factors, and squarings would
    amplify that.
    """
    if isinstance(a, np.ndarray):
        return a @ b
    return jnp.matmul(a, b, precision=EXACTLY)

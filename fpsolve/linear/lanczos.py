"""A cheap estimate of the lowest level, by Lanczos iteration.

    H q_k = b_{k-1} q_{k-1} + a_k q_k + b_k q_{k+1},
    theta = lowest eigenvalue of tridiag(b, a, b)

Reference: Golub and Van Loan, Matrix Computations (2013), section 10.1.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .constants import CONSTANTS


def lowest_level(action: Callable[[Array], Array], weights: Array) -> Array:
    """The Ritz value less its residual after a fixed number of steps: close to the
    lowest level, seldom above it.

    **Arguments**: `action` maps fields `(*shape)` to H times them, symmetric in
    `weights` `(*shape)`. **Returns** a scalar; not differentiated. It scales an
    expansion and need not be exact: what lies slightly below it is still expanded to
    full accuracy. **Cost**: `CONSTANTS.lanczos_steps` applications.
    """
    # A random start has a part of every mode; a fixed key makes the answer the same in
    # every run.
    noise = jax.random.normal(jax.random.key(0), weights.shape, weights.dtype)
    start = noise / jnp.sqrt(weights)
    product = lambda u, v: jnp.sum(weights * u * v)

    def step(
        state: tuple[Array, Array, Array],
        _: None,
    ) -> tuple[tuple[Array, Array, Array], tuple[Array, Array]]:
        previous, current, coupling = state
        following = action(current) - coupling * previous
        diagonal = product(current, following)
        following = following - diagonal * current
        size = jnp.sqrt(product(following, following))
        # A size of zero means that the Krylov space is complete: the remaining vectors
        # are zero.
        following = following / jnp.where(size == 0, 1, size)
        return (current, following, size), (diagonal, size)

    first = start / jnp.sqrt(product(start, start))
    state = (jnp.zeros_like(first), first, jnp.zeros((), first.dtype))
    _, (diagonal, couplings) = jax.lax.scan(step, state, None, CONSTANTS.lanczos_steps)
    inner = couplings[:-1]
    tridiagonal = jnp.diag(diagonal) + jnp.diag(inner, 1) + jnp.diag(inner, -1)
    values, vectors = jnp.linalg.eigh(tridiagonal)
    # The residual |b_k y_k| bounds the distance of the Ritz value from some level.
    residual = jnp.abs(couplings[-1] * vectors[-1, 0])
    return jax.lax.stop_gradient(values[0] - residual)

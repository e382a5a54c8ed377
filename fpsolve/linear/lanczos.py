"""A cheap estimate of the lowest level, by Lanczos iteration.

    H q_k = b_{k-1} q_{k-1} + a_k q_k + b_k q_{k+1},      theta = lowest eigenvalue of tridiag(b, a, b)

Reference: Golub and Van Loan, Matrix Computations (2013), section 10.1.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

STEPS = 32


def lowest_level(action: Callable[[Array], Array], weights: Array, steps: int = STEPS) -> Array:
    """The Ritz value theta - residual after `steps` applications: close to the lowest level, seldom above it.

    **Arguments**: `action` maps fields `(*shape)` to H times them, symmetric in `weights` `(*shape)`. **Returns** a
    scalar; not differentiated. It scales an expansion and need not be exact: what lies slightly below it is still
    expanded to full accuracy. **Cost**: `steps` applications.
    """
    start = jax.random.normal(jax.random.key(0), weights.shape, weights.dtype) / jnp.sqrt(weights)
    product = lambda u, v: jnp.sum(weights * u * v)

    def step(carry: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], tuple[Array, Array]]:
        before, now, link = carry
        after = action(now) - link * before
        centre = product(now, after)
        after = after - centre * now
        size = jnp.sqrt(product(after, after))
        return (now, after / jnp.where(size == 0, 1, size), size), (centre, size)

    first = start / jnp.sqrt(product(start, start))
    _, (diagonal, links) = jax.lax.scan(step, (jnp.zeros_like(first), first, jnp.zeros((), first.dtype)), None, steps)
    values, vectors = jnp.linalg.eigh(jnp.diag(diagonal) + jnp.diag(links[:-1], 1) + jnp.diag(links[:-1], -1))
    return jax.lax.stop_gradient(values[0] - jnp.abs(links[-1] * vectors[-1, 0]))

"""Cheap estimates of the two ends of a spectrum, by Lanczos iteration.

    H q_k = b_{k-1} q_{k-1} + a_k q_k + b_k q_{k+1},      theta = an extreme eigenvalue of tridiag(b, a, b)

References: Golub and Van Loan, Matrix Computations (2013), section 10.1; theta + residual as an upper bound: Zhou and
Li, Numer. Algorithms 57 (2011) 175.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

LOW, HIGH = 32, 8  # steps: the top of a spectrum shows first


def lowest_level(action: Callable[[Array], Array], weights: Array, steps: int = LOW) -> Array:
    """The Ritz value theta - residual after `steps` applications: close to the lowest level, seldom above it.

    **Arguments**: `action` maps fields `(*shape)` to H times them, symmetric in `weights` `(*shape)`. **Returns** a
    scalar; not differentiated. It scales an expansion and need not be exact: what lies slightly below it is still
    expanded to full accuracy. **Cost**: `steps` applications.
    """
    values, residuals = _ritz(action, weights, steps)
    return jax.lax.stop_gradient(values[0] - residuals[0])


def highest_level(action: Callable[[Array], Array], weights: Array, steps: int = HIGH) -> Array:
    """The Ritz value theta + residual after `steps` applications: within percents of the highest level, very seldom
    below it, so that who relies on it must look for growth."""
    values, residuals = _ritz(action, weights, steps)
    return jax.lax.stop_gradient(values[-1] + residuals[-1])


def _ritz(action: Callable[[Array], Array], weights: Array, steps: int) -> tuple[Array, Array]:
    """All Ritz values, ascending, and their residuals."""
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
    return values, jnp.abs(links[-1] * vectors[-1])

"""Fields by their logarithms: what is zero has the logarithm `EMPTY`, a number so low
that nothing adds up to it.

A finite number is used in the place of -infinity, so that differences and derivatives
of empty fields are numbers.
"""

import jax.numpy as jnp
from jaxtyping import Array

EMPTY = -1e30  # in the range of float32, and far below the logarithm of any number


def log_of(values: Array) -> Array:
    """log u, `EMPTY` where u is not positive."""
    positive = values > 0
    # The inner `where` keeps the infinite derivative of log 0 out.
    logs = jnp.log(jnp.where(positive, values, 1))
    return jnp.where(positive, logs, EMPTY)


def is_empty(logs: Array) -> Array:
    """Whether a logarithm is that of zero, to which others may have been added."""
    # Half leaves room for these, which are far smaller.
    return logs < EMPTY / 2


def exp_of(logs: Array) -> Array:
    """exp(u), zero where u is empty."""
    return jnp.exp(jnp.where(is_empty(logs), EMPTY, logs))


def quotient(logs: Array, divisor: Array) -> Array:
    """log(u / v), empty where u or v is."""
    empty = is_empty(logs) | is_empty(divisor)
    return jnp.where(empty, EMPTY, logs - divisor)


def product(logs: Array, factor: Array) -> Array:
    """log(u v), empty where u or v is."""
    empty = is_empty(logs) | is_empty(factor)
    return jnp.where(empty, EMPTY, logs + factor)

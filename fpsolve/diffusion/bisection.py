"""Bisection for increasing functions: the inverse of a clock or of a noise level."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.types import Scalar
from .constants import CONSTANTS


def invert(f: Callable[[Array], Array], value: Array) -> Array:
    """The x in (0, 1) at which the increasing f(x) is `value`, entry by entry."""
    value = jnp.asarray(value, dtype=jnp.result_type(value, float))

    def halve(_: Scalar, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        lower, upper = ends
        # Every entry halves its own interval.
        middle = (lower + upper) / 2
        too_small = f(middle) < value
        return jnp.where(too_small, middle, lower), jnp.where(too_small, upper, middle)

    ends = (jnp.zeros_like(value), jnp.ones_like(value))
    lower, upper = jax.lax.fori_loop(0, CONSTANTS.bisections, halve, ends)
    return (lower + upper) / 2

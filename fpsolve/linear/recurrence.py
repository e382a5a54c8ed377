"""Linear recurrences of first order, for many rows at once.

    x_j = load_j + factor_j x_{j-1},
    x_j = load_j + factor_j x_{j+1}      with `reverse`

The recurrence runs along the last axis. Where all factors and loads are non-negative,
so is x, and every entry of x keeps its relative accuracy: nothing is subtracted.

Reference: Blelloch, Prefix sums and their applications (1990), section 1.4.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array


@functools.partial(jax.jit, static_argnames="reverse")
def solve_recurrence(factors: Array, loads: Array, reverse: bool = False) -> Array:
    """x `(..., n)` for non-negative `factors` and `loads` of one shape `(..., n)`.

    The first factor, or the last one with `reverse`, multiplies nothing. **Cost**: on a
    CPU one loop of n steps, which does the least work; elsewhere a tree of depth log2
    n, because n kernels one after the other would be slower.
    """
    return jax.lax.platform_dependent(
        factors,
        loads,
        cpu=functools.partial(recurrence_by_scan, reverse=reverse),
        default=functools.partial(recurrence_by_tree, reverse=reverse),
    )


def recurrence_by_scan(factors: Array, loads: Array, reverse: bool = False) -> Array:
    """x by a loop along the last axis."""

    def step(x: Array, entry: tuple[Array, Array]) -> tuple[Array, Array]:
        factor, load = entry
        x = load + factor * x
        return x, x

    entries = (jnp.moveaxis(factors, -1, 0), jnp.moveaxis(loads, -1, 0))
    start = jnp.zeros_like(loads[..., 0])
    _, x = jax.lax.scan(step, start, entries, reverse=reverse)
    return jnp.moveaxis(x, 0, -1)


def recurrence_by_tree(factors: Array, loads: Array, reverse: bool = False) -> Array:
    """x by composing the affine maps x -> load + factor x in a tree."""
    # A product of many factors may overflow where the value that it multiplies has
    # underflowed to zero. The largest finite number in its place gives zero there, and
    # infinity would give NaN.
    largest = jnp.finfo(loads.dtype).max

    def compose(
        first: tuple[Array, Array],
        second: tuple[Array, Array],
    ) -> tuple[Array, Array]:
        first_factor, first_load = first
        second_factor, second_load = second
        factor = jnp.minimum(second_factor * first_factor, largest)
        load = second_factor * first_load + second_load
        return factor, load

    _, x = jax.lax.associative_scan(
        compose,
        (factors, loads),
        reverse=reverse,
        axis=loads.ndim - 1,
    )
    return x

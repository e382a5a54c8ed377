"""Functions of a point, evaluated at many points."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.types import Formula


def product_points(nodes: tuple[Array, ...]) -> Array:
    """All points of a tensor product of positions, `(*shape, d)`."""
    return jnp.stack(jnp.meshgrid(*nodes, indexing="ij"), axis=-1)


def sample_product(f: Formula, positions: tuple[Array, ...]) -> Array:
    """`f` at all points of a tensor product of positions: `(*shape, ...)`.

    The coordinates remain separate arguments, one `vmap` for each. An expression of one
    coordinate is then computed n_i times, and not once for every point of the grid.
    """
    d = len(positions)

    def evaluate(*coordinates: Array) -> Array:
        return jnp.asarray(f(jnp.stack(coordinates)))

    # The last axis first: the outermost `vmap` gives the first axis of the result.
    for i in reversed(range(d)):
        in_axes = tuple(0 if j == i else None for j in range(d))
        evaluate = jax.vmap(evaluate, in_axes=in_axes)
    return evaluate(*positions)


def sample(f: Formula, points: Array) -> Array:
    """`f` at points `(*shape, d)`: `(*shape, ...)`."""
    *shape, d = points.shape
    # `f` may return a number instead of an array.
    evaluate = jax.vmap(lambda x: jnp.asarray(f(x)))
    flat = evaluate(points.reshape(-1, d))
    return flat.reshape(*shape, *flat.shape[1:])

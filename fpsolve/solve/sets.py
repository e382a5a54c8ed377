"""Sets of points on a grid: which nodes they hold, and where their boundaries cut the edges between nodes.

    share = |part of the edge outside| / |edge|,      1 where an edge stays outside

A set is a function of x to a boolean, whose boundary is found on each edge by bisection, or an array of booleans, whose
boundary runs through the outermost nodes that it holds.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete, raise_value_error
from ..core.content import read_at
from ..core.program import sampling_program
from ..grid import Grid

BISECTIONS = 24  # 6e-8 of an edge, below the error of any cut of order two
NEAREST = 1e-6  # of an edge: the least share, so that no rate across one is infinite
CURE = "Give lambda x: x[0] < -0.8, say, or an array of booleans of the grid's shape."


def read_set(name: str, given: Any, grid: Grid, empty: bool = False) -> tuple[Array, Any]:
    """A set as an array of booleans `(*shape)`, refused unless it is one with a node in it (or may be `empty`); and the
    function that gives it as it is now, or None."""
    function = None
    if callable(given):
        try:
            function = read_at(given, grid.ndim)
            inside = _sample(grid, function)
        except jax.errors.TracerBoolConversionError:
            cure = "Join conditions by & and |, not by `and`, `or` and `if`."
            raise_value_error(name, given, "it must be a function that JAX can trace", cure)
        except (IndexError, TypeError, ValueError) as error:
            raise_value_error(
                name, given, f"it must take a point of {grid.ndim} coordinates, and fails there ({error})", CURE
            )
    else:
        inside = as_array(given, given.dtype) if hasattr(given, "dtype") else given
    if not hasattr(inside, "dtype") or inside.dtype != bool:
        raise_value_error(name, given, "it must be a set: a function to a boolean, or an array of booleans", CURE)
    if inside.shape != grid.shape:
        raise_value_error(f"{name}.shape", inside.shape, f"it must be the grid's shape, {grid.shape}", CURE)
    if is_concrete(inside) and not empty and not np.any(np.asarray(inside)):
        raise_value_error(name, given, "it holds no node of the grid", "Make it larger, or refine the grid.")
    return inside, function


@sampling_program
def _sample(grid: Grid, function: Any) -> Array:
    return grid.sample(function)


@sampling_program
def edge_shares(grid: Grid, sets: tuple[Array, ...], functions: tuple[Any, ...]) -> tuple[Array, ...]:
    """The part of each edge along each axis that is outside the sets, 1 where it does not enter one. `functions` give
    the sets as they were read, None where one is an array."""
    return tuple(_shares_along(grid, i, sets, functions) for i in range(grid.ndim))


def _shares_along(grid: Grid, i: int, sets: tuple[Array, ...], functions: tuple[Any, ...]) -> Array:
    axis = grid.axes[i]
    place = lambda u: jnp.asarray(u, float).reshape(-1, *[1] * (grid.ndim - 1 - i))
    lower, gaps = place(axis.endpoints[0]), place(axis.spacings)
    share = jnp.ones(axis.face_neighbors(sets[0], i)[0].shape)
    for inside, function in zip(sets, functions, strict=True):
        if function is None:
            continue
        below, above = axis.face_neighbors(inside, i)
        at = lambda part, f=function: _on_edges(f, grid, i, lower + part * gaps)

        def halve(_: Any, bounds: tuple[Array, Array], at: Any = at, below: Any = below) -> tuple[Array, Array]:
            first, last = bounds
            middle = (first + last) / 2
            same = at(middle) == below
            return jnp.where(same, middle, first), jnp.where(same, last, middle)

        first, last = jax.lax.fori_loop(0, BISECTIONS, halve, (jnp.zeros_like(share), jnp.ones_like(share)))
        crossing = (first + last) / 2
        outside = jnp.where(below, 1 - crossing, crossing)
        share = jnp.where(below != above, jnp.minimum(share, outside), share)
    return jnp.maximum(share, NEAREST)


def _on_edges(function: Any, grid: Grid, i: int, position: Array) -> Array:
    """The set `function` at the nodes, coordinate i replaced by `position` `(*faces)`."""
    nodes = [x.reshape(-1, *[1] * (grid.ndim - 1 - j)) for j, x in enumerate(grid.nodes)]
    points = [position if j == i else jnp.broadcast_to(nodes[j], position.shape) for j in range(grid.ndim)]
    points = jnp.stack(points, axis=-1).reshape(-1, grid.ndim)
    return jax.vmap(lambda x: jnp.asarray(function(x)))(points).reshape(position.shape)

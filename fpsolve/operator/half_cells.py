"""Positions and values along one axis: at ends of half cells, nodes and faces."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.types import Scalar
from ..grid import Axis, Grid
from .constants import CONSTANTS


def with_places(grid: Grid, i: int, places: np.ndarray) -> tuple[Array, ...]:
    """The nodes of all axes, with `places` instead of those of axis i."""
    nodes = list(grid.nodes)
    nodes[i] = jnp.asarray(places, dtype=float)
    return tuple(nodes)


def ends_of_halves(axis: Axis) -> np.ndarray:
    """Edges and nodes of all cells in turn, `(2 n + 1,)`: the ends of their halves."""
    ends = np.empty(2 * axis.n + 1)
    ends[0::2] = axis.edges
    ends[1::2] = axis.nodes
    ends[-1] = axis.upper  # the edges are sums, which have rounding errors
    return ends


def moved_inside(axis: Axis, coordinates: Any) -> Any:
    """Coordinates, with those at an end that is no point of the grid moved inside: U
    and f may be infinite there.

    A distance from a centre has the potential -(d - 1) D log r and the force (d - 1) D
    / r.
    """
    # A ring has no end, and at an absorbing one the wall itself is a point.
    if axis.boundary != "no_flux":
        return coordinates
    inset = CONSTANTS.inset * axis.weights[[0, -1]]
    nodes = axis.nodes
    # Not beyond the outer nodes, which may lie at the ends themselves.
    first, last = np.minimum(inset, [nodes[0] - axis.lower, axis.upper - nodes[-1]])
    return coordinates.clip(axis.lower + first, axis.upper - last)


def every_second(values: Array, axis: int, first: int) -> Array:
    """Every second entry along an axis, from `first`: of halves of cells, the lower (0)
    or the upper ones (1).
    """
    return jax.lax.slice_in_dim(values, first, values.shape[axis], 2, axis)


def on_faces(
    axis: Axis,
    i: int,
    below: Array,
    above: Array,
    outside: Scalar,
) -> tuple[Array, Array]:
    """Values `(*shape)` of nodes at the faces above them and at the faces below them;
    `outside` beyond a wall.
    """
    if axis.boundary == "periodic":
        return below, jnp.roll(above, -1, i)
    if axis.boundary == "absorbing":
        wall = jnp.full_like(jax.lax.slice_in_dim(below, 0, 1, axis=i), outside)
        return jnp.concatenate([wall, below], i), jnp.concatenate([above, wall], i)
    # No flux: the outer nodes have no face beyond them.
    n = axis.n
    below = jax.lax.slice_in_dim(below, 0, n - 1, axis=i)
    above = jax.lax.slice_in_dim(above, 1, n, axis=i)
    return below, above


def inner_faces(axis: Axis, i: int, edges: Array) -> Array:
    """Values at edges of cells, on the faces between two nodes; zero on walls."""
    n = axis.n
    if axis.boundary == "periodic":
        # Its two ends are one face, which comes last.
        return jax.lax.slice_in_dim(edges, 1, n + 1, axis=i)
    inner = jax.lax.slice_in_dim(edges, 1, n, axis=i)
    if axis.boundary != "absorbing":
        return inner
    wall = jnp.zeros_like(jax.lax.slice_in_dim(edges, 0, 1, axis=i))
    return jnp.concatenate([wall, inner, wall], i)


def halves_touching(zero: Array, i: int) -> Array:
    """The halves of cells of which an end is a zero of D."""
    count = zero.shape[i]
    at_lower_end = jax.lax.slice_in_dim(zero, 0, count - 1, axis=i)
    at_upper_end = jax.lax.slice_in_dim(zero, 1, count, axis=i)
    return at_lower_end | at_upper_end

"""Sets of points on a grid: their nodes, and where their boundaries cut edges.

    fraction = |part of the edge outside| / |edge|,      1 where an edge stays outside

A set is a function of x to a boolean, whose boundary is found on each edge by
bisection, or an array of booleans, whose boundary runs through the outermost nodes that
it holds.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete, raise_value_error
from ..core.content import read_at
from ..core.program import sampling_program
from ..core.types import Formula
from ..grid import Grid
from .constants import CONSTANTS

CURE = "Give lambda x: x[0] < -0.8, say, or an array of booleans of the grid's shape."


def read_set(
    name: str,
    given: Any,
    grid: Grid,
    may_be_empty: bool = False,
) -> tuple[Array, Formula | None]:
    """A set as booleans `(*shape)`; and the function that gives it as read, or None.

    **Raises** `ValueError` for what is no set on this grid, and for one that holds no
    node, unless it `may_be_empty`.
    """
    # 1. The nodes that it holds; the function is read now, so that later changes of
    #    what it refers to do not count.
    function = None
    if callable(given):
        try:
            function = read_at(given, grid.ndim)
            inside = sample_set(grid, function)
        except jax.errors.TracerBoolConversionError:
            allowed = "it must be a function that JAX can trace"
            cure = "Join conditions by & and |, not by `and`, `or` and `if`."
            raise_value_error(name, given, allowed, cure)
        except (IndexError, TypeError, ValueError) as error:
            allowed = (
                f"it must take a point of {grid.ndim} coordinates, and fails there "
                f"({error})"
            )
            raise_value_error(name, given, allowed, CURE)
    else:
        inside = as_array(given, given.dtype) if hasattr(given, "dtype") else given
    # 2. Only booleans of the shape of the grid are a set. A traced set cannot be
    #    counted.
    if not hasattr(inside, "dtype") or inside.dtype != bool:
        allowed = "it must be a set: a function to a boolean, or an array of booleans"
        raise_value_error(name, given, allowed, CURE)
    if inside.shape != grid.shape:
        allowed = f"it must be the grid's shape, {grid.shape}"
        raise_value_error(f"{name}.shape", inside.shape, allowed, CURE)
    if is_concrete(inside) and not may_be_empty and not np.any(np.asarray(inside)):
        cure = "Make it larger, or refine the grid."
        raise_value_error(name, given, "it holds no node of the grid", cure)
    return inside, function


@sampling_program
def sample_set(grid: Grid, function: Formula) -> Array:
    """Where a set holds the nodes of a grid, `(*shape)`."""
    return grid.sample(function)


def interpolated_set(grid: Grid, inside: Array) -> Formula:
    """A set that is given by an array on equal cells as a function of x: all nodes next
    to x are in it.
    """
    table = jnp.asarray(inside, float)
    lower = jnp.asarray([axis.nodes[0] for axis in grid.axes])
    units = jnp.asarray([axis.unit for axis in grid.axes])

    def function(x: Array) -> Array:
        # One point: a list of d coordinates of shape `(1,)`.
        place = list(((x - lower) / units)[:, None])
        linear = jax.scipy.ndimage.map_coordinates
        nearby = linear(table, place, order=1, mode="nearest")[0]
        # Below one by more than rounding if any of the nodes is outside.
        return nearby > 1 - CONSTANTS.smallest_fraction

    return read_at(function, grid.ndim)


@sampling_program
def outside_fractions(
    grid: Grid, sets: tuple[Array, ...], functions: tuple[Formula | None, ...]
) -> tuple[Array, ...]:
    """The part of each edge along each axis that is outside the sets, 1 where it does
    not enter one. `functions` give the sets as they were read, None where one is an
    array.
    """
    return tuple(_fractions_along(grid, i, sets, functions) for i in range(grid.ndim))


def _fractions_along(
    grid: Grid,
    i: int,
    sets: tuple[Array, ...],
    functions: tuple[Formula | None, ...],
) -> Array:
    """The same along axis i, `(*faces)`."""
    axis = grid.axes[i]

    def on_axis(values: np.ndarray) -> Array:
        return jnp.asarray(values, float).reshape(-1, *[1] * (grid.ndim - 1 - i))

    lower_ends = on_axis(axis.endpoints[0])
    spacings = on_axis(axis.spacings)
    fraction = jnp.ones(axis.face_neighbors(sets[0], i)[0].shape)
    for inside, function in zip(sets, functions, strict=True):
        if function is None:
            continue  # the boundary of an array runs through nodes: no edge is cut
        below, above = axis.face_neighbors(inside, i)

        # `function` is bound now, since the next turn of the loop has another one.
        def inside_at(part: Array, function: Formula = function) -> Array:
            return _on_edges(function, grid, i, lower_ends + part * spacings)

        crossing = _bisect(inside_at, below, fraction)
        outside = jnp.where(below, 1 - crossing, crossing)
        # An edge between two sets is cut by both: the smaller part counts.
        fraction = jnp.where(below != above, jnp.minimum(fraction, outside), fraction)
    return jnp.maximum(fraction, CONSTANTS.smallest_fraction)


def _bisect(inside_at: Callable[[Array], Array], below: Array, shaped: Array) -> Array:
    """Where on each edge, as a part of it, a set begins or ends: it is `below` at 0 and
    not at 1. The answer has the shape of `shaped`.
    """

    def halve(_: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        first, last = bounds
        middle = (first + last) / 2
        as_below = inside_at(middle) == below
        first = jnp.where(as_below, middle, first)
        last = jnp.where(as_below, last, middle)
        return first, last

    # All edges at once; the answers of those that no boundary crosses are not used.
    bounds = (jnp.zeros_like(shaped), jnp.ones_like(shaped))
    first, last = jax.lax.fori_loop(0, CONSTANTS.bisections, halve, bounds)
    return (first + last) / 2


def _on_edges(function: Formula, grid: Grid, i: int, position: Array) -> Array:
    """The set `function` at the nodes, with coordinate i from `position` `(*faces)`."""
    # Coordinates of axis j vary along axis j alone; `position` varies along all.
    points = []
    for j, nodes in enumerate(grid.nodes):
        on_axis = nodes.reshape(-1, *[1] * (grid.ndim - 1 - j))
        points.append(position if j == i else jnp.broadcast_to(on_axis, position.shape))
    points = jnp.stack(points, axis=-1).reshape(-1, grid.ndim)
    inside = jax.vmap(lambda x: jnp.asarray(function(x)))(points)
    return inside.reshape(position.shape)

"""Minima and saddles of a potential on a grid, and the wells below each saddle.

    grad U = 0      by Newton's iteration  x <- x - (U'')^{-1} grad U
    minimum         all eigenvalues of U'' are positive
    saddle          one eigenvalue of U'' is negative

The iteration starts at the nodes where |grad U|^2 is smallest among their neighbours.
From a saddle two paths of steepest descent lead along the unstable direction to the
wells on its sides. Lengths are in cells of the grid.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, host_module
from ..core.checks import raise_value_error
from ..core.program import sampling_program
from ..core.types import SameArray, Scalar
from ..equation import FokkerPlanck
from ..grid import Grid
from .constants import CONSTANTS


class _NewtonEnds(NamedTuple):
    """Where Newton's iteration ended: the `points` `(p, d)`, the sizes of the last step
    `(p, d)`, and the eigenvalues `curvatures` `(p, d)` of U'' there, ascending.
    """

    points: Array
    last_steps: Array
    curvatures: Array


def critical_points(
    equation: FokkerPlanck, grid: Grid, t: Scalar
) -> tuple[np.ndarray, np.ndarray]:
    """Minima `(m, d)` and saddles of index one `(s, d)` inside the box.

    **Raises** `ValueError` for one with a flat direction, in which the law has no
    value.
    """
    coordinates = np.meshgrid(*(axis.nodes for axis in grid.axes), indexing="ij")
    nodes = np.stack(coordinates, axis=-1)
    steepness = np.asarray(_steepness(equation, grid, t))
    starts = nodes[_smallest_of_neighbors(steepness, grid)]
    ends = _newton(equation, as_array(starts), t)
    points = np.asarray(ends.points)
    curvatures = np.asarray(ends.curvatures)
    last_steps = np.asarray(ends.last_steps) / _cell(grid)
    usable = _converged(starts, points, last_steps, grid)

    # by index, the number of negative curvatures
    found: dict[int, list[np.ndarray]] = {0: [], 1: []}
    for point, curvature in zip(points[usable], curvatures[usable], strict=True):
        same_index = found.get(int(np.sum(curvature < 0)))
        if same_index is None:
            continue  # a maximum, or a saddle of higher index
        # Several starts may lead to one point.
        if any(
            np.max(_distance_in_cells(point - other, grid)) < CONSTANTS.same_point
            for other in same_index
        ):
            continue
        flat = CONSTANTS.flat_curvature * np.max(np.abs(curvature))
        if np.min(np.abs(curvature)) < flat:
            allowed = f"it is flat in a direction at x = {point.tolist()}"
            cure = "Ask for fp.spectral_gap, which needs no wells."
            raise_value_error("potential", equation.potential, allowed, cure)
        same_index.append(point)
    # Without a point the arrays still have d columns.
    minima = np.array(found[0]).reshape(-1, grid.ndim)
    saddles = np.array(found[1]).reshape(-1, grid.ndim)
    return minima, saddles


def _converged(
    starts: np.ndarray,
    points: np.ndarray,
    last_steps: np.ndarray,
    grid: Grid,
) -> np.ndarray:
    """Which iterations ended inside the box, near their start, `(p,)`; where they end
    is finite then. `last_steps` `(p, d)` are in cells.
    """
    usable = np.zeros(len(points), bool)
    for k, (start, point) in enumerate(zip(starts, points, strict=True)):
        shift = np.max(np.abs(point - start) / _cell(grid))
        near = np.isfinite(shift) and shift < CONSTANTS.newton_reach
        usable[k] = (
            near
            and np.max(last_steps[k]) < CONSTANTS.newton_last_step
            and _is_inside(point, grid)
        )
    return usable


@sampling_program
def _steepness(equation: FokkerPlanck, grid: Grid, t: Scalar) -> Array:
    """|grad U|^2 in cells, `(*shape)`."""
    gradient = jax.grad(lambda x: equation.energy(x, t))
    cell = _cell(grid)
    return grid.sample(lambda x: jnp.sum((gradient(x) * cell) ** 2))


@sampling_program
def _newton(equation: FokkerPlanck, starts: Array, t: Scalar) -> _NewtonEnds:
    """Critical points from `starts` `(p, d)`."""

    def energy(x: Array) -> Array:
        return equation.energy(x, t)

    def newton_step(x: Array) -> Array:
        values, vectors = jnp.linalg.eigh(jax.hessian(energy)(x))
        gradient = vectors.T @ jax.grad(energy)(x)
        # No step in a direction without curvature: a potential may not depend on some
        # coordinate. The inner `where` keeps the division finite.
        flat = values == 0
        step = gradient / jnp.where(flat, 1, values)
        return vectors @ jnp.where(flat, 0, step)

    def iterate(x: Array) -> _NewtonEnds:
        # A fixed number of steps: all starts are one batch.
        x = jax.lax.fori_loop(
            0, CONSTANTS.newton_steps, lambda _, x: x - newton_step(x), x
        )
        curvatures = jnp.linalg.eigvalsh(jax.hessian(energy)(x))
        return _NewtonEnds(x, jnp.abs(newton_step(x)), curvatures)

    return jax.vmap(iterate)(starts)


@sampling_program
def wells_below(
    equation: FokkerPlanck,
    grid: Grid,
    minima: Array,
    saddle: Array,
    t: Scalar,
) -> Array:
    """The wells to which the two paths of steepest descent from a saddle lead, `(2,)`,
    -1 for none of them.
    """
    cell = _cell(grid)
    stride = CONSTANTS.descent_stride
    arrival = CONSTANTS.arrival_strides * stride

    def energy(x: Array) -> Array:
        return equation.energy(x, t)

    def distances(x: Array) -> Array:
        return jnp.max(_distance_in_cells(x - minima, grid), axis=1)

    def walk(state: tuple[Array, Array]) -> tuple[Array, Array]:
        x, count = state
        gradient = jax.grad(energy)(x)
        # Steps of equal length in cells: the gradient vanishes near both ends.
        steepest = jnp.max(jnp.abs(gradient) / cell)
        return x - stride * gradient / steepest, count + 1

    def under_way(state: tuple[Array, Array]) -> Array:
        x, count = state
        return (jnp.min(distances(x)) > arrival) & (count < CONSTANTS.descent_steps)

    def well_from(start: Array) -> Array:
        first_state = (start, jnp.zeros((), int))
        end, _ = jax.lax.while_loop(under_way, walk, first_state)
        arrived = jnp.min(distances(end)) <= arrival
        return jnp.where(arrived, jnp.argmin(distances(end)), -1)

    # The first step leaves the saddle along its unstable direction, both ways.
    _, vectors = jnp.linalg.eigh(jax.hessian(energy)(saddle))
    unstable = vectors[:, 0]
    first_step = stride * unstable / jnp.max(jnp.abs(unstable) / cell)
    return jnp.stack([well_from(saddle + first_step), well_from(saddle - first_step)])


def _smallest_of_neighbors(values: np.ndarray, grid: Grid) -> np.ndarray:
    """Which nodes hold the smallest value of all their neighbours, corners included."""
    # One layer of nodes around the box: infinite, or that of the other end of a ring.
    padded = np.pad(values, [(1, 1)] * values.ndim, constant_values=np.inf)
    for i, axis in enumerate(grid.axes):
        if axis.boundary == "periodic":
            only_this_axis = [(1, 1) if j == i else (0, 0) for j in range(grid.ndim)]
            inner = padded.take(range(1, axis.n + 1), i)
            padded = np.pad(inner, only_this_axis, mode="wrap")
    smallest = np.ones(values.shape, bool)
    # Equal neighbours are both kept: that they lead to one point is found later.
    for shift in itertools.product((0, 1, 2), repeat=values.ndim):
        shifted = (slice(s, s + n) for s, n in zip(shift, values.shape, strict=True))
        smallest &= values <= padded[tuple(shifted)]
    return smallest


def _cell(grid: Grid) -> np.ndarray:
    """The width of a cell along each axis, `(d,)`."""
    widths = [axis.length / axis.n for axis in grid.axes]
    return np.asarray(widths, jnp.result_type(float))


def _is_inside(point: np.ndarray, grid: Grid) -> bool:
    pairs = zip(point, grid.axes, strict=True)
    return all(
        axis.boundary == "periodic" or axis.lower < x < axis.upper for x, axis in pairs
    )


def _distance_in_cells(difference: SameArray, grid: Grid) -> SameArray:
    """|difference| of positions `(..., d)` in cells along each axis, the shorter way on
    a periodic axis.
    """
    periodic = np.array([axis.boundary == "periodic" for axis in grid.axes])
    lengths = np.array([axis.length for axis in grid.axes])
    xp = host_module(difference)
    turns = xp.round(difference / lengths)
    # In the type of the positions, so that float32 stays float32.
    periods = np.where(periodic, lengths, 0).astype(difference.dtype)
    return xp.abs(difference - periods * turns) / _cell(grid)

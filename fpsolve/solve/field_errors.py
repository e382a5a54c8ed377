"""The error of a field of finite volumes by a second look: the same field on two
coarser grids with other nodes.

    error = |u - I u'| / (r^p - 1)               r = sqrt(2), p in [1, 2]
    r^p   = |I u' - I u''| / |u - I u'|          the median over the nodes

I interpolates by cubic polynomials through four nodes of each axis, whose error h^4 is
below that of order h^2. Where one of them lies in a set, at whose boundary a field has
a kink, the nearest estimate from elsewhere is taken. An error is that of the worst node
within a few cells, since the difference changes its sign somewhere.

Reference: Roache, Verification and Validation in Computational Science and Engineering
(1998), chapter 5.
"""

from typing import Any, NamedTuple

import numpy as np

from ..grid import Axis, Grid
from .constants import CONSTANTS


class OnCompanion(NamedTuple):
    """A field on another grid, and which of its nodes sets hold."""

    grid: Grid
    values: np.ndarray
    held: np.ndarray


def field_error(
    grid: Grid,
    values: np.ndarray,
    held: np.ndarray,
    others: list[OnCompanion],
) -> np.ndarray:
    """The error `(*shape)` of `values`, from the fields on two companions, finer first.

    **Returns** zero on the sets, whose values are given; NaN everywhere where a
    companion has values that are not finite.
    """
    from scipy import ndimage  # imported here, because few calls need it

    if not all(np.all(np.isfinite(other.values)) for other in others):
        return np.full(grid.shape, np.nan)
    (first, first_known), (second, second_known) = (
        _on_nodes(grid, *other) for other in others
    )
    known = ~held & first_known & second_known
    if not np.any(known):
        return np.full(grid.shape, np.nan)
    near = np.where(known, np.abs(values - first), 0.0)
    between = np.where(known, np.abs(first - second), 0.0)
    far = np.where(known, np.abs(values - second), 0.0)
    # One order for all nodes: the median of the ratios. Nodes at which the companion
    # agrees to the last bit have no ratio.
    differs = near[known] > 0
    ratios = between[known][differs] / near[known][differs]
    lowest = 2 ** (CONSTANTS.lowest_order / 2)
    highest = 2 ** (CONSTANTS.highest_order / 2)
    median = np.median(ratios) if len(ratios) else highest
    ratio = float(np.clip(median, lowest, highest))
    # The second companion counts as well: the first may agree by chance.
    error = np.maximum(near / (ratio - 1), far / CONSTANTS.half_spacing_margin)

    # The nearest known estimate where there is none, and the worst one around.
    nearest = ndimage.distance_transform_edt(
        ~known, return_distances=False, return_indices=True
    )
    error = error[tuple(np.asarray(nearest))]
    modes: Any = [
        "wrap" if axis.boundary == "periodic" else "nearest" for axis in grid.axes
    ]
    error = ndimage.maximum_filter(error, CONSTANTS.error_window, mode=modes)
    return np.where(held, 0.0, error)


def _on_nodes(
    grid: Grid,
    other: Grid,
    values: np.ndarray,
    held: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """A field of another grid at the nodes of `grid`, and where no set takes part in
    the interpolation.
    """
    touched = held.astype(float)
    for i, (axis, source) in enumerate(zip(grid.axes, other.axes, strict=True)):
        matrix = _cubic(source, axis.nodes)
        moved = np.tensordot(matrix, values, axes=(1, i))
        values = np.moveaxis(moved, 0, i)
        # A node takes part where its weight is not zero.
        count = np.tensordot(matrix != 0, touched, axes=(1, i))
        touched = np.moveaxis(count, 0, i)
    return values, touched == 0


def _cubic(axis: Axis, x: np.ndarray) -> np.ndarray:
    """The matrix `(len(x), n)` that interpolates from the nodes of an axis by the cubic
    through four of them.
    """
    nodes = axis.nodes
    n = axis.n
    width = min(4, n)
    positions = np.searchsorted(nodes, x) - width // 2
    if axis.boundary == "periodic":
        # Nodes beyond an end are those of the next period.
        columns = positions[:, None] + np.arange(width)
        points = nodes[columns % n] + axis.length * (columns // n)
    else:
        # Near an end all four nodes lie on one side.
        first = np.clip(positions, 0, n - width)
        columns = first[:, None] + np.arange(width)
        points = nodes[columns]
    rows = np.arange(len(x))
    matrix = np.zeros((len(x), n))
    for j in range(width):
        # Lagrange's polynomial of node j.
        others = np.delete(points, j, axis=1)
        factors = (x[:, None] - others) / (points[:, j : j + 1] - others)
        weights = np.prod(factors, axis=1)
        np.add.at(matrix, (rows, columns[:, j] % n), weights)
    return matrix

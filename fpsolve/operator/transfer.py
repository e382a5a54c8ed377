"""From the nodes of one axis to those of another: a matrix `(m, n)` an axis."""

import functools

import numpy as np

from ..grid import Axis
from .basis import evaluate


# Axes are hashable and their matrices the same each time; the size is a free choice.
@functools.lru_cache(maxsize=64)
def transfer(old: Axis, new: Axis, spectral: bool) -> np.ndarray:
    """Values at the new nodes from those at the old ones: by the basis, or
    conservatively cell by cell.
    """
    if spectral:
        _, interpolation = evaluate(old, new.nodes)
        return interpolation
    return _averages(old, new)


def _averages(old: Axis, new: Axis) -> np.ndarray:
    """Cell averages `(m, n)` of a piecewise polynomial density on the new cells.

    The mass to the left of any point is interpolated by cubics, which match the
    cumulative mass at the old edges and the density there. So the masses of the new
    cells add up to the mass of the old ones.
    """
    n = old.n
    edges = old.edges
    # Row j gives the mass to the left of edge j from the values at the nodes.
    sums = np.tril(np.ones((n, n))) * old.weights
    cumulative = np.vstack([np.zeros(n), sums])
    slopes = _densities_at_edges(old)

    def mass_left_of(points: np.ndarray) -> np.ndarray:
        """The mass left of each point, as rows `(..., n)`: Hermite's cubics."""
        # Clipped: no mass lies outside of the old box.
        cell = np.searchsorted(edges, points, side="right") - 1
        cell = np.clip(cell, 0, n - 1)
        start = edges[cell][:, None]
        width = (edges[cell + 1] - edges[cell])[:, None]
        s = np.clip((points[:, None] - start) / width, 0, 1)
        from_left = (1 + 2 * s) * (1 - s) ** 2 * cumulative[cell]
        from_right = s**2 * (3 - 2 * s) * cumulative[cell + 1]
        bend = (1 - s) * slopes[cell] - s * slopes[cell + 1]
        return from_left + from_right + width * s * (1 - s) * bend

    masses = np.diff(mass_left_of(new.edges), axis=0)
    return masses / new.weights[:, None]


def _densities_at_edges(axis: Axis) -> np.ndarray:
    """The density at each edge of the cells from the values at the nodes, `(n + 1, n)`,
    by linear interpolation.
    """
    n = axis.n
    nodes = axis.nodes
    inner = np.zeros((n - 1, n))
    rows = np.arange(n - 1)
    fraction = (axis.edges[1:-1] - nodes[:-1]) / np.diff(nodes)
    inner[rows, rows] = 1 - fraction
    inner[rows, rows + 1] = fraction
    # At the ends of the box: the nearest value, the mean across the joint of a ring, or
    # zero on a wall.
    identity = np.eye(n)
    first = identity[0]
    last = identity[-1]
    if axis.boundary == "periodic":
        first = last = (first + last) / 2
    elif axis.boundary == "absorbing":
        first = last = np.zeros(n)
    return np.vstack([first, inner, last])

"""From the nodes of one axis to those of another: a matrix `(m, n)` an axis."""

import functools

import numpy as np

from ..grid import Axis
from .basis import evaluate


@functools.lru_cache(maxsize=64)
def transfer(old: Axis, new: Axis, spectral: bool) -> np.ndarray:
    """Values at the new nodes from those at the old ones: by the basis, or
    conservatively cell by cell.
    """
    return evaluate(old, new.nodes)[1] if spectral else _averages(old, new)


def _averages(old: Axis, new: Axis) -> np.ndarray:
    """Cell averages `(m, n)` of a piecewise polynomial density on the new cells.

    The mass to the left of any point is interpolated by cubics, which match the
    cumulative mass at the old edges and the density there. So the masses of the new
    cells add up to the mass of the old ones.
    """
    n, edges = old.n, old.edges
    # Row j gives the mass to the left of edge j from the values at the nodes.
    cumulative = np.vstack([np.zeros(n), np.tril(np.ones((n, n))) * old.weights])
    slopes = _densities_at_edges(old)

    def mass_left_of(points: np.ndarray) -> np.ndarray:
        """The mass to the left of each point, as rows `(..., n)`: Hermite's cubic
        between two edges.
        """
        cell = np.clip(np.searchsorted(edges, points, side="right") - 1, 0, n - 1)
        width = (edges[cell + 1] - edges[cell])[:, None]
        s = np.clip((points[:, None] - edges[cell][:, None]) / width, 0, 1)
        values = (1 + 2 * s) * (1 - s) ** 2 * cumulative[cell] + s**2 * (
            3 - 2 * s
        ) * cumulative[cell + 1]
        return values + width * s * (1 - s) * (
            (1 - s) * slopes[cell] - s * slopes[cell + 1]
        )

    return np.diff(mass_left_of(new.edges), axis=0) / new.weights[:, None]


def _densities_at_edges(axis: Axis) -> np.ndarray:
    """The density at each edge of the cells from the values at the nodes, `(n + 1, n)`,
    by linear interpolation.
    """
    n, edges = axis.n, axis.edges
    inner = np.zeros((n - 1, n))
    rows = np.arange(n - 1)
    fraction = (edges[1:-1] - axis.nodes[:-1]) / np.diff(axis.nodes)
    inner[rows, rows] = 1 - fraction
    inner[rows, rows + 1] = fraction
    # At the ends of the box: the nearest value, the mean across the joint of a ring, or
    # zero on a wall.
    first, last = np.eye(n)[0], np.eye(n)[-1]
    if axis.boundary == "periodic":
        first = last = (first + last) / 2
    elif axis.boundary == "absorbing":
        first = last = np.zeros(n)
    return np.vstack([first, inner, last])

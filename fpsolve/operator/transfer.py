"""From the nodes of one axis to those of another: a matrix `(m, n)` an axis."""

import functools

import numpy as np

from ..grid import Axis
from .basis import evaluate


@functools.lru_cache(maxsize=64)
def transfer(old: Axis, new: Axis, spectral: bool) -> np.ndarray:
    """Values at the new nodes from those at the old ones: by the basis, or conservatively cell by cell."""
    return evaluate(old, new.nodes)[1] if spectral else _averages(old, new)


def _averages(old: Axis, new: Axis) -> np.ndarray:
    """Cell averages of the cubic that matches the cumulative mass at old edges and the density at old faces.

    The mass to the left of any point is interpolated, so that what the new cells receive adds up to what there was.
    """
    n, x = old.n, old.edges
    cumulative = np.vstack([np.zeros(n), np.tril(np.ones((n, n))) * old.weights])
    inside = np.zeros((n - 1, n))
    rows = np.arange(n - 1)
    share = (x[1:-1] - old.nodes[:-1]) / np.diff(old.nodes)
    inside[rows, rows], inside[rows, rows + 1] = 1 - share, share
    first, last = np.eye(n)[0], np.eye(n)[-1]
    if old.boundary == "periodic":
        first = last = (first + last) / 2
    elif old.boundary == "absorbing":
        first = last = np.zeros(n)
    slopes = np.vstack([first, inside, last])

    def left_of(points: np.ndarray) -> np.ndarray:
        cell = np.clip(np.searchsorted(x, points, side="right") - 1, 0, n - 1)
        width = (x[cell + 1] - x[cell])[:, None]
        s = np.clip((points[:, None] - x[cell][:, None]) / width, 0, 1)
        value = (1 + 2 * s) * (1 - s) ** 2 * cumulative[cell] + s**2 * (3 - 2 * s) * cumulative[cell + 1]
        return value + width * s * (1 - s) * ((1 - s) * slopes[cell] - s * slopes[cell + 1])

    return np.diff(left_of(new.edges), axis=0) / new.weights[:, None]

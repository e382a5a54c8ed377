"""A chi-square test of samples against a density on a grid, over bins of equal mass.

    X^2 = sum_b (n_b - n p_b)^2 / (n p_b)
    P(X^2) = Gamma(k / 2, X^2 / 2) / Gamma(k / 2),      k = bins - 1

The bins end at faces of the grid's cells, so that p_b is a sum over cells. The first
axis is cut into slabs of about equal mass, each of these along the second axis, and so
on. The outermost bins reach to infinity.

Reference: Cochran, Ann. Math. Stat. 23 (1952) 315.
"""

import itertools
from typing import NamedTuple

import numpy as np
from jax.scipy.special import gammaincc

from ..grid import Grid
from .constants import CONSTANTS


class Bin(NamedTuple):
    """A box from `lower` `(d,)` to `upper` `(d,)`, and its mass."""

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    mass: float


class ChiSquare(NamedTuple):
    """The statistic, its degrees of freedom, and the chance of at least this value."""

    statistic: float
    degrees: int
    p_value: float


def equal_bins(grid: Grid, density: np.ndarray, count: int) -> list[Bin]:
    """About `count` bins of equal mass of a density `(*shape)` on cells."""
    # What a basis leaves below zero is error.
    masses = np.maximum(density, 0) * grid.weights_on_host
    edges = [np.asarray(axis.edges, float).copy() for axis in grid.axes]
    for axis_edges in edges:
        # Samples beyond the box are counted in the outermost bins.
        axis_edges[0] = -np.inf
        axis_edges[-1] = np.inf
    parts = max(2, round(count ** (1 / grid.ndim)))
    return _cut(masses / np.sum(masses), edges, parts, (), ())


def _cut(
    masses: np.ndarray,
    edges: list[np.ndarray],
    parts: int,
    lower: tuple[float, ...],
    upper: tuple[float, ...],
) -> list[Bin]:
    """Cut along the first axis of `masses`, and each slab along the others."""
    if masses.ndim == 0:
        return [Bin(lower, upper, float(masses))]
    others = tuple(range(1, masses.ndim))
    cumulative = np.cumsum(np.sum(masses, axis=others))
    count = len(cumulative)
    # The faces nearest to equal shares; two shares within one cell become one.
    wanted = cumulative[-1] * np.arange(1, parts) / parts
    inner = np.unique(1 + np.searchsorted(cumulative[:-1], wanted))
    stops = [0, *(int(k) for k in inner if 0 < k < count), count]
    faces, *rest = edges
    found = []
    for first, last in itertools.pairwise(stops):
        slab = np.asarray(np.sum(masses[first:last], axis=0))
        slab_lower = (*lower, float(faces[first]))
        slab_upper = (*upper, float(faces[last]))
        found += _cut(slab, rest, parts, slab_lower, slab_upper)
    return found


def chi_square(samples: np.ndarray, bins: list[Bin]) -> ChiSquare:
    """The test of samples `(n, d)` against the masses of bins."""
    counts = np.zeros(len(bins))
    for i, b in enumerate(bins):
        inside = (samples >= b.lower) & (samples < b.upper)
        counts[i] = np.sum(np.all(inside, axis=1))
    expected = len(samples) * np.asarray([b.mass for b in bins])
    # Bins of few expected samples are joined, since their count is no normal variable.
    small = expected < CONSTANTS.least_count
    if np.any(small):
        counts = np.append(counts[~small], np.sum(counts[small]))
        expected = np.append(expected[~small], np.sum(expected[small]))
    held = expected > 0
    counts = counts[held]
    expected = expected[held]
    statistic = float(np.sum((counts - expected) ** 2 / expected))
    # The total number of samples is given, which takes one degree of freedom.
    degrees = len(expected) - 1
    p_value = float(gammaincc(degrees / 2, statistic / 2))
    return ChiSquare(statistic, degrees, p_value)

"""A chi-square test of samples against a density on a grid, over bins of equal mass.

    X^2 = sum_b (n_b - n p_b)^2 / (n p_b),      P(X^2) = Gamma(k / 2, X^2 / 2) / Gamma(k / 2),   k = bins - 1

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
    """The statistic, its degrees of freedom, and the probability of at least this value
    by chance.
    """

    statistic: float
    degrees: int
    p_value: float


def equal_bins(grid: Grid, density: np.ndarray, count: int) -> list[Bin]:
    """About `count` bins of equal mass of a density `(*shape)` on cells."""
    masses = np.maximum(density, 0) * grid.weights_on_host
    edges = [np.asarray(axis.edges, float).copy() for axis in grid.axes]
    for axis_edges in edges:
        axis_edges[0], axis_edges[-1] = -np.inf, np.inf
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
    along = np.sum(masses, axis=tuple(range(1, masses.ndim)))
    cumulative = np.cumsum(along)
    # The faces nearest to equal shares; two shares within one cell become one.
    wanted = cumulative[-1] * np.arange(1, parts) / parts
    inner = np.unique(1 + np.searchsorted(cumulative[:-1], wanted))
    stops = [0, *(int(k) for k in inner if 0 < k < len(along)), len(along)]
    found = []
    for first, last in itertools.pairwise(stops):
        slab = np.asarray(np.sum(masses[first:last], axis=0))
        found += _cut(
            slab,
            edges[1:],
            parts,
            (*lower, float(edges[0][first])),
            (*upper, float(edges[0][last])),
        )
    return found


def chi_square(samples: np.ndarray, bins: list[Bin]) -> ChiSquare:
    """The test of samples `(n, d)` against the masses of bins."""
    counts = np.asarray(
        [
            np.sum(np.all((samples >= b.lower) & (samples < b.upper), axis=1))
            for b in bins
        ],
        float,
    )
    expected = len(samples) * np.asarray([b.mass for b in bins])
    # Bins of few expected samples are joined, since their count is no normal variable.
    small = expected < CONSTANTS.least_count
    if np.any(small):
        counts = np.append(counts[~small], np.sum(counts[small]))
        expected = np.append(expected[~small], np.sum(expected[small]))
    held = expected > 0
    statistic = float(np.sum((counts[held] - expected[held]) ** 2 / expected[held]))
    degrees = int(np.sum(held)) - 1
    return ChiSquare(statistic, degrees, float(gammaincc(degrees / 2, statistic / 2)))

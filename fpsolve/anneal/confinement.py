"""Whether a box holds the Gibbs densities of a path, and whether they move at all.

π_λ at the ends of unbounded axes, relative to its peak;      |ell|, ell = d_λ log π
"""

from typing import NamedTuple

import numpy as np

from ..core.checks import raise_value_error
from ..core.types import PotentialPath
from ..equation import FokkerPlanck
from ..grid import Grid
from .constants import CONSTANTS
from .costs import Motion
from .path_solver import motions


def check_path(
    path: PotentialPath,
    equation: FokkerPlanck,
    grid: Grid,
    edges: np.ndarray | None = None,
) -> None:
    """A `ValueError` for a path that does not confine, or never moves; `edges` are
    those of its smooth pieces.
    """
    lambdas = np.linspace(0, 1, CONSTANTS.first_lambdas)
    # The middles of all pieces besides: an excursion of the path may be short.
    if edges is not None and len(edges) > 2:
        middles = (edges[1:] + edges[:-1]) / 2
        lambdas = np.unique(np.concatenate([lambdas, middles]))
    speed = 0.0
    for lam, motion in zip(lambdas, motions(equation, grid, lambdas), strict=True):
        found = _confinement(grid, motion)
        finite = np.isfinite(found.peak)
        if not finite or found.boundary > CONSTANTS.max_boundary_density:
            what = "potential is not finite"
            if finite:
                what = "Gibbs density reaches the ends of the box"
            allowed = f"the path is not confining at lambda = {lam:.6g}: its {what}"
            raise_value_error(
                "path",
                path,
                allowed,
                "Let U rise on every side at every lambda, or widen grid.",
            )
        speed = max(speed, found.drive)
    # A smaller speed is rounding.
    if speed < np.finfo(float).eps:
        raise_value_error(
            "path",
            path,
            "its Gibbs density never moves",
            "Let the potential depend on lambda.",
        )


class Confinement(NamedTuple):
    """The `peak` of log π up to a constant (NaN if it is finite nowhere), the largest π
    at the ends of unbounded axes relative to the peak, and `drive` |ell|.
    """

    peak: float
    boundary: float
    drive: float


def _confinement(grid: Grid, motion: Motion) -> Confinement:
    """Whether the box holds the Gibbs density, and how fast the density moves."""
    log_gibbs = np.asarray(motion.log_gibbs)
    ell = np.asarray(motion.ell)
    peak = float(np.max(log_gibbs))
    if not np.isfinite(peak):
        return Confinement(peak, 0.0, 0.0)
    # Only axes that truncate an unbounded line can lose mass at their ends.
    ends = []
    for i, axis in enumerate(grid.axes):
        if axis.unbounded:
            ends.append(np.max(np.take(log_gibbs, [0, -1], axis=i)))
    boundary = float(np.exp(max(ends, default=-np.inf) - peak))
    weights = np.ones(())
    for axis in grid.axes:
        weights = weights[..., None] * axis.weights
    mass = np.exp(log_gibbs - peak) * weights

    def mean(u: np.ndarray) -> np.floating:
        # Where the mass is 0, ell may be infinite.
        return np.sum(np.where(mass > 0, mass * u, 0)) / np.sum(mass)

    variance = mean((ell - mean(ell)) ** 2)
    return Confinement(peak, boundary, float(np.sqrt(variance)))

"""A bound on the densities between the start and the Gibbs density of a static process
that has one.

p_t  <=  max(p_0 / pi) pi     at all times, by the maximum principle for p_t / pi
"""

from collections.abc import Callable

import numpy as np

from .bounding_box import coarse_nodes, product_points
from .constants import CONSTANTS

# points (P, d) to log p + constant (P,)
LogDensity = Callable[[np.ndarray], np.ndarray]
Bounds = tuple[np.ndarray, np.ndarray]  # lower (d,) and upper (d,)


def log_excess(
    log_initial: LogDensity,
    initial_box: Bounds,
    log_gibbs: LogDensity,
    gibbs_box: Bounds,
) -> float:
    """log max(p / pi) of an initial density p with its box; infinity where it bounds
    nothing.

    What p has outside of its box is below the tolerance, and stays so.
    """
    points = product_points(coarse_nodes(*initial_box))
    initial = log_initial(points)
    gibbs = log_gibbs(points)
    # Where both underflow the difference is no number, and bounds nothing.
    with np.errstate(invalid="ignore"):
        largest = np.max(initial - gibbs)
    # Both are normalised by sums over coarse nodes, whose error the margin covers.
    inside = product_points(coarse_nodes(*gibbs_box))
    log_mass_initial = _log_integral(initial, initial_box)
    log_mass_gibbs = _log_integral(log_gibbs(inside), gibbs_box)
    excess = largest - log_mass_initial + log_mass_gibbs
    return float(excess + CONSTANTS.excess_margin) if np.isfinite(excess) else np.inf


def _log_integral(log_density: np.ndarray, box: Bounds) -> float:
    """log of the integral of a density over a box, from its values on a coarse grid."""
    lower, upper = box
    volume_each = np.prod(upper - lower) / len(log_density)
    # A sum of logarithms: the density itself may underflow at all nodes.
    return float(np.logaddexp.reduce(log_density) + np.log(volume_each))

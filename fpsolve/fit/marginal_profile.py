"""Marginal profiles: a function of d coordinates reduced to one axis by minimising over
the others.

    U*_i(x) = min_y U(x_i = x, y)    the profile, which decides the box:
                                     of a normal density it is the marginal
    U_i(x; y) = U(x_i = x, y)        a slice, which decides the spacing:
                                     of a normal density it is the conditional

Reference for the minimisation: Nocedal and Wright, Numerical Optimization (2006),
section 10.3 (Levenberg-Marquardt).
"""

import numpy as np

from .bounding_box import product_points
from .constants import CONSTANTS
from .sampled_equation import EquationSampler


def maximize_log_density(
    sampler: EquationSampler, points: np.ndarray, free: np.ndarray, t: float = 0.0
) -> np.ndarray:
    """Each of the points `(P, d)`, moved along the `free` axes to a local maximum of
    log pi (or of minus the energy).

    Newton steps with a positive Hessian: its eigenvalues are replaced by their absolute
    values, plus a damping that decreases tenfold after a step that helps and increases
    tenfold after one that does not, which is not taken.
    """
    points = points.copy()
    free = np.flatnonzero(free)
    if not free.size:
        return points
    height = sampler.log_density(points, t)
    damping = np.full(len(points), 1e-3)
    for _ in range(CONSTANTS.newton_iterations):
        step = _damped_newton_step(sampler, points, free, damping, t)
        trial = points.copy()
        trial[:, free] += step
        trial_height = sampler.log_density(trial, t)
        # Each point is accepted or rejected by itself, so that one difficult point does
        # not hold up the others.
        better = trial_height >= height
        points[better] = trial[better]
        height = np.where(better, trial_height, height)
        damping = np.where(better, damping / 10, 10 * damping)
        # Relative for large coordinates, absolute for those near zero.
        small = CONSTANTS.newton_tolerance * (1 + np.abs(points[:, free]))
        if np.all(np.abs(step) <= small):
            break
    return points


def _damped_newton_step(
    sampler: EquationSampler,
    points: np.ndarray,
    free: np.ndarray,
    damping: np.ndarray,
    t: float,
) -> np.ndarray:
    """The step `(P, f)` along the free axes, for a damping `(P,)` relative to the
    largest eigenvalue.
    """
    drift, jacobian = sampler.drift_and_jacobian(points, t)
    # The gradient of log pi is b / D; a Schrodinger equation has -grad U, with no
    # diffusion in it.
    diffusion = np.ones_like(points)
    if sampler.evolves_density:
        diffusion = sampler.values(points, t).diffusion
    gradient = (drift / diffusion)[:, free]
    of_free_axes = np.ix_(np.arange(len(points)), free, free)
    hessian = -(jacobian / diffusion[:, :, None])[of_free_axes]
    # The Jacobian of b / D is symmetric only where b is a gradient: a force is
    # symmetrised away.
    symmetric = (hessian + hessian.transpose(0, 2, 1)) / 2
    values, vectors = np.linalg.eigh(symmetric)
    largest = np.max(np.abs(values), axis=1, keepdims=True)
    # The absolute value makes a step uphill at a saddle; the floor 1e-12 avoids a
    # division by zero on a plateau.
    curvature = np.maximum(np.abs(values), 1e-12 + damping[:, None] * largest)
    along_eigenvectors = np.einsum("pji,pj->pi", vectors, gradient) / curvature
    return np.einsum("pij,pj->pi", vectors, along_eigenvectors)


def profile_points(
    sampler: EquationSampler,
    axis: int,
    x: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    fixed: np.ndarray,
    t: float,
) -> np.ndarray:
    """For each position x `(P,)` on an axis, the point `(P, d)` in a box at which log
    pi is largest over the others.

    A coarse grid over the other axes gives the first guess, so that the best of several
    maxima is found. Axes that are `fixed` keep the value of the grid.
    """
    d = len(lower)
    count = CONSTANTS.scan_nodes[d - 1]
    others = [
        np.linspace(lower[j], upper[j], count) if j != axis else np.zeros(1)
        for j in range(d)
    ]
    # One mesh for all positions: only its column of this axis changes.
    mesh = product_points(others)
    starts = np.empty((len(x), d))
    for p, position in enumerate(x):
        mesh[:, axis] = position
        starts[p] = mesh[np.argmax(sampler.log_density(mesh, t))]
    free = ~fixed & (np.arange(d) != axis)
    return maximize_log_density(sampler, starts, free, t)


def profile_extent(
    sampler: EquationSampler,
    axis: int,
    lower: np.ndarray,
    upper: np.ndarray,
    fixed: np.ndarray,
    depth: float,
    t: float,
) -> tuple[float, float]:
    """The interval on an axis where the profile of log pi is within `depth` of its
    maximum, inside a given box.
    """
    x = np.linspace(lower[axis], upper[axis], CONSTANTS.profile_nodes)
    points = profile_points(sampler, axis, x, lower, upper, fixed, t)
    heights = sampler.log_density(points, t)
    return outer_crossings(x, heights - (np.max(heights) - depth))


def outer_crossings(x: np.ndarray, height: np.ndarray) -> tuple[float, float]:
    """The first and the last zero of a function sampled at x, outside of which it is
    negative, by interpolation.
    """
    positive = np.flatnonzero(height > 0)
    first, last = int(positive[0]), int(positive[-1])
    left = _crossing(x, height, first, first - 1)
    right = _crossing(x, height, last, last + 1)
    return left, right


def _crossing(x: np.ndarray, height: np.ndarray, inner: int, outer: int) -> float:
    """The zero between two neighbouring samples; the end of x where `outer` is beyond
    it or not finite.
    """
    # Beside an infinite value a straight line has no zero: there the interval ends at
    # the neighbour, which is outside.
    if not 0 <= outer < len(x) or not np.isfinite(height[outer]):
        return float(x[min(max(outer, 0), len(x) - 1)])
    step = x[outer] - x[inner]
    fall = height[inner] - height[outer]
    return float(x[inner] + step * height[inner] / fall)

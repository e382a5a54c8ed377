"""What of a landscape in d dimensions one axis sees: its profile, and lines through it.

    U*_i(x) = min_y U(x_i = x, y)                the profile, which rules the box: for a normal density, the marginal
    U_i(x; y) = U(x_i = x, y)                    a line, which rules the spacing: for a normal density, the conditional

Reference for the minimisation: Nocedal and Wright, Numerical Optimization (2006), section 10.3 (Levenberg-Marquardt).
"""

import numpy as np

from .bounding_box import COARSE
from .sampled_equation import Landscape

POINTS, ROUNDS = 97, 40


def highest(landscape: Landscape, points: np.ndarray, free: np.ndarray, t: float = 0.0) -> np.ndarray:
    """Each of the points `(P, d)` moved to where log pi (or minus the energy) is highest along the `free` axes."""
    points, free = points.copy(), np.flatnonzero(free)
    if not free.size:
        return points
    height, damping = _height(landscape, points, t), np.full(len(points), 1e-3)
    for _ in range(ROUNDS):
        drift, jacobian = landscape.slope(points, t)
        diffusion = landscape.local(points, t).diffusion if landscape.process else np.ones_like(points)
        force = (drift / diffusion)[:, free]
        hessian = -(jacobian / diffusion[:, :, None])[np.ix_(np.arange(len(points)), free, free)]
        values, vectors = np.linalg.eigh((hessian + hessian.transpose(0, 2, 1)) / 2)
        size = np.maximum(np.abs(values), 1e-12 + damping[:, None] * np.max(np.abs(values), axis=1, keepdims=True))
        step = np.einsum("pij,pj->pi", vectors, np.einsum("pji,pj->pi", vectors, force) / size)
        moved = points.copy()
        moved[:, free] += step
        after = _height(landscape, moved, t)
        better = after >= height
        points[better], height = moved[better], np.where(better, after, height)
        damping = np.where(better, damping / 10, 10 * damping)
        if np.all(np.abs(step) <= 1e-9 * (1 + np.abs(points[:, free]))):
            break
    return points


def _height(landscape: Landscape, points: np.ndarray, t: float) -> np.ndarray:
    return landscape.log_gibbs(points, t) if landscape.process else -landscape.energy(points, t)


def profile(
    landscape: Landscape, axis: int, x: np.ndarray, lower: np.ndarray, upper: np.ndarray, fixed: np.ndarray, t: float
) -> np.ndarray:
    """The lowest points `(P, d)` over all y in a box, for each place `(P,)` on an axis."""
    d = len(lower)
    count = max(7, COARSE[d - 1])
    others = [np.linspace(lower[j], upper[j], count) if j != axis else np.zeros(1) for j in range(d)]
    mesh = np.stack(np.meshgrid(*others, indexing="ij"), axis=-1).reshape(-1, d)
    starts = np.empty((len(x), d))
    for p, place in enumerate(x):
        mesh[:, axis] = place
        starts[p] = mesh[np.argmax(_height(landscape, mesh, t))]
    return highest(landscape, starts, ~fixed & (np.arange(d) != axis), t)


def extent(
    landscape: Landscape, axis: int, lower: np.ndarray, upper: np.ndarray, fixed: np.ndarray, depth: float, t: float
) -> tuple[float, float]:
    """Where on an axis the profile of log pi is within `depth` of its maximum, inside a box that holds it."""
    x = np.linspace(lower[axis], upper[axis], POINTS)
    heights = _height(landscape, profile(landscape, axis, x, lower, upper, fixed, t), t)
    return crossing(x, heights - (np.max(heights) - depth))


def crossing(x: np.ndarray, height: np.ndarray) -> tuple[float, float]:
    """The first and the last place where a height sampled at x is positive, by linear interpolation."""
    high = np.flatnonzero(height > 0)
    ends = []
    for inner, outer in ((high[0], high[0] - 1), (high[-1], high[-1] + 1)):
        if not 0 <= outer < len(x) or not np.isfinite(height[outer]):
            ends.append(x[min(max(outer, 0), len(x) - 1)])
        else:
            ends.append(x[inner] + (x[outer] - x[inner]) * height[inner] / (height[inner] - height[outer]))
    return float(ends[0]), float(ends[1])

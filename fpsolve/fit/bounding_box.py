"""Bounding boxes and periods of a function h(x), such as log p, that is known only by
its values.

`find_box` finds the smallest box outside of which h stays below max h - depth. It
samples h on a coarse product grid, doubles the grid on every side where h is still
large, verifies the result on a larger box, and then shrinks the box to the points where
h is large. `period` finds the period of a function on a line.
"""

from collections.abc import Callable

import numpy as np

from .constants import CONSTANTS

Height = Callable[[np.ndarray], np.ndarray]  # points (P, d) to h (P,)


class NotConfining(Exception):
    """`h` does not decrease along `axis`; `rises` says that it increases there, so that
    the potential is unbounded.
    """

    def __init__(self, axis: int, rises: bool):
        self.axis = axis
        self.rises = rises


def find_box(
    height: Height,
    lower: np.ndarray,
    upper: np.ndarray,
    fixed: np.ndarray,
    depth: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds `(d,)` of the region where `height` is within `depth` of its maximum.

    `lower`, `upper` `(d,)` are the first box; axes that are `fixed` `(d,)` keep those
    bounds. **Raises** `NotConfining` where the region does not end.
    """
    lower, upper, largest = _widen(height, lower, upper, fixed, depth)

    # A coarse grid may miss a second, higher peak further out: look once more, on a box
    # that is longer.
    length = np.where(fixed, 0, upper - lower)
    far_lower = lower - CONSTANTS.outer_scan_growth * length
    far_upper = upper + CONSTANTS.outer_scan_growth * length
    far = _scan(height, far_lower, far_upper)[1]
    highest = np.max(far)
    higher_peak = highest > largest + CONSTANTS.height_rounding * depth
    if higher_peak or _reaches_faces(far, highest - depth)[~fixed].any():
        return find_box(height, far_lower, far_upper, fixed, depth)
    return _narrow(height, lower, upper, fixed, depth)


def _widen(
    height: Height,
    lower: np.ndarray,
    upper: np.ndarray,
    fixed: np.ndarray,
    depth: float,
) -> tuple[np.ndarray, np.ndarray, float]:
    """A box with `height` below its maximum minus `depth` on every face that is free,
    and that maximum.
    """
    lower, upper = lower.copy(), upper.copy()
    center = (lower + upper) / 2
    while True:
        values = _scan(height, lower, upper)[1]
        largest = np.max(values)
        too_high = _reaches_faces(values, largest - depth) & ~fixed[:, None]
        if not too_high.any():
            return lower, upper, largest
        half_width = np.maximum(upper - center, center - lower)
        for i in range(len(lower)):
            if half_width[i] > CONSTANTS.largest_half_width:
                faces = [np.max(np.take(values, j, axis=i)) for j in (0, -1)]
                # A level function is highest everywhere, but for rounding.
                rises = max(faces) >= largest - 1e-9 * depth
                raise NotConfining(i, bool(rises))
        # Each side triples its own distance from the first centre, whatever the other
        # side does.
        lower = lower - too_high[:, 0] * 2 * (center - lower)
        upper = upper + too_high[:, 1] * 2 * (upper - center)


def _narrow(
    height: Height,
    lower: np.ndarray,
    upper: np.ndarray,
    fixed: np.ndarray,
    depth: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The box shrunk to the nodes where `height` is large, and one more on each side.

    Each pass scans a smaller box, so its nodes are closer and the box can shrink again.
    """
    for _ in range(CONSTANTS.largest_narrowings):
        nodes, values = _scan(height, lower, upper)
        high = values > np.max(values) - depth
        before = upper - lower
        for i, x in enumerate(nodes):
            if fixed[i]:
                continue
            others = tuple(j for j in range(high.ndim) if j != i)
            inside = np.flatnonzero(high.any(axis=others))
            first = max(0, inside[0] - 1)
            last = min(len(x) - 1, inside[-1] + 1)
            lower[i] = x[first]
            upper[i] = x[last]
        if np.all(upper - lower > CONSTANTS.narrowed_fraction * before):
            break
    return lower, upper


def coarse_nodes(lower: np.ndarray, upper: np.ndarray) -> list[np.ndarray]:
    """Nodes of a coarse product grid on a box, one array an axis."""
    count = CONSTANTS.scan_nodes[len(lower) - 1]
    return [np.linspace(a, b, count) for a, b in zip(lower, upper, strict=True)]


def product_points(nodes: list[np.ndarray]) -> np.ndarray:
    """All points `(P, d)` of a product grid."""
    coordinates = np.meshgrid(*nodes, indexing="ij")
    return np.stack(coordinates, axis=-1).reshape(-1, len(nodes))


def _scan(
    height: Height, lower: np.ndarray, upper: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Nodes of a coarse grid on a box, and `height` on it, `(n, ..., n)`; NaN becomes
    minus infinity.
    """
    nodes = coarse_nodes(lower, upper)
    values = height(product_points(nodes)).reshape([len(x) for x in nodes])
    return nodes, np.where(np.isnan(values), -np.inf, values)


def _reaches_faces(values: np.ndarray, level: float) -> np.ndarray:
    """Whether `values` reach `level` on the two faces of each axis, `(d, 2)`."""
    reached = []
    for i in range(values.ndim):
        faces = (np.take(values, j, axis=i) for j in (0, -1))
        reached.append([np.max(face) >= level for face in faces])
    return np.asarray(reached)


def period(height: Height) -> float | None:
    """The least P with h(x + P) = h(x) for x on a line, to rounding; None if there is
    none, or if h is constant.
    """
    probes = np.random.default_rng(0).uniform(-1, 1, CONSTANTS.period_probes)
    for scale in 2.0 ** np.arange(*CONSTANTS.period_scales):
        # Scales ascend, so that the first period found is the least and not a multiple
        # of it.
        points = scale * probes
        shifts = scale * np.linspace(0, 2, CONSTANTS.period_shifts + 1)[1:]
        # All shifts in one call, a row each.
        all_points = np.add.outer(shifts, points).ravel()
        shifted = height(all_points).reshape(len(shifts), -1)
        unshifted = height(points)
        size = np.ptp(shifted)
        # A function that looks constant, or nearly so at the probes, would have every
        # period at this scale.
        flat = size <= CONSTANTS.period_tolerance * (1 + np.max(np.abs(shifted)))
        if flat or np.ptp(unshifted) < size / 10:
            continue
        mismatch = np.max(np.abs(shifted - unshifted), axis=1) / size
        middle = mismatch[1:-1]
        is_minimum = (middle < mismatch[:-2]) & (middle <= mismatch[2:])
        is_small = middle < CONSTANTS.period_mismatch
        candidates = np.flatnonzero(is_minimum & is_small) + 1
        step = shifts[1] - shifts[0]
        for candidate in candidates[: CONSTANTS.period_candidates]:
            found = _refine_period(height, points, shifts[candidate], step, size)
            if found is not None:
                return found
    return None


def _refine_period(
    height: Height, points: np.ndarray, shift: float, step: float, size: float
) -> float | None:
    """The shift near `shift` that leaves h unchanged, by Gauss-Newton; None if it
    leaves a mismatch.

    The slope is a central difference; an inexact slope slows the convergence but does
    not move the limit.
    """
    unshifted = height(points)
    small = 1e-5 * step
    for _ in range(30):
        mismatch = height(points + shift) - unshifted
        ahead = height(points + shift + small)
        behind = height(points + shift - small)
        slope = (ahead - behind) / (2 * small)
        # A flat function has no slope to divide by.
        change = (mismatch @ slope) / max(slope @ slope, 1e-300)
        shift = float(shift - change)
        if abs(change) < 1e-15 * shift:
            break
    largest = np.max(np.abs(height(points + shift) - unshifted))
    is_period = largest < CONSTANTS.period_tolerance * size and shift > 0
    return float(shift) if is_period else None

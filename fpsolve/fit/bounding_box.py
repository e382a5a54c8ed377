"""Where a density may be: the smallest box outside of which log p stays below its maximum minus `depth`.

A coarse product grid is widened, side by side, until the height on every face is low enough and stays so four times
further out, then narrowed to what is high. What never falls is periodic, or confines nothing.
"""

from collections.abc import Callable

import numpy as np

COARSE = (4097, 65, 33, 13, 9, 7)  # points an axis, by dimension
WIDEST = 2.0**24
SCALES = 2.0 ** np.arange(-6, 13)
ALIKE = 1e-9

Height = Callable[[np.ndarray], np.ndarray]  # points (P, d) to log p (P,)


class NotConfining(Exception):
    """An axis along which the height does not fall: its number, and whether the height rises instead."""

    def __init__(self, axis: int, rises: bool):
        self.axis, self.rises = axis, rises


def span(
    height: Height, lower: np.ndarray, upper: np.ndarray, fixed: np.ndarray, depth: float
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds `(d,)` of where `height` is within `depth` of its maximum; axes that are `fixed` keep theirs."""
    lower, upper = lower.copy(), upper.copy()
    start = (lower + upper) / 2
    while True:
        values = _scan(height, lower, upper)[1]
        grown = _faces(values, np.max(values) - depth) & ~fixed[:, None]
        if not grown.any():
            break
        reach = np.maximum(upper - start, start - lower)
        for i in range(len(lower)):
            if reach[i] > WIDEST:
                faces = [np.max(np.take(values, j, axis=i)) for j in (0, -1)]
                raise NotConfining(i, bool(max(faces) >= np.max(values) - 1e-9 * depth))
        lower, upper = lower - grown[:, 0] * 2 * (start - lower), upper + grown[:, 1] * 2 * (upper - start)
    length = np.where(fixed, 0, upper - lower)
    far = _scan(height, lower - 2 * length, upper + 2 * length)[1]
    if np.max(far) > np.max(values) + 1e-6 * depth or _faces(far, np.max(far) - depth)[~fixed].any():
        return span(height, lower - 2 * length, upper + 2 * length, fixed, depth)
    return _narrow(height, lower, upper, fixed, depth)


def _narrow(
    height: Height, lower: np.ndarray, upper: np.ndarray, fixed: np.ndarray, depth: float
) -> tuple[np.ndarray, np.ndarray]:
    for _ in range(60):
        nodes, values = _scan(height, lower, upper)
        high = values > np.max(values) - depth
        before = upper - lower
        for i, x in enumerate(nodes):
            if fixed[i]:
                continue
            seen = np.flatnonzero(high.any(axis=tuple(j for j in range(high.ndim) if j != i)))
            lower[i], upper[i] = x[max(0, seen[0] - 1)], x[min(len(x) - 1, seen[-1] + 1)]
        if np.all(upper - lower > 0.8 * before):
            break
    return lower, upper


def _scan(height: Height, lower: np.ndarray, upper: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    d = len(lower)
    nodes = [np.linspace(a, b, COARSE[d - 1]) for a, b in zip(lower, upper, strict=True)]
    points = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1)
    values = height(points.reshape(-1, d)).reshape(points.shape[:-1])
    return nodes, np.where(np.isnan(values), -np.inf, values)


def _faces(values: np.ndarray, least: float) -> np.ndarray:
    """Whether the height reaches `least` on the lower and the upper face of each axis, `(d, 2)`."""
    return np.asarray([[np.max(np.take(values, j, axis=i)) >= least for j in (0, -1)] for i in range(values.ndim)])


def period(height: Callable[[np.ndarray], np.ndarray]) -> float | None:
    """The least P with height(x + P) = height(x) on a line, to rounding; None if there is none, or it is constant."""
    places = np.random.default_rng(0).uniform(-1, 1, 24)
    for scale in SCALES:
        at = scale * places
        shifts = scale * np.linspace(0, 2, 2049)[1:]
        values, here = height(np.add.outer(shifts, at).ravel()).reshape(len(shifts), -1), height(at)
        size = np.ptp(values)
        if size <= ALIKE * (1 + np.max(np.abs(values))) or np.ptp(here) < size / 10:
            continue
        off = np.max(np.abs(values - here), axis=1) / size
        dips = np.flatnonzero((off[1:-1] < off[:-2]) & (off[1:-1] <= off[2:]) & (off[1:-1] < 0.1)) + 1
        for dip in dips[:8]:
            found = _polish(height, at, shifts[dip], shifts[1] - shifts[0], size)
            if found is not None:
                return found
    return None


def _polish(height: Height, at: np.ndarray, shift: float, step: float, size: float) -> float | None:
    """The shift nearby that leaves the height as it is: Gauss and Newton, with differences of second order."""
    here, small = height(at), 1e-5 * step
    for _ in range(30):
        off = height(at + shift) - here
        slope = (height(at + shift + small) - height(at + shift - small)) / (2 * small)
        change = (off @ slope) / max(slope @ slope, 1e-300)
        shift = float(shift - change)
        if abs(change) < 1e-15 * shift:
            break
    return float(shift) if np.max(np.abs(height(at + shift) - here)) < ALIKE * size and shift > 0 else None

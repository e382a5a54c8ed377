"""The density of a work from the characteristic function, at values in a window.

    p(w) = (1 / 2π) int exp(-i u w) G(u) du,      G(u) = E exp(i u W) = int g(x, u) dx

The frequencies u are multiples of 2π / width: p is periodic with this width, which must
hold nearly all of the mass.
"""

from typing import Any, NamedTuple

import numpy as np

from ..grid import Grid
from .constants import CONSTANTS
from .staircase import Moments, Staircase, tilted_fields


class Window(NamedTuple):
    """The values of the work `(M,)`: M of them, evenly in `width` around `centre`."""

    centre: float
    width: float
    points: int

    @property
    def work(self) -> np.ndarray:
        """The values, `(M,)`."""
        return self.centre + (np.arange(self.points) / self.points - 0.5) * self.width

    @property
    def spacing(self) -> float:
        """The distance of two values."""
        return self.width / self.points

    @property
    def frequencies(self) -> np.ndarray:
        """The frequencies from zero, `(M / 2 + 1,)`."""
        return 2 * np.pi / self.width * np.arange(self.points // 2 + 1)


def widened(stairs: Staircase, window: Window, tol: float) -> Window:
    """A window that is wide enough: doubled until hardly any mass is in its outer
    eighth.
    """
    for _ in range(CONSTANTS.max_windows):
        if (
            outer_mass(
                work_density(tilted_work_fields(stairs, window), window, stairs.grid),
                window,
            )
            <= tol
        ):
            return window
        # The spacing is kept, so that the highest frequency stays what it is.
        window = window._replace(width=2 * window.width, points=2 * window.points)
    return window


def tilted_work_fields(stairs: Staircase, window: Window) -> np.ndarray:
    """E[exp(i u (W - centre)) δ(X - x)] at the frequencies of a window,
    `(M / 2 + 1, *shape)`.
    """
    frequencies = window.frequencies
    # Batches of one size, so that one program serves any window.
    batch = CONSTANTS.tilt_batch
    padded = np.concatenate(
        [frequencies, np.full(-len(frequencies) % batch, frequencies[-1])]
    )
    rows = []
    for part in np.split(padded, len(padded) // batch):
        rows.append(tilted_fields(stairs, 1j * part, window.centre))
    return np.concatenate(rows)[: len(frequencies)]


def characteristic(fields: np.ndarray, grid: Grid) -> np.ndarray:
    """The characteristic function of W - centre, `(M / 2 + 1,)`."""
    return fields.reshape(len(fields), -1) @ np.asarray(grid.weights).ravel()


def work_density(fields: np.ndarray, window: Window, grid: Grid) -> np.ndarray:
    """The density of the work, `(M,)`."""
    return inverse_transform(characteristic(fields, grid), window.width)


def inverse_transform(values: np.ndarray, width: float) -> np.ndarray:
    """(1 / 2π) int exp(-i u w) G(u) du at M values of w evenly in `width` around 0,
    `(M, ...)`.

    **Arguments**: `values` of G at the frequencies 0, 2π / width, ..., π M / width,
    `(M / 2 + 1, ...)`.
    """
    count = 2 * (len(values) - 1)
    signs = (-1.0) ** np.arange(len(values))
    turned = np.conj(values) * signs.reshape(-1, *[1] * (values.ndim - 1))
    return np.fft.irfft(turned, count, axis=0) * count / width


def outer_mass(density: np.ndarray, window: Window) -> float:
    """The mass in the outer eighth of a window, which says how much is beyond it."""
    edge = max(1, window.points // 16)
    return l1(np.concatenate([density[:edge], density[-edge:]]), window)


def l1(density: np.ndarray, window: Window) -> float:
    """int |density| dw over the window."""
    return float(np.sum(np.abs(density)) * window.spacing)


def density_error(fields: list[np.ndarray], window: Window, grid: Grid) -> float:
    """The L1 distance of two extrapolations of the density."""
    densities = [work_density(field, window, grid) for field in fields]
    return l1(extrapolate(*densities[1:]) - extrapolate(*densities[:2]), window)


def extrapolate(coarse: Any, fine: Any) -> Any:
    """The limit of zero steps from K and 2K of them, entry by entry: the error is a
    series in h^2.
    """
    if isinstance(coarse, Moments):
        return Moments(*(extrapolate(a, b) for a, b in zip(coarse, fine, strict=True)))
    return np.asarray(fine) + (np.asarray(fine) - np.asarray(coarse)) / 3

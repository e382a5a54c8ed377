"""The density of a work from the characteristic function, at values in a window.

    p(w) = (1 / 2π) int exp(-i u w) G(u) du,      G(u) = E exp(i u W) = int g(x, u) dx

The frequencies u are multiples of 2π / width: p is periodic with this width, which must
hold nearly all of the mass.
"""

from typing import Any, NamedTuple

import numpy as np

from ..grid import Grid
from .constants import CONSTANTS
from .staircase import Moments, Staircase
from .tilted_work import tilted_fields


class Window(NamedTuple):
    """The values of the work `(M,)`: M of them, evenly in `width` around `centre`."""

    centre: float
    width: float
    points: int

    @property
    def work(self) -> np.ndarray:
        """The values, `(M,)`."""
        fractions = np.arange(self.points) / self.points
        return self.centre + (fractions - 0.5) * self.width

    @property
    def spacing(self) -> float:
        """The distance of two values."""
        return self.width / self.points

    @property
    def frequencies(self) -> np.ndarray:
        """The frequencies from zero, `(M / 2 + 1,)`."""
        return 2 * np.pi / self.width * np.arange(self.points // 2 + 1)


def widened(stairs: Staircase, window: Window, tol: float) -> Window:
    """A window doubled until hardly any mass is in its outer eighth."""
    for _ in range(CONSTANTS.max_windows):
        fields = tilted_work_fields(stairs, window)
        density = work_density(fields, window, stairs.grid)
        if outer_mass(density, window) <= tol:
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
    padding = np.full(-len(frequencies) % batch, frequencies[-1])
    padded = np.concatenate([frequencies, padding])
    parts = np.split(padded, len(padded) // batch)
    # The centre is taken off inside, so that exp(i u W) turns slowly with u.
    rows = [tilted_fields(stairs, 1j * part, window.centre) for part in parts]
    return np.concatenate(rows)[: len(frequencies)]


def characteristic(fields: np.ndarray, grid: Grid) -> np.ndarray:
    """The characteristic function of W - centre, `(M / 2 + 1,)`."""
    rows = fields.reshape(len(fields), -1)
    return rows @ np.asarray(grid.weights).ravel()


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
    # The FFT starts at w = 0. The signs shift it by half of the width, so that w = 0 is
    # in the middle.
    signs = (-1.0) ** np.arange(len(values))
    by_row = signs.reshape(-1, *[1] * (values.ndim - 1))
    # The sign of the exponent in `irfft` is that of exp(+i u w).
    shifted = np.conj(values) * by_row
    return np.fft.irfft(shifted, count, axis=0) * count / width


def outer_mass(density: np.ndarray, window: Window) -> float:
    """The mass in the outer eighth of a window, which says how much is beyond it."""
    edge = max(1, window.points // 16)
    outer = np.concatenate([density[:edge], density[-edge:]])
    return l1(outer, window)


def l1(density: np.ndarray, window: Window) -> float:
    """int |density| dw over the window."""
    return float(np.sum(np.abs(density)) * window.spacing)


def density_error(fields: list[np.ndarray], window: Window, grid: Grid) -> float:
    """The L1 distance of two extrapolations of the density."""
    densities = [work_density(field, window, grid) for field in fields]
    first = extrapolate(*densities[:2])
    second = extrapolate(*densities[1:])
    return l1(second - first, window)


def extrapolate(coarse: Any, fine: Any) -> Any:
    """The limit of zero steps from K and 2K: the error is a series in h^2."""
    if isinstance(coarse, Moments):
        pairs = zip(coarse, fine, strict=True)
        return Moments(*(extrapolate(a, b) for a, b in pairs))
    a = np.asarray(coarse)
    b = np.asarray(fine)
    # With half the step the term in h^2 is a quarter.
    return b + (b - a) / 3

"""The best rational approximation of the exponential on the negative axis, by the
method of Caratheodory and Fejer.

    e^x ~ r(x) = sum_k c_k / (x - z_k),   k = 1 .. n,
    sup |e^x - r(x)| over x <= 0: about 2 * 9.28903^-n

With x = 9 (u - 1) / (u + 1), u = Re w, the half-line becomes the unit circle |w| = 1
and e^x a power series in w. The singular vectors of the Hankel matrix of its
coefficients give a Blaschke product, whose poles outside the circle are those of r; the
residues follow from the numerator's coefficients. Rounding, of size eps sum |c_k|, ends
the gain at order 14 in double precision and at order 8 in single.

Reference: Trefethen, Weideman and Schmelzer, BIT Numer. Math. 46 (2006) 653, section 4.
"""

import functools
from typing import NamedTuple

import numpy as np

from .constants import CONSTANTS

ORDERS = range(2, 17, 2)  # rounding ends the gain at order 14 in double precision


class Partial(NamedTuple):
    """r(x) = 2 Re sum_k residues_k / (x - poles_k) over the poles in the upper
    half-plane, `(n/2,)` each; `error` is the largest |e^x - r(x)| measured on x <= 0.
    """

    poles: np.ndarray
    residues: np.ndarray
    error: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """r(x) for real x, `(m,)`."""
        distances = np.asarray(x)[:, None] - self.poles
        return 2 * np.real(np.sum(self.residues / distances, axis=-1))


@functools.lru_cache(maxsize=len(ORDERS))
def exponential_partial(order: int) -> Partial:
    """The approximation of an even `order` from 2 to 16, computed once."""
    points = CONSTANTS.cf_points
    degree = CONSTANTS.cf_coefficients
    scale = CONSTANTS.cf_scale

    # The coefficients of e^x as a power series on the circle. At u = -1 x is -infinity,
    # and e^x is zero.
    circle = np.exp(2j * np.pi * np.arange(points) / points)
    u = np.real(circle)
    x = scale * (u - 1) / np.maximum(u + 1, 1e-14)
    values = np.where(u > -1 + 1e-14, np.exp(x), 0)
    series = (np.fft.fft(values) / points).real[: degree + 1]

    # The singular vectors of their Hankel matrix give the Blaschke product.
    row = np.arange(degree)
    index = row[:, None] + row + 1
    hankel = np.where(index <= degree, series[np.minimum(index, degree)], 0)
    left, singular_values, right = np.linalg.svd(hankel)
    above = left[::-1, order]
    below = right[order]
    blaschke = np.fft.fft(above, points) / np.fft.fft(below, points)
    correction = singular_values[order] * circle**degree * blaschke
    extended = np.polyval(series[::-1], circle) - correction

    # Its poles outside the circle, and the residues there from the numerator's
    # coefficients, mapped back to x.
    roots = np.roots(below)
    outside = roots[np.abs(roots) > 1]
    denominator = np.polyval(np.poly(outside), circle)
    coefficients = (np.fft.fft(extended * denominator) / points).real
    numerator = np.polyval(coefficients[order::-1], outside)
    poles = scale * (outside - 1) ** 2 / (outside + 1) ** 2
    others = [np.prod(outside[k] - np.delete(outside, k)) for k in range(order)]
    residues = 4 * numerator / np.array(others) * poles / (outside**2 - 1)

    # Poles come in conjugate pairs: those in the upper half-plane are enough for real
    # x.
    upper = np.argsort(poles.imag)[order // 2 :]
    approximation = Partial(poles[upper], residues[upper], 0.0)
    # the cached arrays are shared by all callers
    approximation.poles.flags.writeable = False
    approximation.residues.flags.writeable = False

    # The error is measured from rounding to where e^x has long vanished; 500 points a
    # decade resolve its waves.
    x = -np.concatenate([[0.0], np.logspace(-8, 8, 8001)])
    error = np.max(np.abs(approximation(x) - np.exp(x)))
    return approximation._replace(error=float(error))

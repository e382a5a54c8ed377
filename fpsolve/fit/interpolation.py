"""Interpolation on one axis: of a state by the basis of the axis, of a potential by
Hermite polynomials.

    degree 5     U, U' and U'' at the two nodes around x,     error O(h^6)
    degree 11    the same at four equally spaced nodes around x,     error O(h^12)
"""

import numpy as np

from ..grid import Axis
from ..operator.basis import evaluate
from .constants import CONSTANTS

# the nodes around an interval from 0 to 1, in cells
STENCIL = np.asarray([-1, 0, 1, 2])


def interpolate(axis: Axis, values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Values `(n,)` at the nodes, interpolated to x by the basis of the axis."""
    if not axis.uniform or axis.boundary == "absorbing":
        return evaluate(axis, x)[1] @ values
    # Real and imaginary parts of a wave, one after the other.
    if np.iscomplexobj(values):
        real = interpolate(axis, np.real(values), x)
        return real + 1j * interpolate(axis, np.imag(values), x)
    # Fourier: to a much finer grid by an FFT, and from there by polynomials.
    fine = CONSTANTS.fine_cells * axis.n
    spectrum = np.zeros(fine // 2 + 1, complex)
    coefficients = np.fft.rfft(values) * CONSTANTS.fine_cells
    # The highest mode of an even number is a cosine of half the amplitude on each side.
    if axis.n % 2 == 0:
        coefficients[-1] = coefficients[-1] / 2
    spectrum[: len(coefficients)] = coefficients
    on_fine = np.fft.irfft(spectrum, fine)
    position = (x - axis.nodes[0]) / axis.length * fine
    cell = np.floor(position).astype(int)
    u = position - cell
    # Lagrange polynomials through six neighbours; indices are modulo the period.
    neighbours = (-2, -1, 0, 1, 2, 3)
    answer = np.zeros(len(x))
    for k in neighbours:
        factors = [(u - m) / (k - m) for m in neighbours if m != k]
        weight = np.prod(factors, axis=0)
        answer += weight * on_fine[(cell + k) % fine]
    return answer


def hermite(nodes: np.ndarray, curve: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The polynomials of degree 5 that have the values, slopes and curvatures `curve`
    `(3, n)` at the nodes, at x.
    """
    left = np.searchsorted(nodes, x) - 1
    j = np.clip(left, 0, len(nodes) - 2)
    h = nodes[j + 1] - nodes[j]
    u = (x - nodes[j]) / h
    with np.errstate(over="ignore", invalid="ignore"):
        # Values, slopes and curvatures at both nodes, in units of the interval.
        values, slopes, curvatures = curve
        f0, f1 = values[j], values[j + 1]
        g0, g1 = slopes[j] * h, slopes[j + 1] * h
        c0, c1 = curvatures[j] * h**2, curvatures[j + 1] * h**2
        # Taylor at the left node, and what the right node asks of the higher powers.
        value = f1 - f0 - g0 - c0 / 2
        slope = g1 - g0 - c0
        bend = c1 - c0
        third = 10 * value - 4 * slope + bend / 2
        fourth = -15 * value + 7 * slope - bend
        fifth = 6 * value - 3 * slope + bend / 2
        # Horner's rule.
        higher = third + u * (fourth + u * fifth)
        return f0 + u * (g0 + u * (c0 / 2 + u * higher))


def hermite_of_four(nodes: np.ndarray, curve: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The polynomials of degree 11 with the values, slopes and curvatures `curve`
    `(3, n)` at four equally spaced nodes around x.
    """
    # Four nodes exist around all intervals but the first and the last one.
    left = np.searchsorted(nodes, x) - 1
    j = np.clip(left, 1, len(nodes) - 3)
    h = nodes[1] - nodes[0]
    powers = np.arange(3 * len(STENCIL))
    # The derivatives of u^k at the four nodes: k!/(k-d)! u^(k-d).
    factors = [np.ones(len(powers)), powers, powers * (powers - 1)]
    # Where d exceeds k the factor is zero, and the exponent must not be negative.
    rows = [
        c * STENCIL[:, None].astype(float) ** np.maximum(powers - d, 0)
        for d, c in enumerate(factors)
    ]
    with np.errstate(over="ignore", invalid="ignore"):
        neighbours = j + STENCIL[:, None]
        given = np.concatenate([curve[d][neighbours] * h**d for d in range(3)])
        # Coefficients of infinite values are NaN, and no better than those of degree 5.
        coefficients = np.linalg.inv(np.concatenate(rows)) @ given
        u = (x - nodes[j]) / h
        return np.polynomial.polynomial.polyval(u, coefficients, tensor=False)

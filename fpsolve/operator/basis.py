"""One-dimensional bases: how smooth functions, known at nodes, are differentiated and
interpolated to faces.

    Line, Periodic    Fourier               faces halfway between nodes,
                                            the last one joins the two ends
    Absorbing         sin(k pi (x - a)/l)   faces halfway, and one on each wall
    Legendre          polynomials           nodes Gauss-Lobatto, faces Gauss

On a `Line` the wave has decayed before both ends, so nothing crosses the joint at which
the Fourier basis closes it.

With face weights v and node weights w, D W^-1 G^T V G is the kinetic energy in full
accuracy: the highest mode keeps its energy for even and odd n alike, because it is
differentiated *between* the nodes, where it does not vanish.

Reference: Boyd, Chebyshev and Fourier Spectral Methods (2001), appendix F; Canuto et
al., Spectral Methods (2006), 2.3.
"""

import functools
from typing import NamedTuple

import numpy as np
from numpy.polynomial import legendre

from ..core.checks import raise_value_error
from ..grid import Axis, Reflecting


class Basis(NamedTuple):
    """Faces `(m,)`, their weights `(m,)`, two matrices `(m, n)` from node values to
    face values, and their norms.
    """

    faces: np.ndarray
    weights: np.ndarray
    derivative: np.ndarray
    interpolation: np.ndarray
    derivative_norm: float  # from weighted nodes to weighted faces
    interpolation_norm: float

    def kinetic(self, axis: Axis) -> np.ndarray:
        """-d^2/dx^2 in the weak form, `(n, n)`: W^-1 G^T V G, symmetric in the weights
        of the nodes.
        """
        weighted = self.weights[:, None] * self.derivative
        return self.derivative.T @ weighted / axis.weights[:, None]


@functools.lru_cache(maxsize=64)
def basis(axis: Axis) -> Basis:
    """The basis of an axis. **Raises** `ValueError` for `Reflecting`, where it would
    converge only algebraically.
    """
    check_axis(axis)
    faces, weights = _faces(axis)
    derivative, interpolation = evaluate(axis, faces)
    if axis.uniform:
        # The highest mode has the largest derivative; interpolation between equal cells
        # enlarges no mode.
        derivative_norm = float(wavenumbers(axis)[-1])
        interpolation_norm = 1.0
    else:
        scale = np.sqrt(weights[:, None] / axis.weights)
        derivative_norm = float(np.linalg.norm(scale * derivative, 2))
        interpolation_norm = float(np.linalg.norm(scale * interpolation, 2))
    return Basis(
        faces=faces,
        weights=weights,
        derivative=derivative,
        interpolation=interpolation,
        derivative_norm=derivative_norm,
        interpolation_norm=interpolation_norm,
    )


def _faces(axis: Axis) -> tuple[np.ndarray, np.ndarray]:
    """Faces `(m,)` and their quadrature weights."""
    if not axis.uniform:
        x, v = legendre.leggauss(axis.n - 1)
        return axis.lower + axis.length * (x + 1) / 2, v * axis.length / 2
    width = axis.length / axis.n
    absorbing = axis.boundary == "absorbing"
    steps = np.arange(axis.n + 1) if absorbing else np.arange(1, axis.n + 1)
    faces = axis.lower + width * steps
    weights = np.full(len(steps), width)
    if absorbing:  # half a cell belongs to a face on a wall
        weights[[0, -1]] = width / 2
    return faces, weights


def check_axis(axis: Axis) -> None:
    """Raise `ValueError` for an axis that has no basis."""
    if isinstance(axis, Reflecting):
        raise_value_error(
            "grid",
            axis,
            "Spectral has no basis for equal cells between reflecting walls",
            f"Use fp.Legendre({axis.lower:g}, {axis.upper:g}, n), whose no-flux ends "
            "are natural, or finite volumes.",
        )


def wavenumbers(axis: Axis) -> np.ndarray:
    """The wavenumbers of the modes from the constant up: 2 pi nu / l, nu up to n/2; on
    `Absorbing` pi k / l, k up to n.
    """
    if axis.boundary == "absorbing":
        modes = np.arange(axis.n + 1) / 2
    else:
        modes = np.arange(axis.n // 2 + 1)
    return 2 * np.pi * modes / axis.length


def evaluate(axis: Axis, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivative and interpolation from the nodes of `axis` to any positions x `(m,)`:
    two matrices `(m, n)`.
    """
    if not axis.uniform:
        return _polynomials(axis, x)
    if axis.boundary == "absorbing":
        return _sines(axis, x)
    return _fourier(axis, x)


def _fourier(axis: Axis, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = axis.n
    unit = 2 * np.pi / axis.length
    wavenumbers = unit * np.arange(1, (n + 1) // 2)
    at_nodes = np.multiply.outer(wavenumbers, axis.nodes)
    at_x = np.multiply.outer(x, wavenumbers)
    cos_nodes = np.cos(at_nodes)
    sin_nodes = np.sin(at_nodes)
    cos_x = np.cos(at_x)
    sin_x = np.sin(at_x)
    interpolation = (1 + 2 * (cos_x @ cos_nodes + sin_x @ sin_nodes)) / n
    sine_slopes = cos_x * wavenumbers
    cosine_slopes = sin_x * wavenumbers
    derivative = 2 * (sine_slopes @ sin_nodes - cosine_slopes @ cos_nodes) / n
    # The highest mode of an even number of nodes is known only as a cosine that has its
    # maxima at the nodes: its sine vanishes at all of them. It is split evenly, as a
    # cosine about each node.
    if n % 2 == 0:
        highest = unit * n / 2
        phase = highest * (x[:, None] - axis.nodes)
        interpolation += np.cos(phase) / n
        derivative -= highest * np.sin(phase) / n
    return derivative, interpolation


def _sines(axis: Axis, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    k = np.arange(1, axis.n + 1)
    wavenumbers = np.pi * k / axis.length
    # The highest sine is 1 or -1 at every node, so its square sums to n, and that of
    # every other sine to n / 2.
    inverse_norms = np.where(k == axis.n, 1, 2) / axis.n
    at_nodes = np.multiply.outer(wavenumbers, axis.nodes - axis.lower)
    coefficients = inverse_norms[:, None] * np.sin(at_nodes)
    at_x = np.multiply.outer(x - axis.lower, wavenumbers)
    slopes = np.cos(at_x) * wavenumbers
    return slopes @ coefficients, np.sin(at_x) @ coefficients


def _polynomials(axis: Axis, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = axis.n
    to_reference = lambda y: 2 * (y - axis.lower) / axis.length - 1
    degrees = np.arange(n)
    inverse_norms = (2 * degrees + 1) / 2
    # Gauss-Lobatto quadrature is exact up to degree 2n - 3, and the square of the
    # highest polynomial has 2n - 2: its discrete norm is 2 / (n - 1).
    inverse_norms[-1] = (n - 1) / 2
    reference_weights = 2 * axis.weights / axis.length
    at_nodes = legendre.legvander(to_reference(axis.nodes), n - 1).T
    coefficients = inverse_norms[:, None] * at_nodes * reference_weights
    reference_x = to_reference(x)
    values = legendre.legvander(reference_x, n - 1)
    columns = [
        legendre.legval(reference_x, legendre.legder(polynomial))
        for polynomial in np.eye(n)
    ]
    slopes = np.stack(columns, axis=1)
    return slopes @ coefficients * 2 / axis.length, values @ coefficients

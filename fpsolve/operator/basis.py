"""One-dimensional bases: how smooth functions, known at nodes, are differentiated and interpolated to faces.

    Line, Periodic    Fourier               faces halfway between nodes, the last one joining the two ends
    Absorbing         sin(k pi (x - a)/l)   faces halfway, and one on each wall
    Legendre          polynomials           nodes Gauss-Lobatto, faces Gauss

On a `Line` the wave has decayed before both ends, so that the ring which the Fourier basis closes carries nothing.

With face weights v and node weights w, D W^-1 G^T V G is the kinetic energy in full accuracy: the highest mode keeps
its energy for even and odd n alike, because it is differentiated *between* the nodes, where it does not vanish.

Reference: Boyd, Chebyshev and Fourier Spectral Methods (2001), appendix F; Canuto et al., Spectral Methods (2006), 2.3.
"""

import functools
from typing import NamedTuple

import numpy as np
from numpy.polynomial import legendre

from ..core.checks import raise_value_error
from ..grid import Axis, Reflecting


class Basis(NamedTuple):
    """Faces `(m,)`, their weights `(m,)`, two matrices `(m, n)` from node values to face values, and their norms."""

    faces: np.ndarray
    weights: np.ndarray
    derivative: np.ndarray
    interpolation: np.ndarray
    steepest: float  # the norm of the derivative from weighted nodes to weighted faces
    tallest: float  # that of the interpolation

    def kinetic(self, axis: Axis) -> np.ndarray:
        """-d^2/dx^2 in the weak form, `(n, n)`: W^-1 G^T V G, symmetric in the weights of the nodes."""
        return self.derivative.T @ (self.weights[:, None] * self.derivative) / axis.weights[:, None]


@functools.lru_cache(maxsize=64)
def basis(axis: Axis) -> Basis:
    """The basis of an axis; refused for `Reflecting`, where it would converge only algebraically."""
    check_axis(axis)
    if not axis.uniform:
        x, v = legendre.leggauss(axis.n - 1)
        faces, weights = axis.lower + axis.length * (x + 1) / 2, v * axis.length / 2
    else:
        width = axis.length / axis.n
        steps = np.arange(axis.n + 1) if axis.boundary == "absorbing" else np.arange(1, axis.n + 1)
        faces, weights = axis.lower + width * steps, np.full(len(steps), width)
        if axis.boundary == "absorbing":
            weights[[0, -1]] = width / 2
    derivative, interpolation = evaluate(axis, faces)
    if not axis.uniform:
        scale = np.sqrt(weights[:, None] / axis.weights)
        norms = [float(np.linalg.norm(scale * matrix, 2)) for matrix in (derivative, interpolation)]
    else:
        norms = [float(wavenumbers(axis)[-1]), 1.0]
    return Basis(faces, weights, derivative, interpolation, *norms)


def check_axis(axis: Axis) -> None:
    """Refuse an axis that has no basis."""
    if isinstance(axis, Reflecting):
        cure = f"Use fp.Legendre({axis.lower:g}, {axis.upper:g}, n), whose no-flux ends are natural, or finite volumes."
        raise_value_error("grid", axis, "Spectral has no basis for equal cells between reflecting walls", cure)


def wavenumbers(axis: Axis) -> np.ndarray:
    """Those of the modes from the constant up: 2 pi nu / l, nu up to n/2; pi k / l, k up to n, on `Absorbing`."""
    modes = np.arange(axis.n + 1) / 2 if axis.boundary == "absorbing" else np.arange(axis.n // 2 + 1)
    return 2 * np.pi * modes / axis.length


def evaluate(axis: Axis, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivative and interpolation from the nodes of `axis` to any positions x `(m,)`: two matrices `(m, n)`."""
    if not axis.uniform:
        return _polynomials(axis, x)
    if axis.boundary == "absorbing":
        return _sines(axis, x)
    return _fourier(axis, x)


def _fourier(axis: Axis, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n, scale = axis.n, 2 * np.pi / axis.length
    wavenumbers = np.arange(1, (n + 1) // 2)
    phases = scale * wavenumbers
    node, here = np.multiply.outer(phases, axis.nodes), np.multiply.outer(x, phases)
    cos_here, sin_here, cos_node, sin_node = np.cos(here), np.sin(here), np.cos(node), np.sin(node)
    interpolation = (1 + 2 * (cos_here @ cos_node + sin_here @ sin_node)) / n
    derivative = 2 * ((cos_here * phases) @ sin_node - (sin_here * phases) @ cos_node) / n
    if n % 2 == 0:  # the highest mode, seen at the nodes only as a cosine centred on each of them
        top = scale * n / 2
        distance = top * (x[:, None] - axis.nodes)
        interpolation += np.cos(distance) / n
        derivative -= top * np.sin(distance) / n
    return derivative, interpolation


def _sines(axis: Axis, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    k = np.arange(1, axis.n + 1)
    phases = np.pi * k / axis.length
    norms = np.where(k == axis.n, 1, 2) / axis.n
    node = norms[:, None] * np.sin(np.multiply.outer(phases, axis.nodes - axis.lower))
    here = np.multiply.outer(x - axis.lower, phases)
    return (np.cos(here) * phases) @ node, np.sin(here) @ node


def _polynomials(axis: Axis, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = axis.n
    to_reference = lambda y: 2 * (y - axis.lower) / axis.length - 1
    degrees = np.arange(n)
    norms = (2 * degrees + 1) / 2
    norms[-1] = (n - 1) / 2
    reference_weights = 2 * axis.weights / axis.length
    coefficients = norms[:, None] * legendre.legvander(to_reference(axis.nodes), n - 1).T * reference_weights
    values = legendre.legvander(to_reference(x), n - 1)
    slopes = np.stack([legendre.legval(to_reference(x), legendre.legder(row)) for row in np.eye(n)], axis=1)
    return slopes @ coefficients * 2 / axis.length, values @ coefficients

"""Spectral operators: one small dense matrix an axis, never one of the whole grid.

    H = sum_i h_i (+ V),   h_i either   Kinetic   D_i W^-1 G^T V G                        (with the exact well in V)
                           or           Factor    A^T A,  A = sqrt(D) (G - b/(2D) M)      (drift b at the faces)

G differentiates and M interpolates from nodes to faces. A `Factor` needs the drift only, never its divergence, and has
a flux: J = b M p - D G p, L p = W^-1 G^T V J, whose columns sum to zero because G differentiates constants to zero.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..core.along import along
from ..equation import divide_root
from ..grid import Grid
from .base import Operator


class Kinetic(eqx.Module):
    """-D d^2/dx^2 along one axis as a matrix `(n, n)`; `largest` is its largest eigenvalue."""

    matrix: Array
    largest: Array

    def hamiltonian(self, wave: Array, axis: int, ndim: int) -> Array:
        """-D d^2 psi / dx_i^2."""
        return along(axis, lambda u: u @ self.matrix.T, wave, ndim)


class Factor(eqx.Module):
    """A = sqrt(D) (G - b/(2D) M) along one axis. Symmetric in the weights, whatever the drift."""

    derivative: Array
    interpolation: Array
    node_weights: Array
    face_weights: Array
    diffusion: Array
    drift: Array
    largest: Array

    def apply(self, wave: Array, axis: int, ndim: int) -> Array:
        """A psi on the faces of this axis."""
        slope, value = self._faces(wave, axis, ndim)
        return jnp.sqrt(self.diffusion) * (slope - self.drift / (2 * self.diffusion) * value)

    def hamiltonian(self, wave: Array, axis: int, ndim: int) -> Array:
        """A^T A psi."""
        slope = jnp.sqrt(self.diffusion) * self.apply(wave, axis, ndim)
        return self._back(self.derivative, slope, axis, ndim) - self._back(
            self.interpolation, self.drift / (2 * self.diffusion) * slope, axis, ndim
        )

    def generator(self, density: Array, axis: int, ndim: int) -> Array:
        """-dJ/dx_i with J = b p - D dp/dx_i, in the weak form."""
        slope, value = self._faces(density, axis, ndim)
        return self._back(self.derivative, self.drift * value - self.diffusion * slope, axis, ndim)

    def _faces(self, u: Array, axis: int, ndim: int) -> tuple[Array, Array]:
        slope = along(axis, lambda v: v @ self.derivative.T, u, ndim)
        return slope, along(axis, lambda v: v @ self.interpolation.T, u, ndim)

    def _back(self, matrix: Array, faces: Array, axis: int, ndim: int) -> Array:
        return along(axis, lambda v: ((v * self.face_weights) @ matrix) / self.node_weights, faces, ndim)


class TensorOperator(Operator):
    """A sum over axes of `Kinetic` or `Factor` terms, plus a well on the nodes.

    **Keeps**: H symmetric; H >= 0 for factors; mass in the flux form exactly, in the wave picture to the accuracy of
    the space. **Cost**: 2 n multiplications a point and axis for `Kinetic`, four times that for `Factor`.
    """

    grid: Grid
    terms: tuple[Kinetic | Factor, ...]
    well: Array | None
    log_root: Array | None

    def hamiltonian(self, wave: Array) -> Array:
        """H psi = sum_i h_i psi + V psi."""
        answer = jnp.zeros_like(wave) if self.well is None else self.well * wave
        for i, term in enumerate(self.terms):
            answer = answer + term.hamiltonian(wave, i, self.grid.ndim)
        return answer

    def generator(self, density: Array) -> Array:
        """L p: -sqrt(pi) H p / sqrt(pi) where sqrt(pi) is at hand, else the divergence of the flux."""
        if self.log_root is not None:
            return -jnp.exp(self.log_root) * self.hamiltonian(divide_root(density, self.log_root))
        answer = jnp.zeros_like(density)
        for i, term in enumerate(self.terms):
            assert isinstance(term, Factor), "without sqrt(pi) every term is a factor"
            answer = answer + term.generator(density, i, self.grid.ndim)
        return answer

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Zero or the bottom of the well, and the sum of the largest eigenvalues of all terms."""
        largest = jnp.sum(jnp.stack([term.largest for term in self.terms]))
        if self.well is None:
            return jnp.zeros_like(largest), largest
        lowest = jnp.zeros_like(largest) if self.log_root is not None else jnp.min(self.well)
        return lowest, largest + jnp.max(self.well)

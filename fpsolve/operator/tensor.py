"""Spectral operators: one small dense matrix an axis, never one of the whole grid.

    H = sum_i h_i (+ V),   h_i either   Kinetic   D_i W^-1 G^T V G                        (with the exact well in V)
                           or           Factor    A^T A,  A = sqrt(D) (G - b/(2D) M)      (drift b at the faces)

G differentiates and M interpolates from nodes to faces. A `Factor` needs the drift only, never its divergence, and has
a flux: J = b M p - D G p, L p = W^-1 G^T V J, whose columns sum to zero because G differentiates constants to zero.
"""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..core.apply_along_axis import along, transform
from ..equation import divide_by_sqrt_pi
from ..grid import Grid
from .base import Operator


class Kinetic(eqx.Module):
    """-D d^2/dx^2 along one axis."""

    @property
    @abc.abstractmethod
    def matrix(self) -> Array:
        """As a matrix, `(n, n)`."""

    @property
    @abc.abstractmethod
    def largest(self) -> Array:
        """Its largest eigenvalue."""

    @abc.abstractmethod
    def hamiltonian(self, wave: Array, axis: int, ndim: int) -> Array:
        """-D d^2 psi / dx_i^2."""


class MatrixKinetic(Kinetic):
    """By its matrix, whose `entries` are `(n, n)`: n multiplications a point."""

    entries: Array
    highest: Array

    @property
    def matrix(self) -> Array:
        """The matrix."""
        return self.entries

    @property
    def largest(self) -> Array:
        """The energy of the highest mode."""
        return self.highest

    def hamiltonian(self, wave: Array, axis: int, ndim: int) -> Array:
        """-D d^2 psi / dx_i^2."""
        return transform(axis, self.entries, wave, ndim)


class FourierKinetic(Kinetic):
    """By the fast Fourier transform, `symbol` D k^2 being what it does to each mode from the constant up; `n` nodes.

    A wave that vanishes at both walls is `odd` about them, and twice its length is a ring.
    """

    symbol: Array
    n: int = eqx.field(static=True)
    odd: bool = eqx.field(static=True)

    @property
    def largest(self) -> Array:
        """The energy of the highest mode."""
        return self.symbol[-1]

    @property
    def matrix(self) -> Array:
        """The matrix, made when it is asked for: a ring's depends on the distance alone, and an odd wave has an image.

        Not the transform of the identity: compilers give that a layout that their own transform refuses.
        """
        length = 2 * self.n if self.odd else self.n
        ring, node = jnp.fft.irfft(self.symbol, length), jnp.arange(self.n)
        entries = ring[(node[:, None] - node) % length]
        return entries - ring[(node[:, None] + node + 1) % length] if self.odd else entries

    def hamiltonian(self, wave: Array, axis: int, ndim: int) -> Array:
        """-D d^2 psi / dx_i^2."""
        return along(axis, self._apply, wave, ndim)

    def _apply(self, u: Array) -> Array:
        ring = jnp.concatenate([u, -jnp.flip(u, -1)], axis=-1) if self.odd else u
        length = ring.shape[-1]
        if jnp.iscomplexobj(ring):
            symbol = jnp.concatenate([self.symbol, self.symbol[1 : (length + 1) // 2][::-1]])
            image = jnp.fft.ifft(symbol * jnp.fft.fft(ring))
        else:
            image = jnp.fft.irfft(self.symbol * jnp.fft.rfft(ring), length)
        return image[..., : self.n]


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
        slope, value = self.faces(wave, axis, ndim)
        return jnp.sqrt(self.diffusion) * (slope - self.drift / (2 * self.diffusion) * value)

    def hamiltonian(self, wave: Array, axis: int, ndim: int) -> Array:
        """A^T A psi."""
        return self.adjoint(self.apply(wave, axis, ndim), axis, ndim)

    def adjoint(self, faces: Array, axis: int, ndim: int) -> Array:
        """A^T of a field on the faces of this axis."""
        slope = jnp.sqrt(self.diffusion) * faces
        return self._back(self.derivative, slope, axis, ndim) - self._back(
            self.interpolation, self.drift / (2 * self.diffusion) * slope, axis, ndim
        )

    def generator(self, density: Array, axis: int, ndim: int) -> Array:
        """-dJ/dx_i with J = b p - D dp/dx_i, in the weak form."""
        slope, value = self.faces(density, axis, ndim)
        return self._back(self.derivative, self.drift * value - self.diffusion * slope, axis, ndim)

    def faces(self, u: Array, axis: int, ndim: int) -> tuple[Array, Array]:
        """du/dx and u on the faces of this axis."""
        return transform(axis, self.derivative, u, ndim), transform(axis, self.interpolation, u, ndim)

    def _back(self, matrix: Array, faces: Array, axis: int, ndim: int) -> Array:
        return along(axis, lambda v: ((v * self.face_weights) @ matrix) / self.node_weights, faces, ndim)


class TensorOperator(Operator):
    """A sum over axes of `Kinetic` or `Factor` terms, plus a well on the nodes; `contraction` is the same in a smaller
    basis, where one was made (`propagate/contraction.py`).

    **Keeps**: H symmetric; H >= 0 for factors; mass in the flux form exactly, in the wave picture to the accuracy of
    the space. **Cost**: n multiplications a point and axis for `Kinetic` (or an FFT), four times that for `Factor`.
    """

    grid: Grid
    terms: tuple[Kinetic | Factor, ...]
    well: Array | None
    log_sqrt_pi: Array | None
    contraction: Any = None

    @property
    def is_factored(self) -> bool:
        """Whether every axis enters by its factor."""
        return all(isinstance(term, Factor) for term in self.terms)

    @property
    def largest_rate(self) -> Array:
        """Half the highest level."""
        return self.bounds[1] / 2

    def factor(self, wave: Array) -> tuple[Array, ...]:
        """A_i psi on the faces of each axis i; every term must be a `Factor`."""
        return tuple(self._factor(i).apply(wave, i, self.grid.ndim) for i in range(self.grid.ndim))

    def face_weights(self, i: int) -> Array:
        """The weights of the faces of axis i, `(m_i,)`."""
        return self._factor(i).face_weights

    def hamiltonian(self, wave: Array) -> Array:
        """H psi = sum_i h_i psi + V psi."""
        answer = jnp.zeros_like(wave) if self.well is None else self.well * wave
        for i, term in enumerate(self.terms):
            answer = answer + term.hamiltonian(wave, i, self.grid.ndim)
        return answer

    def generator(self, density: Array) -> Array:
        """L p: -sqrt(pi) H p / sqrt(pi) where sqrt(pi) is at hand, else the divergence of the flux."""
        if self.log_sqrt_pi is not None:
            return -jnp.exp(self.log_sqrt_pi) * self.hamiltonian(divide_by_sqrt_pi(density, self.log_sqrt_pi))
        answer = jnp.zeros_like(density)
        for i in range(self.grid.ndim):
            answer = answer + self._factor(i).generator(density, i, self.grid.ndim)
        return answer

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Zero or the bottom of the well, and the sum of the largest eigenvalues of all terms."""
        largest = jnp.sum(jnp.stack([term.largest for term in self.terms]))
        if self.well is None:
            return jnp.zeros_like(largest), largest
        lowest = jnp.zeros_like(largest) if self.log_sqrt_pi is not None else jnp.min(self.well)
        return lowest, largest + jnp.max(self.well)

    def _factor(self, i: int) -> Factor:
        term = self.terms[i]
        assert isinstance(term, Factor), "in the flux form every term is a factor"
        return term

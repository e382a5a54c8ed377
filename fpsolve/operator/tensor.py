"""Spectral operators: one small dense matrix an axis, never one of the whole grid.

    H = sum_i h_i (+ potential term),
    h_i either   Kinetic   D_i W^-1 G^T V G
                           (with the exact quantum potential as potential term)
    or           Factor    A^T A,  A = sqrt(D) (G - b/(2D) M)
                           (drift b at the faces)

G differentiates and M interpolates from nodes to faces; W are the weights of the nodes,
and V those of the faces. A `Factor` needs the drift only, never its divergence, and has
a flux: J = b M p - D G p, L p = W^-1 G^T V J. The columns of this L sum to zero because
G differentiates constants to zero.
"""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..core.apply_along_axis import apply_along_axis, matmul_along_axis
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
    """The kinetic term by its matrix `entries` `(n, n)`: n multiplications a point."""

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
        return matmul_along_axis(axis, self.entries, wave, ndim)


class FourierKinetic(Kinetic):
    """The kinetic term by the fast Fourier transform: `symbol` is D k^2, its eigenvalue
    on each mode from the constant up; `n` is the number of nodes.

    A wave that vanishes at both walls is continued as an `odd` function, which is
    periodic with twice the length.
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
        """The matrix, computed at each call."""
        # The entries of a periodic kinetic term depend on the distance of two nodes
        # alone; each node of an odd wave has an image of the opposite sign behind the
        # wall. The transform of the identity would be simpler, but XLA gives the
        # identity a layout that its own FFT does not support.
        length = 2 * self.n if self.odd else self.n
        by_distance = jnp.fft.irfft(self.symbol, length)
        node = jnp.arange(self.n)
        entries = by_distance[(node[:, None] - node) % length]
        if not self.odd:
            return entries
        return entries - by_distance[(node[:, None] + node + 1) % length]

    def hamiltonian(self, wave: Array, axis: int, ndim: int) -> Array:
        """-D d^2 psi / dx_i^2."""
        return apply_along_axis(axis, self._apply, wave, ndim)

    def _apply(self, u: Array) -> Array:
        """The kinetic term along the last axis."""
        periodic = jnp.concatenate([u, -jnp.flip(u, -1)], axis=-1) if self.odd else u
        length = periodic.shape[-1]
        if jnp.iscomplexobj(periodic):
            # The complex transform has negative frequencies as well, with the same
            # symbol.
            negative = self.symbol[1 : (length + 1) // 2][::-1]
            symbol = jnp.concatenate([self.symbol, negative])
            image = jnp.fft.ifft(symbol * jnp.fft.fft(periodic))
        else:
            # The transform of real numbers takes half of the work.
            image = jnp.fft.irfft(self.symbol * jnp.fft.rfft(periodic), length)
        return image[..., : self.n]


class Factor(eqx.Module):
    """A = sqrt(D) (G - b/(2D) M) along one axis. A^T A is symmetric in the weights,
    whatever the drift.

    `derivative` G and `interpolation` M are `(m, n)`; `diffusion` and `drift` are at
    the faces of this axis, `(..., m, ...)`; `largest` bounds the largest eigenvalue of
    A^T A, and `poisson_rate` is q of `largest_rate`.
    """

    derivative: Array
    interpolation: Array
    node_weights: Array
    face_weights: Array
    diffusion: Array
    drift: Array
    largest: Array
    poisson_rate: Array

    def apply(self, wave: Array, axis: int, ndim: int) -> Array:
        """A psi on the faces of this axis."""
        slope, value = self.faces(wave, axis, ndim)
        half_log_slope = self.drift / (2 * self.diffusion)
        return jnp.sqrt(self.diffusion) * (slope - half_log_slope * value)

    def hamiltonian(self, wave: Array, axis: int, ndim: int) -> Array:
        """A^T A psi."""
        return self.adjoint(self.apply(wave, axis, ndim), axis, ndim)

    def adjoint(self, faces: Array, axis: int, ndim: int) -> Array:
        """A^T of a field on the faces of this axis."""
        slope = jnp.sqrt(self.diffusion) * faces
        value = self.drift / (2 * self.diffusion) * slope
        from_slope = self._adjoint_of(self.derivative, slope, axis, ndim)
        return from_slope - self._adjoint_of(self.interpolation, value, axis, ndim)

    def generator(self, density: Array, axis: int, ndim: int) -> Array:
        """-dJ/dx_i with J = b p - D dp/dx_i, in the weak form."""
        # The flux itself, and not sqrt(pi) A^T A / sqrt(pi): the drift may have no
        # potential, and mass is kept exactly.
        slope, value = self.faces(density, axis, ndim)
        flux = self.drift * value - self.diffusion * slope
        return self._adjoint_of(self.derivative, flux, axis, ndim)

    def faces(self, u: Array, axis: int, ndim: int) -> tuple[Array, Array]:
        """du/dx and u on the faces of this axis."""
        slope = matmul_along_axis(axis, self.derivative, u, ndim)
        value = matmul_along_axis(axis, self.interpolation, u, ndim)
        return slope, value

    def _adjoint_of(self, matrix: Array, faces: Array, axis: int, ndim: int) -> Array:
        """W^-1 matrix^T V of a field on the faces: the transpose in all weights."""

        def adjoint(v: Array) -> Array:
            return ((v * self.face_weights) @ matrix) / self.node_weights

        return apply_along_axis(axis, adjoint, faces, ndim)


class TensorOperator(Operator):
    """A sum over axes of `Kinetic` or `Factor` terms, plus a potential term at the
    nodes.

    `contraction` is the same operator in a smaller basis, or None
    (`propagate/contraction.py`). `counterpart` is the same reversible process in the
    other of its two forms, or None where no method needs it: factors without sqrt(pi)
    beside H with the exact potential term, and the reverse
    (`propagate/relaxing_density.py`).

    **Keeps**: H symmetric; H >= 0 for factors; mass in the flux form exactly, in the
    wave picture to the accuracy of the space. **Cost**: n multiplications a point and
    axis for `Kinetic` (or an FFT), four times that for `Factor`.
    """

    grid: Grid
    terms: tuple[Kinetic | Factor, ...]
    potential_term: Array | None
    log_sqrt_pi: Array | None
    contraction: Any = None
    counterpart: "TensorOperator | None" = None

    @property
    def is_factored(self) -> bool:
        """Whether the term of every axis is a factor."""
        return all(isinstance(term, Factor) for term in self.terms)

    @property
    def largest_rate(self) -> Array:
        """The least q with |1 + L / q| <= 1: half the highest level, and more where the
        drift is strong.

        On a wave of wavenumber k and with the drift b of one place, L is -D k^2 + i b
        k, and |1 + L / q| <= 1 asks for q >= D k^2 / 2 + b^2 / (2 D), summed over the
        axes.
        """
        # By Gershgorin, the highest level of finite volumes is at most twice the
        # largest exit rate.
        half_highest = self.bounds[1] / 2
        if self.log_sqrt_pi is not None or not self.is_factored:
            return half_highest
        rates = [self._factor(i).poisson_rate for i in range(self.grid.ndim)]
        return jnp.maximum(half_highest, jnp.sum(jnp.stack(rates)))

    def factor(self, wave: Array) -> tuple[Array, ...]:
        """A_i psi on the faces of each axis i; every term must be a `Factor`."""
        d = self.grid.ndim
        return tuple(self._factor(i).apply(wave, i, d) for i in range(d))

    def face_weights(self, i: int) -> Array:
        """The weights of the faces of axis i, `(m_i,)`."""
        return self._factor(i).face_weights

    def hamiltonian(self, wave: Array) -> Array:
        """H psi: the sum of all h_i psi, and the potential term times psi."""
        answer = jnp.zeros_like(wave)
        if self.potential_term is not None:
            answer = self.potential_term * wave
        for i, term in enumerate(self.terms):
            answer = answer + term.hamiltonian(wave, i, self.grid.ndim)
        return answer

    def generator(self, density: Array) -> Array:
        """L p: -sqrt(pi) H p / sqrt(pi) where sqrt(pi) is known, else the divergence of
        the flux.
        """
        # A kinetic term has no flux, so L is known only through H.
        if self.log_sqrt_pi is not None:
            wave = divide_by_sqrt_pi(density, self.log_sqrt_pi)
            return -jnp.exp(self.log_sqrt_pi) * self.hamiltonian(wave)
        answer = jnp.zeros_like(density)
        for i in range(self.grid.ndim):
            answer = answer + self._factor(i).generator(density, i, self.grid.ndim)
        return answer

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Two bounds: the terms are at least zero, and their largest values add up."""
        largest = jnp.sum(jnp.stack([term.largest for term in self.terms]))
        if self.potential_term is None:
            return jnp.zeros_like(largest), largest
        # The ground state sqrt(pi) of a process has the level zero, although its
        # potential term may be negative.
        lowest = jnp.min(self.potential_term)
        if self.log_sqrt_pi is not None:
            lowest = jnp.zeros_like(largest)
        return lowest, largest + jnp.max(self.potential_term)

    def _factor(self, i: int) -> Factor:
        term = self.terms[i]
        assert isinstance(term, Factor), "in the flux form every term is a factor"
        return term

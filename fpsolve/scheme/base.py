"""What a scheme yields: one operator, two views.

    H = sum_i A_i^T A_i (+ V)       acts on waves psi, symmetric, H sqrt(pi) = 0
    L = -sqrt(pi) H / sqrt(pi)      acts on densities p = sqrt(pi) psi, conserves mass

A_i maps nodes to the faces between them. Transposes are taken in the weights of nodes and faces.
"""

import abc
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..equation import FokkerPlanck, Schrodinger, ScoreHamiltonian
from ..grid import Grid

WithPotential: TypeAlias = FokkerPlanck | Schrodinger
Equation: TypeAlias = WithPotential | ScoreHamiltonian


class Operator(eqx.Module):
    """An equation on a grid at one time. Operators act on the last d axes of a field; leading axes are batches.

    `log_root` is log sqrt(pi) `(*shape)`, or None for a process (or a wave) that has none.
    """

    grid: eqx.AbstractVar[Grid]
    log_root: eqx.AbstractVar[Any]

    @abc.abstractmethod
    def hamiltonian(self, wave: Array) -> Array:
        """H psi, `(..., *shape)`."""

    @abc.abstractmethod
    def generator(self, density: Array) -> Array:
        """L p, `(..., *shape)`."""

    @property
    @abc.abstractmethod
    def bounds(self) -> tuple[Array, Array]:
        """Two numbers between which the spectrum of H lies, below the first only by the scheme's own error."""


class Scheme(eqx.Module):
    """A recipe that turns an equation and a grid into an `Operator`."""

    @abc.abstractmethod
    def check(self, equation: Equation, grid: Grid) -> None:
        """Refuse an equation or a grid that this scheme cannot take."""

    @abc.abstractmethod
    def build(self, equation: Equation, grid: Grid, t: Any, dtype: Any, reversible: bool) -> Operator:
        """The operator at time t in the precision `dtype`.

        `reversible` says that the process has a Gibbs density, so that sqrt(pi) and the wave picture may be used.
        """


def dense(action: Any, grid: Grid, dtype: Any) -> Array:
    """The matrix `(size, size)` of a linear `action` on fields of the grid. Cost: size applications, size^2 numbers."""
    identity = jnp.eye(grid.size, dtype=dtype).reshape(grid.size, *grid.shape)
    flat = identity.reshape(grid.size, grid.size)
    # A transpose would be pushed into the action, where XLA's FFT on CPU refuses its layout; a product is not.
    return jnp.einsum("ji,jk->ik", jax.vmap(action)(identity).reshape(flat.shape), flat)

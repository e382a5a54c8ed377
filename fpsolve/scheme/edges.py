"""Finite volumes: an operator made of two rates an edge.

Mass flows through the face between a node below and a node above it,

    F = up p_below - down p_above,      (L p)_j = -(F_upper - F_lower) / w_j,
    A psi = sqrt(down) psi_above - sqrt(up) psi_below,      H = sum_i A_i^T A_i.

Whatever the rates, L conserves mass and positivity and H is symmetric and at least zero. If they balance in detail,
up pi_below = down pi_above, then A sqrt(pi) = 0 and L = -sqrt(pi) H / sqrt(pi) exactly (theorem T2).
"""

import jax.numpy as jnp
from jaxtyping import Array

from ..grid import Grid
from .base import Operator


class EdgeOperator(Operator):
    """Rates `up`, `down` on the faces of each axis (with the factor D / gap in them), and a well on the nodes.

    **Keeps**: mass exactly (columns of L sum to zero) unless an axis is absorbing; positivity of exp(tL); the Gibbs
    density where rates balance in detail. **Cost**: one application reads 2 d arrays of rates and writes one field.
    """

    grid: Grid
    up: tuple[Array, ...]
    down: tuple[Array, ...]
    well: Array | None
    log_root: Array | None

    def factor(self, wave: Array) -> tuple[Array, ...]:
        """A_i psi on the faces of each axis i."""
        factors = []
        for i, axis in enumerate(self.grid.axes):
            below, above = axis.beside(wave, i - self.grid.ndim)
            factors.append(jnp.sqrt(self.down[i]) * above - jnp.sqrt(self.up[i]) * below)
        return tuple(factors)

    def hamiltonian(self, wave: Array) -> Array:
        """H psi = sum_i A_i^T A_i psi + V psi."""
        answer = jnp.zeros_like(wave) if self.well is None else self.well * wave
        for i, slope in enumerate(self.factor(wave)):
            lower, upper = self._around(i, jnp.sqrt(self.down[i]) * slope, jnp.sqrt(self.up[i]) * slope)
            answer = answer + lower - upper
        return answer

    def generator(self, density: Array) -> Array:
        """L p = -div F, minus the well where there is one."""
        answer = jnp.zeros_like(density) if self.well is None else -self.well * density
        for i, axis in enumerate(self.grid.axes):
            below, above = axis.beside(density, i - self.grid.ndim)
            flux = self.up[i] * below - self.down[i] * above
            lower, upper = self._around(i, flux, flux)
            answer = answer + lower - upper
        return answer

    @property
    def exit_rates(self) -> Array:
        """The rate at which mass leaves each node, `(*shape)`: minus the diagonal of L, and the diagonal of H."""
        rates = jnp.zeros(self.grid.shape, self.up[0].dtype) if self.well is None else self.well
        for i in range(self.grid.ndim):
            lower, upper = self._around(i, self.down[i], self.up[i])
            rates = rates + lower + upper
        return rates

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Gershgorin's bounds on H, whose couplings are -sqrt(up down); at least zero where there is no well."""
        rows = self.exit_rates
        for i in range(self.grid.ndim):
            coupling = jnp.sqrt(self.up[i]) * jnp.sqrt(self.down[i])
            lower, upper = self._around(i, coupling, coupling)
            rows = rows + lower + upper
        return jnp.zeros((), rows.dtype) if self.well is None else jnp.min(self.well), jnp.max(rows)

    def _around(self, i: int, below: Array, above: Array) -> tuple[Array, Array]:
        """Per unit of cell: the value of `below` at the lower and of `above` at the upper face of each node."""
        axis, position = self.grid.axes[i], i - self.grid.ndim
        weights = jnp.asarray(axis.weights, below.dtype).reshape(-1, *[1] * (-1 - position))
        return axis.around(below, position)[0] / weights, axis.around(above, position)[1] / weights

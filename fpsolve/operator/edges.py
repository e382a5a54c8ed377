"""Finite volumes: an operator made of two rates an edge.

Mass flows through the face between a node below and a node above it,

    F = up p_below - down p_above,      (L p)_j = -(F_upper - F_lower) / w_j,
    A psi = sqrt(down) psi_above - sqrt(up) psi_below,      H = sum_i A_i^T A_i,
    (H psi)_j = r_j psi_j - sum_k c_jk psi_k / w_j,      c = sqrt(up down),   r the rate at which mass leaves a node.

Whatever the rates, L conserves mass and positivity and H is symmetric and at least zero. If they balance in detail,
up pi_below = down pi_above, then A sqrt(pi) = 0 and L = -sqrt(pi) H / sqrt(pi) exactly (theorem T2).

Neighbours are written as padded slices: XLA fuses those into one pass over memory, and `roll` or `concatenate` not.
"""

from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.machine import on_processor
from ..grid import Axis, Grid
from .base import Operator


class EdgeOperator(Operator):
    """Rates `up`, `down` on the faces of each axis (with the factor D / gap in them), and a well on the nodes.

    `couplings` sqrt(up down) on the faces and `out_rates`, the exit rates without the well, follow from the rates and
    are computed once.

    **Keeps**: mass exactly (columns of L sum to zero) unless an axis is absorbing; positivity of exp(tL); the Gibbs
    density where rates balance in detail. **Cost**: one pass over memory; L reads 2 d arrays and the field, H reads
    d + 1 and the field, and either writes one.
    """

    positive: ClassVar[bool] = True
    grid: Grid
    up: tuple[Array, ...]
    down: tuple[Array, ...]
    well: Array | None
    log_sqrt_pi: Array | None
    couplings: tuple[Array, ...]
    out_rates: Array

    def __init__(
        self, grid: Grid, up: tuple[Array, ...], down: tuple[Array, ...], well: Array | None, log_sqrt_pi: Array | None
    ):
        self.grid, self.up, self.down, self.well, self.log_sqrt_pi = grid, up, down, well, log_sqrt_pi
        self.couplings = tuple(jnp.sqrt(a) * jnp.sqrt(b) for a, b in zip(up, down, strict=True))
        self.out_rates = jnp.zeros(grid.shape, up[0].dtype)
        for i in range(grid.ndim):
            self.out_rates = self.out_rates + self._around(i, down[i], up[i])

    def factor(self, wave: Array) -> tuple[Array, ...]:
        """A_i psi on the faces of each axis i."""
        factors = []
        for i, axis in enumerate(self.grid.axes):
            below, above = axis.face_neighbors(wave, i - self.grid.ndim)
            factors.append(jnp.sqrt(self.down[i]) * above - jnp.sqrt(self.up[i]) * below)
        return tuple(factors)

    def face_weights(self, i: int) -> Array:
        """Ones, `(m_i,)`: the gaps between nodes are in the rates."""
        return jnp.ones(self.up[i].shape[i], self.up[i].dtype)

    def hamiltonian(self, wave: Array) -> Array:
        """H psi = sum_i A_i^T A_i psi + V psi."""
        answer = self.out_rates * wave if self.well is None else (self.out_rates + self.well) * wave
        for i in range(self.grid.ndim):
            cut, pad = self._parts(i)
            for face, below, above, count in _links(self.grid.axes[i]):
                coupling = cut(self.couplings[i], face, count)
                drawn = pad(coupling * cut(wave, below, count), above) + pad(coupling * cut(wave, above, count), below)
                answer = answer - drawn * self._inverse_weights(i, drawn)
        return answer

    def generator(self, density: Array) -> Array:
        """L p = -div F, minus the well where there is one.

        An accelerator would write a flux that is used twice to memory and read it back. There it is formed once for
        each node that it touches, from the same numbers: one pass over memory, not two. A processor would take twice as
        long that way.
        """
        once = on_processor()
        answer = jnp.zeros_like(density) if self.well is None else -self.well * density
        for i, axis in enumerate(self.grid.axes):
            cut, pad = self._parts(i)
            gain = jnp.zeros_like(density)
            for face, below, above, count in _links(axis):
                up, down = cut(self.up[i], face, count), cut(self.down[i], face, count)
                low, high = cut(density, below, count), cut(density, above, count)
                if once:
                    flux = up * low - down * high
                    gain = gain + pad(flux, above) - pad(flux, below)
                else:
                    enter, leave = (pad(up, to) * pad(low, to) - pad(down, to) * pad(high, to) for to in (above, below))
                    gain = gain + enter - leave
            if axis.boundary == "absorbing":
                gain = gain - pad(cut(self.down[i], 0, 1) * cut(density, 0, 1), 0)
                gain = gain - pad(cut(self.up[i], axis.n, 1) * cut(density, axis.n - 1, 1), axis.n - 1)
            answer = answer + gain * self._inverse_weights(i, gain)
        return answer

    def as_well(self) -> "EdgeOperator":
        """The same H by equal rates both ways, the couplings, and what is left as a well."""
        bare = EdgeOperator(self.grid, self.couplings, self.couplings, None, None)
        return EdgeOperator(self.grid, self.couplings, self.couplings, self.exit_rates - bare.out_rates, None)

    @property
    def exit_rates(self) -> Array:
        """The rate at which mass leaves each node, `(*shape)`: minus the diagonal of L, and the diagonal of H."""
        return self.out_rates if self.well is None else self.out_rates + self.well

    @property
    def is_factored(self) -> bool:
        """Always."""
        return True

    @property
    def largest_rate(self) -> Array:
        """The largest of the exit rates."""
        return jnp.max(self.exit_rates)

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Gershgorin's bounds on H, whose couplings are -sqrt(up down); at least zero where there is no well."""
        rows = self.exit_rates
        for i, coupling in enumerate(self.couplings):
            rows = rows + self._around(i, coupling, coupling)
        return jnp.zeros((), rows.dtype) if self.well is None else jnp.min(self.well), jnp.max(rows)

    def _around(self, i: int, below: Array, above: Array) -> Array:
        """Per unit of cell: `below` at the lower plus `above` at the upper face of each node."""
        axis, (cut, pad) = self.grid.axes[i], self._parts(i)
        sums = jnp.zeros(self.grid.shape, below.dtype)
        for face, lower, upper, count in _links(axis):
            sums = sums + pad(cut(below, face, count), upper) + pad(cut(above, face, count), lower)
        if axis.boundary == "absorbing":
            sums = sums + pad(cut(below, 0, 1), 0) + pad(cut(above, axis.n, 1), axis.n - 1)
        return sums * self._inverse_weights(i, sums)

    def _inverse_weights(self, i: int, u: Array) -> Array:
        axis = self.grid.axes[i]
        return jnp.asarray(1 / axis.weights, u.real.dtype).reshape(-1, *[1] * (self.grid.ndim - 1 - i))

    def _parts(self, i: int) -> tuple[Callable[..., Array], Callable[..., Array]]:
        """`cut(u, start, count)`, a part of u along axis i, and `pad(part, start)`, the part among zeros `(n_i,)`."""
        n, position = self.grid.axes[i].n, i - self.grid.ndim

        def cut(u: Array, start: int, count: int) -> Array:
            return jax.lax.slice_in_dim(u, start, start + count, axis=position + u.ndim)

        def pad(u: Array, start: int) -> Array:
            ends = (start, n - start - u.shape[position])
            return jnp.pad(u, [ends if k == position + u.ndim else (0, 0) for k in range(u.ndim)])

        return cut, pad


def _links(axis: Axis) -> list[tuple[int, int, int, int]]:
    """Faces with a node on both sides, in runs: the first face, the node below it, the node above it, how many."""
    chain = (1 if axis.boundary == "absorbing" else 0, 0, 1, axis.n - 1)
    return [chain, (axis.n - 1, axis.n - 1, 0, 1)] if axis.boundary == "periodic" else [chain]

"""Finite volumes: an operator made of two rates for each face.

Mass flows through the face between the node below it and the node above it,

    F = up p_below - down p_above,      (L p)_j = -(F_upper - F_lower) / w_j,
    A psi = sqrt(down) psi_above - sqrt(up) psi_below,      H = sum_i A_i^T A_i,
    (H psi)_j = r_j psi_j - sum_k c_jk psi_k / w_j,
    c = sqrt(up down),   r the rate at which mass leaves a node.

Whatever the rates, L conserves mass and positivity and H is symmetric and at least
zero. If they balance in detail, up pi_below = down pi_above, then A sqrt(pi) = 0 and L
= -sqrt(pi) H / sqrt(pi) exactly (theorem T2).

Neighbours are padded slices: XLA fuses those into one pass over memory, but not `roll`
or `concatenate`.
"""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.machine import on_processor
from ..grid import Axis, Grid
from .base import Operator


class EdgeOperator(Operator):
    """Rates `up` and `down` across the faces of each axis, and the potential term at
    the nodes.

    The rates are times the width of the cell that mass leaves, so they have units of
    length / time: D / spacing is a factor of both.

    `couplings` sqrt(up down) on the faces and `out_rates`, the exit rates without the
    potential term, follow from the rates and are computed once.

    **Keeps**: mass exactly (columns of L sum to zero) unless an axis is absorbing;
    positivity of exp(tL); the Gibbs density where rates balance in detail. **Cost**:
    one pass over memory; L reads 2 d arrays and the field, H reads d + 1 and the field,
    and either writes one.
    """

    positive: ClassVar[bool] = True
    grid: Grid
    up: tuple[Array, ...]
    down: tuple[Array, ...]
    potential_term: Array | None
    log_sqrt_pi: Array | None
    couplings: tuple[Array, ...]
    out_rates: Array

    # Written by hand, because two fields are computed from the others.
    def __init__(
        self,
        grid: Grid,
        up: tuple[Array, ...],
        down: tuple[Array, ...],
        potential_term: Array | None,
        log_sqrt_pi: Array | None,
    ):
        self.grid = grid
        self.up = up
        self.down = down
        self.potential_term = potential_term
        self.log_sqrt_pi = log_sqrt_pi
        # Two square roots, because the product of the rates may overflow or underflow.
        self.couplings = tuple(
            jnp.sqrt(a) * jnp.sqrt(b) for a, b in zip(up, down, strict=True)
        )
        self.out_rates = jnp.zeros(grid.shape, up[0].dtype)
        for i in range(grid.ndim):
            self.out_rates = self.out_rates + self._sum_over_faces(i, down[i], up[i])

    def factor(self, wave: Array) -> tuple[Array, ...]:
        """A_i psi on the faces of each axis i."""
        factors = []
        for i, axis in enumerate(self.grid.axes):
            below, above = axis.face_neighbors(wave, i - self.grid.ndim)
            from_above = jnp.sqrt(self.down[i]) * above
            from_below = jnp.sqrt(self.up[i]) * below
            factors.append(from_above - from_below)
        return tuple(factors)

    def face_weights(self, i: int) -> Array:
        """Ones, `(m_i,)`: the spacings between nodes are part of the rates."""
        return jnp.ones(self.up[i].shape[i], self.up[i].dtype)

    def hamiltonian(self, wave: Array) -> Array:
        """H psi = sum_i A_i^T A_i psi + V psi."""
        answer = self.exit_rates * wave
        for i in range(self.grid.ndim):
            part = self._slices(i)
            # On a wall the wave is zero, so its faces couple nothing; their rates are
            # on the diagonal.
            for run in _face_runs(self.grid.axes[i]):
                coupling = part.cut(self.couplings[i], run.face, run.count)
                wave_below = part.cut(wave, run.below, run.count)
                wave_above = part.cut(wave, run.above, run.count)
                from_below = part.pad(coupling * wave_below, run.above)
                from_above = part.pad(coupling * wave_above, run.below)
                coupled = from_below + from_above
                answer = answer - coupled * self._inverse_weights(i, coupled)
        return answer

    def generator(self, density: Array) -> Array:
        """L p = -div F - V p."""
        # An accelerator would write a flux that is used twice to memory and read it
        # back. There it is computed once for each of its two nodes, from the same
        # numbers: one pass over memory, not two. A processor would take twice as long
        # that way.
        compute_flux_once = on_processor()
        answer = jnp.zeros_like(density)
        if self.potential_term is not None:
            answer = -self.potential_term * density
        for i, axis in enumerate(self.grid.axes):
            part = self._slices(i)
            gain = jnp.zeros_like(density)
            for run in _face_runs(axis):
                up = part.cut(self.up[i], run.face, run.count)
                down = part.cut(self.down[i], run.face, run.count)
                p_below = part.cut(density, run.below, run.count)
                p_above = part.cut(density, run.above, run.count)
                if compute_flux_once:
                    flux = up * p_below - down * p_above
                    gain = gain + part.pad(flux, run.above) - part.pad(flux, run.below)
                else:
                    upward = part.pad(up, run.above) * part.pad(p_below, run.above)
                    downward = part.pad(down, run.above) * part.pad(p_above, run.above)
                    into_above = upward - downward
                    upward = part.pad(up, run.below) * part.pad(p_below, run.below)
                    downward = part.pad(down, run.below) * part.pad(p_above, run.below)
                    out_of_below = upward - downward
                    gain = gain + into_above - out_of_below
            # Behind a wall the density is zero: mass leaves through it, and none
            # enters.
            if axis.boundary == "absorbing":
                last = axis.n - 1
                first_density = part.cut(density, 0, 1)
                last_density = part.cut(density, last, 1)
                through_lower_wall = part.cut(self.down[i], 0, 1) * first_density
                through_upper_wall = part.cut(self.up[i], axis.n, 1) * last_density
                gain = gain - part.pad(through_lower_wall, 0)
                gain = gain - part.pad(through_upper_wall, last)
            answer = answer + gain * self._inverse_weights(i, gain)
        return answer

    def as_potential_term(self) -> "EdgeOperator":
        """The same H with equal rates both ways, namely the couplings, and the rest of
        the diagonal as V.
        """
        couplings = self.couplings
        bare = EdgeOperator(self.grid, couplings, couplings, None, None)
        potential_term = self.exit_rates - bare.out_rates
        return EdgeOperator(self.grid, couplings, couplings, potential_term, None)

    @property
    def exit_rates(self) -> Array:
        """The rate at which mass leaves each node, `(*shape)`: minus the diagonal of L,
        and the diagonal of H.
        """
        if self.potential_term is None:
            return self.out_rates
        return self.out_rates + self.potential_term

    @property
    def is_factored(self) -> bool:
        """True for any rates."""
        return True

    @property
    def largest_rate(self) -> Array:
        """The largest of the exit rates."""
        return jnp.max(self.exit_rates)

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Zero, or the lowest value of the potential term, because H - V = A^T A >= 0;
        and Gershgorin's upper bound for a matrix with the couplings -sqrt(up down).
        """
        row_sums = self.exit_rates
        for i, coupling in enumerate(self.couplings):
            row_sums = row_sums + self._sum_over_faces(i, coupling, coupling)
        if self.potential_term is None:
            return jnp.zeros((), row_sums.dtype), jnp.max(row_sums)
        return jnp.min(self.potential_term), jnp.max(row_sums)

    def _sum_over_faces(self, i: int, lower: Array, upper: Array) -> Array:
        """`lower` at the face below each node plus `upper` at the face above it, per
        width of its cell, `(*shape)`.
        """
        axis = self.grid.axes[i]
        part = self._slices(i)
        sums = jnp.zeros(self.grid.shape, lower.dtype)
        for run in _face_runs(axis):
            at_lower_face = part.pad(part.cut(lower, run.face, run.count), run.above)
            at_upper_face = part.pad(part.cut(upper, run.face, run.count), run.below)
            sums = sums + at_lower_face + at_upper_face
        if axis.boundary == "absorbing":  # the faces on walls belong to one node each
            at_lower_wall = part.pad(part.cut(lower, 0, 1), 0)
            at_upper_wall = part.pad(part.cut(upper, axis.n, 1), axis.n - 1)
            sums = sums + at_lower_wall + at_upper_wall
        return sums * self._inverse_weights(i, sums)

    def _inverse_weights(self, i: int, u: Array) -> Array:
        return self.grid.along_axis(i, 1 / self.grid.axes[i].weights, u.real.dtype)

    def _slices(self, i: int) -> "_AxisSlices":
        return _AxisSlices(self.grid.axes[i].n, i - self.grid.ndim)


class _AxisSlices(NamedTuple):
    """Parts of fields `(..., *shape)` along one axis, which is counted from the end,
    below zero; it has n nodes.
    """

    n: int
    axis: int

    def cut(self, u: Array, start: int, count: int) -> Array:
        """`count` values of u along the axis."""
        return jax.lax.slice_in_dim(u, start, start + count, axis=self.axis + u.ndim)

    def pad(self, part: Array, start: int) -> Array:
        """A part at its place among zeros, n values along the axis."""
        widths = [(0, 0)] * part.ndim
        widths[self.axis] = (start, self.n - start - part.shape[self.axis])
        return jnp.pad(part, widths)


class _FaceRun(NamedTuple):
    """Successive faces with a node on both sides."""

    face: int  # the first face
    below: int  # the node below it
    above: int  # the node above it
    count: int


def _face_runs(axis: Axis) -> list[_FaceRun]:
    """All faces of an axis with a node on both sides. The first face of an absorbing
    axis lies on a wall; the last face of a periodic axis joins the last node to the
    first.
    """
    first_face = 1 if axis.boundary == "absorbing" else 0
    inner = _FaceRun(face=first_face, below=0, above=1, count=axis.n - 1)
    if axis.boundary != "periodic":
        return [inner]
    return [inner, _FaceRun(face=axis.n - 1, below=axis.n - 1, above=0, count=1)]

"""The resolvent of a finite-volume generator: one implicit step in any dimension.

    (1 - h L) x = b,      M = 1 - h L

M is an M-matrix whose columns sum to at least 1, so M^{-1} >= 0 and |x - M^{-1} b| <=
|b - M x| in L1: a residual measured in the density bounds the error of the density. One
axis is solved directly (`tridiagonal`). More axes take BiCGSTAB with one sweep of line
Gauss-Seidel as preconditioner (`bicgstab`, `line_sweep`). Where a non-negative x is
required, further sweeps start from max(x, 0): each iterate of a sweep that starts at x
>= 0 is non-negative.

References: van der Vorst, SIAM J. Sci. Stat. Comput. 13 (1992) 631; regular splittings:
Varga, Matrix Iterative Analysis (1962), section 3.6.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..operator import EdgeOperator
from .bicgstab import Restarts, restarted_bicgstab
from .constants import CONSTANTS
from .line_sweep import LineSweep, axis_out_rates, factor_line_sweep


class Resolvent(eqx.Module):
    """(1 - h L)^{-1} of an `EdgeOperator`. `factor_resolvent` builds it."""

    line_sweep: LineSweep  # of M, with the operator and h
    column_sums: Array  # of M, at least 1
    smallest_tol: Array  # the relative residual that rounding leaves
    positive: bool = eqx.field(static=True)

    def matrix(self, field: Array) -> Array:
        """M times a field `(..., *shape)`."""
        return field - self.line_sweep.h * self.operator.generator(field)

    def solve(self, field: Array, tol: Array) -> Array:
        """x with a residual of relative L1 norm `tol`, or as small as rounding allows;
        `(..., *shape)`, leading axes are a batch.

        **Keeps**: mass, by construction (one axis) or by one correction along |x|,
        which for x >= 0 is a positive factor; positivity exactly on one axis, or where
        built `positive`. Differentiable in h, L and the field.
        """
        if self._direct:
            factors = self.line_sweep.factors[0]
            forward = lambda _, b: factors.solve(b)
            backward = lambda _, b: factors.solve_transposed(b)
        else:
            tol = jnp.maximum(tol, self.smallest_tol)
            forward = lambda matrix, b: self._iterate(matrix, b, tol)
            # The residual of the transposed system is measured in the norm that is dual
            # to L1.
            backward = lambda matrix, b: _krylov(
                matrix,
                self.line_sweep.sweep_transposed,
                b,
                tol,
                self._dual_norm,
            )
        return jax.lax.custom_linear_solve(self.matrix, field, forward, backward)

    def residual(self, field: Array, x: Array) -> Array:
        """The L1 norm of b - M x in the grid's weights, `(...)`: it bounds the error of
        x. Zero on one axis.
        """
        if self._direct:
            return jnp.zeros(field.shape[: field.ndim - 1], field.dtype)
        return self._norm(jax.lax.stop_gradient(field - self.matrix(x)))

    def _iterate(self, matrix: Callable[[Array], Array], b: Array, tol: Array) -> Array:
        sweep_from_zero = lambda u: self.line_sweep.sweep(u, jnp.zeros_like(u))
        x = _krylov(matrix, sweep_from_zero, b, tol, self._norm)
        if self.positive:
            x = self._sweep_until(matrix, b, jnp.maximum(x, 0), tol)
        return self._conserve_mass(b, x)

    def _sweep_until(
        self,
        matrix: Callable[[Array], Array],
        b: Array,
        x: Array,
        tol: Array,
    ) -> Array:
        """Sweeps from x >= 0 until the residual is at most `tol`, at least one."""
        size = self._norm(b)

        def unfinished(state: tuple[Array, Array]) -> Array:
            x, count = state
            too_large = self._norm(b - matrix(x)) > tol * size
            return jnp.any(too_large) & (count < CONSTANTS.max_sweeps)

        def again(state: tuple[Array, Array]) -> tuple[Array, Array]:
            x, count = state
            return self.line_sweep.sweep(b, x), count + 1

        # At least one sweep, because clipping may have left a residual.
        first = (self.line_sweep.sweep(b, x), jnp.zeros((), int))
        x, _ = jax.lax.while_loop(unfinished, again, first)
        return x

    def _conserve_mass(self, b: Array, x: Array) -> Array:
        """Move x along |x| until the residual sums to zero."""
        total = lambda u: jnp.sum(u * self._weights, axis=self._axes, keepdims=True)
        size = jnp.abs(x)
        gain = total(self.column_sums * size)
        missing = total(b) - total(self.column_sums * x)
        return x + missing * size / jnp.where(gain > 0, gain, 1)

    @property
    def operator(self) -> EdgeOperator:
        """The operator whose generator is L."""
        return self.line_sweep.operator

    @property
    def _direct(self) -> bool:
        return self.operator.grid.ndim == 1

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-self.operator.grid.ndim, 0))

    @property
    def _weights(self) -> Array:
        return self.operator.grid.weights.astype(self.operator.up[0].dtype)

    def _norm(self, u: Array) -> Array:
        return jnp.sum(jnp.abs(u) * self._weights, axis=self._axes)

    def _dual_norm(self, u: Array) -> Array:
        return jnp.max(jnp.abs(u / self._weights), axis=self._axes)


def factor_resolvent(operator: EdgeOperator, h: Array, positive: bool) -> Resolvent:
    """Factor 1 - h L along every axis; a potential term in L is at least zero.

    **Cost**: a recurrence along each axis and three fields an axis.
    """
    grid = operator.grid
    axes = range(grid.ndim)
    fixed_h = jax.lax.stop_gradient(h)
    column_sums = jnp.ones(grid.shape, operator.up[0].dtype)
    if operator.potential_term is not None:
        killing = jax.lax.stop_gradient(operator.potential_term)
        column_sums = column_sums + fixed_h * killing
    line_sweep = factor_line_sweep(operator, h, column_sums)
    # The terms of M x are as large as its diagonal, and so is their rounding.
    out_rates = (fixed_h * axis_out_rates(operator, i) for i in axes)
    diagonal = sum(out_rates, start=column_sums)
    eps = jnp.finfo(column_sums.dtype).eps
    smallest_tol = CONSTANTS.residual_roundings * eps * jnp.max(diagonal)
    # What walls absorb leaves M too. It is no part of `column_sums` above, because
    # `factor_tridiagonal` adds it itself.
    absorbed = (fixed_h * _absorption_rates(operator, i) for i in axes)
    return Resolvent(
        line_sweep=line_sweep,
        column_sums=sum(absorbed, start=column_sums),
        smallest_tol=smallest_tol,
        positive=positive,
    )


def _absorption_rates(operator: EdgeOperator, i: int) -> Array:
    """The rate at which the walls of axis i absorb mass from each node, `(*shape)`; not
    differentiated.
    """
    grid = operator.grid
    dtype = operator.up[i].dtype
    rates = jnp.zeros(grid.shape, dtype)
    if grid.axes[i].boundary != "absorbing":
        return rates
    last_axis = lambda u: jnp.moveaxis(jax.lax.stop_gradient(u), i, -1)
    up = last_axis(operator.up[i])
    down = last_axis(operator.down[i])
    walls = jnp.moveaxis(rates, i, -1)
    walls = walls.at[..., 0].add(down[..., 0])
    walls = walls.at[..., -1].add(up[..., -1])
    return jnp.moveaxis(walls, -1, i - grid.ndim) / grid.axis_weights(i, dtype)


def _krylov(
    matrix: Callable[[Array], Array],
    preconditioner: Callable[[Array], Array],
    b: Array,
    tol: Array,
    norm: Callable[[Array], Array],
) -> Array:
    def inner_tol(size: Array) -> Array:
        # The inner solve aims at what is still missing, but not below rounding.
        tightest = jnp.finfo(b.dtype).eps * CONSTANTS.inner_roundings
        needed = tol / size / CONSTANTS.inner_safety
        return jnp.clip(needed, tightest, CONSTANTS.loosest_inner_tol)

    restarts = Restarts(
        CONSTANTS.resolvent_restarts,
        CONSTANTS.resolvent_iterations,
        CONSTANTS.resolvent_decrease,
    )
    return restarted_bicgstab(matrix, preconditioner, b, tol, norm, inner_tol, restarts)

"""Line Gauss-Seidel for a finite-volume operator in any dimension, and for its
transpose.

    M x = b,      M = s - h L,      M = B_i - N_i,
                  B_i the diagonal of M and its couplings along axis i
    sweep         x <- B_i^{-1} (b + N_i x)
                  for i = 1, ..., d, ..., 1: along every axis and back

B_i is solved exactly, as tridiagonal systems along axis i. With column sums s >= 0 M is
an M-matrix, B_i^{-1} and N_i have no negative entry, and an iterate that starts at x >=
0 with b >= 0 stays non-negative.

Reference: Varga, Matrix Iterative Analysis (1962), section 3.6 (regular splittings).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..operator import EdgeOperator
from .tridiagonal import TridiagonalFactors, factor_tridiagonal


class LineSweep(eqx.Module):
    """Sweeps for M = s - h L and for M^T in the plain inner product of fields.
    `factor_line_sweep` builds it.
    """

    operator: EdgeOperator
    h: Array
    factors: tuple[TridiagonalFactors, ...]  # of B_i, one an axis

    def sweep(self, load: Array, start: Array) -> Array:
        """One sweep for M x = `load` from x = `start`, `(..., *shape)`."""
        x = start
        for i in self._axes_and_back:
            inflow = sum(_inflow(self.operator, j, x) for j in self._other_axes(i))
            x = self.factors[i].solve(load + self.h * inflow)
        return x

    def sweep_transposed(self, load: Array) -> Array:
        """One sweep for M^T x = `load` from x = 0, `(..., *shape)`."""
        x = jnp.zeros_like(load)
        for i in self._axes_and_back:
            others = self._other_axes(i)
            inflow = sum(_inflow_transposed(self.operator, j, x) for j in others)
            x = self.factors[i].solve_transposed(load + self.h * inflow)
        return x

    def _other_axes(self, i: int) -> list[int]:
        return [j for j in range(len(self.factors)) if j != i]

    @property
    def _axes_and_back(self) -> list[int]:
        """0, ..., d - 1, ..., 0: with the way back a sweep from zero is close to
        symmetric where M is.
        """
        axes = list(range(len(self.factors)))
        return axes + axes[-2::-1]


def factor_line_sweep(
    operator: EdgeOperator,
    h: Array,
    column_sums: Array,
) -> LineSweep:
    """Factor all B_i of M = s - h L, without the potential term; `column_sums` s
    `(*shape)` is at least zero, and h is positive.

    **Cost**: a recurrence along each axis and three fields an axis. The factors are not
    differentiated.
    """
    # The factors only solve: derivatives of a solution come from `custom_linear_solve`
    # around it.
    fixed_h = jax.lax.stop_gradient(h)
    axes = range(operator.grid.ndim)
    out_rates = [fixed_h * axis_out_rates(operator, i) for i in axes]

    def line_column_sums(i: int) -> Array:
        """The column sums of B_i, in which what leaves along other axes is lost."""
        other_rates = [out_rates[j] for j in axes if j != i]
        return sum(other_rates, start=column_sums)

    factors = tuple(
        factor_tridiagonal(operator, i, h, line_column_sums(i)) for i in axes
    )
    return LineSweep(operator, h, factors)


def axis_out_rates(operator: EdgeOperator, i: int) -> Array:
    """The rate at which mass leaves along axis i, `(*shape)`; not differentiated."""
    grid = operator.grid
    axis = grid.axes[i]
    position = i - grid.ndim  # from the end: leading axes are a batch
    up, down = jax.lax.stop_gradient((operator.up[i], operator.down[i]))
    to_below, _ = axis.node_faces(down, position)
    _, to_above = axis.node_faces(up, position)
    return (to_below + to_above) / grid.axis_weights(i, up.dtype)


def _inflow(operator: EdgeOperator, i: int, density: Array) -> Array:
    """The part of L_i p that flows into each node: non-negative where p is."""
    grid = operator.grid
    axis = grid.axes[i]
    position = i - grid.ndim
    below, above = axis.face_neighbors(density, position)
    from_below, _ = axis.node_faces(operator.up[i] * below, position)
    _, from_above = axis.node_faces(operator.down[i] * above, position)
    weights = grid.axis_weights(i, operator.up[i].dtype)
    return (from_below + from_above) / weights


def _inflow_transposed(operator: EdgeOperator, i: int, field: Array) -> Array:
    """The transpose of `_inflow`."""
    grid = operator.grid
    axis = grid.axes[i]
    position = i - grid.ndim
    # The transpose divides by the width of the cell that `_inflow` enters, which is
    # where the field comes from here.
    weights = grid.axis_weights(i, operator.up[i].dtype)
    below, above = axis.face_neighbors(field / weights, position)
    from_below, _ = axis.node_faces(operator.down[i] * below, position)
    _, from_above = axis.node_faces(operator.up[i] * above, position)
    return from_below + from_above

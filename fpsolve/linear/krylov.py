"""The resolvent of a finite-volume generator: one implicit step in any dimension.

    (1 - h L) x = b,      M = 1 - h L,      M = B_i - N_i,   B_i the diagonal of M and its couplings along axis i

M is an M-matrix whose columns sum to at least 1, so M^{-1} >= 0 and |x - M^{-1} b| <= |b - M x| in L1: a residual
measured in the density bounds the error of the density. One axis is solved directly (`lines`). More axes take

    sweep       x <- B_i^{-1} (b + N_i x)   for i = 1, ..., d, ..., 1: line Gauss-Seidel, there and back
    Krylov      BiCGSTAB with one sweep as preconditioner, restarted on its true residual
    positive    from max(x, 0) more sweeps: B_i^{-1} and N_i are non-negative, so every iterate of a guess >= 0 is >= 0

References: van der Vorst, SIAM J. Sci. Stat. Comput. 13 (1992) 631; regular splittings: Varga, Matrix Iterative
Analysis (1962), section 3.6.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..operator import EdgeOperator
from .lines import Lines, factor_lines

ROUNDS, ITERATIONS, SWEEPS = 8, 300, 100


class Resolvent(eqx.Module):
    """(1 - h L)^{-1} of an `EdgeOperator`, with the factors of its lines; build it with `factor_resolvent`."""

    operator: EdgeOperator
    h: Array
    lines: tuple[Lines, ...]
    sums: Array  # of the columns of M, at least 1
    floor: Array  # what rounding leaves of a residual
    positive: bool = eqx.field(static=True)

    def matrix(self, field: Array) -> Array:
        """M times a field `(..., *shape)`."""
        return field - self.h * self.operator.generator(field)

    def solve(self, field: Array, goal: Array) -> Array:
        """x with a residual of relative L1 norm `goal`, if it can be had; `(..., *shape)`, leading axes a batch.

        **Keeps**: mass, by construction (one axis) or by one correction along |x|, which for x >= 0 is a positive
        factor; positivity exactly on one axis, or where built `positive`. Differentiable in h, L and the field.
        """
        if len(self.lines) == 1:
            forward = lambda _, b: self.lines[0].solve(b)
            backward = lambda _, b: self.lines[0].solve_transposed(b)
        else:
            goal = jnp.maximum(goal, self.floor)
            forward = lambda matrix, b: self._iterate(matrix, b, goal)
            backward = lambda matrix, b: _krylov(matrix, self._sweep_transposed, b, goal, self._largest)
        return jax.lax.custom_linear_solve(self.matrix, field, forward, backward)

    def residual(self, field: Array, x: Array) -> Array:
        """The L1 norm of b - M x in the grid's weights, `(...)`: it bounds the error of x. Zero on one axis."""
        if len(self.lines) == 1:
            return jnp.zeros(field.shape[: field.ndim - 1], field.dtype)
        return self._norm(jax.lax.stop_gradient(field - self.matrix(x)))

    def _iterate(self, matrix: Callable[[Array], Array], b: Array, goal: Array) -> Array:
        x = _krylov(matrix, lambda u: self._sweep(u, jnp.zeros_like(u)), b, goal, self._norm)
        if self.positive:
            x = self._sweep_on(matrix, b, jnp.maximum(x, 0), goal)
        return self._balance(b, x)

    def _sweep_on(self, matrix: Callable[[Array], Array], b: Array, x: Array, goal: Array) -> Array:
        size = self._norm(b)

        def again(state: tuple[Array, Array]) -> Array:
            return jnp.any(self._norm(b - matrix(state[0])) > goal * size) & (state[1] < SWEEPS)

        step = lambda state: (self._sweep(b, state[0]), state[1] + 1)
        return jax.lax.while_loop(again, step, (self._sweep(b, x), jnp.zeros((), int)))[0]

    def _sweep(self, b: Array, x: Array) -> Array:
        for i in self._there_and_back:
            x = self.lines[i].solve(b + self.h * sum(_arrivals(self.operator, j, x) for j in self._others(i)))
        return x

    def _sweep_transposed(self, b: Array) -> Array:
        x = jnp.zeros_like(b)
        for i in self._there_and_back:
            sent = sum(_arrivals_transposed(self.operator, j, x) for j in self._others(i))
            x = self.lines[i].solve_transposed(b + self.h * sent)
        return x

    def _balance(self, b: Array, x: Array) -> Array:
        """Make the residual sum to zero by moving x along |x|."""
        total = lambda u: jnp.sum(u * self._weights, axis=self._axes, keepdims=True)
        size = jnp.abs(x)
        grown = total(self.sums * size)
        return x + (total(b) - total(self.sums * x)) * size / jnp.where(grown > 0, grown, 1)

    def _others(self, i: int) -> list[int]:
        return [j for j in range(len(self.lines)) if j != i]

    @property
    def _there_and_back(self) -> list[int]:
        there = list(range(len(self.lines)))
        return there + there[-2::-1]

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-len(self.lines), 0))

    @property
    def _weights(self) -> Array:
        return self.operator.grid.weights.astype(self.operator.up[0].dtype)

    def _norm(self, u: Array) -> Array:
        return jnp.sum(jnp.abs(u) * self._weights, axis=self._axes)

    def _largest(self, u: Array) -> Array:
        return jnp.max(jnp.abs(u / self._weights), axis=self._axes)


def factor_resolvent(operator: EdgeOperator, h: Array, positive: bool) -> Resolvent:
    """Factor the lines of 1 - h L; a well in L is at least zero.

    **Cost**: a scan along each axis and three fields an axis.
    """
    grid, fixed = operator.grid, jax.lax.stop_gradient(h)
    sums = jnp.ones(grid.shape, operator.up[0].dtype)
    if operator.well is not None:
        sums = sums + fixed * jax.lax.stop_gradient(operator.well)
    out_rates = [fixed * _departures(operator, i) for i in range(grid.ndim)]
    every = range(grid.ndim)
    others = lambda i: sum((out_rates[j] for j in every if j != i), start=sums)
    lines = tuple(factor_lines(operator, i, h, others(i)) for i in every)
    floor = 4 * jnp.finfo(sums.dtype).eps * jnp.max(sum(out_rates, start=sums))
    lost = sum((fixed * _absorbed(operator, i) for i in every), start=sums)
    return Resolvent(operator, h, lines, lost, floor, positive)


def _arrivals(operator: EdgeOperator, i: int, density: Array) -> Array:
    """The part of L_i p that flows in: non-negative where p is."""
    axis, position = operator.grid.axes[i], i - operator.grid.ndim
    below, above = axis.face_neighbors(density, position)
    lower = axis.node_faces(operator.up[i] * below, position)[0]
    upper = axis.node_faces(operator.down[i] * above, position)[1]
    return (lower + upper) / _along(operator, i)


def _arrivals_transposed(operator: EdgeOperator, i: int, field: Array) -> Array:
    axis, position = operator.grid.axes[i], i - operator.grid.ndim
    below, above = axis.face_neighbors(field / _along(operator, i), position)
    return axis.node_faces(operator.down[i] * below, position)[0] + axis.node_faces(operator.up[i] * above, position)[1]


def _departures(operator: EdgeOperator, i: int) -> Array:
    """The rate at which mass leaves each node along axis i, `(*shape)`; not differentiated."""
    axis, position = operator.grid.axes[i], i - operator.grid.ndim
    up, down = jax.lax.stop_gradient((operator.up[i], operator.down[i]))
    return (axis.node_faces(down, position)[0] + axis.node_faces(up, position)[1]) / _along(operator, i)


def _absorbed(operator: EdgeOperator, i: int) -> Array:
    """The rate at which walls of axis i swallow mass from each node, `(*shape)`; not differentiated."""
    gone, position = jnp.zeros(operator.grid.shape, operator.up[i].dtype), i - operator.grid.ndim
    if operator.grid.axes[i].boundary != "absorbing":
        return gone
    up, down = (jnp.moveaxis(jax.lax.stop_gradient(u[i]), i, -1) for u in (operator.up, operator.down))
    walls = jnp.moveaxis(gone, i, -1).at[..., 0].add(down[..., 0]).at[..., -1].add(up[..., -1])
    return jnp.moveaxis(walls, -1, position) / _along(operator, i)


def _along(operator: EdgeOperator, i: int) -> Array:
    weights = jnp.asarray(operator.grid.axes[i].weights, operator.up[i].dtype)
    return weights.reshape(-1, *[1] * (operator.grid.ndim - 1 - i))


def _krylov(matrix: Callable, preconditioner: Callable, b: Array, goal: Array, norm: Callable[[Array], Array]) -> Array:
    """BiCGSTAB restarted on its true residual until `norm` of that is `goal` of b's, or it falls no more.

    A breakdown leaves the last good iterate: no entry is ever other than finite.
    """
    size = norm(b)
    worst = lambda r: jnp.max(norm(r) / jnp.where(size == 0, 1, size))

    def again(state: tuple[Any, ...]) -> Array:
        _, _, now, k, failed = state
        return (now > goal) & (k < ROUNDS) & ~failed

    def restart(state: tuple[Any, ...]) -> tuple[Any, ...]:
        x, r, now, k, _ = state
        reach: Any = jnp.clip(goal / now / 3, jnp.finfo(b.dtype).eps * 8, 0.1)
        change = jax.scipy.sparse.linalg.bicgstab(matrix, r, tol=reach, M=preconditioner, maxiter=ITERATIONS)[0]
        left = b - matrix(x + change)
        after = worst(left)
        better = after < now  # false for NaN
        choose = lambda new, old: jnp.where(better, new, old)
        return choose(x + change, x), choose(left, r), choose(after, now), k + 1, ~(after < 0.9 * now)

    x = preconditioner(b)
    r = b - matrix(x)
    zero = jnp.zeros((), int)
    return jax.lax.while_loop(again, restart, (x, r, worst(r), zero, zero > 0))[0]

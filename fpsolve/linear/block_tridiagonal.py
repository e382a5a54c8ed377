"""The exact inverse of s - L for finite volumes on a line, a plane or thin boxes: layer after layer.

    (s - L) x = b,      x = (x_0, ..., x_{n-1}),  x_j the m nodes of layer j across the longest axis

L couples a layer to its two neighbours node by node, by diagonal matrices, and the nodes within a layer by B_j:

    S_0 = B_0,     S_{j+1} = B_{j+1} - rise_j S_j^{-1} fall_j,
    y_{j+1} = b_{j+1} + rise_j S_j^{-1} y_j,       x_j = S_j^{-1} (y_j + fall_j x_{j+1}).

On a ring the last layer is condensed last. s - L is an M-matrix for s > 0, and so is each S_j: no pivoting is needed.

Reference: Golub and Van Loan, Matrix Computations (2013), section 4.5.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..operator import EdgeOperator


class Layers(eqx.Module):
    """The inverse of s - L: build it with `factor_layers`; `solve` applies it."""

    inverses: Array  # S_j^{-1}, (n, m, m), or n - 1 of them on a ring
    rise: Array  # (n - 1, m)
    fall: Array
    corner: tuple[Array, ...] | None
    axis: int = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)  # of the grid

    def solve(self, fields: Array) -> Array:
        """(s - L)^{-1} of fields `(p, *shape)`."""
        layers = self._inwards(fields)
        if self.corner is None:
            return self._outwards(_solve(self.inverses, self.rise, self.fall, layers), fields)
        arrive, _, spread, _, pivot = self.corner
        inner = _solve(self.inverses, self.rise[:-1], self.fall[:-1], layers[:-1])
        last = pivot @ (layers[-1] + arrive[0] * inner[0] + arrive[1] * inner[-1])
        return self._outwards(jnp.concatenate([inner + spread @ last, last[None]]), fields)

    @property
    def transposed(self) -> "Layers":
        """The inverse of the transpose of s - L in the plain inner product of fields."""
        corner = self.corner
        if corner is not None:
            arrive, leave, spread, gather, pivot = corner
            corner = (leave, arrive, gather, spread, pivot.T)
        return Layers(jnp.swapaxes(self.inverses, 1, 2), self.fall, self.rise, corner, self.axis, self.shape)

    def _inwards(self, fields: Array) -> Array:
        moved = jnp.moveaxis(fields, (self.axis + 1, 0), (0, -1))
        return moved.reshape(len(moved), -1, len(fields))

    def _outwards(self, layers: Array, fields: Array) -> Array:
        shape = jnp.moveaxis(fields, (self.axis + 1, 0), (0, -1)).shape
        return jnp.moveaxis(layers.reshape(shape), (0, -1), (self.axis + 1, 0))


def longest_axis(operator: EdgeOperator) -> int:
    """The axis across which the layers lie: the longest, and of equals one that is no ring."""
    axes = operator.grid.axes
    return max(range(len(axes)), key=lambda i: (axes[i].n, axes[i].boundary != "periodic"))


def factor_layers(operator: EdgeOperator, shift: Array) -> Layers:
    """Factor s - L for a positive `shift` s. **Cost**: 4 n m^3 for n layers of m nodes, and n m^2 numbers; three times
    that on a ring. Not differentiated."""
    operator = jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf, operator)
    i, grid = longest_axis(operator), operator.grid
    axis, d = grid.axes[i], grid.ndim
    n, m = axis.n, grid.size // axis.n
    keep = lambda rates, along: tuple(u if (j == i) == along else jnp.zeros_like(u) for j, u in enumerate(rates))
    part = lambda along, well: EdgeOperator(grid, keep(operator.up, along), keep(operator.down, along), well, None)
    flat = lambda u: jnp.moveaxis(u, i - d + u.ndim, u.ndim - d).reshape(*u.shape[: u.ndim - d], -1, m)
    unit = jnp.eye(m, dtype=operator.up[0].dtype).reshape(m, 1, *[a.n for j, a in enumerate(grid.axes) if j != i])
    unit = jnp.moveaxis(jnp.broadcast_to(unit, (m, n, *unit.shape[2:])), 1, i + 1)
    within = -jnp.transpose(flat(part(False, operator.well).generator(unit)), (1, 2, 0))
    within = within + jnp.eye(m, dtype=unit.dtype) * (shift + flat(part(True, None).exit_rates))[:, None]
    up, down, weights = flat(operator.up[i]), flat(operator.down[i]), jnp.asarray(axis.weights, unit.dtype)[:, None]
    if axis.boundary == "absorbing":
        up, down = up[1:-1], down[1:-1]
    rise, fall = up[: n - 1] / weights[1:], down[: n - 1] / weights[:-1]
    if axis.boundary != "periodic":
        return Layers(_eliminate(within, rise, fall), rise, fall, None, i, grid.shape)
    arrive = jnp.stack([down[-1] / weights[-1], rise[-1]])
    leave = jnp.stack([up[-1] / weights[0], fall[-1]])
    inverses = _eliminate(within[:-1], rise[:-1], fall[:-1])
    place = lambda ends: jnp.zeros_like(inverses).at[0].add(jnp.diag(ends[0])).at[-1].add(jnp.diag(ends[1]))
    spread = _solve(inverses, rise[:-1], fall[:-1], place(leave))
    gather = _solve(jnp.swapaxes(inverses, 1, 2), fall[:-1], rise[:-1], place(arrive))
    pivot = jnp.linalg.inv(within[-1] - arrive[0][:, None] * spread[0] - arrive[1][:, None] * spread[-1])
    return Layers(inverses, rise, fall, (arrive[..., None], leave[..., None], spread, gather, pivot), i, grid.shape)


def _eliminate(within: Array, rise: Array, fall: Array) -> Array:
    def step(inverse: Array, layer: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        own, rise, fall = layer
        inverse = jnp.linalg.inv(own - rise[:, None] * inverse * fall)
        return inverse, inverse

    first = jnp.linalg.inv(within[0])
    return jnp.concatenate([first[None], jax.lax.scan(step, first, (within[1:], rise, fall))[1]])


def _solve(inverses: Array, rise: Array, fall: Array, layers: Array) -> Array:
    """x `(n, m, p)` from b."""

    def forth(y: Array, layer: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        inverse, rise, b = layer
        y = b + rise[:, None] * (inverse @ y)
        return y, y

    def back(x: Array, layer: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        inverse, fall, y = layer
        x = inverse @ (y + fall[:, None] * x)
        return x, x

    y = jnp.concatenate([layers[:1], jax.lax.scan(forth, layers[0], (inverses[:-1], rise, layers[1:]))[1]])
    last = inverses[-1] @ y[-1]
    x = jax.lax.scan(back, last, (inverses[:-1], fall, y[:-1]), reverse=True)[1]
    return jnp.concatenate([x, last[None]])

"""Tridiagonal systems along one axis of a finite-volume operator, factored once and
solved without a subtraction.

    (s - h L_i) x = b,      L_i the part of L along axis i,
    s > 0 the column sums of the matrix (in mass per cell)

All lines of nodes along axis i are independent systems. Each matrix is tridiagonal
(cyclic on a ring) with a positive diagonal d and non-positive couplings -up (to the
node above) and -down (to the node below). Elimination from the first node to the last,
with column sums s' in the place of diagonals,

    d_j = s'_j + up_j,        s'_{j+1} = s_{j+1} + down_j s'_j / d_j,
    y_{j+1} = b_{j+1} + (up_j / d_j) y_j,      x_j = (y_j + down_j x_{j+1}) / d_j,

adds, multiplies and divides non-negative numbers only. So b >= 0 gives x >= 0 exactly,
every entry keeps its relative accuracy whatever h is, and mass and the stationary
density are kept to rounding, where ordinary elimination loses the digits of h |L|. On a
ring the last node is eliminated last; its pivot is a sum of the same kind.

References: Grassmann, Taksar and Heyman, Oper. Res. 33 (1985) 1107; Alfa, Xue and Ye,
Math. Comp. 71 (2002) 217.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..operator import EdgeOperator
from .recurrence import solve_recurrence


class RingCorner(NamedTuple):
    """The last node of a ring against the n - 1 others, whose matrix is T. Each array
    is `(..., n - 1)`, `pivot` is `(...)`.
    """

    to_last: Array  # couplings from the others to the last node
    from_last: Array  # couplings from the last node to the others
    response: Array  # T^{-1} from_last
    transposed_response: Array  # T^{-T} to_last
    pivot: Array  # of the last node, after all others are eliminated


class TridiagonalFactors(eqx.Module):
    """The factors of s - h L_i for all lines along axis i. `factor_tridiagonal` builds
    them.

    Arrays have the axis last; `up` and `down` are the couplings h L_i in mass, and
    `corner` is None unless the axis is a ring.
    """

    weights: Array
    pivots: Array
    up: Array
    down: Array
    corner: RingCorner | None
    axis: int = eqx.field(static=True)  # counted from the end, below zero

    def solve(self, field: Array) -> Array:
        """x from b, `(..., *shape)`: non-negative where b is."""
        load = self.weights * jnp.moveaxis(field, self.axis, -1)  # mass of each cell
        if self.corner is None:
            mass = _eliminate(self.pivots, self.up, self.down, load)
        else:
            corner = self.corner
            others = _eliminate(self.pivots, self.up, self.down, load[..., :-1])
            from_others = jnp.sum(corner.to_last * others, -1)
            last = (load[..., -1] + from_others) / corner.pivot
            others = others + last[..., None] * corner.response
            mass = _append(others, last)
        return jnp.moveaxis(mass / self.weights, -1, self.axis)

    def solve_transposed(self, field: Array) -> Array:
        """The same for the transposed system, in the plain inner product of fields."""
        load = jnp.moveaxis(field, self.axis, -1) / self.weights
        if self.corner is None:
            x = _eliminate_transposed(self.pivots, self.up, self.down, load)
        else:
            corner = self.corner
            load, last_load = load[..., :-1], load[..., -1]
            others = _eliminate_transposed(self.pivots, self.up, self.down, load)
            from_others = jnp.sum(corner.from_last * others, -1)
            last = (last_load + from_others) / corner.pivot
            others = others + last[..., None] * corner.transposed_response
            x = _append(others, last)
        return jnp.moveaxis(self.weights * x, -1, self.axis)


def factor_tridiagonal(
    operator: EdgeOperator,
    i: int,
    h: Array,
    column_sums: Array,
) -> TridiagonalFactors:
    """Factor s - h L_i along axis i, without the potential term; `column_sums` s
    `(*shape)` is positive.

    **Cost**: a recurrence along the axis, and three fields. Not differentiated.
    """
    grid = operator.grid
    axis = grid.axes[i]
    # Derivatives of a solution come from the linear solve around the factors.
    last_axis = lambda u: jnp.moveaxis(jax.lax.stop_gradient(u), i, -1)
    up = last_axis(operator.up[i])
    down = last_axis(operator.down[i])
    h = jax.lax.stop_gradient(h)
    weights = jnp.asarray(axis.weights, up.dtype)
    sums = last_axis(jnp.broadcast_to(column_sums, grid.shape))
    # What a wall absorbs leaves the system, so it is part of the column sum and not a
    # coupling.
    if axis.boundary == "absorbing":
        sums = sums.at[..., 0].add(h * down[..., 0] / weights[0])
        sums = sums.at[..., -1].add(h * up[..., -1] / weights[-1])
        up, down = up[..., 1:-1], down[..., 1:-1]
    if axis.boundary != "periodic":
        up = h * up / weights[:-1]
        down = h * down / weights[1:]
        return TridiagonalFactors(
            weights=weights,
            pivots=_pivots(sums, up, down),
            up=up,
            down=down,
            corner=None,
            axis=i - grid.ndim,
        )
    return _factor_ring(up, down, weights, sums, h, i - grid.ndim)


def _factor_ring(
    up: Array,
    down: Array,
    weights: Array,
    sums: Array,
    h: Array,
    axis: int,
) -> TridiagonalFactors:
    """The factors for a ring: of n - 1 nodes, and the last as a `RingCorner`."""
    # The last face joins the last node, below it, to the first node, above it.
    first_to_last = h * down[..., -1] / weights[0]
    last_to_first = h * up[..., -1] / weights[-1]
    up = h * up[..., :-1] / weights[:-1]
    down = h * down[..., :-1] / weights[1:]

    def at_ends(first: Array, end: Array) -> Array:
        entries = jnp.zeros_like(up).at[..., 0].add(first)
        return entries.at[..., -1].add(end)

    to_last = at_ends(first_to_last, up[..., -1])
    from_last = at_ends(last_to_first, down[..., -1])
    up, down = up[..., :-1], down[..., :-1]
    pivots = _pivots(sums[..., :-1] + to_last, up, down)
    response = _eliminate(pivots, up, down, from_last)
    transposed_response = _eliminate_transposed(pivots, up, down, to_last)
    # The diagonal of the last node minus what comes back from the others cancels. The
    # column sums that its mass meets on its way are the same number as a sum of
    # positive terms.
    pivot = sums[..., -1] + jnp.sum(sums[..., :-1] * response, -1)
    return TridiagonalFactors(
        weights=weights,
        pivots=pivots,
        up=up,
        down=down,
        corner=RingCorner(to_last, from_last, response, transposed_response, pivot),
        axis=axis,
    )


def _pivots(sums: Array, up: Array, down: Array) -> Array:
    """d_j = s'_j + up_j, `(..., n)`."""
    eliminated = jax.lax.platform_dependent(
        sums,
        up,
        down,
        cpu=column_sums_by_scan,
        default=column_sums_by_tree,
    )
    return eliminated + _pad_last(up)


def column_sums_by_scan(sums: Array, up: Array, down: Array) -> Array:
    """The column sums s' `(..., n)` in the course of the elimination, by a loop."""

    def step(
        eliminated: Array,
        entry: tuple[Array, Array, Array],
    ) -> tuple[Array, Array]:
        own, up, down = entry
        # The quotient first: it is at most one, and a product might overflow.
        eliminated = own + down * (eliminated / (eliminated + up))
        return eliminated, eliminated

    axis_first = lambda u: jnp.moveaxis(u, -1, 0)
    later = (axis_first(sums[..., 1:]), axis_first(up), axis_first(down))
    _, eliminated = jax.lax.scan(step, sums[..., 0], later)
    return jnp.concatenate([sums[..., :1], jnp.moveaxis(eliminated, 0, -1)], -1)


def column_sums_by_tree(sums: Array, up: Array, down: Array) -> Array:
    """The same in a tree of depth log2 n, for accelerators.

    The map from s'_j to s'_{j+1} is a quotient of linear forms with positive
    coefficients. Such maps are composed as products of 2 x 2 matrices.
    """
    start, later = sums[..., :1], sums[..., 1:]
    maps = jnp.stack([later + down, later * up, jnp.ones_like(up), up])

    def compose(first: Array, second: Array) -> Array:
        a, b, c, d = second
        e, f, g, k = first
        product = jnp.stack(
            [
                a * e + b * g,
                a * f + b * k,
                c * e + d * g,
                c * f + d * k,
            ]
        )
        # a common factor changes no quotient, and products would overflow
        return product / jnp.max(product, 0)

    scaled = maps / jnp.max(maps, 0)
    a, b, c, d = jax.lax.associative_scan(compose, scaled, axis=-1)
    eliminated = (a * start + b) / (c * start + d)
    return jnp.concatenate([start, eliminated], -1)


def _eliminate(pivots: Array, up: Array, down: Array, load: Array) -> Array:
    """x `(..., n)` from b: forward elimination, then back substitution."""
    forward = _pad_first(up / pivots[..., :-1])
    backward = _pad_last(down / pivots[..., :-1])
    y = solve_recurrence(_like(load, forward), load)
    return solve_recurrence(_like(load, backward), y / pivots, reverse=True)


def _eliminate_transposed(pivots: Array, up: Array, down: Array, load: Array) -> Array:
    """The same for the transpose: `up` and `down` exchanged, the same pivots."""
    return _eliminate(pivots, down, up, load)


def _like(load: Array, factors: Array) -> Array:
    return jnp.broadcast_to(factors, load.shape)


def _pad_first(u: Array) -> Array:
    return jnp.pad(u, [(0, 0)] * (u.ndim - 1) + [(1, 0)])


def _pad_last(u: Array) -> Array:
    return jnp.pad(u, [(0, 0)] * (u.ndim - 1) + [(0, 1)])


def _append(u: Array, last: Array) -> Array:
    return jnp.concatenate([u, last[..., None]], -1)

"""One axis of finite volumes, solved implicitly line by line without a single subtraction.

    (s - h L_i) x = b,      L_i the part of L along axis i,   s > 0 the column sums of the matrix (in mass per cell)

The matrix is tridiagonal (cyclic on a ring) with positive diagonal d and non-positive couplings -rise (to the node
above) and -fall (to the node below). Eliminating upwards and carrying column sums instead of diagonals,

    d_j = s'_j + rise_j,      s'_{j+1} = s_{j+1} + fall_j s'_j / d_j,
    y_{j+1} = b_{j+1} + (rise_j / d_j) y_j,      x_j = (y_j + fall_j x_{j+1}) / d_j,

adds, multiplies and divides non-negative numbers only. So a b >= 0 gives x >= 0 exactly, every entry carries its
relative accuracy whatever h, and mass and the stationary density are kept to rounding where ordinary elimination
loses h |L| digits. On a ring the last node is condensed last; its pivot is a sum of the same kind.

References: Grassmann, Taksar and Heyman, Oper. Res. 33 (1985) 1107; Alfa, Xue and Ye, Math. Comp. 71 (2002) 217.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..operator import EdgeOperator


class Lines(eqx.Module):
    """The factors of s - h L_i along axis i: build them with `factor_lines`; `solve` and `solve_transposed` use them.

    Arrays have the axis last. `corner` is None or, on a ring, what the last node needs.
    """

    weights: Array
    pivots: Array
    rise: Array
    fall: Array
    corner: tuple[Array, ...] | None
    axis: int = eqx.field(static=True)

    def solve(self, field: Array) -> Array:
        """x from b, `(..., *shape)`: non-negative where b is."""
        b = self._inwards(field)
        if self.corner is None:
            return self._outwards(self._up_and_down(b))
        arrive, _, spread, _, pivot = self.corner
        inner = self._up_and_down(b[..., :-1])
        last = (b[..., -1] + jnp.sum(arrive * inner, -1)) / pivot
        return self._outwards(jnp.concatenate([inner + last[..., None] * spread, last[..., None]], -1))

    def solve_transposed(self, field: Array) -> Array:
        """The transposed system in the plain inner product of fields."""
        weights = self.weights
        b = jnp.moveaxis(field, self.axis, -1) / weights
        if self.corner is None:
            x = self._down_and_up(b)
        else:
            _, leave, _, gather, pivot = self.corner
            inner = self._down_and_up(b[..., :-1])
            last = (b[..., -1] + jnp.sum(leave * inner, -1)) / pivot
            x = jnp.concatenate([inner + last[..., None] * gather, last[..., None]], -1)
        return jnp.moveaxis(weights * x, -1, self.axis)

    def _inwards(self, field: Array) -> Array:
        return self.weights * jnp.moveaxis(field, self.axis, -1)

    def _outwards(self, mass: Array) -> Array:
        return jnp.moveaxis(mass / self.weights, -1, self.axis)

    def _up_and_down(self, b: Array) -> Array:
        return _eliminate(self.pivots, self.rise, self.fall, b)

    def _down_and_up(self, b: Array) -> Array:
        return _eliminate_transposed(self.pivots, self.rise, self.fall, b)


def factor_lines(operator: EdgeOperator, i: int, h: Array, excess: Array) -> Lines:
    """Factor `excess` - h L_i along axis i, the well left out; `excess` `(*shape)` is positive.

    **Cost**: a parallel scan along the axis, and three fields. Not differentiated.
    """
    axis, grid = operator.grid.axes[i], operator.grid
    last = lambda u: jnp.moveaxis(jax.lax.stop_gradient(u), i, -1)
    up, down, h = last(operator.up[i]), last(operator.down[i]), jax.lax.stop_gradient(h)
    weights = jnp.asarray(axis.weights, up.dtype)
    sums = last(jnp.broadcast_to(excess, grid.shape))
    edge = lambda u, j: h * u[..., j]
    if axis.boundary == "absorbing":
        sums = sums.at[..., 0].add(edge(down, 0) / weights[0]).at[..., -1].add(edge(up, -1) / weights[-1])
        up, down = up[..., 1:-1], down[..., 1:-1]
    if axis.boundary != "periodic":
        rise, fall = h * up / weights[:-1], h * down / weights[1:]
        return Lines(weights, _pivots(sums, rise, fall), rise, fall, None, i - grid.ndim)
    rise, fall = h * up[..., :-1] / weights[:-1], h * down[..., :-1] / weights[1:]
    back, ahead = edge(down, -1) / weights[0], edge(up, -1) / weights[-1]  # between the first node and the last
    place = lambda first, end: jnp.zeros_like(rise).at[..., 0].add(first).at[..., -1].add(end)
    arrive, leave = place(back, rise[..., -1]), place(ahead, fall[..., -1])
    rise, fall = rise[..., :-1], fall[..., :-1]
    pivots = _pivots(sums[..., :-1] + arrive, rise, fall)
    spread, gather = _eliminate(pivots, rise, fall, leave), _eliminate_transposed(pivots, rise, fall, arrive)
    pivot = sums[..., -1] + jnp.sum(sums[..., :-1] * spread, -1)
    return Lines(weights, pivots, rise, fall, (arrive, leave, spread, gather, pivot), i - grid.ndim)


def _pivots(sums: Array, rise: Array, fall: Array) -> Array:
    """d_j = s'_j + rise_j."""
    carried = jax.lax.platform_dependent(sums, rise, fall, cpu=_sums_in_turn, default=_sums_at_once)
    return carried + _after(rise)


def _sums_in_turn(sums: Array, rise: Array, fall: Array) -> Array:
    def step(carried: Array, links: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        own, rise, fall = links
        carried = own + fall * (carried / (carried + rise))
        return carried, carried

    first = lambda u: jnp.moveaxis(u, -1, 0)
    start, later = sums[..., 0], (first(sums[..., 1:]), first(rise), first(fall))
    return jnp.concatenate([sums[..., :1], jnp.moveaxis(jax.lax.scan(step, start, later)[1], 0, -1)], -1)


def _sums_at_once(sums: Array, rise: Array, fall: Array) -> Array:
    """The map from s'_j to s'_{j+1} is a fraction of positive linear forms: 2 x 2 matrices, multiplied as a tree."""
    start, later = sums[..., :1], sums[..., 1:]
    maps = jnp.stack([later + fall, later * rise, jnp.ones_like(rise), rise])

    def compose(first: Array, then: Array) -> Array:
        a, b, c, d = then
        e, f, g, k = first
        product = jnp.stack([a * e + b * g, a * f + b * k, c * e + d * g, c * f + d * k])
        return product / jnp.max(product, 0)

    a, b, c, d = jax.lax.associative_scan(compose, maps / jnp.max(maps, 0), axis=-1)
    return jnp.concatenate([start, (a * start + b) / (c * start + d)], -1)


def _eliminate(pivots: Array, rise: Array, fall: Array, b: Array) -> Array:
    y = _recur(rise / pivots[..., :-1], b, reverse=False)
    return _recur(fall / pivots[..., :-1], y / pivots, reverse=True)


def _eliminate_transposed(pivots: Array, rise: Array, fall: Array, b: Array) -> Array:
    y = _recur(fall / pivots[..., :-1], b, reverse=False)
    return _recur(rise / pivots[..., :-1], y / pivots, reverse=True)


def _recur(factors: Array, b: Array, reverse: bool) -> Array:
    """x_j = b_j + factor x_{j-1} along the last axis, or x_{j+1} if `reverse`; in turn on a CPU, else as a tree."""
    factors = jnp.broadcast_to(_after(factors) if reverse else _before(factors), b.shape)
    return jax.lax.platform_dependent(
        factors,
        b,
        cpu=lambda factors, b: _in_turn(factors, b, reverse),
        default=lambda factors, b: _at_once(factors, b, reverse),
    )


def _in_turn(factors: Array, b: Array, reverse: bool) -> Array:
    def step(x: Array, link: tuple[Array, Array]) -> tuple[Array, Array]:
        x = link[1] + link[0] * x
        return x, x

    links = (jnp.moveaxis(factors, -1, 0), jnp.moveaxis(b, -1, 0))
    return jnp.moveaxis(jax.lax.scan(step, jnp.zeros_like(b[..., 0]), links, reverse=reverse)[1], 0, -1)


def _at_once(factors: Array, b: Array, reverse: bool) -> Array:
    most = jnp.finfo(b.dtype).max  # a product of many factors may overflow where what it multiplies has vanished

    def compose(first: tuple[Array, Array], then: tuple[Array, Array]) -> tuple[Array, Array]:
        return jnp.minimum(then[0] * first[0], most), then[0] * first[1] + then[1]

    return jax.lax.associative_scan(compose, (factors, b), reverse=reverse, axis=b.ndim - 1)[1]


def _before(u: Array) -> Array:
    return jnp.pad(u, [(0, 0)] * (u.ndim - 1) + [(1, 0)])


def _after(u: Array) -> Array:
    return jnp.pad(u, [(0, 0)] * (u.ndim - 1) + [(0, 1)])

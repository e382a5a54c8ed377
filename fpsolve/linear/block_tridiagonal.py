"""The exact inverse of s - L for finite volumes on a line, a plane or thin boxes: a
block tridiagonal system.

    (s - L) x = b,      x = (x_0, ..., x_{n-1}),  x_j the m nodes of block j across the longest axis

L couples a block to its two neighbours node by node, by diagonal matrices, and the
nodes within a block by B_j:

    S_0 = B_0,     S_{j+1} = B_{j+1} - up_j S_j^{-1} down_j,
    y_{j+1} = b_{j+1} + up_j S_j^{-1} y_j,       x_j = S_j^{-1} (y_j + down_j x_{j+1}).

On a ring the last block is eliminated last. s - L is an M-matrix for s > 0, and so is
each S_j: no pivoting is needed.

Reference: Golub and Van Loan, Matrix Computations (2013), section 4.5.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..operator import EdgeOperator


class RingBlocks(NamedTuple):
    """The last block of a ring against the n - 1 others, whose matrix is T.

    `to_last` and `from_last` `(2, m, 1)` are the couplings of the first and of the last
    of the others.
    """

    to_last: Array  # couplings from the two neighbours to the last block
    from_last: Array  # couplings from the last block to its two neighbours
    response: Array  # T^{-1} from_last, (n - 1, m, m)
    transposed_response: Array  # T^{-T} to_last, (n - 1, m, m)
    inverse_pivot: Array  # (m, m), of the last block after all others are eliminated


class BlockTridiagonalFactors(eqx.Module):
    """The inverse of s - L. `factor_block_tridiagonal` builds it; `solve` applies it."""

    inverses: Array  # S_j^{-1}, (n, m, m), or n - 1 of them on a ring
    up: Array  # couplings from each block to the next, (n - 1, m)
    down: Array  # couplings from each block to the one before, (n - 1, m)
    ring: RingBlocks | None
    axis: int = eqx.field(static=True)  # across which the blocks lie
    shape: tuple[int, ...] = eqx.field(static=True)  # of the grid

    def solve(self, fields: Array) -> Array:
        """(s - L)^{-1} of fields `(p, *shape)`."""
        load = self._to_blocks(fields)
        if self.ring is None:
            return self._to_fields(
                _solve(self.inverses, self.up, self.down, load), fields
            )
        to_last = self.ring.to_last
        others = _solve(self.inverses, self.up[:-1], self.down[:-1], load[:-1])
        last = self.ring.inverse_pivot @ (
            load[-1] + to_last[0] * others[0] + to_last[1] * others[-1]
        )
        blocks = jnp.concatenate([others + self.ring.response @ last, last[None]])
        return self._to_fields(blocks, fields)

    @property
    def transposed(self) -> "BlockTridiagonalFactors":
        """The inverse of the transpose of s - L in the plain inner product of fields."""
        ring = self.ring
        if ring is not None:
            ring = RingBlocks(
                to_last=ring.from_last,
                from_last=ring.to_last,
                response=ring.transposed_response,
                transposed_response=ring.response,
                inverse_pivot=ring.inverse_pivot.T,
            )
        inverses = jnp.swapaxes(self.inverses, 1, 2)
        return BlockTridiagonalFactors(
            inverses, self.down, self.up, ring, self.axis, self.shape
        )

    def _to_blocks(self, fields: Array) -> Array:
        """Fields `(p, *shape)` as columns of blocks, `(n, m, p)`."""
        blocks = jnp.moveaxis(fields, (self.axis + 1, 0), (0, -1))
        return blocks.reshape(len(blocks), -1, len(fields))

    def _to_fields(self, blocks: Array, fields: Array) -> Array:
        shape = jnp.moveaxis(fields, (self.axis + 1, 0), (0, -1)).shape
        return jnp.moveaxis(blocks.reshape(shape), (0, -1), (self.axis + 1, 0))


def longest_axis(operator: EdgeOperator) -> int:
    """The axis across which the blocks lie: the longest, because the cost grows as the
    cube of a block's nodes. Of equally long axes one that is no ring is taken, because
    a ring costs three times as much.
    """
    axes = operator.grid.axes
    return max(
        range(len(axes)), key=lambda i: (axes[i].n, axes[i].boundary != "periodic")
    )


def factor_block_tridiagonal(
    operator: EdgeOperator, shift: Array
) -> BlockTridiagonalFactors:
    """Factor s - L for a positive `shift` s. **Cost**: 4 n m^3 for n blocks of m nodes,
    and n m^2 numbers; three times that on a ring. Not differentiated.
    """
    operator = jax.tree.map(
        lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf,
        operator,
    )
    i, grid = longest_axis(operator), operator.grid
    axis = grid.axes[i]
    within = _blocks_within(operator, i, shift)
    # Couplings between blocks, as entries of -L on densities: the flux across a face
    # over the width of the cell that it enters.
    up = _as_blocks(operator.up[i], i, operator)
    down = _as_blocks(operator.down[i], i, operator)
    weights = jnp.asarray(axis.weights, within.dtype)[:, None]
    if axis.boundary == "absorbing":  # the faces on the walls couple no two blocks
        up, down = up[1:-1], down[1:-1]
    to_next = up[: axis.n - 1] / weights[1:]
    to_previous = down[: axis.n - 1] / weights[:-1]
    if axis.boundary != "periodic":
        inverses = _eliminate(within, to_next, to_previous)
        return BlockTridiagonalFactors(
            inverses, to_next, to_previous, None, i, grid.shape
        )

    # The last face of a ring joins the last block, below it, to the first block, above
    # it.
    to_last = jnp.stack([down[-1] / weights[-1], to_next[-1]])
    from_last = jnp.stack([up[-1] / weights[0], to_previous[-1]])
    inverses = _eliminate(within[:-1], to_next[:-1], to_previous[:-1])

    def at_ends(couplings: Array) -> Array:
        """The couplings of the first and of the last of n - 1 blocks, as columns
        `(n - 1, m, m)`.
        """
        return (
            jnp.zeros_like(inverses)
            .at[0]
            .add(jnp.diag(couplings[0]))
            .at[-1]
            .add(jnp.diag(couplings[1]))
        )

    response = _solve(inverses, to_next[:-1], to_previous[:-1], at_ends(from_last))
    transposed = jnp.swapaxes(inverses, 1, 2)
    transposed_response = _solve(
        transposed, to_previous[:-1], to_next[:-1], at_ends(to_last)
    )
    pivot = (
        within[-1]
        - to_last[0][:, None] * response[0]
        - to_last[1][:, None] * response[-1]
    )
    ring = RingBlocks(
        to_last=to_last[..., None],
        from_last=from_last[..., None],
        response=response,
        transposed_response=transposed_response,
        inverse_pivot=jnp.linalg.inv(pivot),
    )
    return BlockTridiagonalFactors(inverses, to_next, to_previous, ring, i, grid.shape)


def _blocks_within(operator: EdgeOperator, i: int, shift: Array) -> Array:
    """B_j `(n, m, m)`: s - L within each block across axis i, with what leaves the
    block on the diagonal.
    """
    grid = operator.grid
    n, m = grid.axes[i].n, grid.size // grid.axes[i].n

    def part(along: bool, potential_term: Array | None) -> EdgeOperator:
        """The operator with the rates of axis i alone (`along`), or with those of all
        other axes.
        """
        keep = lambda rates: tuple(
            u if (j == i) == along else jnp.zeros_like(u) for j, u in enumerate(rates)
        )
        return EdgeOperator(
            grid, keep(operator.up), keep(operator.down), potential_term, None
        )

    # L of the m unit vectors of a block, for all blocks at once, because without the
    # rates of axis i no block reaches another.
    other_axes = [axis.n for j, axis in enumerate(grid.axes) if j != i]
    unit = jnp.eye(m, dtype=operator.up[0].dtype).reshape(m, 1, *other_axes)
    unit = jnp.moveaxis(jnp.broadcast_to(unit, (m, n, *other_axes)), 1, i + 1)
    images = part(False, operator.potential_term).generator(unit)
    within = -jnp.transpose(_as_blocks(images, i, operator), (1, 2, 0))
    out_rates = _as_blocks(part(True, None).exit_rates, i, operator)
    return within + jnp.eye(m, dtype=unit.dtype) * (shift + out_rates)[:, None]


def _as_blocks(u: Array, i: int, operator: EdgeOperator) -> Array:
    """A field or face values `(..., *shape)` with axis i first and all other axes as
    one: `(..., n, m)`.
    """
    d, m = operator.grid.ndim, operator.grid.size // operator.grid.axes[i].n
    axis_first = jnp.moveaxis(u, i - d + u.ndim, u.ndim - d)
    return axis_first.reshape(*u.shape[: u.ndim - d], -1, m)


def _eliminate(within: Array, up: Array, down: Array) -> Array:
    """S_j^{-1} `(n, m, m)`, block after block."""

    def step(inverse: Array, block: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        own, up, down = block
        inverse = jnp.linalg.inv(own - up[:, None] * inverse * down)
        return inverse, inverse

    first = jnp.linalg.inv(within[0])
    return jnp.concatenate(
        [first[None], jax.lax.scan(step, first, (within[1:], up, down))[1]]
    )


def _solve(inverses: Array, up: Array, down: Array, load: Array) -> Array:
    """x `(n, m, p)` from b: forward elimination, then back substitution."""

    def forward(y: Array, block: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        inverse, up, b = block
        y = b + up[:, None] * (inverse @ y)
        return y, y

    def backward(x: Array, block: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        inverse, down, y = block
        x = inverse @ (y + down[:, None] * x)
        return x, x

    y = jnp.concatenate(
        [load[:1], jax.lax.scan(forward, load[0], (inverses[:-1], up, load[1:]))[1]]
    )
    last = inverses[-1] @ y[-1]
    x = jax.lax.scan(backward, last, (inverses[:-1], down, y[:-1]), reverse=True)[1]
    return jnp.concatenate([x, last[None]])

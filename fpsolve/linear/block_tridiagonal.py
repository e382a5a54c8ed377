"""The exact inverse of s - L for finite volumes on a line, a plane or thin boxes: a
block tridiagonal system.

    (s - L) x = b,      x = (x_0, ..., x_{n-1}),
    x_j the m nodes of block j across the longest axis

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
    """The inverse of s - L, built by `factor_block_tridiagonal`, applied by `solve`."""

    inverses: Array  # S_j^{-1}, (n, m, m), or n - 1 of them on a ring
    up: Array  # couplings from each block to the next, (n - 1, m)
    down: Array  # couplings from each block to the one before, (n - 1, m)
    ring: RingBlocks | None
    axis: int = eqx.field(static=True)  # across which the blocks lie
    shape: tuple[int, ...] = eqx.field(static=True)  # of the grid

    def solve(self, fields: Array) -> Array:
        """(s - L)^{-1} of fields `(p, *shape)`."""
        load = self._to_blocks(fields)
        ring = self.ring
        if ring is None:
            blocks = _solve(self.inverses, self.up, self.down, load)
            return self._to_fields(blocks, fields)
        others = _solve(self.inverses, self.up[:-1], self.down[:-1], load[:-1])
        from_first = ring.to_last[0] * others[0]
        from_end = ring.to_last[1] * others[-1]
        last = ring.inverse_pivot @ (load[-1] + from_first + from_end)
        blocks = jnp.concatenate([others + ring.response @ last, last[None]])
        return self._to_fields(blocks, fields)

    @property
    def transposed(self) -> "BlockTridiagonalFactors":
        """The inverse of (s - L)^T in the plain inner product of fields."""
        ring = self.ring
        if ring is not None:
            ring = RingBlocks(
                to_last=ring.from_last,
                from_last=ring.to_last,
                response=ring.transposed_response,
                transposed_response=ring.response,
                inverse_pivot=ring.inverse_pivot.T,
            )
        return BlockTridiagonalFactors(
            inverses=jnp.swapaxes(self.inverses, 1, 2),
            up=self.down,
            down=self.up,
            ring=ring,
            axis=self.axis,
            shape=self.shape,
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

    def length_and_ends(i: int) -> tuple[int, bool]:
        return axes[i].n, axes[i].boundary != "periodic"

    return max(range(len(axes)), key=length_and_ends)


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
    i = longest_axis(operator)
    grid = operator.grid
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
            inverses=inverses,
            up=to_next,
            down=to_previous,
            ring=None,
            axis=i,
            shape=grid.shape,
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
        first, end = couplings
        columns = jnp.zeros_like(inverses).at[0].add(jnp.diag(first))
        return columns.at[-1].add(jnp.diag(end))

    response = _solve(inverses, to_next[:-1], to_previous[:-1], at_ends(from_last))
    transposed_response = _solve(
        jnp.swapaxes(inverses, 1, 2),
        to_previous[:-1],
        to_next[:-1],
        at_ends(to_last),
    )
    first_to_last, end_to_last = to_last[..., None]
    pivot = within[-1] - first_to_last * response[0] - end_to_last * response[-1]
    ring = RingBlocks(
        to_last=to_last[..., None],
        from_last=from_last[..., None],
        response=response,
        transposed_response=transposed_response,
        inverse_pivot=jnp.linalg.inv(pivot),
    )
    return BlockTridiagonalFactors(
        inverses=inverses,
        up=to_next,
        down=to_previous,
        ring=ring,
        axis=i,
        shape=grid.shape,
    )


def _blocks_within(operator: EdgeOperator, i: int, shift: Array) -> Array:
    """B_j `(n, m, m)`: s - L within each block across axis i, with what leaves the
    block on the diagonal.
    """
    grid = operator.grid
    n = grid.axes[i].n
    m = grid.size // n

    def part(along: bool, potential_term: Array | None) -> EdgeOperator:
        """The operator with the rates of axis i (`along`), or of all others."""

        def keep(rates: tuple[Array, ...]) -> tuple[Array, ...]:
            return tuple(
                u if (j == i) == along else jnp.zeros_like(u)
                for j, u in enumerate(rates)
            )

        up = keep(operator.up)
        down = keep(operator.down)
        return EdgeOperator(grid, up, down, potential_term, None)

    # L of the m unit vectors of a block, for all blocks at once, because without the
    # rates of axis i no block reaches another.
    other_axes = [axis.n for j, axis in enumerate(grid.axes) if j != i]
    unit = jnp.eye(m, dtype=operator.up[0].dtype).reshape(m, 1, *other_axes)
    unit = jnp.moveaxis(jnp.broadcast_to(unit, (m, n, *other_axes)), 1, i + 1)
    images = part(False, operator.potential_term).generator(unit)
    within = -jnp.transpose(_as_blocks(images, i, operator), (1, 2, 0))
    out_rates = _as_blocks(part(True, None).exit_rates, i, operator)
    diagonal = shift + out_rates
    return within + jnp.eye(m, dtype=unit.dtype) * diagonal[:, None]


def _as_blocks(u: Array, i: int, operator: EdgeOperator) -> Array:
    """A field or face values `(..., *shape)` with axis i first and all other axes as
    one: `(..., n, m)`.
    """
    grid = operator.grid
    d = grid.ndim
    m = grid.size // grid.axes[i].n
    axis_first = jnp.moveaxis(u, i - d + u.ndim, u.ndim - d)
    return axis_first.reshape(*u.shape[: u.ndim - d], -1, m)


def _eliminate(within: Array, up: Array, down: Array) -> Array:
    """S_j^{-1} `(n, m, m)`, block after block."""

    def step(inverse: Array, block: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        own, up, down = block
        inverse = jnp.linalg.inv(own - up[:, None] * inverse * down)
        return inverse, inverse

    first = jnp.linalg.inv(within[0])
    _, later = jax.lax.scan(step, first, (within[1:], up, down))
    return jnp.concatenate([first[None], later])


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

    _, later = jax.lax.scan(forward, load[0], (inverses[:-1], up, load[1:]))
    y = jnp.concatenate([load[:1], later])
    last = inverses[-1] @ y[-1]
    _, x = jax.lax.scan(backward, last, (inverses[:-1], down, y[:-1]), reverse=True)
    return jnp.concatenate([x, last[None]])

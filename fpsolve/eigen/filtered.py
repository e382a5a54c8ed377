"""The lowest modes by subspace iteration with a Chebyshev filter: matrix-free, any dimension, clusters come whole.

A block X of more vectors than wanted is multiplied by a polynomial in H that is at most one on [cut, hi] and grows as
fast as a polynomial of its degree can below `cut`, then made orthonormal, then rotated so that X^T H X is diagonal;
`cut` is the highest of the block's own values. The polynomial is the scaled Chebyshev polynomial

    p_d(H) = T_d(Y) / T_d(y_0),    Y = (2 H - hi - cut) / (hi - cut),    y_0 its value at the lowest level.

Reference: Zhou, Saad, Tiago and Chelikowsky, J. Comput. Phys. 219 (2006) 172.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..scheme import Operator

ROUNDS = 100
SHARPNESS = 14.0  # log of the growth asked of the highest wanted mode in one round
DEGREES = (8, 800)


class _State(NamedTuple):
    round: Array
    block: Array
    values: Array
    worst: Array


def filtered_modes(operator: Operator, k: int, tol: Array, dtype: Any) -> Array:
    """The k lowest modes of H, `(k, *shape)`, orthonormal in the grid's weights.

    **Arguments**: `tol`, the residual |H psi - E psi| to reach, in units of energy. **Cost**: about
    SHARPNESS sqrt(hi / separation) block products a round, few rounds. Stops after `ROUNDS`; the caller looks at the
    residuals.
    """
    grid = operator.grid
    size = min(grid.size, k + max(6, k // 2))
    root = jnp.sqrt(grid.weights.astype(dtype))
    highest = operator.bounds[1]
    apply = jax.vmap(lambda u: (root * operator.hamiltonian(u.reshape(grid.shape) / root)).ravel())

    def rotate(block: Array) -> tuple[Array, Array, Array]:
        block = jnp.linalg.qr(block.T)[0].T
        image = apply(block)
        inside = block @ image.T
        values, mix = jnp.linalg.eigh((inside + inside.T) / 2)
        block, image = mix.T @ block, mix.T @ image
        residuals = jnp.linalg.norm(image - values[:, None] * block, axis=1)
        return block, values, jnp.max(residuals[:k])

    def sharpen(state: _State) -> _State:
        lowest, cut = state.values[0], state.values[-1]
        centre, half = (highest + cut) / 2, (highest - cut) / 2
        rate = jnp.arccosh(jnp.maximum(1 + 1e-12, (centre - state.values[k - 1]) / half))
        degree = jnp.clip(jnp.ceil(SHARPNESS / rate), *DEGREES).astype(int)
        first = half / (lowest - centre)

        def step(_: Any, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            before, now, scale = carry
            scale_after = 1 / (2 / first - scale)
            after = 2 * scale_after / half * (apply(now) - centre * now) - scale * scale_after * before
            return now, after, scale_after

        start = (state.block, first / half * (apply(state.block) - centre * state.block), first)
        block, values, worst = rotate(jax.lax.fori_loop(1, degree, step, start)[1])
        return _State(state.round + 1, block, values, worst)

    block = jax.random.normal(jax.random.key(0), (size, grid.size), dtype)
    if operator.log_root is not None:
        block = block.at[0].set((root * jnp.exp(operator.log_root)).ravel())
    start = _State(jnp.zeros((), int), *rotate(block))
    final = jax.lax.while_loop(lambda state: (state.worst > tol) & (state.round < ROUNDS), sharpen, start)
    return final.block[:k].reshape(k, *grid.shape) / root

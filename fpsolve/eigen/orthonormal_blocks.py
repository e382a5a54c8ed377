"""Orthonormal blocks of rows, and sums over long rows a few columns at a time.

    W <- W - (W B^T) B,     G = W W^T = U s U^T,     W <- s^{-1/2} U^T W

and all of it twice, with B orthonormal rows and G of rows of unit length. Directions
whose s is rounding depend on the others and become rows of zeros. It takes products of
matrices only, which every machine is good at, and the eigenvalues of small matrices.

Reference: Stathopoulos and Wu, SIAM J. Sci. Comput. 23 (2002) 2165.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.machine import EXACTLY, on_processor
from .constants import CONSTANTS


def product(a: Array, b: Array) -> Array:
    """a b, its factors not rounded: an accelerator would round them in float32."""
    return jnp.matmul(a, b, precision=EXACTLY)


def orthonormal(block: Array, against: tuple[Array, ...]) -> Array:
    """Orthonormal rows that span those of `block` less their parts along the
    orthonormal rows `against`.

    What depends on the other rows to rounding becomes rows of zeros; they come first.
    Rows of zeros in `against` do not count.
    """

    def orthonormalise(k: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        block, overlaps = state
        block, gram = _projected(block, against, overlaps)
        # The Gram matrix of rows of unit length: its small eigenvalues are those of
        # dependent directions, not of rows that are merely short.
        sizes = jnp.diag(gram)
        nonzero = sizes > 0
        scales = jnp.where(nonzero, jax.lax.rsqrt(jnp.where(nonzero, sizes, 1)), 0)
        unit_gram = scales[:, None] * gram * scales
        squares, turn = jnp.linalg.eigh(unit_gram, symmetrize_input=True)
        # A direction shorter than this is the rounding of sums of len(block) numbers of
        # size one, with a margin.
        eps = jnp.finfo(block.dtype).eps
        rounding = CONSTANTS.dependent_roundings * len(block) * eps
        independent = squares > rounding
        safe_squares = jnp.where(independent, squares, 1)
        lengths = jnp.where(independent, jax.lax.rsqrt(safe_squares), 0)
        mix = lengths[:, None] * (turn.T * scales)
        # The last pass needs no overlaps for another one.
        return _mixed(block, against, mix, k + 1 < CONSTANTS.orthonormal_passes)

    # A loop, not two copies: this is most of what a program of the iteration takes to
    # compile.
    state = (block, block_overlaps(against, block).T)
    return jax.lax.fori_loop(0, CONSTANTS.orthonormal_passes, orthonormalise, state)[0]


def _projected(
    block: Array,
    against: tuple[Array, ...],
    overlaps: Array,
) -> tuple[Array, Array]:
    """`block` less `overlaps` times the rows `against`, and its Gram matrix."""

    def step(
        changed: list[Array],
        fixed: list[Array],
        sums: Array,
    ) -> tuple[list[Array], Array]:
        rest = changed[0] - product(overlaps, jnp.concatenate(fixed))
        return [rest], sums + product(rest, rest.T)

    m = len(block)
    sums = jnp.zeros_like(block, shape=(m, m))
    (block,), gram = _sweep(step, (block,), against, sums)
    return block, gram


def _mixed(
    block: Array,
    against: tuple[Array, ...],
    mix: Array,
    with_overlaps: Array,
) -> tuple[Array, Array]:
    """`mix` times `block`, and its overlaps with the rows `against` where another pass
    needs them.
    """

    def step(
        changed: list[Array],
        fixed: list[Array],
        sums: Array,
    ) -> tuple[list[Array], Array]:
        mixed = product(mix, changed[0])

        def overlaps() -> Array:
            return sums + product(mixed, jnp.concatenate(fixed).T)

        return [mixed], jax.lax.cond(with_overlaps, overlaps, lambda: sums)

    n_against = sum(map(len, against))
    sums = jnp.zeros_like(block, shape=(len(block), n_against))
    (block,), overlaps = _sweep(step, (block,), against, sums)
    return block, overlaps


def combine_blocks(
    mix: Array,
    old: tuple[Array, ...],
    new: tuple[Array, ...],
) -> tuple[Array, ...]:
    """X and P anew from X, P, W by the rows of `mix`, and the same of their images.

    `old` are X, P and their images, `new` are W and its image.
    """
    m = len(old[0])

    def step(
        changed: list[Array],
        fixed: list[Array],
        sums: Array,
    ) -> tuple[list[Array], Array]:
        vectors = product(mix, jnp.concatenate([*changed[:2], fixed[0]]))
        images = product(mix, jnp.concatenate([*changed[2:], fixed[1]]))
        return [vectors[:m], vectors[m:], images[:m], images[m:]], sums

    no_sums = jnp.zeros_like(mix, shape=())
    combined, _ = _sweep(step, old, new, no_sums)
    return combined


def block_overlaps(rows: tuple[Array, ...], block: Array) -> Array:
    """All `rows` times `block`^T."""

    def step(
        _: list[Array],
        fixed: list[Array],
        sums: Array,
    ) -> tuple[list[Array], Array]:
        *row_pieces, piece = fixed
        return [], sums + product(jnp.concatenate(row_pieces), piece.T)

    n_rows = sum(map(len, rows))
    sums = jnp.zeros_like(block, shape=(n_rows, len(block)))
    _, overlaps = _sweep(step, (), (*rows, block), sums)
    return overlaps


# Passes over blocks, a few columns at a time.


def _sweep(
    step: Callable[..., tuple[list[Array], Array]],
    changed: tuple[Array, ...],
    fixed: tuple[Array, ...],
    sums: Array,
) -> tuple[tuple[Array, ...], Array]:
    """Apply `step(changed, fixed, sums)` to all columns of the blocks, piece by piece.

    `step` returns the changed blocks of a piece, and sums to which it has added. A
    piece of all blocks stays in the cache of a processor; an accelerator takes all
    columns at once.
    """
    size = (*changed, *fixed)[0].shape[1]
    width = _piece_width(size) if on_processor() else size

    def sweep_piece(
        start: Array | int,
        count: int,
        state: tuple[tuple[Array, ...], Array],
    ) -> tuple[tuple[Array, ...], Array]:
        blocks, sums = state

        def cut(rows: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(rows, start, count, 1)

        def put(rows: Array, piece: Array) -> Array:
            return jax.lax.dynamic_update_slice_in_dim(rows, piece, start, 1)

        changed_pieces = [cut(rows) for rows in blocks]
        fixed_pieces = [cut(rows) for rows in fixed]
        pieces, sums = step(changed_pieces, fixed_pieces, sums)
        blocks = tuple(map(put, blocks, pieces))
        return blocks, sums

    state = (changed, sums)
    n_pieces = size // width
    if n_pieces > 1:
        state = jax.lax.fori_loop(
            0,
            n_pieces,
            lambda k, state: sweep_piece(k * width, width, state),
            state,
        )
    else:
        # One piece needs no loop, which would only take longer to compile.
        state = sweep_piece(0, width, state)
    remainder = size % width
    if remainder:
        state = sweep_piece(size - remainder, remainder, state)
    return state


def _piece_width(size: int) -> int:
    """How many columns to take at a time: about `CONSTANTS.cache_columns`, and a
    divisor of `size` where there is one, so that no remainder is compiled beside the
    loop.
    """
    count = max(1, size // CONSTANTS.cache_columns)
    # Pieces of half the width still fill the caches well.
    return next(
        (size // n for n in range(count, 2 * count) if size % n == 0),
        CONSTANTS.cache_columns,
    )

"""The lowest levels of a large symmetric matrix: locally optimal block conjugate
gradients with a preconditioner.

    X, E <- the m lowest Ritz pairs of H in span {X, P, W},     W = T (H X - E X),     P: how X changed last

T is a preconditioner, positive and close to the inverse of H - E on the wanted
complement. Everything rests on an orthonormal basis, in which the Ritz values are those
of an ordinary matrix of 3 m rows:

    W   projected on the complement of X and P (and of the known modes) and made orthonormal, all of it twice
    P   S D, with S = (X, P, W), X_new = S C, and D the rows P and W of C made orthonormal to C as small matrices
    directions that depend on the others are dropped: they become rows of zeros, which
    Ritz vectors never use

so that residuals fall to the rounding of H itself, converged vectors do no harm, and
nothing divides by zero.

References: Knyazev, SIAM J. Sci. Comput. 23 (2001) 517; Hetmaniuk and Lehoucq, J.
Comput. Phys. 218 (2006) 324 (the basis); Stathopoulos and Wu, SIAM J. Sci. Comput. 23
(2002) 2165 (orthonormalisation by eigenvalues); Duersch, Shao, Yang and Gu, SIAM J.
Sci. Comput. 40 (2018) C655.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.checks import raise_value_error
from ..core.machine import EXACTLY, on_processor
from ..core.types import DType
from .constants import CONSTANTS


class Pairs(NamedTuple):
    """Ritz pairs, ascending: orthonormal `vectors` `(m, size)`, `images` H of them,
    `values` `(m,)`, `residuals` `(m,)` |H x - E x|, and the `rounds` they took. Those
    beyond the wanted ones are guards, and less accurate.
    """

    vectors: Array
    images: Array
    values: Array
    residuals: Array
    rounds: Array


class _State(NamedTuple):
    """The state between two rounds."""

    pairs: Pairs
    changes: Array  # P
    change_images: Array  # H P
    nonzero_changes: Array  # which rows of P are not zero
    matrix: Array  # (X, P) H (X, P)^T
    best: Array  # the smallest residual that counted as progress
    rounds_since: Array  # rounds since it was reached


def lobpcg(
    action: Callable[[Array], Array],
    precondition: Callable[[Array, Array], Array],
    start: Array,
    wanted: int,
    tol: Array,
    known: Array | None = None,
    rounds: int | None = None,
) -> Pairs:
    """The lowest eigenpairs of a symmetric matrix, as many as `start` has rows.

    **Arguments**: `action`, H on rows `(m, size)`, symmetric in the plain dot product;
    `precondition(residuals (m, size), values (m,))`; `start` `(m, size)`, `wanted` rows
    and some guards, independent or not; `tol`, the residual that the first `wanted`
    must reach, in the units of H; `known` `(j, size)`, orthonormal eigenvectors to be
    left out; `rounds`, the largest number of rounds, `CONSTANTS.lobpcg_rounds` if None.
    **Returns** `Pairs`; it stops after `rounds`, or when the residual has not fallen
    for some rounds (`CONSTANTS.lobpcg_patience`): the caller checks `residuals`.
    **Raises** `ValueError` if there are not that many vectors.

    **Keeps**: orthonormal vectors to rounding; no NaN from finite actions. Not
    differentiated. **Cost**: a round takes one product and one preconditioning of m
    vectors, about 30 m^2 size operations, and eight blocks of memory.

    ```python
    import jax.numpy as jnp
    from fpsolve.eigen.lobpcg import lobpcg

    levels = jnp.arange(1.0, 101.0)
    pairs = lobpcg(
        lambda x: levels * x,
        lambda r, e: r / levels,
        jnp.ones((4, 100)),
        3,
        jnp.asarray(1e-3),
    )
    ```
    """
    m, size = start.shape
    left_out = jnp.zeros((0, size), start.dtype) if known is None else known
    if not 1 <= wanted <= m <= size - len(left_out):
        allowed = (
            f"wanted <= rows of start <= size less known vectors, {m} and "
            f"{size - len(left_out)}"
        )
        raise_value_error(
            "wanted",
            wanted,
            allowed,
            "Ask for fewer levels or start from fewer vectors.",
        )
    rounds = CONSTANTS.lobpcg_rounds if rounds is None else rounds
    return _Iteration(action, precondition, m, wanted, tol, left_out, rounds).run(start)


@dataclasses.dataclass(frozen=True)
class _Iteration:
    """The iteration, with the arguments of `lobpcg`."""

    action: Callable[[Array], Array]
    precondition: Callable[[Array, Array], Array]
    m: int
    wanted: int
    tol: Array
    known: Array
    rounds: int

    def run(self, start: Array) -> Pairs:
        """Rounds until the wanted pairs have converged, started anew
        `CONSTANTS.lobpcg_restarts` times.
        """
        zeros = jnp.zeros_like(start)
        infinite = jnp.full(self.m, jnp.inf, start.dtype)
        state = _State(
            pairs=Pairs(
                _complete(start, self.known),
                zeros,
                infinite,
                infinite,
                jnp.zeros((), int),
            ),
            changes=zeros,
            change_images=zeros,
            nonzero_changes=jnp.zeros(self.m, bool),
            matrix=jnp.zeros((2 * self.m, 2 * self.m), start.dtype),
            best=infinite[0],
            rounds_since=jnp.zeros((), int),
        )
        # Twice: images that were combined round by round have gathered rounding, and
        # residuals are those of new ones. The second start takes no round where these
        # are small enough. A loop, so that one start is compiled.
        return jax.lax.fori_loop(
            0, CONSTANTS.lobpcg_restarts, lambda _, state: self.restart(state), state
        ).pairs

    def restart(self, state: _State) -> _State:
        """Rounds that begin with images computed anew and without changes."""
        pairs = _ritz_pairs(self.action, state.pairs.vectors, state.pairs.rounds)
        zeros = jnp.zeros_like(pairs.vectors)
        matrix = jnp.diag(jnp.append(pairs.values, jnp.zeros(self.m, zeros.dtype)))
        first = _State(
            pairs,
            zeros,
            zeros,
            jnp.zeros(self.m, bool),
            matrix,
            state.best,
            state.rounds_since,
        )
        return jax.lax.while_loop(self.unfinished, self.round, first)

    def unfinished(self, state: _State) -> Array:
        """Whether another round is needed and may help."""
        converged = self.worst(state.pairs.residuals) <= self.tol
        patient = state.rounds_since < CONSTANTS.lobpcg_patience
        return ~converged & (state.pairs.rounds < self.rounds) & patient

    def worst(self, residuals: Array) -> Array:
        """The largest residual of a wanted pair."""
        return jnp.max(residuals[: self.wanted])

    def round(self, state: _State) -> _State:
        """One round: the preconditioned residuals join the basis, and X and P are taken
        from it anew.
        """
        m = self.m
        x, images, values, residuals, count = state.pairs
        p, p_images = state.changes, state.change_images

        # The basis (X, P, W), and H in it: only the rows and columns of W are new.
        w = orthonormal(
            self.precondition(images - values[:, None] * x, values), (x, p, self.known)
        )
        w_images = self.action(w)
        nonzero = jnp.concatenate(
            [jnp.ones(m, bool), state.nonzero_changes, jnp.any(w != 0, axis=1)]
        )
        w_overlaps = _overlaps((x, p, w), w_images)
        matrix = jnp.concatenate([state.matrix, w_overlaps[: 2 * m].T])
        matrix = jnp.concatenate([matrix, w_overlaps], axis=1)

        # Coefficients C of the new X, and D of the new P: the part of C outside the old
        # X, made orthonormal to C.
        x_mix = ritz_rows(matrix, nonzero)[:m]
        p_mix = orthonormal(x_mix.at[:, :m].set(0) * nonzero, (x_mix,)) * nonzero
        mix = jnp.concatenate([x_mix, p_mix])
        x, p, images, p_images = _combined(mix, (x, p, images, p_images), (w, w_images))

        # Quotients of the vectors themselves are more accurate than the Ritz values of
        # the matrix.
        values, residuals = _rayleigh(x, images)
        matrix = product(mix, product(matrix, mix.T)).at[:m, :m].set(jnp.diag(values))

        worst = self.worst(residuals)
        progress = worst < CONSTANTS.lobpcg_progress * state.best
        return _State(
            pairs=Pairs(x, images, values, residuals, count + 1),
            changes=p,
            change_images=p_images,
            nonzero_changes=jnp.any(p_mix != 0, axis=1),
            matrix=matrix,
            best=jnp.where(progress, worst, state.best),
            rounds_since=jnp.where(progress, 0, state.rounds_since + 1),
        )


def scattered(shape: tuple[int, ...], dtype: DType, seed: int | Array = 0) -> Array:
    """Numbers `(m, size)` between -1 and 1 that look random, fixed by `seed`: a start
    that has no symmetry.

    A hash of the index of each (Wellons' lowbias32), instead of `jax.random`, which
    takes 0.4 s to compile.
    """
    rows, columns = (jax.lax.broadcasted_iota(jnp.uint32, shape, i) for i in (0, 1))
    # The odd number nearest to 2^32 / golden ratio sends neighbours far apart (Knuth,
    # vol. 3, section 6.4).
    index = (
        (rows + jnp.asarray(seed, jnp.uint32) * shape[0]) * jnp.uint32(2654435761)
        + columns
        + jnp.uint32(1)
    )
    # The shifts and factors of lowbias32, which were found by search; the last factor
    # leaves the number as it is.
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        index = (index ^ (index >> shift)) * jnp.uint32(factor)
    return index.astype(dtype) / 2**31 - 1


# Orthonormal blocks.


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
        scales = jnp.where(sizes > 0, jax.lax.rsqrt(jnp.where(sizes > 0, sizes, 1)), 0)
        squares, turn = jnp.linalg.eigh(
            scales[:, None] * gram * scales, symmetrize_input=True
        )
        # A direction shorter than this is the rounding of sums of len(block) numbers of
        # size one, with a margin.
        rounding = (
            CONSTANTS.dependent_roundings * len(block) * jnp.finfo(block.dtype).eps
        )
        independent = squares > rounding
        lengths = jnp.where(
            independent, jax.lax.rsqrt(jnp.where(independent, squares, 1)), 0
        )
        mix = lengths[:, None] * (turn.T * scales)
        return _mixed(block, against, mix, k + 1 < CONSTANTS.orthonormal_passes)

    # A loop, not two copies: this is most of what a program of the iteration takes to
    # compile.
    state = (block, _overlaps(against, block).T)
    return jax.lax.fori_loop(0, CONSTANTS.orthonormal_passes, orthonormalise, state)[0]


def _projected(
    block: Array, against: tuple[Array, ...], overlaps: Array
) -> tuple[Array, Array]:
    """`block` less `overlaps` times the rows `against`, and the Gram matrix of the
    result.
    """

    def step(
        changed: list[Array], fixed: list[Array], sums: Array
    ) -> tuple[list[Array], Array]:
        rest = changed[0] - product(overlaps, jnp.concatenate(fixed))
        return [rest], sums + product(rest, rest.T)

    (block,), gram = _sweep(
        step, (block,), against, jnp.zeros_like(block, shape=2 * (len(block),))
    )
    return block, gram


def _mixed(
    block: Array, against: tuple[Array, ...], mix: Array, with_overlaps: Array
) -> tuple[Array, Array]:
    """`mix` times `block`, and its overlaps with the rows `against` where another pass
    needs them.
    """

    def step(
        changed: list[Array], fixed: list[Array], sums: Array
    ) -> tuple[list[Array], Array]:
        mixed = product(mix, changed[0])

        def overlaps() -> Array:
            return sums + product(mixed, jnp.concatenate(fixed).T)

        return [mixed], jax.lax.cond(with_overlaps, overlaps, lambda: sums)

    sums = jnp.zeros_like(block, shape=(len(block), sum(map(len, against))))
    (block,), overlaps = _sweep(step, (block,), against, sums)
    return block, overlaps


def _combined(
    mix: Array, old: tuple[Array, ...], new: tuple[Array, ...]
) -> tuple[Array, ...]:
    """X and P anew from X, P, W by the rows of `mix`, and the same of their images.

    `old` are X, P and their images, `new` are W and its image.
    """
    m = len(old[0])

    def step(
        changed: list[Array], fixed: list[Array], sums: Array
    ) -> tuple[list[Array], Array]:
        vectors = product(mix, jnp.concatenate([*changed[:2], fixed[0]]))
        images = product(mix, jnp.concatenate([*changed[2:], fixed[1]]))
        return [vectors[:m], vectors[m:], images[:m], images[m:]], sums

    return _sweep(step, old, new, jnp.zeros_like(mix, shape=()))[0]


def _overlaps(rows: tuple[Array, ...], block: Array) -> Array:
    """All `rows` times `block`^T."""

    def step(
        _: list[Array], fixed: list[Array], sums: Array
    ) -> tuple[list[Array], Array]:
        return [], sums + product(jnp.concatenate(fixed[:-1]), fixed[-1].T)

    return _sweep(
        step,
        (),
        (*rows, block),
        jnp.zeros_like(block, shape=(sum(map(len, rows)), len(block))),
    )[1]


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
        start: Array | int, count: int, state: tuple[tuple[Array, ...], Array]
    ) -> tuple[tuple[Array, ...], Array]:
        blocks, sums = state

        def cut(rows: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(rows, start, count, 1)

        pieces, sums = step([cut(u) for u in blocks], [cut(u) for u in fixed], sums)
        put = jax.lax.dynamic_update_slice_in_dim
        return tuple(
            put(u, v, start, 1) for u, v in zip(blocks, pieces, strict=True)
        ), sums

    state = (changed, sums)
    if size // width > 1:
        state = jax.lax.fori_loop(
            0,
            size // width,
            lambda k, state: sweep_piece(k * width, width, state),
            state,
        )
    else:
        state = sweep_piece(0, width, state)
    remainder = size % width
    return sweep_piece(size - remainder, remainder, state) if remainder else state


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


# Starts and Ritz pairs.


def _complete(start: Array, left_out: Array) -> Array:
    """The start made orthonormal, with random vectors in place of those that depend on
    others.
    """

    def attempt(state: tuple[Array, Array]) -> tuple[Array, Array]:
        block, count = state
        noise = scattered(start.shape, start.dtype, count)
        lost = jnp.all(block == 0, axis=1)
        return orthonormal(
            jnp.where(lost[:, None], noise, block), (left_out,)
        ), count + 1

    def incomplete(state: tuple[Array, Array]) -> Array:
        block, count = state
        return (count == 0) | (
            jnp.any(jnp.all(block == 0, axis=1)) & (count < CONSTANTS.start_attempts)
        )

    return jax.lax.while_loop(incomplete, attempt, (start, jnp.zeros((), int)))[0]


def _ritz_pairs(action: Callable[[Array], Array], block: Array, rounds: Array) -> Pairs:
    """The Ritz pairs of the rows of `block`, their images computed anew."""
    images = action(block)
    mix = ritz_rows(_overlaps((block,), images), jnp.ones(len(block), bool))
    block = product(mix, block)
    images = product(mix, images)
    return Pairs(block, images, *_rayleigh(block, images), rounds)


def ritz_rows(matrix: Array, nonzero: Array) -> Array:
    """Rows of coefficients of all Ritz vectors, ascending, those of basis vectors that
    are zero last.
    """
    matrix = jnp.where(nonzero[:, None] & nonzero, matrix, 0)
    # A diagonal entry above all eigenvalues (Gershgorin) sends a zero basis vector
    # behind the others.
    above = 2 * jnp.max(jnp.sum(jnp.abs(matrix), axis=1))
    above = jnp.where(above > 0, above, 1)
    return jnp.linalg.eigh(
        matrix + jnp.diag(jnp.where(nonzero, 0, above)), symmetrize_input=True
    )[1].T


def _rayleigh(block: Array, images: Array) -> tuple[Array, Array]:
    """The Rayleigh quotient of each row, and the norm of its residual."""
    values = jnp.sum(block * images, axis=1)
    return values, jnp.linalg.norm(images - values[:, None] * block, axis=1)


def product(a: Array, b: Array) -> Array:
    """a b, its factors not rounded: an accelerator would round them in float32."""
    return jnp.matmul(a, b, precision=EXACTLY)

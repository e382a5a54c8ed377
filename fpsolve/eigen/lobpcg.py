"""The lowest levels of a large symmetric matrix: locally optimal block conjugate
gradients with a preconditioner.

    X, E <- the m lowest Ritz pairs of H in span {X, P, W},
    W = T (H X - E X),     P: how X changed last

T is a preconditioner, positive and close to the inverse of H - E on the wanted
complement. Everything rests on an orthonormal basis, in which the Ritz values are those
of an ordinary matrix of 3 m rows:

    W   projected on the complement of X and P (and of the known modes) and made
        orthonormal, all of it twice
    P   S D, with S = (X, P, W), X_new = S C, and D the rows P and W of C made
        orthonormal to C as small matrices
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
from ..core.types import DType
from .constants import CONSTANTS
from .orthonormal_blocks import block_overlaps, combine_blocks, orthonormal, product


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
    # No known vectors are a block without rows, so that one code serves both.
    left_out = jnp.zeros((0, size), start.dtype) if known is None else known
    n_free = size - len(left_out)
    if not 1 <= wanted <= m <= n_free:
        raise_value_error(
            "wanted",
            wanted,
            f"wanted <= rows of start <= size less known vectors, {m} and {n_free}",
            "Ask for fewer levels or start from fewer vectors.",
        )
    rounds = CONSTANTS.lobpcg_rounds if rounds is None else rounds
    iteration = _Iteration(
        action=action,
        precondition=precondition,
        m=m,
        wanted=wanted,
        tol=tol,
        known=left_out,
        rounds=rounds,
    )
    return iteration.run(start)


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
        """Rounds until convergence, `CONSTANTS.lobpcg_restarts` times."""
        zeros = jnp.zeros_like(start)
        infinite = jnp.full(self.m, jnp.inf, start.dtype)
        unsolved = Pairs(
            vectors=_complete(start, self.known),
            images=zeros,
            values=infinite,
            residuals=infinite,
            rounds=jnp.zeros((), int),
        )
        state = _State(
            pairs=unsolved,
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
        end = jax.lax.fori_loop(
            0,
            CONSTANTS.lobpcg_restarts,
            lambda _, state: self.restart(state),
            state,
        )
        return end.pairs

    def restart(self, state: _State) -> _State:
        """Rounds that begin with images computed anew and without changes."""
        pairs = _ritz_pairs(self.action, state.pairs.vectors, state.pairs.rounds)
        zeros = jnp.zeros_like(pairs.vectors)
        # Ritz vectors are orthonormal, so that H is diagonal in them; P is zero.
        diagonal = jnp.append(pairs.values, jnp.zeros(self.m, zeros.dtype))
        first = _State(
            pairs=pairs,
            changes=zeros,
            change_images=zeros,
            nonzero_changes=jnp.zeros(self.m, bool),
            matrix=jnp.diag(diagonal),
            best=state.best,
            rounds_since=state.rounds_since,
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
        """Add the preconditioned residuals to the basis, and take X and P from it."""
        m = self.m
        x, images, values, residuals, count = state.pairs
        p = state.changes
        p_images = state.change_images

        # The basis (X, P, W), and H in it: only the rows and columns of W are new.
        rest = images - values[:, None] * x
        w = orthonormal(self.precondition(rest, values), (x, p, self.known))
        w_images = self.action(w)
        nonzero_w = jnp.any(w != 0, axis=1)
        nonzero = jnp.concatenate([jnp.ones(m, bool), state.nonzero_changes, nonzero_w])
        w_overlaps = block_overlaps((x, p, w), w_images)
        matrix = jnp.concatenate([state.matrix, w_overlaps[: 2 * m].T])
        matrix = jnp.concatenate([matrix, w_overlaps], axis=1)

        # Coefficients C of the new X, and D of the new P: the part of C outside the old
        # X, made orthonormal to C.
        x_mix = ritz_rows(matrix, nonzero)[:m]
        outside = x_mix.at[:, :m].set(0) * nonzero
        p_mix = orthonormal(outside, (x_mix,)) * nonzero
        mix = jnp.concatenate([x_mix, p_mix])
        old = (x, p, images, p_images)
        x, p, images, p_images = combine_blocks(mix, old, (w, w_images))

        # Quotients of the vectors themselves are more accurate than the Ritz values of
        # the matrix.
        values, residuals = _rayleigh(x, images)
        matrix = product(mix, product(matrix, mix.T))
        matrix = matrix.at[:m, :m].set(jnp.diag(values))

        worst = self.worst(residuals)
        # Compared with the last progress, not with the last round: slow falls add up.
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
    rows = jax.lax.broadcasted_iota(jnp.uint32, shape, 0)
    columns = jax.lax.broadcasted_iota(jnp.uint32, shape, 1)
    # Another seed continues with other rows.
    rows = rows + jnp.asarray(seed, jnp.uint32) * shape[0]
    # The odd number nearest to 2^32 / golden ratio sends neighbours far apart (Knuth,
    # vol. 3, section 6.4).
    index = rows * jnp.uint32(2654435761) + columns + jnp.uint32(1)
    # The shifts and factors of lowbias32, which were found by search; the last factor
    # leaves the number as it is.
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        index = (index ^ (index >> shift)) * jnp.uint32(factor)
    return index.astype(dtype) / 2**31 - 1


def _complete(start: Array, left_out: Array) -> Array:
    """The start made orthonormal, with random vectors in place of dependent ones."""

    def attempt(state: tuple[Array, Array]) -> tuple[Array, Array]:
        block, count = state
        noise = scattered(start.shape, start.dtype, count)
        lost = jnp.all(block == 0, axis=1)
        filled = jnp.where(lost[:, None], noise, block)
        return orthonormal(filled, (left_out,)), count + 1

    def incomplete(state: tuple[Array, Array]) -> Array:
        block, count = state
        any_lost = jnp.any(jnp.all(block == 0, axis=1))
        # The first attempt is always made: it makes the start orthonormal.
        return (count == 0) | (any_lost & (count < CONSTANTS.start_attempts))

    first = (start, jnp.zeros((), int))
    return jax.lax.while_loop(incomplete, attempt, first)[0]


def _ritz_pairs(action: Callable[[Array], Array], block: Array, rounds: Array) -> Pairs:
    """The Ritz pairs of the rows of `block`, their images computed anew."""
    images = action(block)
    matrix = block_overlaps((block,), images)
    mix = ritz_rows(matrix, jnp.ones(len(block), bool))
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
    shifted = matrix + jnp.diag(jnp.where(nonzero, 0, above))
    _, vectors = jnp.linalg.eigh(shifted, symmetrize_input=True)
    return vectors.T


def _rayleigh(block: Array, images: Array) -> tuple[Array, Array]:
    """The Rayleigh quotient of each row, and the norm of its residual."""
    values = jnp.sum(block * images, axis=1)
    residuals = images - values[:, None] * block
    return values, jnp.linalg.norm(residuals, axis=1)

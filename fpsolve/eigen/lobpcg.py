"""The lowest levels of a large symmetric matrix: locally optimal block conjugate gradients with a preconditioner.

    X, E <- the m lowest Ritz pairs of H in span {X, P, W},     W = T (H X - E X),     P: how X changed last

T is a preconditioner, positive and close to the inverse of H - E on what is left. Everything rests on an orthonormal
basis, in which the Ritz values are those of an ordinary matrix of 3 m rows:

    W   projected on the complement of X and P (and of the known modes) and made orthonormal, all of it twice
    P   S D, with S = (X, P, W), X_new = S C, and D the rows P and W of C made orthonormal to C as small matrices
    directions that depend on the others are dropped: they become rows of zeros, which Ritz vectors never use

so that residuals fall to the rounding of H itself, converged vectors do no harm, and nothing divides by zero.

References: Knyazev, SIAM J. Sci. Comput. 23 (2001) 517; Hetmaniuk and Lehoucq, J. Comput. Phys. 218 (2006) 324 (the
basis); Stathopoulos and Wu, SIAM J. Sci. Comput. 23 (2002) 2165 (orthonormalisation by eigenvalues); Duersch, Shao,
Yang and Gu, SIAM J. Sci. Comput. 40 (2018) C655.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.checks import raise_value_error
from ..core.machine import EXACTLY, on_processor

ROUNDS = 500
PIECE = 2048  # columns: 24 rows of them are 400 kB, which the caches of a core hold
PATIENCE = 25  # rounds in which the residual must fall by a tenth
PASSES = 2  # of an orthonormalisation: one leaves sqrt(eps) of nearly dependent rows, two leave eps (Stathopoulos, Wu)
RESTARTS = 2  # from images computed anew
ATTEMPTS = 3  # to complete a start: one mends all but a random vector that depends on others, which has no chance


class Pairs(NamedTuple):
    """Ritz pairs, ascending: orthonormal `vectors` `(m, size)`, `images` H of them, `values` `(m,)`, `residuals`
    `(m,)` |H x - E x|, and the `rounds` they took. Those beyond the wanted ones are guards, and less accurate."""

    vectors: Array
    images: Array
    values: Array
    residuals: Array
    rounds: Array


class _State(NamedTuple):
    pairs: Pairs
    changes: Array  # P
    change_images: Array
    kept: Array  # which rows of P are not zero
    inside: Array  # (X, P) H (X, P)^T
    best: Array  # the least residual so far, in steps of a tenth
    since: Array  # rounds since it was reached


def lobpcg(
    action: Callable[[Array], Array],
    precondition: Callable[[Array, Array], Array],
    start: Array,
    wanted: int | Array,
    tol: Array,
    known: Array | None = None,
    rounds: int | Array = ROUNDS,
) -> Pairs:
    """The lowest eigenpairs of a symmetric matrix, as many as `start` has rows.

    **Arguments**: `action`, H on rows `(m, size)`, symmetric in the plain dot product; `precondition(residuals (m,
    size), values (m,))`; `start` `(m, size)`, `wanted` rows and some guards, independent or not; `tol`, the residual
    that the first `wanted` must reach, in the units of H; `known` `(j, size)`, orthonormal eigenvectors to be left
    out; `rounds`, at most (`wanted` and `rounds` may be traced). **Returns** `Pairs`; it stops after `rounds`, or when
    the residual has not fallen for `PATIENCE` rounds: the caller looks at `residuals`. **Raises** `ValueError` if there
    are not that many vectors.

    **Keeps**: orthonormal vectors to rounding; no NaN from finite actions. Not differentiated. **Cost**: a round
    takes one product and one preconditioning of m vectors, about 30 m^2 size operations, and eight blocks of memory.

    ```python
    import jax.numpy as jnp
    from fpsolve.eigen.lobpcg import lobpcg

    levels = jnp.arange(1.0, 101.0)
    pairs = lobpcg(lambda x: levels * x, lambda r, e: r / levels, jnp.ones((4, 100)), 3, jnp.asarray(1e-3))
    ```
    """
    m, size = start.shape
    left_out = jnp.zeros((0, size), start.dtype) if known is None else known
    if not (m <= size - len(left_out) and (isinstance(wanted, Array) or 1 <= wanted <= m)):
        allowed = f"wanted <= rows of start <= size less known vectors, {m} and {size - len(left_out)}"
        raise_value_error("wanted", wanted, allowed, "Ask for fewer levels or start from fewer vectors.")

    largest = lambda residuals: jnp.max(jnp.where(jnp.arange(m) < wanted, residuals, 0))

    def round_(state: _State) -> _State:
        x, images, values, residuals, count = state.pairs
        p, p_images = state.changes, state.change_images
        w = orthonormal(precondition(images - values[:, None] * x, values), (x, p, left_out))
        w_images = action(w)
        kept = jnp.concatenate([jnp.ones(m, bool), state.kept, jnp.any(w != 0, axis=1)])
        beside = _overlaps((x, p, w), w_images)
        inside = jnp.concatenate([state.inside, beside[: 2 * m].T])
        inside = jnp.concatenate([inside, beside], axis=1)
        mix = _ritz(inside, kept)[:m]
        turn = orthonormal(mix.at[:, :m].set(0) * kept, (mix,)) * kept
        both = jnp.concatenate([mix, turn])
        x, p, images, p_images = _combined(both, (x, p, images, p_images), (w, w_images))
        values, residuals = _rayleigh(x, images)
        inside = _product(both, _product(inside, both.T)).at[:m, :m].set(jnp.diag(values))
        worst = largest(residuals)
        fell = worst < 0.9 * state.best
        since, best = jnp.where(fell, 0, state.since + 1), jnp.where(fell, worst, state.best)
        pairs = Pairs(x, images, values, residuals, count + 1)
        return _State(pairs, p, p_images, jnp.any(turn != 0, axis=1), inside, best, since)

    def unfinished(state: _State) -> Array:
        pairs = state.pairs
        enough = largest(pairs.residuals) <= tol
        return ~enough & (pairs.rounds < rounds) & (state.since < PATIENCE)

    nothing = jnp.zeros_like(start)

    def restarted(_: Any, state: _State) -> _State:
        """Rounds that begin with images computed anew and without changes."""
        pairs = _pairs(action, state.pairs.vectors, state.pairs.rounds)
        inside = jnp.diag(jnp.append(pairs.values, jnp.zeros(m, start.dtype)))
        first = _State(pairs, nothing, nothing, jnp.zeros(m, bool), inside, state.best, state.since)
        return jax.lax.while_loop(unfinished, round_, first)

    zero, infinite = jnp.zeros((), int), jnp.full(m, jnp.inf, start.dtype)
    pairs = Pairs(_complete(start, left_out), nothing, infinite, infinite, zero)
    state = _State(
        pairs, nothing, nothing, jnp.zeros(m, bool), jnp.zeros((2 * m, 2 * m), start.dtype), infinite[0], zero
    )
    # Twice: images that were combined round by round have gathered rounding, and residuals are those of new ones. The
    # second time takes no round where these are small enough.
    return jax.lax.fori_loop(0, RESTARTS, restarted, state).pairs


def scattered(shape: tuple[int, ...], dtype: Any, seed: int | Array = 0) -> Array:
    """Numbers `(m, size)` between -1 and 1 that look random, fixed by `seed`: a start that knows no symmetry.

    A hash of the index of each (Wellons' lowbias32), instead of `jax.random`, which takes 0.4 s to compile.
    """
    rows, columns = (jax.lax.broadcasted_iota(jnp.uint32, shape, i) for i in (0, 1))
    # The odd number nearest to 2^32 / golden ratio sends neighbours far apart (Knuth, vol. 3, section 6.4).
    index = (rows + jnp.asarray(seed, jnp.uint32) * shape[0]) * jnp.uint32(2654435761) + columns + jnp.uint32(1)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        index = (index ^ (index >> shift)) * jnp.uint32(factor)
    return index.astype(dtype) / 2**31 - 1


def orthonormal(block: Array, against: tuple[Array, ...]) -> Array:
    """Orthonormal rows that span those of `block` less their parts along the orthonormal rows `against`.

    What depends on the other rows to rounding becomes rows of zeros; they come first. Rows of zeros in `against` are
    of no account.
    """

    def once(k: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        block, overlaps = _projected(state[0], against, state[1])
        sizes = jnp.diag(overlaps)
        scales = jnp.where(sizes > 0, jax.lax.rsqrt(jnp.where(sizes > 0, sizes, 1)), 0)
        sizes, turn = jnp.linalg.eigh(scales[:, None] * overlaps * scales, symmetrize_input=True)
        # A direction shorter than this is the rounding of 64 (a margin) sums of len(block) numbers of size one.
        kept = sizes > 64 * len(block) * jnp.finfo(block.dtype).eps
        mix = jnp.where(kept, jax.lax.rsqrt(jnp.where(kept, sizes, 1)), 0)[:, None] * (turn.T * scales)
        return _turned(block, against, mix, k + 1 < PASSES)

    # A loop, not two copies: this is most of what a program of the iteration takes to compile.
    return jax.lax.fori_loop(0, PASSES, once, (block, _overlaps(against, block).T))[0]


def _projected(block: Array, against: tuple[Array, ...], shares: Array) -> tuple[Array, Array]:
    """`block` less `shares` of the rows `against`, and the overlaps of what is left."""

    def step(changed: list[Array], fixed: list[Array], sums: Array) -> tuple[list[Array], Array]:
        left = changed[0] - _product(shares, jnp.concatenate(fixed))
        return [left], sums + _product(left, left.T)

    (block,), overlaps = _sweep(step, (block,), against, jnp.zeros_like(block, shape=2 * (len(block),)))
    return block, overlaps


def _turned(block: Array, against: tuple[Array, ...], mix: Array, again: Array) -> tuple[Array, Array]:
    """`mix` times `block`, and where it is needed `again` its overlaps with the rows `against`."""

    def step(changed: list[Array], fixed: list[Array], sums: Array) -> tuple[list[Array], Array]:
        turned = _product(mix, changed[0])
        overlaps = lambda: sums + _product(turned, jnp.concatenate(fixed).T)
        return [turned], jax.lax.cond(again, overlaps, lambda: sums)

    sums = jnp.zeros_like(block, shape=(len(block), sum(map(len, against))))
    (block,), shares = _sweep(step, (block,), against, sums)
    return block, shares


def _combined(both: Array, old: tuple[Array, ...], new: tuple[Array, ...]) -> tuple[Array, ...]:
    """X and P anew from X, P, W by the rows of `both`, and the same of their images."""
    m = len(old[0])

    def step(changed: list[Array], fixed: list[Array], sums: Array) -> tuple[list[Array], Array]:
        vectors = _product(both, jnp.concatenate([*changed[:2], fixed[0]]))
        images = _product(both, jnp.concatenate([*changed[2:], fixed[1]]))
        return [vectors[:m], vectors[m:], images[:m], images[m:]], sums

    return _sweep(step, old, new, jnp.zeros_like(both, shape=()))[0]


def _overlaps(rows: tuple[Array, ...], block: Array) -> Array:
    """All `rows` times `block`^T."""

    def step(_: list[Array], fixed: list[Array], sums: Array) -> tuple[list[Array], Array]:
        return [], sums + _product(jnp.concatenate(fixed[:-1]), fixed[-1].T)

    return _sweep(step, (), (*rows, block), jnp.zeros_like(block, shape=(sum(map(len, rows)), len(block))))[1]


def _sweep(
    step: Callable[..., tuple[list[Array], Array]], changed: tuple[Array, ...], fixed: tuple[Array, ...], sums: Array
) -> tuple[tuple[Array, ...], Array]:
    """Change some blocks, with others beside them, and add up, piece by piece of their columns.

    A piece of all blocks stays in the cache of a processor; an accelerator takes all columns at once.
    """
    size = (*changed, *fixed)[0].shape[1]
    piece = _piece(size) if on_processor() else size

    def part(start: Array | int, count: int, state: tuple[tuple[Array, ...], Array]) -> tuple[tuple[Array, ...], Array]:
        cut = lambda rows: jax.lax.dynamic_slice_in_dim(rows, start, count, 1)
        parts, sums = step([cut(u) for u in state[0]], [cut(u) for u in fixed], state[1])
        put = jax.lax.dynamic_update_slice_in_dim
        return tuple(put(u, v, start, 1) for u, v in zip(state[0], parts, strict=True)), sums

    state = (changed, sums)
    if size // piece > 1:
        state = jax.lax.fori_loop(0, size // piece, lambda k, state: part(k * piece, piece, state), state)
    else:
        state = part(0, piece, state)
    return part(size - size % piece, size % piece, state) if size % piece else state


def _piece(size: int) -> int:
    """How many columns to take at a time: about `PIECE`, and a divisor of `size` where there is one, so that no
    remainder is compiled beside the loop."""
    count = max(1, size // PIECE)
    return next((size // n for n in range(count, 2 * count) if size % n == 0), PIECE)


def _complete(start: Array, left_out: Array) -> Array:
    """The start made orthonormal, random vectors in the place of those that depend on others."""

    def attempt(state: tuple[Array, Array]) -> tuple[Array, Array]:
        block, count = state
        noise = scattered(start.shape, start.dtype, count)
        lost = jnp.all(block == 0, axis=1)
        return orthonormal(jnp.where(lost[:, None], noise, block), (left_out,)), count + 1

    def incomplete(state: tuple[Array, Array]) -> Array:
        block, count = state
        return (count == 0) | (jnp.any(jnp.all(block == 0, axis=1)) & (count < ATTEMPTS))

    return jax.lax.while_loop(incomplete, attempt, (start, jnp.zeros((), int)))[0]


def _pairs(action: Callable[[Array], Array], block: Array, rounds: Array) -> Pairs:
    """The Ritz pairs of the rows of `block`, their images computed anew."""
    images = action(block)
    mix = _ritz(_overlaps((block,), images), jnp.ones(len(block), bool))
    block, images = _product(mix, block), _product(mix, images)
    return Pairs(block, images, *_rayleigh(block, images), rounds)


def _ritz(matrix: Array, kept: Array) -> Array:
    """Rows of coefficients of all Ritz vectors, ascending, those of basis vectors that are zero last."""
    matrix = jnp.where(kept[:, None] & kept, matrix, 0)
    above = 2 * jnp.max(jnp.sum(jnp.abs(matrix), axis=1)) + 1
    return jnp.linalg.eigh(matrix + jnp.diag(jnp.where(kept, 0, above)), symmetrize_input=True)[1].T


def _rayleigh(block: Array, images: Array) -> tuple[Array, Array]:
    values = jnp.sum(block * images, axis=1)
    return values, jnp.linalg.norm(images - values[:, None] * block, axis=1)


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=EXACTLY)

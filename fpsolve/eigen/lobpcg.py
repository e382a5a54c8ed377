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
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.checks import refuse

ROUNDS = 500
PIECE = 2048  # points
PATIENCE = 25  # rounds in which the residual must fall by a tenth
EXACTLY = jax.lax.Precision.HIGHEST  # no accelerator may round the factors


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
    wanted: int,
    tol: Array,
    known: Array | None = None,
    rounds: int = ROUNDS,
) -> Pairs:
    """The lowest eigenpairs of a symmetric matrix, as many as `start` has rows.

    **Arguments**: `action`, H on rows `(m, size)`, symmetric in the plain dot product; `precondition(residuals (m,
    size), values (m,))`; `start` `(m, size)`, `wanted` rows and some guards, independent or not; `tol`, the residual
    that the first `wanted` must reach, in the units of H; `known` `(j, size)`, orthonormal eigenvectors to be left
    out. **Returns** `Pairs`; it stops after `rounds`, or when the residual has not fallen for `PATIENCE` rounds: the
    caller looks at `residuals`. **Raises** `ValueError` if there are not that many vectors.

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
    if not 1 <= wanted <= m <= size - len(left_out):
        allowed = f"wanted <= rows of start <= size less known vectors, {m} and {size - len(left_out)}"
        refuse("wanted", wanted, allowed, "Ask for fewer levels or start from fewer vectors.")

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
        worst = jnp.max(residuals[:wanted])
        fell = worst < 0.9 * state.best
        since, best = jnp.where(fell, 0, state.since + 1), jnp.where(fell, worst, state.best)
        pairs = Pairs(x, images, values, residuals, count + 1)
        return _State(pairs, p, p_images, jnp.any(turn != 0, axis=1), inside, best, since)

    def unfinished(state: _State) -> Array:
        pairs = state.pairs
        enough = jnp.max(pairs.residuals[:wanted]) <= tol
        return ~enough & (pairs.rounds < rounds) & (state.since < PATIENCE)

    zero, nothing = jnp.zeros((), int), jnp.zeros_like(start)
    pairs = _pairs(action, _complete(start, left_out), zero)
    inside = jnp.diag(jnp.append(pairs.values, jnp.zeros(m, start.dtype)))
    best = jnp.asarray(jnp.inf, start.dtype)
    first = _State(pairs, nothing, nothing, jnp.zeros(m, bool), inside, best, zero)
    final = jax.lax.while_loop(unfinished, round_, first).pairs
    return _pairs(action, final.vectors, final.rounds)


def orthonormal(block: Array, against: tuple[Array, ...]) -> Array:
    """Orthonormal rows that span those of `block` less their parts along the orthonormal rows `against`.

    What depends on the other rows to rounding becomes rows of zeros; they come first. Rows of zeros in `against` are
    of no account.
    """
    shares = _overlaps(against, block).T
    for last in (False, True):
        block, overlaps = _projected(block, against, shares)
        sizes = jnp.diag(overlaps)
        scales = jnp.where(sizes > 0, jax.lax.rsqrt(jnp.where(sizes > 0, sizes, 1)), 0)
        sizes, turn = jnp.linalg.eigh(scales[:, None] * overlaps * scales, symmetrize_input=True)
        kept = sizes > 64 * len(block) * jnp.finfo(block.dtype).eps
        mix = jnp.where(kept, jax.lax.rsqrt(jnp.where(kept, sizes, 1)), 0)[:, None] * (turn.T * scales)
        block, shares = _turned(block, () if last else against, mix)
    return block


def _projected(block: Array, against: tuple[Array, ...], shares: Array) -> tuple[Array, Array]:
    """`block` less `shares` of the rows `against`, and the overlaps of what is left."""

    def step(changed: list[Array], fixed: list[Array], sums: Array) -> tuple[list[Array], Array]:
        left = changed[0] - _product(shares, jnp.concatenate(fixed))
        return [left], sums + _product(left, left.T)

    (block,), overlaps = _sweep(step, (block,), against, jnp.zeros_like(block, shape=2 * (len(block),)))
    return block, overlaps


def _turned(block: Array, against: tuple[Array, ...], mix: Array) -> tuple[Array, Array]:
    """`mix` times `block`, and its overlaps with the rows `against`."""

    def step(changed: list[Array], fixed: list[Array], sums: Array) -> tuple[list[Array], Array]:
        turned = _product(mix, changed[0])
        return [turned], sums + _product(turned, jnp.concatenate(fixed).T) if fixed else sums

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
    piece = min(size, PIECE) if jax.default_backend() == "cpu" else size

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


def _complete(start: Array, left_out: Array) -> Array:
    """The start made orthonormal, random vectors in the place of those that depend on others."""
    block = orthonormal(start, (left_out,))
    lost = ~jnp.any(block != 0, axis=1)

    def mended(block: Array) -> Array:
        noise = jax.random.normal(jax.random.key(0), start.shape, start.dtype)
        spare = orthonormal(noise, (block, left_out))[::-1]
        return orthonormal(jnp.where(lost[:, None], spare, block), (left_out,))

    return jax.lax.cond(jnp.any(lost), mended, lambda block: block, block)


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

"""The slowest modes of a large process by block Davidson iteration with an inverse, exact or near, of s - L.

    M ~ (s - L)^{-1},   K = M (s - L),   M x = mu K x,   lambda = 1/mu - s,
    V = orthonormal basis,   (V^T M V) y = mu (V^T K V) y,   x = V y,   V <- [V, M x - mu K x]

and from time to time V starts anew from its slowest modes, and s from the largest |lambda| wanted. With the exact
inverse K = 1 and V is a block Krylov space. The rates with Re lambda < a are those with mu outside a disc, so that a
polynomial in M singles them out; it does so best at s = |lambda|: a smaller shift would prefer rates by modulus, and a
larger one would hardly tell them apart. A block that is larger than what is wanted lets clusters come whole.

References: Morgan and Scott, SIAM J. Sci. Stat. Comput. 7 (1986) 817; Stathopoulos and Wu, SIAM J. Sci. Comput. 23
(2002) 2165 (orthonormal bases from products only); Saad, Numerical Methods for Large Eigenvalue Problems (2011), 8.4.
"""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

ROUNDS = 60
BLOCKS = 4
DRIFT = 2.0  # factor between the shift and the rates at which s - L is factored anew


class Slow(eqx.Module):
    """What the iteration asks of a process; rows are real fields `(p, size)`. `exact` says whether M is the inverse."""

    exact: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def factor(self, shift: Array) -> Any:
        """M at this shift s: a module to be called with rows."""

    @abc.abstractmethod
    def shifted(self, shift: Array, rows: Array) -> Array:
        """(s - L) rows; asked for only where M is not exact."""


class Modes(NamedTuple):
    """`rates` `(p,)`, `vectors` `(p, size)` of unit norm and `residuals` |L x + lambda x| `(p,)`, slowest first."""

    rates: Array
    vectors: Array
    residuals: Array


class _Space(NamedTuple):
    """An orthonormal basis V, `(q p, size)`, zero where it is not filled yet, with M V and, unless M is exact,
    (s - L) V and K V."""

    basis: Array
    inverted: Array
    shifted: Array | None
    near: Array | None


class _State(NamedTuple):
    round: Array
    shift: Array
    inverse: Any
    modes: Modes
    worst: Array
    before: Array


def slow_subspace(
    problem: Slow,
    start: Array,
    shift: Array,
    goal: Callable[[Array], Array],
    floor: Array,
    wanted: int,
    order: Callable[[Array], Array],
) -> tuple[Modes, Array]:
    """The `len(start)` slowest modes, and the last shift.

    **Arguments**: `start` `(p, size)`; the residuals of the first `wanted` are to reach `goal(rates)`, or to stop
    falling once below `floor`; `order(rates)` sorts.
    """
    p, size = start.shape
    blocks = max(1, min(BLOCKS, size // p))
    tiny = jnp.finfo(start.dtype).tiny

    def extend(k: Array, carry: tuple[_Space, Modes, Array], inverse: Any, shift: Array) -> Any:
        space, _, rows = carry
        rows = _orthonormal(rows, space.basis)
        shifted = None if problem.exact else problem.shifted(shift, rows)
        near = None if shifted is None else inverse(shifted)
        new = _Space(rows, inverse(rows), shifted, near)
        space = jax.tree.map(lambda old, new: jax.lax.dynamic_update_slice(old, new, (k * p, k * 0)), space, new)
        return space, *ritz(space, shift)

    def ritz(space: _Space, shift: Array) -> tuple[Modes, Array]:
        basis, inverted, shifted, near = space
        matrix = basis @ inverted.T
        if near is not None:
            empty = jnp.diag((jnp.sum(basis**2, 1) < 0.5).astype(basis.dtype))
            matrix = jnp.linalg.solve(basis @ near.T + empty, matrix)
        values, mixes = jnp.linalg.eig(matrix)
        sizes = jnp.abs(values)
        held = sizes > jnp.finfo(basis.dtype).eps * jnp.max(sizes)
        rates = 1 / jnp.where(held, values, 1) - shift
        possible = held & (rates.real > -shift / 2)  # no rate of a process is negative: others come from a value near 0
        far = jnp.max(jnp.where(possible, jnp.abs(rates), 0))
        chosen = order(jnp.where(possible, rates, 2 * far + shift - sizes * shift))[:p]
        values, rates, mixes = values[chosen], rates[chosen], mixes[:, chosen].T
        if near is None or shifted is None:  # x = M V y is as good as V y, and smoother
            vectors, images = mixes @ inverted, mixes @ basis
            step = vectors - values[:, None] * images
        else:
            vectors, images = mixes @ basis, mixes @ shifted
            step = mixes @ inverted - values[:, None] * (mixes @ near)
        norms = jnp.linalg.norm(vectors, axis=1)[:, None] + tiny
        rest = (images - vectors * (rates + shift)[:, None]) / norms
        return Modes(rates, vectors / norms, jnp.linalg.norm(rest, axis=1)), _real(rates, step)

    def worst(modes: Modes) -> Array:
        return jnp.max((modes.residuals / goal(modes.rates))[:wanted])

    def unfinished(state: _State) -> Array:
        low = jnp.max(state.modes.residuals[:wanted]) <= floor
        stalled = low & (state.worst > state.before / 2)
        return (state.round < ROUNDS) & (state.worst > 1) & ~stalled

    def again(state: _State) -> _State:
        target = jnp.max(jnp.abs(state.modes.rates[:wanted]))
        ratio = target / state.shift
        turn = (state.round == 0) | (ratio > DRIFT) | (ratio < 1 / DRIFT)
        shift = jnp.where(turn & (target > 0), target, state.shift)
        inverse = jax.lax.cond(turn, lambda s: problem.factor(s), lambda _: state.inverse, shift)
        empty = jnp.zeros((blocks * p, size), start.dtype)
        more = None if problem.exact else empty
        carry = (_Space(empty, empty, more, more), state.modes, _real(state.modes.rates, state.modes.vectors))
        _, modes, _ = jax.lax.fori_loop(0, blocks, lambda k, carry: extend(k, carry, inverse, shift), carry)
        return _State(state.round + 1, shift, inverse, modes, worst(modes), state.worst)

    none = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(lambda: problem.factor(shift)))
    lift = lambda u: jax.lax.complex(u, jnp.zeros_like(u))
    modes = Modes(lift(jnp.zeros_like(start[:, 0])), lift(start), jnp.full_like(start[:, 0], jnp.inf))
    never = jnp.full_like(shift, jnp.inf)
    end = jax.lax.while_loop(unfinished, again, _State(jnp.zeros((), int), shift, none, modes, never, never))
    return end.modes, end.shift


def _real(rates: Array, rows: Array) -> Array:
    """Real rows that span what conjugate pairs of rows span: the real part of the one, the imaginary of the other."""
    return jnp.where(rates.imag[:, None] < 0, rows.imag, rows.real)


def _orthonormal(rows: Array, basis: Array) -> Array:
    """Rows orthonormal to each other and to the `basis`; zero where they would depend on what is there."""
    epsilon = jnp.finfo(rows.dtype).eps
    for _ in range(2):
        rows = rows - (rows @ basis.T) @ basis
        sizes = jnp.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows / jnp.where(sizes > 0, sizes, 1)
        values, mixes = jnp.linalg.eigh(rows @ rows.T)
        held = values > epsilon**0.75 * values[-1]
        rows = (mixes * jnp.where(held, 1 / jnp.sqrt(jnp.where(held, values, 1)), 0)).T @ rows
    return rows

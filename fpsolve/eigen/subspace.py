"""The slowest modes of a large process by block Davidson iteration with an inverse,
exact or approximate, of s - L.

    M ~ (s - L)^{-1},   K = M (s - L),   M x = mu K x,   lambda = 1/mu - s,
    V = orthonormal basis,   (V^T M V) y = mu (V^T K V) y,   x = V y,
    V <- [V, M x - mu K x]

After a few blocks V is restarted from its slowest modes, and s from the largest
|lambda| wanted. With the exact inverse K = 1, and V is a block Krylov space. The rates
with Re lambda < a are those with mu outside a disc, so that a polynomial in M separates
them from the others. It does so best at s = |lambda|: a smaller shift would prefer
rates by modulus, and with a larger one all mu would be nearly equal. The block is
larger than what is wanted, so that clusters of rates are found whole.

References: Morgan and Scott, SIAM J. Sci. Stat. Comput. 7 (1986) 817; Stathopoulos and
Wu, SIAM J. Sci. Comput. 23 (2002) 2165 (orthonormal bases from products only); Saad,
Numerical Methods for Large Eigenvalue Problems (2011), 8.4.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .constants import CONSTANTS


class ResolventProblem(eqx.Module):
    """The operator L as the iteration uses it. Rows are real fields `(p, size)`;
    `exact` says whether M is the inverse of s - L or only close to it.
    """

    exact: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def factor(self, shift: Array) -> Callable[[Array], Array]:
        """M at this shift s: a module that is called with rows."""

    @abc.abstractmethod
    def shifted(self, shift: Array, rows: Array) -> Array:
        """(s - L) rows; used only where M is not exact."""


class Modes(NamedTuple):
    """`rates` `(p,)`, `vectors` `(p, size)` of unit norm and `residuals` |L x + lambda
    x| `(p,)`, slowest first.
    """

    rates: Array
    vectors: Array
    residuals: Array


class _InexactImages(NamedTuple):
    """Images of the basis that are needed where M is not the exact inverse: (s - L) V
    and K V, `(q p, size)`.
    """

    shifted: Array
    preconditioned: Array


class _Space(NamedTuple):
    """An orthonormal basis V `(q p, size)`, whose rows are zero where it is not filled
    yet, and M V.
    """

    basis: Array
    inverted: Array
    inexact: _InexactImages | None


class _RitzValues(NamedTuple):
    """The p slowest Ritz values: `mu` `(p,)` of the pencil (M, K), `rates` `(p,)`, and
    the coefficients `mixes` `(p, q p)` of their vectors in the basis.
    """

    mu: Array
    rates: Array
    mixes: Array


class _Growth(NamedTuple):
    """The state of the loop over blocks: the space so far, its slowest modes, and the
    rows to add next.
    """

    space: _Space
    modes: Modes
    new_rows: Array


class _State(NamedTuple):
    """The state of the loop over rounds. `worst` is the largest residual of a wanted
    mode in units of its tolerance, `worst_before` the same one round earlier.
    """

    round: Array
    shift: Array
    inverse: Callable[[Array], Array]
    modes: Modes
    worst: Array
    worst_before: Array


def slow_subspace(
    problem: ResolventProblem,
    start: Array,
    shift: Array,
    residual_tol: Callable[[Array], Array],
    rounding: Array,
    wanted: int,
    order: Callable[[Array], Array],
) -> tuple[Modes, Array]:
    """The `len(start)` slowest modes, and the last shift.

    **Arguments**: `start` `(p, size)`; the iteration stops when the residuals of the
    first `wanted` modes are at most `residual_tol(rates)`, or when they are below
    `rounding` and no longer fall; `order(rates)` is the permutation that sorts rates,
    slowest first.
    """
    n_vectors, size = start.shape
    iteration = _Davidson(
        problem=problem,
        residual_tol=residual_tol,
        rounding=rounding,
        wanted=wanted,
        order=order,
        n_vectors=n_vectors,
        size=size,
    )
    return iteration.run(start, shift)


@dataclasses.dataclass(frozen=True)
class _Davidson:
    """The iteration, with the arguments of `slow_subspace`. The methods stand in the
    order of the calls.
    """

    problem: ResolventProblem
    residual_tol: Callable[[Array], Array]
    rounding: Array
    wanted: int
    order: Callable[[Array], Array]
    n_vectors: int  # p
    size: int

    @property
    def n_blocks(self) -> int:
        """How many blocks the basis holds: no more than there are dimensions."""
        return max(1, min(CONSTANTS.subspace_blocks, self.size // self.n_vectors))

    def run(self, start: Array, shift: Array) -> tuple[Modes, Array]:
        """Rounds from `start` until they have converged."""
        # The loop needs an M of the right shapes before the first one is factored: it
        # holds zeros, and is not used.
        shapes = jax.eval_shape(lambda: self.problem.factor(shift))
        zeros = lambda leaf: jnp.zeros(leaf.shape, leaf.dtype)
        no_inverse = jax.tree.map(zeros, shapes)
        # Modes are complex throughout the loop, although the start is real.
        modes = Modes(
            rates=_complex(jnp.zeros_like(start[:, 0])),
            vectors=_complex(start),
            residuals=jnp.full_like(start[:, 0], jnp.inf),
        )
        infinite = jnp.full_like(shift, jnp.inf)
        state = _State(
            round=jnp.zeros((), int),
            shift=shift,
            inverse=no_inverse,
            modes=modes,
            worst=infinite,
            worst_before=infinite,
        )
        end = jax.lax.while_loop(self.unfinished, self.round, state)
        return end.modes, end.shift

    def unfinished(self, state: _State) -> Array:
        """Whether another round is needed."""
        # Residuals at the level of rounding count as stalled when a round does not
        # halve them.
        residuals = state.modes.residuals[: self.wanted]
        at_rounding = jnp.max(residuals) <= self.rounding
        stalled = at_rounding & (state.worst > state.worst_before / 2)
        allowed = state.round < CONSTANTS.subspace_rounds
        return allowed & (state.worst > 1) & ~stalled

    def round(self, state: _State) -> _State:
        """Choose the shift, then build a basis from the last modes, block by block."""
        shift, inverse = self.choose_shift(state)
        n_rows = self.n_blocks * self.n_vectors
        empty = jnp.zeros((n_rows, self.size), state.modes.residuals.dtype)
        inexact = None if self.problem.exact else _InexactImages(empty, empty)
        first_rows = _real_span(state.modes.rates, state.modes.vectors)
        growth = _Growth(_Space(empty, empty, inexact), state.modes, first_rows)
        # A loop, not a copy for each block: the eigenvalue problem is compiled once.
        extend = lambda k, growth: self.extend(k, growth, inverse, shift)
        modes = jax.lax.fori_loop(0, self.n_blocks, extend, growth).modes
        excess = modes.residuals / self.residual_tol(modes.rates)
        return _State(
            round=state.round + 1,
            shift=shift,
            inverse=inverse,
            modes=modes,
            worst=jnp.max(excess[: self.wanted]),
            worst_before=state.worst,
        )

    def choose_shift(self, state: _State) -> tuple[Array, Callable[[Array], Array]]:
        """The shift of this round, and M at it. M is factored anew only when the rates
        have left the shift behind.
        """
        target = jnp.max(jnp.abs(state.modes.rates[: self.wanted]))
        ratio = target / state.shift
        stale = (ratio > CONSTANTS.shift_ratio) | (ratio < 1 / CONSTANTS.shift_ratio)
        refactor = (state.round == 0) | stale
        # All wanted rates may be zero, as those of the start are: then the shift stays,
        # because s must be positive.
        shift = jnp.where(refactor & (target > 0), target, state.shift)
        inverse = jax.lax.cond(
            refactor,
            lambda s: self.problem.factor(s),
            lambda _: state.inverse,
            shift,
        )
        return shift, inverse

    def extend(
        self,
        k: Array,
        growth: _Growth,
        inverse: Callable[[Array], Array],
        shift: Array,
    ) -> _Growth:
        """Add the new rows as block k of the basis, and take the slowest modes."""
        rows = _orthonormal(growth.new_rows, growth.space.basis)
        if self.problem.exact:
            inexact = None
        else:
            shifted = self.problem.shifted(shift, rows)
            inexact = _InexactImages(shifted, inverse(shifted))
        block = _Space(rows, inverse(rows), inexact)

        # Both indices are to have the type of the loop's counter.
        first = (k * self.n_vectors, k * 0)

        def put(old: Array, new: Array) -> Array:
            return jax.lax.dynamic_update_slice(old, new, first)

        space = jax.tree.map(put, growth.space, block)
        modes, step = self.ritz_modes(space, shift)
        return _Growth(space, modes, step)

    def ritz_modes(self, space: _Space, shift: Array) -> tuple[Modes, Array]:
        """The slowest modes in a space, and the rows M x - mu K x by which it grows."""
        mu, rates, mixes = self.ritz_values(space, shift)
        if space.inexact is None:
            # x = M V y is as good a vector as V y, and smoother. (s - L) x is then V y
            # itself.
            vectors = mixes @ space.inverted
            images = mixes @ space.basis
            step = vectors - mu[:, None] * images
        else:
            vectors = mixes @ space.basis
            images = mixes @ space.inexact.shifted
            preconditioned = mixes @ space.inexact.preconditioned
            step = mixes @ space.inverted - mu[:, None] * preconditioned
        # Vectors may be zero while the basis is not filled: `tiny` keeps the quotient
        # finite.
        tiny = jnp.finfo(space.basis.dtype).tiny
        norms = jnp.linalg.norm(vectors, axis=1)[:, None] + tiny
        rest = (images - vectors * (rates + shift)[:, None]) / norms
        modes = Modes(
            rates=rates,
            vectors=vectors / norms,
            residuals=jnp.linalg.norm(rest, axis=1),
        )
        return modes, _real_span(rates, step)

    def ritz_values(self, space: _Space, shift: Array) -> _RitzValues:
        """The p slowest Ritz values of the pencil (M, K) in a space."""
        basis, inexact = space.basis, space.inexact
        matrix = basis @ space.inverted.T
        if inexact is not None:
            # Rows of the basis that are not filled get a one on the diagonal of V^T K
            # V, so that it can be inverted.
            empty = jnp.sum(basis**2, 1) < 0.5
            ones = jnp.diag(empty.astype(basis.dtype))
            preconditioned = basis @ inexact.preconditioned.T + ones
            matrix = jnp.linalg.solve(preconditioned, matrix)
        mu, mixes = jnp.linalg.eig(matrix)

        # Ritz values mu of the size of rounding belong to empty rows, and give no rate.
        sizes = jnp.abs(mu)
        usable = sizes > jnp.finfo(basis.dtype).eps * jnp.max(sizes)
        rates = 1 / jnp.where(usable, mu, 1) - shift
        # The rates of a process are not negative. A rate near -s comes from a mu that
        # only the projection made.
        possible = usable & (rates.real > -shift / 2)
        # The others go behind all possible rates, those with the larger |mu| first.
        largest = jnp.max(jnp.where(possible, jnp.abs(rates), 0))
        sorted_by = jnp.where(possible, rates, 2 * largest + shift - sizes * shift)
        chosen = self.order(sorted_by)[: self.n_vectors]
        return _RitzValues(mu[chosen], rates[chosen], mixes[:, chosen].T)


def _complex(values: Array) -> Array:
    """Real values as complex ones."""
    return jax.lax.complex(values, jnp.zeros_like(values))


def _real_span(rates: Array, rows: Array) -> Array:
    """Real rows with the same span as conjugate pairs of rows: the real part for one,
    the imaginary for the other.
    """
    return jnp.where(rates.imag[:, None] < 0, rows.imag, rows.real)


def _orthonormal(rows: Array, basis: Array) -> Array:
    """Rows made orthonormal to each other and to the `basis`; zero where they depend on
    rows that are there.
    """
    epsilon = jnp.finfo(rows.dtype).eps
    # Two passes: the first leaves sqrt(eps) of nearly dependent rows, the second eps
    # (Stathopoulos and Wu).
    for _ in range(CONSTANTS.orthonormal_passes):
        rows = rows - (rows @ basis.T) @ basis
        sizes = jnp.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows / jnp.where(sizes > 0, sizes, 1)
        # Products of matrices only, which accelerators are good at; dependent
        # directions have eigenvalues near zero.
        values, mixes = jnp.linalg.eigh(rows @ rows.T)
        independent = values > epsilon**CONSTANTS.dependent_exponent * values[-1]
        safe_values = jnp.where(independent, values, 1)
        scales = jnp.where(independent, 1 / jnp.sqrt(safe_values), 0)
        rows = (mixes * scales).T @ rows
    return rows

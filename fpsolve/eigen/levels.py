"""From approximate modes to levels with errors: Rayleigh quotients, through the factor where a level is small.

    E = <psi, H psi> / |psi|^2      or, from H = A^T A,      E = |A psi|^2 / |psi|^2,     A (psi_1, ...) = U Sigma W^T

in the complement of sqrt(pi), which is known. A quotient errs by the square of its vector; an eigenvalue of H by
eps |H| besides, and a singular value of A by eps |A|, so that a level as small as eps^2 |H| keeps digits through A.
On finite volumes and through factors both are one operator, and A is always taken; where H holds the exact well, A is
another discretisation of the same accuracy, and is taken when the digits of H do not suffice.

The derivative of <psi, H psi> is that of Hellmann and Feynman, with psi held fast. That of |A psi|^2 holds f = psi /
sqrt(pi) fast, |A psi|^2 = D int pi |grad f|^2: every term of it is as small as E itself.

With residuals r_n = |H psi_n - E_n psi_n|, any run of neighbouring levels whose span holds E_n gives a bound (Kato and
Temple for one level, Parlett for several): the sum of r^2 over the run, divided by the distance of E_n from the next
level on either side of it. The best run is taken, so that a close pair costs nothing.

References: Golub and Van Loan, Matrix Computations (2013), section 8.6; Parlett, The Symmetric Eigenvalue Problem
(1998), section 11.7; theorem T4 of this library.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..operator import EdgeOperator, Operator, TensorOperator

SAME = 1e-6  # levels that differ by less of the larger one are taken for one
ROUNDINGS = 8  # of size eps |H| (or eps |A|), that a quotient is taken to gather at most (a free choice)
DIGITS = 1e-8  # the rounding that a level through H may have


class Levels(NamedTuple):
    """`values` `(m,)` ascending, `vectors` `(m, *shape)` of unit norm in the grid's weights, `residuals` and `errors`
    `(m,)`, the `rounding` in those, and `multiplicities` `(m,)`: how many of the m levels agree with each."""

    values: Array
    vectors: Array
    residuals: Array
    errors: Array
    rounding: Array
    multiplicities: Array


def levels(operator: Operator, factored: Operator | None, waves: Array) -> Levels:
    """The levels that the span of `waves` `(m, *shape)` holds.

    **Arguments**: `operator`, H; `factored`, the process as A^T A, or None to take all levels through H; `waves`,
    nearly orthonormal in the grid's weights. Where sqrt(pi) is a state, it is the first of the levels, which is zero,
    and its error what this grid makes of it. **Returns** `Levels`; the values are differentiated, nothing else is.
    **Cost**: m products with A, twice as many with H, and 4 m^2 operations a face.
    """
    if factored is None:
        return _completed(operator, *_through_hamiltonian(operator, waves))
    if operator.is_factored or len(waves) == 1:
        return levels_through_factor(operator, factored, waves)
    plain = _through_hamiltonian(operator, waves)
    # Whether A is needed depends on numbers, which a traced program alone can see.
    found = jax.lax.cond(
        lacks_digits(plain[0], plain[2]), lambda: _through_factor(operator, factored, waves), lambda: plain
    )
    return _completed(operator, *found)


def levels_through_factor(operator: Operator, factored: Operator, waves: Array) -> Levels:
    """The same, all levels as squares of singular values of A."""
    return _completed(operator, *_through_factor(operator, factored, waves))


Found: TypeAlias = tuple[Array, Array, Array]  # values, vectors, rounding


def _through_hamiltonian(operator: Operator, waves: Array) -> Found:
    values, vectors = _by_hamiltonian(operator, _stopped(operator), waves)
    return values, vectors, ROUNDINGS * jnp.finfo(waves.dtype).eps * _highest(operator) * jnp.ones_like(values)


def _through_factor(operator: Operator, factored: Operator, waves: Array) -> Found:
    values, vectors = _by_factor(factored, _ground(operator), waves)
    size, highest = jax.lax.stop_gradient(jnp.abs(values)), _highest(operator)
    eps = ROUNDINGS * jnp.finfo(waves.dtype).eps
    return values, vectors, 2 * eps * jnp.sqrt(size * highest) + eps**2 * highest


def _highest(operator: Operator) -> Array:
    return jnp.max(jnp.abs(jnp.stack(_stopped(operator).bounds)))


def _completed(operator: Operator, values: Array, vectors: Array, rounding: Array) -> Levels:
    """Levels with residuals, errors and multiplicities."""
    frozen, above = _stopped(operator), 0 if _ground(operator) is None else 1
    vectors, fixed = jax.lax.stop_gradient(_signed(vectors)), jax.lax.stop_gradient(values)
    misses = jax.vmap(frozen.hamiltonian)(vectors) - fixed[(..., *[None] * operator.grid.ndim)] * vectors
    residuals = jnp.sqrt(operator.grid.integrate(misses**2))
    complete = len(fixed) == operator.grid.size
    errors, same = jnp.abs(fixed), jnp.ones(len(fixed), int)
    if len(fixed) > above:  # what is orthogonal to sqrt(pi) is not taken for it, however near its level
        errors = errors.at[above:].set(_bounds(fixed[above:], residuals[above:], complete))
        same = same.at[above:].set(_agree(fixed[above:], rounding[above:]))
    return Levels(values.at[:above].set(0), vectors, residuals, errors + rounding, rounding, same)


def lacks_digits(values: Array, rounding: Array) -> Array:
    """Whether rounding leaves the second level less than eight digits."""
    return jax.lax.stop_gradient(values[1]) < rounding[1] / DIGITS


def _by_hamiltonian(operator: Operator, frozen: Operator, waves: Array) -> tuple[Array, Array]:
    """Values and vectors in the span of the waves."""
    rows, upright = _flat(operator, waves)
    rows = _orthonormal(rows)
    images, _ = _flat(operator, jax.vmap(frozen.hamiltonian)(upright(rows)))
    inside = rows @ images.T
    vectors = jax.lax.stop_gradient(upright(jnp.linalg.eigh((inside + inside.T) / 2)[1].T @ rows))
    integrate = operator.grid.integrate
    values = integrate(vectors * jax.vmap(operator.hamiltonian)(vectors)) / integrate(vectors**2)
    return values, vectors


def _by_factor(factored: Operator, ground: Array | None, waves: Array) -> tuple[Array, Array]:
    """Values and vectors in the span of the waves, sqrt(pi) the first of them where it is a state."""
    rows, upright = _flat(factored, waves)
    root = fixed = jnp.zeros((0, rows.shape[1]), rows.dtype)
    if ground is not None:
        root = _flat(factored, ground[None])[0]
        root = root / jnp.linalg.norm(root)
        fixed = jax.lax.stop_gradient(root)
        rows = _mirrored(rows, fixed[0])[1:]
        rows = rows - (rows @ fixed.T) @ fixed
    if len(rows):
        rows = _orthonormal(rows)
        rows = jnp.linalg.svd(_triangle(amplitudes(_stopped(factored), upright(rows))))[2][::-1] @ rows
    rows = jax.lax.stop_gradient(rows)
    if ground is not None:
        sizes = jnp.maximum(fixed, jnp.finfo(fixed.dtype).tiny)
        moved = rows * (1 + (root - fixed) / sizes)  # f held fast, to first order
        rows = jnp.concatenate([root, moved - (moved @ root.T) @ root])
    values = jnp.sum(amplitudes(factored, upright(rows)) ** 2, axis=1) / jnp.sum(rows**2, axis=1)
    return values, upright(rows)


def _flat(operator: Operator, fields: Array) -> tuple[Array, Callable[[Array], Array]]:
    """Fields times the roots of the weights as rows, and the way back."""
    root = jnp.sqrt(operator.grid.weights).astype(fields.dtype)
    return (fields * root).reshape(len(fields), -1), lambda rows: rows.reshape(-1, *root.shape) / root


def _orthonormal(rows: Array) -> Array:
    """Nearly orthonormal rows made so."""
    return jax.scipy.linalg.solve_triangular(_triangle(rows), rows, trans="T")


def amplitudes(factored: Operator, waves: Array) -> Array:
    """A psi on all faces, times the roots of their weights, `(m, faces)`: |A psi|^2 is the sum of the squares."""
    assert isinstance(factored, EdgeOperator | TensorOperator)
    rows = []
    for i, values in enumerate(factored.factor(waves)):
        weights = jnp.ones(())
        for j, axis in enumerate(factored.grid.axes):
            own = factored.face_weights(i) if j == i else jnp.asarray(axis.weights)
            weights = weights[..., None] * own
        rows.append((values * jnp.sqrt(weights).astype(values.dtype)).reshape(len(waves), -1))
    return jnp.concatenate(rows, axis=1)


def _ground(operator: Operator) -> Array | None:
    """sqrt(pi), `(*shape)`, where it is a state: no wall absorbs."""
    absorbs = operator.grid.absorbs
    return None if absorbs or operator.log_sqrt_pi is None else jnp.exp(operator.log_sqrt_pi)


def _triangle(rows: Array) -> Array:
    """R of Q R = rows^T, by Cholesky: accurate to rounding of every row by itself where the rows are nearly orthogonal,
    which those of A psi_n are for modes, however small."""
    sizes = jnp.linalg.norm(rows, axis=1)
    sizes = jnp.where(sizes > 0, sizes, 1)
    unit = rows / sizes[:, None]
    return jnp.linalg.cholesky(unit @ unit.T, upper=True) * sizes


def _mirrored(rows: Array, known: Array) -> Array:
    """Orthonormal `rows` turned so that the first holds all that they have of `known`."""
    shares = rows @ known
    shares = shares / jnp.linalg.norm(shares)
    sign = jnp.where(shares[0] < 0, -1, 1)
    normal = shares.at[0].add(sign)
    return rows - 2 * jnp.outer(normal, normal @ rows) / (normal @ normal)


def _bounds(values: Array, residuals: Array, complete: bool) -> Array:
    """The best bound on the error of each value from runs a..b of neighbours; the residual where no run gives one."""
    m, end = len(values), jnp.full(1, jnp.inf, values.dtype)
    below = jnp.append(-end, values + residuals)[:m]
    above = jnp.append(values - residuals, end if complete else -end)[1:]
    squares = jnp.append(0, jnp.cumsum(residuals**2))
    lost = jnp.maximum(squares[1:] - squares[:-1, None], 0)  # of the run from row to column
    i = jnp.arange(m)
    inside = (i[:, None] <= i[:, None, None]) & (i[:, None, None] <= i)
    room = jnp.minimum(values[:, None, None] - below[:, None], above - values[:, None, None])
    usable = inside & (room > 0) & (lost < room**2)
    best = jnp.min(jnp.where(usable, lost / jnp.where(usable, room, 1), jnp.inf), axis=(1, 2))
    return jnp.minimum(best, residuals)


def _agree(values: Array, rounding: Array) -> Array:
    larger = jnp.maximum(jnp.abs(values[:, None]), jnp.abs(values))
    return jnp.sum(jnp.abs(values[:, None] - values) <= SAME * larger + rounding, axis=1)


def _signed(vectors: Array) -> Array:
    """Each vector with its largest entry positive."""
    flat = vectors.reshape(len(vectors), -1)
    largest = jnp.take_along_axis(flat, jnp.argmax(jnp.abs(flat), axis=1)[:, None], axis=1)
    return (flat * jnp.sign(largest)).reshape(vectors.shape)


def _stopped(operator: Operator) -> Operator:
    return jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf, operator)

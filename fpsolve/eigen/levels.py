"""From approximate modes to levels with errors: Rayleigh quotients, through the factor
where a level is small.

    E = <psi, H psi> / |psi|^2      or, from H = A^T A,
    E = |A psi|^2 / |psi|^2,     A (psi_1, ...) = U Sigma W^T

in the complement of sqrt(pi), which is known. A quotient errs by the square of the
error of its vector; an eigenvalue of H by eps |H| besides, and a singular value of A by
eps |A|, so that a level as small as eps^2 |H| keeps digits through A. On finite volumes
and through factors both are one operator, and A is always taken; where H holds the
exact potential term, A is another discretisation of the same accuracy, and is taken
when the digits of H do not suffice.

The derivative of <psi, H psi> is that of Hellmann and Feynman, with psi held fixed.
That of |A psi|^2 holds f = psi / sqrt(pi) fixed, |A psi|^2 = D int pi |grad f|^2: every
term of it is as small as E itself.

With residuals r_n = |H psi_n - E_n psi_n|, any run of neighbouring levels whose span
holds E_n gives a bound (Kato and Temple for one level, Parlett for several): the sum of
r^2 over the run, divided by the distance of E_n from the next level on either side of
it. The smallest of these bounds is taken, so that a close pair does not spoil it.

References: Golub and Van Loan, Matrix Computations (2013), section 8.6; Parlett, The
Symmetric Eigenvalue Problem (1998), section 11.7; theorem T4 of this library.
"""

from typing import NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..operator import EdgeOperator, Operator, TensorOperator
from ..operator.amplitudes import amplitudes
from ..operator.base import has_stationary_state
from .constants import CONSTANTS

Tree = TypeVar("Tree")


class Levels(NamedTuple):
    """Levels with their errors.

    - `values` `(m,)` ascending; `vectors` `(m, *shape)` of unit norm in the grid's
      weights
    - `residuals` `(m,)`: |H psi - E psi|; `errors` `(m,)`: bounds, which include the
      `rounding` `(m,)`
    - `multiplicities` `(m,)`: how many of the m levels agree with each
    """

    values: Array
    vectors: Array
    residuals: Array
    errors: Array
    rounding: Array
    multiplicities: Array


class _RitzLevels(NamedTuple):
    """Levels without bounds: values `(m,)`, vectors `(m, *shape)`, and the rounding
    error of the values.
    """

    values: Array
    vectors: Array
    rounding: Array


def levels(operator: Operator, factored: Operator | None, waves: Array) -> Levels:
    """The levels that the span of `waves` `(m, *shape)` holds.

    **Arguments**: `operator`, H; `factored`, the process as A^T A, or None to take all
    levels through H; `waves`, nearly orthonormal in the grid's weights. Where sqrt(pi)
    is a state, it is the first of the levels, which is zero, and its error what this
    grid makes of it. **Returns** `Levels`; the values are differentiated, nothing else
    is. **Cost**: m products with A, twice as many with H, and 4 m^2 operations a face.
    """
    if factored is None:
        return _with_errors(operator, _through_hamiltonian(operator, waves))
    if operator.is_factored or len(waves) == 1:
        return levels_through_factor(operator, factored, waves)
    plain = _through_hamiltonian(operator, waves)
    # Whether A is needed depends on numbers: inside a traced program the program itself
    # has to decide.
    found = jax.lax.cond(
        lacks_digits(plain.values, plain.rounding),
        lambda: _through_factor(operator, factored, waves),
        lambda: plain,
    )
    return _with_errors(operator, found)


def levels_through_factor(
    operator: Operator,
    factored: Operator,
    waves: Array,
) -> Levels:
    """The same, all levels as squares of singular values of A."""
    return _with_errors(operator, _through_factor(operator, factored, waves))


def lacks_digits(values: Array, rounding: Array) -> Array:
    """Whether rounding leaves the gap too few digits (`CONSTANTS.gap_digits`)."""
    return jax.lax.stop_gradient(values[1]) < rounding[1] / CONSTANTS.gap_digits


def frozen(tree: Tree) -> Tree:
    """The same tree, with arrays through which nothing is differentiated."""
    return jax.tree.map(
        lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf, tree
    )


# The levels in the span of the waves.


def _through_hamiltonian(operator: Operator, waves: Array) -> _RitzLevels:
    """Levels as quotients of H."""
    rows = _orthonormal(_to_rows(operator, waves))
    fields = _to_fields(operator, rows)
    images = _to_rows(operator, jax.vmap(frozen(operator).hamiltonian)(fields))
    matrix = rows @ images.T
    _, mixes = jnp.linalg.eigh((matrix + matrix.T) / 2)
    vectors = jax.lax.stop_gradient(_to_fields(operator, mixes.T @ rows))

    # The quotient is the only place where H is differentiated: Hellmann and Feynman.
    integrate = operator.grid.integrate
    products = integrate(vectors * jax.vmap(operator.hamiltonian)(vectors))
    values = products / integrate(vectors**2)
    eps = CONSTANTS.roundings * jnp.finfo(waves.dtype).eps
    rounding = eps * _highest(operator) * jnp.ones_like(values)
    return _RitzLevels(values, vectors, rounding)


def _through_factor(
    operator: Operator,
    factored: Operator,
    waves: Array,
) -> _RitzLevels:
    """Levels as squares of singular values of A; sqrt(pi) is the first of them where it
    is a state.
    """
    rows = _to_rows(factored, waves)
    sqrt_pi = _ground(operator)
    if sqrt_pi is None:
        rows = jax.lax.stop_gradient(_singular_rows(factored, rows))
    else:
        rows = _complement_with_ground(factored, rows, sqrt_pi)
    squares = jnp.sum(_factor_rows(factored, rows) ** 2, axis=1)
    values = squares / jnp.sum(rows**2, axis=1)

    # A singular value s errs by eps |A|, so that s^2 errs by 2 s eps |A| + (eps |A|)^2,
    # with |A|^2 = |H|.
    sizes = jax.lax.stop_gradient(jnp.abs(values))
    highest = _highest(operator)
    eps = CONSTANTS.roundings * jnp.finfo(waves.dtype).eps
    rounding = 2 * eps * jnp.sqrt(sizes * highest) + eps**2 * highest
    return _RitzLevels(values, _to_fields(factored, rows), rounding)


def _complement_with_ground(factored: Operator, rows: Array, sqrt_pi: Array) -> Array:
    """sqrt(pi) as the first row, and the singular rows of A in the complement of it.

    A derivative holds f = psi / sqrt(pi) fixed: psi then changes as sqrt(pi) does.
    """
    ground = _to_rows(factored, sqrt_pi[None])
    ground = ground / jnp.linalg.norm(ground)
    fixed = jax.lax.stop_gradient(ground)

    # Take sqrt(pi) out of the span. One row is lost with it: the reflection makes it
    # the first.
    rows = _reflected(rows, fixed[0])[1:]
    rows = rows - (rows @ fixed.T) @ fixed
    rows = jax.lax.stop_gradient(_singular_rows(factored, rows))

    # The change of psi to first order. It is zero in value and has the derivative of
    # sqrt(pi) / sqrt(pi)_fixed; `tiny` keeps the quotient finite where sqrt(pi) has
    # underflowed.
    tiny = jnp.finfo(fixed.dtype).tiny
    relative_change = (ground - fixed) / jnp.maximum(fixed, tiny)
    changed = rows * (1 + relative_change)
    # They stay orthogonal to sqrt(pi) as it changes.
    changed = changed - (changed @ ground.T) @ ground
    return jnp.concatenate([ground, changed])


def _singular_rows(factored: Operator, rows: Array) -> Array:
    """Nearly orthonormal rows, turned into the right singular vectors of A in their
    span, smallest value first.
    """
    if not len(rows):
        return rows
    rows = _orthonormal(rows)
    # The triangle has the singular values and the right vectors of A on these rows.
    triangle = _triangle(_factor_rows(frozen(factored), rows))
    _, _, mixes = jnp.linalg.svd(triangle)
    return mixes[::-1] @ rows


def _ground(operator: Operator) -> Array | None:
    """sqrt(pi), `(*shape)`, where it is a state: no axis absorbs."""
    if operator.log_sqrt_pi is None or not has_stationary_state(operator):
        return None
    return jnp.exp(operator.log_sqrt_pi)


def _highest(operator: Operator) -> Array:
    """A bound on |H|, a scalar."""
    return jnp.max(jnp.abs(jnp.stack(frozen(operator).bounds)))


# Rows: fields times the roots of the weights, orthonormal in the plain dot product.


def _to_rows(operator: Operator, fields: Array) -> Array:
    """Fields `(m, *shape)` as rows `(m, size)`."""
    sqrt_weights = jnp.sqrt(operator.grid.weights).astype(fields.dtype)
    return (fields * sqrt_weights).reshape(len(fields), -1)


def _factor_rows(factored: Operator, rows: Array) -> Array:
    """A psi for each of the rows, `(m, faces)`."""
    assert isinstance(factored, EdgeOperator | TensorOperator)
    return amplitudes(factored, _to_fields(factored, rows))


def _to_fields(operator: Operator, rows: Array) -> Array:
    """Rows `(m, size)` as fields `(m, *shape)`."""
    sqrt_weights = jnp.sqrt(operator.grid.weights).astype(rows.dtype)
    return rows.reshape(-1, *sqrt_weights.shape) / sqrt_weights


def _orthonormal(rows: Array) -> Array:
    """Nearly orthonormal rows, made orthonormal."""
    return jax.scipy.linalg.solve_triangular(_triangle(rows), rows, trans="T")


def _triangle(rows: Array) -> Array:
    """R of Q R = rows^T, by Cholesky: accurate to rounding of every row by itself where
    the rows are nearly orthogonal, which those of A psi_n are for modes, however small.
    """
    # Rows are scaled to unit length first, so that small rows are not lost beside large
    # ones in the product.
    sizes = jnp.linalg.norm(rows, axis=1)
    sizes = jnp.where(sizes > 0, sizes, 1)
    unit = rows / sizes[:, None]
    return jnp.linalg.cholesky(unit @ unit.T, upper=True) * sizes


def _reflected(rows: Array, known: Array) -> Array:
    """Orthonormal `rows`, reflected so that the first holds the whole projection of
    `known` (Householder).
    """
    overlaps = rows @ known
    overlaps = overlaps / jnp.linalg.norm(overlaps)
    # The sign that adds sizes, so that nothing cancels.
    sign = jnp.where(overlaps[0] < 0, -1, 1)
    normal = overlaps.at[0].add(sign)
    return rows - 2 * jnp.outer(normal, normal @ rows) / (normal @ normal)


# Errors and multiplicities.


def _with_errors(operator: Operator, found: _RitzLevels) -> Levels:
    """Levels with residuals, errors and multiplicities."""
    # index of the first level that is not sqrt(pi)
    first = 0 if _ground(operator) is None else 1
    values, rounding = found.values, found.rounding
    vectors = jax.lax.stop_gradient(_with_positive_maximum(found.vectors))
    fixed = jax.lax.stop_gradient(values)

    grid = operator.grid
    images = jax.vmap(frozen(operator).hamiltonian)(vectors)
    rest = images - fixed[(..., *[None] * grid.ndim)] * vectors
    residuals = jnp.sqrt(grid.integrate(rest**2))

    # sqrt(pi) is exact: its level is zero, and the number that the grid gives for it is
    # its error. It is in no cluster either: what is orthogonal to it is another state,
    # however near its level.
    complete = len(fixed) == grid.size
    errors = jnp.abs(fixed)
    multiplicities = jnp.ones(len(fixed), int)
    if len(fixed) > first:
        others = slice(first, None)
        bounds = _error_bounds(fixed[others], residuals[others], complete)
        errors = errors.at[others].set(bounds)
        counts = _count_equal(fixed[others], rounding[others])
        multiplicities = multiplicities.at[others].set(counts)
    return Levels(
        values=values.at[:first].set(0),
        vectors=vectors,
        residuals=residuals,
        errors=errors + rounding,
        rounding=rounding,
        multiplicities=multiplicities,
    )


def _error_bounds(values: Array, residuals: Array, complete: bool) -> Array:
    """The smallest bound on the error of each value over all runs of neighbours that
    hold it; its residual where no run gives one. `complete` says that there are no
    other levels.
    """
    m = len(values)
    infinity = jnp.full(1, jnp.inf, values.dtype)
    # The levels next to a run, as near to it as their residuals allow. Below the first
    # there is none. Above the last there is none either if all are here; otherwise it
    # may be anywhere, and the run gives no bound.
    below = jnp.append(-infinity, values + residuals)[:m]
    above = jnp.append(values - residuals, infinity if complete else -infinity)[1:]

    # Sums of squares over the run from row a to column b; a difference of sums may be
    # negative by rounding.
    sums = jnp.append(0, jnp.cumsum(residuals**2))
    squares = jnp.maximum(sums[1:] - sums[:-1, None], 0)

    # For each level n and each run a..b, `(n, a, b)`.
    index = jnp.arange(m)
    level = index[:, None, None]
    inside = (index[:, None] <= level) & (level <= index)
    value = values[:, None, None]
    distance = jnp.minimum(value - below[:, None], above - value)
    # The theorem needs residuals that are smaller than the distance to the next level.
    usable = inside & (distance > 0) & (squares < distance**2)
    divisor = jnp.where(usable, distance, 1)
    bounds = jnp.where(usable, squares / divisor, jnp.inf)
    smallest = jnp.min(bounds, axis=(1, 2))
    return jnp.minimum(smallest, residuals)


def _count_equal(values: Array, rounding: Array) -> Array:
    """How many of the values agree with each, itself included."""
    sizes = jnp.abs(values)
    larger = jnp.maximum(sizes[:, None], sizes)
    tolerance = CONSTANTS.same_level * larger + rounding
    distances = jnp.abs(values[:, None] - values)
    return jnp.sum(distances <= tolerance, axis=1)


def _with_positive_maximum(vectors: Array) -> Array:
    """Each vector with the sign that makes its largest entry positive."""
    flat = vectors.reshape(len(vectors), -1)
    places = jnp.argmax(jnp.abs(flat), axis=1)
    largest = jnp.take_along_axis(flat, places[:, None], axis=1)
    return (flat * jnp.sign(largest)).reshape(vectors.shape)

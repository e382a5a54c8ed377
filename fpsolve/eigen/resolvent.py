"""The slowest modes of -L and of -L^T for a process on many points: iteration with the
inverse of s - L.

    (s - L)^{-1} on finite volumes: exact, layer by layer
    (s - L)^{-1} on a basis of smooth functions: close to that of finite volumes with
    the same drift and diffusion

Reference: Orszag, J. Comput. Phys. 37 (1980) 70 (finite differences as a preconditioner
of spectral methods).
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.types import DType
from ..linear.block_tridiagonal import BlockTridiagonalFactors, factor_block_tridiagonal
from ..operator import EdgeOperator, Operator
from ..operator.finite_volume import bernoulli
from ..operator.tensor import Factor, TensorOperator
from .constants import CONSTANTS
from .lobpcg import scattered
from .subspace import ResolventProblem, slow_subspace


class TwoSidedModes(NamedTuple):
    """Rates `(m,)` and right eigenvectors `(m, *shape)` of L, and the same of its
    transpose, each slowest first.
    """

    rates: Array
    backward_rates: Array
    right: Array
    left: Array


def slowest(values: Array) -> Array:
    """The permutation that sorts rates by real part, then by the size of the imaginary
    part, + before -.

    Real parts that agree to the square root of rounding count as equal: the two rates
    of a conjugate pair, which differ by rounding, stay together.
    """
    unit = jnp.sqrt(jnp.finfo(values.dtype).eps) * jnp.max(jnp.abs(values))
    unit = jnp.where(unit > 0, unit, 1)

    def rounded(x: Array) -> Array:
        return jnp.round(x / unit)

    # The last key is the first that counts. The exact real part decides between pairs
    # that agree in all else.
    keys = (
        values.imag < 0,
        values.real,
        rounded(jnp.abs(values.imag)),
        rounded(values.real),
    )
    return jnp.lexsort(keys)


def largest_rate(operator: Operator) -> Array:
    """A bound on the size of the eigenvalues of L, a scalar."""
    return jnp.max(jnp.abs(jnp.stack(operator.bounds)))


def resolvent_modes(
    operator: Operator,
    k: int,
    count: int,
    tol: Array,
    dtype: DType,
) -> TwoSidedModes:
    """The `count` slowest modes by iteration; the first `k` are to have rates with the
    relative error `tol`.
    """
    grid = operator.grid
    sqrt_weights = jnp.sqrt(grid.weights.astype(dtype)).ravel()
    rounding = CONSTANTS.roundings * jnp.finfo(dtype).eps * largest_rate(operator)
    # Of free diffusion in the box this is the slowest rate up to a factor of two. The
    # iteration adapts the shift.
    first_shift = 4 * largest_rate(operator) / (grid.ndim * max(grid.shape) ** 2)

    def residual_tol(rates: Array) -> Array:
        # The slowest rate may be zero: no rate needs a smaller error than the slowest
        # one above zero.
        sizes = jnp.abs(rates)
        slowest_above_zero = jnp.sort(sizes)[min(1, count - 1)]
        relative_tol = tol / CONSTANTS.resolvent_margin
        return relative_tol * jnp.maximum(sizes, slowest_above_zero)

    near = operator if isinstance(operator, EdgeOperator) else edges_of(operator)
    # A constant is the slowest mode of L^T where no mass leaves; the other rows have no
    # symmetry.
    start = scattered((count, grid.size), dtype).at[0].set(sqrt_weights)

    def search(shift: Array, backward: Array) -> tuple[Array, tuple[Array, Array]]:
        problem = _OneSide(
            operator=operator,
            near=near,
            scale=jnp.where(backward, 1 / sqrt_weights, sqrt_weights),
            backward=backward,
            exact=near is operator,
        )
        modes, shift = slow_subspace(
            problem,
            start,
            shift,
            residual_tol,
            rounding,
            wanted=k,
            order=slowest,
        )
        return shift, (modes.rates, modes.vectors)

    # A scan over the two sides, not two calls: the iteration is compiled once. The
    # second begins with the shift that the first has found.
    (rates, backward_rates), (right, left) = jax.lax.scan(
        search, first_shift, jnp.asarray([False, True])
    )[1]

    def as_fields(rows: Array) -> Array:
        return (rows / sqrt_weights).reshape(-1, *grid.shape)

    return TwoSidedModes(rates, backward_rates, as_fields(right), as_fields(left))


class _Inverse(eqx.Module):
    """The inverse of s - L, or its transpose, on the rows of `_OneSide`."""

    factors: BlockTridiagonalFactors
    scale: Array

    def __call__(self, rows: Array) -> Array:
        fields = (rows / self.scale).reshape(-1, *self.factors.shape)
        return self.factors.solve(fields).reshape(rows.shape) * self.scale


class _OneSide(ResolventProblem):
    """L on rows p sqrt(w), or its transpose on rows f sqrt(w); M is the inverse of
    finite volumes.

    `backward` says which, and is an array, so that one program serves both; `scale`
    takes fields to rows.
    """

    operator: Operator
    near: EdgeOperator
    scale: Array
    backward: Array
    exact: bool = eqx.field(static=True)

    def factor(self, shift: Array) -> _Inverse:
        factors = factor_block_tridiagonal(self.near, shift)
        chosen = jax.tree.map(
            lambda transposed, plain: jnp.where(self.backward, transposed, plain),
            factors.transposed,
            factors,
        )
        return _Inverse(chosen, self.scale)

    def shifted(self, shift: Array, rows: Array) -> Array:
        generator = self.operator.generator
        fields = (rows / self.scale).reshape(-1, *self.operator.grid.shape)
        transpose = jax.linear_transpose(generator, fields)
        images = jax.lax.cond(
            self.backward,
            lambda u: transpose(u)[0],
            lambda u: generator(u),
            fields,
        )
        return shift * rows - images.reshape(rows.shape) * self.scale


def edges_of(operator: Operator) -> EdgeOperator:
    """Finite volumes with the drift and the diffusion of a flux form, on its own nodes:
    each is the other's inverse up to factors between 4/pi^2 and one, whatever the
    number of nodes.

    **Reference**: Orszag (1980).
    """
    assert isinstance(operator, TensorOperator)
    grid = operator.grid
    up = []
    down = []
    for i, (axis, term) in enumerate(zip(grid.axes, operator.terms, strict=True)):
        assert isinstance(term, Factor)
        n_faces = len(axis.spacings)
        spacings = jnp.asarray(axis.spacings, term.drift.dtype)
        spacings = spacings.reshape(-1, *[1] * (grid.ndim - 1 - i))
        diffusion = jax.lax.slice_in_dim(term.diffusion, 0, n_faces, axis=i)
        drift = jax.lax.slice_in_dim(term.drift, 0, n_faces, axis=i)
        # The rates of Scharfetter and Gummel: log(up / down) is what the drift does
        # over a face.
        log_ratio = drift * spacings / diffusion
        up.append(diffusion / spacings * bernoulli(-log_ratio))
        down.append(diffusion / spacings * bernoulli(log_ratio))
    return EdgeOperator(grid, tuple(up), tuple(down), None, None)

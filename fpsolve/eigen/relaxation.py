"""The slowest modes of a process that need not be reversible: complex rates of -L with
densities and observables.

    -L r_n = lambda_n r_n,     -L^T f_n = lambda_n f_n,
    <f_m, r_n> = int f_m r_n dx = delta_mn   (no conjugate)
    p(t) = sum_n exp(-lambda_n t) <f_n, p_0> r_n,
    lambda_0 = 0,     r_0 the stationary density,     f_0 = 1

L^T, taken in the weights of the grid, is the backward generator. The rates are
two-sided Rayleigh quotients

    lambda = <f, -L r> / <f, r>,       d lambda = <f, -dL r> / <f, r>,

whose errors are products of those of f and r. A residual e = -L r - lambda r moves a
rate by <f, e> / <f, r>, and rounding in L by eps <|f|, |L| |r|> / |<f, r>|: the second
number is the condition of the rate, one for a reversible process in the norms of its
modes and unbounded as two rates and their modes merge (a Jordan block).

References: Risken, The Fokker-Planck Equation (1989), section 6.6; Saad, Numerical
Methods for Large Eigenvalue Problems (2011), section 3.3; Parlett, Linear Algebra Appl.
10 (1975) 291 (two-sided quotients).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.types import DType
from ..grid import Grid
from ..operator import EdgeOperator, Operator
from ..operator.base import dense
from .constants import CONSTANTS
from .levels import frozen
from .resolvent import TwoSidedModes, largest_rate, resolvent_modes, slowest


class RelaxationModes(NamedTuple):
    """The k slowest modes.

    - `values` `(k,)` complex, by real part, then by the size of the imaginary part, +
      before -; real parts that agree to the square root of rounding count as equal
    - `vectors` and `observables` `(k, *shape)` complex: r_n and f_n
    - `residuals` `(k,)`: |L r + lambda r| / |r| in the grid's weights; `errors` `(k,)`:
      bounds on |error| to first order; `converged` `()`
    """

    values: Array
    vectors: Array
    observables: Array
    residuals: Array
    errors: Array
    converged: Array


def relaxation_modes(
    operator: Operator,
    k: int,
    tol: Array,
    dtype: DType,
) -> RelaxationModes:
    """The k eigenvalues of -L with the smallest real parts, and their modes.

    **Arguments**: an `operator` whose generator acts on densities (the flux form of
    `Spectral`, finite volumes), k at most the number of points; `tol`, the error of a
    rate relative to its size, or to that of the slowest one above zero. **Returns**
    `RelaxationModes`; r_0 has mass 1 and f_0 = 1 where no mass leaves; other r_n have
    unit L1 norm. **Keeps**: complex rates come in conjugate pairs, to rounding; only
    the k-th may lack its partner, which follows it. `jit`, `vmap`, `grad` and `jvp`
    reach the values (real and imaginary parts); the modes are not differentiated.
    **Cost**: some 25 size^3 up to `CONSTANTS.dense_size` points; beyond, for n layers
    of m nodes across the longest axis, 4 n m^3 for each of a few factorisations, n m^2
    numbers, and some ten rounds of 4 (k + 8) solves for finite volumes, four times as
    many for spectral operators. Needs `eig`, which JAX has on CPU and GPU (there run by
    the host).
    **Limits**: beyond `dense_size`, a mode that turns very much faster than it decays
    may be missed among many that do not (mathematical: nothing cheap bounds how fast
    modes turn).
    """
    # Modes of both sides, more of them than wanted, so that a cluster of rates is
    # complete.
    static = frozen(operator)
    grid = static.grid
    count = min(k + CONSTANTS.spare_modes, grid.size)
    if grid.size <= CONSTANTS.dense_size:
        found = _matrix_modes(static, count, dtype)
    else:
        found = resolvent_modes(static, k, count, tol, dtype)

    # Pairs with <f_m, r_n> = delta_mn, and rates from them by quotients, the only thing
    # that is differentiated.
    right, left = _biorthogonal(grid, found, k, tol)
    right, left = jax.lax.stop_gradient(_normalised(grid, right, left))
    values = _quotients(operator, right, left)
    fixed_values = jax.lax.stop_gradient(values)
    residuals, errors = jax.lax.stop_gradient(
        _errors(static, fixed_values, right, left)
    )

    # A rate may be zero: its unit is then the slowest rate above zero.
    sizes = jnp.abs(found.rates)
    slowest_above_zero = jnp.abs(found.rates[min(1, count - 1)])
    residual_tol = tol * jnp.maximum(sizes, slowest_above_zero)[:k]
    # Residuals cannot fall below the rounding of L.
    eps = jnp.finfo(dtype).eps
    rounding = CONSTANTS.relaxation_residual_roundings * eps * largest_rate(static)
    converged = jnp.all(residuals <= jnp.maximum(residual_tol, rounding))
    return RelaxationModes(values, right, left, residuals, errors, converged)


def unresolved(grid: Grid, vectors: Array) -> float:
    """How badly the grid resolves the modes `(k, *shape)`, a scalar: the larger of two
    numbers.

    The first is the largest amplitude of a mode in the shortest tenth of the
    wavelengths, relative to its largest amplitude. The second is how far below zero the
    stationary density falls, relative to its maximum. A spectral scheme has resolved
    the process where both are small. Axes of Lobatto nodes are left out of the first
    number: their modes have no wavelengths. Computed on the host, from concrete modes.
    """
    modes = np.asarray(vectors)
    stationary = modes[0].real
    defects = [np.max(-stationary) / np.max(stationary)]
    for i, axis in enumerate(grid.axes):
        if not axis.uniform:
            continue
        field = modes
        if axis.boundary == "absorbing":
            # Sines continue as odd functions: only with the mirror image is the field
            # periodic.
            field = np.concatenate([modes, -np.flip(modes, i + 1)], i + 1)
        other_axes = tuple(j for j in range(1, grid.ndim + 1) if j != i + 1)
        amplitudes = np.max(np.abs(np.fft.fft(field, axis=i + 1)), axis=other_axes)
        frequencies = np.abs(np.fft.fftfreq(amplitudes.shape[1]))
        short = frequencies > CONSTANTS.shortest_wavelengths
        largest_short = np.max(np.where(short, amplitudes, 0), 1)
        defects.append(np.max(largest_short / np.max(amplitudes, 1)))
    # Modes that are not finite count as not resolved at all.
    return float(np.max(defects)) if np.all(np.isfinite(defects)) else float("inf")


def _matrix_modes(operator: Operator, count: int, dtype: DType) -> TwoSidedModes:
    """The `count` slowest modes from the whole matrix."""
    grid = operator.grid
    # In rows p sqrt(w) the transpose of L in the weights of the grid is the transpose
    # of the matrix.
    sqrt_weights = jnp.sqrt(grid.weights.astype(dtype)).ravel()
    generator = dense(operator.generator, grid, dtype)
    matrix = -sqrt_weights[:, None] * generator / sqrt_weights
    values, left, right = jax.lax.linalg.eig(matrix)
    order = slowest(values)[:count]

    def as_fields(vectors: Array) -> Array:
        columns = vectors[:, order] / sqrt_weights[:, None]
        return columns.T.reshape(count, *grid.shape)

    # LAPACK's left vectors satisfy u^H M = lambda u^H. The product <f, r> has no
    # conjugate, so that f = conj(u).
    return TwoSidedModes(
        rates=values[order],
        backward_rates=values[order],
        right=as_fields(right),
        left=as_fields(jnp.conj(left)),
    )


def _biorthogonal(
    grid: Grid,
    found: TwoSidedModes,
    k: int,
    tol: Array,
) -> tuple[Array, Array]:
    """r_n and f_n of the k slowest, biorthogonal also where their rates agree."""

    def unit(field: Array) -> Array:
        return field / jnp.sqrt(grid.integrate(jnp.abs(field) ** 2))

    right = jax.vmap(unit)(found.right)
    left = jax.vmap(unit)(found.left)

    def products_with(f: Array) -> Array:
        return jax.vmap(lambda r: grid.integrate(f * r))(right)

    products = jax.vmap(products_with)(left)
    # Modes of different rates are orthogonal: what their product holds is rounding, and
    # would only spread errors. Within a cluster the pseudo-inverse turns the left modes
    # to match the right ones, also if it is defective.
    sqrt_eps = jnp.sqrt(jnp.finfo(products.dtype).eps)
    same_rate = jnp.maximum(sqrt_eps, tol) * jnp.max(jnp.abs(found.rates))
    distances = jnp.abs(found.backward_rates[:, None] - found.rates)
    products = jnp.where(distances <= same_rate, products, 0)
    mix = jnp.linalg.pinv(products)[:k]
    return right[:k], jnp.tensordot(mix, left, 1)


def _quotients(operator: Operator, right: Array, left: Array) -> Array:
    """<f, -L r> / <f, r>; where f and r are orthogonal to rounding, as in a Jordan
    block, <r, -L r> / <r, r>.
    """
    product = jax.vmap(lambda u, v: operator.grid.integrate(u * v))
    orthogonal = _orthogonal(operator.grid, right, left)
    left = jnp.where(orthogonal, jnp.conj(right), left)
    return product(left, -_images(operator, right)) / product(left, right)


def _images(operator: Operator, fields: Array) -> Array:
    """L on complex fields `(k, *shape)`."""
    # Operators act on real fields: the two parts are one batch.
    real, imaginary = operator.generator(jnp.stack([fields.real, fields.imag]))
    return jax.lax.complex(real, imaginary)


def _orthogonal(grid: Grid, right: Array, left: Array) -> Array:
    """Whether <f, r> is no larger than its rounding, `(k, *ones)`."""
    product = jax.vmap(lambda u, v: jnp.abs(grid.integrate(u * v)))
    right_squares = product(right, jnp.conj(right))
    left_squares = product(left, jnp.conj(left))
    norms = jnp.sqrt(right_squares * left_squares)
    rounding = CONSTANTS.roundings * jnp.finfo(right.dtype).eps * norms
    orthogonal = product(left, right) <= rounding
    return orthogonal.reshape(-1, *[1] * grid.ndim)


def _normalised(grid: Grid, right: Array, left: Array) -> tuple[Array, Array]:
    """Each r_n of unit L1 norm and positive where it is largest, r_0 of mass 1 where it
    has one; <f_n, r_n> = 1.
    """
    ones = [1] * grid.ndim
    # An eigenvector has an arbitrary phase: the largest entry is made real and
    # positive.
    flat = right.reshape(len(right), -1)
    places = jnp.argmax(jnp.abs(flat), axis=1)
    largest = jnp.take_along_axis(flat, places[:, None], axis=1)
    right = (flat * jnp.conj(largest) / jnp.abs(largest)).reshape(right.shape)
    sizes = jax.vmap(lambda u: grid.integrate(jnp.abs(u)))(right)
    right = right / sizes.reshape(-1, *ones)
    # A positive density of unit L1 norm has mass 1. If r_0 has much less, it changes
    # its sign and is no density.
    mass = grid.integrate(right[0])
    right = right.at[0].divide(jnp.where(jnp.abs(mass) > 0.5, mass, 1))
    pairing = jax.vmap(lambda f, r: grid.integrate(f * r))(left, right)
    # In a Jordan block <f, r> is zero, and f keeps its own norm.
    orthogonal = _orthogonal(grid, right, left)
    divisor = jnp.where(orthogonal, 1, pairing.reshape(-1, *ones))
    return right, left / divisor


def _errors(
    operator: Operator,
    values: Array,
    right: Array,
    left: Array,
) -> tuple[Array, Array]:
    """Residuals, and bounds on the errors of the rates."""
    grid = operator.grid
    epsilon = jnp.finfo(right.dtype).eps
    norm = jax.vmap(lambda u: jnp.sqrt(grid.integrate(jnp.abs(u) ** 2)))
    rest = _images(operator, right) + values.reshape(-1, *[1] * grid.ndim) * right
    residuals = norm(rest) / norm(right)

    # Rounding of the quotient, eps <|f|, |L| |r|>.
    unit = CONSTANTS.rounding_of_flow * epsilon
    largest = largest_rate(operator)
    if isinstance(operator, EdgeOperator):
        # |L| |r| in closed form: only the diagonal of L, minus the exit rates, is
        # negative.
        sizes = jnp.abs(right)
        absolute_image = 2 * operator.exit_rates * sizes + operator.generator(sizes)
        flow = jax.vmap(grid.integrate)(jnp.abs(left) * absolute_image)
        rounding = unit * flow
    else:
        rounding = unit * largest * norm(left) * norm(right)

    # To first order a residual moves the rate by <f, e>. In a Jordan block of two it
    # moves it by a square root.
    first_order = jax.vmap(grid.integrate)(jnp.abs(left * rest)) + rounding
    square_root = jnp.sqrt(largest * (residuals + epsilon * largest))
    defective = _orthogonal(grid, right, left).ravel()
    return residuals, jnp.where(defective, square_root, first_order)

"""Chebyshev sums of the exponential: coefficients, number of terms, two recurrences.

With H scaled to X = 1 - 2 (H - lo) / (hi - lo) on [-1, 1] and z = s (hi - lo) / 2,

    exp(-s H) = e^{-s lo} sum_k c_k T_k(X),      c_k = (2 - [k = 0]) e^{-z} I_k(z),

    T_{k+1} = 2 X T_k - T_{k-1}           many lengths s: one recurrence, a sum each
    b_k = c_k + 2 X b_{k+1} - b_{k+2}     one length: Clenshaw's recurrence, which
                                          needs no sum

The coefficients come from the integral e^{-z} I_k(z) = (1/pi) int_0^pi e^{-z (1 - cos
u)} cos(k u) du by the midpoint rule, which here is accurate to rounding for every z and
k. Both recurrences take two steps a turn, so that each field is overwritten in place
and a product costs one pass over memory.

References: Tal-Ezer and Kosloff, J. Chem. Phys. 81 (1984) 3967; Clenshaw, Math. Comp. 9
(1955) 118.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.loop import run_loop
from ..equation import divide_by_sqrt_pi
from ..operator import Operator
from ..operator.base import has_stationary_state
from .base import Picture, node_weights, norm_in_range
from .constants import CONSTANTS
from .contraction import Contraction


class Prepared(eqx.Module):
    """The operator, the bounds of its spectrum, and a smaller basis if there is one."""

    operator: Operator
    lowest: Array
    highest: Array
    contraction: Contraction | None
    picture: Picture = eqx.field(static=True)

    def product(self, field: Array) -> Array:
        """H times a field, or H_c times its coefficients in the smaller basis."""
        if self.contraction is not None:
            return self.contraction.hamiltonian(field)
        if self.picture == Picture.DENSITY:
            return -self.operator.generator(field)
        return self.operator.hamiltonian(field)

    def norm(self, field: Array) -> Array:
        """The norm of the wave of a field in the grid's weights, to which errors are
        relative; a constant to derivatives.
        """
        # A smaller basis is orthonormal, and its axes have equal weights.
        if self.contraction is not None:
            weight = node_weights(self.operator).ravel()[0]
            return jax.lax.stop_gradient(jnp.sqrt(weight) * jnp.linalg.norm(field))
        field = jax.lax.stop_gradient(field)
        return norm_in_range(field, lambda u: self.scalar_product(u, u))

    def scalar_product(self, a: Array, b: Array) -> Array:
        """The scalar product of the waves of two fields, in the grid's weights."""
        log_sqrt_pi = self.operator.log_sqrt_pi
        weights = node_weights(self.operator)
        if self.picture == Picture.DENSITY and log_sqrt_pi is not None:
            a = divide_by_sqrt_pi(a, log_sqrt_pi)
            b = divide_by_sqrt_pi(b, log_sqrt_pi)
        return jnp.sum(weights * (jnp.conj(a) * b).real)


class Expansion(NamedTuple):
    """The fields of all lengths `(T, *shape)`, the products taken, and the growth
    |T_k(X) u| / |u| of the last term.

    The growth exceeds 1 where a level lies outside of the bounds. It is 0 if it is not
    known.
    """

    fields: Array
    calls: Array
    growth: Array


class _Coefficients(NamedTuple):
    """What the coefficients are computed from.

    - `angles` `(T, nodes)` and `weights` `(T, nodes)`: nodes of the integral and the
      values of e^{-z (1 - cos u)} there
    - `counts` `(T,)`: terms of each length; `blocks`: of all lengths, in blocks of
      terms
    """

    angles: Array
    weights: Array
    counts: Array
    blocks: Array


def expand(
    prepared: Prepared, field: Array, lengths: Array, truncation: Array
) -> Expansion:
    """exp(-s H) times a field for all lengths, in imaginary time."""
    nodes = CONSTANTS.coefficient_nodes
    window = CONSTANTS.coefficient_window
    z = lengths * (prepared.highest - prepared.lowest) / 2
    # For a large z the integrand e^{-2 z sin^2(u/2)} is narrow: only the angles where
    # it is above rounding are used.
    sin_squared = jnp.minimum(1.0, window / jnp.maximum(z, window))
    end = 2 * jax.lax.stop_gradient(jnp.arcsin(jnp.sqrt(sin_squared)))
    midpoints = (jnp.arange(nodes) + 0.5).astype(field.real.dtype)
    angles = end[:, None] * midpoints / nodes
    exponent = -2 * z[:, None] * jnp.sin(angles / 2) ** 2
    integrand = jnp.exp(exponent)
    weights = end[:, None] / (nodes * jnp.pi) * integrand
    # Terms beyond the counts are set to zero: for a large k the nodes of the integral
    # would alias to a small k.
    counts = _terms(z, truncation)
    block = CONSTANTS.block
    blocks = -(-jnp.max(counts) // block)  # rounded up
    coefficients = _Coefficients(angles, weights, counts, blocks)
    # Clenshaw's recurrence saves the sum of a single length. It never forms T_k, which
    # would show bounds of the spectrum that are too narrow; those of finite volumes
    # never are, where the lowest level is known.
    operator = prepared.operator
    safe_bounds = operator.positive and has_stationary_state(operator)
    if safe_bounds and len(lengths) == 1:
        total = _clenshaw(prepared, field, coefficients)
        growth = jnp.zeros((), field.real.dtype)
    else:
        total, growth = _sums(prepared, field, coefficients)
    decay = jnp.exp(-lengths * prepared.lowest)
    decay = decay.reshape(-1, *[1] * field.ndim)
    calls = (coefficients.blocks * block).astype(field.real.dtype)
    return Expansion(decay * total, calls, growth)


def expand_rotated(
    prepared: Prepared, field: Array, length: Array, truncation: Array, wick: float
) -> Expansion:
    """exp(-s e^{iw} H) times a field for one length, at any Wick angle w."""
    nodes = CONSTANTS.wick_nodes
    block = CONSTANTS.block
    complex_dtype = jnp.result_type(field, jnp.complex64)
    rotation = jnp.exp(1j * wick).astype(complex_dtype)
    size = length * (prepared.highest - prepared.lowest) / 2
    # The integrand oscillates |z| times, so long times are cut into pieces that the
    # nodes resolve.
    pieces = jnp.ceil(jax.lax.stop_gradient(size) / CONSTANTS.wick_size)
    pieces = jnp.maximum(1, pieces).astype(int)
    z = rotation * size / pieces
    midpoints = (jnp.arange(nodes) + 0.5).astype(field.real.dtype)
    angles = jnp.pi * midpoints / nodes
    weights = jnp.exp(-2 * z * jnp.sin(angles / 2) ** 2) / nodes
    # Beyond k = |z| the coefficients of an oscillation fall faster than exponentially.
    magnitude = abs(jax.lax.stop_gradient(z))
    airy_width = magnitude ** (1 / 3)
    terms = magnitude + CONSTANTS.wick_airy_widths * airy_width
    terms = terms + CONSTANTS.wick_extra_terms
    blocks = terms.astype(int) // block + 1
    counts = (blocks * block)[None]
    factor = jnp.exp(-rotation * length * prepared.lowest / pieces)

    def piece(
        k: Array,
        parameters: tuple[Prepared, Array, Array, Array, Array, Array],
        carry: tuple[Array, Array],
    ) -> tuple[Array, Array]:
        prepared, angles, weights, factor, counts, blocks = parameters
        field, largest_growth = carry
        coefficients = _Coefficients(angles[None], weights[None], counts, blocks)
        total, growth = _sums(prepared, field, coefficients)
        return factor * total[0], jnp.maximum(largest_growth, growth)

    field = field.astype(rotation.dtype)
    # The counts depend on the levels, which a derivative may trace: the body takes them
    # as arguments.
    parameters = (prepared, angles, weights, factor, counts, blocks)
    start = (field, jnp.zeros((), field.real.dtype))
    total, growth = run_loop(pieces, piece, parameters, start)
    calls = (pieces * blocks * block).astype(angles.dtype)
    return Expansion(total[None], calls, growth)


def _action(prepared: Prepared, field: Array) -> Array:
    """X times the field, X = 1 - 2 (H - lo) / (hi - lo), in its picture."""
    shifted = prepared.product(field) - prepared.lowest * field
    return field - 2 / (prepared.highest - prepared.lowest) * shifted


def _block_of(coefficients: _Coefficients, start: Array) -> Array:
    """c_k for one block of k from `start`, `(block, T)`; zero beyond the counts."""
    k = start + jnp.arange(CONSTANTS.block)
    cosines = jnp.cos(k[:, None, None] * coefficients.angles)
    integrals = jnp.einsum("tj,ktj->kt", coefficients.weights, cosines)
    values = jnp.where(k == 0, 1, 2)[:, None] * integrals
    return jnp.where(k[:, None] < coefficients.counts, values, 0)


def _sums(
    prepared: Prepared, field: Array, coefficients: _Coefficients
) -> tuple[Array, Array]:
    """sum_k c_k T_k(X) field for every length `(T, *shape)`, and the growth of the last
    T_k(X) field.
    """

    def block(
        j: Array, parameters: tuple[Prepared, _Coefficients], carry: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        prepared, coefficients = parameters
        c = _block_of(coefficients, CONSTANTS.block * j)

        def two_steps(k: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
            before, now, total = carry
            total = total + jnp.multiply.outer(c[2 * k], now)
            before = 2 * _action(prepared, now) - before
            total = total + jnp.multiply.outer(c[2 * k + 1], before)
            now = 2 * _action(prepared, before) - now
            return before, now, total

        return jax.lax.fori_loop(0, CONSTANTS.block // 2, two_steps, carry)

    dtype = jnp.result_type(field, coefficients.weights)
    total = jnp.zeros((len(coefficients.angles), *field.shape), dtype)
    # T_{-1} = T_1 = X starts the recurrence.
    start = (_action(prepared, field), field, total)
    parameters = (prepared, coefficients)
    last, _, total = run_loop(coefficients.blocks, block, parameters, start)
    size = prepared.norm(field)
    growth = prepared.norm(last) / jnp.where(size > 0, size, 1)
    return total, growth


def _clenshaw(prepared: Prepared, field: Array, coefficients: _Coefficients) -> Array:
    """sum_k c_k T_k(X) field for one length `(1, *shape)`, from the last k down."""
    size = CONSTANTS.block

    def block(
        j: Array,
        parameters: tuple[Prepared, Array, _Coefficients],
        carry: tuple[Array, Array],
    ) -> tuple[Array, Array]:
        prepared, field, coefficients = parameters
        lowest = size * (coefficients.blocks - 1 - j)
        c = _block_of(coefficients, lowest)[:, 0]

        def two_steps(k: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            beyond, ahead = carry
            i = size - 1 - 2 * k
            beyond = c[i] * field + 2 * _action(prepared, ahead) - beyond
            # The last step gives b_0 - X b_1, which is the sum, instead of b_0.
            twice = jnp.where(lowest + i - 1 == 0, 1, 2)
            ahead = c[i - 1] * field + twice * _action(prepared, beyond) - ahead
            return beyond, ahead

        return jax.lax.fori_loop(0, size // 2, two_steps, carry)

    zero = jnp.zeros_like(field)
    parameters = (prepared, field, coefficients)
    _, total = run_loop(coefficients.blocks, block, parameters, (zero, zero))
    return total[None]


def _terms(z: Array, truncation: Array) -> Array:
    """The least k at which e^{-z} I_k(z), about exp( sqrt(z^2 + k^2) - z - k asinh(k /
    z) ), is below `truncation`.
    """
    # At z = 0 one term is enough, and the quotients below must stay finite.
    tiny = jnp.finfo(z.dtype).tiny ** 0.5
    z = jnp.maximum(jax.lax.stop_gradient(z), tiny)
    exponent = -jnp.log(jax.lax.stop_gradient(truncation))
    # The start lies beyond the root. The exponent is convex, so that Newton's iteration
    # comes down to the root from there without passing it.
    k = jnp.sqrt(2 * z * exponent) + exponent

    def newton(_: Array, k: Array) -> Array:
        slope = jnp.arcsinh(k / z)
        value = k * slope + z - jnp.hypot(z, k) - exponent
        return k - value / slope

    # A loop, not six copies: they would take a sixth of the compile time of a run.
    k = jax.lax.fori_loop(0, CONSTANTS.term_iterations, newton, k)
    return jnp.ceil(k).astype(int) + 2

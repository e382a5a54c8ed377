"""The Chebyshev expansion of the exponential: exact in time, for symmetric H, in any dimension.

With H scaled to X = 1 - 2 (H - lo) / (hi - lo) on [-1, 1] and z = s (hi - lo) / 2,

    exp(-s H) = e^{-s lo} sum_k c_k T_k(X),      c_k = (2 - [k = 0]) e^{-z} I_k(z),
    T_{k+1} = 2 X T_k - T_{k-1}.

c_k falls like exp(-k^2 / 2z): the number of products grows as the square root of s |H|, not as s |H|. The
coefficients come from the integral e^{-z} I_k(z) = (1/pi) int_0^pi e^{-z (1 - cos u)} cos(k u) du by the midpoint rule,
which here is accurate to rounding for every z and k. The null vector sqrt(pi) of a process whose mass stays in the box
is known, so it is split off and only the rest is expanded: mass and the Gibbs density are kept to rounding at any time.

References: Tal-Ezer and Kosloff, J. Chem. Phys. 81 (1984) 3967; Bergamaschi and Vianello (2000).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.loop import run_loop
from ..linear import lowest_level
from ..scheme import EdgeOperator, Operator
from .base import Exponential, Picture, Step, in_turn, node_weights, split_stationary

NODES = 64  # of the integral, imaginary time: the integrand is a Gaussian of known width
WICK_NODES, WICK_REACH = 512, 256.0  # at another angle it oscillates |z| times: steps are cut to this |z|


class _Prepared(eqx.Module):
    operator: Operator
    lowest: Array
    highest: Array
    picture: Picture = eqx.field(static=True)


class Chebyshev(Exponential):
    """exp(-s H) by Chebyshev polynomials, to the tolerance asked for, in either picture.

    For reversible processes and Schrödinger equations. **Keeps**: mass and the Gibbs density to rounding; positivity
    to rounding on finite volumes, elsewhere to the accuracy of the space. **Error**: the truncation, bounded in the
    wave's norm, times |p / sqrt(pi)| (= sqrt(1 + chi2)), plus as much rounding. **Cost**: about
    sqrt(2 s |H| log(1/tol)) products, seven fields of memory. **Raises**: `ValueError` for a process with a force,
    whose spectrum is not real.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-6.0, 6.0, 48))
    solution = fp.evolve(fp.FokkerPlanck(fp.Harmonic()), fp.Gaussian(1.0, 0.5), [1.0], grid=grid, method=fp.Chebyshev())
    ```
    """

    def prepare(self, operator: Operator, picture: Picture) -> _Prepared:
        """Bounds of the spectrum; the lower one by Lanczos where a well may push it anywhere."""
        lowest, highest = operator.bounds
        if operator.log_root is None:
            lowest = jnp.maximum(lowest, lowest_level(operator.hamiltonian, node_weights(operator)))
        return _Prepared(operator, jax.lax.stop_gradient(lowest), jax.lax.stop_gradient(highest), picture)

    def apply(self, prepared: _Prepared, field: Array, lengths: Array, tol: Array, wick: float) -> Step:
        """Split the null vector off, expand the rest, put it back."""
        return in_turn(lambda u, length: self._one(prepared, u, length, tol, wick), field, lengths)

    def _one(self, prepared: _Prepared, field: Array, length: Array, tol: Array, wick: float) -> Step:
        operator = prepared.operator
        still, rest = split_stationary(prepared.operator, prepared.picture, field)
        size = _wave_norm(prepared, rest)
        epsilon = jnp.finfo(field.real.dtype).eps
        truncation = jnp.clip(tol / (100 * jnp.maximum(size, 1)), epsilon / 16, 1e-3)
        if isinstance(operator, EdgeOperator):
            truncation = epsilon / 16 * jnp.ones_like(truncation)  # positivity is worth the few terms it costs
        if wick == 0:
            rest, calls = _expand(prepared, rest, length, truncation)
        else:
            rest, calls = _expand_rotated(prepared, rest, length, truncation, wick)
        _, rest = split_stationary(prepared.operator, prepared.picture, rest)
        error = (truncation + 4 * epsilon) * size
        if operator.log_root is None:
            error = error * jnp.exp(-length * jnp.cos(wick) * prepared.lowest) / _wave_norm(prepared, rest)
        return Step(still + rest, calls, error)


def _action(prepared: _Prepared, field: Array) -> Array:
    """X times the field, X = 1 - 2 (H - lo) / (hi - lo), in its picture."""
    operator = prepared.operator
    product = -operator.generator(field) if prepared.picture == "density" else operator.hamiltonian(field)
    return field - 2 / (prepared.highest - prepared.lowest) * (product - prepared.lowest * field)


def _expand(prepared: _Prepared, field: Array, length: Array, truncation: Array) -> tuple[Array, Array]:
    z = length * (prepared.highest - prepared.lowest) / 2
    window = 2 * jax.lax.stop_gradient(jnp.arcsin(jnp.sqrt(jnp.minimum(1.0, 20 / jnp.maximum(z, 20.0)))))
    angles = window * (jnp.arange(NODES) + 0.5).astype(field.real.dtype) / NODES
    weights = window / (NODES * jnp.pi) * jnp.exp(-2 * z * jnp.sin(angles / 2) ** 2)
    count = _terms(z, truncation)
    decay = jnp.exp(-length * prepared.lowest)
    return decay * _sum(prepared, field, angles, weights, count), count.astype(field.real.dtype)


def _expand_rotated(
    prepared: _Prepared, field: Array, length: Array, truncation: Array, wick: float
) -> tuple[Array, Array]:
    rotation = jnp.exp(1j * wick).astype(jnp.result_type(field, jnp.complex64))
    reach = length * (prepared.highest - prepared.lowest) / 2
    pieces = jnp.maximum(1, jnp.ceil(jax.lax.stop_gradient(reach) / WICK_REACH)).astype(int)
    z = rotation * reach / pieces
    angles = jnp.pi * (jnp.arange(WICK_NODES) + 0.5).astype(field.real.dtype) / WICK_NODES
    weights = jnp.exp(-2 * z * jnp.sin(angles / 2) ** 2) / WICK_NODES
    # Beyond k = |z| the coefficients of an oscillation fall faster than exponentially.
    count = jnp.ceil(abs(jax.lax.stop_gradient(z)) + 12 * abs(jax.lax.stop_gradient(z)) ** (1 / 3) + 24).astype(int)
    factor = jnp.exp(-rotation * length * prepared.lowest / pieces)

    def piece(k: Array, parameters: Any, u: Array) -> Array:
        prepared, angles, weights, factor = parameters
        return factor * _sum(prepared, u, angles, weights, count)

    answer = run_loop(pieces, piece, (prepared, angles, weights, factor), field.astype(rotation.dtype))
    return answer, (pieces * count).astype(field.real.dtype)


def _sum(prepared: _Prepared, field: Array, angles: Array, weights: Array, count: Array) -> Array:
    """sum_k c_k T_k(X) field for k below `count`; c_k from the integral's nodes."""

    def body(k: Array, parameters: Any, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        prepared, angles, weights = parameters
        before, now, total = carry
        coefficient = jnp.where(k == 0, 1, 2) * jnp.sum(weights * jnp.cos(k * angles))
        total = total + coefficient.astype(total.dtype) * now
        return now, 2 * _action(prepared, now) - before, total

    start = (_action(prepared, field), field, jnp.zeros(field.shape, jnp.result_type(field, weights)))
    return run_loop(count, body, (prepared, angles, weights), start)[2]


def _terms(z: Array, truncation: Array) -> Array:
    """The least k at which e^{-z} I_k(z), about exp( sqrt(z^2 + k^2) - z - k asinh(k / z) ), is below `truncation`."""
    z = jnp.maximum(jax.lax.stop_gradient(z), jnp.finfo(z.dtype).tiny ** 0.5)
    goal = -jnp.log(jax.lax.stop_gradient(truncation))
    k = jnp.sqrt(2 * z * goal) + goal  # beyond the root, where the exponent is convex: Newton comes down to it
    for _ in range(6):
        ratio = jnp.arcsinh(k / z)
        k = k - (k * ratio + z - jnp.hypot(z, k) - goal) / ratio
    return jnp.ceil(k).astype(int) + 2


def _wave_norm(prepared: _Prepared, field: Array) -> Array:
    """The norm of the wave of `field` in the grid's weights: what multiplies every relative error."""
    operator = prepared.operator
    if prepared.picture == "density" and operator.log_root is not None:
        field = jnp.where(field == 0, 0, field * jnp.exp(jnp.where(field == 0, 0, -operator.log_root)))
    return jax.lax.stop_gradient(jnp.sqrt(jnp.sum(node_weights(operator) * jnp.abs(field) ** 2)))

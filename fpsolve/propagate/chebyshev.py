"""The Chebyshev expansion of the exponential: exact in time, for symmetric H, in any dimension.

With H scaled to X = 1 - 2 (H - lo) / (hi - lo) on [-1, 1] and z = s (hi - lo) / 2,

    exp(-s H) = e^{-s lo} sum_k c_k T_k(X),      c_k = (2 - [k = 0]) e^{-z} I_k(z),
    T_{k+1} = 2 X T_k - T_{k-1}                       many lengths s: one recurrence, a sum each
    b_k = c_k + 2 X b_{k+1} - b_{k+2}                 one length: Clenshaw's recurrence, which needs no sum

c_k falls like exp(-k^2 / 2z): the number of products grows as the square root of s |H|, not as s |H|. The
coefficients come from the integral e^{-z} I_k(z) = (1/pi) int_0^pi e^{-z (1 - cos u)} cos(k u) du by the midpoint rule,
which here is accurate to rounding for every z and k. Both recurrences take two steps a turn, so that each field is
overwritten in place and a product costs one pass over memory. The null vector sqrt(pi) of a process whose mass stays
in the box is known, so it is split off and only the rest is expanded: mass and the Gibbs density are kept to rounding
at any time.

References: Tal-Ezer and Kosloff, J. Chem. Phys. 81 (1984) 3967; Bergamaschi and Vianello (2000); Clenshaw, Math.
Comp. 9 (1955) 118.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import check_integer, check_positive, raise_value_error
from ..core.loop import run_loop
from ..equation import divide_by_sqrt_pi
from ..linear import lowest_level
from ..operator import Operator
from ..operator.tensor import TensorOperator
from .base import (
    Keeps,
    Picture,
    ProblemKind,
    Propagator,
    Reason,
    Step,
    WorkEstimate,
    in_turn,
    node_weights,
    product_time,
    split_stationary,
)
from .contraction import Contraction

NODES = 64  # of the integral, imaginary time: the integrand is a Gaussian of known width
WICK_NODES, WICK_REACH = 512, 256.0  # at another angle it oscillates |z| times: steps are cut to this |z|
BLOCK = 8  # products whose coefficients are computed together
TOGETHER = 8  # lengths that share a recurrence: each adds a pass over memory to every product
GROWN = 1.01  # T_k(X) u is never longer than u while the spectrum lies within the bounds


class _Prepared(eqx.Module):
    operator: Operator
    lowest: Array
    highest: Array
    contraction: Contraction | None
    picture: Picture = eqx.field(static=True)

    def product(self, field: Array) -> Array:
        """H times a field in its picture, or H_c times its coefficients."""
        if self.contraction is not None:
            return self.contraction.hamiltonian(field)
        return -self.operator.generator(field) if self.picture == Picture.DENSITY else self.operator.hamiltonian(field)

    def norm(self, field: Array) -> Array:
        """The norm of the wave of a field in the grid's weights: what multiplies every relative error."""
        log_sqrt_pi, weights = self.operator.log_sqrt_pi, node_weights(self.operator)
        if self.contraction is not None:  # whose axes have equal weights
            return jax.lax.stop_gradient(jnp.sqrt(weights.ravel()[0]) * jnp.linalg.norm(field))
        if self.picture == Picture.DENSITY and log_sqrt_pi is not None:
            field = divide_by_sqrt_pi(field, log_sqrt_pi)
        return jax.lax.stop_gradient(jnp.sqrt(jnp.sum(weights * jnp.abs(field) ** 2)))


class Chebyshev(Propagator):
    """exp(-s H) by Chebyshev polynomials, to the tolerance asked for, in either picture.

    For reversible processes and Schrödinger equations. **Keeps**: mass and the Gibbs density to rounding; positivity
    to rounding on finite volumes, elsewhere to the accuracy of the space. **Error**: the truncation, bounded in the
    wave's norm, times |p / sqrt(pi)| (= sqrt(1 + chi2)), plus as much rounding; infinite where the bounds of the
    spectrum prove too narrow. **Cost**: about sqrt(2 s |H| log(1/tol)) products, s the longest of up to eight times
    that share a recurrence; four fields beside the operator for one time, three and one a time for several.
    **Arguments**: `ranks`, how many functions of each axis a spectral wave is expanded in (see `contraction.py`);
    None chooses at the door, by what they would leave out, and `()` keeps the full basis; `stretch`, a factor on the
    width of the spectrum. **Raises**: `ValueError` for a process with a force, whose spectrum is not real.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-6.0, 6.0, 48))
    solution = fp.evolve(fp.FokkerPlanck(fp.Harmonic()), fp.Gaussian(1.0, 0.5), [1.0], grid=grid, method=fp.Chebyshev())
    ```
    """

    ranks: tuple[int, ...] | None = eqx.field(static=True)
    stretch: float = eqx.field(static=True)

    def __init__(self, ranks: tuple[int, ...] | None = None, stretch: float = 1.0):
        if ranks is not None:
            cure = "Give (24, 16), say, or () for all of them, or None."
            if not isinstance(ranks, tuple | list):
                raise_value_error("Chebyshev.ranks", ranks, "it must hold a number of functions for each axis", cure)
            ranks = tuple(check_integer("Chebyshev.ranks", rank, 1, cure) for rank in ranks)
        check_positive("Chebyshev.stretch", stretch, "Give 1.0, or more where the bounds are too narrow.")
        self.ranks, self.stretch = ranks, float(stretch)

    def unsupported(self, kind: ProblemKind) -> Reason | None:
        """A process without a symmetric H; ranks that do not fit the grid."""
        if kind.fokker_planck and not kind.reversible:
            others = "fp.Uniformization(), fp.Implicit(), fp.Splitting() or fp.Dense()"
            line = ", or fp.Rational() on a line" if kind.grid.ndim == 1 else ""
            because = "Chebyshev needs the symmetric H, and this process has none, or a start too wide for its wave"
            return Reason(because, f"Give {others}{line}.")
        cure = "Give one number an axis, at most its nodes, or None to have them chosen."
        if self.ranks and len(self.ranks) != kind.grid.ndim:
            because = f"it must hold one number an axis, {kind.grid.ndim} in all"
            return Reason(because, cure, "method.ranks")
        for rank, n in zip(self.ranks or (), kind.grid.shape, strict=False):
            if rank > n:
                return Reason(f"an axis has only {n} nodes", cure, "method.ranks")
        return None

    def cost(self, kind: ProblemKind, work: WorkEstimate) -> float:
        """About sqrt(25 t |H|) products: the terms of a Gaussian sum above 1e-11."""
        return float(np.sqrt(25 * max(work.spectrum, 1.0))) * product_time(kind.grid, kind.spectral)

    def keeps(self, spectral: bool) -> Keeps:
        """Mass and the Gibbs density to rounding; signs to rounding on finite volumes."""
        positivity = "shown" if spectral else "rounding"
        return Keeps("rounding", positivity, "rounding", "rounding", "tol", "√t")

    def prepare(self, operator: Operator, picture: Picture) -> _Prepared:
        """Bounds of the spectrum: the operator's own, the lower one drawn closer where a well may push levels anywhere.

        The upper one is some 2 % too high on finite volumes and 15 % in a spectral basis; what Lanczos iteration would
        gain safely is fewer products than it takes, and an estimate that may fall short is worse than either.
        """
        contraction = operator.contraction if isinstance(operator, TensorOperator) else None
        if contraction is not None and picture != Picture.DENSITY:
            highest = jax.lax.stop_gradient(contraction.highest)
            return _Prepared(operator, jnp.zeros_like(highest), highest, contraction, picture)
        lowest, highest = operator.bounds
        if operator.log_sqrt_pi is None:
            lowest = jnp.maximum(lowest, lowest_level(operator.hamiltonian, node_weights(operator)))
        highest = lowest + self.stretch * (highest - lowest)
        return _Prepared(operator, jax.lax.stop_gradient(lowest), jax.lax.stop_gradient(highest), None, picture)

    def apply(self, prepared: _Prepared, field: Array, lengths: Array, tol: Array, wick: float) -> Step:
        """One recurrence for up to `TOGETHER` lengths; then from the last of them to the next."""
        if wick != 0:
            return in_turn(lambda u, length: _rotated(prepared, u, length, tol, wick), field, lengths)
        if len(lengths) <= TOGETHER:
            return _together(prepared, field, lengths, tol, wick)
        groups = -(-len(lengths) // TOGETHER)
        padded = jnp.concatenate([lengths, jnp.broadcast_to(lengths[-1], (groups * TOGETHER - len(lengths),))])

        def group(carry: tuple[Array, Array, Array], lengths: Array) -> tuple[tuple[Array, Array, Array], Step]:
            field, start, error = carry
            taken = _together(prepared, field, lengths - start, tol, wick)
            taken = taken._replace(error=error + taken.error)
            return (taken.field[-1], lengths[-1], taken.error[-1]), taken

        zero = jnp.zeros((), lengths.dtype)
        _, steps = jax.lax.scan(group, (field, zero, zero), padded.reshape(groups, TOGETHER))
        flat = lambda u: u.reshape(-1, *u.shape[2:])[: len(lengths)]
        return Step(flat(steps.field), jnp.sum(steps.calls), flat(steps.error))


def _rotated(prepared: _Prepared, field: Array, length: Array, tol: Array, wick: float) -> Step:
    taken = _together(prepared, field, length[None], tol, wick)
    return Step(taken.field[0], taken.calls, taken.error[0])


def _together(prepared: _Prepared, field: Array, lengths: Array, tol: Array, wick: float) -> Step:
    operator = prepared.operator
    still, rest = split_stationary(operator, prepared.picture, field)
    size = prepared.norm(rest)
    epsilon = jnp.finfo(field.real.dtype).eps
    truncation = jnp.clip(tol / (100 * jnp.maximum(size, 1)), epsilon / 16, 1e-3)
    if operator.positive:
        truncation = epsilon / 16 * jnp.ones_like(truncation)  # positivity is worth the few terms it costs
    missing = jnp.zeros_like(lengths)
    if (contraction := prepared.contraction) is not None:
        coefficients = contraction.into(rest)
        lost = rest - contraction.out(coefficients)
        coefficients, calls, last = _expand(prepared, coefficients, lengths, truncation)
        rest, missing = contraction.out(coefficients), contraction.error(operator, lost, coefficients, lengths)
    elif wick == 0:
        rest, calls, last = _expand(prepared, rest, lengths, truncation)
    else:
        rest, calls, last = _expand_rotated(prepared, rest, lengths[0], truncation, wick)
    rest = jax.vmap(lambda u: split_stationary(operator, prepared.picture, u)[1])(rest)
    error = (truncation + 4 * epsilon) * size * jnp.ones_like(lengths)
    if operator.log_sqrt_pi is None:
        decay = jnp.exp(-lengths * jnp.cos(wick) * prepared.lowest)
        error = error * decay / jax.vmap(prepared.norm)(rest)
    within = prepared.norm(last) <= GROWN * size + jnp.finfo(size.dtype).tiny
    return Step(still + rest, calls, jnp.where(within, error + missing, jnp.inf))


def _action(prepared: _Prepared, field: Array) -> Array:
    """X times the field, X = 1 - 2 (H - lo) / (hi - lo), in its picture."""
    return field - 2 / (prepared.highest - prepared.lowest) * (prepared.product(field) - prepared.lowest * field)


def _expand(prepared: _Prepared, field: Array, lengths: Array, truncation: Array) -> tuple[Array, Array, Array]:
    z = lengths * (prepared.highest - prepared.lowest) / 2
    window = 2 * jax.lax.stop_gradient(jnp.arcsin(jnp.sqrt(jnp.minimum(1.0, 20 / jnp.maximum(z, 20.0)))))
    angles = window[:, None] * (jnp.arange(NODES) + 0.5).astype(field.real.dtype) / NODES
    weights = window[:, None] / (NODES * jnp.pi) * jnp.exp(-2 * z[:, None] * jnp.sin(angles / 2) ** 2)
    counts = _terms(z, truncation)  # beyond which the integral's nodes would fold small k back
    blocks = -(-jnp.max(counts) // BLOCK)
    if prepared.operator.positive and len(lengths) == 1:
        total, last = _clenshaw(prepared, field, angles, weights, counts, blocks), jnp.zeros_like(field)
    else:
        total, last = _sums(prepared, field, angles, weights, counts, blocks)
    decay = jnp.exp(-lengths * prepared.lowest).reshape(-1, *[1] * field.ndim)
    return decay * total, (blocks * BLOCK).astype(field.real.dtype), last


def _expand_rotated(
    prepared: _Prepared, field: Array, length: Array, truncation: Array, wick: float
) -> tuple[Array, Array, Array]:
    rotation = jnp.exp(1j * wick).astype(jnp.result_type(field, jnp.complex64))
    reach = length * (prepared.highest - prepared.lowest) / 2
    pieces = jnp.maximum(1, jnp.ceil(jax.lax.stop_gradient(reach) / WICK_REACH)).astype(int)
    z = rotation * reach / pieces
    angles = jnp.pi * (jnp.arange(WICK_NODES) + 0.5).astype(field.real.dtype) / WICK_NODES
    weights = jnp.exp(-2 * z * jnp.sin(angles / 2) ** 2) / WICK_NODES
    # Beyond k = |z| the coefficients of an oscillation fall faster than exponentially.
    size = abs(jax.lax.stop_gradient(z))
    blocks = (size + 12 * size ** (1 / 3) + 24).astype(int) // BLOCK + 1
    counts = (blocks * BLOCK)[None]
    factor = jnp.exp(-rotation * length * prepared.lowest / pieces)

    def piece(k: Array, parameters: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        prepared, angles, weights, factor = parameters
        total, last = _sums(prepared, carry[0], angles[None], weights[None], counts, blocks)
        return factor * total[0], last

    field = field.astype(rotation.dtype)
    total, last = run_loop(pieces, piece, (prepared, angles, weights, factor), (field, field))
    return total[None], (pieces * blocks * BLOCK).astype(angles.dtype), last


def _coefficients(start: Array, angles: Array, weights: Array, counts: Array) -> Array:
    """c_k for `BLOCK` values of k from `start`, `(BLOCK, T)`; zero from `counts` `(T,)` on."""
    k = start + jnp.arange(BLOCK)
    values = jnp.einsum("tj,ktj->kt", weights, jnp.cos(k[:, None, None] * angles))
    return jnp.where(k[:, None] < counts, jnp.where(k == 0, 1, 2)[:, None] * values, 0)


def _sums(
    prepared: _Prepared, field: Array, angles: Array, weights: Array, counts: Array, blocks: Array
) -> tuple[Array, Array]:
    """sum_k c_k T_k(X) field for every length `(T, *shape)`, and the last T_k(X) field."""

    def block(j: Array, parameters: Any, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        prepared, angles, weights, counts = parameters
        coefficients = _coefficients(BLOCK * j, angles, weights, counts)
        share = lambda k, u: jnp.multiply.outer(coefficients[k], u)

        def two(k: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
            before, now, total = carry
            total = total + share(2 * k, now)
            before = 2 * _action(prepared, now) - before
            total = total + share(2 * k + 1, before)
            return before, 2 * _action(prepared, before) - now, total

        before, now, total = jax.lax.fori_loop(0, BLOCK // 2, two, carry)
        return before, now, total

    total = jnp.zeros((len(angles), *field.shape), jnp.result_type(field, weights))
    start = (_action(prepared, field), field, total)
    last, _, total = run_loop(blocks, block, (prepared, angles, weights, counts), start)
    return total, last


def _clenshaw(prepared: _Prepared, field: Array, angles: Array, weights: Array, counts: Array, blocks: Array) -> Array:
    """sum_k c_k T_k(X) field for one length `(1, *shape)`, from the last k down."""

    def block(j: Array, parameters: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        prepared, field, angles, weights, counts, blocks = parameters
        lowest = BLOCK * (blocks - 1 - j)
        coefficients = _coefficients(lowest, angles, weights, counts)[:, 0]

        def two(k: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            beyond, ahead = carry
            beyond = coefficients[BLOCK - 1 - 2 * k] * field + 2 * _action(prepared, ahead) - beyond
            twice = jnp.where(lowest + BLOCK - 2 - 2 * k == 0, 1, 2)  # b_0 - X b_1 is the sum
            ahead = coefficients[BLOCK - 2 - 2 * k] * field + twice * _action(prepared, beyond) - ahead
            return beyond, ahead

        return jax.lax.fori_loop(0, BLOCK // 2, two, carry)

    parameters = (prepared, field, angles, weights, counts, blocks)
    zero = jnp.zeros_like(field)
    return run_loop(blocks, block, parameters, (zero, zero))[1][None]


def _terms(z: Array, truncation: Array) -> Array:
    """The least k at which e^{-z} I_k(z), about exp( sqrt(z^2 + k^2) - z - k asinh(k / z) ), is below `truncation`."""
    z = jnp.maximum(jax.lax.stop_gradient(z), jnp.finfo(z.dtype).tiny ** 0.5)
    goal = -jnp.log(jax.lax.stop_gradient(truncation))
    k = jnp.sqrt(2 * z * goal) + goal  # beyond the root, where the exponent is convex: Newton comes down to it
    for _ in range(6):
        ratio = jnp.arcsinh(k / z)
        k = k - (k * ratio + z - jnp.hypot(z, k) - goal) / ratio
    return jnp.ceil(k).astype(int) + 2

"""Integrals over halves of cells, for functions that jump or vanish between nodes.

Along one axis the drift b = -U' + f and D define Phi, with dPhi = (dU - f dx) / D. With
sigma = 1 and tau = 1 / D in the flux form J = b p - D p', and sigma = 1 / D and tau = 1
in the Ito form J = b p - (D p)', the flux is

    J = -(1 / tau) e^{-Phi} d/dx ( e^{Phi} p / sigma ),

so that two nodes with a constant flux between them, and with e^{Phi} p / sigma constant
in each cell, have the rates

    up_j = 1 / (M_j R_j),
    M_j = int_cell sigma e^{-(Phi - Phi_j)} dx,
    R_j = int_{x_j}^{x_j+1} tau e^{Phi - Phi_j} dx.

M is the mass of the cell (the speed measure of Feller), R the resistance between nodes
(his scale function). Both are sums over halves of cells. A half is divided where a
function changes most, again and again, so that a jump lies in one piece of negligible
width; in each piece D is linear, b constant, and the integrals are exact. Where D
vanishes at the end of a half, D and e^{Phi} are powers of the distance to it, and the
integrals converge or diverge by the exponents, as in Feller's classification of ends: a
cell whose mass diverges keeps what enters it.

References: Feller, Ann. Math. 55 (1952) 468; Wang, Peskin and Elston, J. Theor. Biol.
221 (2003) 491; Latorre, Metzner, Hartmann and Schütte, Commun. Math. Sci. 9 (2011)
1051.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .constants import CONSTANTS

Tree = TypeVar("Tree")


class Values(NamedTuple):
    """U, D and f along one axis, each of one shape."""

    energy: Array
    diffusion: Array
    force: Array


class Halves(NamedTuple):
    """Integrals over halves of cells, all relative to Phi at the node of the cell.

    - `log_mass`, `log_resistance`: the logarithms of int sigma e^{-Phi} dx and int tau
      e^{Phi} dx
    - `rise`: Phi at the edge minus Phi at the node
    """

    log_mass: Array
    log_resistance: Array
    rise: Array


Evaluate: TypeAlias = Callable[[Array], Values]


class _Piece(NamedTuple):
    """Integrals over a part of a half, relative to Phi at one of its ends; `rise` is
    Phi above minus Phi below.
    """

    log_mass: Array
    log_resistance: Array
    rise: Array


class _Bisection(NamedTuple):
    """The part that is left, from `start`, with the values at its ends, and what was
    cut off below and above it.

    The integrals of the part below are relative to Phi at the lower end of the half,
    those of the part above to Phi at its upper end.
    """

    start: Array
    width: Array
    lower: Values
    upper: Values
    below: _Piece
    above: _Piece


def bernoulli(z: Array) -> Array:
    """B(z) = z / (e^z - 1), B(0) = 1, to rounding and differentiable for every z."""
    # B(z) = B(-|z|) e^{-max(z, 0)}: nothing in B(-|z|) = |z| / (1 - e^{-|z|})
    # overflows.
    size = jnp.abs(z)
    small = size < CONSTANTS.bernoulli_series_below
    # The quotient is 0 / 0 at zero. The `where` inside it keeps its derivative finite
    # there, as JAX differentiates both branches of the outer one.
    safe = jnp.where(small, 1, size)
    series = 1 + size / 2 + size**2 / 12 - size**4 / 720 + size**6 / 30240
    at_minus_size = jnp.where(small, series, safe / -jnp.expm1(-safe))
    return at_minus_size * jnp.exp(-jnp.maximum(z, 0))


def log_mean_exp(z: Array) -> Array:
    """log of the mean of e^{z s} over 0 < s < 1: log((e^z - 1) / z), for every z."""
    return jnp.maximum(z, 0) - jnp.log(bernoulli(-jnp.abs(z)))


def changes(values: Array, axis: int) -> Array:
    """Where a function changes between two successive samples by far more than beside
    them; at each difference.

    A smooth function that the samples resolve changes by about the mean of both
    neighbouring changes.
    """
    size = jnp.abs(jnp.diff(values, axis=axis))
    zero = jnp.zeros_like(jax.lax.slice_in_dim(size, 0, 1, axis=axis))
    count = size.shape[axis]
    all_but_last = jax.lax.slice_in_dim(size, 0, count - 1, axis=axis)
    all_but_first = jax.lax.slice_in_dim(size, 1, count, axis=axis)
    before = jnp.concatenate([zero, all_but_last], axis)
    after = jnp.concatenate([all_but_first, zero], axis)
    # Samples at both ends of a row have one neighbour, which counts twice.
    index = jnp.arange(count).reshape(-1, *[1] * (values.ndim - 1 - axis))
    at_end = (index == 0) | (index == count - 1)
    beside = jnp.where(at_end, 2, 1) * (before + after)
    eps = CONSTANTS.jump_roundings * jnp.finfo(values.dtype).eps
    rounding = eps * jnp.max(jnp.abs(values))
    return size > CONSTANTS.jump_ratio * beside + rounding


def integrate_halves(
    evaluate: Evaluate,
    start: Array,
    width: Array,
    upper_half: Array,
    levels: int,
    ito: bool,
) -> Halves:
    """The integrals over halves of cells that begin at `start` and have the length
    `width`, each of one shape.

    `evaluate` gives the functions at coordinates along the axis; `upper_half` says
    whether the half lies above its node, and `levels` how often it is divided.
    **Cost**: `levels` + 3 evaluations.
    """
    empty = _Piece(
        log_mass=jnp.full(start.shape, -jnp.inf),
        log_resistance=jnp.full(start.shape, -jnp.inf),
        rise=jnp.zeros(start.shape),
    )
    state = _Bisection(
        start=start,
        width=width,
        lower=evaluate(start),
        upper=evaluate(start + width),
        below=empty,
        above=empty,
    )
    if levels:
        # A scan, so that one step is compiled.
        state, _ = jax.lax.scan(
            lambda state, _: (_bisect(evaluate, state, ito), None),
            state,
            None,
            length=levels,
        )
    inner_lower, inner_upper = _innermost(evaluate, state, ito)

    # The three parts, relative to the node: the upper end of a lower half, the lower
    # end of an upper one.
    below = state.below
    above = state.above
    to_lower = below.rise
    to_upper = above.rise
    rise = to_lower + inner_lower.rise + to_upper
    from_upper = _Piece(
        log_mass=_add3(
            _shifted(below.log_mass, rise),
            _shifted(inner_upper.log_mass, to_upper),
            above.log_mass,
        ),
        log_resistance=_add3(
            _shifted(below.log_resistance, -rise),
            _shifted(inner_upper.log_resistance, -to_upper),
            above.log_resistance,
        ),
        rise=-rise,
    )
    from_lower = _Piece(
        log_mass=_add3(
            below.log_mass,
            _shifted(inner_lower.log_mass, -to_lower),
            _shifted(above.log_mass, -rise),
        ),
        log_resistance=_add3(
            below.log_resistance,
            _shifted(inner_lower.log_resistance, to_lower),
            _shifted(above.log_resistance, rise),
        ),
        rise=rise,
    )
    return Halves(*_choose(upper_half, from_lower, from_upper))


def _choose(where: Array, a: Tree, b: Tree) -> Tree:
    """The leaves of `a` where the condition holds, else those of `b`."""
    return jax.tree.map(lambda x, y: jnp.where(where, x, y), a, b)


def _shifted(log_part: Array, shift: Array) -> Array:
    """`log_part` + `shift`; an empty part has the logarithm -inf, and must not meet an
    infinite shift.
    """
    empty = log_part == -jnp.inf
    return jnp.where(empty, -jnp.inf, log_part + jnp.where(empty, 0, shift))


def _add3(a: Array, b: Array, c: Array) -> Array:
    """log(e^a + e^b + e^c) of parts that may be -inf or +inf; finite derivatives."""
    largest = jax.lax.stop_gradient(jnp.maximum(jnp.maximum(a, b), c))
    # An infinite shift would give NaN.
    shift = jnp.where(jnp.isfinite(largest), largest, 0)
    total = 0
    for x in (a, b, c):
        empty = x == -jnp.inf
        exponential = jnp.exp(jnp.where(empty, 0, x - shift))
        total = total + jnp.where(empty, 0, exponential)
    return jnp.log(total) + shift


def _bisect(evaluate: Evaluate, state: _Bisection, ito: bool) -> _Bisection:
    """Keep the half in which the functions change more, and cut off the other."""
    half = state.width / 2
    middle = state.start + half
    values = evaluate(middle)
    lower_change = _change(state.lower, values, half)
    upper_change = _change(values, state.upper, half)
    # Where to look has no derivative.
    keeps_lower = jax.lax.stop_gradient(lower_change >= upper_change)

    pick = lambda a, b: _choose(keeps_lower, a, b)
    cut = _piece(pick(values, state.lower), pick(state.upper, values), half, ito)
    below = state.below
    above = state.above
    total_above = above.rise + cut.rise
    new_above = _Piece(
        log_mass=jnp.logaddexp(above.log_mass, cut.log_mass + total_above),
        log_resistance=jnp.logaddexp(
            above.log_resistance, cut.log_resistance - total_above
        ),
        rise=total_above,
    )
    new_below = _Piece(
        log_mass=jnp.logaddexp(below.log_mass, cut.log_mass - below.rise),
        log_resistance=jnp.logaddexp(
            below.log_resistance, cut.log_resistance + below.rise
        ),
        rise=below.rise + cut.rise,
    )
    return _Bisection(
        start=jnp.where(keeps_lower, state.start, middle),
        width=half,
        lower=pick(state.lower, values),
        upper=pick(values, state.upper),
        below=pick(below, new_below),
        above=pick(new_above, above),
    )


def _change(a: Values, b: Values, width: Array) -> Array:
    """How much the functions change from a to b, without units: dU / D, d log D, and
    (df) width / D.
    """
    # Beside an end where D vanishes its logarithm changes without bound, which is what
    # is looked for.
    least = jnp.minimum(a.diffusion, b.diffusion)
    mean = (a.diffusion + b.diffusion) / 2
    safe = jnp.where(mean > 0, mean, 1)
    log_ratio = jnp.log(_positive(b.diffusion) / _positive(a.diffusion))
    # Two zeros do not change.
    at_zero = jnp.where(mean > 0, jnp.inf, 0)
    of_diffusion = jnp.where(least > 0, jnp.abs(log_ratio), at_zero)
    of_energy = jnp.abs(b.energy - a.energy)
    of_force = jnp.abs(b.force - a.force) * width
    return of_diffusion + (of_energy + of_force) / safe


def _positive(value: Array) -> Array:
    """The value where it is positive, else one."""
    return jnp.where(value > 0, value, 1)


def _piece(lower: Values, upper: Values, width: Array, ito: bool) -> _Piece:
    """The integrals over a piece in which D is linear and b constant, relative to its
    lower end; exact.
    """
    # A node on a wall has a half without width, whose integrals are zero.
    empty = width == 0
    width = jnp.where(empty, 1, width)
    # A piece that touches a zero of D is never used, but it is computed; one stands for
    # the zero.
    at_lower = _positive(lower.diffusion)
    at_upper = _positive(upper.diffusion)
    log_ratio = jnp.log(at_upper / at_lower)
    # theta = int dx / D. As a function of theta, D and e^{Phi} are exponentials.
    theta = width * bernoulli(log_ratio) / at_lower
    energy_slope = (upper.energy - lower.energy) / width
    mean_force = (lower.force + upper.force) / 2
    rise = jnp.where(empty, 0, theta * (energy_slope - mean_force))
    if ito:
        log_mass = jnp.log(theta) + log_mean_exp(-rise)
        log_resistance = jnp.log(theta * at_lower) + log_mean_exp(rise + log_ratio)
    else:
        log_mass = jnp.log(theta * at_lower) + log_mean_exp(log_ratio - rise)
        log_resistance = jnp.log(theta) + log_mean_exp(rise)
    return _Piece(
        log_mass=jnp.where(empty, -jnp.inf, log_mass),
        log_resistance=jnp.where(empty, -jnp.inf, log_resistance),
        rise=rise,
    )


def _innermost(
    evaluate: Evaluate,
    state: _Bisection,
    ito: bool,
) -> tuple[_Piece, _Piece]:
    """The integrals over the last piece, relative to its lower and to its upper end."""
    lower = state.lower
    upper = state.upper
    width = state.width
    plain = _piece(lower, upper, width, ito)
    from_upper = _Piece(
        log_mass=plain.log_mass + plain.rise,
        log_resistance=plain.log_resistance - plain.rise,
        rise=plain.rise,
    )
    middle = evaluate(state.start + width / 2)
    zero_below = (lower.diffusion == 0) & (upper.diffusion > 0)
    zero_above = (upper.diffusion == 0) & (lower.diffusion > 0)
    # Relative to the end at which D does not vanish. The rise to the other one may be
    # infinite and is not used.
    tail_below = _tail(upper, middle, width, upper.force, ito)
    tail_above = _tail(lower, middle, width, -lower.force, ito)
    relative_to_lower = _choose(zero_above, tail_above, plain)
    relative_to_upper = _choose(zero_below, tail_below, from_upper)
    return relative_to_lower, relative_to_upper


def _tail(
    end: Values,
    middle: Values,
    width: Array,
    outward: Array,
    ito: bool,
) -> _Piece:
    """The integrals between a zero of D and `end`, a `width` away; `outward` is the
    drift away from the zero.

    D ~ x^g and e^{-Phi} ~ x^q at the distance x. An integral whose exponent is not
    above -1 diverges.
    """
    # The exponents from the two outer values; the energy of a potential changes little
    # over so short a piece.
    diffusion = _positive(end.diffusion)
    g = jnp.log2(diffusion / _positive(middle.diffusion))
    q = outward * width / diffusion

    def log_integral(exponent: Array) -> Array:
        converges = exponent + 1 > CONSTANTS.least_exponent
        divisor = jnp.where(converges, exponent + 1, 1)
        return jnp.where(converges, jnp.log(width / divisor), jnp.inf)

    log_end = jnp.log(diffusion)
    if ito:
        log_mass = log_integral(q - g) - log_end
        log_resistance = log_integral(-q)
    else:
        log_mass = log_integral(q)
        log_resistance = log_integral(-q - g) - log_end
    return _Piece(log_mass, log_resistance, rise=jnp.zeros_like(q))

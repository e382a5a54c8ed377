"""`fp.Chebyshev`: the Chebyshev expansion of the exponential: exact in time, for
symmetric H, in any dimension.

    exp(-s H) = e^{-s lo} sum_k c_k T_k(X),
    X = 1 - 2 (H - lo) / (hi - lo),      z = s (hi - lo) / 2

c_k falls like exp(-k^2 / 2z), so the number of products grows as the square root of s
|H|, not as s |H|. The sums are in `chebyshev_expansion.py`. If mass is conserved, the
null vector sqrt(pi) is known: it is split off and only the rest is expanded, so that
mass and the Gibbs density are kept to rounding at any time.

References: Tal-Ezer and Kosloff, J. Chem. Phys. 81 (1984) 3967; Bergamaschi and
Vianello (2000).
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import check_integer, check_positive, raise_value_error
from ..operator import Operator
from ..operator.base import has_stationary_state
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
    product_time,
    sizes,
    split_stationary,
)
from .chebyshev_bounds import with_lowest_level
from .chebyshev_expansion import Prepared, expand, expand_rotated
from .constants import CONSTANTS


class Chebyshev(Propagator):
    """exp(-s H) by Chebyshev polynomials, to the given tolerance, in either picture.

    For reversible Fokker-Planck equations and Schrödinger equations.

    **Arguments**: `ranks`, how many functions of each axis a spectral wave is expanded
    in (see `contraction.py`); None chooses them by the error of those left out, and
    `()` keeps the full basis; `stretch`, a factor on the width of the spectrum.

    **Keeps**: mass and the Gibbs density to rounding; positivity to rounding on finite
    volumes, elsewhere to the accuracy of the space. **Error**: the truncation, bounded
    in the wave's norm, times |p / sqrt(pi)| (= sqrt(1 + chi2)), plus as much rounding;
    both times the growth of the last polynomial where a level lies outside of the
    bounds, and infinite where it grows by more than 1 / sqrt(rounding).

    **Cost**: about sqrt(2 s |H| log(1/tol)) products, with s the longest of up to eight
    times that share a recurrence. Four fields beside the operator for one time; for
    several, three and one for each.

    **Raises**: `ValueError` for a Fokker-Planck equation with a force, whose spectrum
    is not real.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-6.0, 6.0, 48))
    solution = fp.evolve(
        fp.FokkerPlanck(fp.Harmonic()),
        fp.Gaussian(1.0, 0.5),
        [1.0],
        grid=grid,
        method=fp.Chebyshev(),
    )
    ```
    """

    ranks: tuple[int, ...] | None = eqx.field(static=True)
    stretch: float = eqx.field(static=True)

    def __init__(self, ranks: tuple[int, ...] | None = None, stretch: float = 1.0):
        if ranks is not None:
            cure = "Give (24, 16), say, or () for all of them, or None."
            if not isinstance(ranks, tuple | list):
                raise_value_error(
                    "Chebyshev.ranks",
                    ranks,
                    "it must hold a number of functions for each axis",
                    cure,
                )
            ranks = tuple(
                check_integer("Chebyshev.ranks", rank, 1, cure) for rank in ranks
            )
        check_positive(
            "Chebyshev.stretch",
            stretch,
            "Give 1.0, or more where the bounds are too narrow.",
        )
        self.ranks = ranks
        self.stretch = float(stretch)

    def unsupported(self, kind: ProblemKind) -> Reason | None:
        """A density without a symmetric H; ranks that do not fit the grid."""
        if kind.fokker_planck and not kind.reversible:
            others = "fp.Uniformization(), fp.Implicit(), fp.Splitting() or fp.Dense()"
            line = ", or fp.Rational() on a line" if kind.grid.ndim == 1 else ""
            because = (
                "Chebyshev needs a symmetric H, and there is none, or the start is too "
                "wide for its wave"
            )
            return Reason(because, f"Give {others}{line}.")
        cure = (
            "Give one number an axis, at most its nodes, or None to have them chosen."
        )
        if self.ranks and len(self.ranks) != kind.grid.ndim:
            because = f"it must hold one number an axis, {kind.grid.ndim} in all"
            return Reason(because, cure, "method.ranks")
        for rank, n in zip(self.ranks or (), kind.grid.shape, strict=False):
            if rank > n:
                return Reason(f"an axis has only {n} nodes", cure, "method.ranks")
        return None

    def cost(self, kind: ProblemKind, work: WorkEstimate) -> float:
        """About sqrt(25 t |H|) products: the terms of a Gaussian sum above 1e-11."""
        products = float(np.sqrt(CONSTANTS.products_factor * max(work.spectrum, 1.0)))
        return products * product_time(kind.grid, kind.spectral)

    def keeps(self, spectral: bool) -> Keeps:
        """Mass and the Gibbs density to rounding; positivity to rounding on finite
        volumes.
        """
        positivity = "shown" if spectral else "rounding"
        return Keeps(
            mass="rounding",
            positivity=positivity,
            gibbs="rounding",
            symmetry="rounding",
            order="tol",
            calls="√t",
        )

    def prepare(self, operator: Operator, picture: Picture) -> Prepared:
        """Bounds of the spectrum: those of the operator.

        The upper one is some 2 % too high on finite volumes and 15 % in a spectral
        basis. A Lanczos iteration would take more products than a tighter bound saves,
        and its estimate may be too low: the recurrence then diverges.
        """
        contraction = None
        if isinstance(operator, TensorOperator) and picture != Picture.DENSITY:
            contraction = operator.contraction
        if contraction is not None:
            # H of a process has no negative level.
            highest = contraction.highest
            lowest = jnp.zeros_like(highest)
        else:
            lowest, highest = operator.bounds
            highest = lowest + self.stretch * (highest - lowest)
        # The sum does not depend on the bounds, so they are constants to derivatives.
        return Prepared(
            operator=operator,
            lowest=jax.lax.stop_gradient(lowest),
            highest=jax.lax.stop_gradient(highest),
            contraction=contraction,
            picture=picture,
        )

    def apply(
        self, prepared: Prepared, field: Array, lengths: Array, tol: Array, wick: float
    ) -> Step:
        """One recurrence for each group of lengths; the next group starts from the last
        length of the one before.
        """
        # At another Wick angle the number of terms depends on each length, and they
        # cannot share one recurrence.
        if wick != 0:

            def one(u: Array, length: Array) -> Step:
                return _rotated(prepared, u, length, tol, wick)

            return in_turn(one, field, lengths)
        size = CONSTANTS.times_together
        if len(lengths) <= size:
            return _propagate(prepared, field, lengths, tol, wick)
        # All groups have one size, so that there is one program: the last is filled up
        # with its last length.
        groups = -(-len(lengths) // size)
        missing = groups * size - len(lengths)
        copies = jnp.broadcast_to(lengths[-1], (missing,))
        padded = jnp.concatenate([lengths, copies]).reshape(groups, size)

        def group(
            carry: tuple[Array, Array, Array], lengths: Array
        ) -> tuple[tuple[Array, Array, Array], Step]:
            field, start, error = carry
            taken = _propagate(prepared, field, lengths - start, tol, wick)
            taken = taken._replace(error=error + taken.error)
            return (taken.field[-1], lengths[-1], taken.error[-1]), taken

        zero = jnp.zeros((), lengths.dtype)
        _, steps = jax.lax.scan(group, (field, zero, zero), padded)

        def without_groups(u: Array) -> Array:
            return u.reshape(-1, *u.shape[2:])[: len(lengths)]

        return Step(
            field=without_groups(steps.field),
            calls=jnp.sum(steps.calls),
            error=without_groups(steps.error),
        )


def _rotated(
    prepared: Prepared, field: Array, length: Array, tol: Array, wick: float
) -> Step:
    """One length at a Wick angle."""
    taken = _propagate(prepared, field, length[None], tol, wick)
    return Step(taken.field[0], taken.calls, taken.error[0])


def _propagate(
    prepared: Prepared, field: Array, lengths: Array, tol: Array, wick: float
) -> Step:
    """All lengths by one recurrence, and their errors."""
    operator = prepared.operator
    stationary, rest = split_stationary(operator, prepared.picture, field)
    # Without a stationary state the lowest level may be anywhere: the terms of the sum
    # would cancel where it is far above the bound, and e^{-s lo} must not underflow
    # before the rest does. Oscillations do not decay.
    if not has_stationary_state(operator):
        prepared = with_lowest_level(prepared, rest, lengths[-1] * math.cos(wick))
    size = prepared.norm(rest)
    epsilon = jnp.finfo(field.real.dtype).eps
    smallest = epsilon * CONSTANTS.min_truncation
    amplified = CONSTANTS.truncation_divisor * jnp.maximum(size, 1)
    truncation = jnp.clip(tol / amplified, smallest, CONSTANTS.max_truncation)
    # Positivity is worth the few terms that it costs, and so are the digits of a field
    # that decays.
    if operator.positive or not has_stationary_state(operator):
        truncation = smallest * jnp.ones_like(truncation)

    missing = jnp.zeros_like(lengths)
    if (contraction := prepared.contraction) is not None:
        coefficients = contraction.into(rest)
        lost = rest - contraction.out(coefficients)
        expansion = expand(prepared, coefficients, lengths, truncation)
        rest = contraction.out(expansion.fields)
        missing = contraction.error(operator, lost, expansion.fields, lengths)
    elif wick == 0:
        expansion = expand(prepared, rest, lengths, truncation)
        rest = expansion.fields
    else:
        expansion = expand_rotated(prepared, rest, lengths[0], truncation, wick)
        rest = expansion.fields

    def without_stationary(u: Array) -> Array:
        return split_stationary(operator, prepared.picture, u)[1]

    # Rounding puts a little of the stationary part back into the rest.
    rest = jax.vmap(without_stationary)(rest)

    # T_k(X) field grows exponentially if a level lies outside of the bounds, and so do
    # what is left out and rounding.
    grown = jnp.maximum(1, expansion.growth)
    # The truncation, and four roundings (a free choice), in the wave's norm. The
    # rounding of the levels acts on what is left of the rest.
    left = sizes(operator, prepared.picture, rest)
    units = CONSTANTS.level_error if wick == 0 else CONSTANTS.level_error_rotated
    by_levels = units * epsilon * (prepared.highest - prepared.lowest) * lengths
    by_terms = (truncation + 4 * epsilon) * grown * size
    if has_stationary_state(operator):
        error = by_terms + by_levels * left
    else:
        # The field itself decays: the error is relative to what is left of it.
        decay = jnp.exp(-lengths * jnp.cos(wick) * prepared.lowest)
        error = by_terms * decay / jnp.where(left > 0, left, 1) + by_levels
    # Where half of the digits are lost the bounds are wrong: an infinite error makes a
    # plan with wider ones.
    within = expansion.growth <= epsilon**-0.5
    return Step(
        field=stationary + rest,
        calls=expansion.calls,
        error=jnp.where(within, error + missing, jnp.inf),
    )

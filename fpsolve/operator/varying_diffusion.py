"""Rates across faces where D is a function of x, in the flux form or in the Ito form.

    up_j = w / (M_j R_j),      M and R the masses and resistances of `subcells`

At faces and nodes where D vanishes the rates are those of the drift alone, upwind.
Before an absorbing wall where D vanishes, and which is reached, M is w times the value
at the node. Elsewhere e^{-Phi} counts in a mass as far as it varies moderately.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.types import Scalar
from ..equation import FokkerPlanck
from ..grid import Axis, Grid, sample_product
from .base import Samples
from .constants import CONSTANTS
from .flux_rates import (
    Rates,
    across_faces,
    axis_evaluator,
    fitted,
    half_integrals,
    jumps_in_halves,
)
from .half_cells import (
    ends_of_halves,
    every_second,
    halves_touching,
    inner_faces,
    on_faces,
    with_places,
)
from .subcells import Halves, Values, changes, log_mean_exp

Sides = tuple[Halves, Halves]  # the lower and the upper halves of all cells


def sample_varying_diffusion(
    equation: FokkerPlanck,
    grid: Grid,
    t: Scalar,
    resolve_jumps: bool,
) -> tuple[Samples, Array]:
    """D and P on the faces where D is a function of x, in the flux form or in the Ito
    form, and whether a function jumps or D vanishes.
    """
    diffusions = []
    slopes = []
    irregular = jnp.zeros((), bool)
    for i in range(grid.ndim):
        diffusion, slope, irregular_here = _along_axis(
            equation,
            grid,
            i,
            t,
            resolve_jumps,
        )
        diffusions.append(diffusion)
        slopes.append(slope)
        irregular = irregular | irregular_here
    return Samples(tuple(diffusions), tuple(slopes), None, None), irregular


def _along_axis(
    equation: FokkerPlanck,
    grid: Grid,
    i: int,
    t: Scalar,
    resolve_jumps: bool,
) -> tuple[Array, Array, Array]:
    """D and P on the faces of axis i; whether a function jumps there or D vanishes."""
    axis = grid.axes[i]
    places = with_places(grid, i, ends_of_halves(axis))
    diffusion = sample_product(lambda x: equation.diffusions(x)[i], places)
    # A value below the rounding of the largest one is a zero, such as sin(pi) at an
    # end.
    largest = jax.lax.stop_gradient(jnp.max(diffusion))
    rounding = CONSTANTS.jump_roundings * jnp.finfo(diffusion.dtype).eps * largest
    zero = diffusion <= rounding

    def integrals(levels: int) -> tuple[Sides, Sides]:
        ito = equation.ito_form
        evaluate = _with_zeros(axis_evaluator(equation, grid, i, t), rounding)
        forced = half_integrals(evaluate, grid, i, levels, ito)
        if equation.force is None:
            return forced, forced
        without_force = axis_evaluator(equation, grid, i, t, forced=False)
        evaluate = _with_zeros(without_force, rounding)
        return forced, half_integrals(evaluate, grid, i, levels, ito)

    of_energy, of_force = jumps_in_halves(equation, grid, i, t)
    # As for constant D: sampled at every step, without a search for jumps in U and f. D
    # itself stands still.
    irregular = jnp.zeros((), bool)
    if not equation.time_dependent:
        jumps = of_energy | of_force | changes(diffusion, i)
        irregular = jnp.any(zero) | jnp.any(jumps)
    if equation.time_dependent or not resolve_jumps:
        found, unforced = integrals(0)
    else:
        # Bisection is needed by few equations, and costs twenty evaluations.
        found, unforced = jax.lax.cond(
            irregular,
            lambda: integrals(CONSTANTS.bisections),
            lambda: integrals(0),
        )

    log_mass = _log_masses(
        grid,
        i,
        equation.ito_form,
        diffusion,
        zero,
        of_energy,
        found,
        unforced,
    )
    resistance, rise = across_faces(axis, i, *found)
    below, above = on_faces(axis, i, log_mass, log_mass, 0.0)
    rates = Rates(up=-below - resistance, down=-above - resistance + rise)
    rates = _with_drift_rates(equation, grid, i, t, zero, rates)
    face_diffusion, slope = fitted(rates, grid.along_axis(i, axis.spacings))
    return face_diffusion, slope, irregular


def _with_zeros(
    evaluate: Callable[[Array], Values],
    rounding: Array,
) -> Callable[[Array], Values]:
    """The same functions, with D zero where it is rounding."""

    def cleaned(coordinates: Array) -> Values:
        values = evaluate(coordinates)
        diffusion = jnp.where(values.diffusion <= rounding, 0, values.diffusion)
        return values._replace(diffusion=diffusion)

    return cleaned


def _log_masses(
    grid: Grid,
    i: int,
    ito: bool,
    diffusion: Array,
    zero: Array,
    of_energy: Array,
    found: Sides,
    unforced: Sides,
) -> Array:
    """log(M / w) of the cells along axis i, `(*shape)`.

    `diffusion` and `zero`, where it vanishes, are at the ends of the halves;
    `of_energy` says in which halves U jumps.
    """
    half_widths = np.diff(ends_of_halves(grid.axes[i]))
    node_diffusion = every_second(diffusion, i, 1)
    node_zero = every_second(zero, i, 1)
    log_diffusion = jnp.log(jnp.where(node_zero, 1, node_diffusion))
    # Before a wall where D vanishes and which is reached, what counts is the mass
    # weighted by the distance to the wall. This is nearly constant there, so that the
    # value at the node is better than the mean of 1 / D.
    reached = _reached_walls(grid, i, zero, found)
    touches_zero = halves_touching(zero, i)
    diffusion_jumps = changes(diffusion, i) & ~touches_zero
    # The masses of both halves of each cell.
    log_masses = []
    for side in (0, 1):
        at_node = jnp.log(grid.along_axis(i, half_widths[side::2]))
        if ito:
            at_node = at_node - log_diffusion
        # e^{-Phi} counts where it varies moderately in the half. Where it varies much,
        # as in a strong drift, only what makes it differ from an exponential does: the
        # drift carries what is there.
        whole = found[side].log_mass
        rise = found[side].rise
        excess = jnp.abs(rise) - CONSTANTS.moderate_rise
        share = jnp.clip(excess / CONSTANTS.moderate_rise, 0, 1)
        log_mass = whole - share * log_mean_exp(-rise)
        # At a jump of U the potential alone counts, and at a zero of D everything.
        energy_jump = every_second(of_energy, i, side)
        log_mass = jnp.where(energy_jump, unforced[side].log_mass, log_mass)
        log_mass = jnp.where(every_second(touches_zero, i, side), whole, log_mass)
        diffusion_jump = every_second(diffusion_jumps, i, side)
        log_masses.append(jnp.where(reached & ~diffusion_jump, at_node, log_mass))
    return jnp.logaddexp(*log_masses) - jnp.log(grid.axis_weights(i))


def _reached_walls(grid: Grid, i: int, zero: Array, found: Sides) -> Array:
    """Whether each line of cells along axis i ends at an absorbing wall where D
    vanishes and to which the resistance is finite, with length one along that axis.
    """
    axis = grid.axes[i]
    if axis.boundary != "absorbing":
        return jnp.zeros((1,) * grid.ndim, bool)
    n = axis.n
    edges_zero = every_second(zero, i, 0)
    lower_zero = jax.lax.slice_in_dim(edges_zero, 0, n, axis=i)
    upper_zero = jax.lax.slice_in_dim(edges_zero, 1, n + 1, axis=i)
    lower, upper = found
    reaches_lower = lower_zero & (lower.log_resistance < jnp.inf)
    reaches_upper = upper_zero & (upper.log_resistance < jnp.inf)
    at_lower_wall = jax.lax.slice_in_dim(reaches_lower, 0, 1, axis=i)
    at_upper_wall = jax.lax.slice_in_dim(reaches_upper, n - 1, n, axis=i)
    return at_lower_wall | at_upper_wall


def _with_drift_rates(
    equation: FokkerPlanck,
    grid: Grid,
    i: int,
    t: Scalar,
    zero: Array,
    rates: Rates,
) -> Rates:
    """The rates, and those of the drift alone at faces and nodes where D vanishes."""
    axis: Axis = grid.axes[i]
    places = with_places(grid, i, ends_of_halves(axis))
    drift = sample_product(lambda x: _drift(equation, x, t, i), places)
    face_zero = inner_faces(axis, i, every_second(zero, i, 0))
    face_drift = inner_faces(axis, i, every_second(drift, i, 0))
    node_zero = every_second(zero, i, 1)
    node_drift = every_second(drift, i, 1)
    zero_below, zero_above = on_faces(axis, i, node_zero, node_zero, False)
    drift_below, drift_above = on_faces(axis, i, node_drift, node_drift, 0.0)
    # The node decides over the face: a rate is that at which mass leaves the node.
    up = jnp.where(face_zero, _log_positive(face_drift), rates.up)
    down = jnp.where(face_zero, _log_positive(-face_drift), rates.down)
    up = jnp.where(zero_below, _log_positive(drift_below), up)
    down = jnp.where(zero_above, _log_positive(-drift_above), down)
    return Rates(up, down)


def _drift(equation: FokkerPlanck, x: Array, t: Scalar, i: int) -> Array:
    """The drift along axis i without the derivative of D; used where D vanishes."""
    if equation.potential is None:
        drift = jnp.zeros(())
    else:
        drift = -jax.grad(equation.energy)(x, t)[i]
    return drift if equation.force is None else drift + equation.force(x, t)[i]


def _log_positive(value: Array) -> Array:
    """log of the positive part."""
    positive = value > 0
    # The inner `where` keeps the derivative of the logarithm finite.
    return jnp.where(positive, jnp.log(jnp.where(positive, value, 1)), -jnp.inf)

"""What finite volumes need of an equation: D on the faces, and the logarithm of the two
rates across each face.

    up = (D / h) B(-P),      down = (D / h) B(P),      P = log(up / down)

Smooth functions with constant D: P is the change of -U / D from node to node, plus the
line integral of f / D. Where a function jumps, or D depends on x, the rates are those
of constant fluxes between nodes, up_j = w / (M_j R_j) with the masses M of the cells
and the resistances R between nodes (`subcells`). They are of order 2 wherever a jump
lies.

No function is differentiated: a derivative at a point does not see a jump between two
points.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.types import Scalar
from ..equation import FokkerPlanck
from ..grid import Axis, Grid, sample_product
from .base import Samples
from .constants import CONSTANTS
from .half_cells import (
    ends_of_halves,
    every_second,
    halves_touching,
    inner_faces,
    moved_inside,
    on_faces,
    with_places,
)
from .subcells import Halves, Values, bernoulli, changes, integrate_halves, log_mean_exp


class _Rates(NamedTuple):
    """The logarithms of the rates across the faces of an axis, times a length."""

    up: Array
    down: Array


def sample_process(
    equation: FokkerPlanck, grid: Grid, t: Scalar, reversible: bool, resolve_jumps: bool
) -> tuple[Samples, Array]:
    """The samples of a process at time t, and whether one of its functions jumps, or D
    vanishes.

    Without `resolve_jumps` the samples are those of functions that do not, for a fifth
    of the program. In a process that depends on time jumps are not looked for, because
    it is sampled at every step; a jump between two nodes then moves to the middle
    between them.
    """
    if callable(equation.diffusion):
        return _of_varying_diffusion(equation, grid, t, resolve_jumps)
    diffusion, slope = _of_smooth_functions(equation, grid, t)
    log_gibbs = equation.log_gibbs_on(grid, t) if reversible else None
    if equation.time_dependent or (
        equation.potential is None and equation.force is None
    ):
        return Samples(diffusion, slope, None, log_gibbs), jnp.zeros((), bool)

    # The functions at the nodes and between them show whether one jumps.
    halves = [_jumps(equation, grid, i, t) for i in range(grid.ndim)]
    jumps = jnp.any(jnp.stack([jnp.any(flags) for pair in halves for flags in pair]))
    if not resolve_jumps:
        return Samples(diffusion, slope, None, log_gibbs), jumps
    log_mass = jnp.zeros(grid.shape)
    diffusion, slope, log_mass = jax.lax.cond(
        jumps,
        lambda: _of_jumping_functions(equation, grid, t, diffusion, slope, halves),
        lambda: (diffusion, slope, log_mass),
    )
    return Samples(
        diffusion, slope, None, log_gibbs + log_mass if reversible else None
    ), jumps


def _of_smooth_functions(
    equation: FokkerPlanck, grid: Grid, t: Scalar
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """D and P on the faces of each axis, for constant D."""
    diffusions, slopes = [], []
    for i, axis in enumerate(grid.axes):
        shape = tuple(
            len(axis.faces) if j == i else n for j, n in enumerate(grid.shape)
        )
        diffusion = jnp.broadcast_to(
            equation.diffusions(jnp.zeros(grid.ndim))[i], shape
        )
        # The work of the drift from node to node: the potential enters by its exact
        # difference, a force by Gauss' quadrature of its line integral.
        work = -_energy_rise(equation, grid, i, t)
        if equation.force is not None:
            work = work + _line_integral(equation, grid, i, t)
        if np.ndim(equation.diffusion):
            diffusion = _upwinded(diffusion, work)
        diffusions.append(diffusion)
        slopes.append(work / jnp.where(diffusion == 0, 1, diffusion))
    return tuple(diffusions), tuple(slopes)


def _upwinded(diffusion: Array, work: Array) -> Array:
    """D, with so small a number in the place of zero that the rates are those of the
    drift alone, upwind.

    (D / h) B(-P) with P = work / D is work / h to rounding wherever P exceeds some 40.
    """
    # The same number for all faces, from the largest work. It acts where the work is
    # smaller by as many orders.
    least = jax.lax.stop_gradient(jnp.max(jnp.abs(work))) / CONSTANTS.largest_slope
    return jnp.where(diffusion > 0, diffusion, least)


def _line_integral(equation: FokkerPlanck, grid: Grid, i: int, t: Scalar) -> Array:
    """The integral of f along axis i from the point below each face to the point above
    it, by two Gauss points.
    """
    axis, force = grid.axes[i], equation.force
    assert force is not None, "called where there is a force"
    below, _ = axis.endpoints
    total: Scalar = 0.0
    for fraction in (0.5 - 0.5 / np.sqrt(3), 0.5 + 0.5 / np.sqrt(3)):
        places = below + fraction * axis.spacings
        if axis.boundary == "periodic":
            # The last face joins the last node to the first, across the end.
            places = np.where(places > axis.upper, places - axis.length, places)
        total = (
            total
            + sample_product(lambda x: force(x, t)[i], with_places(grid, i, places)) / 2
        )
    return total * grid.along_axis(i, axis.spacings)


def _energy_rise(equation: FokkerPlanck, grid: Grid, i: int, t: Scalar) -> Array:
    """U above minus U below each face of axis i. On an absorbing axis the walls are
    points as well.
    """
    axis = grid.axes[i]
    if axis.boundary == "absorbing":
        positions = with_places(
            grid, i, np.concatenate([[axis.lower], axis.nodes, [axis.upper]])
        )
        return jnp.diff(
            sample_product(lambda x: equation.energy(x, t), positions), axis=i
        )
    below, above = axis.face_neighbors(grid.sample(lambda x: equation.energy(x, t)), i)
    return above - below


def _jumps(
    equation: FokkerPlanck, grid: Grid, i: int, t: Scalar
) -> tuple[Array, Array]:
    """Where U and f jump: for each half of a cell along axis i."""
    positions = with_places(
        grid, i, moved_inside(grid.axes[i], ends_of_halves(grid.axes[i]))
    )
    energies = sample_product(lambda x: equation.energy(x, t), positions)
    of_energy = changes(energies, i)
    if (force := equation.force) is None:
        return of_energy, jnp.zeros_like(of_energy)
    return of_energy, changes(sample_product(lambda x: force(x, t)[i], positions), i)


def _evaluator(
    equation: FokkerPlanck, grid: Grid, i: int, t: Scalar, forced: bool = True
) -> Callable[[Array], Values]:
    """U, D_i and f_i at coordinates along axis i, on the lines through the nodes of the
    other axes.

    Without `forced` the values of f are zero.
    """

    def at(x: Array) -> Values:
        inside = x.at[i].set(moved_inside(grid.axes[i], x[i]))
        force = (
            jnp.zeros(())
            if equation.force is None or not forced
            else equation.force(inside, t)[i]
        )
        return Values(equation.energy(inside, t), equation.diffusions(x)[i], force)

    def evaluate(coordinates: Array) -> Values:
        shape = coordinates.shape
        columns = [
            coordinates
            if j == i
            else jnp.broadcast_to(grid.along_axis(j, nodes), shape)
            for j, nodes in enumerate(grid.nodes)
        ]
        return jax.tree.map(
            lambda u: u.reshape(shape), _sample_values(at, jnp.stack(columns, -1))
        )

    return evaluate


def _sample_values(at: Callable[[Array], Values], points: Array) -> Values:
    return jax.vmap(at)(points.reshape(-1, points.shape[-1]))


def _halves(
    evaluate: Callable[[Array], Values], grid: Grid, i: int, levels: int, ito: bool
) -> tuple[Halves, Halves]:
    """The integrals over the lower and over the upper half of each cell along axis i,
    each `(*shape)`.
    """
    ends = ends_of_halves(grid.axes[i])
    shape = tuple(2 * n if j == i else n for j, n in enumerate(grid.shape))
    along = lambda values: jnp.broadcast_to(grid.along_axis(i, values), shape)
    upper_half = jnp.broadcast_to(
        grid.along_axis(i, np.arange(2 * grid.shape[i]) % 2 == 1, bool), shape
    )
    halves = integrate_halves(
        evaluate, along(ends[:-1]), along(np.diff(ends)), upper_half, levels, ito
    )
    part = lambda first: jax.tree.map(lambda u: every_second(u, i, first), halves)
    return part(0), part(1)


def _of_jumping_functions(
    equation: FokkerPlanck,
    grid: Grid,
    t: Scalar,
    diffusion: tuple[Array, ...],
    slope: tuple[Array, ...],
    jumps: list[tuple[Array, Array]],
) -> tuple[tuple[Array, ...], tuple[Array, ...], Array]:
    """D and P on the faces, and log(M / w) of the cells, for constant D and functions
    that jump.

    Cells and faces without a jump keep their rates.
    """
    levels = CONSTANTS.bisections
    integrals = [
        _halves(_evaluator(equation, grid, i, t), grid, i, levels, False)
        for i in range(grid.ndim)
    ]
    # The mass of a cell counts the potential only: e^{-U/D} is what a jump changes
    # inside a cell. The drift of a force carries what is there, however much e^{-Phi}
    # varies.
    masses = integrals
    if equation.force is not None:
        masses = [
            _halves(_evaluator(equation, grid, i, t, False), grid, i, levels, False)
            for i in range(grid.ndim)
        ]

    # The mean over the axes along which U jumps: along one axis this is the integral
    # over the cell.
    total = jnp.zeros(grid.shape)
    count = jnp.zeros(grid.shape)
    for i in range(grid.ndim):
        lower, upper = masses[i]
        of_energy = jumps[i][0]
        cell = every_second(of_energy, i, 0) | every_second(of_energy, i, 1)
        mass = jnp.logaddexp(lower.log_mass, upper.log_mass) - jnp.log(
            grid.axis_weights(i)
        )
        # From logarithms, relative to one: a mass may exceed every number.
        total = jnp.where(
            cell, jnp.where(count > 0, jnp.logaddexp(total, mass), mass), total
        )
        count = count + cell
    log_mass = jnp.where(count > 0, total - jnp.log(jnp.maximum(count, 1)), 0)

    diffusions, slopes = [], []
    for i, axis in enumerate(grid.axes):
        flags = jumps[i][0] | jumps[i][1]
        upper_flags, lower_flags = on_faces(
            axis, i, every_second(flags, i, 1), every_second(flags, i, 0), False
        )
        at_jump = upper_flags | lower_flags
        # The change of Phi across a face: of U from node to node, to rounding, and of a
        # force that jumps by parts.
        resistance, rise = _across_faces(axis, i, *integrals[i])
        smooth_rise = -slope[i]
        if equation.force is None:
            rise = smooth_rise
        spacings = grid.along_axis(i, axis.spacings)
        safe = jnp.where(diffusion[i] > 0, diffusion[i], 1)
        smooth_resistance = jnp.log(spacings / safe) + log_mean_exp(smooth_rise)
        rise = jnp.where(at_jump, rise, smooth_rise)
        resistance = jnp.where(at_jump, resistance, smooth_resistance)
        below, above = on_faces(axis, i, log_mass, log_mass, 0.0)
        rates = _Rates(-below - resistance, -above - resistance + rise)
        new_diffusion, new_slope = _fitted(rates, spacings)
        touched = (at_jump | (below != 0) | (above != 0)) & (diffusion[i] > 0)
        diffusions.append(jnp.where(touched, new_diffusion, diffusion[i]))
        slopes.append(jnp.where(touched, new_slope, slope[i]))
    return tuple(diffusions), tuple(slopes), log_mass


def _across_faces(
    axis: Axis, i: int, lower: Halves, upper: Halves
) -> tuple[Array, Array]:
    """log R between the points on both sides of each face, relative to Phi at the one
    below, and the change of Phi.
    """
    rise_below, rise_above = on_faces(axis, i, upper.rise, lower.rise, 0.0)
    rise = rise_below - rise_above
    below, above = on_faces(
        axis, i, upper.log_resistance, lower.log_resistance, -jnp.inf
    )
    return jnp.logaddexp(
        below, jnp.where(above == -jnp.inf, -jnp.inf, above + rise)
    ), rise


def _fitted(rates: _Rates, spacings: Array) -> tuple[Array, Array]:
    """D and P of two rates: P = log(up / down) and D = h up / B(-P)."""
    # Between two rates of zero P is arbitrary. Where one is zero it is as if smaller by
    # e^largest_slope.
    none = (rates.up == -jnp.inf) & (rates.down == -jnp.inf)
    up = jnp.where(none, 0, rates.up)
    down = jnp.where(none, 0, rates.down)
    slope = jnp.clip(up - down, -CONSTANTS.largest_slope, CONSTANTS.largest_slope)
    # From the larger rate, so that nothing underflows: B(-|P|) is at least one.
    larger = jnp.maximum(up, down)
    diffusion = jnp.where(
        none, 0, spacings * jnp.exp(larger) / bernoulli(-jnp.abs(slope))
    )
    return diffusion, slope


def _of_varying_diffusion(
    equation: FokkerPlanck, grid: Grid, t: Scalar, resolve_jumps: bool
) -> tuple[Samples, Array]:
    """D and P on the faces where D is a function of x, in the flux form or in the Ito
    form, and whether a function jumps or D vanishes.
    """
    diffusions, slopes = [], []
    irregular = jnp.zeros((), bool)
    for i in range(grid.ndim):
        diffusion, slope, irregular_here = _along_axis(
            equation, grid, i, t, resolve_jumps
        )
        diffusions.append(diffusion)
        slopes.append(slope)
        irregular = irregular | irregular_here
    return Samples(tuple(diffusions), tuple(slopes), None, None), irregular


def _along_axis(
    equation: FokkerPlanck, grid: Grid, i: int, t: Scalar, resolve_jumps: bool
) -> tuple[Array, Array, Array]:
    """D and P on the faces of axis i, and whether a function jumps there or D vanishes."""
    axis, ito = grid.axes[i], equation.ito_form
    places = with_places(grid, i, ends_of_halves(axis))
    diffusion = sample_product(lambda x: equation.diffusions(x)[i], places)
    # A value below the rounding of the largest one is a zero, such as sin(pi) at an
    # end.
    rounding = (
        CONSTANTS.jump_roundings
        * jnp.finfo(diffusion.dtype).eps
        * jax.lax.stop_gradient(jnp.max(diffusion))
    )
    zero = diffusion <= rounding

    def evaluator(forced: bool) -> Callable[[Array], Values]:
        evaluate = _evaluator(equation, grid, i, t, forced)

        def cleaned(coordinates: Array) -> Values:
            values = evaluate(coordinates)
            return values._replace(
                diffusion=jnp.where(values.diffusion <= rounding, 0, values.diffusion)
            )

        return cleaned

    def integrals(levels: int) -> tuple[tuple[Halves, Halves], tuple[Halves, Halves]]:
        forced = _halves(evaluator(True), grid, i, levels, ito)
        if equation.force is None:
            return forced, forced
        return forced, _halves(evaluator(False), grid, i, levels, ito)

    of_energy, of_force = _jumps(equation, grid, i, t)
    # As for constant D: sampled at every step, without a search for jumps in U and f. D
    # itself stands still.
    irregular = jnp.zeros((), bool)
    if not equation.time_dependent:
        irregular = jnp.any(zero) | jnp.any(
            of_energy | of_force | changes(diffusion, i)
        )
    if equation.time_dependent or not resolve_jumps:
        found, unforced = integrals(0)
    else:
        found, unforced = jax.lax.cond(
            irregular, lambda: integrals(CONSTANTS.bisections), lambda: integrals(0)
        )

    # The masses of both halves of each cell.
    edges_zero = every_second(zero, i, 0)
    n = axis.n
    beside_zero = (
        jax.lax.slice_in_dim(edges_zero, 0, n, axis=i),
        jax.lax.slice_in_dim(edges_zero, 1, n + 1, axis=i),
    )
    ends = ends_of_halves(axis)
    widths = np.diff(ends)[0::2], np.diff(ends)[1::2]
    node_diffusion = every_second(diffusion, i, 1)
    node_zero = every_second(zero, i, 1)
    # Before a wall where D vanishes and which is reached, what counts is the mass
    # weighted by the distance to the wall. This is nearly constant there, so that the
    # value at the node is better than the mean of 1 / D.
    reached = jnp.zeros((1,) * grid.ndim, bool)
    if axis.boundary == "absorbing":
        at_walls = [
            jax.lax.slice_in_dim(
                beside_zero[0] & (found[0].log_resistance < jnp.inf), 0, 1, axis=i
            ),
            jax.lax.slice_in_dim(
                beside_zero[1] & (found[1].log_resistance < jnp.inf), n - 1, n, axis=i
            ),
        ]
        reached = at_walls[0] | at_walls[1]
    diffusion_jumps = changes(diffusion, i) & ~(zero_halves := halves_touching(zero, i))
    log_masses = []
    for side in (0, 1):
        plain = jnp.log(grid.along_axis(i, widths[side]))
        if ito:
            plain = plain - jnp.log(jnp.where(node_zero, 1, node_diffusion))
        # e^{-Phi} counts where it varies moderately in the half. Where it varies much,
        # as in a strong drift, only what makes it differ from an exponential does: the
        # drift carries what is there.
        rise = found[side].rise
        size = jnp.abs(rise)
        share = jnp.clip(
            (size - CONSTANTS.moderate_rise) / CONSTANTS.moderate_rise, 0, 1
        )
        log_mass = found[side].log_mass - share * log_mean_exp(-rise)
        log_mass = jnp.where(
            every_second(of_energy, i, side), unforced[side].log_mass, log_mass
        )
        log_mass = jnp.where(
            every_second(zero_halves, i, side), found[side].log_mass, log_mass
        )
        jump = every_second(diffusion_jumps, i, side)
        log_masses.append(jnp.where(reached & ~jump, plain, log_mass))
    log_mass = jnp.logaddexp(*log_masses) - jnp.log(grid.axis_weights(i))

    # The rates, and those of the drift alone at faces and nodes where D vanishes.
    resistance, rise = _across_faces(axis, i, *found)
    below, above = on_faces(axis, i, log_mass, log_mass, 0.0)
    up, down = -below - resistance, -above - resistance + rise
    drift = sample_product(lambda x: _drift(equation, x, t, i), places)
    zero_below, zero_above = on_faces(axis, i, node_zero, node_zero, False)
    drift_nodes = every_second(drift, i, 1)
    drift_below, drift_above = on_faces(axis, i, drift_nodes, drift_nodes, 0.0)
    face_zero, drift_face = (
        inner_faces(axis, i, edges_zero),
        inner_faces(axis, i, every_second(drift, i, 0)),
    )
    up = jnp.where(face_zero, _log_positive(drift_face), up)
    down = jnp.where(face_zero, _log_positive(-drift_face), down)
    up = jnp.where(zero_below, _log_positive(drift_below), up)
    down = jnp.where(zero_above, _log_positive(-drift_above), down)
    return *_fitted(_Rates(up, down), grid.along_axis(i, axis.spacings)), irregular


def _drift(equation: FokkerPlanck, x: Array, t: Scalar, i: int) -> Array:
    """The drift along axis i without the derivative of D, which is used where D
    vanishes.
    """
    drift = (
        -jax.grad(equation.energy)(x, t)[i]
        if equation.potential is not None
        else jnp.zeros(())
    )
    return drift if equation.force is None else drift + equation.force(x, t)[i]


def _log_positive(value: Array) -> Array:
    """log of the positive part."""
    return jnp.where(value > 0, jnp.log(jnp.where(value > 0, value, 1)), -jnp.inf)

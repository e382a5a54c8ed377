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

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.types import Scalar
from ..equation import FokkerPlanck
from ..grid import Grid, sample_product
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
from .half_cells import every_second, on_faces, with_places
from .subcells import Halves, log_mean_exp
from .varying_diffusion import sample_varying_diffusion


def sample_process(
    equation: FokkerPlanck,
    grid: Grid,
    t: Scalar,
    reversible: bool,
    resolve_jumps: bool,
) -> tuple[Samples, Array]:
    """The samples of a process at time t, and whether one of its functions jumps, or D
    vanishes.

    Without `resolve_jumps` the samples are those of functions that do not, for a fifth
    of the program. In a process that depends on time jumps are not looked for, because
    it is sampled at every step; a jump between two nodes then moves to the middle
    between them.
    """
    if callable(equation.diffusion):
        return sample_varying_diffusion(equation, grid, t, resolve_jumps)
    diffusion, slope = _of_smooth_functions(equation, grid, t)
    log_gibbs = equation.log_gibbs_on(grid, t) if reversible else None
    samples = Samples(diffusion, slope, None, log_gibbs)
    is_free = equation.potential is None and equation.force is None
    if equation.time_dependent or is_free:
        return samples, jnp.zeros((), bool)

    # The functions at the nodes and between them show whether one jumps.
    jumps = [jumps_in_halves(equation, grid, i, t) for i in range(grid.ndim)]
    flags = jnp.stack([jnp.any(halves) for pair in jumps for halves in pair])
    any_jump = jnp.any(flags)
    if not resolve_jumps:
        return samples, any_jump
    no_mass = jnp.zeros(grid.shape)
    diffusion, slope, log_mass = jax.lax.cond(
        any_jump,
        lambda: _of_jumping_functions(equation, grid, t, diffusion, slope, jumps),
        lambda: (diffusion, slope, no_mass),
    )
    if log_gibbs is not None:
        log_gibbs = log_gibbs + log_mass
    return Samples(diffusion, slope, None, log_gibbs), any_jump


def _of_smooth_functions(
    equation: FokkerPlanck,
    grid: Grid,
    t: Scalar,
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """D and P on the faces of each axis, for constant D."""
    diffusions = []
    slopes = []
    # Constant, so that any point serves.
    constants = equation.diffusions(jnp.zeros(grid.ndim))
    for i, axis in enumerate(grid.axes):
        shape = list(grid.shape)
        shape[i] = len(axis.faces)
        diffusion = jnp.broadcast_to(constants[i], shape)
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
    largest_work = jax.lax.stop_gradient(jnp.max(jnp.abs(work)))
    least = largest_work / CONSTANTS.largest_slope
    return jnp.where(diffusion > 0, diffusion, least)


def _line_integral(equation: FokkerPlanck, grid: Grid, i: int, t: Scalar) -> Array:
    """The integral of f along axis i from the point below each face to the point above
    it, by two Gauss points.
    """
    axis = grid.axes[i]
    force = equation.force
    assert force is not None, "called where there is a force"
    below, _ = axis.endpoints
    gauss_points = (0.5 - 0.5 / np.sqrt(3), 0.5 + 0.5 / np.sqrt(3))
    total: Scalar = 0.0
    for fraction in gauss_points:
        places = below + fraction * axis.spacings
        if axis.boundary == "periodic":
            # The last face joins the last node to the first, across the end.
            places = np.where(places > axis.upper, places - axis.length, places)
        positions = with_places(grid, i, places)
        total = total + sample_product(lambda x: force(x, t)[i], positions) / 2
    return total * grid.along_axis(i, axis.spacings)


def _energy_rise(equation: FokkerPlanck, grid: Grid, i: int, t: Scalar) -> Array:
    """U above minus U below each face of axis i. On an absorbing axis the walls are
    points as well.
    """
    axis = grid.axes[i]
    energy = lambda x: equation.energy(x, t)
    if axis.boundary == "absorbing":
        points = np.concatenate([[axis.lower], axis.nodes, [axis.upper]])
        energies = sample_product(energy, with_places(grid, i, points))
        return jnp.diff(energies, axis=i)
    below, above = axis.face_neighbors(grid.sample(energy), i)
    return above - below


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

    def integrals(i: int, forced: bool) -> tuple[Halves, Halves]:
        evaluate = axis_evaluator(equation, grid, i, t, forced)
        return half_integrals(evaluate, grid, i, CONSTANTS.bisections, False)

    axes = range(grid.ndim)
    halves = [integrals(i, True) for i in axes]
    # The mass of a cell counts the potential only: e^{-U/D} is what a jump changes
    # inside a cell. The drift of a force carries what is there, however much e^{-Phi}
    # varies.
    unforced = halves
    if equation.force is not None:
        unforced = [integrals(i, False) for i in axes]
    log_mass = _log_masses(grid, unforced, [of_energy for of_energy, _ in jumps])

    diffusions = []
    slopes = []
    for i, axis in enumerate(grid.axes):
        of_energy, of_force = jumps[i]
        flags = of_energy | of_force
        upper_flags, lower_flags = on_faces(
            axis,
            i,
            every_second(flags, i, 1),
            every_second(flags, i, 0),
            False,
        )
        at_jump = upper_flags | lower_flags
        # The change of Phi across a face: of U from node to node, to rounding, and of a
        # force that jumps by parts.
        resistance, rise = across_faces(axis, i, *halves[i])
        smooth_rise = -slope[i]
        if equation.force is None:
            rise = smooth_rise
        spacings = grid.along_axis(i, axis.spacings)
        safe_diffusion = jnp.where(diffusion[i] > 0, diffusion[i], 1)
        smooth_resistance = jnp.log(spacings / safe_diffusion)
        smooth_resistance = smooth_resistance + log_mean_exp(smooth_rise)
        rise = jnp.where(at_jump, rise, smooth_rise)
        resistance = jnp.where(at_jump, resistance, smooth_resistance)
        below, above = on_faces(axis, i, log_mass, log_mass, 0.0)
        rates = Rates(up=-below - resistance, down=-above - resistance + rise)
        new_diffusion, new_slope = fitted(rates, spacings)
        # A jump in one cell changes its mass, and so the rates across all its faces.
        changed = at_jump | (below != 0) | (above != 0)
        changed = changed & (diffusion[i] > 0)
        diffusions.append(jnp.where(changed, new_diffusion, diffusion[i]))
        slopes.append(jnp.where(changed, new_slope, slope[i]))
    return tuple(diffusions), tuple(slopes), log_mass


def _log_masses(
    grid: Grid,
    halves: list[tuple[Halves, Halves]],
    jumps: list[Array],
) -> Array:
    """log(M / w) of the cells `(*shape)`, zero where U does not jump: the mean over the
    axes along which U jumps. Along one axis this is the integral over the cell.
    """
    total = jnp.zeros(grid.shape)
    count = jnp.zeros(grid.shape)
    for i, (lower, upper) in enumerate(halves):
        jumps_here = every_second(jumps[i], i, 0) | every_second(jumps[i], i, 1)
        mass = jnp.logaddexp(lower.log_mass, upper.log_mass)
        mass = mass - jnp.log(grid.axis_weights(i))
        # From logarithms, relative to one: a mass may exceed every number.
        sum_so_far = jnp.where(count > 0, jnp.logaddexp(total, mass), mass)
        total = jnp.where(jumps_here, sum_so_far, total)
        count = count + jumps_here
    return jnp.where(count > 0, total - jnp.log(jnp.maximum(count, 1)), 0)

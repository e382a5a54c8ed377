"""The reference process on a grid: which kernel its waves have, and why.

no potential                     heat kernels
a sum of potentials of one axis  one kernel for each axis, from the levels of its H
coupled axes                     steps of kernels for each axis and of the coupling,
                                 or Chebyshev's expansion
a potential that moves           steps in time
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, host_module, scaled
from ..core.checks import is_concrete
from ..core.decision import Decision
from ..core.memory import check_memory
from ..core.program import quick_program, sampling_program
from ..core.types import DType, Point, Scalar
from ..equation import FokkerPlanck, axis_potential_terms, read_equation
from ..grid import Axis, Grid, Line
from ..operator import Operator, ScharfetterGummel, Scheme, Spectral
from ..operator.base import dense
from ..plan.sampled_equation import SampledEquation
from ..plan.validation import least_tolerance
from .axis_kernel import AxisKernel, HeatKernel, WellKernel
from .constants import CONSTANTS
from .kernel import Kernel, MovingKernel, ProductKernel, SplitKernel, WaveKernel

COUPLED = "because its potential couples axes"


class Reference(NamedTuple):
    """The kernel of a reference process on a grid, its scheme in space, and why."""

    kernel: Kernel
    scheme: Scheme
    decision: Decision


def scheme_of(grid: Grid) -> Scheme:
    """A basis where every axis has one, else finite volumes."""
    has_basis = all(axis.modes is not None for axis in grid.axes)
    return Spectral() if has_basis else ScharfetterGummel()


def reference_on(
    equation: FokkerPlanck, grid: Grid, dtype: DType, tol: float, intervals: list[float]
) -> Reference:
    """The kernel of an equation that was read and is reversible; `intervals` are the
    times between its densities.
    """
    scheme = scheme_of(grid)
    if equation.time_dependent:
        least = max(CONSTANTS.moving_tol_fraction * tol, least_tolerance(dtype))
        moving = MovingKernel(equation.schrodinger(), grid, scheme, least)
        because = "because the potential depends on time"
        return Reference(moving, scheme, Decision("steps in time", because))
    if _is_separable(equation, grid):
        axes = tuple(
            _axis_kernel(equation, grid, i, dtype, max(intervals))
            for i in range(grid.ndim)
        )
        if all(isinstance(axis, HeatKernel) for axis in axes):
            because = "because it has no potential"
        else:
            because = "because its potential is a sum over the axes"
        decision = Decision("kernels of the axes", because)
        return Reference(ProductKernel(axes), scheme, decision)
    # The number of Strang steps is chosen from the values of the potential.
    if is_concrete(equation):
        split = split_kernel(equation, grid, dtype, intervals)
        return Reference(split, scheme, Decision("Strang steps", COUPLED))
    return wave_reference(equation, grid, dtype)


def wave_reference(equation: FokkerPlanck, grid: Grid, dtype: DType) -> Reference:
    """Coupled axes by Chebyshev's expansion."""
    scheme = scheme_of(grid)
    operator = SampledEquation(equation, grid, True, None, True).operator(scheme, dtype)
    least = as_array(float(jnp.finfo(dtype).eps), dtype)
    kernel = WaveKernel(operator, least)
    return Reference(kernel, scheme, Decision("Chebyshev", COUPLED))


def split_kernel(
    equation: FokkerPlanck, grid: Grid, dtype: DType, intervals: list[float]
) -> SplitKernel:
    """Coupled axes in steps: H_i is that of a section through the least U."""
    longest = max(intervals)
    energies = np.asarray(_energies(equation, grid))
    place = np.unravel_index(int(np.argmin(energies)), grid.shape)
    nodes = zip(grid.axes, place, strict=True)
    center = as_array([float(axis.nodes[k]) for axis, k in nodes])
    axes = tuple(
        _axis_kernel(equation, grid, i, dtype, longest, center)
        for i in range(grid.ndim)
    )
    coupling = _coupling_term(equation, grid, center).astype(dtype)
    # The finest of three levels takes steps of which the axes resolve the kernels, if
    # that is enough of them.
    wells = [kernel for kernel in axes if isinstance(kernel, WellKernel)]
    shortest = max(float(kernel.shortest) for kernel in wells)
    finest = float(np.clip(longest / shortest, 4, CONSTANTS.most_steps))
    rate = as_array(int(finest / 4) / longest, dtype)
    return SplitKernel(axes, coupling, rate, as_array(1, int))


@sampling_program
def _energies(equation: FokkerPlanck, grid: Grid) -> Array:
    return grid.sample(equation.energy)


@sampling_program
def _coupling_term(equation: FokkerPlanck, grid: Grid, center: Array) -> Array:
    """The potential term of H without those of the central sections, `(*shape)`."""

    def coupling(x: Array) -> Array:
        # Row i is the center with its coordinate i replaced.
        own_axis = jnp.eye(grid.ndim, dtype=bool)
        shifted = jnp.where(own_axis, x, center.astype(x.dtype))
        own = jax.vmap(lambda y: axis_potential_terms(equation, y, 0.0))(shifted)
        whole = jnp.sum(axis_potential_terms(equation, x, 0.0))
        return whole - jnp.sum(jnp.diagonal(own))

    return grid.sample(coupling)


def _is_separable(equation: FokkerPlanck, grid: Grid) -> bool:
    """Whether U is a sum over the axes, or a traced one that has one axis only."""
    if equation.potential is None or grid.ndim == 1:
        return True
    if not is_concrete(equation):
        return False
    energies, coupling = (np.asarray(found) for found in _coupling(equation, grid))
    rounding = np.finfo(energies.dtype).eps * np.max(np.abs(energies))
    # The rounding of a large constant in U is no coupling.
    allowed = CONSTANTS.coupling_tolerance * np.ptp(energies) + 8 * rounding
    return bool(np.ptp(coupling) <= allowed)


@sampling_program
def _coupling(equation: FokkerPlanck, grid: Grid) -> tuple[Array, Array]:
    """U and U minus the sum of its parts along the axes, `(*shape)` each."""

    def along(x: Array) -> Array:
        own_axis = jnp.eye(grid.ndim, dtype=bool)
        shifted = jnp.where(own_axis, x, grid.origin)
        return jnp.sum(jax.vmap(equation.energy)(shifted))

    energies = grid.sample(equation.energy)
    return energies, energies - grid.sample(along)


def _axis_kernel(
    equation: FokkerPlanck,
    grid: Grid,
    i: int,
    dtype: DType,
    longest: float,
    center: Array | None = None,
) -> AxisKernel:
    """The kernel of H along axis i, through the center, or the first node if None."""
    axis = grid.axes[i]
    xp = host_module(equation.diffusion)
    diffusions = xp.broadcast_to(xp.asarray(equation.diffusion), (grid.ndim,))
    diffusion = as_array(diffusions[i], dtype)
    # Walls that absorb have images of both signs, which cancel; there sines are used.
    if equation.potential is None and axis.boundary != "absorbing":
        # In units of the cells, boxes of all sizes share their programs.
        in_cells = scaled(diffusion, 1 / axis.unit**2)
        return HeatKernel(diffusion=in_cells, axis=axis.in_cells)
    origin = grid.origin if center is None else center

    def section(x: Point) -> Array:
        """U along axis i."""
        is_own = jnp.arange(grid.ndim) == i
        point = jnp.where(is_own, x[0], origin.astype(x.dtype))
        return equation.energy(point)

    alone = read_equation(FokkerPlanck(section, diffusion), 1)
    margin = _margin(alone, axis, longest)
    wider = _widened(axis, margin) if margin else axis
    check_memory("grid", (wider.n, wider.n), 8, "Take fewer nodes on this axis.")
    line = Grid(wider)
    sampled = SampledEquation(alone, line, True, None, True)
    levels, modes = _modes(sampled.operator(scheme_of(line), dtype))
    # Mass that leaves is not in the exponential of rates, whose columns sum to one.
    rates, log_sqrt_pi = (None, None)
    if axis.boundary != "absorbing":
        rates, log_sqrt_pi = _rates(sampled.operator(ScharfetterGummel(), dtype))
    return WellKernel(
        diffusion=scaled(diffusion, 1 / axis.unit**2),
        levels=levels,
        modes=modes,
        rates=rates,
        log_sqrt_pi=log_sqrt_pi,
        axis=axis.in_cells,
        margin=margin,
    )


def _margin(alone: FokkerPlanck, axis: Axis, longest: float) -> int:
    """The nodes beyond each end of a line on which the potential of one axis is sampled
    as well.

    None where sqrt(pi) has decayed before the ends. Else as many as a path may go and
    return in the `longest` time.
    """
    if not axis.unbounded or not is_concrete(alone):
        return 0
    log_sqrt_pi = np.asarray(_half_log_gibbs(alone, Grid(axis)))
    decay = np.max(log_sqrt_pi) - max(log_sqrt_pi[0], log_sqrt_pi[-1])
    if decay > CONSTANTS.decayed_wave:
        return 0
    deviation = np.sqrt(2 * float(alone.diffusion) * longest)
    distance = CONSTANTS.margin_spreads * deviation
    needed = int(np.ceil(distance / axis.unit))
    margin = min(needed, CONSTANTS.largest_margin * axis.n)
    wider = Grid(_widened(axis, margin))
    # A potential that is infinite or no number out there has the box that was given.
    log_sqrt_pi = np.asarray(_half_log_gibbs(alone, wider))
    return margin if np.all(np.isfinite(log_sqrt_pi)) else 0


def _widened(axis: Axis, margin: int) -> Line:
    """A line with `margin` nodes more at each end."""
    length = margin * axis.unit
    return Line(axis.lower - length, axis.upper + length, axis.n + 2 * margin)


@sampling_program
def _half_log_gibbs(equation: FokkerPlanck, grid: Grid) -> Array:
    return equation.log_gibbs_on(grid) / 2


@quick_program
def _modes(operator: Operator) -> tuple[Array, Array]:
    """Levels `(n,)` and modes `(n, n)` of H, orthonormal in sqrt(w) u."""
    grid = operator.grid
    dtype = jax.tree.leaves(operator)[0].dtype
    sqrt_weights = jnp.sqrt(grid.weights.astype(dtype)).ravel()
    ratio = sqrt_weights[:, None] / sqrt_weights
    matrix = dense(operator.hamiltonian, grid, dtype) * ratio
    # The matrix is symmetric up to rounding; its mean with the transpose is exactly so.
    levels, modes = jnp.linalg.eigh((matrix + matrix.T) / 2)
    # H is not negative: a level below zero is rounding, which a long time would
    # amplify.
    return jnp.maximum(levels, 0), modes


@quick_program
def _rates(operator: Operator) -> tuple[Array, Array]:
    """Rates of mass from column to row `(n, n)`, and log sqrt(pi w) `(n,)`."""
    grid = operator.grid
    dtype = jax.tree.leaves(operator)[0].dtype
    weights = grid.weights.astype(dtype).ravel()
    # From densities to masses of cells.
    ratio = weights[:, None] / weights
    matrix = dense(operator.generator, grid, dtype) * ratio
    # The sum of a row has a rounding, which a rate may not have.
    diagonal = jnp.eye(grid.size, dtype=bool)
    rates = jnp.where(diagonal, 0, jnp.maximum(matrix, 0))
    return rates, operator.log_sqrt_pi.ravel() + jnp.log(weights) / 2


def log_amplitude(equation: FokkerPlanck, grid: Grid, t: Scalar) -> Array:
    """log sqrt(pi_t) without its norm, -U / 2D, `(*shape)`, from differences of U to
    its least value at t = 0.
    """
    return equation.log_gibbs_on(grid, t) / 2

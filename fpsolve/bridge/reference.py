"""The reference process on a grid: which kernel its waves have, and why.

    no potential                     heat kernels
    a sum of potentials of one axis  one kernel for each axis, from the levels of its H
    coupled axes                     Chebyshev's expansion
    a potential that moves           steps in time
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.decision import Decision
from ..core.memory import check_memory
from ..core.program import quick_program, sampling_program
from ..core.types import Point
from ..equation import FokkerPlanck, read_equation
from ..grid import Grid
from ..operator import Operator, ScharfetterGummel, Scheme, Spectral
from ..operator.base import dense
from ..plan.scheme_choice import SampledEquation
from ..plan.validation import least_tolerance
from .axis_kernel import AxisKernel, HeatKernel, WellKernel
from .constants import CONSTANTS
from .kernel import Kernel, MovingKernel, ProductKernel, WaveKernel


class Reference(NamedTuple):
    """The kernel of a reference process on a grid, the scheme in space, and the reason."""

    kernel: Kernel
    scheme: Scheme
    decision: Decision


def scheme_of(grid: Grid) -> Scheme:
    """A basis where every axis has one, else finite volumes."""
    return Spectral() if all(axis.modes is not None for axis in grid.axes) else ScharfetterGummel()


def reference_on(equation: FokkerPlanck, grid: Grid, dtype: Any, tol: float) -> Reference:
    """The kernel of an equation that was read and is reversible."""
    scheme = scheme_of(grid)
    if equation.time_dependent:
        least = max(CONSTANTS.moving_tol_fraction * tol, least_tolerance(dtype))
        moving = MovingKernel(equation.schrodinger(), grid, scheme, least)
        return Reference(moving, scheme, Decision("steps in time", "because the potential depends on time"))
    if _is_separable(equation, grid):
        kernel = ProductKernel(tuple(_axis_kernel(equation, grid, i, dtype) for i in range(grid.ndim)))
        heat = all(isinstance(axis, HeatKernel) for axis in kernel.axes)
        because = "it has no potential" if heat else "its potential is a sum over the axes"
        return Reference(kernel, scheme, Decision("kernels of the axes", f"because {because}"))
    sampled = SampledEquation(equation, grid, True, None, True)
    operator = sampled.operator(scheme, dtype)
    least = as_array(float(jnp.finfo(dtype).eps), dtype)
    return Reference(WaveKernel(operator, least), scheme, Decision("Chebyshev", "because its potential couples axes"))


def _is_separable(equation: FokkerPlanck, grid: Grid) -> bool:
    """Whether U is a sum over the axes, or a traced one that has one axis only."""
    if equation.potential is None or grid.ndim == 1:
        return True
    if not is_concrete(equation):
        return False
    energies, coupling = (np.asarray(found) for found in _coupling(equation, grid))
    rounding = np.finfo(energies.dtype).eps * np.max(np.abs(energies))
    return bool(np.ptp(coupling) <= CONSTANTS.coupling_tolerance * np.ptp(energies) + 8 * rounding)


@sampling_program
def _coupling(equation: FokkerPlanck, grid: Grid) -> tuple[Array, Array]:
    """U and U minus the sum of its parts along the axes, `(*shape)` each."""

    def along(x: Array) -> Array:
        shifted = jnp.where(jnp.eye(grid.ndim, dtype=bool), x, grid.origin)
        return jnp.sum(jax.vmap(equation.energy)(shifted))

    energies = grid.sample(equation.energy)
    return energies, energies - grid.sample(along)



def _axis_kernel(equation: FokkerPlanck, grid: Grid, i: int, dtype: Any) -> AxisKernel:
    """The kernel of the part of H along axis i."""
    axis = grid.axes[i]
    diffusion = jnp.broadcast_to(equation.diffusion, grid.ndim)[i].astype(dtype)
    # Walls that absorb have images of both signs, which cancel; there sines are used.
    if equation.potential is None and axis.boundary != "absorbing":
        return HeatKernel(diffusion, axis)
    check_memory("grid", (axis.n, axis.n), 8, "Take fewer nodes on this axis.")
    origin = grid.origin

    def section(x: Point) -> Array:
        """U along axis i through the first node of the others."""
        return equation.energy(jnp.where(jnp.arange(grid.ndim) == i, x[0], origin.astype(x.dtype)))

    alone = read_equation(FokkerPlanck(section, diffusion), 1)
    line = Grid(axis)
    scheme = scheme_of(line)
    operator = SampledEquation(alone, line, True, None, True).operator(scheme, dtype)
    levels, modes = _modes(operator)
    return WellKernel(diffusion, levels, modes, axis)


@quick_program
def _modes(operator: Operator) -> tuple[Array, Array]:
    """Levels `(n,)` and modes `(n, n)` of H, orthonormal in sqrt(w) u."""
    grid = operator.grid
    dtype = jax.tree.leaves(operator)[0].dtype
    sqrt_weights = jnp.sqrt(grid.weights.astype(dtype)).ravel()
    matrix = dense(operator.hamiltonian, grid, dtype) * (sqrt_weights[:, None] / sqrt_weights)
    levels, modes = jnp.linalg.eigh((matrix + matrix.T) / 2)
    # H is not negative: a level below zero is rounding, which a long time would amplify.
    return jnp.maximum(levels, 0), modes


def log_amplitude(equation: FokkerPlanck, grid: Grid, t: Any) -> Array:
    """log sqrt(pi_t) without its norm, -U / 2D, `(*shape)`, from differences of U to its least value at t = 0."""
    return equation.log_gibbs_on(grid, t) / 2

"""How well a grid resolves a problem, measured on samples before anything is evolved.

    leak            sqrt(pi) |H sqrt(pi)|, the rate at which a spectral basis would lose the Gibbs density
    short fraction  the largest coefficient of the shortest tenth of the wavelengths of the initial density, relative to
                    the largest of all
    wave size       |p / sqrt(pi)| = sqrt(1 + chi2), by which the wave picture enlarges rounding
    aliasing        of a clipped wave and of its density (`operator.aliasing`)

Each is one compiled program that takes arrays.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import quick_program, sampling_program
from ..equation import FokkerPlanck, divide_by_sqrt_pi
from ..grid import Grid
from ..operator import Operator
from ..operator.aliasing import aliasing_error, short_wave_damping, short_wave_fraction
from ..operator.clipping import clip_tails
from ..operator.constants import CONSTANTS as OPERATOR
from .constants import CONSTANTS


class Resolution(NamedTuple):
    """How a spectral operator with a Gibbs density resolves an initial density. All fields are scalars.

    - `size`: the norm of the clipped wave
    - `clipped`: whether its tails were clipped
    - `wave_error`, `density_error`: the aliasing errors of the wave and of its density, in L1
    - `leak`: the rate at which the Gibbs density is lost, 1 / time
    - `defect`: what the basis misses of the initial density, relative
    """

    size: Any
    clipped: Any
    wave_error: Any
    density_error: Any
    leak: Any
    defect: Any


@quick_program
def measure(operator: Operator, diffusion: Any, field: Array, fraction: Any, first: Any) -> Resolution:
    """The resolution of an initial density `field` `(*shape)`.

    `diffusion` `(d,)` is the least on each axis, `fraction` the part of the mass that clipping may cost, and `first`
    the first time after t = 0 that is reported: until then diffusion damps short waves.
    """
    grid, log_sqrt_pi = operator.grid, operator.log_sqrt_pi
    # The wave as a run would evolve it, and what the grid makes of it.
    weights = grid.weights.astype(field.dtype)
    wave = clip_tails(field, log_sqrt_pi, weights, fraction)
    damping = [short_wave_damping(diffusion[i], axis, first) for i, axis in enumerate(grid.axes)]
    wave_error, density_error = aliasing_error(grid, wave, jnp.exp(log_sqrt_pi), damping)
    # The defect, over the uniform axes: the coefficients of polynomials are not aliased.
    defect = jnp.zeros((), field.dtype)
    for i, axis in enumerate(grid.axes):
        if axis.uniform:
            short = short_wave_fraction(field, axis, i)
            # Frequencies beyond those of the grid have about the square of the amplitude of its highest ones.
            defect = jnp.maximum(defect, jnp.maximum(short**2, short * damping[i]))
    return Resolution(
        size=jnp.sqrt(grid.integrate(wave**2)),
        clipped=jnp.any(wave != divide_by_sqrt_pi(field, log_sqrt_pi)),
        wave_error=wave_error,
        density_error=density_error,
        leak=gibbs_leak(operator),
        # NaN would pass every test of "too large".
        defect=jnp.where(jnp.isfinite(defect), defect, jnp.inf),
    )


@quick_program
def gibbs_leak(operator: Operator) -> Array:
    """The rate at which the basis loses the Gibbs density, 1 / time; zero where absorbing ends lose mass anyway."""
    if operator.grid.absorbs:
        return jnp.zeros((), operator.log_sqrt_pi.dtype)  # sqrt(pi) is not stationary with absorbing ends
    sqrt_pi = jnp.exp(operator.log_sqrt_pi)
    leak = operator.grid.integrate(sqrt_pi * jnp.abs(operator.hamiltonian(sqrt_pi)))
    return jnp.where(jnp.isfinite(leak), leak, jnp.inf)


def is_wave_representable(size: float, dtype: Any, tol: float) -> bool:
    """Whether p / sqrt(pi), whose norm is `size`, can be evolved in a precision to a tolerance.

    Its rounding must stay below the tolerance, and below half of the digits: a larger wave is not resolved by the grid
    either.
    """
    epsilon = float(jnp.finfo(dtype).eps)
    return bool(np.isfinite(size)) and CONSTANTS.wave_rounding_units * epsilon * size < min(tol, epsilon**0.5)


def wave_resolved(clipped: Any, wave_error: Any, density_error: Any, tol: float) -> bool:
    """Whether a clipped wave aliases no more than the tolerance, or not much more than the density itself does."""
    return not bool(clipped) or float(wave_error) <= max(tol, OPERATOR.aliasing_excess * float(density_error))


@quick_program
def wave_size(log_sqrt_pi: Array, field: Array, grid: Grid) -> Array:
    """|p / sqrt(pi)| at t = 0."""
    return jnp.sqrt(grid.integrate(divide_by_sqrt_pi(field, log_sqrt_pi) ** 2))


@quick_program
def rates(operator: Operator) -> tuple[Array, Array]:
    """The largest eigenvalue of H, and the largest rate out of a cell."""
    return operator.bounds[1], operator.largest_rate


@quick_program
def largest_short_fraction(field: Array, grid: Grid) -> Array:
    """The largest relative coefficient of the shortest tenth of the wavelengths, over all uniform axes."""
    fractions = [short_wave_fraction(field, axis, i) for i, axis in enumerate(grid.axes) if axis.uniform]
    return jnp.max(jnp.stack([jnp.zeros((), field.dtype), *fractions]))


@sampling_program
def largest_peclet(equation: FokkerPlanck, grid: Grid) -> Array:
    """The largest Peclet number |b_i| h_i / D_i of a cell."""
    # The drift is compared with the diffusion cell by cell, since either may vary in x.
    drift, diffusion = grid.sample(equation.drift), grid.sample(equation.diffusions)
    widths = jnp.asarray([axis.length / axis.n for axis in grid.axes])
    return jnp.max(jnp.abs(drift) * widths / diffusion)


def is_resolved(grid: Grid, values: Array) -> bool:
    """Whether densities `(T, *shape)` that were evolved in a basis are smooth, and negative by rounding only."""
    short, lowest = _roughness(values, grid)
    limit = CONSTANTS.largest_defect
    return float(short) < limit and float(lowest) > -limit


@quick_program
def _roughness(values: Array, grid: Grid) -> tuple[Array, Array]:
    """The largest short-wave fraction of densities `(T, *shape)`, and their least value relative to their peaks."""
    lowest = jnp.min(values / jnp.max(values, axis=tuple(range(1, values.ndim)), keepdims=True))
    return jnp.max(jax.vmap(lambda density: largest_short_fraction(density, grid))(values)), lowest

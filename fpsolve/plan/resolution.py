"""How well a grid resolves a problem: measured on samples, before anything is evolved.

    leak            sqrt(pi) |H sqrt(pi)|, the rate at which a spectral basis would lose the Gibbs density
    short share     the largest coefficient of the shortest tenth of the initial density, relative to the largest of all
    wave size       |p / sqrt(pi)| = sqrt(1 + chi2), by which the wave picture enlarges rounding
    aliasing        of a clipped wave and of its density (`operator.aliasing`)

Each is one program of shapes.
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
from ..operator.aliasing import EXCESS, aliasing_error, short_wave_damping, short_wave_share
from ..operator.clipping import clip_tails

UNRESOLVED = 1e-3  # the largest defect at which a basis is used: with as many cells finite volumes are seldom better
MOST_CROSSED = 4.0  # the Péclet number of a cell up to which a density is tried in a basis (a free choice)


class Resolution(NamedTuple):
    """Numbers about a spectral operator with a Gibbs density and a start: `size` of the clipped wave, whether it was
    `clipped`, its aliasing error and that of its density, the `leak`, and the `defect` of the start."""

    size: Any
    clipped: Any
    wave_error: Any
    density_error: Any
    leak: Any
    defect: Any


@quick_program
def measure(operator: Operator, diffusion: Any, field: Array, fraction: Any, first: Any) -> Resolution:
    """`diffusion` `(d,)`, the least on each axis; `fraction` of the mass that clipping may cost; `first` the first time
    after t = 0 that is reported."""
    grid, log_sqrt_pi = operator.grid, operator.log_sqrt_pi
    weights = grid.weights.astype(field.dtype)
    wave = clip_tails(field, log_sqrt_pi, weights, fraction)
    damping = [short_wave_damping(diffusion[i], axis, first) for i, axis in enumerate(grid.axes)]
    wave_error, density_error = aliasing_error(grid, wave, jnp.exp(log_sqrt_pi), damping)
    defect = jnp.zeros((), field.dtype)
    for i, axis in enumerate(grid.axes):
        if axis.uniform:
            share = short_wave_share(field, axis, i)
            # The grid feels what lies beyond its frequencies, which is about the square of what it shows.
            defect = jnp.maximum(defect, jnp.maximum(share**2, share * damping[i]))
    return Resolution(
        size=jnp.sqrt(grid.integrate(wave**2)),
        clipped=jnp.any(wave != divide_by_sqrt_pi(field, log_sqrt_pi)),
        wave_error=wave_error,
        density_error=density_error,
        leak=gibbs_leak(operator),
        defect=jnp.where(jnp.isfinite(defect), defect, jnp.inf),
    )


@quick_program
def gibbs_leak(operator: Operator) -> Array:
    """The rate at which the Gibbs density would leak, 1 / time; zero where mass is lost anyway."""
    if operator.grid.absorbs:
        return jnp.zeros((), operator.log_sqrt_pi.dtype)  # sqrt(pi) is no state of such a process
    root = jnp.exp(operator.log_sqrt_pi)
    leak = operator.grid.integrate(root * jnp.abs(operator.hamiltonian(root)))
    return jnp.where(jnp.isfinite(leak), leak, jnp.inf)


def is_wave_representable(size: float, dtype: Any, tol: float) -> bool:
    """Whether rounding of p / sqrt(pi) stays below the tolerance, and below half of the digits, since a larger wave is
    not resolved."""
    epsilon = float(jnp.finfo(dtype).eps)
    return bool(np.isfinite(size)) and 8 * epsilon * size < min(tol, epsilon**0.5)


def wave_resolved(clipped: Any, wave_error: Any, density_error: Any, tol: float) -> bool:
    """Whether a clipped wave aliases no more than the tolerance, or not much more than the density itself does."""
    return not bool(clipped) or float(wave_error) <= max(tol, EXCESS * float(density_error))


@quick_program
def wave_size(log_sqrt_pi: Array, field: Array, grid: Grid) -> Array:
    """|p / sqrt(pi)| at t = 0."""
    return jnp.sqrt(grid.integrate(divide_by_sqrt_pi(field, log_sqrt_pi) ** 2))


@quick_program
def rates(operator: Operator) -> tuple[Array, Array]:
    """The largest eigenvalue of H, and the largest exit rate."""
    return operator.bounds[1], operator.largest_rate


@quick_program
def short_share(field: Array, grid: Grid) -> Array:
    """The worst share of the shortest tenth over the axes."""
    shares = [short_wave_share(field, axis, i) for i, axis in enumerate(grid.axes) if axis.uniform]
    return jnp.max(jnp.stack([jnp.zeros((), field.dtype), *shares]))


@sampling_program
def largest_peclet(equation: FokkerPlanck, grid: Grid) -> Array:
    """The largest Péclet number |b_i| h_i / D_i of a cell."""
    drift, diffusion = grid.sample(equation.drift), grid.sample(equation.diffusions)
    widths = jnp.asarray([axis.length / axis.n for axis in grid.axes])
    return jnp.max(jnp.abs(drift) * widths / diffusion)


def is_resolved(grid: Grid, values: Array) -> bool:
    """Whether densities `(T, *shape)` that were tried in a basis came out smooth, and hardly negative."""
    worst, lowest = _roughness(values, grid)
    return float(worst) < UNRESOLVED and float(lowest) > -UNRESOLVED


@quick_program
def _roughness(values: Array, grid: Grid) -> tuple[Array, Array]:
    lowest = jnp.min(values / jnp.max(values, axis=tuple(range(1, values.ndim)), keepdims=True))
    return jnp.max(jax.vmap(lambda frame: short_share(frame, grid))(values)), lowest

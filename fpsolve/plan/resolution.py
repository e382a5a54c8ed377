"""How well a grid resolves a problem, measured on samples before anything is evolved.

    leak            sqrt(pi) |H sqrt(pi)|, the rate at which a spectral basis would
                    lose the Gibbs density
    short fraction  the largest coefficient of the shortest tenth of the wavelengths
                    of the initial density, relative to the largest of all
    wave size       |p / sqrt(pi)| = sqrt(1 + chi2), by which the wave picture
                    enlarges rounding
    aliasing        of a clipped wave and of its density (`operator.aliasing`)

Each is one compiled program that takes arrays.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import quick_program, sampling_program
from ..core.types import AnyArray, DType, Scalar
from ..equation import FokkerPlanck, divide_by_sqrt_pi
from ..grid import Grid
from ..operator import Operator
from ..operator.aliasing import aliasing_error, short_wave_damping, short_wave_fraction
from ..operator.clipping import clip_tails
from ..operator.constants import CONSTANTS as OPERATOR
from .constants import CONSTANTS


class Resolution(NamedTuple):
    """How a spectral operator with a Gibbs density resolves an initial density. All
    fields are scalars.

    - `size`: the norm of the clipped wave
    - `clipped`: whether its tails were clipped
    - `wave_error`, `density_error`: the aliasing errors of the wave and of its density,
      in L1
    - `leak`: the rate at which the Gibbs density is lost, relative to that of
      relaxation in its wells
    - `defect`: what the basis misses of the initial density, relative
    """

    size: Scalar
    clipped: Scalar
    wave_error: Scalar
    density_error: Scalar
    leak: Scalar
    defect: Scalar


@quick_program
def measure(
    operator: Operator,
    diffusion: AnyArray,
    field: Array,
    fraction: Scalar,
    first: Scalar,
) -> Resolution:
    """The resolution of an initial density `field` `(*shape)`.

    `diffusion` `(d,)` is the least on each axis, `fraction` the part of the mass that
    clipping may cost, and `first` the first time after t = 0 that is reported: until
    then diffusion damps short waves.
    """
    grid = operator.grid
    log_sqrt_pi = operator.log_sqrt_pi
    # The wave as a run would evolve it, and what the grid makes of it.
    weights = grid.weights.astype(field.dtype)
    wave = clip_tails(field, log_sqrt_pi, weights, fraction)
    damping = [
        short_wave_damping(diffusion[i], axis, first)
        for i, axis in enumerate(grid.axes)
    ]
    wave_error, density_error = aliasing_error(
        grid, wave, jnp.exp(log_sqrt_pi), damping
    )
    # The defect, over the uniform axes: the coefficients of polynomials are not
    # aliased.
    defect = jnp.zeros((), field.dtype)
    for i, axis in enumerate(grid.axes):
        if axis.uniform:
            short = short_wave_fraction(field, axis, i)
            # Frequencies beyond those of the grid have about the square of the
            # amplitude of its highest ones.
            on_axis = jnp.maximum(short**2, short * damping[i])
            defect = jnp.maximum(defect, on_axis)
    return Resolution(
        size=jnp.sqrt(grid.integrate(wave**2)),
        clipped=jnp.any(wave != divide_by_sqrt_pi(field, log_sqrt_pi)),
        wave_error=wave_error,
        density_error=density_error,
        leak=relative_leak(operator, diffusion),
        # NaN would pass every test of "too large".
        defect=jnp.where(jnp.isfinite(defect), defect, jnp.inf),
    )


@quick_program
def gibbs_leak(operator: Operator) -> Array:
    """The rate at which the basis loses the Gibbs density, 1 / time; zero where
    absorbing ends lose mass anyway.
    """
    if operator.grid.absorbs:
        # sqrt(pi) is not stationary with absorbing ends
        return jnp.zeros((), operator.log_sqrt_pi.dtype)
    sqrt_pi = jnp.exp(operator.log_sqrt_pi)
    # H sqrt(pi) = 0 in the continuum: what is left is the error of the basis.
    residual = operator.hamiltonian(sqrt_pi)
    leak = operator.grid.integrate(sqrt_pi * jnp.abs(residual))
    # Infinity fails every test of "small enough"; NaN would pass some.
    return jnp.where(jnp.isfinite(leak), leak, jnp.inf)


@quick_program
def relative_leak(operator: Operator, diffusion: AnyArray) -> Array:
    """`gibbs_leak` relative to the rate of relaxation in the wells; `diffusion` `(d,)`
    is the least on each axis.
    """
    sqrt_pi = jnp.exp(operator.log_sqrt_pi)
    return gibbs_leak(operator) / relaxation_rate(sqrt_pi, diffusion, operator.grid)


def relaxation_rate(sqrt_pi: Array, diffusion: AnyArray, grid: Grid) -> Array:
    """A rate at which densities relax in the wells of pi, 1 / time: sum_i D_i ( E (d_i
    log pi)^2 + (2 pi / L_i)^2 ).

    It is k for U = k x^2 / 2, and the rate of the slowest wave on a ring where U is
    constant.
    """
    rate = jnp.zeros((), sqrt_pi.dtype)
    for i, axis in enumerate(grid.axes):
        below, above = axis.face_neighbors(sqrt_pi, i)
        spacings = jnp.asarray(axis.spacings, sqrt_pi.dtype)
        # Fisher's information by differences, 4 int |d_i sqrt(pi)|^2: axis i first, and
        # then one axis after another.
        squares = (above - below) ** 2
        information = 4 * jnp.tensordot(1 / spacings, squares, axes=(0, i))
        # From the last axis to the first, since each product removes the last one.
        others = [a for j, a in enumerate(grid.axes) if j != i]
        for other in reversed(others):
            information = information @ jnp.asarray(other.weights, sqrt_pi.dtype)
        wavenumber = 2 * math.pi / axis.length
        rate = rate + diffusion[i] * (information + wavenumber**2)
    return rate


def is_wave_representable(
    size: float, dtype: DType, tol: float, clipped: bool = False
) -> bool:
    """Whether p / sqrt(pi), whose norm is `size`, can be evolved in a precision to a
    tolerance.

    Its rounding must stay below the tolerance. Of a wave that is not clipped it must
    also stay below half of the digits: a larger one is not resolved by the grid either.
    Whether a `clipped` one is resolved is measured.
    """
    epsilon = float(jnp.finfo(dtype).eps)
    rounding = CONSTANTS.wave_rounding_units * epsilon * size
    limit = min(tol, epsilon**0.5)
    if clipped:
        limit = max(limit, CONSTANTS.clipped_wave_rounding * tol)
    return bool(np.isfinite(size)) and rounding < limit


def wave_resolved(
    clipped: Scalar, wave_error: Scalar, density_error: Scalar, tol: float
) -> bool:
    """Whether a clipped wave aliases no more than the tolerance, or not much more than
    the density itself does.
    """
    if not bool(clipped):
        return True
    limit = max(tol, OPERATOR.aliasing_excess * float(density_error))
    return float(wave_error) <= limit


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
    """The largest relative coefficient of the shortest tenth of the wavelengths, over
    all uniform axes.
    """
    fractions = [
        short_wave_fraction(field, axis, i)
        for i, axis in enumerate(grid.axes)
        if axis.uniform
    ]
    # The zero serves grids without a uniform axis, whose maximum would be empty.
    zero = jnp.zeros((), field.dtype)
    return jnp.max(jnp.stack([zero, *fractions]))


@sampling_program
def largest_peclet(equation: FokkerPlanck, grid: Grid) -> Array:
    """The largest Peclet number |b_i| h_i / D_i of a cell; infinity where there is
    drift without diffusion.
    """
    return jnp.max(_peclet_numbers(equation, grid, 0.0))


@sampling_program
def numerical_diffusion(equation: FokkerPlanck, grid: Grid, t: Scalar = 0.0) -> Array:
    """The diffusion that the fluxes of Scharfetter-Gummel add along each axis,
    `(*shape, d)`, in units of diffusion:

        D (z coth z - 1),      z = |b| h / (2 D)

    with the Peclet number 2 z of the cell: D z^2 / 3 for a small one, which is of
    second order, and |b| h / 2 for a large one or without diffusion, where the fluxes
    are upwind and of first order. Relative to `equation.diffusions` it is the error of
    the fluxes. It needs no second run, and may be used inside `jit`, `vmap` and `grad`.

    **Cost**: one evaluation of the drift at each node. **Reference**: Scharfetter and
    Gummel (1969).

    ```python
    import fpsolve as fp
    from fpsolve.plan.resolution import numerical_diffusion

    equation = fp.FokkerPlanck(diffusion=[0.0, 1.0], force=lambda x: x[::-1])
    added = numerical_diffusion(
        equation, fp.Grid(fp.Line(-4, 4, 32), fp.Line(-4, 4, 32))
    )
    ```
    """
    diffusion = grid.sample(equation.diffusions)
    z = _peclet_numbers(equation, grid, t) / 2
    # z coth z - 1 = 2 z / (1 - e^{-2z}) - z - 1. For small z its digits cancel, and z^2
    # / 3 - z^4 / 45 is as good.
    small = z < CONSTANTS.small_peclet
    series = z**2 / 3 - z**4 / 45
    # Where another branch is taken, z is replaced, so that neither value nor gradient
    # of this one is NaN.
    moderate = jnp.where(small | ~jnp.isfinite(z), 1.0, z)
    excess = jnp.where(small, series, moderate / jnp.tanh(moderate) - 1)
    widths = jnp.asarray([axis.length / axis.n for axis in grid.axes])
    # The limit of infinite z, where D vanishes.
    upwind = jnp.abs(_upwinded_drift(equation, grid, t)) * widths / 2
    return jnp.where(jnp.isfinite(z), diffusion * excess, upwind)


def _peclet_numbers(equation: FokkerPlanck, grid: Grid, t: Scalar) -> Array:
    """|b_i| h_i / D_i at every node, `(*shape, d)`: zero without drift, infinity with
    drift but without diffusion.
    """
    diffusion = grid.sample(equation.diffusions)
    widths = jnp.asarray([axis.length / axis.n for axis in grid.axes])
    # The drift is compared with the diffusion cell by cell, since either may vary in x.
    work = jnp.abs(_upwinded_drift(equation, grid, t)) * widths
    without = diffusion <= 0
    pure_drift = jnp.where(work > 0, jnp.inf, 0)
    # The divisor is never zero, not even where the quotient is not used: its gradient
    # would be NaN.
    quotient = work / jnp.where(without, 1, diffusion)
    return jnp.where(without, pure_drift, quotient)


def _upwinded_drift(equation: FokkerPlanck, grid: Grid, t: Scalar) -> Array:
    """The drift in the fluxes of finite volumes, `(*shape, d)`: -grad U + f, with the b
    of the Ito form as it is.
    """

    def drift(x: Array) -> Array:
        if equation.potential is None:
            gradient = jnp.zeros_like(x)
        else:
            gradient = jax.grad(equation.energy)(x, t)
        return -gradient if equation.force is None else equation.force(x, t) - gradient

    return grid.sample(drift)


def is_resolved(grid: Grid, values: Array) -> bool:
    """Whether densities `(T, *shape)` that were evolved in a basis are smooth, and
    negative by rounding only.
    """
    short, lowest = _roughness(values, grid)
    limit = CONSTANTS.largest_defect
    return float(short) < limit and float(lowest) > -limit


@quick_program
def _roughness(values: Array, grid: Grid) -> tuple[Array, Array]:
    """The largest short-wave fraction of densities `(T, *shape)`, and their least value
    relative to their peaks.
    """
    space = tuple(range(1, values.ndim))
    peaks = jnp.max(values, axis=space, keepdims=True)
    lowest = jnp.min(values / peaks)
    fractions = jax.vmap(lambda density: largest_short_fraction(density, grid))(values)
    return jnp.max(fractions), lowest

"""States of one grid at the nodes of another, to the accuracy of the scheme.

In a basis the functions of the basis are evaluated. A density that was evolved as a
wave p / sqrt(pi) is interpolated as that wave, which the basis resolves, and sqrt(pi)
is evaluated at the new nodes; except at t = 0, where the wave may be infinite in tails,
unless they are clipped as a run clips them. On finite volumes the new values are the
averages of a conservative reconstruction.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.apply_along_axis import matmul_along_axis
from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.machine import on_processor
from ..core.program import quick_program, sampling_program
from ..core.types import AnyArray, Scalar
from ..equation import Equation, divide_by_sqrt_pi
from ..grid import Axis, Grid, sample_product
from ..operator.clipping import clip_tails
from ..operator.transfer import transfer
from .constants import CONSTANTS


def interpolate(
    equation: Equation,
    old: Grid,
    new: Grid,
    times: AnyArray,
    values: Array,
    *,
    spectral: bool,
    as_wave: bool,
    clipped: float | None = None,
) -> Array:
    """Values `(T, *old.shape)` at the nodes of `new`, `(T, *new.shape)`; zero where
    these lie outside of `old`.

    **Arguments**: `equation`, read (`core.content`), whose sqrt(pi) is taken at `times`
    `(T,)`; `spectral`, whether the values are those of a basis; `as_wave`, whether they
    are densities that were evolved as waves p / sqrt(pi); `clipped`, the part of the
    mass by which a run clips the waves of all these values, None where it clips none.
    """
    matrices = [
        _matrix(a, b, spectral) for a, b in zip(old.axes, new.axes, strict=True)
    ]
    # On a processor numpy does the products: it compiles nothing.
    if not (spectral and as_wave):
        if is_concrete(values) and on_processor():
            moved = transferred(old, new, np.asarray(values), spectral)
            return as_array(moved, values.dtype)
        return _apply(matrices, values)
    if is_concrete(equation, values, times) and on_processor():
        frames = (np.asarray(times), np.asarray(values))
        moved = _waves_on_host(equation, old, new, *frames, clipped)
        return as_array(moved, values.dtype)
    fraction = None if clipped is None else as_array(clipped, values.dtype)
    return _through_waves(
        equation, old, new, matrices, jnp.asarray(times), values, fraction
    )


def transferred(old: Grid, new: Grid, values: np.ndarray, spectral: bool) -> np.ndarray:
    """Values `(T, *old.shape)` themselves at the nodes of `new`, by numpy."""
    for i, (a, b) in enumerate(zip(old.axes, new.axes, strict=True)):
        matrix = _matrix(a, b, spectral)
        moved = np.moveaxis(values, 1 + i, -1) @ matrix.T
        values = np.moveaxis(moved, -1, 1 + i)
    return values


def _waves_on_host(
    equation: Any,
    old: Grid,
    new: Grid,
    times: np.ndarray,
    values: np.ndarray,
    clipped: float | None,
) -> np.ndarray:
    """`_through_waves` by numpy. Only log pi is sampled by a program, which serves all
    grids of a shape.
    """
    origin = np.asarray(old.origin)

    def log_gibbs(grid: Grid, t: float) -> np.ndarray:
        # The time enters as an array: another one needs no other program.
        positions = tuple(np.asarray(axis.nodes, float) for axis in grid.axes)
        sampled = _sample_log_gibbs(equation, positions, origin, np.asarray(t, float))
        return np.asarray(sampled)

    def of_static(grid: Grid) -> np.ndarray | None:
        return None if equation.time_dependent else log_gibbs(grid, 0.0)

    static_before = of_static(old)
    static_after = of_static(new)
    found = np.zeros((len(times), *new.shape), values.dtype)
    for k, t in enumerate(times.tolist()):
        # The wave of a start may be infinite in tails, unless they are clipped.
        if t == 0 and clipped is None:
            found[k] = transferred(old, new, values[k][None], True)[0]
            continue
        before = log_gibbs(old, t) if static_before is None else static_before
        after = log_gibbs(new, t) if static_after is None else static_after
        found[k] = moved_as_wave(old, new, before, after, values[k], clipped)
    return found


def moved_as_wave(
    old: Grid,
    new: Grid,
    before: np.ndarray,
    after: np.ndarray,
    density: np.ndarray,
    clipped: float | None,
) -> np.ndarray:
    """A density at the nodes of the new grid, by its wave p / sqrt(pi) and by numpy.

    **Arguments**: `before` `(*old.shape)` and `after` `(*new.shape)`, log pi up to the
    same constant; `clipped` as for `interpolate`.
    """
    weights = old.weights_on_host
    # The norm of pi on the old grid: on the new one it is the same density, at other
    # points.
    largest = np.max(before)
    mass = np.sum(weights * np.exp(before - largest))
    log_z = largest + np.log(mass)
    log_sqrt_pi = (before - log_z) / 2
    # A start may be far above sqrt(pi) in its tails.
    with np.errstate(over="ignore"):
        if clipped is None:
            wave = divide_by_sqrt_pi(density, log_sqrt_pi, np)
        else:
            wave = clip_tails(density, log_sqrt_pi, weights, clipped, np)
    moved = transferred(old, new, wave[None], True)[0]
    return moved * np.exp((after - log_z) / 2)


@sampling_program
def _sample_log_gibbs(
    equation: Any,
    positions: tuple[Any, ...],
    origin: Any,
    t: Scalar,
) -> Array:
    """log pi up to a constant at one time and all points of a product of positions,
    `(*shape)`.
    """
    return sample_product(lambda x: equation.log_gibbs(x, origin, t), positions)


def _matrix(old: Axis, new: Axis, spectral: bool) -> np.ndarray:
    """The transfer along one axis; beyond the box of the old one the state is zero."""
    matrix = transfer(old, new, spectral)
    if not spectral or old.boundary == "periodic":
        return matrix
    # A node at the very end may stick out by rounding.
    slack = CONSTANTS.box_slack * old.length
    lower = old.lower - slack
    upper = old.upper + slack
    inside = (new.nodes >= lower) & (new.nodes <= upper)
    return matrix * inside[:, None]


@quick_program
def _apply(matrices: Sequence[AnyArray], values: Array) -> Array:
    for i, matrix in enumerate(matrices):
        # A real matrix, also for complex waves.
        factor = jnp.asarray(matrix, values.real.dtype)
        values = matmul_along_axis(i, factor, values, len(matrices))
    return values


@sampling_program
def _through_waves(
    equation: Any,
    old: Grid,
    new: Grid,
    matrices: Sequence[AnyArray],
    times: Array,
    values: Array,
    fraction: Array | None,
) -> Array:
    """Densities of waves at the nodes of the new grid: the waves are interpolated, and
    sqrt(pi) is evaluated anew.
    """

    def log_gibbs(grid: Grid, t: Scalar) -> Array:
        return grid.sample(lambda x: equation.log_gibbs(x, old.origin, t))

    def to_new_nodes(field: Array) -> Array:
        for i, matrix in enumerate(matrices):
            factor = jnp.asarray(matrix, field.dtype)
            field = matmul_along_axis(i, factor, field, len(matrices))
        return field

    def densities_at(t: Scalar, densities: Array) -> Array:
        log_sqrt_pi = equation.log_sqrt_pi(old, t)
        # The norm of pi on the old grid: on the new one it is the same density, at
        # other points.
        log_z = jnp.max(log_gibbs(old, t)) - 2 * jnp.max(log_sqrt_pi)
        if fraction is None:
            wave = divide_by_sqrt_pi(densities, log_sqrt_pi)
        else:
            weights = old.weights.astype(densities.dtype)
            wave = clip_tails(densities, log_sqrt_pi, weights, fraction)
        moved = to_new_nodes(wave)
        sqrt_pi = jnp.exp((log_gibbs(new, t) - log_z) / 2)
        return (moved * sqrt_pi).astype(values.dtype)

    # Waves that are clipped are finite at t = 0 as well.
    at_start = (times == 0) & (fraction is None)
    at_start = at_start.reshape(-1, *[1] * old.ndim)
    # Nothing infinite is computed there, which would make derivatives NaN.
    later = jnp.where(at_start, 0, values)
    if equation.time_dependent:
        # One time after the other: each needs fields of its own.
        found = jax.lax.map(lambda frame: densities_at(*frame), (times, later))
    else:
        found = densities_at(0.0, later)
    return jnp.where(at_start, to_new_nodes(values), found)

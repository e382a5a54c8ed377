"""The state at t = 0 on the grid, and observables there, from what the user gave:
functions, arrays or an `fp.Gaussian`.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, real_dtype
from ..core.checks import check_numbers, is_concrete, raise_value_error
from ..core.content import read_at
from ..core.program import sampling_program
from ..core.types import ArrayModule, Formula, Initial, Real
from ..equation import Equation
from ..grid import Axis, Gaussian, Grid, without_rounding
from ..operator.basis import evaluate
from .constants import CONSTANTS
from .equation_check import probe
from .validation import check_tolerance


def initial_field(
    equation: Equation, grid: Grid, initial: Initial, tol: Real | None = None
) -> Array:
    """The state at t = 0 on the grid, `(*shape)`, in the precision of the run.

    Entries of a density below zero whose mass is within the tolerance `tol` are set to
    zero (`negative_mass`).
    """
    if equation.evolves_density:
        return _initial_density(grid, initial, tol)
    return _initial_wave(grid, initial)


def _initial_density(grid: Grid, initial: Initial, tol: Real | None) -> Array:
    """A density from an array, a `Gaussian` or a function."""
    if _is_array(initial):
        field = _floating("initial", initial)
        grid.check_density("initial", field, check_tolerance(tol, real_dtype(field)))
        return without_rounding(field)
    if not callable(initial):
        raise_value_error(
            "initial",
            initial,
            "it must be a density",
            "Give a function, fp.Gaussian or an array.",
        )
    if isinstance(initial, Gaussian):
        return grid.density(initial, "initial")
    probe("initial", initial, grid)
    return grid.density(sample_function(grid, read_at(initial, grid.ndim)), "initial")


def _initial_wave(grid: Grid, initial: Initial) -> Array:
    """A wave from an array or a function."""
    if not _is_array(initial):
        if not callable(initial):
            cure = "Give a function of x or an array of the grid's shape."
            raise_value_error("initial", initial, "it must be a wave", cure)
        probe("initial", initial, grid)
        initial = sample_function(grid, read_at(initial, grid.ndim))
    field = _floating("initial", initial)
    if field.shape != grid.shape:
        cure = "Give a function of x, or an array of the grid's shape."
        raise_value_error(
            "initial.shape",
            field.shape,
            f"it must be the grid's shape, {grid.shape}",
            cure,
        )
    if is_concrete(field):
        # By numpy: inside a user's `jit` an operation of JAX on known values would be
        # traced.
        known = np.asarray(field)
        if not np.all(np.isfinite(known)):
            cure = "Examine the wave near singular points."
            raise_value_error(
                "initial", "NaN or infinity", "every value must be finite", cure
            )
        if not np.any(known != 0):
            raise_value_error(
                "initial",
                0.0,
                "the wave is zero everywhere",
                "Move the box to where the wave is.",
            )
    return field


def _is_array(initial: object) -> bool:
    return hasattr(initial, "dtype") or isinstance(initial, list | tuple)


def _floating(name: str, values: Any) -> Array:
    """An array of floating point or complex numbers; integers are converted."""
    if is_concrete(values):
        check_numbers(
            name,
            values,
            "it must hold numbers",
            "Give a function of x, or an array of numbers.",
            waves=True,
        )
    array = jnp.asarray(values)
    return array if jnp.issubdtype(array.dtype, jnp.inexact) else array.astype(float)


def sample_observables(
    observables: Mapping[str, Formula] | None, grid: Grid
) -> dict[str, Array]:
    """The observables on the grid, by name; they must be a mapping from names to
    functions of a point.
    """
    if observables is None:
        return {}
    cure = 'Give {"mean": lambda x: x[0]}, say.'
    if not isinstance(observables, Mapping):
        raise_value_error(
            "observables",
            observables,
            "they must be a mapping from names to functions of x",
            cure,
        )
    for name, f in observables.items():
        if not callable(f):
            raise_value_error(
                f"observables[{name!r}]", f, "it must be a function of x", cure
            )
        probe(f"observables[{name!r}]", f, grid)
    return {
        name: sample_function(grid, read_at(f, grid.ndim))
        for name, f in observables.items()
    }


@sampling_program
def sample_function(grid: Grid, function: Formula) -> Array:
    """The values `(*shape, ...)` of a function on the grid, by a small compiled program
    of its own.

    The function must have been read (`core.content.read_at`).
    """
    return grid.sample(function)


@functools.lru_cache(maxsize=64)
def mass_weights(axis: Axis) -> np.ndarray:
    """Weights `(n,)` that integrate the functions of an axis' basis exactly.

    They are the weights of the nodes, except on `fp.Absorbing`, where equal weights
    integrate sines to second order only: there each basis function is integrated by a
    Gauss rule.
    """
    if axis.boundary != "absorbing":
        return axis.weights
    x, w = np.polynomial.legendre.leggauss(axis.n + CONSTANTS.extra_gauss_points)
    # From the interval [-1, 1] of the rule to that of the axis.
    points = axis.lower + axis.length * (x + 1) / 2
    return w * axis.length / 2 @ evaluate(axis, points)[1]


def of_mass_one(grid: Grid, field: Array) -> Array:
    """A smooth density `(*shape)`, normalised with the basis (`mass_weights`)."""
    # Concrete fields are summed on the host, which takes no compiled program.
    xp: ArrayModule = np if is_concrete(field) else jnp
    mass = xp.asarray(field)
    # One axis after another, from the last: each product removes the last axis.
    for axis in reversed(grid.axes):
        mass = mass @ xp.asarray(mass_weights(axis), dtype=field.dtype)
    if xp is np:
        return as_array(np.asarray(field) / mass, field.dtype)
    return field / mass

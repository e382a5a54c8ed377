"""The validated request of `fp.bridge`: the reference process, the densities at given
times, and the output times.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, real_dtype
from ..core.checks import (
    check_finite_number,
    check_numbers,
    is_concrete,
    raise_value_error,
)
from ..core.content import read_at
from ..core.memory import check_memory
from ..core.types import Initial, Numbers, Real, Scalar
from ..equation import FokkerPlanck
from ..grid import Gaussian, Grid
from ..operator.transfer import transfer
from ..plan.equation_check import check_equation
from ..plan.initial_state import sample_function
from ..plan.validation import (
    check_times,
    check_tolerance,
)
from .constants import CONSTANTS

CURE = "Give a function of x, an array of the grid's shape, or fp.Gaussian."


@dataclasses.dataclass(frozen=True)
class Marginal:
    """A density at one time: its name, as given (functions are read), on the grid."""

    name: str
    time: float
    given: Initial
    density: Array


@dataclasses.dataclass(frozen=True)
class Request:
    """Densities at two times or more, the first at 0 and the last at the total time."""

    equation: FokkerPlanck
    grid: Grid
    marginals: tuple[Marginal, ...]
    times: np.ndarray
    tol: float

    @property
    def total(self) -> float:
        """The time of the last density."""
        return self.marginals[-1].time

    @property
    def dtype(self) -> np.dtype:
        """The precision of the run."""
        return real_dtype(self.marginals[0].density)

    def on(self, grid: Grid) -> "Request":
        """The same on another grid."""
        marginals = tuple(
            dataclasses.replace(m, density=self._density_on(grid, m))
            for m in self.marginals
        )
        return dataclasses.replace(self, grid=grid, marginals=marginals)

    def _density_on(self, grid: Grid, marginal: Marginal) -> Array:
        mass = float(self.grid.integrate_on_host(np.asarray(marginal.density)))
        if not _is_array(marginal.given):
            values = np.asarray(_sampled(marginal.name, marginal.given, grid))
            return as_array(values * mass, self.dtype)
        # An array is interpolated, and what falls below zero is the error of that.
        values = np.asarray(marginal.density, float)
        for i, (old, new) in enumerate(zip(self.grid.axes, grid.axes, strict=True)):
            in_box = (new.nodes >= old.lower) & (new.nodes <= old.upper)
            inside = in_box | (old.boundary == "periodic")
            matrix = transfer(old, new, old.modes is not None) * inside[:, None]
            moved = np.moveaxis(values, i, -1) @ matrix.T
            values = np.moveaxis(moved, -1, i)
        values = np.maximum(values, 0)
        return as_array(values * (mass / grid.integrate_on_host(values)), self.dtype)


def validate(
    equation: Any,
    start: Initial,
    end: Initial,
    total: Real,
    grid: Any,
    times: Numbers | None,
    tol: Real | None,
    through: Any,
) -> Request:
    """The request, with functions as they are now. **Raises** `ValueError` by name."""
    # 1. The reference process.
    if not isinstance(equation, FokkerPlanck):
        cure = (
            "Give fp.FokkerPlanck(potential, diffusion), or fp.FokkerPlanck(None, D) "
            "for Brownian motion."
        )
        raise_value_error(
            "equation",
            equation,
            "the reference of a bridge is an fp.FokkerPlanck",
            cure,
        )
    equation, grid = check_equation(equation, grid)
    assert isinstance(equation, FokkerPlanck)
    has_killing = getattr(equation, "killing", None) is not None
    has_source = getattr(equation, "source", None) is not None
    if has_killing or has_source:
        raise_value_error(
            "equation",
            equation,
            "a bridge keeps its mass",
            "Leave out killing and source.",
        )
    equation.require_reversible(grid, "a bridge in the wave picture")
    if equation.time_dependent and not is_concrete(equation, start, end, through):
        cure = (
            "Call fp.bridge outside of jit, vmap and grad, or give a static potential."
        )
        raise_value_error(
            "equation",
            equation,
            "steps in a moving potential need concrete values",
            cure,
        )
    # 2. Times, which decide how many fields there are.
    if not is_concrete(total, times, _times_of(through)):
        cure = "Trace the equation and the densities, not the times."
        raise_value_error(
            "total, times",
            "traced",
            "they must be known when the program is made",
            cure,
        )
    total = check_finite_number(
        "total", total, "Give the time between the two densities."
    )
    if total <= 0:
        raise_value_error(
            "total",
            total,
            "it must be positive",
            "Give the time between the two densities.",
        )
    times = _output_times(times, total)
    check_memory(
        "grid",
        grid.shape,
        (3 + grid.ndim) * len(times) + 24,
        "Take fewer nodes, or fewer times.",
    )
    # 3. Densities.
    given = [("start", 0.0, start), *_between(through, total), ("end", total, end)]
    marginals = tuple(
        Marginal(name, time, *_read(name, density, grid))
        for name, time, density in given
    )
    tol = check_tolerance(tol, real_dtype(marginals[0].density))
    return Request(equation, grid, _balanced(grid, marginals), times, tol)


def _times_of(through: Any) -> list[Scalar]:
    """The times of a list of pairs, as far as it is one."""
    # `through` is not yet checked: what is no pair is refused later, by name.
    pairs = through if isinstance(through, list | tuple) else ()
    return [
        pair[0] for pair in pairs if isinstance(pair, list | tuple) and len(pair) > 0
    ]


def _output_times(times: Numbers | None, total: float) -> np.ndarray:
    if times is None:
        return np.linspace(0, total, CONSTANTS.default_times)
    found = np.asarray(check_times(times), float)
    # A last time that was computed, as 3 * 0.1 is, may exceed the total by rounding.
    if found[-1] > total * (1 + 4 * np.finfo(float).eps):
        cure = f"Give times from 0 to {total:g}."
        raise_value_error(
            "times",
            float(found[-1]),
            f"they must lie within [0, total] = [0, {total:g}]",
            cure,
        )
    return np.minimum(found, total)


def _between(through: Any, total: float) -> list[tuple[str, float, Initial]]:
    """The densities between the two ends, by name and time."""
    cure = (
        "Give through=[(0.5, density), ...] with times between 0 and total, ascending."
    )
    allowed = "it must be a list of pairs of a time and a density"
    if not isinstance(through, list | tuple):
        raise_value_error("through", through, allowed, cure)
    found = []
    before = 0.0
    for i, pair in enumerate(through):
        name = f"through[{i}]"
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise_value_error(name, pair, allowed, cure)
        time = check_finite_number(f"{name} time", pair[0], cure)
        if not before < time < total:
            raise_value_error(
                f"{name} time",
                time,
                f"it must be after {before:g} and before {total:g}",
                cure,
            )
        found.append((name, time, pair[1]))
        before = time
    return found


def _is_array(density: object) -> bool:
    return hasattr(density, "dtype") or isinstance(density, list | tuple)


def _read(name: str, density: Initial, grid: Grid) -> tuple[Initial, Array]:
    """A density as it is now, and on the grid: arrays as they are, others of mass 1."""
    if _is_array(density) and not is_concrete(density):
        field = jnp.asarray(density)
        grid.check_density(name, field)
        return density, field
    if _is_array(density):
        values = np.asarray(
            check_numbers(name, density, "it must be a density", CURE, waves=True)
        )
        dtype = values.dtype if np.issubdtype(values.dtype, np.inexact) else float
        field = as_array(values, dtype)
        grid.check_density(name, field)
        # Entries below zero by rounding have passed.
        return density, as_array(np.maximum(np.asarray(field), 0), field.dtype)
    if not callable(density):
        raise_value_error(name, density, "it must be a density", CURE)
    if not isinstance(density, Gaussian):
        density = read_at(density, grid.ndim)
    return density, _sampled(name, density, grid)


def _sampled(name: str, density: Any, grid: Grid) -> Array:
    """A function that was read, or a normal density, of mass 1 on a grid."""
    if isinstance(density, Gaussian):
        return grid.density(density, name)
    return grid.density(sample_function(grid, density), name)


def _balanced(grid: Grid, marginals: tuple[Marginal, ...]) -> tuple[Marginal, ...]:
    """The marginals with the mass of the first. **Raises** `ValueError` where masses
    differ by more than rounding.
    """
    dtype = real_dtype(marginals[0].density)
    if not is_concrete([marginal.density for marginal in marginals]):
        # Traced masses cannot be compared.
        mass = grid.integrate(marginals[0].density)
        equal = []
        for marginal in marginals:
            factor = mass / grid.integrate(marginal.density)
            density = marginal.density * factor.astype(dtype)
            equal.append(dataclasses.replace(marginal, density=density))
        return tuple(equal)
    single = np.finfo(dtype).bits == 32
    tolerance = CONSTANTS.mass_tolerance_single if single else CONSTANTS.mass_tolerance
    masses = [
        float(grid.integrate_on_host(np.asarray(m.density, float))) for m in marginals
    ]
    balanced = []
    for marginal, mass in zip(marginals, masses, strict=True):
        if abs(mass - masses[0]) > tolerance * masses[0]:
            allowed = (
                f"its mass must be that of start, {masses[0]:.9g}: a bridge neither "
                "makes nor loses mass"
            )
            cure = (
                "Divide both arrays by grid.integrate of them, or give functions, "
                "which are normalised."
            )
            raise_value_error(f"the mass of {marginal.name}", mass, allowed, cure)
        density = as_array(np.asarray(marginal.density) * (masses[0] / mass), dtype)
        balanced.append(dataclasses.replace(marginal, density=density))
    return tuple(balanced)

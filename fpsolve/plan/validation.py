"""Input validation, shared by all public functions.

A wrong argument raises `ValueError` with its name, its value, what is allowed and what
to do, before anything is computed. Values are checked only where they are concrete.
Under `jit`, `vmap` and `grad` only shapes can be checked; there a run reports bad
values by its result code.
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import (
    check_finite_number,
    check_numbers,
    is_concrete,
    raise_value_error,
)
from ..core.types import DType, Real
from ..equation import Continuity, Equation
from ..operator import Scheme
from .constants import CONSTANTS


def check_kinds(
    equation: object, scheme: object = None, may_flow: bool = False
) -> None:
    """Raise `ValueError` unless `equation` is an equation, and `scheme` a scheme or
    None.

    A flow passes only if it `may_flow`: it has neither a Hamiltonian with levels nor
    rates.
    """
    if isinstance(equation, Continuity) and not may_flow:
        allowed = (
            "a flow has no H that is bounded below, hence no levels, no Gibbs density "
            "and no fitted grid"
        )
        raise_value_error(
            "equation", equation, allowed, "Give it to fp.evolve with grid=."
        )
    if not isinstance(equation, Equation):
        cure = (
            "Give fp.FokkerPlanck(potential), fp.Schrodinger(potential), "
            "fp.ScoreHamiltonian(score), ..."
        )
        raise_value_error("equation", equation, "it must be an equation", cure)
    if scheme is not None and not isinstance(scheme, Scheme):
        cure = "Give fp.Spectral(), fp.ScharfetterGummel() or fp.SquareRoot()."
        raise_value_error("scheme", scheme, "it must be a scheme", cure)


def check_times(times: Any) -> Array:
    """Times `(T,)` as an array: at least one, ascending, at least zero, finite."""
    if is_concrete(times):
        cure = "Give ascending times, such as [0.5, 1.0]."
        allowed = "they must be a list of real numbers, not empty"
        array = np.atleast_1d(check_numbers("times", times, allowed, cure))
        if array.ndim != 1 or array.size == 0:
            raise_value_error("times", times, allowed, cure)
        if not np.all(np.isfinite(array)):
            raise_value_error("times", times, "they must be finite", cure)
        if np.any(array < 0):
            raise_value_error("times", times, "they must be at least zero", cure)
        if np.any(np.diff(array) <= 0):
            raise_value_error("times", times, "they must be ascending", cure)
    # Known times stay on the host, also inside a user's `jit`.
    xp = np if is_concrete(times) else jnp
    return as_array(xp.atleast_1d(times))


def check_breakpoints(breakpoints: Any, times: Array) -> Array:
    """Breakpoints `(B,)` as an array: ascending, finite, after 0 and not after the last
    of the output `times`.
    """
    cure = "Give the times of jumps and kinks, such as breakpoints=[0.25, 0.5]."
    if not is_concrete(breakpoints):
        return as_array(jnp.atleast_1d(breakpoints))
    if np.size(breakpoints) == 0:
        return as_array(np.zeros(0))
    allowed = "they must be a list of times"
    numbers = check_numbers("breakpoints", breakpoints, allowed, cure)
    array = np.atleast_1d(numbers).astype(float)
    if array.ndim != 1:
        raise_value_error("breakpoints", breakpoints, allowed, cure)
    if not np.all(np.isfinite(array)):
        raise_value_error("breakpoints", breakpoints, "they must be finite", cure)
    if np.any(np.diff(array) <= 0):
        raise_value_error("breakpoints", breakpoints, "they must be ascending", cure)
    last = float(np.max(np.asarray(times))) if is_concrete(times) else math.inf
    outside = array[(array <= 0) | (array > last)]
    if outside.size:
        allowed = f"they must be after 0 and not after the last time, {last:g}"
        raise_value_error(
            "breakpoints",
            float(outside[0]),
            allowed,
            "Drop those that are outside of the run.",
        )
    return as_array(array)


def check_tolerance(
    tol: Real | None, dtype: DType, name: str = "tol", default: float = 1e-8
) -> float:
    """The tolerance as a float. It must be positive, and not below the precision of
    `dtype`; None gives the default.
    """
    # In float32 the usual default would be below the precision.
    single = jnp.finfo(dtype).bits == 32
    if tol is None:
        return max(default, CONSTANTS.default_tol_single) if single else default
    tol = check_finite_number(name, tol)
    least = least_tolerance(dtype)
    if tol <= 0:
        raise_value_error(name, tol, "it must be positive", "Give 1e-8, say.")
    if tol < least:
        cure = f"Raise {name}."
        if single:
            cure = (
                'Call jax.config.update("jax_enable_x64", True) before anything else, '
                "and give float64 arrays."
            )
        raise_value_error(
            name, tol, f"{jnp.dtype(dtype).name} holds {least:.1e} at best", cure
        )
    return tol


def least_tolerance(dtype: DType) -> float:
    """The smallest tolerance that is accepted in a precision."""
    return CONSTANTS.least_tol_units * float(jnp.finfo(dtype).eps)


def check_wick(equation: Equation, wick: Real) -> None:
    """Raise `ValueError` for an angle outside [0, pi/2], and for a density at any angle
    but 0.
    """
    angle = check_finite_number(
        "wick", wick, "Give an angle in radians, 0 for imaginary time."
    )
    if angle != 0 and equation.evolves_density:
        cure = "Evolve equation.schrodinger(), whose wave may turn by any angle."
        raise_value_error(
            "wick", wick, "a density is defined in imaginary time only, wick = 0", cure
        )
    if angle < 0:
        cure = (
            "Give a positive angle and the complex conjugate of the initial wave, and "
            "conjugate the result."
        )
        raise_value_error(
            "wick",
            wick,
            "it must lie between 0, imaginary time, and pi/2, real time",
            cure,
        )
    if angle > np.pi / 2 + 1e-12:  # a rounded pi / 2 is accepted
        cure = "Give 0 for imaginary time, math.pi / 2 for real time."
        raise_value_error(
            "wick", wick, "beyond pi/2 the wave grows without bound", cure
        )

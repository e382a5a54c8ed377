"""The validated arguments of `fp.evolve` for a flow."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import real_dtype
from ..core.checks import check_finite_number, is_concrete, raise_value_error
from ..core.memory import check_memory
from ..core.types import FilePath, Formula, Initial, Numbers, Real
from ..equation import Continuity
from ..grid import Grid
from ..operator import Spectral
from ..operator.skew import check_skew
from ..plan.constants import CONSTANTS as PLAN
from ..plan.equation_check import check_and_sample
from ..plan.initial_state import initial_field, sample_observables
from ..plan.validation import (
    check_breakpoints,
    check_times,
    check_tolerance,
)
from .flow_run import FlowProblem
from .interpolation import transferred
from .outflow import check_outflow


@dataclasses.dataclass(frozen=True)
class FlowRequest:
    """A problem on the grid of the user, the density at t = 0 as it was given and on
    the grid, and the samples of the observables by name.
    """

    problem: FlowProblem
    initial: Initial
    density: Array
    observables: dict[str, Array]


def validate_flow(
    equation: Continuity,
    initial: Initial,
    times: Numbers,
    grid: Any,
    scheme: Any,
    method: Any,
    tol: Real | None,
    wick: Real,
    observables: Mapping[str, Formula] | None,
    breakpoints: Numbers,
    checkpoint: FilePath | None,
) -> FlowRequest:
    """The request, or a `ValueError` that names the argument."""
    if grid is None:
        cure = (
            "Give grid=, a box that holds the density, and the square root of its "
            "tails, at all times."
        )
        allowed = "a grid is fitted to a potential, and a flow has none"
        raise_value_error("grid", None, allowed, cure)
    # The function is read here, as it is now, and examined at t = 0.
    equation, grid, _ = check_and_sample(equation, grid, None)
    check_skew(grid)
    # Options of other equations that have no meaning for a flow.
    if scheme is not None and not isinstance(scheme, Spectral):
        allowed = "a flow is antisymmetric in a Fourier basis"
        cure = "Give fp.Spectral(), or leave it out."
        raise_value_error("scheme", scheme, allowed, cure)
    if method is not None:
        allowed = (
            "a flow has its own methods, orthogonal exponentials and steps of them"
        )
        raise_value_error("method", method, allowed, "Leave it out.")
    if checkpoint is not None:
        allowed = "states of a flow are not stored"
        cure = "Leave it out, and save the solution."
        raise_value_error("checkpoint", checkpoint, allowed, cure)
    if check_finite_number("wick", wick) != 0:
        allowed = "the wave of a flow is real, in real time"
        raise_value_error("wick", wick, allowed, "Leave it out.")
    times = check_times(times)
    cure = "Take fewer nodes on some axis, or fewer times."
    check_memory("grid", grid.shape, len(times) + PLAN.run_fields, cure)
    # Intervals are divided in Python, before a program is traced.
    if not is_concrete(breakpoints):
        allowed = "steps of a flow end at known times"
        cure = "Give numbers that do not depend on traced values."
        raise_value_error("breakpoints", breakpoints, allowed, cure)
    known = np.asarray(check_breakpoints(breakpoints, times))
    sampled = sample_observables(observables, grid)
    density = initial_field(equation, grid, initial, tol)
    # The default tolerance depends on the precision of the start.
    number = check_tolerance(tol, real_dtype(density))
    problem = FlowProblem(equation, grid, square_root(density), times, known, number)
    # Particles are followed on the host, for concrete numbers only.
    if problem.concrete:
        check_outflow(equation, grid, density, times)
    return FlowRequest(problem, initial, density, sampled)


def problem_on(request: FlowRequest, grid: Grid, known: FlowProblem) -> FlowProblem:
    """The problem of a request on another grid; an array is interpolated from the
    problem `known`.

    **Raises** `ValueError` where the velocity or the start is not finite there.
    """
    equation, grid, _ = check_and_sample(known.equation, grid, None)
    if callable(request.initial):
        wave = square_root(initial_field(equation, grid, request.initial))
    else:
        # The basis resolves the wave, which may then be slightly negative: only its
        # square is a density.
        waves = np.asarray(known.wave)[None]
        values = transferred(known.grid, grid, waves, True)[0]
        wave = jnp.asarray(values, known.wave.dtype)
    return FlowProblem(equation, grid, wave, known.times, known.breakpoints, known.tol)


def square_root(density: Array) -> Array:
    """sqrt(p), whose derivative is 0 where p is 0."""
    # The inner `where` keeps the derivative of the root finite where it is not taken.
    positive = density > 0
    root = jnp.sqrt(jnp.where(positive, density, 1))
    return jnp.where(positive, root, 0)

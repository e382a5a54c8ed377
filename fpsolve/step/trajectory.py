"""Drivers in one program: from the state at t = 0 to the states at all output times.

    run_static        a static operator
    run_moving        a moving operator under transformations: a fixed number of steps
                      in each interval

`interval_run.py` has the driver that goes from one output time to the next in Python.
States are densities, or waves psi = p / sqrt(pi_t) relative to the Gibbs density of
their own time.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..operator.constants import CONSTANTS as OPERATOR
from ..propagate.base import Propagator
from .constants import CONSTANTS
from .interval import integrate_interval_evenly
from .magnus import Magnus
from .problem import Problem
from .representation import boundary_aliasing_error, clipping_error


class Trajectory(NamedTuple):
    """Densities or waves `(T, *shape)`, operator calls, and the error at each time."""

    values: Array
    calls: Array
    error: Array


def run_static(
    problem: Problem, method: Propagator, field: Array, lengths: Array, tol: Array
) -> Trajectory:
    """From one field to all lengths `(T,)` with a static operator, in one program."""
    # The tails of p / sqrt(pi) may be so large that their rounding would exceed the
    # tolerance: they are clipped first.
    state = problem.to_state(field, tol * OPERATOR.clipping_tol_fraction)
    operator = problem.at(0.0, state.real.dtype)
    prepared = method.prepare(operator, problem.picture)
    # The method reaches all lengths in one call, so that it can share the work between
    # them.
    taken = method.apply(prepared, state, lengths, tol, problem.wick)
    values = problem.to_field(taken.field.astype(state.dtype), 0.0)
    # At t = 0 the field is given, and has no error.
    error = jnp.where(lengths > 0, taken.error, 0)
    return Trajectory(values, taken.calls, error)


class _Row(NamedTuple):
    """What `run_moving` gives at one output time."""

    value: Array
    calls: Array
    error: Array
    aliasing_error: Array


def run_moving(
    problem: Problem, method: Magnus, field: Array, times: Array, tol: float
) -> Trajectory:
    """A moving operator under transformations: a fixed number of steps an interval."""
    dtype = field.real.dtype
    is_short = len(times) >= CONSTANTS.many_times

    def interval(
        carry: tuple[Array, Array], later: Array
    ) -> tuple[tuple[Array, Array], _Row]:
        state, now = carry
        taken = integrate_interval_evenly(
            method, problem, state, now, later, tol, is_short
        )
        aliasing_error = boundary_aliasing_error(problem, taken.field, later)
        value = problem.to_field(taken.field, later)
        row = _Row(value, taken.calls, taken.error, aliasing_error)
        return (taken.field, later), row

    # A scan, not a loop in Python: one program for any number of output times.
    fraction = jnp.asarray(tol * OPERATOR.clipping_tol_fraction, dtype)
    state = problem.to_state(field, fraction)
    start = (state, jnp.zeros((), dtype))
    _, rows = jax.lax.scan(interval, start, times.astype(dtype))
    # At t = 0 the field is given, and nothing is clipped.
    clipped = jnp.where(times > 0, clipping_error(problem, field, state), 0)
    clipped = clipped.astype(dtype)
    # The errors of the intervals add up. The aliasing error is that of a state, and its
    # largest one remains.
    aliasing_error = jax.lax.cummax(rows.aliasing_error)
    error = clipped + jnp.cumsum(rows.error) + aliasing_error
    return Trajectory(rows.value, jnp.sum(rows.calls), error)

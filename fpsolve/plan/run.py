"""Running a plan: one program of shapes for a static problem, steps from the host or in a program for a moving one."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.program import compiled, quick_program
from ..core.result import first_failure
from ..grid import Grid
from ..method import Magnus, Picture, Problem
from ..method.trajectory import Trajectory, run_by_interval, run_moving, run_static
from .plan import Outcome, Plan


def run(plan: Plan, bar: Any = None, saved: Any = None) -> Outcome:
    """The outcome of a plan; `bar` counts the times on the terminal, `saved` keeps them in a folder."""
    request, problem, method, field = plan.request, plan.problem, plan.method, plan.start
    times, tol = request.times, request.tol
    concrete = is_concrete(problem, method, field, times)
    if concrete and (isinstance(method, Magnus) or saved is not None or bar is not None):
        trajectory = run_by_interval(problem, method, field, times, tol, bar, saved)
        return Outcome(*_conclude(problem.grid, problem.picture, trajectory, field, times, as_array(tol), plan.fault))
    if isinstance(method, Magnus):
        trajectory = run_moving(problem, method, field, times, tol)
        return Outcome(*conclude(problem.grid, problem.picture, trajectory, field, times, tol, plan.fault))
    return Outcome(*_run_static(problem, method, field, times, as_array(tol, field.real.dtype), plan.fault))


@compiled
def _run_static(problem: Problem, method: Any, field: Array, times: Array, tol: Array, fault: str) -> Any:
    """A static problem, from its state at t = 0 to the parts of an `Outcome`."""
    trajectory = run_static(problem, method, field, times.astype(field.real.dtype), tol)
    return conclude(problem.grid, problem.picture, trajectory, field, times, tol, fault)


def conclude(
    grid: Grid, picture: Picture, trajectory: Trajectory, field: Array, times: Array, tol: Any, fault: str
) -> Any:
    """Values, errors, numbers for `stats`, and the code of a run."""
    values = jnp.where(_at_start(times, grid.ndim), field, trajectory.values)
    numbers = {"operator_calls": trajectory.calls}
    if picture is not Picture.WAVE:
        numbers |= {
            "mass_drift": jnp.max(jnp.abs(grid.integrate(values) - grid.integrate(field))),
            "min_density": jnp.min(values),
        }
    failure = first_failure(
        ("not_finite", ~jnp.all(jnp.isfinite(values))),
        (fault, jnp.max(trajectory.error) > tol),
    )
    return values, trajectory.error, numbers, failure


_conclude = quick_program(conclude)


@quick_program
def in_units(
    given: Array, times: Array, values: Array, numbers: dict[str, Array], scale: Array
) -> tuple[Array, dict[str, Array]]:
    """Values and numbers of a run in the user's units, in which a field is `scale` times smaller."""
    values = values / scale.astype(values.real.dtype)
    # What was given at t = 0 comes back as it was, to the last bit.
    values = jnp.where(_at_start(times, given.ndim), given, values)
    if "min_density" in numbers:
        numbers = {**numbers, "min_density": jnp.min(values)}
    return values, numbers


def _at_start(times: Array, ndim: int) -> Array:
    return (times == 0).reshape(-1, *[1] * ndim)


def expectations(observables: dict[str, Array], values: Array, grid: Grid, picture: Picture) -> dict[str, Array]:
    """The mean of each sampled observable under every density, or |psi|^2, `(T, ...)`."""
    return {name: _expectation(sampled, values, grid, picture) for name, sampled in observables.items()}


@quick_program
def _expectation(sampled: Array, values: Array, grid: Grid, picture: Picture) -> Array:
    weights = values
    if picture is Picture.WAVE:
        weights = jnp.abs(values) ** 2
        weights = weights / grid.integrate(weights)[(..., *[None] * grid.ndim)]
    flat = (weights * grid.weights.astype(weights.dtype)).reshape(weights.shape[0], -1)
    sampled = sampled.astype(weights.dtype)
    return (flat @ sampled.reshape(grid.size, -1)).reshape(weights.shape[0], *sampled.shape[grid.ndim :])

"""Running a plan.

    static problem            one compiled program from the state at t = 0 to the
                              outcome
    time-dependent problem    interval by interval, with steps controlled from the host
    the same, under jit       a fixed number of steps in each interval, inside one
    and grad                  program

A static problem is also run interval by interval where progress is shown or states are
stored.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, real_dtype
from ..core.checks import is_concrete
from ..core.program import quick_program, run_program
from ..core.result import first_failure
from ..core.types import Scalar
from ..grid import Grid
from ..propagate import Picture, Propagator
from ..step import Magnus, Problem
from ..step.interval_run import Checkpoint, ProgressBar, run_by_interval
from ..step.trajectory import Trajectory, run_moving, run_static
from .outcome import Outcome
from .plan import Plan


def run(
    plan: Plan, bar: ProgressBar | None = None, saved: Checkpoint | None = None
) -> Outcome:
    """The outcome of a plan. `bar` shows the progress on the terminal, `saved` stores
    the states in a folder.
    """
    request = plan.request
    problem = plan.problem
    method = plan.method
    field = plan.start
    times = request.times
    tol = request.tol
    dtype = real_dtype(field)
    # A density given as a function was normalised by the basis: that state is returned
    # at t = 0.
    given = request.given if field is request.field else plan.field
    start = _Start(field, given, as_array(request.sampled.scale, dtype))
    # Steps whose length depends on their error, progress and storage need the host
    # between them.
    needs_host = isinstance(method, Magnus) or saved is not None or bar is not None
    grid = problem.grid
    picture = problem.picture
    fault = plan.fault
    if needs_host and is_concrete(problem, method, field, times):
        found = run_by_interval(problem, method, field, times, tol, bar, saved)
        # The tolerance as an array, so that another one needs no new program.
        limit = as_array(tol)
        return Outcome(*_conclude(grid, picture, found, start, times, limit, fault))
    if isinstance(method, Magnus):
        found = run_moving(problem, method, field, times, tol)
        return Outcome(*conclude(grid, picture, found, start, times, tol, fault))
    # No time is estimated under a transformation.
    seconds = np.inf if plan.seconds is None else plan.seconds
    limit = as_array(tol, dtype)
    fields = _run_static(problem, method, start, times, limit, fault, seconds=seconds)
    return Outcome(*fields)


def run_accepted(
    first: Plan, run_one: Callable[[Plan], Outcome], may_try: Callable[[Plan], bool]
) -> tuple[Plan, Outcome]:
    """The first plan whose outcome is accepted, or the best of all, with its outcome.

    `run_one` runs a plan; `may_try` says whether a fallback is run.
    """
    attempt: Plan | None = first
    best_plan = first
    best_outcome: Outcome | None = None
    while attempt is not None:
        outcome = run_one(attempt)
        # A plan that is no alternative but a correction replaces the one before it,
        # whatever its error.
        if (
            best_outcome is None
            or not attempt.compared
            or outcome.worst < best_outcome.worst
        ):
            best_plan = attempt
            best_outcome = outcome
        attempt = attempt.fallback(outcome)
        if attempt is not None and not may_try(attempt):
            break
    assert best_outcome is not None
    return best_plan, best_outcome


# The fields of an `Outcome`.
Fields: TypeAlias = tuple[Array, Array, dict[str, Array], Array]


class _Start(NamedTuple):
    """The state at t = 0: `field` in the units of the grid that is solved on, `given`
    in the user's, and their ratio `scale`.
    """

    field: Array
    given: Array
    scale: Array


@run_program
def _run_static(
    problem: Problem,
    method: Propagator,
    start: _Start,
    times: Array,
    tol: Array,
    fault: str,
) -> Fields:
    """A static problem: from its state at t = 0 to the fields of an `Outcome`."""
    times_of_run = times.astype(real_dtype(start.field))
    found = run_static(problem, method, start.field, times_of_run, tol)
    return conclude(problem.grid, problem.picture, found, start, times, tol, fault)


def conclude(
    grid: Grid,
    picture: Picture,
    trajectory: Trajectory,
    start: _Start,
    times: Array,
    tol: Scalar,
    fault: str,
) -> Fields:
    """The fields of an `Outcome`: values in the user's units, errors, numbers for
    `stats`, and the result code.
    """
    # The state at t = 0 is returned bit for bit as it was given: scaling back and forth
    # would round it.
    first = (times == 0).reshape(-1, *[1] * grid.ndim)
    values = jnp.where(first, start.given, trajectory.values / start.scale)
    numbers = {"operator_calls": trajectory.calls}
    if picture is not Picture.WAVE:
        # Invariants of a density, as they came out: the user sees how well they were
        # kept.
        densities = jnp.where(first, start.field, trajectory.values)
        drift = grid.integrate(densities) - grid.integrate(start.field)
        numbers |= {
            "mass_drift": jnp.max(jnp.abs(drift)),
            "min_density": jnp.min(values),
        }
    # The first failure counts: an error that is no number must not be reported as a
    # missed tolerance.
    failure = first_failure(
        ("not_finite", ~jnp.all(jnp.isfinite(values))),
        (fault, jnp.max(trajectory.error) > tol),
    )
    return values, trajectory.error, numbers, failure


_conclude = quick_program(conclude)


def expectations(plan: Plan, values: Array) -> dict[str, Array]:
    """The mean `(T, ...)` of each observable under every density, or |psi|^2."""
    grid = plan.problem.grid
    picture = plan.problem.picture
    scale = as_array(plan.request.sampled.scale, real_dtype(values))
    observables = plan.request.observables.items()
    return {
        name: _expectation(sampled, values, scale, grid, picture)
        for name, sampled in observables
    }


@quick_program
def _expectation(
    sampled: Array, values: Array, scale: Array, grid: Grid, picture: Picture
) -> Array:
    weights = scale * values
    if picture is Picture.WAVE:
        # In imaginary time the norm of a wave decays; expectations are those of the
        # normalised wave.
        weights = jnp.abs(values) ** 2
        weights = weights / grid.integrate(weights)[(..., *[None] * grid.ndim)]
    masses = weights * grid.weights.astype(weights.dtype)
    flat = masses.reshape(weights.shape[0], -1)
    sampled = sampled.astype(weights.dtype)
    # One product of matrices, (times, nodes) by (nodes, components of the observable).
    means = flat @ sampled.reshape(grid.size, -1)
    return means.reshape(weights.shape[0], *sampled.shape[grid.ndim :])

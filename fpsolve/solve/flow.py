"""The evolution of a density by a velocity: `fp.evolve` for an `fp.Continuity`.

    psi(0) = sqrt(p(0)),   d_t psi = -G psi,   p(t) = psi(t)^2

Density in, density out. G is antisymmetric on the grid, so that the mass of p is kept
to rounding, and p >= 0.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.decision import Decision
from ..core.program import quick_program
from ..core.progress import track
from ..core.result import REMEDIES, AccuracyWarning, first_failure, raise_failure
from ..core.result import code as code_of
from ..core.types import FilePath, Formula, Initial, Numbers, Real
from ..equation import Continuity
from ..grid import Grid
from ..operator import Spectral
from .constants import CONSTANTS
from .flow_look import FlowLook, look_at_flow
from .flow_request import FlowRequest, validate_flow
from .flow_run import FlowRun, run_flow
from .solution import Solution


def evolve_flow(
    equation: Continuity,
    initial: Initial,
    times: Numbers,
    *,
    grid: Any,
    scheme: Any,
    method: Any,
    tol: Real | None,
    wick: Real,
    observables: Mapping[str, Formula] | None,
    breakpoints: Numbers,
    progress: bool,
    checkpoint: FilePath | None,
    throw: bool,
    check: bool,
) -> Solution:
    """The `Solution` of a flow; arguments, results, failures are as of `fp.evolve`."""
    options = (grid, scheme, method, tol, wick, observables, breakpoints, checkpoint)
    request = validate_flow(equation, initial, times, *options)
    bar = track(request.problem.times, progress)
    run = run_flow(request.problem, bar)
    if bar is not None:
        bar.close()
    # The whole error, by a second look at the problem.
    found = look_at_flow(request, run, check)
    return _solution(request, run, found, tol is not None, throw)


def _solution(
    request: FlowRequest,
    run: FlowRun,
    found: FlowLook,
    has_tol: bool,
    throw: bool,
) -> Solution:
    """The result of a run. **Raises** `NumericalFailure` if it failed, with `throw`."""
    problem = request.problem
    grid, tol = problem.grid, problem.tol
    values = _with_given(run.waves, request.density, jnp.asarray(problem.times))
    # The first failure counts: an error that is no number must not be reported as a
    # missed tolerance.
    code = first_failure(
        ("not_finite", ~jnp.all(jnp.isfinite(values))),
        ("tolerance_not_reached", jnp.max(run.error) > tol),
    )
    # Under a transformation of JAX the code cannot be examined: the caller finds it in
    # the result.
    if is_concrete(code, found.parts):
        if throw and int(code) != 0:
            worst = float(jnp.max(run.error))
            detail = f"estimated error {worst:.1e}, tol {tol:.1e}."
            raise_failure(code, detail, has_throw=True)
        # Without a requested tolerance the user is told of an error that leaves hardly
        # a digit.
        limit = tol if has_tol else max(tol, CONSTANTS.unresolved_error)
        # An error that is not known is NaN, and exceeds nothing.
        worst = float(np.max(np.asarray(found.parts.whole)))
        if int(code) == 0 and found.compared and worst > limit:
            code = as_array(code_of("grid_too_coarse"), int)
            detail = f"estimated error {worst:.1e}, tol {limit:.1e}."
            message = f"{detail} {REMEDIES['grid_too_coarse']}"
            # This function, `evolve_flow`, `evolve` and its wrapper lie between here
            # and the user's call.
            warnings.warn(message, AccuracyWarning, stacklevel=5)
    # Invariants as they came out: the user sees how well they were kept.
    mass = grid.integrate(values)
    numbers = {
        "operator_calls": run.calls,
        "mass_drift": jnp.max(jnp.abs(mass - grid.integrate(request.density))),
        "min_density": jnp.min(values),
    }
    scheme = Decision("Spectral", "because D of a Fourier basis is antisymmetric")
    picture = Decision("wave", "the square root of the density is evolved")
    decisions = (
        ("scheme", scheme),
        ("method", run.method),
        ("picture", picture),
        ("check", found.decision),
    )
    observables = {
        name: _mean(sampled, values, grid)
        for name, sampled in request.observables.items()
    }
    return Solution(
        times=problem.times,
        values=values,
        error=found.parts.whole,
        errors=found.parts.as_dict(),
        observables=observables,
        numbers=numbers,
        code=code,
        equation=problem.equation,
        scheme=Spectral(),
        space_error=None,
        grid=grid,
        decisions=decisions,
    )


@quick_program
def _with_given(waves: Array, density: Array, times: Array) -> Array:
    """psi^2 `(T, *shape)`; at t = 0 the density as it was given, bit for bit."""
    first = (times == 0).reshape(-1, *[1] * density.ndim)
    return jnp.where(first, density, waves**2)


@quick_program
def _mean(sampled: Array, values: Array, grid: Grid) -> Array:
    """The mean of a sampled observable under every density, `(T, ...)`."""
    masses = values * grid.weights.astype(values.dtype)
    flat = masses.reshape(len(values), -1)
    means = flat @ sampled.reshape(grid.size, -1).astype(values.dtype)
    return means.reshape(len(values), *sampled.shape[grid.ndim :])

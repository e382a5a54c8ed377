"""Time evolution: `fp.evolve`.

    p(t) = exp(tL) p(0)        Fokker-Planck
    psi(t) = exp(-t e^{iw} H) psi(0)        Schrödinger, w the Wick angle

Static equations are exact in time; time-dependent ones are stepped at high order. Every argument is checked before
anything is computed.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from ..core.checks import is_concrete, raise_value_error
from ..core.program import full_precision
from ..core.progress import track
from ..core.result import raise_failure
from ..core.types import Real
from ..equation import Equation
from ..fit import fit
from ..grid import Grid
from ..operator import Scheme, Spectral
from ..plan import Outcome, Plan, Request, first_plan, needs_rates, validate
from ..plan.run import expectations, run
from ..plan.validation import check_kinds, check_wick
from ..propagate import Propagator
from ..step import Magnus
from .checkpoint import Checkpoint, check_folder
from .solution import Solution


@full_precision
def evolve(
    equation: Equation,
    initial: Any,
    times: Any,
    *,
    grid: Grid | None = None,
    scheme: Scheme | None = None,
    method: Propagator | Magnus | None = None,
    tol: Real | None = None,
    wick: Real = 0.0,
    observables: Mapping[str, Callable[[Array], Any]] | None = None,
    progress: bool = False,
    checkpoint: Any = None,
    throw: bool = True,
) -> Solution:
    """The density of a process, or the wave of a Schrödinger equation, at the times requested.

    **Arguments**

    - `equation`: `fp.FokkerPlanck` or `fp.Schrodinger`; a time-dependent potential is a function of absolute time
    - `initial`: the state at t = 0: a function of x of shape `(d,)` or `fp.Gaussian` (both normalised to mass 1 for a
      process), or an array of the grid's shape (taken as it is); float32 arrays are evolved in float32
    - `times`: `(T,)`, ascending, at least zero
    - `grid`: where to solve it; None fits one to `tol` (`fp.fit_grid`), and `space_error` holds its estimated error
    - `scheme`: in space; None takes `fp.Spectral` where it resolves the Gibbs and the initial density on this grid,
      else `fp.ScharfetterGummel`
    - `method`: in time; None chooses, and `stats["method"]` says why
    - `tol`: relative L1 error in time; 1e-8, or 1e-5 without x64
    - `wick`: angle in radians, Schrödinger only: 0 imaginary time, pi/2 real time
    - `observables`: `{name: f}`; expectations of f(x) (any shape) under the density, or |psi|^2
    - `progress`: a bar on the terminal; `checkpoint`: a folder in which every saved time is kept, so that the same
      call resumes, to the same bits
    - `throw`: raise `NumericalFailure` unless the result is "successful"

    **Returns** a `Solution`. **Raises** `ValueError` for every argument that cannot be right, before computing.
    **Keeps**: what scheme and method keep together; `stats` reports mass drift and the most negative value.
    **Cost**: static, about sqrt(2 t |H| log(1/tol)) operator calls in all dimensions. Functions are read at every call
    and evaluated by a small program of their own; the rest is compiled once for a shape, a scheme and a method.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-3.0, 3.0, 64))
    solution = fp.evolve(fp.FokkerPlanck(fp.DoubleWell(2.0)), fp.Gaussian(-1.0, 0.1), [0.5, 1.0], grid=grid)
    ```
    """
    # 1. Validate: check the arguments, and read the functions as they are now.
    folder = None if checkpoint is None else check_folder(checkpoint)
    request = _request(_Arguments(equation, initial, times, grid, scheme, method, tol, wick, observables))
    # 2. Plan: sample the equation, and choose the scheme, the picture and the method.
    attempt: Plan | None = first_plan(request)
    if folder is not None and attempt.chosen.provisional:
        # A folder holds one discretisation. Whether the first one resolves the solution is found out without it.
        attempt = attempt.fallback(run(attempt)) or attempt
    # 3. Run, and try the next plan where the outcome is not accepted.
    best_plan: Plan | None = None
    best_outcome: Outcome | None = None
    while attempt is not None:
        # Each attempt shows a bar of its own.
        outcome = run(attempt, track(request.times, progress), _checkpoint(folder, attempt))
        # A plan that is no alternative but a correction replaces the one before it, whatever its error.
        if best_outcome is None or not attempt.compared or outcome.worst < best_outcome.worst:
            best_plan, best_outcome = attempt, outcome
        attempt = attempt.fallback(outcome) if folder is None else None
    # 4. Return the numbers with what they belong to.
    assert best_plan is not None and best_outcome is not None
    return _solution(best_plan, best_outcome, throw)


@full_precision
def plan(
    equation: Equation,
    initial: Any,
    times: Any,
    *,
    grid: Grid | None = None,
    scheme: Scheme | None = None,
    method: Propagator | Magnus | None = None,
    tol: Real | None = None,
    wick: Real = 0.0,
    observables: Mapping[str, Callable[[Array], Any]] | None = None,
) -> Plan:
    """What `fp.evolve` would do with the same arguments, and why; print it.

    **Arguments**: those of `fp.evolve`. **Returns** a `Plan`: `.grid`, `.scheme`, `.method`, `.decisions` by name, the
    estimated `.seconds` on one core of a processor or on an accelerator (None where nothing could be measured) and
    `.bytes` of the run.
    **Raises** what `fp.evolve` raises before computing. **Cost**: the functions are sampled, nothing is evolved.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-3.0, 3.0, 64))
    print(fp.plan(fp.FokkerPlanck(fp.DoubleWell(2.0)), fp.Gaussian(-1.0, 0.1), [0.5, 1.0], grid=grid))
    ```
    """
    return first_plan(_request(_Arguments(equation, initial, times, grid, scheme, method, tol, wick, observables)))


class _Arguments(NamedTuple):
    """The arguments that `evolve` and `plan` share, as the user gave them: nothing is known of their types."""

    equation: Any
    initial: Any
    times: Any
    grid: Any
    scheme: Any
    method: Any
    tol: Any
    wick: Any
    observables: Any


def _request(given: _Arguments) -> Request:
    """The validated request, on a fitted grid where none was given."""
    check_kinds(given.equation, given.scheme)
    if given.grid is not None:
        return validate(*given)
    check_wick(given.equation, given.wick)
    # A fit knows the errors of spectral grids alone, and methods that need rates run on finite volumes.
    if (given.scheme is not None and not given.scheme.spectral) or needs_rates(given.method):
        choice = given.scheme if given.scheme is not None else given.method
        raise_value_error("grid", None, f"a grid is fitted for fp.Spectral, not for {choice!r}", "Give grid=.")
    fitted = fit(given.equation, given.initial, given.tol, given.times, wick=given.wick)
    on_fitted_grid = given._replace(grid=fitted.grid, scheme=Spectral())
    return validate(*on_fitted_grid, fitted=(fitted.description, fitted.space_error))


def _checkpoint(folder: Path | None, plan: Plan) -> Checkpoint | None:
    if folder is None:
        return None
    return Checkpoint(folder, plan.request, plan.scheme, plan.method, plan.start)


def _solution(plan: Plan, outcome: Outcome, throw: bool) -> Solution:
    """The result of a plan. **Raises** `NumericalFailure` if it failed and the caller wants to `throw`."""
    request: Request = plan.request
    # Under a transformation of JAX the code cannot be examined: the caller finds it in the result.
    if throw and is_concrete(outcome.code, outcome.error) and int(outcome.code) != 0:
        worst = float(jnp.max(outcome.error))
        raise_failure(outcome.code, f"estimated error {worst:.1e}, tol {request.tol:.1e}.", has_throw=True)
    return Solution(
        times=request.times,
        values=outcome.values,
        error=outcome.error,
        observables=expectations(plan, outcome.values),
        numbers=outcome.numbers,
        code=outcome.code,
        equation=request.equation,
        scheme=plan.scheme,
        space_error=request.space_error,
        grid=plan.grid,
        decisions=tuple(plan.decisions.items()),
    )

"""Time evolution: `fp.evolve`.

    p(t) = exp(tL) p(0)        Fokker-Planck
    psi(t) = exp(-t e^{iw} H) psi(0)        Schrödinger, w the Wick angle

Static equations are exact in time; time-dependent ones are stepped at high order. Every
argument is checked before anything is computed.
"""

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..core.arrays import as_array
from ..core.checks import is_concrete, raise_value_error
from ..core.program import full_precision
from ..core.progress import track
from ..core.result import REMEDIES, AccuracyWarning, raise_failure
from ..core.result import code as code_of
from ..core.types import FilePath, Formula, Initial, Numbers, Real
from ..equation import Continuity, Equation
from ..fit import Fit, Turned, fit
from ..grid import Grid
from ..operator import Scheme, Spectral
from ..plan import Outcome, Plan, Request, first_plan, needs_rates, validate
from ..plan.companion import finer
from ..plan.run import expectations, run, run_accepted
from ..plan.validation import check_kinds, check_tolerance, check_wick, least_tolerance
from ..propagate import Dense, Propagator
from ..step import Magnus
from .checkpoint import Checkpoint, check_folder
from .constants import CONSTANTS
from .flow import evolve_flow
from .second_look import Look, look
from .solution import Solution
from .turned import on_given_axes, turned_arguments, turned_decision


@full_precision
def evolve(
    equation: Equation,
    initial: Initial,
    times: Numbers,
    *,
    grid: Grid | None = None,
    scheme: Scheme | None = None,
    method: Propagator | Magnus | None = None,
    tol: Real | None = None,
    wick: Real = 0.0,
    observables: Mapping[str, Formula] | None = None,
    breakpoints: Numbers = (),
    progress: bool = False,
    checkpoint: FilePath | None = None,
    throw: bool = True,
    check: bool = True,
    features: Numbers = (),
) -> Solution:
    """The density of a process, or the wave of a Schrödinger equation, at the times
    requested.

    **Arguments**

    - `equation`: `fp.FokkerPlanck`, `fp.Schrodinger` or `fp.Continuity`; a
      time-dependent potential is a function of absolute time
    - `initial`: the state at t = 0: a function of x of shape `(d,)` or `fp.Gaussian`
      (both normalised to mass 1 for a process), or an array of the grid's shape (taken
      as it is); float32 arrays are evolved in float32
    - `times`: `(T,)`, ascending, at least zero
    - `grid`: where to solve it; None fits one on which the whole error is at most `tol`
    - `scheme`: in space; None takes `fp.Spectral` where it resolves the Gibbs and the
      initial density on this grid, else `fp.ScharfetterGummel`
    - `method`: in time; None chooses, and `stats["method"]` says why
    - `tol`: relative L1 error; 1e-8, or 1e-5 without x64. On a grid that was given it
      is that of the method in time, and the whole error is compared with it afterwards:
      above a `tol` that was given the result is "grid_too_coarse", with an
      `fp.AccuracyWarning`
    - `wick`: angle in radians, Schrödinger only: 0 imaginary time, pi/2 real time
    - `observables`: `{name: f}`; expectations of f(x) (any shape) under the density, or
      |psi|^2
    - `breakpoints`: times at which the potential or the force jumps or has a kink,
      `(B,)`, ascending, after 0 and not after the last of `times`; no step crosses one.
      Outside transformations, those that a dense sampling in time shows are found
      without being given (see Limits). A static problem has no steps, and takes them
      without effect
    - `progress`: a bar on the terminal; `checkpoint`: a folder in which every saved
      time is kept, so that the same call resumes, to the same bits
    - `throw`: raise `NumericalFailure` unless the result is "successful"; a grid that
      was given is only warned of
    - `check`: solve the problem twice more, on grids with other nodes and other boxes,
      for the error in space, of the box and of the start; of a moving problem with many
      output times at 16 of them, and between two the larger error counts. False takes
      what one run shows, which is a rough guide, as under `jit`
    - `features`: places `(m, d)`, or `(m,)` on a line, where a fitted grid is to look
      for narrow wells, barriers and peaks (`fp.fit_grid`); a grid that was given is not
      changed by them

    **Returns** a `Solution`, whose `error` is the whole error and `errors` its parts.
    **Raises** `ValueError` for every argument that cannot be right, before computing.
    **Keeps**: what scheme and method keep together; `stats` reports mass drift and the
    most negative value. **Cost**: static, about sqrt(2 t |H| log(1/tol)) operator calls
    in all dimensions, three times with `check`. Functions are read at every call and
    evaluated by a small program of their own; the rest is compiled once for a shape, a
    scheme and a method.
    **Limits** (*mathematical*): a feature in time that is shorter than 1/8191 of the
    interval between two output times may fall between two samples and is then missed;
    `fp.plan` prints this resolution. Under `jit`, `vmap` and `grad` nothing is sampled:
    give `breakpoints`.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-3.0, 3.0, 64))
    solution = fp.evolve(
        fp.FokkerPlanck(fp.DoubleWell(2.0)),
        fp.Gaussian(-1.0, 0.1),
        [0.5, 1.0],
        grid=grid,
    )
    ```
    """
    # A flow is unitary in real time: its wave has kernels of its own.
    if isinstance(equation, Continuity):
        return evolve_flow(
            equation,
            initial,
            times,
            grid=grid,
            scheme=scheme,
            method=method,
            tol=tol,
            wick=wick,
            observables=observables,
            breakpoints=breakpoints,
            progress=progress,
            checkpoint=checkpoint,
            throw=throw,
            check=check,
        )
    # 1. Validate: check the arguments, and read the functions as they are now.
    folder = None if checkpoint is None else check_folder(checkpoint)
    arguments = _Arguments(
        equation,
        initial,
        times,
        grid,
        scheme,
        method,
        tol,
        wick,
        observables,
        breakpoints,
        features,
    )
    fit_fraction = CONSTANTS.fit_fraction if check else 1.0
    try:
        request = _request(arguments, fit_fraction, may_turn=True)
    except Turned as turned:
        options = {
            "progress": progress,
            "checkpoint": checkpoint,
            "throw": throw,
            "check": check,
        }
        try:
            found = evolve(
                **turned_arguments(arguments._asdict(), turned.matrix), **options
            )
            return on_given_axes(
                found, equation, turned.matrix, check_tolerance(tol, found.values.dtype)
            )
        except ValueError:
            # A refusal speaks of the axes that the user has.
            request = _request(arguments, fit_fraction)
    # 2. Plan and run; find the whole error by a second look at the problem.
    solved = _solve(request, folder, progress, check)
    # 3. A fitted grid on which the error is too large is replaced by finer ones.
    if request.fitted:
        solved = _on_finer_grids(arguments, solved, folder, progress, check)
    # 4. Return the numbers with what they belong to.
    return _solution(solved, tol is not None, throw)


@full_precision
def plan(
    equation: Equation,
    initial: Initial,
    times: Numbers,
    *,
    grid: Grid | None = None,
    scheme: Scheme | None = None,
    method: Propagator | Magnus | None = None,
    tol: Real | None = None,
    wick: Real = 0.0,
    observables: Mapping[str, Formula] | None = None,
    breakpoints: Numbers = (),
    features: Numbers = (),
) -> Plan:
    """What `fp.evolve` would do with the same arguments, and why; print it.

    **Arguments**: those of `fp.evolve`. **Returns** a `Plan`: `.grid`, `.scheme`,
    `.method`, `.decisions` by name, the estimated `.seconds` on one core of a processor
    or on an accelerator (None where nothing could be measured) and `.bytes` of the run.
    **Raises** what `fp.evolve` raises before computing. **Cost**: the functions are
    sampled, nothing is evolved.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-3.0, 3.0, 64))
    print(
        fp.plan(
            fp.FokkerPlanck(fp.DoubleWell(2.0)),
            fp.Gaussian(-1.0, 0.1),
            [0.5, 1.0],
            grid=grid,
        )
    )
    ```
    """
    arguments = _Arguments(
        equation,
        initial,
        times,
        grid,
        scheme,
        method,
        tol,
        wick,
        observables,
        breakpoints,
        features,
    )
    try:
        return first_plan(_request(arguments, CONSTANTS.fit_fraction, may_turn=True))
    except Turned as turned:
        try:
            found = plan(**turned_arguments(arguments._asdict(), turned.matrix))
        except ValueError:
            return first_plan(_request(arguments, CONSTANTS.fit_fraction))
        return dataclasses.replace(
            found,
            decisions={
                **found.decisions,
                "coordinates": turned_decision(turned.matrix),
            },
        )


class _Arguments(NamedTuple):
    """The arguments that `evolve` and `plan` share, as the user gave them: nothing is
    known of their types.
    """

    equation: Any
    initial: Any
    times: Any
    grid: Any
    scheme: Any
    method: Any
    tol: Any
    wick: Any
    observables: Any
    breakpoints: Any
    features: Any

    @property
    def of_request(self) -> tuple[Any, ...]:
        """The arguments of `validate`: those that do not belong to the fit of a grid."""
        return self[: self._fields.index("features")]


class _Solved(NamedTuple):
    """A plan, what came of it, and its error."""

    plan: Plan
    outcome: Outcome
    found: Look


def _solve(
    request: Request, folder: Path | None, progress: bool, check: bool
) -> _Solved:
    """The first plan of a request whose outcome is accepted, and its whole error."""
    plan, outcome = _run_plans(request, folder, progress)
    found = look(plan, outcome, check)
    if plan.is_contracted and found.compared and found.worst > request.tol:
        # The companions run in larger bases: the smaller basis may be what they do not
        # confirm.
        whole = plan.in_full_basis()
        if whole is not None:
            inside = _subfolder(folder, "all_functions")
            outcome = run(
                whole, track(request.times, progress), _checkpoint(inside, whole)
            )
            plan, found = whole, look(whole, outcome, check)
    return _Solved(plan, outcome, found)


def _run_plans(
    request: Request, folder: Path | None, progress: bool
) -> tuple[Plan, Outcome]:
    """The first plan whose outcome is accepted, or the best of all, with its outcome."""
    first = first_plan(request)
    if folder is not None and first.chosen.provisional:
        # A folder holds one discretisation. Whether the first one resolves the solution
        # is found out without it.
        first = first.fallback(run(first)) or first

    def run_one(plan: Plan) -> Outcome:
        # Each attempt shows a bar of its own.
        return run(plan, track(request.times, progress), _checkpoint(folder, plan))

    return run_accepted(first, run_one, may_try=lambda fallback: folder is None)


def _request(given: _Arguments, fit_fraction: float, may_turn: bool = False) -> Request:
    """The validated request, on a grid fitted to `fit_fraction` of the tolerance where
    none was given.

    **Raises** `Turned`, if it `may_turn`, where other coordinates suit the problem
    better.
    """
    check_kinds(given.equation, given.scheme)
    if given.grid is not None:
        return validate(*given.of_request)
    check_wick(given.equation, given.wick)
    # A fit knows the errors of spectral grids alone, and methods that need rates run on
    # finite volumes.
    if (given.scheme is not None and not given.scheme.spectral) or needs_rates(
        given.method
    ):
        choice = given.scheme if given.scheme is not None else given.method
        raise_value_error(
            "grid",
            None,
            f"a grid is fitted for fp.Spectral, not for {choice!r}",
            "Give grid=.",
        )
    try:
        fitted = _fit(given, fit_fraction, may_turn)
    except ValueError:
        if fit_fraction == 1.0:
            raise
        # What cannot be fitted to a part of the tolerance may be fitted to all of it;
        # the error is looked at later.
        fitted = _fit(given, 1.0)
    return _on_fitted_grid(given, fitted)


def _on_fitted_grid(given: _Arguments, fitted: Fit) -> Request:
    """The validated request on a fitted grid."""
    given = given._replace(grid=fitted.grid, scheme=Spectral())
    return validate(*given.of_request, fitted=(fitted.description, fitted.space_error))


def _fit(given: _Arguments, fraction: float, may_turn: bool = False) -> Fit:
    """A grid for a part of the tolerance."""
    dtype = jnp.zeros(()).dtype
    tol = check_tolerance(given.tol, dtype)
    # No tolerance below the precision can be requested of a fit.
    least = least_tolerance(dtype)
    tol = max(fraction * tol, min(tol, least))
    options = {"wick": given.wick, "features": given.features, "may_turn": may_turn}
    return fit(given.equation, given.initial, tol, given.times, **options)


def _on_finer_grids(
    given: _Arguments, solved: _Solved, folder: Path | None, progress: bool, check: bool
) -> _Solved:
    """The same on finer grids, and on wider ones, until the error is at most the
    tolerance or is no longer reduced.
    """
    tol = solved.plan.tol
    # Nodes do not help where a box is too narrow.
    widen = (
        solved.found.narrow
        or float(np.max(np.asarray(solved.found.parts.box))) > tol / 2
    )
    grid, useless = solved.plan.grid, 0
    for attempt in range(CONSTANTS.finer_grids):
        if solved.found.worst <= tol or not _grid_may_help(solved):
            break
        # A new fit would take longer than several runs, and may find the same grid.
        grid = finer(grid, widen)
        try:
            request = _on_fitted_grid(
                given,
                Fit(grid, np.nan, f"{grid!r}, made finer because a companion differed"),
            )
        # a function that is not finite beyond the box, or too little memory
        except ValueError:
            break
        other = _solve(
            request, _subfolder(folder, f"finer_{attempt + 1}"), progress, check
        )
        # Not a number if both are infinite, that is, not known.
        gain = solved.found.worst / other.found.worst
        if gain > 1:
            solved = other
        if not gain > CONSTANTS.least_gain:
            # On coarse nodes an error may rise before it falls: one finer grid shows
            # little.
            useless += 1
            if widen and useless > CONSTANTS.useless_grids:
                break
            widen = True
    return solved


def _grid_may_help(solved: _Solved) -> bool:
    """Whether a finer grid may reduce the error of a run: it was compared, and
    succeeded, or levels of its matrix, which depend on the grid, were not certain
    enough.
    """
    plan, outcome, found = solved
    # What one run shows is too rough a guide for another grid.
    if not found.compared:
        return False
    return int(outcome.code) == 0 or (
        isinstance(plan.method, Dense) and bool(np.all(np.isfinite(outcome.values)))
    )


def _subfolder(folder: Path | None, name: str) -> Path | None:
    """A folder of its own for another discretisation, of which a folder of states holds
    one.
    """
    return None if folder is None else folder / name


def _checkpoint(folder: Path | None, plan: Plan) -> Checkpoint | None:
    if folder is None:
        return None
    return Checkpoint(folder, plan.request, plan.scheme, plan.method, plan.start)


def _space_error(request: Request, found: Look) -> float | None:
    """The error in space of a fitted grid, as the fit estimates it, or as it is found
    on a grid made finer.
    """
    if request.space_error is None or np.isfinite(request.space_error):
        return request.space_error
    return float(np.max(np.asarray(found.parts.space) + np.asarray(found.parts.box)))


def _solution(solved: _Solved, has_tol: bool, throw: bool) -> Solution:
    """The result of a plan. **Raises** `NumericalFailure` if it failed and the caller
    wants to `throw`.
    """
    plan, outcome, found = solved
    request: Request = plan.request
    code = outcome.code
    # Under a transformation of JAX the code cannot be examined: the caller finds it in
    # the result.
    if is_concrete(code, found.parts):
        if throw and int(code) != 0:
            worst = float(jnp.max(outcome.error))
            raise_failure(
                code,
                f"estimated error {worst:.1e}, tol {request.tol:.1e}.",
                has_throw=True,
            )
        # Without a requested tolerance the user is told of an error that leaves hardly
        # a digit.
        limit = (
            request.tol
            if has_tol or request.fitted
            else max(request.tol, CONSTANTS.unresolved_error)
        )
        # What one run shows is too rough a guide for a code. An error that is not known
        # is NaN, and exceeds nothing.
        worst = float(np.max(np.asarray(found.parts.whole)))
        if int(code) == 0 and found.compared and worst > limit:
            code = as_array(code_of("grid_too_coarse"), int)
            detail = f"estimated error {worst:.1e}, tol {limit:.1e}."
            if request.fitted and throw:
                raise_failure(code, detail, has_throw=True)
            if not request.fitted:
                # The frames of this function, of `evolve` and of its wrapper lie
                # between here and the user's call.
                warnings.warn(
                    f"{detail} {REMEDIES['grid_too_coarse']}",
                    AccuracyWarning,
                    stacklevel=4,
                )
    return Solution(
        times=request.times,
        values=outcome.values,
        error=found.parts.whole,
        errors=found.parts.as_dict(),
        observables=expectations(plan, outcome.values),
        numbers=outcome.numbers,
        code=code,
        equation=request.equation,
        scheme=plan.scheme,
        space_error=_space_error(request, found),
        grid=plan.grid,
        decisions=(*plan.decisions.items(), ("check", found.decision)),
    )

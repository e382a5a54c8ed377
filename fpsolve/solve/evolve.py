"""Time evolution: `fp.evolve`.

    p(t) = exp(tL) p(0)                  Fokker-Planck
    psi(t) = exp(-t e^{iw} H) psi(0)     Schrödinger, w the Wick angle

Static equations are exact in time; time-dependent ones are stepped at high order. Every
argument is checked before anything is computed.
"""

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.program import public_function
from ..core.result import REMEDIES, AccuracyWarning, raise_failure
from ..core.result import code as code_of
from ..core.types import FilePath, Formula, Initial, Numbers, Real
from ..equation import Continuity, Equation
from ..fit import Turned
from ..grid import Grid
from ..operator import Scheme
from ..plan import Plan, Request, first_plan
from ..plan.run import expectations
from ..plan.validation import check_tolerance
from ..propagate import Propagator
from ..step import Magnus
from .checkpoint import check_folder
from .constants import CONSTANTS
from .evolution_request import Arguments, validated
from .evolution_run import Solved, on_finer_grids, run_request
from .flow import evolve_flow
from .second_look import Look
from .solution import Solution
from .turned import on_given_axes, turned_arguments, turned_decision


@public_function
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
    arguments = Arguments(
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
    options: dict[str, Any] = {
        "progress": progress,
        "checkpoint": checkpoint,
        "throw": throw,
        "check": check,
    }
    # 1. A flow is unitary in real time: its wave has kernels of its own.
    if isinstance(equation, Continuity):
        return evolve_flow(**arguments.of_flow, **options)
    # 2. Validate: check the arguments, read the functions as they are now, and fit a
    #    grid where none was given.
    folder = None if checkpoint is None else check_folder(checkpoint)
    fit_fraction = CONSTANTS.fit_fraction if check else 1.0
    try:
        request = validated(arguments, fit_fraction, may_turn=True)
    except Turned as turned:
        # 3. Solve in other coordinates, where these suit the problem better.
        try:
            return _in_turned_coordinates(arguments, turned.matrix, options)
        except ValueError:
            # A refusal speaks of the axes that the user has.
            request = validated(arguments, fit_fraction)
    # 4. Plan and run; find the whole error by a second look at the problem.
    solved = run_request(request, folder, progress, check)
    # 5. A fitted grid on which the error is too large is replaced by finer ones.
    if request.fitted:
        solved = on_finer_grids(arguments, solved, folder, progress, check)
    # 6. Return the numbers with what they belong to.
    return _solution(solved, tol is not None, throw)


def _in_turned_coordinates(
    given: Arguments, matrix: np.ndarray, options: dict[str, Any]
) -> Solution:
    """The solution for y, x = `matrix` y, on a grid of the coordinates x.

    **Raises** `ValueError` where the turned problem is refused or fails.
    """
    found = evolve(**turned_arguments(given._asdict(), matrix), **options)
    tol = check_tolerance(given.tol, found.values.dtype)
    return on_given_axes(found, given.equation, matrix, tol)


@public_function
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
    arguments = Arguments(
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
        return first_plan(validated(arguments, CONSTANTS.fit_fraction, may_turn=True))
    except Turned as turned:
        try:
            found = plan(**turned_arguments(arguments._asdict(), turned.matrix))
        except ValueError:
            # As in `evolve`: on the axes that the user has.
            return first_plan(validated(arguments, CONSTANTS.fit_fraction))
        coordinates = turned_decision(turned.matrix)
        decisions = found.decisions | {"coordinates": coordinates}
        return dataclasses.replace(found, decisions=decisions)


def _space_error(request: Request, found: Look) -> float | None:
    """The error in space of a fitted grid, as the fit estimates it, or as it is found
    on a grid made finer.
    """
    if request.space_error is None or np.isfinite(request.space_error):
        return request.space_error
    space = np.asarray(found.parts.space)
    return float(np.max(space + np.asarray(found.parts.box)))


def _solution(solved: Solved, has_tol: bool, throw: bool) -> Solution:
    """The result of a plan. **Raises** `NumericalFailure` if it failed, to `throw`."""
    plan, outcome, found = solved
    request: Request = plan.request
    code = outcome.code
    # Under a transformation of JAX the code cannot be examined: the caller finds it in
    # the result.
    if is_concrete(code, found.parts):
        if throw and int(code) != 0:
            worst = float(jnp.max(outcome.error))
            detail = f"estimated error {worst:.1e}, tol {request.tol:.1e}."
            raise_failure(code, detail, has_throw=True)
        # Without a requested tolerance the user is told of an error that leaves hardly
        # a digit.
        limit = request.tol
        if not (has_tol or request.fitted):
            limit = max(request.tol, CONSTANTS.unresolved_error)
        # What one run shows is too rough a guide for a code. An error that is not known
        # is NaN, and exceeds nothing.
        worst = float(np.max(np.asarray(found.parts.whole)))
        if int(code) == 0 and found.compared and worst > limit:
            code = as_array(code_of("grid_too_coarse"), int)
            detail = f"estimated error {worst:.1e}, tol {limit:.1e}."
            if request.fitted and throw:
                raise_failure(code, detail, has_throw=True)
            if not request.fitted:
                message = f"{detail} {REMEDIES['grid_too_coarse']}"
                # The frames of this function, of `evolve` and of its wrapper lie
                # between here and the user's call.
                warnings.warn(message, AccuracyWarning, stacklevel=4)
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

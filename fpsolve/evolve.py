"""The door "where is the density at time t".

    p(t) = exp(tL) p(0)        Fokker-Planck
    psi(t) = exp(-t e^{iw} H) psi(0)        Schrödinger, w the Wick angle

Static equations are exact in time; moving ones are extrapolated products of exponentials. Everything that can be
refused is refused before anything is computed.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .checkpoint import Checkpoint, check_folder
from .choice import PROVISIONAL, carried, choose_scheme, matrix_method, mended_method, reach_of, refine_method
from .core.checks import is_concrete, refuse
from .core.memory import check_memory
from .core.progress import track
from .core.result import raise_failure
from .core.types import Real
from .entrance import (
    check_equation,
    check_observables,
    check_times,
    check_tolerance,
    check_wick,
    initial_field,
    of_mass_one,
)
from .equation import FokkerPlanck
from .fit import fit
from .grid import Grid
from .method import Chebyshev, Exponential, Magnus, check_method, choose_method, needs_rates
from .method.magnus import Problem, look_ahead
from .method.trajectory import Trajectory, run_by_interval, run_moving
from .plan import Memory, Plan, concluding_program
from .question import LastQuestions, fingerprint
from .scheme import ScharfetterGummel, Scheme, Spectral
from .scheme.base import Equation
from .solution import Solution


def evolve(
    equation: Equation,
    initial: Any,
    times: Any,
    *,
    grid: Grid | None = None,
    scheme: Scheme | None = None,
    method: Exponential | Magnus | None = None,
    tol: Real | None = None,
    wick: Real = 0.0,
    observables: Mapping[str, Callable[[Array], Any]] | None = None,
    progress: bool = False,
    checkpoint: Any = None,
    throw: bool = True,
) -> Solution:
    """The density of a process, or the wave of a Schrödinger equation, at the times asked for.

    **Arguments**

    - `equation`: `fp.FokkerPlanck` or `fp.Schrodinger`; a moving potential sees absolute time
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
    **Cost**: static, about sqrt(2 t |H| log(1/tol)) operator calls in all dimensions.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-3.0, 3.0, 64))
    solution = fp.evolve(fp.FokkerPlanck(fp.DoubleWell(2.0)), fp.Gaussian(-1.0, 0.1), [0.5, 1.0], grid=grid)
    ```
    """
    question = None
    if not progress and checkpoint is None:
        question = fingerprint(equation, initial, times, grid, scheme, method, tol, wick, observables)
        if (recalled := _memory.recall(question)) is not None:
            plan, solution = recalled
            return _finish(plan, solution, throw)
    folder = None if checkpoint is None else check_folder(checkpoint)
    plan = _examined.recall(question)
    if plan is None:
        plan = _examine(equation, initial, times, grid, scheme, method, tol, wick, observables)
    solution = None
    if PROVISIONAL in dict(plan.words)["scheme"]:
        solution = _memory.run(question, plan)
        if not carried(plan.problem.grid, solution.values):
            plan = _examine(equation, initial, times, grid, VOLUMES, method, tol, wick, observables)
            plan, solution = _told(plan, "ScharfetterGummel, because Spectral did not resolve the density"), None
    bar = track(plan.times, progress)
    method, field, tolerance = plan.method, plan.field, float(plan.tol)
    saved = None if folder is None else Checkpoint(folder, plan.problem, method, field, plan.times, tolerance)
    moving = isinstance(method, Magnus)
    if is_concrete(plan) and (moving or saved is not None or bar is not None):
        _examined.keep(question, plan)
        trajectory = run_by_interval(plan.problem, method, field, plan.times, tolerance, bar, saved)
        if moving and saved is None and not float(jnp.max(trajectory.error)) <= tolerance:
            plan, trajectory = _by_density(plan, trajectory)
    elif moving:
        trajectory = run_moving(plan.problem, method, field, plan.times, tolerance)
    else:
        solution = solution or _memory.run(question, plan)
        while (better := _mended(plan, solution)) is not None:
            plan, solution = better, _memory.run(question, better)
        return _finish(plan, solution, throw)
    return _finish(plan, plan.solution(concluding_program(plan, trajectory)), throw)


VOLUMES = ScharfetterGummel()
_memory, _examined = Memory(), LastQuestions()  # of still problems with their programs, and of moving ones


def _examine(
    equation: Any,
    initial: Any,
    times: Any,
    grid: Any,
    scheme: Any,
    method: Any,
    tol: Any,
    wick: Any,
    observables: Any,
) -> Plan:
    """Refuse what cannot be right, choose what was left open."""
    fitted = None
    if grid is None:
        check_wick(equation, wick)
        _check_open(scheme, method)
        fitted = fit(equation, initial, tol, times, wick=wick)
        grid, scheme = fitted.grid, Spectral()
    equation, grid = check_equation(equation, grid)
    times = check_times(times)
    check_memory("grid", grid.shape, len(times) + 12, "Take fewer nodes on some axis, or fewer times.")
    check_wick(equation, wick)
    check_observables(observables, grid)
    if method is not None:
        reversible = not isinstance(equation, FokkerPlanck) or equation.irreversible_because(grid) is None
        check_method(method, equation, grid, scheme, reversible, wick)
    field = initial_field(equation, grid, initial)
    tol = check_tolerance(tol, field.real.dtype)
    chosen = choose_scheme(equation, grid, scheme, field, times, tol, method)
    if isinstance(chosen.scheme, Spectral) and callable(initial) and isinstance(equation, FokkerPlanck):
        field = of_mass_one(grid, field)
    problem = Problem(equation, chosen.scheme, grid, chosen.picture, chosen.reversible, float(wick))
    if method is None:
        reach, fits = reach_of(problem, field, times), chosen.wave_fits
        dtype = field.real.dtype
        method, reason = choose_method(equation, grid, chosen.scheme, dtype, chosen.reversible, fits, wick, reach)
        method, reason = matrix_method(method, problem, reason, dtype)
        why = f"{type(method).__name__}, because {reason}"
    else:
        check_method(method, equation, grid, chosen.scheme, chosen.reversible, wick)
        why = f"{type(method).__name__}, as asked"
    method, more = refine_method(method, problem, field, times, tol)
    why += more
    if isinstance(method, Magnus) and is_concrete(problem, times):
        method = look_ahead(method, problem, float(times[-1]))
        if method.breakpoints.size:
            why += f"; from breakpoint to breakpoint: {', '.join(f'{t:.6g}' for t in np.asarray(method.breakpoints))}"
    where = f"{type(chosen.scheme).__name__}, on a grid fitted to {tol:.0e}: {fitted.words}" if fitted else chosen.why
    words = (("scheme", where), ("method", why), ("picture", chosen.picture))
    return Plan(
        problem=problem,
        method=method,
        field=field,
        times=times,
        tol=np.asarray(tol),
        observables=dict(observables or {}),
        fault="wave_out_of_range" if isinstance(method, Chebyshev) else "tolerance_not_reached",
        words=words if fitted is None else (*words, ("space_error", repr(fitted.space_error))),
    )


def _by_density(plan: Plan, trajectory: Trajectory) -> tuple[Plan, Trajectory]:
    """The run again with the density itself, where a wave that moves came to tower, if that is better."""
    problem = plan.problem
    through_waves = problem.picture == "wave" or isinstance(plan.method.exponential, Chebyshev)
    if not (through_waves and isinstance(problem.equation, FokkerPlanck) and plan.method.extrapolate):
        return plan, trajectory
    equation, grid, dtype = problem.equation, problem.grid, plan.field.real.dtype
    density = dataclasses.replace(problem, picture="density", reversible=False)
    frozen: Any = choose_method(equation, grid, problem.scheme, dtype, True, False, 0.0, None)[0]
    frozen = matrix_method(frozen.exponential, density, "", dtype)[0]
    method = eqx.tree_at(lambda m: m.exponential, plan.method, frozen)
    better = run_by_interval(density, method, plan.field, plan.times, float(plan.tol), None, None)
    if not float(jnp.max(better.error)) < float(jnp.nan_to_num(jnp.max(trajectory.error), nan=jnp.inf)):
        return plan, trajectory
    words = dict(plan.words) | {"picture": "density"}
    step = type(method.exponential).__name__
    words["method"] += f"; the wave came to tower, so the density itself is evolved, each frozen step by {step}"
    return dataclasses.replace(plan, problem=density, method=method, words=tuple(words.items())), better


def _told(plan: Plan, scheme: str) -> Plan:
    return dataclasses.replace(plan, words=tuple((dict(plan.words) | {"scheme": scheme}).items()))


def _check_open(scheme: Any, method: Any) -> None:
    """Refuse to fit a grid for anything but `fp.Spectral`."""
    if (scheme is not None and not isinstance(scheme, Spectral)) or needs_rates(method):
        asked = scheme if scheme is not None else method
        refuse("grid", None, f"a grid is fitted for fp.Spectral, and {asked!r} is no part of that", "Give grid=.")


def _mended(plan: Plan, solution: Solution) -> Plan | None:
    if not is_concrete(solution.code, solution.error) or int(solution.code) == 0:
        return None
    method, why = mended_method(plan.method, solution.error)
    if method is None:
        return None
    words = tuple((name, f"{text}; {why}" if name == "method" else text) for name, text in plan.words)
    return dataclasses.replace(plan, method=method, words=words)


def _finish(plan: Plan, solution: Solution, throw: bool) -> Solution:
    if throw and is_concrete(solution.code, solution.error) and int(solution.code) != 0:
        worst = float(jnp.max(solution.error))
        raise_failure(solution.code, f"estimated error {worst:.1e}, tol {float(plan.tol):.1e}.")
    return solution

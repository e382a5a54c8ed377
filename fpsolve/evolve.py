"""The door "where is the density at time t".

    p(t) = exp(tL) p(0)        Fokker-Planck
    psi(t) = exp(-t e^{iw} H) psi(0)        Schrödinger, w the Wick angle

Static equations are exact in time; moving ones are extrapolated products of exponentials. Everything that can be
refused is refused before anything is computed.
"""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .checkpoint import Checkpoint, check_folder
from .choice import choose_scheme
from .core.checks import is_concrete
from .core.memory import check_memory
from .core.progress import track
from .core.result import first_failure, raise_failure
from .core.types import Real
from .entrance import (
    check_equation,
    check_observables,
    check_times,
    check_tolerance,
    check_wick,
    initial_field,
)
from .equation import FokkerPlanck
from .grid import Grid
from .method import Chebyshev, Exponential, Magnus, check_method, choose_method
from .method.magnus import Problem
from .method.trajectory import CAPPED, Trajectory, enter, leave, run_by_interval, run_moving, run_static
from .scheme import Scheme
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
    - `grid`: where to solve it
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
    equation, grid = check_equation(equation, grid)
    times = check_times(times)
    check_memory("grid", grid.shape, len(times) + 12, "Take fewer nodes on some axis, or fewer times.")
    check_wick(equation, wick)
    check_observables(observables, grid)
    if method is not None:
        reversible = not isinstance(equation, FokkerPlanck) or equation.irreversible_because(grid) is None
        check_method(method, equation, grid.size, reversible)
    field = initial_field(equation, grid, initial)
    tol = check_tolerance(tol, field.real.dtype)
    folder = None if checkpoint is None else check_folder(checkpoint)
    chosen = choose_scheme(equation, grid, scheme, field, times, tol)
    if method is None:
        method, reason = choose_method(equation, grid.size, field.real.dtype, chosen.reversible, chosen.wave_fits)
        why = f"{type(method).__name__}, because {reason}"
    else:
        check_method(method, equation, grid.size, chosen.reversible)
        why = f"{type(method).__name__}, as asked"
    problem = Problem(equation, chosen.scheme, grid, chosen.picture, chosen.reversible, float(wick))
    bar = track(times, progress)
    saved = None if folder is None else Checkpoint(folder, problem, method, field, times, tol)
    moving = isinstance(method, Magnus)
    if is_concrete(equation, field, times) and (moving or saved is not None or bar is not None):
        trajectory = run_by_interval(problem, method, field, times, tol, bar, saved)
    elif isinstance(method, Magnus):
        trajectory = run_moving(problem, method, field, times, tol)
    else:
        lengths = times.astype(field.real.dtype)
        start = enter(problem, field, jnp.asarray(tol * CAPPED, field.real.dtype))
        trajectory = run_static(problem, method, start, lengths, jnp.asarray(tol, field.real.dtype))
    words = (("scheme", chosen.why), ("method", why), ("picture", chosen.picture))
    fault = "wave_out_of_range" if isinstance(method, Chebyshev) else "tolerance_not_reached"
    solution = _conclude(problem, trajectory, field, times, jnp.asarray(tol), observables or {}, words, fault)
    if throw and is_concrete(solution.code, solution.error):
        raise_failure(solution.code, f"estimated error {float(jnp.max(solution.error)):.1e}, tol {tol:.1e}.")
    return solution


@eqx.filter_jit
def _conclude(
    problem: Problem,
    trajectory: Trajectory,
    field: Array,
    times: Array,
    tol: Array,
    observables: Mapping[str, Callable[[Array], Any]],
    words: tuple[tuple[str, str], ...],
    fault: str,
) -> Solution:
    grid, equation = problem.grid, problem.equation
    values = jax.vmap(lambda state, t: jnp.where(t == 0, field, leave(problem, state, t)))(trajectory.values, times)
    numbers = {"operator_calls": trajectory.calls}
    if isinstance(equation, FokkerPlanck):
        weights = values
        numbers |= {
            "mass_drift": jnp.max(jnp.abs(grid.integrate(values) - grid.integrate(field))),
            "min_density": jnp.min(values),
        }
    else:
        weights = jnp.abs(values) ** 2
        weights = weights / grid.integrate(weights)[(..., *[None] * grid.ndim)]
    means = {name: _expectation(grid, weights, f) for name, f in observables.items()}
    failure = first_failure(
        ("not_finite", ~jnp.all(jnp.isfinite(values))),
        (fault, jnp.max(trajectory.error) > tol),
    )
    return Solution(times, values, trajectory.error, means, numbers, failure, equation, problem.scheme, grid, words)


def _expectation(grid: Grid, weights: Array, f: Callable[[Array], Any]) -> Array:
    sampled = grid.sample(f).astype(weights.dtype)
    flat = (weights * grid.weights.astype(weights.dtype)).reshape(weights.shape[0], -1)
    return (flat @ sampled.reshape(grid.size, -1)).reshape(weights.shape[0], *sampled.shape[grid.ndim :])

"""The door "where is the density at time t".

    p(t) = exp(tL) p(0)        Fokker-Planck
    psi(t) = exp(-t e^{iw} H) psi(0)        Schrödinger, w the Wick angle

Static equations are exact in time; moving ones are extrapolated products of exponentials. Everything that can be refused
is refused before anything is computed.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .checkpoint import Checkpoint
from .core.checks import is_concrete
from .core.memory import check_memory
from .core.progress import track
from .core.result import first_failure, raise_failure
from .entrance import check_equation, check_times, check_tolerance, check_wick, choose_scheme, initial_field
from .equation import FokkerPlanck, divide_root
from .grid import Grid
from .method import Chebyshev, Exponential, Magnus, choose_method
from .method.choose import check_method
from .method.magnus import FIRST, Problem, adaptive_levels, advance, fixed_levels
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
    tol: float | None = None,
    wick: float = 0.0,
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
    grid = check_equation(equation, grid)
    times = check_times(times)
    check_memory("grid", grid.shape, len(times) + 12, "Take fewer nodes on some axis, or fewer times.")
    check_wick(equation, wick)
    field = initial_field(equation, grid, initial, wick)
    tol = check_tolerance(tol, field.real.dtype)
    chosen = choose_scheme(equation, grid, scheme, field, times, tol)
    if method is None:
        method, why = choose_method(equation, grid.size, chosen.reversible, chosen.wave_fits)
        why = f"{type(method).__name__}, because {why}"
    else:
        check_method(method, equation, chosen.reversible)
        why = f"{type(method).__name__}, as asked"
    problem = Problem(equation, chosen.scheme, grid, chosen.picture, chosen.reversible, float(wick))
    bar = track(times, progress)
    saved = None if checkpoint is None else Checkpoint(checkpoint, problem, method, field, times, tol)
    if is_concrete(equation, field, times) and (saved or bar or isinstance(method, Magnus)):
        trajectory = _by_interval(problem, method, field, times, tol, bar, saved)
    elif isinstance(method, Magnus):
        trajectory = _fixed(problem, method, field, times)
    else:
        lengths = jnp.diff(times, prepend=0.0).astype(field.real.dtype)
        trajectory = _run(problem, method, _enter(problem, field), lengths, jnp.asarray(tol, field.real.dtype))
    words = (("scheme", chosen.why), ("method", why), ("picture", chosen.picture))
    solution = _conclude(problem, trajectory, field, times, jnp.asarray(tol), observables or {}, words)
    if throw and is_concrete(solution.code):
        raise_failure(solution.code, f"estimated error {float(jnp.max(solution.error)):.1e}, tol {tol:.1e}.")
    return solution


class Trajectory(NamedTuple):
    """Values in the picture of the run, operator calls, and the error accumulated at each time."""

    values: Array
    calls: Array
    error: Array


@eqx.filter_jit
def _run(problem: Problem, method: Exponential, state: Array, lengths: Array, tol: Array) -> Trajectory:
    """Steps of the given lengths with an operator that stands still, in one program."""
    prepared = method.prepare(problem.operator(0.0, state.real.dtype), problem.picture)

    def step(state: Array, length: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        taken = method.apply(prepared, state, length, tol, problem.wick)
        field = taken.field.astype(state.dtype)
        return field, (field, taken.calls, taken.error)

    _, (values, calls, errors) = jax.lax.scan(step, state, lengths)
    moved = jnp.where(lengths > 0, 1, 0)
    return Trajectory(values, jnp.sum(calls * moved), jnp.cumsum(errors * moved))


def _by_interval(
    problem: Problem, method: Any, field: Array, times: Array, tol: float, bar: Any, saved: Checkpoint | None
) -> Trajectory:
    """Interval by interval, from Python: what a bar, a checkpoint, or steps chosen on the way need."""
    dtype = field.real.dtype
    state, now, calls, error = _enter(problem, field), jnp.zeros((), dtype), 0.0, 0.0
    values, errors, first = [], [], FIRST
    for index, t in enumerate(np.asarray(times)):
        later = jnp.asarray(t, dtype)
        if saved is not None and (kept := saved.load(index)) is not None:
            state, calls, error, first = kept
        elif float(t) > float(now):
            if isinstance(method, Magnus):
                share = tol * float(later - now) / float(times[-1])
                levels = adaptive_levels(first) if method.steps is None else fixed_levels(method.steps)
                taken = advance(method, problem, state, now, later, levels, share if method.steps is None else None)
                first = max(FIRST, taken.levels[-1] // 8)
                state, more, worse = taken.field, taken.calls, taken.error
            else:
                part = _run(problem, method, state, (later - now)[None], jnp.asarray(tol, dtype))
                state, more, worse = part.values[0], part.calls, part.error[0]
            calls, error = calls + float(more), error + float(worse)
        if saved is not None:
            saved.save(index, state, calls, error, first)
        now = later
        values.append(state)
        errors.append(error)
        bar and bar.update()
    bar and bar.close()
    return Trajectory(jnp.stack(values), jnp.asarray(calls, dtype), jnp.asarray(errors, dtype))


def both_pictures(
    equation: FokkerPlanck, scheme: Scheme, grid: Grid, field: Array, times: Array
) -> tuple[Trajectory, Trajectory]:
    """The same evolution by L in the density picture and by H in the wave picture, with the same steps in time."""
    exact = jnp.asarray(jnp.finfo(field.dtype).eps)
    density, wave = (Problem(equation, scheme, grid, picture, True, 0.0) for picture in ("density", "wave"))
    if not equation.moves:
        lengths = jnp.diff(times, prepend=0.0).astype(field.dtype)
        return tuple(_run(side, Chebyshev(), _enter(side, field), lengths, exact) for side in (density, wave))
    tol = 1e-8 if field.dtype == jnp.float64 else 1e-5
    now, states, rows, first = jnp.zeros((), field.dtype), [_enter(density, field), _enter(wave, field)], [], FIRST
    for t in times:
        later = t.astype(field.dtype)
        if float(later) > float(now):
            levels = adaptive_levels(first)
            lead = advance(Magnus(), density, states[0], now, later, levels, tol * float(later - now) / float(times[-1]))
            twin = advance(Magnus(), wave, states[1], now, later, lead.levels, None)
            first, states, now = max(FIRST, lead.levels[-1] // 8), [lead.field, twin.field], later
            rows.append((*states, lead.calls, lead.error))
        else:
            rows.append((*states, jnp.zeros((), field.dtype), jnp.zeros((), field.dtype)))
    p, psi, calls, errors = (jnp.stack(column) for column in zip(*rows, strict=True))
    return tuple(Trajectory(values, jnp.sum(calls), jnp.cumsum(errors)) for values in (p, psi))


def _fixed(problem: Problem, method: Magnus, field: Array, times: Array) -> Trajectory:
    """A moving operator under `jit`, `vmap` or `grad`: a fixed number of steps an interval."""
    dtype = field.real.dtype

    def step(carry: tuple[Array, Array], later: Array) -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
        state, now = carry
        taken = advance(method, problem, state, now, later, fixed_levels(method.steps), None)
        return (taken.field, later), (taken.field, taken.calls, taken.error)

    start = (_enter(problem, field), jnp.zeros((), dtype))
    _, (values, calls, errors) = jax.lax.scan(step, start, times.astype(dtype))
    return Trajectory(values, jnp.sum(calls), jnp.cumsum(errors))


def _enter(problem: Problem, field: Array) -> Array:
    """The state at t = 0 in the picture of the run."""
    if problem.wick != 0:
        return field.astype(jnp.result_type(field, jnp.complex64))
    return divide_root(field, problem.log_root(0.0, field.real.dtype)) if problem.picture == "wave" else field


def _leave(problem: Problem, state: Array, t: Any) -> Array:
    """A density or a wave of the equation from the state of the run at time t."""
    return state * jnp.exp(problem.log_root(t, state.real.dtype))


@eqx.filter_jit
def _conclude(
    problem: Problem,
    trajectory: Trajectory,
    field: Array,
    times: Array,
    tol: Array,
    observables: Mapping[str, Callable[[Array], Any]],
    words: tuple[tuple[str, str], ...],
) -> Solution:
    grid, equation = problem.grid, problem.equation
    values = jax.vmap(lambda state, t: _leave(problem, state, t))(trajectory.values, times)
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
        ("wave_out_of_range", (problem.picture == "wave") & (jnp.max(trajectory.error) > 1e3 * tol)),
        ("tolerance_not_reached", jnp.max(trajectory.error) > tol),
    )
    return Solution(times, values, trajectory.error, means, numbers, failure, equation, problem.scheme, grid, words)


def _expectation(grid: Grid, weights: Array, f: Callable[[Array], Any]) -> Array:
    sampled = grid.sample(f).astype(weights.dtype)
    flat = (weights * grid.weights.astype(weights.dtype)).reshape(weights.shape[0], -1)
    return (flat @ sampled.reshape(grid.size, -1)).reshape(weights.shape[0], *sampled.shape[grid.ndim :])

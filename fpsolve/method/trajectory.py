"""From the state at t = 0 to the states at all times: who steps where.

    an operator that stands still    one program for all times
    one that moves                   interval by interval, as many steps as the tolerance asks
    one that moves, traced           a fixed number of steps an interval

States are densities, or waves psi = p / sqrt(pi_t) in the gauge of their own time.
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..equation import FokkerPlanck, divide_root
from ..grid import Grid
from ..scheme import Scheme, Spectral
from .base import Exponential
from .chebyshev import Chebyshev
from .folding import MORE, folded
from .magnus import FIRST, Interval, Magnus, Problem, adaptive_levels, advance, travel, travel_evenly

MANY, FORETOLD = 64, 4  # times asked for, between which a step is likely to be one of so few
CAPPED = 0.01  # the part of the tolerance that a wave may give up of its tails
TOWERING = 100.0  # how far above its mean a wave must rise before it does
HALVINGS = 14  # of the range of the logarithm of that height


class Trajectory(NamedTuple):
    """Values in the picture of the run, operator calls, and the error accumulated at each time."""

    values: Array
    calls: Array
    error: Array


def run_static(problem: Problem, method: Exponential, state: Array, lengths: Array, tol: Array) -> Trajectory:
    """From one state to all lengths `(T,)` with an operator that stands still, in one program."""
    prepared = method.prepare(problem.operator(0.0, state.real.dtype), problem.picture)
    taken = method.apply(prepared, state, lengths, tol, problem.wick)
    return Trajectory(taken.field.astype(state.dtype), taken.calls, jnp.where(lengths > 0, taken.error, 0))


_run_static = eqx.filter_jit(run_static)


def run_by_interval(
    problem: Problem, method: Any, field: Array, times: Array, tol: float, bar: Any, saved: Any
) -> Trajectory:
    """Interval by interval, from Python: what a bar, a checkpoint, or steps chosen on the way need."""
    dtype = field.real.dtype
    state, now, calls = enter(problem, field, jnp.asarray(tol * CAPPED, dtype)), jnp.zeros((), dtype), 0.0
    error, lost, values, errors, first = 0.0, 0.0, [], [], FORETOLD if len(times) >= MANY else 0
    if isinstance(method, Magnus):
        error = float(given_up(problem, field, state))
    for index, t in enumerate(np.asarray(times)):
        later = jnp.asarray(t, dtype)
        if saved is not None and (kept := saved.load(index)) is not None:
            state, calls, error, first = kept
        elif float(t) > float(now):
            if isinstance(method, Magnus):
                share = tol * (1 - CAPPED) * float(later - now) / float(times[-1])
                state, more, worse, first = travel(method, problem, state, now, later, share, first)
            else:
                part = _run_static(problem, method, state, (later - now)[None], jnp.asarray(tol, dtype))
                state, more, worse = part.values[0], part.calls, part.error[0]
            calls, error = calls + float(more), error + float(worse)
        if saved is not None:
            saved.save(index, state, calls, error, first)
        now = later
        values.append(state)
        if isinstance(method, Magnus) and float(t) > 0:
            lost = max(lost, float(misplaced(problem, state, later)))
        errors.append(error + lost if float(t) > 0 else 0.0)
        if bar is not None:
            bar.update()
    if bar is not None:
        bar.close()
    return Trajectory(jnp.stack(values), jnp.asarray(calls, dtype), jnp.asarray(errors, dtype))


def run_both(
    equation: FokkerPlanck, scheme: Scheme, grid: Grid, field: Array, times: Array
) -> tuple[Trajectory, Trajectory]:
    """The same evolution by L in the density picture and by H in the wave picture, with the same steps in time."""
    dtype = field.dtype
    density = Problem(equation, scheme, grid, "density", True, 0.0)
    wave = Problem(equation, scheme, grid, "wave", True, 0.0)
    if not equation.moves:
        exact, lengths = jnp.asarray(jnp.finfo(dtype).eps), times.astype(dtype)
        return (
            _run_static(density, Chebyshev(), enter(density, field), lengths, exact),
            _run_static(wave, Chebyshev(), enter(wave, field), lengths, exact),
        )
    tol = 1e-8 if dtype == jnp.float64 else 1e-5
    now, first, zero = jnp.zeros((), dtype), FIRST, jnp.zeros((), dtype)
    leading = Interval(field, zero, zero, ())
    twin = leading._replace(field=enter(wave, field))
    rows = []
    for t in times.astype(dtype):
        if float(t) > float(now):
            share = tol * float(t - now) / float(times[-1])
            leading = advance(Magnus(), density, leading.field, now, t, adaptive_levels(first), share)
            twin = advance(Magnus(), wave, twin.field, now, t, leading.levels, None)
            first, now = max(FIRST, leading.levels[-1] // 8), t
        rows.append((leading.field, twin.field, leading.calls, leading.error))
    p, psi, calls, errors = (jnp.stack(column) for column in zip(*rows, strict=True))
    total, errors = jnp.sum(calls), jnp.cumsum(errors)
    return Trajectory(p, total, errors), Trajectory(psi, total, errors)


def run_moving(problem: Problem, method: Magnus, field: Array, times: Array, tol: float) -> Trajectory:
    """A moving operator under `jit`, `vmap` or `grad`: a fixed number of steps an interval."""
    dtype = field.real.dtype

    def step(carry: tuple[Array, Array], later: Array) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
        state, now = carry
        taken = travel_evenly(method, problem, state, now, later, tol)
        return (taken.field, later), (taken.field, taken.calls, taken.error, misplaced(problem, taken.field, later))

    start = (enter(problem, field, jnp.asarray(tol * CAPPED, dtype)), jnp.zeros((), dtype))
    _, (values, calls, errors, folds) = jax.lax.scan(step, start, times.astype(dtype))
    lost = jnp.where(times > 0, given_up(problem, field, start[0]), 0).astype(dtype)
    return Trajectory(values, jnp.sum(calls), lost + jnp.cumsum(errors) + jax.lax.cummax(folds))


@eqx.filter_jit
def enter(problem: Problem, field: Array, share: Any = None) -> Array:
    """The state at t = 0 in the picture of the run; a wave may give up the `share` of its mass that makes it tall."""
    if problem.wick != 0:
        return field.astype(jnp.result_type(field, jnp.complex64))
    if problem.picture == "density" or not problem.reversible:
        return field
    log_root, weights = problem.log_root(0.0, field.dtype), problem.grid.weights.astype(field.dtype)
    return divide_root(field, log_root) if share is None else capped_wave(field, log_root, weights, share)


def capped_wave(density: Array, log_root: Array, weights: Array, share: Any) -> Array:
    """p / sqrt(pi), with tails that tower over the rest capped smoothly, as low as costs a `share` of the mass.

    A Gibbs density may fall faster than any start (a quartic well does), and then the wave grows without bound in
    tails that carry no mass. With r = psi / M the wave becomes psi (1 + r^4)^(-1/2), which never exceeds M, falls
    again as fast as it rose, and so reaches no end of the box; it is rescaled to the mass it had. M is found by
    bisection; p changes by at most `share` in L1, and not at all unless the wave rises to `TOWERING` times its mean.
    """
    wave = divide_root(density, log_root)
    root = jnp.exp(log_root)
    mass = jnp.sum(weights * density)
    capped = lambda height: wave / jnp.sqrt(1 + jnp.square(jnp.square(wave / height)))
    lost = lambda height: mass - jnp.sum(weights * root * capped(height))

    def halve(_: Any, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = (low + high) / 2
        enough = lost(jnp.exp(middle)) <= share * mass
        return jnp.where(enough, low, middle), jnp.where(enough, middle, high)

    tallest = jnp.log(jnp.max(wave))
    typical = jnp.log(mass) - jnp.log(jnp.sum(weights * root))
    height = jnp.exp(jax.lax.stop_gradient(jax.lax.fori_loop(0, HALVINGS, halve, (typical, tallest + 10))[1]))
    answer = capped(height)
    answer = answer * mass / jnp.sum(weights * root * answer)
    return jnp.where(tallest > typical + math.log(TOWERING), answer, wave)


@eqx.filter_jit
def given_up(problem: Problem, field: Array, state: Array) -> Array:
    """The relative L1 error that entering made."""
    if problem.wick != 0 or problem.picture == "density" or not problem.reversible:
        return jnp.zeros((), field.real.dtype)
    weights = problem.grid.weights.astype(field.real.dtype)
    lost = jnp.sum(weights * jnp.abs(leave(problem, state, 0.0) - field)) / jnp.sum(weights * jnp.abs(field))
    return jax.lax.stop_gradient(lost)


@eqx.filter_jit
def misplaced(problem: Problem, state: Array, t: Array) -> Array:
    """The relative L1 error of a moving wave on its axes, where they fold much more of it than of its density and of
    the Gibbs wave."""
    if not (problem.process and isinstance(problem.scheme, Spectral)):
        return jnp.zeros((), state.real.dtype)
    grid, undamped = problem.grid, jnp.ones(problem.grid.ndim)
    root = jnp.exp(problem.log_root(t, state.real.dtype))
    wave, density = folded(grid, state, root, undamped)
    at_rest, _ = folded(grid, root, root, undamped)
    found = wave / grid.integrate(jnp.abs(root * state))
    return jax.lax.stop_gradient(jnp.where(wave > MORE * (density + at_rest), found, 0))


def leave(problem: Problem, state: Array, t: Any) -> Array:
    """A density or a wave of the equation from the state of the run at time t."""
    return state * jnp.exp(problem.log_root(t, state.real.dtype))

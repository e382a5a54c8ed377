"""Drivers: from the state at t = 0 to the states at all times.

    a static operator                   one program for all times
    a moving one                        interval by interval, as many steps as the tolerance needs
    a moving one under transformations  a fixed number of steps an interval

States are densities, or waves psi = p / sqrt(pi_t) relative to the Gibbs density of their own time.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.program import compiled, quick_program
from ..operator import OperatorPath
from ..operator.aliasing import EXCESS, aliasing_error
from ..operator.clipping import TOL_FRACTION
from ..propagate.base import Picture, Propagator
from ..propagate.chebyshev import Chebyshev
from .magnus import (
    FIRST,
    Magnus,
    adaptive_levels,
    advance,
    integrate_interval,
    integrate_interval_evenly,
    make_timeline,
)
from .problem import Problem

# Between so many output times a step is likely to be one of so few (free choices: they set the first step only).
MANY_TIMES, FEW_STEPS = 64, 4


class Trajectory(NamedTuple):
    """Densities or waves `(T, *shape)`, operator calls, and the error accumulated at each time."""

    values: Array
    calls: Array
    error: Array


def run_static(problem: Problem, method: Propagator, field: Array, lengths: Array, tol: Array) -> Trajectory:
    """From one field to all lengths `(T,)` with a static operator, in one program."""
    state = problem.to_state(field, tol * TOL_FRACTION)
    prepared = method.prepare(problem.at(0.0, state.real.dtype), problem.picture)
    taken = method.apply(prepared, state, lengths, tol, problem.wick)
    values = problem.to_field(taken.field.astype(state.dtype), 0.0)
    return Trajectory(values, taken.calls, jnp.where(lengths > 0, taken.error, 0))


def run_by_interval(
    problem: Problem, method: Any, field: Array, times: Array, tol: float, bar: Any, saved: Any
) -> Trajectory:
    """Interval by interval, from Python: what a progress bar, a checkpoint, or adaptive steps need."""
    stepper = (
        _Moving(problem, method, field, times, tol) if isinstance(method, Magnus) else _Static(problem, method, tol)
    )
    moments = np.asarray(times, field.real.dtype)
    state, error = stepper.enter(field)
    calls, first, now = 0.0, FEW_STEPS if len(moments) >= MANY_TIMES else 0, moments.dtype.type(0)
    values, errors = [], []
    for index, t in enumerate(moments):
        if saved is not None and (kept := saved.load(index)) is not None:
            state, calls, error, first = kept
        elif t > now:
            state, more, worse, first = stepper.advance(state, now, t, first)
            calls, error = calls + more, error + worse
        if saved is not None:
            saved.save(index, state, calls, error, first)
        now = t
        value, misplaced = stepper.report(state, t)
        values.append(value)
        errors.append(error + misplaced if t > 0 else 0.0)
        if bar is not None:
            bar.update()
    if bar is not None:
        bar.close()
    dtype = moments.dtype
    return Trajectory(_stack(values), as_array(calls, dtype), as_array(errors, dtype))


class _Static:
    """Steps of a static problem, each from one output time to the next."""

    def __init__(self, problem: Problem, method: Propagator, tol: float):
        self._problem, self._method, self._tol = problem, method, tol

    def enter(self, field: Array) -> tuple[Array, float]:
        """The state at t = 0, and the error that clipping made: part of the method's own."""
        return _enter(self._problem, field, as_array(self._tol * TOL_FRACTION, field.real.dtype))[0], 0.0

    def advance(self, state: Array, now: Any, later: Any, first: int) -> tuple[Array, float, float, int]:
        """The state at `later`, operator calls, the error added, and the number of steps to try next."""
        length = as_array([later - now], state.real.dtype)
        tol = as_array(self._tol, state.real.dtype)
        state, calls, error = _step_static(self._problem, self._method, state, length, tol)
        return state, float(calls), float(error), first

    def report(self, state: Array, t: Any) -> tuple[Array, float]:
        """The density or the wave of a state, and no further error."""
        return _report(self._problem, state, t)[0], 0.0


class _Moving:
    """Steps of a moving problem, as many an interval as its part of the tolerance needs."""

    def __init__(self, problem: Problem, method: Magnus, field: Array, times: Array, tol: float):
        self._last = float(np.asarray(times)[-1])
        self._method, self._tol = method, tol
        self._timeline = make_timeline(method, problem, self._last, field.real.dtype)
        self._misplaced = 0.0

    def enter(self, field: Array) -> tuple[Array, float]:
        """The state at t = 0, and the error that clipping made."""
        fraction = as_array(self._tol * TOL_FRACTION, field.real.dtype)
        state, error = _enter(self._timeline.at(0.0), field, fraction)
        return state, float(error)

    def advance(self, state: Array, now: Any, later: Any, first: int) -> tuple[Array, float, float, int]:
        """The state at `later`, operator calls, the error added, and the number of steps to try next."""
        share = self._tol * (1 - TOL_FRACTION) * float(later - now) / self._last
        taken = integrate_interval(self._method, self._timeline, state, now, later, share, first)
        return taken.field, float(taken.calls), float(taken.error), taken.first

    def report(self, state: Array, t: Any) -> tuple[Array, float]:
        """The density or the wave of a state, and the largest aliasing error up to now."""
        value, misplaced = _report(self._timeline.at(float(t)), state, t)
        if t > 0:
            self._misplaced = max(self._misplaced, float(misplaced))
        return value, self._misplaced


@quick_program
def _enter(problem: Problem, field: Array, fraction: Array) -> tuple[Array, Array]:
    state = problem.to_state(field, fraction)
    return state, clipping_error(problem, field, state)


@compiled
def _step_static(problem: Problem, method: Any, state: Array, length: Array, tol: Array) -> tuple[Array, Array, Array]:
    prepared = method.prepare(problem.at(0.0, state.real.dtype), problem.picture)
    taken = method.apply(prepared, state, length, tol, problem.wick)
    return taken.field[0].astype(state.dtype), taken.calls, taken.error[0]


@quick_program
def _report(problem: Problem, state: Array, t: Any) -> tuple[Array, Array]:
    t = jnp.asarray(t)
    return problem.to_field(state, t), boundary_aliasing_error(problem, state, t)


_stack = quick_program(lambda arrays: jnp.stack(arrays))


class BothSides(NamedTuple):
    """One evolution in two pictures: densities `(T, *shape)` by L, waves by H and the densities that those mean; the
    error in time `(T,)` that both share."""

    density: Array
    wave: Array
    density_of_wave: Array
    error: Array


def run_both(problem: Problem, field: Array, times: Array) -> BothSides:
    """The same evolution by L and by H, with the same steps in time; `problem` is that of the density. No tails are
    clipped, so that nothing but rounding is left between the two."""
    if not problem.time_dependent:
        return _both_static(problem, field, as_array(times, field.dtype))
    dtype = field.dtype
    tol = 1e-8 if dtype == jnp.float64 else 1e-5
    last = float(np.asarray(times)[-1])
    timeline = make_timeline(Magnus(), problem, last, dtype)
    density, wave = field, _whole_wave(_as_wave(timeline.at(0.0)), field)
    now, error, first = np.zeros((), dtype), 0.0, FIRST
    rows = []
    for t in np.asarray(times, dtype):
        while now < t:
            here, until = timeline.covering(float(now), float(t))
            stop = min(t, dtype.type(until))
            share = tol * float(stop - now) / last
            taken = advance(Magnus(), here, density, now, stop, adaptive_levels(first), share)
            twin = advance(Magnus(), _as_wave(here), wave, now, stop, taken.levels, None)
            density, wave, error = taken.field, twin.field, error + float(taken.error)
            first, now = max(FIRST, taken.levels[-1] // 8), stop
        rows.append((density, wave, _report(_as_wave(timeline.at(float(t))), wave, t)[0], error))
    densities, waves, fields, errors = zip(*rows, strict=True)
    return BothSides(_stack(list(densities)), _stack(list(waves)), _stack(list(fields)), as_array(errors, dtype))


def _as_wave(problem: Problem) -> Problem:
    return dataclasses.replace(problem, picture=Picture.GIBBS_WAVE)


@quick_program
def _whole_wave(wave: Problem, field: Array) -> Array:
    return wave.to_state(field)


@compiled
def _both_static(problem: Problem, field: Array, lengths: Array) -> BothSides:
    method, exact, sides = Chebyshev(), jnp.asarray(jnp.finfo(field.dtype).eps, field.dtype), []
    for side in (problem, _as_wave(problem)):
        state = side.to_state(field)
        prepared = method.prepare(side.at(0.0, field.dtype), side.picture)
        sides.append(method.apply(prepared, state, lengths, exact, 0.0))
    density, wave = sides
    error = jnp.where(lengths > 0, density.error, 0)
    return BothSides(density.field, wave.field, _as_wave(problem).to_field(wave.field, 0.0), error)


def run_moving(problem: Problem, method: Magnus, field: Array, times: Array, tol: float) -> Trajectory:
    """A moving operator under `jit`, `vmap` or `grad`: a fixed number of steps an interval."""
    dtype = field.real.dtype

    def step(carry: tuple[Array, Array], later: Array) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
        state, now = carry
        taken = integrate_interval_evenly(method, problem, state, now, later, tol)
        misplaced = boundary_aliasing_error(problem, taken.field, later)
        value = problem.to_field(taken.field, later)
        return (taken.field, later), (value, taken.calls, taken.error, misplaced)

    start = (problem.to_state(field, jnp.asarray(tol * TOL_FRACTION, dtype)), jnp.zeros((), dtype))
    _, (values, calls, errors, misplaced) = jax.lax.scan(step, start, times.astype(dtype))
    clipped = jnp.where(times > 0, clipping_error(problem, field, start[0]), 0).astype(dtype)
    return Trajectory(values, jnp.sum(calls), clipped + jnp.cumsum(errors) + jax.lax.cummax(misplaced))


def clipping_error(problem: Problem, field: Array, state: Array) -> Array:
    """The relative L1 error that clipping the tails of the start made."""
    if problem.wick != 0 or problem.picture is not Picture.GIBBS_WAVE:
        return jnp.zeros((), field.real.dtype)
    weights = problem.grid.weights.astype(field.real.dtype)
    lost = jnp.sum(weights * jnp.abs(problem.to_field(state, 0.0) - field)) / jnp.sum(weights * jnp.abs(field))
    return jax.lax.stop_gradient(lost)


def boundary_aliasing_error(problem: Problem, state: Array, t: Array) -> Array:
    """The relative L1 error of a moving wave on its axes, where it is much more than that of its density and of the
    Gibbs wave."""
    path = problem.operator
    spectral = isinstance(path, OperatorPath) and path.scheme.spectral
    if not spectral or problem.picture is not Picture.GIBBS_WAVE:
        return jnp.zeros((), state.real.dtype)
    grid, undamped = problem.grid, jnp.ones(problem.grid.ndim)
    root = jnp.exp(problem.log_sqrt_pi(t, state.real.dtype))
    wave, density = aliasing_error(grid, state, root, undamped)
    at_rest, _ = aliasing_error(grid, root, root, undamped)
    found = wave / grid.integrate(jnp.abs(root * state))
    return jax.lax.stop_gradient(jnp.where(wave > EXCESS * (density + at_rest), found, 0))

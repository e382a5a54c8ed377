"""Validation of the arguments of `fp.transport`, and the problem that they define."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import (
    check_finite_number,
    check_numbers,
    is_concrete,
    raise_value_error,
)
from ..core.types import (
    AnyArray,
    Clock,
    Count,
    Initial,
    Numbers,
    PotentialPath,
    Real,
    Scalar,
)
from ..equation import FokkerPlanck
from ..grid import Grid
from ..path import Driven
from ..plan.validation import check_times, check_tolerance
from ..step import Magnus
from .constants import CONSTANTS
from .grid_for_path import path_grid
from .read import read_path, read_schedule
from .schedule.jumping import Jumping
from .schedule_samples import follow


class TransportRequest(NamedTuple):
    """The validated arguments of a transport.

    `equation` is the Fokker-Planck equation in the potential U_{lambda(t)}; `times`
    `(T,)` are those to report; `breakpoints` `(B,)` those that were given;
    `starts_at_gibbs` says that no initial state was given; `concrete` that no value is
    traced by JAX.
    """

    path: PotentialPath
    schedule: Any
    equation: FokkerPlanck
    grid: Grid
    times: Array
    total: Scalar
    tol: float
    kappa: int
    counterdiabatic: bool
    score_error: Real
    method: Magnus | None
    breakpoints: AnyArray
    throw: bool
    check: bool
    starts_at_gibbs: bool
    concrete: bool


def check_request(
    path: PotentialPath,
    schedule: Any,
    *,
    grid: Grid | None,
    diffusion: Scalar,
    initial: Initial | None,
    counterdiabatic: Any,
    times: Numbers | None,
    tol: Real | None,
    kappa: Count,
    score_error: Real,
    method: Any,
    breakpoints: Numbers,
    throw: bool,
    check: bool,
) -> TransportRequest:
    """The request that these arguments of `fp.transport` make, or a `ValueError`. A
    grid is fitted if none is given.
    """
    total = check_schedule(schedule)
    _check_choices(path, counterdiabatic, kappa, score_error)
    # From here on functions are pytrees, so that a change of their closures is seen.
    schedule = read_schedule(schedule)
    times = _check_times(times, total)
    given_tol = tol
    tol = check_tolerance(tol, jnp.zeros(()).dtype)
    if not isinstance(throw, bool):
        raise_value_error(
            "throw",
            throw,
            "it must be True or False",
            "Give False to get the result of a failed run.",
        )
    breakpoints = _check_breakpoints(breakpoints, method, total)
    _check_method(method, counterdiabatic)
    if grid is None:
        grid = path_grid(path, diffusion, tol)
    equation = FokkerPlanck(Driven(read_path(path, grid.ndim), schedule), diffusion)
    # The Gibbs density exp(-U / D) needs one D for all axes and points.
    if callable(equation.diffusion) or jnp.ndim(equation.diffusion):
        raise_value_error(
            "diffusion",
            diffusion,
            "a path of Gibbs densities needs one number",
            "Give D, a number above zero.",
        )
    concrete = is_concrete(equation, times, total)
    # Under a transformation the number of steps is fixed, and the default promises what
    # such a run reaches.
    if given_tol is None and not concrete:
        tol = max(tol, CONSTANTS.traced_tol)
    return TransportRequest(
        path=path,
        schedule=schedule,
        equation=equation,
        grid=grid,
        times=times,
        total=total,
        tol=tol,
        kappa=kappa,
        counterdiabatic=counterdiabatic,
        score_error=score_error,
        method=method,
        breakpoints=breakpoints,
        throw=throw,
        check=check,
        starts_at_gibbs=initial is None,
        concrete=concrete,
    )


def _check_times(times: Numbers | None, total: Scalar) -> Array:
    """The times to report, evenly spaced in [0, total] if None; a `ValueError` where
    one is after the end.
    """
    if times is None:
        # By numpy where possible, which compiles nothing.
        if is_concrete(total):
            return as_array(np.linspace(0, float(total), CONSTANTS.report_times))
        return jnp.linspace(0, total, CONSTANTS.report_times)
    times = check_times(times)
    if not is_concrete(times, total):
        return times
    # The last time may exceed the total by rounding.
    latest = float(total) * (1 + CONSTANTS.schedule_tol)
    if np.asarray(times)[-1] > latest:
        raise_value_error(
            "times",
            times,
            f"they must lie within [0, {float(total):g}]",
            "Report within the schedule's time.",
        )
    return times


def _check_breakpoints(breakpoints: Any, method: Any, total: Scalar) -> AnyArray:
    """The breakpoints that were given, with those of the method, ascending `(B,)`; a
    `ValueError` for any outside.
    """
    # Traced breakpoints have no values to check.
    if not is_concrete(breakpoints, method):
        parts = [jnp.ravel(jnp.asarray(breakpoints, float))]
        if isinstance(method, Magnus):
            parts.append(method.breakpoints)
        return jnp.sort(jnp.concatenate(parts))
    given = np.zeros(0)
    cure = "Give breakpoints=(0.5, 1.0), say: times at which the schedule has a kink."
    if np.size(breakpoints):
        allowed = "they must be times"
        given = check_numbers("breakpoints", breakpoints, allowed, cure).astype(float)
        if given.ndim != 1 or not np.all(np.isfinite(given)):
            raise_value_error(
                "breakpoints", breakpoints, "they must be finite times, (B,)", cure
            )
        # A traced total has no value to compare with.
        if is_concrete(total) and np.any((given < 0) | (given > float(total))):
            allowed = f"they must lie within [0, {float(total):g}]"
            raise_value_error(
                "breakpoints", breakpoints, allowed, "Give times of the schedule."
            )
    if isinstance(method, Magnus):
        given = np.concatenate([given, np.asarray(method.breakpoints, float)])
    return np.unique(given)


def _check_method(method: object, counterdiabatic: object) -> None:
    """A `ValueError` for a method that does not step a moving potential."""
    if method is not None and not isinstance(method, Magnus):
        raise_value_error(
            "method",
            method,
            "a transport moves its potential in time",
            "Give fp.Magnus(), or None to have one chosen.",
        )
    if method is not None and counterdiabatic is True:
        raise_value_error(
            "method",
            method,
            "counterdiabatic steps have a method of their own",
            "Give method=None.",
        )


def check_schedule(schedule: Any, monotone: bool = True) -> Any:
    """The total time of a schedule; a `ValueError` unless it is callable and goes from
    0 to 1.

    With `monotone` it must not decrease, and must not jump at an end, where a run would
    not see it.
    """
    total: Any = getattr(schedule, "total", None)
    if not callable(schedule) or total is None:
        allowed = "it must be callable, t -> lambda, with an attribute total"
        raise_value_error(
            "schedule", schedule, allowed, "Give fp.schedule.linear(10.0), say."
        )
    # A traced schedule cannot be checked, but for one that says itself that it jumps.
    if not is_concrete(schedule, total):
        if monotone and isinstance(schedule, Jumping):
            cure = (
                "Take an objective of its own: fp.schedule.learn(path, total, 'work', "
                "jumps=True)."
            )
            raise_value_error(
                "schedule",
                type(schedule).__name__,
                "it jumps at its ends, which a run does not see",
                cure,
            )
        return total
    if not check_finite_number("schedule.total", total) > 0:
        raise_value_error(
            "schedule.total",
            total,
            "it must be above zero",
            "Give the time that the transport may take.",
        )
    # Monotonicity is checked at samples: a short decrease between them is not seen.
    samples = np.linspace(0.0, float(total), CONSTANTS.schedule_samples)
    lambdas = np.asarray(follow(read_schedule(schedule), samples)[0])
    tol = CONSTANTS.schedule_tol
    if abs(lambdas[0]) > tol or abs(lambdas[-1] - 1) > tol:
        allowed = (
            f"it must go from 0 to 1, not from {lambdas[0]:.6g} to {lambdas[-1]:.6g}"
        )
        raise_value_error(
            "schedule", schedule, allowed, "Scale it, or reparametrise the path."
        )
    if not monotone:
        if np.min(lambdas) < -tol or np.max(lambdas) > 1 + tol:
            allowed = (
                f"it must stay within [0, 1], and goes from {np.min(lambdas):.6g} to "
                f"{np.max(lambdas):.6g}"
            )
            raise_value_error("schedule", schedule, allowed, "Reparametrise the path.")
        return total
    if np.min(np.diff(lambdas)) < -tol:
        raise_value_error(
            "schedule",
            schedule,
            "it must not decrease",
            "Give a schedule that rises from 0 to 1.",
        )
    _check_ends(schedule, float(total))
    return total


def _check_ends(schedule: Clock, total: float) -> None:
    """A `ValueError` for a schedule that jumps at t = 0 or at its total."""
    # In single precision a shorter step would be none.
    rounding = float(jnp.finfo(jnp.zeros(()).dtype).eps)
    margin = max(CONSTANTS.breakpoint_margin, 4 * rounding)
    steps = margin * total * np.asarray([0.0, 1.0, 2.0])
    for t, name in ((steps, "0"), (total - steps, "its total")):
        lambdas, _ = follow(read_schedule(schedule), t)
        at, near, far = np.asarray(lambdas, float)
        # A jump is all of the difference across the first step, and none of that across
        # the second.
        slope_limit = CONSTANTS.schedule_tol + CONSTANTS.end_jump * abs(far - near)
        if abs(near - at) > slope_limit:
            cure = (
                "Take fp.work_law, which counts it, or let it jump a little inside, at "
                "a time given in breakpoints=."
            )
            raise_value_error(
                "schedule",
                schedule,
                f"it jumps by {abs(near - at):.3g} at t = {name}",
                cure,
            )


def _check_choices(
    path: PotentialPath, counterdiabatic: object, kappa: Count, score_error: Real
) -> None:
    """A `ValueError` for a path or an option that is not allowed."""
    if not callable(path):
        raise_value_error(
            "path",
            path,
            "it must be callable, lambda -> potential",
            "Give fp.Mix(start, end) or a function.",
        )
    if not isinstance(counterdiabatic, bool):
        raise_value_error(
            "counterdiabatic",
            counterdiabatic,
            "it must be True or False",
            "Give True to add the drift.",
        )
    if kappa not in (0, 1):
        raise_value_error(
            "kappa",
            kappa,
            "it must be 1 or 0",
            "Give 1 for the Fokker-Planck equation.",
        )
    if counterdiabatic and kappa == 0:
        raise_value_error(
            "kappa",
            kappa,
            "the counterdiabatic drift belongs to the Fokker-Planck equation",
            "Give kappa=1.",
        )
    if not check_finite_number("score_error", score_error) >= 0:
        raise_value_error(
            "score_error",
            score_error,
            "it must be zero or more",
            "Give the largest error of the score.",
        )

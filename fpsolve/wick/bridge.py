"""What both bridges share: validation, the real-time run, the run in imaginary time
beside it, and the error.

The space error of a bridge is that of the run in imaginary time on the same grid: an
average of real-time states is a function F(H) of the matrix H of the grid, and F(H) is
e^{-tau H} up to the error of the average, whatever the real-time waves do at the ends
of the box.
"""

import math
import warnings
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, real_dtype
from ..core.checks import (
    check_finite_number,
    check_integer,
    check_positive,
    is_concrete,
    raise_value_error,
)
from ..core.decision import Decision
from ..core.memory import check_memory
from ..core.program import quick_program
from ..core.result import REMEDIES, AccuracyWarning, first_failure, raise_failure
from ..core.result import code as code_of
from ..core.types import Count, Initial, Numbers, Real, Scalar
from ..equation import Equation, Schrodinger
from ..grid import Grid
from ..plan import Plan, first_plan, validate
from ..plan.validation import check_times, check_tolerance
from ..solve.evolve import evolve
from ..solve.spectrum import spectrum
from .average import weighted_sums
from .constants import CONSTANTS
from .result import Continuation


class Request(NamedTuple):
    """A validated bridge.

    - `plan`: of the real-time run; `times` `(T,)`; `shift`: what is subtracted from H
    - `step`: h of the real times, a scalar; `lowest`: the lowest level of H less the
      shift
    - `tol`: the whole error that was asked for, or None
    """

    plan: Plan
    times: Array
    shift: Array
    step: Array
    lowest: Array
    tol: float | None
    run_tol: float

    @property
    def dtype(self) -> np.dtype:
        """The precision of the run."""
        return real_dtype(self.plan.start)


class Average(NamedTuple):
    """The sums of a bridge: the values `(T, *shape)`, their errors as an average `(T,)`
    in L1, what they promise.

    - `bound` `(T,)`: a proved bound in L2, relative to |psi_0|
    - `promise`: the relative error of a level that is zero, below which a negative
      level is not refused
    """

    values: Array
    error: Array
    time_error: Array
    bound: Array
    promise: Array
    calls: Array
    steps: int


def check_bridge(
    equation: Any,
    initial: Initial,
    times: Numbers,
    grid: Any,
    shift: Scalar,
    options: dict[str, Any],
    tol: Real | None,
    longest: tuple[str, Any] | None,
) -> Request:
    """The validated request of a bridge; `longest` is the largest real time in units of
    the last of the times, a name and a number, where it is known.

    **Raises** `ValueError` for bad arguments, before anything is evolved.
    """
    if not isinstance(equation, Schrodinger):
        cure = "Give fp.Schrodinger(potential), or equation.schrodinger() of a process."
        raise_value_error(
            "equation", equation, "real time needs a Schrödinger equation", cure
        )
    if equation.time_dependent:
        cure = "Freeze the potential: lambda x: V(x, t0)."
        raise_value_error(
            "equation",
            equation,
            "a bridge needs a static potential: it is a function of one H",
            cure,
        )
    times = check_times(times)
    if is_concrete(times) and float(np.asarray(times)[0]) == 0:
        cure = "Leave out t = 0, where the state is `initial`."
        raise_value_error(
            "times", np.asarray(times), "a bridge needs times above zero", cure
        )
    if is_concrete(shift):
        check_finite_number(
            "shift", shift, "Give a level at or below the lowest one, or 0."
        )
    single = jnp.zeros(()).dtype.itemsize == 4
    run_tol = CONSTANTS.run_tol_single if single else CONSTANTS.run_tol
    whole = None if tol is None else check_tolerance(tol, jnp.zeros(()).dtype)
    if longest is not None:
        check_positive(
            longest[0],
            longest[1],
            "Give 200, say: the longest real time in units of tau.",
        )
    # The longest real time decides the plan of the real-time run.
    factor = 1.0 if longest is None else longest[1]
    last = np.asarray(times)[-1:] if is_concrete(times, factor) else times[-1:]
    last = last * factor
    request = validate(
        equation,
        initial,
        last,
        grid,
        options["scheme"],
        options["method"],
        run_tol,
        math.pi / 2,
        None,
    )
    check_memory(
        "grid",
        request.grid.shape,
        CONSTANTS.readings * len(times) + CONSTANTS.largest_block,
        _FEWER,
    )
    plan = first_plan(request)
    # An array, not a number: every shift would else be a program of its own.
    shift = as_array(shift)
    lowest = _lowest_level(equation, plan) - shift
    alias_tol = CONSTANTS.alias_tol_single if single else CONSTANTS.alias_tol
    decay = as_array(-math.log(alias_tol))
    step = _step(plan.problem.operator, times, shift, decay)
    return Request(plan, times, shift, step, lowest, whole, run_tol)


_FEWER = "Take fewer nodes on some axis, or fewer times."


def _lowest_level(equation: Equation, plan: Plan) -> Array:
    """The lowest level of H on the grid of the plan."""
    found = spectrum(equation, plan.grid, 1, scheme=plan.scheme, check=False)
    return found.values[0]


@quick_program
def _step(operator: Any, times: Array, shift: Array, decay: Array) -> Array:
    """h = 2 pi / (E_max + L / tau) for the shortest tau; E_max is the upper bound of H
    less the shift.
    """
    highest = operator.bounds[1] - shift
    # A shift above all levels is refused later; the step must stay positive until then.
    return 2 * jnp.pi / (jnp.maximum(highest, 0) + decay / times[0])


def count_steps(
    request: Request, longest: tuple[str, Any] | None, steps: Count | None
) -> tuple[int, Array]:
    """K, and the number of real times of each tau `(T,)`: all K if `steps` is given,
    else up to `longest` tau.

    **Raises** `ValueError` for more real times than can be summed, and for values that
    are traced without `steps`.
    """
    times = request.times
    if steps is not None:
        number = check_integer(
            "steps",
            steps,
            CONSTANTS.least_steps,
            "Give the number of real times, such as 4096.",
        )
        return number, as_array(np.full(len(times), number), int)
    assert longest is not None, "one of the two is given"
    name, eta_max = longest
    if not is_concrete(request.step, times, eta_max):
        cure = "Give steps=4096, say, in its place."
        raise_value_error(
            name,
            eta_max,
            "the number of real times follows from values, which are traced",
            cure,
        )
    counts = np.ceil(float(eta_max) * np.asarray(times) / float(request.step))
    counts = np.maximum(counts.astype(int), CONSTANTS.least_steps)
    # All tau share one run; a shorter one has weights of zero at the end.
    most = int(np.max(counts))
    if most > CONSTANTS.most_steps:
        allowed = (
            f"it takes {most:,} real times, and {CONSTANTS.most_steps:,} are allowed"
        )
        cure = (
            "Give a smaller one, a smaller box or fewer nodes, or "
            'fp.wick.warped_phase(start="smooth").'
        )
        raise_value_error(name, eta_max, allowed, cure)
    return most, as_array(counts, int)


def average(request: Request, weights: Array, bound: Array, promise: Array) -> Average:
    """The values of a bridge from the weights `(J, T, K + 1)` of J ways to sum it, of
    which the first is the answer.
    """
    ways, count, points = weights.shape
    plan = request.plan
    # One run gives all sums.
    rows = weights.reshape(ways * count, points)
    sums = weighted_sums(plan, request.step, rows, request.run_tol)
    fields = sums.fields.reshape(ways, count, *plan.grid.shape)
    # The level shift is put back.
    decay = jnp.exp(-request.shift * request.times).astype(request.dtype)
    by_time = decay.reshape(-1, *[1] * plan.grid.ndim)
    # What the other ways differ by from the first shows its error.
    distances = plan.grid.integrate(jnp.abs(fields[1:] - fields[0]))
    apart = jnp.max(distances, axis=0)
    time_error = sums.error.reshape(ways, count)[0]
    return Average(
        values=fields[0] * by_time,
        error=apart * decay,
        time_error=time_error * decay,
        bound=bound,
        promise=promise,
        calls=sums.calls,
        steps=points - 1,
    )


def conclude(
    request: Request,
    found: Average,
    arguments: dict[str, Any],
    decision: Decision,
    check: bool,
    throw: bool,
) -> Continuation:
    """The result of a bridge, beside the run in imaginary time."""
    plan = request.plan
    times = request.times
    grid = plan.grid
    equation = plan.request.equation
    assert isinstance(equation, Schrodinger), "it was checked"
    with warnings.catch_warnings():
        # An error of the run in imaginary time is part of that of the bridge, which is
        # warned of below.
        warnings.simplefilter("ignore", AccuracyWarning)
        reference = evolve(
            **arguments,
            times=times,
            grid=grid,
            scheme=plan.scheme,
            check=check,
            throw=False,
        )
    numbers = _compare(
        found,
        reference.values,
        request.lowest,
        request.shift,
        times,
        plan.request.given,
        grid,
    )
    # Both runs use one matrix, and have its errors in common.
    shared = {name: reference.errors[name] for name in ("space", "box", "start")}
    errors = numbers["errors"] | shared
    errors["time"] = errors["time"] + reference.errors["time"]
    error = sum(errors.values(), start=jnp.zeros_like(found.error))
    code = _code(request, found, numbers["level"], error, reference.code)
    if is_concrete(code) and int(code) == code_of("grid_too_coarse"):
        # The frames of this function, of the bridge and of its wrapper lie between here
        # and the user's call.
        warnings.warn(
            f"{_detail(request, error)} {REMEDIES['grid_too_coarse']}",
            AccuracyWarning,
            stacklevel=4,
        )
    elif throw and is_concrete(code, error, request.lowest):
        raise_failure(code, _detail(request, error), has_throw=True)
    return Continuation(
        times=times,
        values=found.values,
        reference=reference.values,
        difference=numbers["difference"],
        error=error,
        errors=errors,
        bound=numbers["bound"],
        lowest_level=request.lowest,
        numbers={
            "real_time": found.steps * request.step,
            "real_times": as_array(float(found.steps)),
            "operator_calls": found.calls,
        },
        code=code,
        equation=equation,
        grid=grid,
        decisions=(*plan.decisions.items(), ("average", decision)),
    )


@quick_program
def _compare(
    found: Average,
    reference: Array,
    lowest: Array,
    shift: Array,
    times: Array,
    initial: Array,
    grid: Grid,
) -> dict[str, Any]:
    """Relative L1 errors and differences, and the relative bound."""
    size = grid.integrate(jnp.abs(found.values))
    wave_size = jnp.sqrt(grid.integrate(jnp.abs(found.values) ** 2))
    initial_size = jnp.sqrt(grid.integrate(jnp.abs(initial) ** 2))
    # e^{-|E| tau} is returned in the place of e^{-E tau}.
    level = jnp.expm1(2 * jnp.maximum(-lowest, 0) * times)
    shifted = jnp.exp(-shift * times)
    distance = grid.integrate(jnp.abs(found.values - reference))
    return {
        "errors": {
            "average": found.error / size,
            "level": level,
            "time": found.time_error / size,
        },
        "level": level,
        "difference": distance / grid.integrate(jnp.abs(reference)),
        # The bound is relative to psi_0, the error to psi(tau).
        "bound": found.bound * shifted * initial_size / wave_size,
    }


def _code(
    request: Request, found: Average, level: Array, error: Array, reference: Array
) -> Array:
    """The code of a bridge: a negative level, a failed run, an error above the
    tolerance, or that of the `reference`.

    Without a tolerance the number of real times that was given decides the error.
    """
    failures = [
        ("not_finite", ~jnp.all(jnp.isfinite(found.values))),
        ("negative_level", jnp.any(level > found.promise)),
    ]
    if request.tol is not None:
        failures.append(("average_too_short", jnp.any(error > request.tol)))
    code = first_failure(*failures)
    return jnp.where(code == code_of("successful"), reference, code)


def _detail(request: Request, error: Array) -> str:
    """The numbers of a failure in words."""
    worst = float(np.max(np.asarray(error)))
    lowest = float(np.asarray(request.lowest))
    asked = "" if request.tol is None else f", tol {request.tol:.1e}"
    return f"lowest level less shift {lowest:.4g}, estimated error {worst:.1e}{asked}."

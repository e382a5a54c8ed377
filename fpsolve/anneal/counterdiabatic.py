"""Counterdiabatic transport: a drift with which the density follows the Gibbs density
exactly, at any speed.

    d_t p = L_t p - div(v_t p),      d_t pi_t = -div(pi_t v_t),     p = sqrt(pi_t) psi
    d_t psi = -(H_t + G_t) psi,      G = v.grad + (div v) / 2

with H symmetric and G antisymmetric, so that only H reduces |psi|^2, and chi2(p | pi_t)
<= exp(-2 int gap dt) chi2(0) without an adiabatic term. A step is

    psi  <-  exp(-h H_1 / 2) U exp(-h H_0 / 2) psi,
    U = (1 + h G / 2)^-1 (1 - h G / 2),

with the G of a whole step (`counterdiabatic_step`). A density that starts as the Gibbs
density stays it to rounding, and any other approaches it no slower than the gap says.
The step is symmetric in time and its error a series in h^2, which is extrapolated. The
length of a step is controlled by the difference of two extrapolations. `strength`
multiplies v: 1 is exact, 0 plain transport, where the term a/2 of theorem T13, which v
cancels, is present.

References: theorem T20 of this library; Kolodrubetz et al., Phys. Rep. 697 (2017) 1;
Li, Quan and Tu, Phys. Rev. E 96 (2017) 012144 (shortcuts); extrapolation: Hairer,
Norsett and Wanner, Solving ODEs I, II.9.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import check_finite_number
from ..core.result import CODES, code
from ..core.types import AnyArray, Numbers, Real
from ..equation import FokkerPlanck
from ..grid import Grid
from ..operator.constants import CONSTANTS as OPERATOR
from ..plan.initial_state import initial_field
from ..plan.validation import check_times, check_tolerance
from .constants import CONSTANTS
from .counterdiabatic_step import (
    DrivenProcess,
    SampledProcess,
    equal_steps,
    initial_wave,
)
from .velocity import check_transportable


class CounterdiabaticResult(eqx.Module):
    """The result of `evolve_counterdiabatic`.

    - `times` `(T,)`; `values` `(T, *shape)` densities; `error` `(T,)` estimated
      relative L1 error in time
    - `residual`: the largest |d_t sqrt(pi) + G sqrt(pi)| of any step, relative to the
      largest of its terms
    - `calls` of the operator, and `steps` in time; `result`: "successful", or the name
      of what went wrong
    """

    times: Array
    values: Array
    error: Array
    residual: Array
    calls: Array
    steps: Array
    code: Array

    @property
    def result(self) -> str:
        """The named code of the run."""
        return CODES[int(self.code)]


def evolve_counterdiabatic(
    equation: FokkerPlanck,
    grid: Grid,
    density: AnyArray,
    times: Numbers,
    tol: Real | None = None,
    *,
    strength: Real = 1.0,
) -> CounterdiabaticResult:
    """The density of a process in a time-dependent potential, with the counterdiabatic
    drift added.

        d_t p = L_t p - strength div(v_t p),      d_t pi_t = -div(pi_t v_t)

    v is the velocity field of least energy.

    **Arguments**

    - `equation`: a time-dependent `fp.FokkerPlanck`, without force and with a constant
      diffusion
    - `grid`: of `fp.Line`, `fp.Reflecting` and `fp.Periodic` axes
    - `density`: the state at t = 0: a function of x `(d,)`, `fp.Gaussian` or an array
      `(*shape)`
    - `times`: `(T,)`, ascending, at least zero
    - `tol`: relative L1 error in time; 1e-8, or 1e-4 in float32
    - `strength`: factor on v; 1 follows exactly. Far from 1 the wave p / sqrt(pi) may
      grow so large that rounding spoils it: plain transport is `fp.evolve`

    **Returns** a `CounterdiabaticResult`; a numerical failure is its `result`.
    **Raises** `ValueError` for invalid arguments, before computing.

    **Keeps**, at strength 1, any speed and any length of steps: mass and the Gibbs
    density to rounding; chi2(p | pi_t) within its bound by the gap, up to `tol`.
    Positivity to `tol`. **Cost**: a step takes one exponential of H, one velocity (O(n)
    on one axis, else some 25 multigrid cycles) and one solve; a start at Gibbs takes
    one step an output time, any other some hundreds in all. **Reference**: theorem T20;
    Li, Quan and Tu, Phys. Rev. E 96 (2017) 012144.

    ```python
    import fpsolve as fp
    from fpsolve.anneal.counterdiabatic import evolve_counterdiabatic

    dragged, grid = (
        fp.FokkerPlanck(lambda x, t: (x[0] - 9 * t) ** 2 / 2),
        fp.Grid(fp.Line(-6.0, 7.0, 64)),
    )
    found = evolve_counterdiabatic(
        dragged, grid, dragged.gibbs(grid), [0.05, 0.1]
    )  # centred at 0.45 and 0.9
    ```
    """
    equation, grid = check_transportable(equation, grid)
    times = check_times(times)
    field = initial_field(equation, grid, density)
    tol = check_tolerance(tol, field.dtype)
    check_finite_number("strength", strength, "Give 1 to follow exactly.")
    dtype = field.dtype
    diffusion = np.broadcast_to(np.asarray(equation.diffusion), (grid.ndim,))
    process = DrivenProcess(
        diffusion=as_array(diffusion.astype(dtype), dtype),
        strength=as_array(strength, dtype),
        grid=grid,
    )
    sampled = SampledProcess(process, equation, dtype)
    return _evolve(sampled, field, times.astype(dtype), tol)


@dataclasses.dataclass
class _Progress:
    """The state of a run: the wave and log sqrt(pi) at `time`, the `span` to try next,
    and totals so far.

    `exhausted` is set when the tolerance cannot be reached: the rest of the run takes
    one span an output time.
    """

    time: float
    span: float
    wave: AnyArray
    log_sqrt_pi: np.ndarray
    error: float
    calls: float = 0.0
    steps: int = 0
    residual: float = 0.0
    exhausted: bool = False


def _evolve(
    sampled: SampledProcess, field: Array, times: Array, tol: float
) -> CounterdiabaticResult:
    """The run: extrapolation tables, span by span, from output to output."""
    dtype = field.dtype
    total = float(np.asarray(times)[-1])
    # The wave at t = 0. Its tails are clipped, at a fraction of the tolerance, where p
    # / sqrt(pi) would overflow.
    log_sqrt_pis = sampled.log_sqrt_pis(0.0, 0.0, 1)
    fraction = np.asarray(tol * OPERATOR.clipping_tol_fraction, dtype)
    wave, clipping_error = initial_wave(
        sampled.process.grid, field, log_sqrt_pis, fraction
    )
    progress = _Progress(
        time=0.0,
        span=total,
        wave=wave,
        log_sqrt_pi=log_sqrt_pis[-1],
        error=float(clipping_error),
    )
    values, errors = [], []
    for t in np.asarray(times, float):
        # Spans end at every output time.
        while progress.time < t:
            _advance(progress, sampled, float(t), total, tol)
        values.append(np.exp(progress.log_sqrt_pi) * np.asarray(progress.wave))
        errors.append(progress.error if t > 0 else 0.0)

    table = np.stack(values)
    # The errors of all spans are summed: the last is the largest.
    outcome = "tolerance_not_reached" if errors[-1] > tol else "successful"
    # A failure is a named result, not an exception: the caller decides.
    if not np.all(np.isfinite(table)):
        outcome = "not_finite"
    return CounterdiabaticResult(
        times=times,
        values=as_array(table, dtype),
        error=as_array(errors, dtype),
        residual=as_array(progress.residual),
        calls=as_array(progress.calls),
        steps=as_array(progress.steps, int),
        code=as_array(code(outcome), int),
    )


def _advance(
    progress: _Progress,
    sampled: SampledProcess,
    target: float,
    total: float,
    tol: float,
) -> None:
    """One extrapolation table towards the output time `target`: it is accepted or not,
    and the span adapted.
    """
    spans = 1
    if not progress.exhausted:
        needed = (target - progress.time) / progress.span
        # Rounding of the last span adds no span of its own.
        spans = max(1, math.ceil(needed - CONSTANTS.span_rounding))
    # Equal spans, about as long as the one to try, that end at the target.
    length = (target - progress.time) / spans
    min_length = CONSTANTS.min_span * total

    # The tolerance is spent evenly over time; the rest of it has been spent on
    # clipping.
    local_tol = tol * (1 - OPERATOR.clipping_tol_fraction) * length / total
    table = _extrapolate(sampled, progress.wave, progress.time, length, local_tol)
    # A shorter span does not reduce rounding errors: an error of their size is
    # accepted.
    allowed = max(local_tol, table.rounding)
    progress.calls += table.calls
    progress.steps += table.steps
    progress.residual = max(progress.residual, table.residual)

    too_many = progress.steps > CONSTANTS.max_steps
    too_short = length <= min_length and table.error > allowed
    progress.exhausted = progress.exhausted or too_many or too_short

    accepted = progress.exhausted or table.error <= allowed
    if accepted:
        progress.wave, progress.log_sqrt_pi = table.wave, table.log_sqrt_pi
        progress.error = progress.error + table.error + table.step_error
        # The last span ends at the target exactly, which a sum of lengths may miss by
        # rounding.
        progress.time = target if spans == 1 else progress.time + length

    # The estimate of the error at a level is of order span^(2 level + 1).
    ratio = CONSTANTS.max_growth
    if table.error > 0:
        ratio = (allowed / table.error) ** (1 / (2 * table.level + 1))
    # Bounded, since an estimate from one table may be far off.
    safe_ratio = max(CONSTANTS.step_safety * ratio, CONSTANTS.max_shrink)
    factor = min(safe_ratio, CONSTANTS.max_growth)
    # A span that was cut short by an output time does not reduce the next one.
    shortest = progress.span if accepted and factor > 1 else min_length
    progress.span = max(length * factor, shortest)


class _TableResult(NamedTuple):
    """The result of an extrapolation table.

    - the extrapolated `wave` with the smallest `error`, its `level`, the size of
      `rounding` errors in it, and the sum `step_error` of the errors of its steps
      themselves
    - of all rows: the largest `residual`, the operator `calls` and the `steps`; log
      sqrt(pi) at the end of the span
    """

    wave: AnyArray
    error: float
    rounding: float
    step_error: float
    level: int
    residual: float
    calls: float
    steps: int
    log_sqrt_pi: Any


def _extrapolate(
    sampled: SampledProcess,
    wave: AnyArray,
    start: float,
    length: float,
    local_tol: float,
) -> _TableResult:
    """The wave after one span: rows of more and more steps, extrapolated in h^2 until
    two rows agree.

    One step is enough where exp(-h H) changes nothing at either end: splitting then
    causes no error.
    """
    grid = sampled.process.grid
    counts = CONSTANTS.extrapolation_counts
    # In the precision of the wave.
    number = lambda value: np.asarray(value, sampled.dtype)
    previous: list[np.ndarray] = []
    best = _TableResult(wave, math.inf, 0.0, 0.0, 0, 0.0, 0.0, 0, None)
    residual = 0.0
    calls = 0.0
    for level, count in enumerate(counts):
        log_sqrt_pis = sampled.log_sqrt_pis(start, length, count)
        state = equal_steps(
            sampled.process, wave, log_sqrt_pis, number(length), np.asarray(count)
        )

        # The row of Neville's scheme.
        row = [np.asarray(state.wave)]
        for j, coarse in enumerate(previous, start=1):
            divisor = number((count / counts[level - j]) ** 2 - 1)
            row.append(row[-1] + (row[-1] - coarse) / divisor)

        # The first row has no other to compare with: its error is at most what H did at
        # all.
        reference = previous[-1] if previous else row[-1]
        difference, rounding = _distance(grid, row[-1], reference, log_sqrt_pis[-1])
        error = difference if previous else float(state.relaxed)
        rounding = max(rounding, float(state.step_error))
        residual = max(residual, float(state.residual))
        calls += float(state.calls)
        # Not always the last row: rounding grows with the number of steps.
        if error < best.error:
            best = best._replace(
                wave=row[-1],
                error=error,
                rounding=rounding,
                step_error=float(state.step_error),
                level=level,
            )
        best = best._replace(
            residual=residual,
            calls=calls,
            steps=sum(counts[: level + 1]),
            log_sqrt_pi=log_sqrt_pis[-1],
        )
        # One row alone suffices only where H did nothing but rounding.
        allowed = max(local_tol, rounding) if previous else rounding
        if error <= allowed:
            break
        previous = row
    return best


def _distance(
    grid: Grid, fine: np.ndarray, coarse: np.ndarray, log_sqrt_pi: np.ndarray
) -> tuple[float, float]:
    """The relative L1 distance of two densities, given as waves, and the size of
    rounding errors in it.
    """
    weights = np.ones((), fine.dtype)
    for axis in grid.axes:
        weights = weights[..., None] * axis.weights.astype(fine.dtype)
    # The density is exp(log_sqrt_pi) times the wave.
    measure = weights * np.exp(log_sqrt_pi)
    # an overflow is reported as "not_finite"
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        mass = np.sum(measure * np.abs(fine))
        difference = np.sum(measure * np.abs(fine - coarse))
        epsilon = CONSTANTS.rounding_factor * np.finfo(fine.dtype).eps
        rounding = epsilon * np.sqrt(np.sum(weights * fine**2))
        return float(difference / mass), float(rounding / mass)

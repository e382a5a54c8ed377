"""Transport along a path: `fp.transport`.

    d_t p = L_t p,     pi_t = exp(-U_lambda(t) / D) / Z_t,     p = sqrt(pi_t) psi
    d_t psi = -H_t psi - (kappa/2) a_t psi

with a = d_t log pi. kappa = 1 is the Fokker-Planck equation, kappa = 0 pure imaginary time. kappa = -1 gives the
weights of Jarzynski, for which psi equals sqrt(pi_t) at any speed; the error of a run with kappa = -1 is therefore
known, and measures the accuracy of the transport (`jarzynski`).

    d/dt KL(p | pi) = -D I(p | pi) - E_p a        W = int E_p d_t U dt,    (W - dF) / D = KL - KL_0 + entropy produced
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, host_module
from ..core.program import full_precision
from ..core.types import Real
from ..equation import FokkerPlanck
from ..grid import Grid
from ..plan.validation import initial_field
from .along import Along, along, interpolation_tol
from .bounds import Bounds, Start, bound_counterdiabatic, bound_transport, follow
from .constants import CONSTANTS
from .distances import chi_square, infidelity, relative_entropy, total_variation
from .gibbs import gibbs_density
from .transport_request import TransportRequest, check_request
from .transport_result import Powers, Transport, sample_powers, work_and_entropy
from .transport_run import run_transport


@full_precision
def transport(
    path: Any,
    schedule: Any,
    *,
    grid: Grid | None = None,
    diffusion: Any = 1.0,
    initial: Any = None,
    counterdiabatic: bool = False,
    times: Any = None,
    tol: Real | None = None,
    kappa: int = 1,
    score_error: Real = 0.0,
) -> Transport:
    """The density in a potential that moves along a path, its distance from the Gibbs density, and a bound on that.

    **Arguments**

    - `path`: lambda in [0, 1] to a potential: `fp.Mix`, `fp.Noising`, or any function
    - `schedule`: t in [0, total] to lambda, from 0 to 1: `fp.schedule.linear(total)`, `fp.schedule.optimal(...)`, or a
      function with an attribute `total`
    - `grid`: None fits one that holds the Gibbs densities of the whole path
    - `diffusion`: D, one number
    - `initial`: the state at t = 0, as for `fp.evolve`; None starts from the Gibbs density at lambda = 0
    - `counterdiabatic`: adds the drift with which p follows pi_t exactly, on finite volumes (theorem T20)
    - `times`: `(T,)` in [0, total]; None takes 101, evenly spaced
    - `tol`: relative L1 error in time; 1e-8, or 1e-5 without x64
    - `kappa`: 1, or 0 for pure imaginary time, whose values are |psi|^2 normalised (theorem T14)
    - `score_error`: eps, where a sampler's score is wrong by at most eps: widens the bound (theorem T17)

    **Returns** a `Transport`. **Raises** `ValueError` for a path that does not confine (with the lambda), a schedule
    that is not monotone from 0 to 1, or any other invalid argument, before evolving.

    **Keeps**: what `fp.evolve` keeps. `jit`, `vmap` and `grad` reach the values and the distances (with a grid, without
    the gap and the bound, which are not computed then). **Cost**: as `fp.evolve`, and a gap at 20 to 60 lambdas.

    **Reference**: theorems T13 to T20 of this library; Jarzynski, Phys. Rev. Lett. 78 (1997) 2690.

    ```python
    import fpsolve as fp

    path, grid = fp.Mix(fp.Harmonic(center=-1.0), fp.Harmonic(center=1.0)), fp.Grid(fp.Line(-8.0, 10.0, 96))
    found = fp.transport(path, fp.schedule.linear(5.0), grid=grid)
    print(found.kl[-1], found.bound[-1], found.bound_by)
    ```
    """
    # 1. Validation. `along` also checks that the path confines, before anything is evolved.
    request = check_request(
        path,
        schedule,
        grid=grid,
        diffusion=diffusion,
        initial=initial,
        counterdiabatic=counterdiabatic,
        times=times,
        tol=tol,
        kappa=kappa,
        score_error=score_error,
    )
    equation, grid = request.equation, request.grid
    costs = None
    if request.concrete:
        costs = along(path, grid=grid, diffusion=diffusion, tol=interpolation_tol(grid))
    field = gibbs_density(equation, grid, as_array(0.0)) if initial is None else initial_field(equation, grid, initial)

    # 2. The run, to the requested times and others between them.
    run_times, positions = _run_times(request)
    solution, residual = run_transport(request, field, run_times)

    # 3. Distances and work at all times of the run, of which the requested ones are kept.
    powers = sample_powers(equation, grid, run_times, solution.values)
    series = _time_series(equation, grid, run_times, solution.values, powers)
    series = TimeSeries(*(_select(positions, row) for row in series))
    values = _select(positions, solution.values)
    error = _select(positions, solution.error)

    # 4. The bounds.
    lambdas = follow(request.schedule, request.times)[0]
    bounds = None
    if costs is not None and request.kappa == 1:
        bounds = _bounds(request, costs, _start(grid, field, powers))
    return Transport(
        times=request.times,
        lambdas=lambdas,
        values=values,
        kl=series.kl,
        tv=series.tv,
        infidelity=series.infidelity,
        gap=None if costs is None else costs.at(lambdas).gap,
        work=series.work,
        free_energy=series.free_energy,
        entropy=series.entropy,
        bounds=bounds,
        equation=equation,
        solution=dataclasses.replace(solution, times=request.times, values=values, error=error),
        residual=residual,
        tol=request.tol,
        grid=grid,
    )


def _run_times(request: TransportRequest) -> tuple[Array, np.ndarray | None]:
    """The times of the run, and the positions of the requested ones among them (None if these are all).

    More times than requested make the integral of the work accurate, and keep the steps short enough for the sharp
    turns of a schedule. On more axes the counterdiabatic run pays for every output time, so that it gets none.
    """
    if not request.concrete:
        return request.times, None
    requested = np.asarray(request.times)
    fits = request.grid.size * CONSTANTS.report_times <= CONSTANTS.max_run_values
    cheap = request.grid.ndim == 1 or not request.counterdiabatic
    times = as_array(_add_times(requested, float(request.total) if fits and cheap else 0.0))
    return times, np.searchsorted(np.asarray(times), requested)


def _add_times(requested: np.ndarray, total: float) -> np.ndarray:
    """The requested times, 0, and those of `report_times` evenly spaced in [0, total] that lie before the last."""
    even = np.linspace(0, total, CONSTANTS.report_times)
    # An even time that is nearer to a requested one than half a spacing is left out: it would add nothing.
    half_spacing = 0.5 / (CONSTANTS.report_times - 1) * total
    separate = np.min(np.abs(even[:, None] - requested), axis=1) > half_spacing
    return np.unique(np.concatenate([requested, [0.0], even[separate & (even < requested[-1])]]))


def _select(positions: np.ndarray | None, row: Any) -> Array:
    """The entries of `row` `(T, ...)` at the requested times."""
    if positions is None:
        return as_array(row) if isinstance(row, np.ndarray) else row
    # A sharded array stays on its devices. Any other is indexed by numpy: indexing by JAX would compile six programs.
    if isinstance(row, jax.Array) and len(row.sharding.device_set) > 1:
        return row[positions]
    return as_array(np.asarray(row)[positions], row.dtype)


class TimeSeries(NamedTuple):
    """Numbers at the times of a run, each `(T,)`: see `Transport`."""

    kl: Any
    tv: Any
    infidelity: Any
    work: Any
    free_energy: Any
    entropy: Any


def _time_series(equation: FokkerPlanck, grid: Grid, times: Array, values: Array, powers: Powers) -> TimeSeries:
    """Distances, work and entropy of a run with densities `values` `(T, *shape)`."""
    # Concrete values are handled by numpy, which compiles nothing.
    xp = host_module(equation, times, values, powers)
    if xp is np:
        times, values, powers = jax.tree.map(np.asarray, (times, values, powers))
    diffusion = float(equation.diffusion) if xp is np else equation.diffusion
    kl = relative_entropy(values, powers.log_gibbs, grid, xp)
    work, free_energy, entropy = work_and_entropy(powers, diffusion, times, kl, xp)
    return TimeSeries(
        kl=kl,
        tv=total_variation(values, powers.log_gibbs, grid, xp),
        infidelity=infidelity(values, powers.log_gibbs, grid, xp),
        work=work,
        free_energy=free_energy,
        entropy=entropy,
    )


def _start(grid: Grid, field: Array, powers: Powers) -> Start:
    """The distances of the state at t = 0, the first time of the run, from the Gibbs density.

    They include rounding, as the distances reported at t = 0 do, so that the bounds hold for the reported numbers.
    """
    density = np.asarray(field)
    log_gibbs = np.asarray(powers.log_gibbs)[0]
    log_density = np.log(np.maximum(density, np.finfo(density.dtype).tiny))
    log_density = np.where(density > 0, log_density, -np.inf)
    with np.errstate(invalid="ignore", over="ignore"):  # KL(pi | p) is infinite where p vanishes and pi does not
        reverse = relative_entropy(np.exp(log_gibbs), log_density, grid, np)
    direct = relative_entropy(density, log_gibbs, grid, np)
    chi2 = chi_square(density, log_gibbs, grid, np)
    return Start(float(direct), float(reverse), float(chi2))


def _bounds(request: TransportRequest, costs: Along, start: Start) -> Bounds:
    """The bounds on the distances at the requested times."""
    times = np.asarray(request.times, float)
    if request.counterdiabatic:
        return bound_counterdiabatic(request.schedule, times, costs.at, start)
    return bound_transport(
        request.path,
        request.schedule,
        request.equation.diffusion,
        request.grid,
        times,
        costs.at,
        start,
        float(request.score_error),
    )

"""Transport along a path: `fp.transport`.

    d_t p = L_t p,     pi_t = exp(-U_lambda(t) / D) / Z_t,     p = sqrt(pi_t) psi
    d_t psi = -H_t psi - (kappa/2) a_t psi

with a = d_t log pi. kappa = 1 is the Fokker-Planck equation, kappa = 0 pure imaginary
time. kappa = -1 gives the weights of Jarzynski, for which psi equals sqrt(pi_t) at any
speed; the error of a run with kappa = -1 is therefore known, and measures the accuracy
of the transport (`jarzynski`).

    d/dt KL(p | pi) = -D I(p | pi) - E_p a
    W = int E_p d_t U dt,      (W - dF) / D = KL - KL_0 + entropy produced
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, host_module
from ..core.program import public_function
from ..core.types import AnyArray, Clock, Initial, Numbers, PotentialPath, Real, Scalar
from ..equation import FokkerPlanck
from ..grid import Grid
from ..path import Driven
from ..path.mix import Identity
from ..plan.initial_state import initial_field
from ..solve.solution import Solution
from ..step import Magnus
from .along import Along, compute_along, interpolation_tol, path_pieces
from .bounds import Bounds, Start, bound_counterdiabatic, bound_transport
from .distances import chi_square, relative_entropy
from .gibbs import gibbs_density
from .run_times import time_features
from .schedule_samples import Features, follow
from .transport_numbers import Computed, TimeSeries, adaptive_run, traced_run
from .transport_request import TransportRequest, check_request
from .transport_result import Transport
from .transport_run import Run


@public_function
def transport(
    path: PotentialPath,
    schedule: Clock,
    *,
    grid: Grid | None = None,
    diffusion: Scalar = 1.0,
    initial: Initial | None = None,
    counterdiabatic: bool = False,
    times: Numbers | None = None,
    tol: Real | None = None,
    kappa: int = 1,
    score_error: Real = 0.0,
    method: Magnus | None = None,
    breakpoints: Numbers = (),
    throw: bool = True,
    check: bool = True,
) -> Transport:
    """The density in a potential that moves along a path, its distance from the Gibbs
    density, and a bound on that.

    **Arguments**

    - `path`: lambda in [0, 1] to a potential: `fp.Mix`, `fp.Noising`, or any function
    - `schedule`: t in [0, total] to lambda, from 0 to 1: `fp.schedule.linear(total)`,
      `fp.schedule.optimal(...)`, or a function with an attribute `total`
    - `grid`: None fits one that holds the Gibbs densities of the whole path
    - `diffusion`: D, one number
    - `initial`: the state at t = 0, as for `fp.evolve`; None starts from the Gibbs
      density at lambda = 0
    - `counterdiabatic`: adds the drift with which p follows pi_t exactly, on finite
      volumes (theorem T20)
    - `times`: `(T,)` in [0, total]; None takes 101, evenly spaced
    - `tol`: relative L1 error in time; 1e-8, or 1e-5 without x64; at least 1e-6 under a
      transformation if not given
    - `kappa`: 1, or 0 for pure imaginary time, whose values are |psi|^2 normalised
      (theorem T14)
    - `score_error`: eps, where a sampler's score is wrong by at most eps: widens the
      bound (theorem T17)
    - `method`: `fp.Magnus(...)`, or None to have one chosen
    - `breakpoints`: `(B,)` times in [0, total] at which the schedule has a kink or a
      jump. Those that a dense sampling shows are found; what lasts less than total /
      8192 should be given
    - `throw`: raise `NumericalFailure` where the error exceeds `tol`; under `jit`,
      return NaN there
    - `check`: evolve and compute the gap on companion grids, too, so that the errors of
      the density and of the gap are whole, as in `fp.evolve` and `fp.along`

    **Returns** a `Transport`. **Raises** `ValueError` for a path that does not confine
    (with the lambda), a schedule that is not monotone from 0 to 1, or any other invalid
    argument, before evolving; `NumericalFailure` as above.

    **Keeps**: what `fp.evolve` keeps. `jit`, `vmap` and `grad` reach the values and the
    distances (with a grid, without the gap and the bound, which are not computed then);
    they find the kinks of a schedule, also where only its derivative with respect to
    its knots has them. Times of knots that are differentiated, or jumps, must be given
    as `breakpoints` there. **Cost**: as `fp.evolve`, and a gap at 20 to 60 lambdas.

    **Reference**: theorems T13 to T20 of this library; Jarzynski, Phys. Rev. Lett. 78
    (1997) 2690.

    ```python
    import fpsolve as fp

    path, grid = (
        fp.Mix(fp.Harmonic(center=-1.0), fp.Harmonic(center=1.0)),
        fp.Grid(fp.Line(-8.0, 10.0, 96)),
    )
    found = fp.transport(path, fp.schedule.linear(5.0), grid=grid)
    print(found.kl[-1], found.bound[-1], found.bound_by)
    ```
    """
    # 1. Validation. `along` also checks that the path confines, before anything is
    #    evolved.
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
        method=method,
        breakpoints=breakpoints,
        throw=throw,
        check=check,
    )
    equation = request.equation
    grid = request.grid
    costs = None
    if request.concrete:
        path_tol = interpolation_tol(grid)
        costs = compute_along(path, grid, diffusion, path_tol, check=request.check)
    if initial is None:
        field = gibbs_density(equation, grid, as_array(0.0))
    else:
        field = initial_field(equation, grid, initial)

    # 2. The run, to the requested times and others between them, and what is computed
    #    from its densities.
    bounds = None
    if costs is None:
        computed = traced_run(request, field)
    else:
        breaks, features = time_features(request, _path_edges(request))
        computed = adaptive_run(request, field, costs, breaks, features)
        # 3. The bounds, at all times of the run, so that each is compared with all
        #    distances.
        if request.kappa == 1:
            bounds = _bounds(request, costs, features, computed)
    positions = computed.requested

    # 4. The result, at the requested times.
    lambdas, _ = follow(request.schedule, request.times)
    numbers = TimeSeries(*(_select(positions, row) for row in computed.series))
    errors = {name: _select(positions, row) for name, row in computed.errors.items()}
    gap = None
    if costs is not None:
        gap = costs.at(lambdas).gap
        errors = errors | {"gap": costs.gap_error(lambdas)}
    values = _select(positions, computed.solution.values)
    return Transport(
        times=request.times,
        lambdas=lambdas,
        values=values,
        kl=numbers.kl,
        tv=numbers.tv,
        infidelity=numbers.infidelity,
        gap=gap,
        work=numbers.work,
        free_energy=numbers.free_energy,
        entropy=numbers.entropy,
        bounds=bounds,
        equation=equation,
        solution=_selected_run(computed, request.times, values),
        residual=computed.residual,
        number_errors=errors,
        tol=request.tol,
        grid=grid,
    )


def _path_edges(request: TransportRequest) -> np.ndarray:
    """Edges of the pieces of the path that are smooth in lambda."""
    driven = request.equation.potential
    assert isinstance(driven, Driven)
    # lambda is the time of this equation.
    diffusion = request.equation.diffusion
    by_lambda = FokkerPlanck(Driven(driven.path, Identity()), diffusion)
    return path_pieces(by_lambda, request.grid)


def _selected_run(computed: Computed, times: Array, values: AnyArray) -> Run:
    """The run with its densities and errors at the requested times only."""
    run = computed.solution
    positions = computed.requested
    changes: dict[str, Any] = {"error": _select(positions, run.error)}
    if isinstance(run, Solution):
        parts = run.errors.items()
        changes["errors"] = {name: _select(positions, part) for name, part in parts}
    return dataclasses.replace(run, times=times, values=values, **changes)


def _select(positions: AnyArray, row: AnyArray) -> Array:
    """The entries of `row` `(N, ...)` at the requested times."""
    # A sharded array stays on its devices. Any other is indexed by numpy: indexing by
    # JAX would compile six programs.
    if host_module(positions, row) is jnp:
        return row[positions]
    if isinstance(row, jax.Array) and len(row.sharding.device_set) > 1:
        return row[positions]
    return as_array(np.asarray(row)[positions], row.dtype)


def _start(grid: Grid, density: np.ndarray, log_gibbs: np.ndarray) -> Start:
    """The distances of the state at t = 0, the first time of the run, from the Gibbs
    density.

    They include rounding, as the distances reported at t = 0 do, so that the bounds
    hold for the reported numbers.
    """
    smallest = np.finfo(density.dtype).tiny
    log_density = np.log(np.maximum(density, smallest))
    log_density = np.where(density > 0, log_density, -np.inf)
    # KL(pi | p) is infinite where p vanishes and pi does not
    with np.errstate(invalid="ignore", over="ignore"):
        reverse = relative_entropy(np.exp(log_gibbs), log_density, grid, np)
    direct = relative_entropy(density, log_gibbs, grid, np)
    chi2 = chi_square(density, log_gibbs, grid, np)
    return Start(float(direct), float(reverse), float(chi2))


def _bounds(
    request: TransportRequest, costs: Along, features: Features, computed: Computed
) -> Bounds:
    """The bounds on the distances at the requested times, as far as none lies below the
    distances of the run.
    """
    times = np.asarray(computed.solution.times, float)
    powers = computed.powers
    density = np.asarray(computed.solution.values)[0]
    start = _start(request.grid, density, np.asarray(powers.log_gibbs)[0])
    if request.counterdiabatic:
        found = bound_counterdiabatic(request.schedule, times, costs.at, start)
    else:
        found = bound_transport(
            request.path,
            request.schedule,
            request.equation.diffusion,
            request.grid,
            times,
            costs.at,
            start,
            float(request.score_error),
            features,
        )
    series = computed.series
    errors = (computed.errors["tv"], computed.errors["kl"])
    checked = found.checked(series.tv, series.kl, errors)
    return checked.at(computed.requested)

"""Transport along a path: `fp.transport`.

    d_t p = L_t p,     pi_t = exp(-U_lambda(t) / D) / Z_t,     p = sqrt(pi_t) psi
    d_t psi = -H_t psi - (kappa/2) a_t psi

with a = d_t log pi. kappa = 1 is the Fokker-Planck equation, kappa = 0 pure imaginary
time. kappa = -1 gives the weights of Jarzynski, for which psi equals sqrt(pi_t) at any
speed; the error of a run with kappa = -1 is therefore known, and measures the accuracy
of the transport (`jarzynski`).

    d/dt KL(p | pi) = -D I(p | pi) - E_p a        W = int E_p d_t U dt,    (W - dF) / D = KL - KL_0 + entropy produced
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, host_module
from ..core.checks import is_concrete
from ..core.program import full_precision
from ..core.result import code, raise_failure
from ..core.types import AnyArray, Clock, Initial, Numbers, PotentialPath, Real, Scalar
from ..equation import FokkerPlanck
from ..grid import Grid
from ..path import Driven
from ..path.mix import Identity
from ..plan.companion import companion
from ..plan.validation import initial_field
from ..solve.solution import Solution
from ..step import Magnus
from .along import Along, compute_along, interpolation_tol, path_pieces
from .bounds import (
    Bounds,
    Features,
    Start,
    bound_counterdiabatic,
    bound_transport,
    follow,
)
from .constants import CONSTANTS
from .distances import (
    chi_square,
    deviation,
    infidelity,
    relative_entropy,
    relative_entropy_slope,
    total_variation,
    total_variation_error,
)
from .gibbs import gibbs_density
from .run_times import RunTimes, run_times, time_features, traced_times
from .transport_request import TransportRequest, check_request
from .transport_result import Transport, density_errors
from .transport_run import Run, TransportRun, run_transport
from .work import Powers, sample_log_z, sample_powers, traced_work, work_between


@full_precision
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
    equation, grid = request.equation, request.grid
    costs = None
    if request.concrete:
        costs = compute_along(
            path, grid, diffusion, interpolation_tol(grid), check=request.check
        )
    field = (
        gibbs_density(equation, grid, as_array(0.0))
        if initial is None
        else initial_field(equation, grid, initial)
    )

    # 2. The run, to the requested times and others between them, and what is computed
    #    from its densities.
    bounds = None
    if costs is None:
        computed = _traced_run(request, field)
    else:
        breaks, features = time_features(request, _path_edges(request))
        computed = _adaptive_run(request, field, costs, breaks, features)
        # 3. The bounds, at all times of the run, so that each is compared with all
        #    distances.
        if request.kappa == 1:
            bounds = _bounds(request, costs, features, computed)
    series, positions = computed.series, computed.requested

    lambdas = follow(request.schedule, request.times)[0]
    numbers = TimeSeries(*(_select(positions, row) for row in series))
    errors = {name: _select(positions, row) for name, row in computed.errors.items()}
    values = _select(positions, computed.solution.values)
    return Transport(
        times=request.times,
        lambdas=lambdas,
        values=values,
        kl=numbers.kl,
        tv=numbers.tv,
        infidelity=numbers.infidelity,
        gap=None if costs is None else costs.at(lambdas).gap,
        work=numbers.work,
        free_energy=numbers.free_energy,
        entropy=numbers.entropy,
        bounds=bounds,
        equation=equation,
        solution=_selected_run(computed, request.times, values),
        residual=computed.residual,
        number_errors=errors
        if costs is None
        else errors | {"gap": costs.gap_error(lambdas)},
        tol=request.tol,
        grid=grid,
    )


class TimeSeries(NamedTuple):
    """Numbers at the times of a run, each `(N,)`: see `Transport`."""

    kl: Any
    tv: Any
    infidelity: Any
    work: Any
    free_energy: Any
    entropy: Any


class Computed(NamedTuple):
    """A run and all numbers at its times `(N,)`; `requested` are the positions of the
    times to report.
    """

    solution: Run
    residual: Array | None
    powers: Powers
    series: TimeSeries
    errors: dict[str, Any]
    requested: Any


def _path_edges(request: TransportRequest) -> np.ndarray:
    """Edges of the pieces of the path that are smooth in lambda."""
    driven = request.equation.potential
    assert isinstance(driven, Driven)
    by_lambda = FokkerPlanck(
        Driven(driven.path, Identity()), request.equation.diffusion
    )
    return path_pieces(by_lambda, request.grid)


def _adaptive_run(
    request: TransportRequest,
    field: Array,
    costs: Along,
    breaks: np.ndarray,
    features: Features,
) -> Computed:
    """A run with as many nodes as the work needs for the tolerance: each further run
    has more of them.
    """
    places = np.linspace(0, 1, CONSTANTS.first_lambdas)
    fastest = float(np.max(np.asarray(costs.at(places).gap)))
    extra = np.zeros(0)
    refinements = CONSTANTS.work_refinements if request.grid.ndim == 1 else 1
    # A counterdiabatic run in several dimensions pays for every output time.
    if request.counterdiabatic and request.grid.ndim > 1:
        refinements = 0
    layout = run_times(request, breaks, features, fastest, extra)
    computed, doubtful = _run_at(request, field, layout)
    for _ in range(refinements):
        if not len(doubtful):
            break
        nodes = layout.times[layout.nodes]
        # Each doubtful interval is divided into four, unevenly at its start, where a
        # transient is fastest.
        lengths = np.diff(nodes)[np.searchsorted(nodes, doubtful)]
        fractions = np.asarray(CONSTANTS.refined_fractions)
        extra = np.union1d(
            extra, (doubtful[:, None] + lengths[:, None] * fractions).ravel()
        )
        layout = run_times(request, breaks, features, fastest, extra)
        # A run may become too large for memory.
        if len(layout.times) * request.grid.size > CONSTANTS.max_run_values:
            break
        computed, doubtful = _run_at(request, field, layout)
    return computed


def _run_at(
    request: TransportRequest, field: Array, layout: RunTimes
) -> tuple[Computed, np.ndarray]:
    """A run and its numbers, and the nodes after which its work is not as accurate as
    the tolerance.
    """
    equation, grid = request.equation, request.grid
    times = as_array(layout.times)
    run = run_transport(request, field, times)
    powers = sample_powers(equation, grid, times, run.solution.values)
    host = jax.tree.map(np.asarray, powers)

    # The work between the nodes, and across the breakpoints.
    nodes = layout.times[layout.nodes]
    last_nodes = np.flatnonzero(np.diff(layout.stretches))
    ends = layout.nodes[last_nodes]
    jumps = np.zeros(0)
    if len(ends):
        jumps = _jumps(equation, grid, layout, ends, layout.nodes[last_nodes + 1], run)
    work = work_between(
        nodes, layout.stretches, host.power[layout.nodes], jumps, layout.times
    )

    diffusion = float(equation.diffusion)
    free_energy = -diffusion * (host.log_z - host.log_z[0])
    scale = diffusion + np.max(np.abs(work.value)) + np.max(np.abs(free_energy))
    computed = _conclude(
        request, layout.times, run, powers, work.value, work.error, layout.requested
    )
    return computed, work.doubtful(request.tol * scale)


def _jumps(
    equation: FokkerPlanck,
    grid: Grid,
    layout: RunTimes,
    before: np.ndarray,
    after: np.ndarray,
    run: TransportRun,
) -> np.ndarray:
    """The work at each breakpoint `(B,)`: E_p (U(b+) - U(b-)), extrapolated to b from
    both sides.
    """
    values = np.asarray(run.solution.values)
    # The density does not jump. It is that of the side before, in both potentials.
    density = as_array(values[before], values.dtype)
    energies = []
    for positions in (before, after):
        moments = layout.times[positions]
        sides = jax.tree.map(
            np.asarray, sample_powers(equation, grid, as_array(moments), density)
        )
        energies.append(sides.energy + (layout.breakpoints - moments) * sides.power)
    return energies[1] - energies[0]


def _traced_run(request: TransportRequest, field: Array) -> Computed:
    """A run with a fixed number of nodes, under a transformation."""
    equation, grid = request.equation, request.grid
    layout = traced_times(request)
    run = run_transport(request, field, layout.times)
    powers = sample_powers(equation, grid, layout.times, run.solution.values)
    stride = (len(layout.times) - 1) // (len(layout.edges) - 1)
    work, work_error = traced_work(
        equation, grid, layout, run.solution.values, powers.power
    )

    # From here on the edges alone, among which the requested times are.
    solution = dataclasses.replace(
        run.solution,
        values=run.solution.values[::stride],
        error=run.solution.error[::stride],
    )
    at_edges = Powers(*(row[::stride] for row in powers))
    computed = _conclude(
        request,
        layout.edges,
        run._replace(solution=solution),
        at_edges,
        work,
        work_error,
        layout.requested,
    )
    if not request.throw:
        return computed
    # Inside a program nothing can be raised: a run that failed gives NaN, and so do its
    # derivatives.
    # What one run shows of the error in space is too rough a guide for this.
    worst_in_time = jnp.max(density_errors(solution)["time"])
    failed = ~(worst_in_time <= request.tol) | layout.jumped
    # Outside of `jit`, as under `grad` alone, the error may be known.
    if is_concrete(failed) and bool(failed):
        detail = f"estimated error {float(worst_in_time):.1e}, tol {request.tol:.1e}."
        if bool(layout.jumped):
            detail = "the schedule jumps: give the times of its jumps as breakpoints."
        raise_failure(
            jnp.asarray(code("tolerance_not_reached")), detail, has_throw=True
        )
    factor = jnp.where(failed, jnp.nan, 1.0).astype(solution.values.dtype)
    series = TimeSeries(*(row * factor for row in computed.series))
    return computed._replace(
        solution=dataclasses.replace(solution, values=solution.values * factor),
        series=series,
    )


def _conclude(
    request: TransportRequest,
    times: Any,
    run: TransportRun,
    powers: Powers,
    work: Any,
    work_error: Any,
    requested: Any,
) -> Computed:
    """Distances, free energy and entropy of a run, and the errors of all numbers."""
    equation, grid, solution = request.equation, request.grid, run.solution
    values, error = solution.values, solution.error
    log_z = powers.log_z
    # Z on other nodes and in a wider box shows its error.
    in_basis = isinstance(solution, Solution) and solution.scheme.spectral
    other_log_z = sample_log_z(equation, companion(grid, in_basis), jnp.asarray(times))
    # Concrete values are handled by numpy, which compiles nothing.
    xp = host_module(equation, times, values, powers)
    if xp is np:
        converted = jax.tree.map(
            np.asarray, (times, values, error, powers, log_z, other_log_z)
        )
        times, values, error, powers, log_z, other_log_z = converted
    diffusion = float(equation.diffusion) if xp is np else equation.diffusion
    log_gibbs = powers.log_gibbs
    kl = relative_entropy(values, log_gibbs, grid, xp)
    tv = total_variation(values, log_gibbs, grid, xp)
    lost = infidelity(values, log_gibbs, grid, xp)
    free_energy = -diffusion * (log_z - log_z[0])
    entropy = (work - free_energy) / diffusion - (kl - kl[0])
    series = TimeSeries(
        kl=kl,
        tv=tv,
        infidelity=lost,
        work=work,
        free_energy=free_energy,
        entropy=entropy,
    )

    # The density of Gibbs is as wrong as Z is.
    of_gibbs = xp.abs(log_z - other_log_z)
    free_energy_error = diffusion * xp.abs(
        (log_z - log_z[0]) - (other_log_z - other_log_z[0])
    )
    # The error |dp| of the density changes a mean of f by |dp| times the deviation of
    # f, as far as it is spread evenly.
    spent = error * powers.spread
    steps = xp.diff(times)
    of_density = xp.concatenate(
        [0 * error[:1], xp.cumsum(steps / 2 * (spent[1:] + spent[:-1]))]
    )
    whole_work = work_error + of_density
    kl_error = (
        error
        * deviation(values, relative_entropy_slope(values, log_gibbs, xp), grid, xp)
        + of_gibbs
    )
    errors = {
        "kl": kl_error,
        "tv": error / 2
        + of_gibbs / 2
        + total_variation_error(values, log_gibbs, grid, xp),
        "infidelity": error * xp.sqrt(2 * xp.maximum(lost, 0)) + error**2 + of_gibbs,
        "work": whole_work,
        "free_energy": free_energy_error,
        "entropy": (whole_work + free_energy_error) / diffusion
        + kl_error
        + kl_error[0],
    }
    return Computed(solution, run.residual, powers, series, errors, requested)


def _selected_run(computed: Computed, times: Array, values: AnyArray) -> Run:
    """The run with its densities and errors at the requested times only."""
    run = computed.solution
    changes: dict[str, Any] = {"error": _select(computed.requested, run.error)}
    if isinstance(run, Solution):
        changes["errors"] = {
            name: _select(computed.requested, part) for name, part in run.errors.items()
        }
    return dataclasses.replace(run, times=times, values=values, **changes)


def _select(positions: AnyArray, row: AnyArray) -> Array:
    """The entries of `row` `(N, ...)` at the requested times."""
    # A sharded array stays on its devices. Any other is indexed by numpy: indexing by
    # JAX would compile six programs.
    host = host_module(positions, row)
    if host is jnp or (isinstance(row, jax.Array) and len(row.sharding.device_set) > 1):
        return row[positions]
    return as_array(np.asarray(row)[positions], row.dtype)


def _start(grid: Grid, density: np.ndarray, log_gibbs: np.ndarray) -> Start:
    """The distances of the state at t = 0, the first time of the run, from the Gibbs
    density.

    They include rounding, as the distances reported at t = 0 do, so that the bounds
    hold for the reported numbers.
    """
    log_density = np.log(np.maximum(density, np.finfo(density.dtype).tiny))
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
    start = _start(
        request.grid,
        np.asarray(computed.solution.values)[0],
        np.asarray(powers.log_gibbs)[0],
    )
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
    series, errors = computed.series, computed.errors
    return found.checked(series.tv, series.kl, (errors["tv"], errors["kl"])).at(
        computed.requested
    )

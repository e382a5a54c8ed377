"""The numbers of a transport: distances, work, free energy and entropy along its run.

    W = int E_p d_t U dt,      F_t - F_0 = -D log(Z_t / Z_0)
    entropy produced = (W - F_t + F_0) / D - (KL - KL_0)

A run with concrete values is repeated with more nodes until the work is as accurate as
the tolerance (`adaptive_run`). Under a transformation of JAX the number of nodes is
fixed (`traced_run`). The error of each number has three sources: the density, the
quadrature of the work, and Z, which is compared with that on a companion grid.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, host_module
from ..core.checks import is_concrete
from ..core.result import code, raise_failure
from ..equation import FokkerPlanck
from ..grid import Grid
from ..plan.companion import companion
from ..solve.solution import Solution
from .along import Along
from .constants import CONSTANTS
from .distances import (
    deviation,
    infidelity,
    relative_entropy,
    relative_entropy_slope,
    total_variation,
    total_variation_error,
)
from .run_times import RunTimes, run_times, traced_times
from .schedule_samples import Features
from .transport_request import TransportRequest
from .transport_result import density_errors
from .transport_run import Run, TransportRun, run_transport
from .work import Powers, sample_log_z, sample_powers, traced_work, work_between


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


def adaptive_run(
    request: TransportRequest,
    field: Array,
    costs: Along,
    breaks: np.ndarray,
    features: Features,
) -> Computed:
    """A run with as many nodes as the work needs for the tolerance: each further run
    has more of them.
    """
    lambdas = np.linspace(0, 1, CONSTANTS.first_lambdas)
    fastest = float(np.max(np.asarray(costs.at(lambdas).gap)))
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
        divided = doubtful[:, None] + lengths[:, None] * fractions
        extra = np.union1d(extra, divided.ravel())
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
    equation = request.equation
    grid = request.grid
    times = as_array(layout.times)
    run = run_transport(request, field, times)
    powers = sample_powers(equation, grid, times, run.solution.values)
    host = jax.tree.map(np.asarray, powers)

    # The work between the nodes, and across the breakpoints.
    nodes = layout.times[layout.nodes]
    last_nodes = np.flatnonzero(np.diff(layout.stretches))
    before = layout.nodes[last_nodes]
    after = layout.nodes[last_nodes + 1]
    jumps = np.zeros(0)
    if len(before):
        jumps = _jumps(equation, grid, layout, before, after, run)
    work = work_between(
        nodes, layout.stretches, host.power[layout.nodes], jumps, layout.times
    )

    # A work near zero need not be accurate relative to itself.
    diffusion = float(equation.diffusion)
    free_energy = -diffusion * (host.log_z - host.log_z[0])
    largest_work = np.max(np.abs(work.value))
    scale = diffusion + largest_work + np.max(np.abs(free_energy))
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
    """The work E_p (U(b+) - U(b-)) at each breakpoint b `(B,)`, from both sides."""
    values = np.asarray(run.solution.values)
    # The density does not jump. It is that of the side before, in both potentials.
    density = as_array(values[before], values.dtype)
    energies = []
    for positions in (before, after):
        moments = layout.times[positions]
        powers = sample_powers(equation, grid, as_array(moments), density)
        side = jax.tree.map(np.asarray, powers)
        # The nodes lie a margin away from the breakpoint.
        energies.append(side.energy + (layout.breakpoints - moments) * side.power)
    below, above = energies
    return above - below


def traced_run(request: TransportRequest, field: Array) -> Computed:
    """A run with a fixed number of nodes, under a transformation."""
    equation = request.equation
    grid = request.grid
    layout = traced_times(request)
    run = run_transport(request, field, layout.times)
    values = run.solution.values
    powers = sample_powers(equation, grid, layout.times, values)
    work, work_error = traced_work(equation, grid, layout, values, powers.power)

    # From here on the edges alone, among which the requested times are.
    stride = (len(layout.times) - 1) // (len(layout.edges) - 1)
    solution = dataclasses.replace(
        run.solution,
        values=values[::stride],
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
    # derivatives. What one run shows of the error in space is too rough a guide for
    # this.
    worst_in_time = jnp.max(density_errors(solution)["time"])
    failed = ~(worst_in_time <= request.tol) | layout.jumped
    # Outside of `jit`, as under `grad` alone, the error may be known.
    if is_concrete(failed) and bool(failed):
        detail = f"estimated error {float(worst_in_time):.1e}, tol {request.tol:.1e}."
        if bool(layout.jumped):
            detail = "the schedule jumps: give the times of its jumps as breakpoints."
        not_reached = jnp.asarray(code("tolerance_not_reached"))
        raise_failure(not_reached, detail, has_throw=True)
    # A factor, and not a `where`, so that the derivatives are NaN, too.
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
    equation = request.equation
    grid = request.grid
    solution = run.solution
    values = solution.values
    error = solution.error
    log_z = powers.log_z
    # Z on other nodes and in a wider box shows its error.
    in_basis = isinstance(solution, Solution) and solution.scheme.spectral
    other_log_z = sample_log_z(equation, companion(grid, in_basis), jnp.asarray(times))
    # Concrete values are handled by numpy, which compiles nothing.
    xp = host_module(equation, times, values, powers)
    if xp is np:
        arrays = (times, values, error, powers, log_z, other_log_z)
        converted = jax.tree.map(np.asarray, arrays)
        times, values, error, powers, log_z, other_log_z = converted
    diffusion = float(equation.diffusion) if xp is np else equation.diffusion
    log_gibbs = powers.log_gibbs
    kl = relative_entropy(values, log_gibbs, grid, xp)
    tv = total_variation(values, log_gibbs, grid, xp)
    lost = infidelity(values, log_gibbs, grid, xp)
    change = log_z - log_z[0]
    free_energy = -diffusion * change
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
    other_change = other_log_z - other_log_z[0]
    free_energy_error = diffusion * xp.abs(change - other_change)
    # The error |dp| of the density changes a mean of f by |dp| times the deviation of
    # f, as far as it is spread evenly.
    spent = error * powers.spread
    steps = xp.diff(times)
    by_step = steps / 2 * (spent[1:] + spent[:-1])
    of_density = xp.concatenate([0 * error[:1], xp.cumsum(by_step)])
    work_total_error = work_error + of_density
    slope = relative_entropy_slope(values, log_gibbs, xp)
    kl_error = error * deviation(values, slope, grid, xp) + of_gibbs
    kinks = total_variation_error(values, log_gibbs, grid, xp)
    tv_error = error / 2 + of_gibbs / 2 + kinks
    # The slope of 1 - F is about sqrt(2 (1 - F)), per unit of the L1 distance.
    to_first_order = error * xp.sqrt(2 * xp.maximum(lost, 0))
    infidelity_error = to_first_order + error**2 + of_gibbs
    energy_error = (work_total_error + free_energy_error) / diffusion
    errors = {
        "kl": kl_error,
        "tv": tv_error,
        "infidelity": infidelity_error,
        "work": work_total_error,
        "free_energy": free_energy_error,
        "entropy": energy_error + kl_error + kl_error[0],
    }
    return Computed(
        solution=solution,
        residual=run.residual,
        powers=powers,
        series=series,
        errors=errors,
        requested=requested,
    )

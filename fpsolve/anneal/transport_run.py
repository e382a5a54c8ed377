"""The time evolution of a transport: plain, in imaginary time, or with the
counterdiabatic drift.
"""

import dataclasses
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.result import raise_failure
from ..equation import FokkerPlanck, divide_by_sqrt_pi
from ..operator import Spectral
from ..operator.aliasing import aliasing_error
from ..path import Driven
from ..path.mix import Identity
from ..plan.constants import CONSTANTS as PLAN
from ..solve.evolve import evolve
from ..solve.solution import Solution
from ..step import Magnus
from .coarsen_grid import coarsen_grid
from .constants import CONSTANTS
from .counterdiabatic import CounterdiabaticResult, evolve_counterdiabatic
from .gibbs import gibbs_density, log_gibbs_at
from .transport_request import TransportRequest

Run: TypeAlias = Solution | CounterdiabaticResult


class TransportRun(NamedTuple):
    """A run with densities at all its times, and the residual of sqrt(pi) if it was
    counterdiabatic.
    """

    solution: Run
    residual: Array | None


def run_transport(
    request: TransportRequest, field: Array, times: Array
) -> TransportRun:
    """The evolution of the density `field` `(*shape)` to `times` `(T,)`."""
    if request.counterdiabatic:
        return _run_counterdiabatic(request, field, times)
    if request.kappa == 0:
        return TransportRun(_run_imaginary_time(request, field, times), None)
    # On one axis a run is cheap, so that a coarser grid is only tried on more.
    if request.concrete and request.starts_at_gibbs and request.grid.ndim > 1:
        solution = _run_on_coarser_grid(request, times)
        if solution is not None:
            return TransportRun(solution, None)
    method = _method(request, len(times))
    tol, throw = _tolerance(request)
    options: dict[str, Any] = {
        "method": method,
        "tol": tol,
        "throw": throw,
        "check": request.check,
    }
    solution = evolve(request.equation, field, times, grid=request.grid, **options)
    return TransportRun(solution, None)


def _tolerance(request: TransportRequest) -> tuple[float, bool]:
    """The tolerance for `evolve`, and whether it raises where that is not met."""
    if request.concrete:
        return request.tol, request.throw
    # `evolve` gives it to each interval, and the caller compares the error of the whole
    # run with that of the request.
    least = PLAN.least_tol_units * float(jnp.finfo(jnp.zeros(()).dtype).eps)
    return max(least, CONSTANTS.traced_tol_fraction * request.tol), False


def _method(request: TransportRequest, count: int) -> Magnus | None:
    """The method for a run to `count` output times: that of the request, or None where
    `evolve` chooses it.
    """
    method: Magnus | None = request.method
    if method is None and not request.concrete:
        # The number of steps cannot be chosen from an error: the whole run gets a fixed
        # number.
        by_interval = round(CONSTANTS.traced_steps / count)
        method = Magnus(steps=max(CONSTANTS.min_traced_interval, by_interval))
    if np.size(request.breakpoints) == 0:
        return method
    if method is None:
        method = Magnus()
    return method.with_breakpoints(request.breakpoints)


def _run_counterdiabatic(
    request: TransportRequest, field: Array, times: Array
) -> TransportRun:
    found = evolve_counterdiabatic(
        request.equation, request.grid, field, times, request.tol
    )
    if request.throw and int(found.code) != 0:
        worst = float(np.max(np.asarray(found.error)))
        raise_failure(
            found.code, f"estimated error {worst:.1e}, tol {request.tol:.1e}."
        )
    return TransportRun(found, found.residual)


def _run_imaginary_time(
    request: TransportRequest, field: Array, times: Array
) -> Solution:
    """d_t psi = -H_t psi from sqrt(field), with |psi|^2 of mass 1 as the densities."""
    grid = request.grid
    tol, throw = _tolerance(request)
    equation = request.equation.schrodinger(0.0)
    method = _method(request, len(times))
    options: dict[str, Any] = {
        "method": method,
        "tol": tol,
        "throw": throw,
        "check": request.check,
    }
    found = evolve(equation, jnp.sqrt(field), times, grid=grid, **options)
    # Imaginary time does not keep the norm.
    square = jnp.abs(found.values) ** 2
    norms = grid.integrate(square).reshape(-1, *[1] * grid.ndim)
    return dataclasses.replace(found, values=square / norms)


def _run_on_coarser_grid(request: TransportRequest, times: Array) -> Solution | None:
    """The run from the Gibbs density on the nodes that its waves need, interpolated to
    the grid of the request.

    None where that grid is not much coarser, or where the result shows that it does not
    resolve the waves.
    """
    grid = request.grid
    tol = request.tol
    if not all(axis.modes == "fourier" for axis in grid.axes):
        return None

    # The nodes that the Gibbs densities of the path need, with lambda as the time of
    # the equation.
    driven = request.equation.potential
    assert isinstance(driven, Driven)
    diffusion = request.equation.diffusion
    by_lambda = FokkerPlanck(Driven(driven.path, Identity()), diffusion)
    lambdas = np.linspace(0, 1, CONSTANTS.coarse_grid_samples)
    wave_tol = CONSTANTS.coarse_grid_tol_fraction * tol
    coarse = coarsen_grid(by_lambda, grid, lambdas, wave_tol)
    if coarse.size > CONSTANTS.coarse_grid_fraction * grid.size:
        return None

    # Without throw: a failure here means only that the run on the full grid is needed.
    start = gibbs_density(request.equation, coarse, as_array(0.0))
    method = _method(request, len(times))
    found = evolve(
        request.equation,
        start,
        times,
        grid=coarse,
        scheme=Spectral(),
        method=method,
        tol=tol,
        throw=False,
        check=False,
    )
    # A density that lags behind may be sharper than all Gibbs densities of the path:
    # only the result tells.
    if int(found.code) != 0 or found.picture != "wave":
        return None
    if _largest_aliasing_error(found) > tol:
        return None
    decisions = dict(found.decisions)
    sizes = " x ".join(map(str, coarse.shape))
    decisions["method"] = decisions["method"].also(
        f"on {sizes} nodes, which resolve all its waves"
    )
    return dataclasses.replace(
        found, values=found.on(grid), grid=grid, decisions=tuple(decisions.items())
    )


def _largest_aliasing_error(solution: Solution) -> float:
    """The largest aliasing error of p / sqrt(pi) at any time, in L1 as a density."""
    grid, equation = solution.grid, solution.equation
    assert isinstance(equation, FokkerPlanck)
    ones = np.ones(grid.ndim)
    log_sqrt_pis = np.asarray(log_gibbs_at(equation, grid, solution.times)) / 2
    errors: list[Any] = []
    # an infinite wave has an infinite error
    densities = np.asarray(solution.values)
    with np.errstate(over="ignore", invalid="ignore"):
        for density, log_sqrt_pi in zip(densities, log_sqrt_pis, strict=True):
            wave = divide_by_sqrt_pi(density, log_sqrt_pi, np)
            root = np.exp(log_sqrt_pi)
            errors.append(aliasing_error(grid, wave, root, ones, np)[0])
    return float(np.max(errors))

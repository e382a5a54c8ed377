"""Transport along a path: `fp.transport`.

    d_t p = L_t p,     pi_t = exp(-U_lambda(t) / D) / Z_t,     p = sqrt(pi_t) psi
    d_t psi = -H_t psi - (kappa/2) a_t psi

a = d_t log pi_t. kappa = 1 is the Fokker-Planck equation itself, kappa = 0 pure imaginary time, kappa = -1 the weights
of Jarzynski, for which psi stays sqrt(pi_t) at any speed: what a run makes of that is its own measure of accuracy.

    d/dt KL(p | pi) = -D I(p | pi) - E_p a        W = int E_p d_t U dt,    (W - dF) / D = KL - KL_0 + entropy produced
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, host_module
from ..core.checks import check_finite_number, is_concrete, raise_value_error
from ..core.program import full_precision
from ..core.result import raise_failure
from ..core.types import Real
from ..equation import FokkerPlanck, divide_by_sqrt_pi
from ..grid import Grid
from ..operator import Spectral
from ..operator.aliasing import aliasing_error
from ..path import Driven
from ..path.mix import Identity
from ..plan.validation import check_times, check_tolerance, initial_field
from ..solve.evolve import evolve
from ..solve.solution import Solution
from .along import TOLS, along
from .bounds import Start, bound_driven, bound_transport, follow
from .coarsen_grid import coarsen_grid
from .counterdiabatic import drive
from .distances import chi_square, infidelity, relative_entropy, total_variation
from .gibbs import gibbs_density, log_gibbs_at
from .grid_for_path import path_grid
from .read import read_path, read_schedule
from .transport_result import Powers, Transport, sample_powers, work_and_entropy

REPORTED = 101  # times, where none are given; as many are taken between those that are
ROOM = 2**24  # numbers of a run up to which more times are taken than were requested
SPARE = 0.5  # of the points of a grid: a run on fewer is worth while
LEFT_OUT = 0.1  # of the tolerance, that fewer nodes may leave out of a wave
FRAMES = 17  # places on the path that say how many nodes it needs
NEAR = 0.5 / (REPORTED - 1)  # of the total: a time that was requested stands for one between
ENDS = 1e-9  # by which a schedule may miss 0 or 1, or fall


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
    """The density that a potential drags along a path, its distance from the Gibbs density, and a bound on that.

    **Arguments**

    - `path`: lambda in [0, 1] to a potential: `fp.Mix`, `fp.Noising`, or any function
    - `schedule`: t in [0, total] to lambda, from 0 to 1: `fp.schedule.linear(total)`, `fp.schedule.optimal(...)`, or a
      function with an attribute `total`
    - `grid`: None fits one that holds the Gibbs densities of the whole path
    - `diffusion`: D, one number
    - `initial`: the state at t = 0, as for `fp.evolve`; None starts from the Gibbs density at lambda = 0
    - `counterdiabatic`: adds the drift that keeps up exactly, on finite volumes (theorem T20)
    - `times`: `(T,)` in [0, total]; None takes 101, evenly
    - `tol`: relative L1 error in time; 1e-8, or 1e-5 without x64
    - `kappa`: 1, or 0 for pure imaginary time, whose values are |psi|^2 normalised (theorem T14)
    - `score_error`: eps, where a sampler's score is wrong by at most eps: widens the bound (theorem T17)

    **Returns** a `Transport`. **Raises** `ValueError` for a path that does not confine (with the lambda), a schedule
    that is not monotone from 0 to 1, or any argument that cannot be right, before evolving.

    **Keeps**: what `fp.evolve` keeps. `jit`, `vmap` and `grad` reach the values and the distances (with a grid, without
    the gap and the bound, which are not computed then). **Cost**: as `fp.evolve`, and a gap at 20 to 60 places.

    **Reference**: theorems T13 to T20 of this library; Jarzynski, Phys. Rev. Lett. 78 (1997) 2690.

    ```python
    import fpsolve as fp

    path, grid = fp.Mix(fp.Harmonic(center=-1.0), fp.Harmonic(center=1.0)), fp.Grid(fp.Line(-8.0, 10.0, 96))
    found = fp.transport(path, fp.schedule.linear(5.0), grid=grid)
    print(found.kl[-1], found.bound[-1], found.bound_by)
    ```
    """
    total = _check_schedule(schedule)
    _check_choices(path, counterdiabatic, kappa, score_error)
    schedule = read_schedule(schedule)
    requested = _evenly(total) if times is None else check_times(times)
    if is_concrete(requested, total) and np.asarray(requested)[-1] > float(total) * (1 + ENDS):
        raise_value_error(
            "times", times, f"they must lie within [0, {float(total):g}]", "Report within the schedule's time."
        )
    tol = check_tolerance(tol, jnp.zeros(()).dtype)
    if grid is None:
        grid = path_grid(path, diffusion, tol)
    equation = FokkerPlanck(Driven(read_path(path, grid.ndim), schedule), diffusion)
    if callable(equation.diffusion) or jnp.ndim(equation.diffusion):
        raise_value_error(
            "diffusion", diffusion, "a path of Gibbs densities needs one number", "Give D, a number above zero."
        )
    concrete = is_concrete(equation, requested, total)
    rates = along(path, grid=grid, diffusion=diffusion, tol=TOLS[grid.ndim > 1]).at if concrete else None
    zero = as_array(0.0)
    field = gibbs_density(equation, grid, zero) if initial is None else initial_field(equation, grid, initial)

    # More times than requested: for the work, and so that no sharp turn of a schedule escapes the steps.
    times, places = requested, None
    if concrete:
        many = grid.size * REPORTED <= ROOM and (grid.ndim == 1 or not counterdiabatic)
        times = as_array(_between(np.asarray(requested), float(total) if many else 0.0))
        places = np.searchsorted(np.asarray(times), np.asarray(requested))
    solution, residual = None, None
    if concrete and initial is None and kappa == 1 and not counterdiabatic and grid.ndim > 1:
        solution = _on_fewer(equation, times, grid, tol)
    if solution is None:
        solution, residual = _run(equation, field, times, grid, tol, counterdiabatic, kappa)

    powers = sample_powers(equation, grid, times, solution.values)
    numbers = _distances(equation, grid, times, solution.values, powers)
    numbers |= {"values": solution.values, "error": solution.error}
    numbers = {name: _at(places, row) for name, row in numbers.items()}
    error = numbers.pop("error")
    lambdas = follow(schedule, requested)[0]
    bounds = None
    if rates is not None and kappa == 1:
        start = _start(grid, field, powers)  # rounding included, which the distances at t = 0 hold too
        then = np.asarray(requested, float)
        if counterdiabatic:
            bounds = bound_driven(schedule, then, rates, start)
        else:
            eps = float(score_error)
            bounds = bound_transport(path, schedule, equation.diffusion, grid, then, rates, start, eps)
    return Transport(
        times=requested,
        lambdas=lambdas,
        **numbers,
        gap=None if rates is None else rates(lambdas).gap,
        bounds=bounds,
        equation=equation,
        solution=dataclasses.replace(solution, times=requested, values=numbers["values"], error=error),
        residual=residual,
        tol=tol,
        grid=grid,
    )


def _evenly(total: Any) -> Array:
    """`REPORTED` times in [0, total]."""
    if is_concrete(total):
        return as_array(np.linspace(0, float(total), REPORTED))
    return jnp.linspace(0, total, REPORTED)


def _between(requested: np.ndarray, total: float) -> np.ndarray:
    """The times requested, the start, and `REPORTED` evenly in [0, total] as far as they lie before the last."""
    even = np.linspace(0, total, REPORTED)
    apart = np.min(np.abs(even[:, None] - requested), axis=1) > NEAR * total
    return np.unique(np.concatenate([requested, [0.0], even[apart & (even < requested[-1])]]))


def _at(places: np.ndarray | None, row: Any) -> Array:
    """The entries of `row` `(T, ...)` at the times that were requested; indexing by JAX would compile six programs."""
    if places is None:
        return as_array(row) if isinstance(row, np.ndarray) else row
    if isinstance(row, jax.Array) and len(row.sharding.device_set) > 1:
        return row[places]
    return as_array(np.asarray(row)[places], row.dtype)


def _distances(equation: FokkerPlanck, grid: Grid, times: Array, values: Array, powers: Powers) -> dict[str, Any]:
    """Distances, work and entropy of a run `(T, *shape)`."""
    xp = host_module(equation, times, values, powers)
    if xp is np:
        times, values, powers = jax.tree.map(np.asarray, (times, values, powers))
    diffusion = float(equation.diffusion) if xp is np else equation.diffusion
    log_gibbs = powers.log_gibbs
    kl = relative_entropy(values, log_gibbs, grid, xp)
    work, free, entropy = work_and_entropy(powers, diffusion, times, kl, xp)
    return {
        "kl": kl,
        "tv": total_variation(values, log_gibbs, grid, xp),
        "infidelity": infidelity(values, log_gibbs, grid, xp),
        "work": work,
        "free_energy": free,
        "entropy": entropy,
    }


def _start(grid: Grid, field: Array, powers: Powers) -> Start:
    """How far the state at t = 0, the first of all times, is from the Gibbs density."""
    density, log_gibbs = np.asarray(field), np.asarray(powers.log_gibbs)[0]
    log_density = np.log(np.maximum(density, np.finfo(density.dtype).tiny))
    log_density = np.where(density > 0, log_density, -np.inf)
    with np.errstate(invalid="ignore", over="ignore"):
        reverse = relative_entropy(np.exp(log_gibbs), log_density, grid, np)
    direct, chi2 = (f(density, log_gibbs, grid, np) for f in (relative_entropy, chi_square))
    return Start(float(direct), float(reverse), float(chi2))


def _check_schedule(schedule: Any) -> Any:
    """Its total; refused unless it is callable and rises from 0 to 1."""
    total: Any = getattr(schedule, "total", None)
    if not callable(schedule) or total is None:
        allowed = "it must be callable, t -> lambda, with an attribute total"
        raise_value_error("schedule", schedule, allowed, "Give fp.schedule.linear(10.0), say.")
    if is_concrete(schedule, total):
        if not check_finite_number("schedule.total", total) > 0:
            raise_value_error(
                "schedule.total", total, "it must be above zero", "Give the time that the transport may take."
            )
        lambdas = np.asarray(follow(read_schedule(schedule), np.linspace(0.0, float(total), 257))[0])
        if abs(lambdas[0]) > ENDS or abs(lambdas[-1] - 1) > ENDS:
            allowed = f"it must go from 0 to 1, not from {lambdas[0]:.6g} to {lambdas[-1]:.6g}"
            raise_value_error("schedule", schedule, allowed, "Scale it, or reparametrise the path.")
        if np.min(np.diff(lambdas)) < -ENDS:
            raise_value_error("schedule", schedule, "it must not fall", "Give a schedule that rises from 0 to 1.")
    return total


def _check_choices(path: Any, counterdiabatic: Any, kappa: Any, score_error: Any) -> None:
    if not callable(path):
        raise_value_error(
            "path", path, "it must be callable, lambda -> potential", "Give fp.Mix(start, end) or a function."
        )
    if not isinstance(counterdiabatic, bool):
        raise_value_error(
            "counterdiabatic", counterdiabatic, "it must be True or False", "Give True to keep up exactly."
        )
    if kappa not in (0, 1):
        raise_value_error("kappa", kappa, "it must be 1 or 0", "Give 1 for the Fokker-Planck equation.")
    if counterdiabatic and kappa == 0:
        raise_value_error(
            "kappa", kappa, "the counterdiabatic drive belongs to the Fokker-Planck equation", "Give kappa=1."
        )
    if not check_finite_number("score_error", score_error) >= 0:
        raise_value_error("score_error", score_error, "it must be zero or more", "Give the largest error of the score.")


def _run(
    equation: FokkerPlanck, field: Array, times: Array, grid: Grid, tol: float, counterdiabatic: bool, kappa: int
) -> tuple[Any, Array | None]:
    """The run, and how exactly the counterdiabatic drive transports sqrt(pi), where there is one."""
    if counterdiabatic:
        driven = drive(equation, grid, field, times, tol)
        if int(driven.code) != 0:
            worst = float(np.max(np.asarray(driven.error)))
            raise_failure(driven.code, f"estimated error {worst:.1e}, tol {tol:.1e}.")
        return driven, driven.residual
    if kappa == 1:
        return evolve(equation, field, times, grid=grid, tol=tol), None
    found = evolve(equation.schrodinger(0.0), jnp.sqrt(field), times, grid=grid, tol=tol)
    square = jnp.abs(found.values) ** 2
    norms = grid.integrate(square).reshape(-1, *[1] * grid.ndim)
    return dataclasses.replace(found, values=square / norms), None


def _on_fewer(equation: FokkerPlanck, times: Array, grid: Grid, tol: float) -> Solution | None:
    """The run from the Gibbs density on the nodes that its waves need, evaluated on the grid; None where those are not
    far fewer, or where the result shows that they do not resolve it."""
    if not all(axis.modes == "fourier" for axis in grid.axes):
        return None
    driven = equation.potential
    assert isinstance(driven, Driven)
    frozen = FokkerPlanck(Driven(driven.path, Identity()), equation.diffusion)
    sparse = coarsen_grid(frozen, grid, np.linspace(0, 1, FRAMES), LEFT_OUT * tol)
    if sparse.size > SPARE * grid.size:
        return None
    start = gibbs_density(equation, sparse, as_array(0.0))
    found = evolve(equation, start, times, grid=sparse, scheme=Spectral(), tol=tol, throw=False)
    if int(found.code) != 0 or found.picture != "wave" or _left_out(found) > tol:
        return None
    decisions = dict(found.decisions)
    sizes = " x ".join(map(str, sparse.shape))
    decisions["method"] = decisions["method"].also(f"on {sizes} nodes, which resolve all its waves")
    return dataclasses.replace(found, values=found.on(grid), grid=grid, decisions=tuple(decisions.items()))


def _left_out(solution: Solution) -> float:
    """The largest aliasing error of a wave, in L1 as a density, at any time."""
    grid, equation = solution.grid, solution.equation
    assert isinstance(equation, FokkerPlanck)
    ones = np.ones(grid.ndim)
    log_sqrt_pis = np.asarray(log_gibbs_at(equation, grid, solution.times)) / 2
    with np.errstate(over="ignore", invalid="ignore"):  # an infinite wave has an infinite error
        errors = [
            aliasing_error(grid, divide_by_sqrt_pi(density, log_sqrt_pi, np), np.exp(log_sqrt_pi), ones, np)[0]
            for density, log_sqrt_pi in zip(np.asarray(solution.values), log_sqrt_pis, strict=True)
        ]
    return float(np.max(errors))

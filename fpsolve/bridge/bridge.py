"""Schrödinger bridges: `fp.bridge`.

    minimise KL(P | R) over processes P with P_0 = rho_0 and P_T = rho_T, R a reversible reference process

    p_t = f_t f^_t,      d_t f^ = -H f^,   d_t f = H f,      f^_0 f_0 = rho_0,   f^_T f_T = rho_T

The bridge is the diffusion with the drift -grad U + 2 D grad log(f / sqrt(pi)). Both waves are those of the imaginary-
time Schrödinger equation of the reference (theorem T28).
"""

import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..core.arrays import as_array
from ..core.checks import is_concrete, raise_value_error
from ..core.program import full_precision
from ..core.result import REMEDIES, AccuracyWarning, raise_failure
from ..core.result import code as code_of
from ..core.types import Real
from ..equation import FokkerPlanck
from ..grid import Grid
from .constants import CONSTANTS
from .errors import Errors, look
from .request import validate
from .result import Bridge
from .solve import Answer, drift, solve_on


@full_precision
def bridge(
    equation: FokkerPlanck,
    start: Any,
    end: Any,
    total: Real,
    *,
    grid: Grid,
    times: Any = None,
    through: Any = (),
    tol: Real | None = None,
    check: bool = True,
    throw: bool = True,
) -> Bridge:
    """The Schrödinger bridge: the process nearest to a reference that takes one density to another.

        minimise KL(P | R),      P_0 = start,  P_total = end

    **Arguments**

    - `equation`: the reference process R, an `fp.FokkerPlanck` without force; its potential may be missing (Brownian
      motion) or depend on time
    - `start`, `end`: densities at t = 0 and t = `total`: functions of x or `fp.Gaussian` (normalised to mass 1), or
      arrays `(*shape)` of equal mass
    - `total`: the time between them
    - `grid`: where to solve it
    - `times`: `(T,)`, ascending, from 0 to `total`; None takes five
    - `through`: `[(time, density), ...]`, densities that the process is to have on its way
    - `tol`: relative L1 error of the densities; 1e-8, or 1e-5 without x64
    - `check`: solve on two companion grids as well, for the error in space and of the box
    - `throw`: raise `NumericalFailure` unless the result is "successful"; a grid that is too coarse is only warned of

    **Returns** a `Bridge`. **Raises** `ValueError` for a reference that is not reversible, for densities that are
    negative, of unequal mass, or beyond the reach of the reference (the message says where), for times outside of [0,
    total]; `NumericalFailure` if the iteration does not converge or tails with mass are below rounding.

    **Keeps**: both marginals, to `tol`; densities are not negative. With no potential, or one that is a sum over the
    axes, both waves have their relative accuracy in all tails. With coupled axes or a potential that moves, they are
    known to rounding or to the tolerance of a run, relative to their largest value; `known` says where.
    **Cost**: two products with exp(-TH) a sweep, and about log(tol) / log(contraction) sweeps. A kernel of one
    axis takes n multiplications a point. Three times that with `check`.
    **Limits** (*convenience*): functions and arrays must be concrete: under `jit`, `vmap` and `grad` it is refused.

    **Reference**: Léonard, Discrete Contin. Dyn. Syst. 34 (2014) 1533, theorem 2.9; Chen, Georgiou and Pavon, SIAM Rev.
    63 (2021) 249, section 4.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-5.0, 5.0, 64))
    found = fp.bridge(fp.FokkerPlanck(None, 0.5), fp.Gaussian(-1.0, 0.36), fp.Gaussian(1.0, 0.8), 1.0, grid=grid)
    mean, rate = (found.values * grid.nodes[0]).sum(-1), found.contraction
    ```
    """
    # 1. Validate: check the arguments, and read the functions as they are now.
    if not is_concrete(equation, start, end, total, times, through):
        cure = "Call fp.bridge outside of jit, vmap and grad."
        raise_value_error("equation, start, end", "traced", "a bridge is solved for concrete values", cure)
    request = validate(equation, start, end, total, grid, times, tol, through)
    # 2. Potentials by Sinkhorn's iteration, then all fields.
    answer = solve_on(request)
    # 3. The whole error, by a second look at the problem.
    found = look(answer, check)
    # 4. Return the numbers with what they belong to.
    return _result(answer, found, tol is not None, throw)


def _result(answer: Answer, found: Errors, has_tol: bool, throw: bool) -> Bridge:
    """The result. **Raises** `NumericalFailure` if it failed and the caller wants to `throw`."""
    request = answer.request
    name, detail = _fault(answer, found, has_tol)
    code = as_array(code_of(name), int)
    if name == "grid_too_coarse":
        # The frames of this function, of `bridge` and of its wrapper lie between here and the user's call.
        warnings.warn(f"{detail} {REMEDIES[name]}", AccuracyWarning, stacklevel=4)
    elif throw:
        raise_failure(code, detail, has_throw=True)
    dtype = request.dtype
    mass = float(request.grid.integrate_on_host(np.asarray(request.marginals[0].density, float)))
    masses = request.grid.integrate_on_host(np.asarray(answer.values, float))
    last = max(answer.states, key=lambda state: float(state.residual))
    numbers = {
        "mass_drift": np.max(np.abs(masses - mass)),
        "unknown_mass": answer.unknown,
        "observed_rate": float(last.rate),
        "cost_error": found.cost,
        "contraction_error": found.contraction,
    }
    parts = {"space": found.space, "box": found.box, "iteration": found.iteration}
    return Bridge(
        times=as_array(request.times, dtype),
        values=as_array(answer.values, dtype),
        log_forward=answer.fields.forward,
        log_backward=answer.fields.backward,
        drift=drift(request, answer.fields),
        cost=as_array(answer.cost, dtype),
        iterations=max(int(state.sweeps) for state in answer.states),
        residual=as_array(float(last.residual) / mass, dtype),
        contraction=as_array(max(answer.rates), dtype),
        error=as_array(found.whole, dtype),
        errors={part: as_array(values, dtype) for part, values in parts.items()},
        numbers={number: as_array(value) for number, value in numbers.items()},
        code=code,
        equation=request.equation,
        grid=request.grid,
        decisions=(("method", answer.reference.decision), ("check", found.decision)),
    )


def _fault(answer: Answer, found: Errors, has_tol: bool) -> tuple[str, str]:
    """The name of the result code, and the numbers that led to it."""
    tol = answer.request.tol
    if not np.all(np.isfinite(answer.values)) or not np.isfinite(answer.remaining):
        return "not_finite", ""
    sweeps = max(int(state.sweeps) for state in answer.states)
    if answer.remaining > tol:
        rate = max(answer.rates)
        return "marginals_not_met", f"after {sweeps} sweeps of rate {rate:.6f} the error may be {answer.remaining:.1e}."
    if answer.unknown > tol:
        return "tails_unknown", f"a part {answer.unknown:.1e} of a marginal is there."
    worst = float(np.nan_to_num(jnp.max(jnp.asarray(found.whole)), nan=0.0))
    # Without a requested tolerance the user is told of an error that leaves hardly a digit.
    limit = tol if has_tol else max(tol, CONSTANTS.unresolved_error)
    if worst > limit:
        return "grid_too_coarse", f"estimated error {worst:.1e}, tol {limit:.1e}."
    return "successful", ""

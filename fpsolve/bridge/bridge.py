"""Schrödinger bridges: `fp.bridge`.

    minimise KL(P | R) over processes P with P_0 = rho_0 and P_T = rho_T,
    R a reversible reference process

    p_t = f_t f^_t,        d_t f^ = -H f^,       d_t f = H f,
                           f^_0 f_0 = rho_0,     f^_T f_T = rho_T

The bridge is the diffusion with the drift -grad U + 2 D grad log(f / sqrt(pi)). Both
waves are those of the imaginary-time Schrödinger equation of the reference (theorem
T28).
"""

import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.program import public_function, quick_program
from ..core.result import REMEDIES, AccuracyWarning, first_failure, raise_failure
from ..core.result import code as code_of
from ..core.types import Initial, Numbers, Real
from ..equation import FokkerPlanck
from ..grid import Grid
from .answer import Answer
from .constants import CONSTANTS
from .errors import Errors, look, mass_drift
from .request import validate
from .result import Bridge
from .solve import drift, solve_on


@public_function
def bridge(
    equation: FokkerPlanck,
    start: Initial,
    end: Initial,
    total: Real,
    *,
    grid: Grid,
    times: Numbers | None = None,
    through: Any = (),
    tol: Real | None = None,
    check: bool = True,
    throw: bool = True,
) -> Bridge:
    """The Schrödinger bridge: the process nearest to a reference that takes one density
    to another.

        minimise KL(P | R),      P_0 = start,  P_total = end

    **Arguments**

    - `equation`: the reference process R, an `fp.FokkerPlanck` without force; its
      potential may be missing (Brownian motion) or depend on time
    - `start`, `end`: densities at t = 0 and t = `total`: functions of x or
      `fp.Gaussian` (normalised to mass 1), or arrays `(*shape)` of equal mass
    - `total`: the time between them
    - `grid`: where to solve it
    - `times`: `(T,)`, ascending, from 0 to `total`; None takes five
    - `through`: `[(time, density), ...]`, densities that the process is to have on its
      way
    - `tol`: relative L1 error of the densities; 1e-8, or 1e-5 without x64
    - `check`: solve on two companion grids as well, for the error in space and of the
      box
    - `throw`: raise `NumericalFailure` unless the result is "successful"; a grid that
      is too coarse is only warned of

    **Returns** a `Bridge`. **Raises** `ValueError` for a reference that is not
    reversible, for densities that are negative, of unequal mass, or beyond the reach of
    the reference (the message says where), for times outside of [0, total];
    `NumericalFailure` if the iteration does not converge or tails with mass are below
    rounding.

    **Keeps**: both marginals, to `tol`; densities are not negative. Without a potential
    both waves have their relative accuracy in all tails. In a static potential tails
    that are 1e-11 of the rest are those of finite volumes, with their error of order
    two; coupled axes take Strang steps, whose error is part of `error` (more nodes
    allow more steps). With a potential that moves, waves are known to the tolerance of
    a run relative to their largest value; `known` says where.
    **Cost**: two products with exp(-TH) a sweep, and about log(tol) / log(contraction)
    sweeps. A kernel of one axis takes n multiplications a point, with coupled axes in
    each of up to 112 steps. Three times that with `check`. `jit`, `vmap` and `grad`
    reach the equation and the densities (a static potential); derivatives are those of
    the fixed point. Under them masses are not compared, and nothing is looked at twice.

    **Reference**: Léonard, Discrete Contin. Dyn. Syst. 34 (2014) 1533, theorem 2.9;
    Chen, Georgiou and Pavon, SIAM Rev. 63 (2021) 249, section 4.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-5.0, 5.0, 64))
    found = fp.bridge(
        fp.FokkerPlanck(None, 0.5),
        fp.Gaussian(-1.0, 0.36),
        fp.Gaussian(1.0, 0.8),
        1.0,
        grid=grid,
    )
    mean, rate = (found.values * grid.nodes[0]).sum(-1), found.contraction
    ```
    """
    # 1. Validate: check the arguments, and read the functions as they are now.
    request = validate(equation, start, end, total, grid, times, tol, through)
    # 2. Potentials by Sinkhorn's iteration, then all fields.
    answer = solve_on(request)
    # 3. The whole error, by a second look at the problem.
    found = look(answer, check)
    # 4. Return the numbers with what they belong to.
    return _result(answer, found, tol is not None, throw)


def _result(answer: Answer, found: Errors, has_tol: bool, throw: bool) -> Bridge:
    """The result. **Raises** `NumericalFailure` if it failed and `throw` is set."""
    request = answer.request
    dtype = request.dtype
    values = answer.values
    drift_of_mass = jnp.max(mass_drift(answer))
    code = _code(answer, values, drift_of_mass, has_tol)
    # Under a transformation of JAX the code cannot be examined: the caller finds it in
    # the result.
    if is_concrete(code, values, answer.inconsistency):
        detail = (
            f"{int(answer.sweeps)} sweeps, what is left {float(answer.remaining):.1e}, "
            f"mass of marginals at unknown tails {float(answer.unknown):.1e}, "
            f"largest relative change of mass {float(drift_of_mass):.1e}, "
            f"tol {request.tol:.1e}."
        )
        if throw:
            raise_failure(code, detail, has_throw=True)
        # Without a requested tolerance the user is told of an error that leaves hardly
        # a digit.
        limit = request.tol
        if not has_tol:
            limit = max(limit, CONSTANTS.unresolved_error)
        # A part that is not known is NaN, and exceeds nothing.
        known = np.stack([np.asarray(found.whole), np.asarray(found.iteration)])
        worst = float(np.nanmax(known))
        if int(code) == 0 and worst > limit:
            code = as_array(code_of("grid_too_coarse"), int)
            # The frames of this function, of `bridge` and of its wrapper lie between
            # here and the user's call.
            message = (
                f"estimated error {worst:.1e}, tol {limit:.1e}. "
                f"{REMEDIES['grid_too_coarse']}"
            )
            warnings.warn(message, AccuracyWarning, stacklevel=4)
        elif found.decision.choice == "none":
            message = (
                f"the error is not known: {found.decision.because}. "
                "Take more nodes, or other times."
            )
            warnings.warn(message, AccuracyWarning, stacklevel=4)
    numbers = {
        "mass_drift": drift_of_mass,
        "unknown_mass": answer.unknown,
        "mismatch": answer.mismatch,
        "observed_rate": answer.states[-1].rate,
        "cost_error": found.cost,
        "contraction_error": found.contraction,
    }
    parts = {"space": found.space, "box": found.box, "iteration": found.iteration}
    return Bridge(
        times=as_array(request.times, dtype),
        values=values,
        log_forward=answer.fields.forward,
        log_backward=answer.fields.backward,
        drift=drift(request, answer.fields),
        cost=answer.cost,
        iterations=answer.sweeps,
        residual=answer.residual,
        contraction=answer.contraction,
        error=as_array(found.whole, dtype),
        errors={part: as_array(numbers, dtype) for part, numbers in parts.items()},
        numbers={number: as_array(value) for number, value in numbers.items()},
        code=code,
        equation=request.equation,
        grid=request.grid,
        decisions=(("method", answer.reference.decision), ("check", found.decision)),
    )


def _code(answer: Answer, values: Array, drift_of_mass: Array, has_tol: bool) -> Array:
    """The code of the run; the first failure counts."""
    request = answer.request
    tol = request.tol if has_tol else max(request.tol, CONSTANTS.unmet_error)
    return _first_failure(
        values,
        answer.remaining,
        answer.unknown,
        answer.mismatch,
        drift_of_mass,
        as_array(tol, request.dtype),
    )


@quick_program
def _first_failure(
    values: Array,
    remaining: Array,
    unknown: Array,
    mismatch: Array,
    drift_of_mass: Array,
    tol: Array,
) -> Array:
    # A smaller change of mass is in the error of its time.
    most = jnp.maximum(tol, CONSTANTS.unresolved_error)
    finite = jnp.all(jnp.isfinite(values)) & ~jnp.isnan(remaining)
    return first_failure(
        ("not_finite", ~finite),
        ("marginals_not_met", remaining + mismatch > tol),
        ("tails_unknown", unknown > tol),
        ("mass_not_kept", drift_of_mass > most),
    )

"""The slow modes of a validated request: solve, choose again, and find the errors.

    H psi_n = E_n psi_n          -L r_n = lambda_n r_n

The stages: `first_candidate` chooses a scheme and a solver, `run_candidate` solves with
arrays alone, `next_candidate` examines the outcome and may choose again,
`with_small_gap` computes a gap that is much smaller than the other levels to full
relative accuracy, and `error_parts` asks for the same levels on companion grids.
"""

import math

import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, host_module, scaled
from ..core.checks import is_concrete
from ..core.decision import Decision
from ..core.result import code, raise_failure
from ..eigen import DESCRIPTIONS, Levels, tunnel_splitting
from ..eigen.constants import CONSTANTS as EIGEN
from ..equation import Schrodinger
from ..operator import Operator
from ..plan.spectrum_plan import ModesRequest, first_candidate, next_candidate
from .level_second_look import error_parts
from .modes import is_no_flux_line, run_candidate, with_small_gap
from .spectrum_result import Spectrum


def solve(request: ModesRequest, check: bool = True) -> tuple[Spectrum, Operator]:
    """The slow modes of a validated request, and the operator that they belong to."""
    # 1. Solve, and choose again while the outcome asks for it. Traced numbers cannot be
    #    examined: one candidate.
    tried = first_candidate(request)
    outcome = run_candidate(tried)
    while request.concrete and (better := next_candidate(tried, outcome)) is not None:
        tried = better
        outcome = run_candidate(tried)

    # 2. A small gap, and the residuals.
    outcome = with_small_gap(tried, outcome)
    if is_concrete(outcome.converged) and not bool(outcome.converged):
        worst = float(np.max(np.asarray(outcome.levels.residuals)))
        failure = as_array(code("not_converged"), int)
        raise_failure(failure, f"largest residual {worst:.1e}.")

    # 3. The errors, and a splitting that is lost in the difference of two levels.
    parts = error_parts(tried, outcome, check)
    splitting = _splitting(request, outcome.levels)

    # 4. The result, in the units of the user. In those of the solver a cell holds the
    #    mass of a density, or the square of a wave; the modes of a process that is not
    #    reversible are densities.
    cell = request.sampled.cell
    if tried.solver != "relaxation":
        cell = math.sqrt(cell)
    xp = host_module(parts)
    errors = sum(xp.asarray(part) for part in parts.values())
    method = Decision(tried.solver, DESCRIPTIONS[tried.solver])
    found = Spectrum(
        values=outcome.levels.values,
        vectors=scaled(outcome.levels.vectors, 1 / cell),
        residuals=outcome.levels.residuals,
        errors=as_array(errors, request.dtype),
        error_parts=parts,
        multiplicities=outcome.levels.multiplicities,
        left=outcome.left,
        space_errors=None,
        splitting=splitting,
        equation=request.equation,
        grid=request.grid,
        decisions=(("scheme", tried.decision), ("method", method)),
    )
    return found, tried.operator


def _splitting(request: ModesRequest, found: Levels) -> tuple[Array, Array] | None:
    """E_1 - E_0 of a symmetric well on a line and its error, where rounding leaves the
    difference too few digits.
    """
    equation = request.equation
    if not request.concrete or request.k < 2 or not is_no_flux_line(request.grid):
        return None
    if (
        not isinstance(equation, Schrodinger)
        or callable(equation.diffusion)
        or np.ndim(equation.diffusion)
    ):
        return None
    levels = np.asarray(found.values)
    errors = np.asarray(found.errors)
    difference = levels[1] - levels[0]
    error = errors[0] + errors[1]
    if error <= EIGEN.gap_digits * difference:
        return None
    gap = tunnel_splitting(equation, request.grid.axes[0], request.t)
    # What it is to replace must agree with it. `not <=` rejects NaN as well.
    if gap is None or not abs(float(gap.gap) - difference) <= 2 * error:
        return None
    return gap.gap, as_array(float(gap.gap) * float(gap.error), request.dtype)

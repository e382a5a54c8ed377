"""Slow modes: `fp.spectrum` and `fp.spectral_gap`.

    H psi_n = E_n psi_n,     E_0 = 0, psi_0 = sqrt(pi) for a process,     gap = E_1 - E_0 = D / C_P
    -L r_n = lambda_n r_n    complex rates, where the process is not reversible

The values are Rayleigh quotients, so their derivatives are those of Hellmann and
Feynman, dE = <psi| dH |psi>.

The stages: `validate_modes` reads the equation's functions and samples them,
`first_candidate` chooses a scheme and a solver, `run_candidate` solves with arrays
alone, `next_candidate` examines the outcome and may choose again, `with_small_gap`
computes a gap that is much smaller than the other levels to full relative accuracy, and
`_error_parts` asks for the same levels on companion grids.
"""

import dataclasses
import math
import warnings
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, host_module, scaled
from ..core.checks import is_concrete
from ..core.decision import Decision
from ..core.program import full_precision
from ..core.result import AccuracyWarning, NumericalFailure, code, raise_failure
from ..core.types import AnyArray, ArrayModule, Count, Numbers, Real, SameArray, Scalar
from ..eigen import (
    DESCRIPTIONS,
    Levels,
    tunnel_splitting,
)
from ..eigen.constants import CONSTANTS as EIGEN
from ..equation import Equation, Schrodinger
from ..fit import BelowRounding, Fit, fit
from ..grid import Axis, Grid, Line
from ..operator import Operator, Scheme, Spectral
from ..plan.companion import companion, finer
from ..plan.constants import CONSTANTS as PLAN
from ..plan.spectrum_plan import (
    Candidate,
    ModesRequest,
    Outcome,
    candidate_on,
    first_candidate,
    next_candidate,
    validate_modes,
)
from .between_nodes import unseen_in_levels
from .constants import CONSTANTS
from .level_errors import (
    errors_in_basis,
    errors_on_volumes,
    matched,
    miscounted,
    scale_of,
)
from .level_single_look import single_look
from .modes import is_no_flux_line, run_candidate, with_small_gap
from .spectrum_result import Spectrum

LEVEL_REMEDY = (
    "Take more nodes or a wider box, as `error_parts` tells, or leave out grid=, so "
    "that one is fitted."
)


@full_precision
def spectrum(
    equation: Equation,
    grid: Grid | None = None,
    k: Count = 6,
    *,
    t: Scalar = 0.0,
    scheme: Scheme | None = None,
    tol: Real | None = None,
    refine: bool = False,
    check: bool = True,
    features: Numbers = (),
) -> Spectrum:
    """The k slowest modes: the lowest levels of H, or the slowest rates of -L where the
    process is not reversible.

    **Arguments**: `equation` an `fp.FokkerPlanck`, `fp.Schrodinger` or
    `fp.ScoreHamiltonian`; `grid` where to solve it, fitted to `tol` (or 1e-8) if None,
    but not for a score; `k` at most the number of points; `t` the time at which a
    time-dependent potential, force or score is taken; `scheme` as in `fp.evolve`; `tol`
    the relative error of the values, 1e-10 (1e-4 without x64); `refine` also solves on
    a finer and wider grid, for `space_errors`; `check` also solves on two companion
    grids with other nodes and wider boxes, so that `errors` are whole; without it, and
    where values are traced, they are what one run shows; `features` are places,
    `(m, d)` or `(m,)` on a line, where a fitted grid is to look for narrow wells and
    barriers (`fp.fit_grid`). **Returns** a `Spectrum`. **Raises** `ValueError` for bad
    arguments, `NumericalFailure` if the residuals stay too large, or if no fitted grid
    reaches a given tol. **Warns** (`fp.AccuracyWarning`) of errors above a tol that was
    given, or above 1e-2.

    **Keeps**: values ascending, real for a reversible process; degenerate levels come
    complete, and `multiplicities` counts them also beyond the k-th. Levels are taken
    through A, H = A^T A, so that a small gap keeps its digits down to eps |H|, and on a
    line with no-flux boundaries at any size, as do splittings of symmetric Schrödinger
    wells. `jit`, `vmap`, `grad` and `jvp` reach the values; the vectors are not
    differentiated. **Cost**: size^3 up to 1024 points or on one spectral axis; beyond
    that ten to
    thirty products of a block of 3k/2 fields; three times that with `check`.
    **Reference**: Risken (1989), sections 5.5 and 6.6.

    ```python
    import fpsolve as fp

    modes = fp.spectrum(
        fp.FokkerPlanck(fp.DoubleWell(3.0)), fp.Grid(fp.Line(-2.5, 2.5, 64)), 4
    )
    ```
    """
    if grid is not None and refine:
        request = validate_modes(equation, grid, k, t, scheme, tol)
        found = _refined(request)
    else:
        found, request = _modes(equation, grid, k, t, scheme, tol, check, features)
    # What one run shows is too rough a guide for a warning.
    if check or refine:
        warn_of_errors(
            found, request.tol if request.has_tol else CONSTANTS.warned_level_error
        )
    return found


def _modes(
    equation: Equation,
    grid: Grid | None,
    k: Count,
    t: Scalar,
    scheme: Any,
    tol: Real | None,
    check: bool,
    features: Numbers,
) -> tuple[Spectrum, ModesRequest]:
    """The modes on the grid that was given, or on a fitted one, and what was requested
    there.
    """
    if grid is None:
        return _on_fitted_grid(equation, k, t, scheme, tol, check, features)
    request = validate_modes(equation, grid, k, t, scheme, tol)
    return solve(request, check)[0], request


def _on_fitted_grid(
    equation: Equation,
    k: Count,
    t: Scalar,
    scheme: Scheme | None,
    tol: Real | None,
    check: bool,
    features: Numbers,
) -> tuple[Spectrum, ModesRequest]:
    """The modes on a fitted grid, which is made finer until the second look agrees with
    the tolerance.
    """
    fitted, wanted = _fit_levels(equation, k, t, tol, features)
    grid, description = fitted.grid, fitted.description
    request = validate_modes(equation, grid, k, t, scheme, tol)
    found, _ = solve(request, check)
    attempts = CONSTANTS.finer_grids if check else 0
    for attempt in range(attempts):
        if _relative_error(found) <= wanted:
            break
        # The box and the spacing may both be at fault.
        grid = finer(grid, widen=True)
        description = (
            f"{fitted.description}; made finer {attempt + 1} times, because a companion "
            "grid differed"
        )
        request = validate_modes(equation, grid, k, t, scheme, tol)
        found, _ = solve(request, check)
    if check and tol is not None and (error := _relative_error(found)) > wanted:
        axes = " x ".join(map(repr, grid.axes))
        raise_failure(
            as_array(code("grid_too_coarse"), int),
            f"on {axes} it may be {error:.1e}, tol {wanted:.1e}.",
        )
    # Without a second look the fit has estimated the error in space.
    space_errors = fitted.space_error * _absolute(found.values)
    if check:
        space_errors = np.asarray(found.error_parts["space"]) + np.asarray(
            found.error_parts["box"]
        )
    decisions = (*found.decisions, ("grid", Decision("fitted", description)))
    space_errors = as_array(space_errors, request.dtype)
    return dataclasses.replace(
        found, space_errors=space_errors, decisions=decisions
    ), request


def _fit_levels(
    equation: Equation, k: Count, t: Scalar, tol: Real | None, features: Numbers
) -> tuple[Fit, float]:
    """A fit to the levels, and the tolerance that it keeps to: `tol`, or, if that is
    None, one that rounding allows.
    """
    wanted = CONSTANTS.default_fit_tol if tol is None else float(tol)
    find = lambda wanted: fit(equation, None, wanted, k=k, t=t, features=features)
    try:
        return find(wanted), wanted
    except BelowRounding as failure:
        if tol is not None:
            raise
        # The levels carry their errors. What rounding leaves differs from grid to grid.
        wanted = failure.least_tol
        while wanted <= CONSTANTS.warned_level_error:
            try:
                return find(wanted), wanted
            except ValueError:
                wanted *= CONSTANTS.looser_tol
        raise


def _refined(request: ModesRequest) -> Spectrum:
    """The modes, and their errors from a grid whose own errors are much smaller."""
    found, _ = solve(request, check=False)
    spectral = dict(found.decisions)["scheme"].choice == Spectral.__name__
    finer_grid = Grid(*(_finer(axis, spectral) for axis in request.grid.axes))
    tol = request.tol if request.has_tol else None
    better, _ = solve(
        validate_modes(
            request.equation, finer_grid, request.k, request.t, request.scheme, tol
        ),
        check=False,
    )
    xp = host_module(found.values, better.values)
    ours, theirs = xp.asarray(found.values), xp.asarray(better.values)
    if xp is np and np.iscomplexobj(ours):
        theirs = matched(ours, theirs)
    space_errors = as_array(_absolute(ours - theirs), request.dtype)
    algebra = found.error_parts["algebra"]
    parts = {
        "algebra": algebra,
        "space": space_errors,
        "box": as_array(np.zeros(len(ours)), request.dtype),
    }
    errors = as_array(xp.asarray(algebra) + xp.asarray(space_errors), request.dtype)
    return dataclasses.replace(
        found, errors=errors, error_parts=parts, space_errors=space_errors
    )


def _relative_error(found: Spectrum, count: int | None = None) -> float:
    """The largest error of the first `count` levels, relative to the level itself or to
    the spread of all; NaN counts as infinite.
    """
    errors = np.asarray(found.errors) / np.maximum(
        scale_of(np.asarray(found.values)), np.finfo(float).tiny
    )
    return float(np.nan_to_num(np.max(errors[:count]), nan=np.inf))


def warn_of_errors(found: Spectrum, limit: float, count: int | None = None) -> None:
    """Warn of relative errors of the first `count` levels, or of all, above a limit."""
    if not is_concrete(found.values, found.errors):
        return
    error = _relative_error(found, count)
    if error > limit:
        message = (
            f"the relative error of the levels is about {error:.1e}, above {limit:.1e}. "
            f"{LEVEL_REMEDY}"
        )
        # The frames of this function, of the public one and of its wrapper lie between
        # here and the user's call.
        warnings.warn(message, AccuracyWarning, stacklevel=4)


@full_precision
def spectral_gap(
    equation: Equation, grid: Grid | None = None, *, t: Scalar = 0.0, check: bool = True
) -> Array:
    """The spectral gap E_1 - E_0, a scalar: the slowest rate of relaxation, D / C_P,
    and the price of annealing.

    **Arguments**: as for `fp.spectrum`. **Returns** the gap, in units 1/time; the real
    part of the slowest rate where the process is not reversible. **Raises** as
    `fp.spectrum`. **Warns** (`fp.AccuracyWarning`) of a relative error above 1e-6 (1e-2
    without x64), since a number carries none; `fp.spectrum(equation, grid, 2)` has the
    error itself.

    **Keeps**: relative accuracy, however small the gap of a line (1e-30 and below);
    `jit`, `vmap`, `grad` and `jvp` (Hellmann and Feynman), with a given grid. **Cost**:
    as `fp.spectrum` of two levels. **Reference**: Bakry, Gentil and Ledoux, Analysis
    and Geometry of Markov Diffusion Operators (2014), chapter 4.

    ```python
    import jax
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-2.5, 2.5, 64))
    slope = jax.grad(
        lambda barrier: fp.spectral_gap(fp.FokkerPlanck(fp.DoubleWell(barrier)), grid)
    )(3.0)
    ```
    """
    found, request = _modes(equation, grid, 2, t, None, None, check, ())
    if check:
        single = np.dtype(request.dtype) == np.float32
        warn_of_errors(
            found,
            CONSTANTS.warned_level_error if single else CONSTANTS.warned_gap_error,
        )
    return found.gap


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
        raise_failure(
            as_array(code("not_converged"), int), f"largest residual {worst:.1e}."
        )

    # 3. The errors, and a splitting that is lost in the difference of two levels.
    parts = _error_parts(tried, outcome, check)
    splitting = _splitting(request, outcome.levels)

    # 4. The result, in the units of the user. In those of the solver a cell holds the
    #    mass of a density, or the square
    # of a wave; the modes of a process that is not reversible are densities.
    cell = (
        request.sampled.cell
        if tried.solver == "relaxation"
        else math.sqrt(request.sampled.cell)
    )
    xp = host_module(parts)
    found = Spectrum(
        values=outcome.levels.values,
        vectors=scaled(outcome.levels.vectors, 1 / cell),
        residuals=outcome.levels.residuals,
        errors=as_array(
            sum(xp.asarray(part) for part in parts.values()), request.dtype
        ),
        error_parts=parts,
        multiplicities=outcome.levels.multiplicities,
        left=outcome.left,
        space_errors=None,
        splitting=splitting,
        equation=request.equation,
        grid=request.grid,
        decisions=(
            ("scheme", tried.decision),
            ("method", Decision(tried.solver, DESCRIPTIONS[tried.solver])),
        ),
    )
    return found, tried.operator


def _error_parts(tried: Candidate, outcome: Outcome, check: bool) -> dict[str, Array]:
    """The errors `(k,)` of the levels, in parts: of the eigen-solver, in space, and of
    the box.
    """
    found = outcome.levels
    dtype = found.errors.dtype
    seen = single_look(tried.operator, found.values, found.vectors, outcome.left)
    xp = host_module(found, seen)
    values, algebra, space, box = (
        xp.asarray(array)
        for array in (found.values, found.errors, seen.space, seen.box)
    )

    # The ground level of a process is zero, and what the grid gives for it is an error
    # of the other levels, too. A gap from the kernel of the partner is no difference of
    # such numbers.
    evolves_density = tried.request.evolves_density
    defect = (
        algebra[0]
        if evolves_density
        and tried.solver != "relaxation"
        and not tried.request.grid.absorbs
        else 0.0
    )
    from_partner = _is_from_partner(tried, outcome, xp)
    if not check or xp is not np:
        space = xp.where(from_partner, 0.0, xp.maximum(space, defect))
    else:
        # Both are in the difference of two levels; the ends of the box tell them apart.
        both = _second_look(tried, values, outcome)
        both = np.where(from_partner, both, np.maximum(both, defect)) + _unseen(
            tried, found
        )
        box = np.minimum(box, both)
        space = both - box
    return {
        "algebra": as_array(algebra, dtype),
        "space": as_array(space, dtype),
        "box": as_array(box, dtype),
    }


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
    levels, errors = np.asarray(found.values), np.asarray(found.errors)
    if errors[0] + errors[1] <= EIGEN.gap_digits * (levels[1] - levels[0]):
        return None
    gap = tunnel_splitting(equation, request.grid.axes[0], request.t)
    # What it is to replace must agree with it.
    if gap is None or not abs(float(gap.gap) - (levels[1] - levels[0])) <= 2 * (
        errors[0] + errors[1]
    ):
        return None
    return gap.gap, as_array(float(gap.gap) * float(gap.error), request.dtype)


def _is_from_partner(tried: Candidate, outcome: Outcome, xp: ArrayModule) -> AnyArray:
    """Which levels `(k,)` come from the kernel of the partner."""
    levels = len(outcome.levels.values)
    candidate = (
        tried.solver != "relaxation"
        and tried.request.evolves_density
        and is_no_flux_line(tried.request.grid)
    )
    return (np.arange(levels) == 1) & candidate & xp.asarray(outcome.tiny)


def _second_look(tried: Candidate, values: np.ndarray, outcome: Outcome) -> np.ndarray:
    """The errors `(k,)` of the levels in space and of the box, from two companion
    grids; NaN where there is none.
    """
    spectral = tried.scheme.spectral
    first_grid = companion(tried.request.grid, spectral)
    first = _levels_on(tried, first_grid, values)
    second = _levels_on(tried, companion(first_grid, spectral), values)
    compare = errors_in_basis if spectral else errors_on_volumes
    if np.iscomplexobj(values):
        pairs = (matched(values, first), matched(values, second))
        missing = miscounted(values, first[: len(values)], pairs[0])
        return np.maximum(compare(values, *pairs), missing)
    return compare(values, first, second)


def _unseen(tried: Candidate, found: Levels) -> np.ndarray:
    """The errors `(k,)` of the levels by what lies between the nodes."""
    request = tried.request
    real = tried.solver != "relaxation" and request.evolves_density
    log_sqrt_pi = np.asarray(tried.operator.log_sqrt_pi) if real else None
    values, modes = np.asarray(found.values), np.asarray(found.vectors)
    return unseen_in_levels(
        request.equation, request.grid, float(request.t), values, modes, log_sqrt_pi
    )


def _levels_on(tried: Candidate, grid: Grid, values: np.ndarray) -> np.ndarray:
    """The levels on another grid, as many as `values` and some more for complex ones;
    NaN where there are none.
    """
    k = len(values)
    wanted = k + CONSTANTS.spare_rates if np.iscomplexobj(values) else k
    found = np.full(wanted, np.nan, values.dtype)
    other = candidate_on(tried, grid, wanted)
    # Functions need not be finite, nor a diffusion positive, beyond the box that the
    # user gave.
    samples = other.request.sampled.samples(other.scheme, other.request.t)
    finite = all(
        bool(np.all(np.isfinite(np.asarray(array))))
        for array in jax.tree.leaves(samples)
    )
    if not finite or not all(
        bool(np.all(np.asarray(diffusion) > 0)) for diffusion in samples.diffusion
    ):
        return found
    try:
        outcome = with_small_gap(other, run_candidate(other))
    except (NumericalFailure, np.linalg.LinAlgError):
        return found
    if bool(outcome.converged):
        levels = np.asarray(outcome.levels.values)
        found[: len(levels)] = levels
    return found


def _absolute(values: SameArray) -> SameArray:
    return host_module(values).abs(values)


def _finer(axis: Axis, spectral: bool) -> Axis:
    """More nodes, and on a line a wider box, so that both errors show."""
    finer = axis.refine(
        CONSTANTS.refinement_spectral if spectral else CONSTANTS.refinement_volumes
    )
    if not axis.unbounded:
        return finer
    # A wider box with as many more nodes: the spacing is that of `finer`. It is moved
    # by a part of a cell, so that its nodes lie at other places.
    margin = (CONSTANTS.widening - 1) / 2 * axis.length
    shift = PLAN.companion_shift * finer.unit
    return Line(
        axis.lower - margin + shift,
        axis.upper + margin + shift,
        round(finer.n * CONSTANTS.widening),
    )

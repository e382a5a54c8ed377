"""Slow modes: `fp.spectrum` and `fp.spectral_gap`.

    H psi_n = E_n psi_n      E_0 = 0, psi_0 = sqrt(pi) for a process
    -L r_n = lambda_n r_n    complex rates, where the process is not reversible
    gap = E_1 - E_0 = D / C_P

The values are Rayleigh quotients, so their derivatives are those of Hellmann and
Feynman, dE = <psi| dH |psi>. `validate_modes` reads the equation's functions and
samples them, and `spectrum_run` solves; a fitted grid is made finer until the second
look agrees with the tolerance.
"""

import dataclasses
import warnings
from typing import Any

import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, host_module
from ..core.checks import is_concrete
from ..core.decision import Decision
from ..core.program import public_function
from ..core.result import AccuracyWarning, code, raise_failure
from ..core.types import Count, Numbers, Real, SameArray, Scalar
from ..equation import Equation
from ..fit import BelowRounding, Fit, fit
from ..grid import Axis, Grid, Line
from ..operator import Scheme, Spectral
from ..plan.companion import finer
from ..plan.constants import CONSTANTS as PLAN
from ..plan.spectrum_plan import ModesRequest, validate_modes
from .constants import CONSTANTS
from .level_errors import matched, scale_of
from .spectrum_result import Spectrum
from .spectrum_run import solve

LEVEL_REMEDY = (
    "Take more nodes or a wider box, as `error_parts` tells, or leave out grid=, so "
    "that one is fitted."
)


@public_function
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
    that ten to thirty products of a block of 3k/2 fields; three times that with
    `check`. **Reference**: Risken (1989), sections 5.5 and 6.6.

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
        limit = request.tol if request.has_tol else CONSTANTS.warned_level_error
        warn_of_errors(found, limit)
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
    """The modes on the given grid, or on a fitted one, and the request there."""
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
    """The modes on a fitted grid, made finer until the second look agrees."""
    fitted, wanted = _fit_levels(equation, k, t, tol, features)
    grid = fitted.grid
    description = fitted.description
    request = validate_modes(equation, grid, k, t, scheme, tol)
    found, _ = solve(request, check)
    # Without a second look nothing tells that the grid is too coarse.
    attempts = CONSTANTS.finer_grids if check else 0
    for attempt in range(attempts):
        if _relative_error(found) <= wanted:
            break
        # The box and the spacing may both be at fault.
        grid = finer(grid, widen=True)
        description = (
            f"{fitted.description}; made finer {attempt + 1} times, because a "
            "companion grid differed"
        )
        request = validate_modes(equation, grid, k, t, scheme, tol)
        found, _ = solve(request, check)
    if check and tol is not None and (error := _relative_error(found)) > wanted:
        axes = " x ".join(map(repr, grid.axes))
        detail = f"on {axes} it may be {error:.1e}, tol {wanted:.1e}."
        raise_failure(as_array(code("grid_too_coarse"), int), detail)
    if check:
        parts = found.error_parts
        space_errors = np.asarray(parts["space"]) + np.asarray(parts["box"])
    else:
        # Without a second look the fit has estimated the error in space.
        space_errors = fitted.space_error * _absolute(found.values)
    found = dataclasses.replace(
        found,
        space_errors=as_array(space_errors, request.dtype),
        decisions=(*found.decisions, ("grid", Decision("fitted", description))),
    )
    return found, request


def _fit_levels(
    equation: Equation,
    k: Count,
    t: Scalar,
    tol: Real | None,
    features: Numbers,
) -> tuple[Fit, float]:
    """A fit to the levels, and the tolerance that it keeps to: `tol`, or, if that is
    None, one that rounding allows.
    """
    wanted = CONSTANTS.default_fit_tol if tol is None else float(tol)

    def find(wanted: float) -> Fit:
        return fit(equation, None, wanted, k=k, t=t, features=features)

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
    grid = Grid(*(_finer(axis, spectral) for axis in request.grid.axes))
    tol = request.tol if request.has_tol else None
    finer_request = validate_modes(
        request.equation, grid, request.k, request.t, request.scheme, tol
    )
    better, _ = solve(finer_request, check=False)
    xp = host_module(found.values, better.values)
    ours = xp.asarray(found.values)
    theirs = xp.asarray(better.values)
    # Complex rates have no order: each is compared with the nearest one.
    if xp is np and np.iscomplexobj(ours):
        theirs = matched(ours, theirs)
    space_errors = as_array(_absolute(ours - theirs), request.dtype)
    algebra = found.error_parts["algebra"]
    errors = xp.asarray(algebra) + xp.asarray(space_errors)
    # The finer grid is wider as well: its difference holds the error of the box.
    parts = {
        "algebra": algebra,
        "space": space_errors,
        "box": as_array(np.zeros(len(ours)), request.dtype),
    }
    return dataclasses.replace(
        found,
        errors=as_array(errors, request.dtype),
        error_parts=parts,
        space_errors=space_errors,
    )


def _relative_error(found: Spectrum, count: int | None = None) -> float:
    """The largest error of the first `count` levels, relative to the level itself or to
    the spread of all; NaN counts as infinite.
    """
    # All levels may be zero: `tiny` stands for their size.
    scale = scale_of(np.asarray(found.values))
    sizes = np.maximum(scale, np.finfo(float).tiny)
    errors = np.asarray(found.errors) / sizes
    worst = np.max(errors[:count])
    return float(np.nan_to_num(worst, nan=np.inf))


def warn_of_errors(found: Spectrum, limit: float, count: int | None = None) -> None:
    """Warn of relative errors of the first `count` levels, or of all, above `limit`."""
    # Inside a program nothing is known.
    if not is_concrete(found.values, found.errors):
        return
    error = _relative_error(found, count)
    if error > limit:
        message = (
            f"the relative error of the levels is about {error:.1e}, above "
            f"{limit:.1e}. {LEVEL_REMEDY}"
        )
        # The frames of this function, of the public one and of its wrapper lie between
        # here and the user's call.
        warnings.warn(message, AccuracyWarning, stacklevel=4)


@public_function
def spectral_gap(
    equation: Equation,
    grid: Grid | None = None,
    *,
    t: Scalar = 0.0,
    check: bool = True,
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
        limit = CONSTANTS.warned_gap_error
        if np.dtype(request.dtype) == np.float32:
            limit = CONSTANTS.warned_level_error
        warn_of_errors(found, limit)
    return found.gap


def _absolute(values: SameArray) -> SameArray:
    return host_module(values).abs(values)


def _finer(axis: Axis, spectral: bool) -> Axis:
    """More nodes, and on a line a wider box, so that both errors show."""
    factor = CONSTANTS.refinement_volumes
    if spectral:
        factor = CONSTANTS.refinement_spectral
    refined = axis.refine(factor)
    if not axis.unbounded:
        return refined
    # A wider box with as many more nodes: the spacing is that of `refined`. It is moved
    # by a part of a cell, so that its nodes lie at other places.
    margin = (CONSTANTS.widening - 1) / 2 * axis.length
    shift = PLAN.companion_shift * refined.unit
    lower = axis.lower - margin + shift
    upper = axis.upper + margin + shift
    return Line(lower, upper, round(refined.n * CONSTANTS.widening))

"""Slow modes: `fp.spectrum` and `fp.spectral_gap`.

    H psi_n = E_n psi_n,     E_0 = 0, psi_0 = sqrt(pi) for a process,     gap = E_1 - E_0 = D / C_P
    -L r_n = lambda_n r_n    complex rates, where the process is not reversible

The values are Rayleigh quotients, so their derivatives are those of Hellmann and Feynman, dE = <psi| dH |psi>.

One staircase: `validate_modes` reads the equation's functions and samples them, `first_candidate` chooses a scheme and
a solver, `_run` takes arrays alone, `next_candidate` looks at what came out, and `_with_small_gap` gives a gap that is
small beside the other levels all its digits.
"""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, host_module, scaled
from ..core.checks import is_concrete
from ..core.decision import Decision
from ..core.program import full_precision, shape_program
from ..core.result import code, raise_failure
from ..core.types import Count, Real
from ..eigen import (
    DESCRIPTIONS,
    SAME,
    Levels,
    lacks_digits,
    levels,
    levels_through_factor,
    lowest_modes,
    partner_mode,
    relaxation_modes,
    sample_line,
    sampled_line_gap,
    tridiagonal_modes,
)
from ..equation import Equation, FokkerPlanck
from ..fit import fit
from ..grid import Axis, Grid, Line
from ..operator import EdgeOperator, Operator, Scheme, Spectral
from ..plan.spectrum_plan import Candidate, ModesRequest, Outcome, first_candidate, next_candidate, validate_modes
from .spectrum_result import Spectrum

# Of the level after it, below which the gap of a line is taken from the kernel of its partner: from there on a level
# of 1e-10 relative error, or one of A, may not hold all digits of it (a free choice).
TINY = 1e-6
# How many more nodes tell the error in space: on spectral grids, where errors fall by orders of magnitude, and on
# volumes, where they fall by four and the difference is three quarters of the error.
FINER_SPECTRAL, FINER_VOLUMES = 1.5, 2.0
WIDER = 1.1  # how much wider a line is then: e^-x^2 falls by orders of magnitude over a tenth of a box that holds it
FITTED = 1e-8  # to which a grid is fitted where no tol is given, as by `fp.fit_grid`


@full_precision
def spectrum(
    equation: Equation,
    grid: Grid | None = None,
    k: Count = 6,
    *,
    t: Any = 0.0,
    scheme: Scheme | None = None,
    tol: Real | None = None,
    refine: bool = False,
) -> Spectrum:
    """The k slowest modes: the lowest levels of H, or the slowest rates of -L where the process is not reversible.

    **Arguments**: `equation` an `fp.FokkerPlanck`, `fp.Schrodinger` or `fp.ScoreHamiltonian`; `grid` where to solve
    it, fitted to `tol` (or 1e-8) if None, but not for a score; `k` at most the number of points; `t` the time at which
    a moving potential, force or score is frozen; `scheme` as in `fp.evolve`; `tol` the relative error of the values,
    1e-10 (1e-4 without x64); `refine` also solves on a finer and wider grid, for `space_errors`. **Returns** a
    `Spectrum`. **Raises** `ValueError` for bad arguments, `NumericalFailure` if the residuals stay too large.

    **Keeps**: values ascending, real for a reversible process; degenerate levels come complete, and `multiplicities`
    tells when k has cut them. Levels are taken through A, H = A^T A, so that a small gap keeps its digits down to
    eps |H|, and on a line with closed ends at any size. `jit`, `vmap`, `grad` and `jvp` reach the values; the vectors
    are not differentiated. **Cost**: size^3 up to 1024 points or on one spectral axis; beyond that ten to thirty
    products of a block of 3k/2 fields. **Reference**: Risken (1989), sections 5.5 and 6.6.

    ```python
    import fpsolve as fp

    modes = fp.spectrum(fp.FokkerPlanck(fp.DoubleWell(3.0)), fp.Grid(fp.Line(-2.5, 2.5, 64)), 4)
    ```
    """
    fitted = fit(equation, None, FITTED if tol is None else tol, k=k, t=t) if grid is None else None
    request = validate_modes(equation, grid if fitted is None else fitted.grid, k, t, scheme, tol)
    found, _ = solve(request)
    if fitted is not None:
        errors = fitted.space_error * _size(found.values)
        decisions = (*found.decisions, ("grid", Decision("fitted", fitted.words)))
        return dataclasses.replace(found, space_errors=as_array(errors, request.dtype), decisions=decisions)
    if not refine:
        return found
    spectral = dict(found.decisions)["scheme"].choice == Spectral.__name__
    finer = Grid(*(_finer(axis, spectral) for axis in request.grid.axes))
    better, _ = solve(validate_modes(equation, finer, k, t, scheme, tol))
    xp = host_module(found.values, better.values)
    errors = _size(xp.asarray(found.values) - xp.asarray(better.values))
    return dataclasses.replace(found, space_errors=as_array(errors, request.dtype))


def spectral_gap(equation: Equation, grid: Grid | None = None, *, t: Any = 0.0) -> Array:
    """The spectral gap E_1 - E_0, a scalar: the slowest rate of relaxation, D / C_P, and the price of annealing.

    **Arguments**: as for `fp.spectrum`. **Returns** the gap, in units 1/time; the real part of the slowest rate where
    the process is not reversible. **Raises** as `fp.spectrum`.

    **Keeps**: relative accuracy, however small the gap of a line (1e-30 and below); `jit`, `vmap`, `grad` and `jvp`
    (Hellmann and Feynman), with a given grid. **Cost**: as `fp.spectrum` of two levels. **Reference**: Bakry, Gentil
    and Ledoux, Analysis and Geometry of Markov Diffusion Operators (2014), chapter 4.

    ```python
    import jax
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-2.5, 2.5, 64))
    slope = jax.grad(lambda barrier: fp.spectral_gap(fp.FokkerPlanck(fp.DoubleWell(barrier)), grid))(3.0)
    ```
    """
    return spectrum(equation, grid, 2, t=t).gap


def solve(request: ModesRequest) -> tuple[Spectrum, Operator]:
    """The slow modes of a validated request, and the operator that they belong to."""
    tried = first_candidate(request)
    outcome = _run(tried)
    while request.concrete and (better := next_candidate(tried, outcome)) is not None:
        tried = better
        outcome = _run(tried)
    outcome = _with_small_gap(tried, outcome)
    if is_concrete(outcome.converged) and not bool(outcome.converged):
        worst = float(np.max(np.asarray(outcome.levels.residuals)))
        raise_failure(as_array(code("not_converged"), int), f"largest residual {worst:.1e}.")
    # Densities and the squares of waves hold as much in each cell: those of a process that is not reversible are
    # densities.
    cell = request.sampled.cell if tried.solver == "relaxation" else math.sqrt(request.sampled.cell)
    found = Spectrum(
        values=outcome.levels.values,
        vectors=scaled(outcome.levels.vectors, 1 / cell),
        residuals=outcome.levels.residuals,
        errors=outcome.levels.errors,
        multiplicities=outcome.levels.multiplicities,
        left=outcome.left,
        space_errors=None,
        equation=request.equation,
        grid=request.grid,
        decisions=(("scheme", tried.decision), ("method", Decision(tried.solver, DESCRIPTIONS[tried.solver]))),
    )
    return found, tried.operator


def _run(candidate: Candidate) -> Outcome:
    """Solve; arrays and static shapes alone go into the programs."""
    request, operator = candidate.request, candidate.operator
    tol = as_array(request.tol, request.dtype)
    if candidate.solver == "relaxation":
        return _relax(operator, request.k, tol)
    # Through A at once where H is A^T A anyway, and where no number can be looked at.
    factored = candidate.factored if operator.is_factored or not request.concrete else None
    if candidate.solver == "tridiagonal":
        assert isinstance(operator, EdgeOperator)
        waves = tridiagonal_modes(operator, candidate.size)
        return _levels_of(operator, factored, waves, as_array(True, bool), request.k, request.process)
    return _solve(operator, factored, candidate.solver, request.k, candidate.size, tol, request.process)


@shape_program
def _relax(operator: Operator, k: int, tol: Array) -> Outcome:
    modes, no = relaxation_modes(operator, k, tol, tol.dtype), jnp.zeros((), bool)
    values = modes.values
    counts = jnp.sum(jnp.abs(values[:, None] - values) <= SAME * jnp.abs(values), axis=1)
    found = Levels(values, modes.vectors, modes.residuals, modes.errors, jnp.zeros_like(modes.errors), counts)
    return Outcome(found, jnp.zeros(0), modes.observables, modes.converged, no, no, no)


@shape_program
def _solve(
    operator: Operator, factored: Operator | None, solver: str, k: int, size: int, tol: Array, process: bool
) -> Outcome:
    frozen = jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf, operator)
    waves, converged = lowest_modes(solver, frozen, k, size, tol)
    return _outcome(levels(operator, factored, waves), waves, converged, k, operator, process)


@shape_program
def _levels_of(
    operator: Operator, factored: Operator | None, waves: Array, converged: Array, k: int, process: bool
) -> Outcome:
    return _outcome(levels(operator, factored, waves), waves, converged, k, operator, process)


@shape_program
def _again_through_factor(
    operator: Operator, factored: Operator, waves: Array, converged: Array, k: int, process: bool
) -> Outcome:
    return _outcome(levels_through_factor(operator, factored, waves), waves, converged, k, operator, process)


def _outcome(found: Levels, waves: Array, converged: Array, k: int, operator: Operator, process: bool) -> Outcome:
    no = jnp.zeros((), bool)
    cut = imprecise = tiny = no
    values, grid = found.values, operator.grid
    if k < len(values) < grid.size:  # the k-th level may be one of more than were computed
        cut = values[-1] - values[k - 1] <= SAME * jnp.abs(values[-1])
    if process and len(values) > 2:
        imprecise = lacks_digits(values, found.rounding)
        if _is_closed_line(grid):
            tiny = jax.lax.stop_gradient(values[1] < TINY * values[2])
    wanted = Levels(*(array[:k] for array in found))
    return Outcome(wanted, waves, None, converged, cut, imprecise, tiny)


def _with_small_gap(tried: Candidate, outcome: Outcome) -> Outcome:
    """The same with a gap that has all its digits: through A where H leaves too few, and on a line from the kernel of
    the partner where A does."""
    request = tried.request
    if tried.solver == "relaxation" or not request.process or request.k < 2:
        return outcome
    # Under a transformation nothing can be looked at: the programs decide about both themselves.
    if request.concrete and bool(outcome.imprecise) and not tried.operator.is_factored:
        factored = tried.factored
        if factored is not None:
            waves, converged = outcome.waves, outcome.converged
            outcome = _again_through_factor(tried.operator, factored, waves, converged, request.k, request.process)
    if not _is_closed_line(request.grid) or (request.concrete and not bool(outcome.tiny)):
        return outcome
    if isinstance(tried.operator, EdgeOperator) and request.scheme is not None:
        return outcome._replace(levels=_lattice_gap(outcome.levels, outcome.tiny, tried.operator))
    # Where no scheme was given, a small gap is that of the continuum.
    assert isinstance(request.equation, FokkerPlanck)
    axis = request.grid.axes[0]
    samples = sample_line(request.equation, axis, request.t)
    return outcome._replace(levels=_continuum_gap(outcome.levels, outcome.tiny, samples, axis))


@shape_program
def _lattice_gap(found: Levels, tiny: Array, operator: EdgeOperator) -> Levels:
    """Levels with the gap of the chain of cells itself, where it is tiny."""

    def replaced() -> Levels:
        gap = partner_mode(operator)
        vectors = found.vectors.at[1].set(jax.lax.stop_gradient(gap.mode))
        return _with_gap(found, gap.gap, gap.error)._replace(vectors=vectors)

    return jax.lax.cond(tiny, replaced, lambda: found)


@shape_program
def _continuum_gap(found: Levels, tiny: Array, samples: Any, axis: Axis) -> Levels:
    """Levels with the gap of the continuum, where it is tiny."""

    def replaced() -> Levels:
        gap = sampled_line_gap(samples, axis, found.values.dtype)
        return _with_gap(found, gap.gap, gap.error)

    return jax.lax.cond(tiny, replaced, lambda: found)


def _with_gap(found: Levels, gap: Array, error: Array) -> Levels:
    value = gap.astype(found.values.dtype)
    errors = found.errors.at[1].set(jax.lax.stop_gradient(value * error))
    return found._replace(values=found.values.at[1].set(value), errors=errors)


def _is_closed_line(grid: Grid) -> bool:
    return grid.ndim == 1 and grid.axes[0].boundary == "no_flux"


def _size(values: Any) -> Any:
    return host_module(values).abs(values)


def _finer(axis: Axis, spectral: bool) -> Axis:
    """More nodes, and on a line a wider box, so that both errors show."""
    finer = axis.refine(FINER_SPECTRAL if spectral else FINER_VOLUMES)
    if not axis.unbounded:
        return finer
    reach = (WIDER - 1) / 2 * axis.length
    return Line(axis.lower - reach, axis.upper + reach, round(finer.n * WIDER))

"""Slow modes: `fp.spectrum` and `fp.spectral_gap`.

    H psi_n = E_n psi_n,     E_0 = 0, psi_0 = sqrt(pi) for a process,     gap = E_1 - E_0 = D / C_P
    -L r_n = lambda_n r_n    complex rates, where the process is not reversible

The values are Rayleigh quotients, so their derivatives are those of Hellmann and Feynman, dE = <psi| dH |psi>.

The stages: `validate_modes` reads the equation's functions and samples them, `first_candidate` chooses a scheme and a
solver, `_run` solves with arrays alone, `next_candidate` examines the outcome and may choose again, and
`_with_small_gap` computes a gap that is much smaller than the other levels to full relative accuracy.
"""

import dataclasses
import math
from typing import Any, NamedTuple

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
    Levels,
    frozen,
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
from ..eigen.constants import CONSTANTS as EIGEN
from ..equation import Equation, FokkerPlanck
from ..fit import fit
from ..grid import Axis, Grid, Line
from ..operator import EdgeOperator, Operator, Scheme, Spectral
from ..plan.spectrum_plan import Candidate, ModesRequest, Outcome, first_candidate, next_candidate, validate_modes
from .constants import CONSTANTS
from .spectrum_result import Spectrum


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
    a time-dependent potential, force or score is taken; `scheme` as in `fp.evolve`; `tol` the relative error of the
    values, 1e-10 (1e-4 without x64); `refine` also solves on a finer and wider grid, for `space_errors`. **Returns** a
    `Spectrum`. **Raises** `ValueError` for bad arguments, `NumericalFailure` if the residuals stay too large.

    **Keeps**: values ascending, real for a reversible process; degenerate levels come complete, and `multiplicities`
    counts them also beyond the k-th. Levels are taken through A, H = A^T A, so that a small gap keeps its digits down
    to eps |H|, and on a line with no-flux boundaries at any size. `jit`, `vmap`, `grad` and `jvp` reach the values; the
    vectors are not differentiated. **Cost**: size^3 up to 1024 points or on one spectral axis; beyond that ten to
    thirty products of a block of 3k/2 fields. **Reference**: Risken (1989), sections 5.5 and 6.6.

    ```python
    import fpsolve as fp

    modes = fp.spectrum(fp.FokkerPlanck(fp.DoubleWell(3.0)), fp.Grid(fp.Line(-2.5, 2.5, 64)), 4)
    ```
    """
    if grid is None:
        fitted = fit(equation, None, CONSTANTS.default_fit_tol if tol is None else tol, k=k, t=t)
        request = validate_modes(equation, fitted.grid, k, t, scheme, tol)
        found, _ = solve(request)
        # The fit has estimated the error in space already: nothing is refined.
        space_errors = as_array(fitted.space_error * _absolute(found.values), request.dtype)
        decisions = (*found.decisions, ("grid", Decision("fitted", fitted.description)))
        return dataclasses.replace(found, space_errors=space_errors, decisions=decisions)
    request = validate_modes(equation, grid, k, t, scheme, tol)
    found, _ = solve(request)
    if not refine:
        return found
    # The same on a grid whose errors are much smaller: the difference is the error of this one.
    spectral = dict(found.decisions)["scheme"].choice == Spectral.__name__
    finer_grid = Grid(*(_finer(axis, spectral) for axis in request.grid.axes))
    better, _ = solve(validate_modes(equation, finer_grid, k, t, scheme, tol))
    xp = host_module(found.values, better.values)
    space_errors = _absolute(xp.asarray(found.values) - xp.asarray(better.values))
    return dataclasses.replace(found, space_errors=as_array(space_errors, request.dtype))


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
    # 1. Solve, and choose again while the outcome asks for it. Traced numbers cannot be examined: one candidate.
    tried = first_candidate(request)
    outcome = _run(tried)
    while request.concrete and (better := next_candidate(tried, outcome)) is not None:
        tried = better
        outcome = _run(tried)

    # 2. A small gap, and the residuals.
    outcome = _with_small_gap(tried, outcome)
    if is_concrete(outcome.converged) and not bool(outcome.converged):
        worst = float(np.max(np.asarray(outcome.levels.residuals)))
        raise_failure(as_array(code("not_converged"), int), f"largest residual {worst:.1e}.")

    # 3. The result, in the units of the user. In those of the solver a cell holds the mass of a density, or the square
    # of a wave; the modes of a process that is not reversible are densities.
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
    """Solve; only arrays and static shapes go into the programs."""
    request = candidate.request
    operator = candidate.operator
    tol = as_array(request.tol, request.dtype)
    evolves_density = request.equation.evolves_density
    if candidate.solver == "relaxation":
        return _relax(operator, request.k, tol)
    # Levels are taken through A at once where H is A^T A anyway, and where numbers are traced, because then the program
    # itself must decide. Otherwise A is built only if the digits of H do not suffice (`_with_small_gap`).
    factored = candidate.factored if operator.is_factored or not request.concrete else None
    if candidate.solver == "tridiagonal":
        assert isinstance(operator, EdgeOperator)
        waves = tridiagonal_modes(operator, candidate.size)
        found = _Waves(waves, as_array(True, bool))
        return _levels_of(operator, factored, found, request.k, evolves_density)
    return _solve(operator, factored, candidate.solver, request.k, candidate.size, tol, evolves_density)


class _Waves(NamedTuple):
    """Approximate modes `(m, *shape)`, and whether the wanted ones have `converged`."""

    waves: Array
    converged: Array


@shape_program
def _relax(operator: Operator, k: int, tol: Array) -> Outcome:
    """Complex rates and densities, for a process that is not reversible."""
    modes = relaxation_modes(operator, k, tol, tol.dtype)
    values = modes.values
    same_level = EIGEN.same_level * jnp.abs(values)
    multiplicities = jnp.sum(jnp.abs(values[:, None] - values) <= same_level, axis=1)
    found = Levels(
        values=values,
        vectors=modes.vectors,
        residuals=modes.residuals,
        errors=modes.errors,
        rounding=jnp.zeros_like(modes.errors),
        multiplicities=multiplicities,
    )
    # The flags belong to real levels: nothing is computed again.
    no = jnp.zeros((), bool)
    return Outcome(
        levels=found,
        waves=jnp.zeros(0),
        left=modes.observables,
        converged=modes.converged,
        cut=no,
        imprecise=no,
        tiny=no,
    )


@shape_program
def _solve(
    operator: Operator,
    factored: Operator | None,
    solver: str,
    k: int,
    size: int,
    tol: Array,
    evolves_density: bool,
) -> Outcome:
    """Approximate modes by a solver, and levels from them. Only the levels are differentiated."""
    found = _Waves(*lowest_modes(solver, frozen(operator), k, size, tol))
    return _outcome(levels(operator, factored, found.waves), found, k, operator, evolves_density)


@shape_program
def _levels_of(operator: Operator, factored: Operator | None, found: _Waves, k: int, evolves_density: bool) -> Outcome:
    """Levels from modes that were found outside a program."""
    return _outcome(levels(operator, factored, found.waves), found, k, operator, evolves_density)


@shape_program
def _again_through_factor(
    operator: Operator, factored: Operator, found: _Waves, k: int, evolves_density: bool
) -> Outcome:
    """Levels from the same modes, now through A."""
    return _outcome(levels_through_factor(operator, factored, found.waves), found, k, operator, evolves_density)


def _outcome(computed: Levels, found: _Waves, k: int, operator: Operator, evolves_density: bool) -> Outcome:
    """The k wanted of the computed levels, and the flags that decide what happens next."""
    values = computed.values
    no = jnp.zeros((), bool)
    # The k-th level may belong to a cluster of which not all levels were computed.
    cut = no
    if k < len(values) < operator.grid.size:
        cut = values[-1] - values[k - 1] <= EIGEN.same_level * jnp.abs(values[-1])
    # The digits of the gap, which the levels after it do not need.
    imprecise = tiny = no
    if evolves_density and len(values) > 2:
        imprecise = lacks_digits(values, computed.rounding)
        if _is_no_flux_line(operator.grid):
            tiny = jax.lax.stop_gradient(values[1] < CONSTANTS.tiny_gap * values[2])
    wanted = Levels(*(array[:k] for array in computed))
    return Outcome(
        levels=wanted,
        waves=found.waves,
        left=None,
        converged=found.converged,
        cut=cut,
        imprecise=imprecise,
        tiny=tiny,
    )


def _with_small_gap(tried: Candidate, outcome: Outcome) -> Outcome:
    """The same with a gap that has all its digits: through A where H leaves too few, and on a line from the partner
    kernel where A leaves too few."""
    request = tried.request
    evolves_density = request.equation.evolves_density
    if tried.solver == "relaxation" or not evolves_density or request.k < 2:
        return outcome
    # Through A. In a traced program `levels` has decided about this already.
    if request.concrete and bool(outcome.imprecise) and not tried.operator.is_factored:
        factored = tried.factored
        if factored is not None:
            found = _Waves(outcome.waves, outcome.converged)
            outcome = _again_through_factor(tried.operator, factored, found, request.k, evolves_density)

    # From the partner kernel, which only a line with no-flux boundaries has. Traced programs decide by `outcome.tiny`.
    if not _is_no_flux_line(request.grid) or (request.concrete and not bool(outcome.tiny)):
        return outcome
    if isinstance(tried.operator, EdgeOperator) and request.scheme is not None:
        # The user chose these finite volumes: the gap and its mode are those of their own chain.
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

    # The kernel is applied only where it is needed.
    return jax.lax.cond(tiny, replaced, lambda: found)


@shape_program
def _continuum_gap(found: Levels, tiny: Array, samples: Any, axis: Axis) -> Levels:
    """Levels with the gap of the continuum, where it is tiny."""

    def replaced() -> Levels:
        gap = sampled_line_gap(samples, axis, found.values.dtype)
        return _with_gap(found, gap.gap, gap.error)

    return jax.lax.cond(tiny, replaced, lambda: found)


def _with_gap(found: Levels, gap: Array, relative_error: Array) -> Levels:
    """Levels with another value of the second one."""
    value = gap.astype(found.values.dtype)
    errors = found.errors.at[1].set(jax.lax.stop_gradient(value * relative_error))
    return found._replace(values=found.values.at[1].set(value), errors=errors)


def _is_no_flux_line(grid: Grid) -> bool:
    """Whether the partner kernel exists: it belongs to a chain between two ends."""
    return grid.ndim == 1 and grid.axes[0].boundary == "no_flux"


def _absolute(values: Any) -> Any:
    return host_module(values).abs(values)


def _finer(axis: Axis, spectral: bool) -> Axis:
    """More nodes, and on a line a wider box, so that both errors show."""
    finer = axis.refine(CONSTANTS.refinement_spectral if spectral else CONSTANTS.refinement_volumes)
    if not axis.unbounded:
        return finer
    # A wider box with as many more nodes: the spacing is that of `finer`.
    margin = (CONSTANTS.widening - 1) / 2 * axis.length
    return Line(axis.lower - margin, axis.upper + margin, round(finer.n * CONSTANTS.widening))

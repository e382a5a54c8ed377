"""The modes of one candidate: a scheme, a solver, and the levels that follow from its
approximate modes.

`run_candidate` solves with arrays alone. `with_small_gap` computes a gap that is much
smaller than the other levels to full relative accuracy: through A, H = A^T A, or on a
line from the kernel of the supersymmetric partner.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.program import shape_program
from ..eigen import (
    Levels,
    frozen,
    lacks_digits,
    levels,
    levels_through_factor,
    lowest_modes,
    partner_mode,
    relaxation_modes,
    sample_line,
    sample_smooth_line,
    sampled_line_gap,
    tridiagonal_modes,
)
from ..eigen.constants import CONSTANTS as EIGEN
from ..equation import FokkerPlanck
from ..grid import Axis, Grid
from ..operator import EdgeOperator, Operator, Samples
from ..plan.spectrum_plan import Candidate, Outcome
from .constants import CONSTANTS


def run_candidate(candidate: Candidate) -> Outcome:
    """Solve; only arrays and static shapes go into the programs."""
    request = candidate.request
    operator = candidate.operator
    tol = as_array(request.tol, request.dtype)
    evolves_density = request.equation.evolves_density
    if candidate.solver == "relaxation":
        return _relax(operator, request.k, tol)
    # Levels are taken through A at once where H is A^T A anyway, and where numbers are
    # traced, because then the program itself must decide. Otherwise A is built only if
    # the digits of H do not suffice (`with_small_gap`).
    factored = None
    if operator.is_factored or not request.concrete:
        factored = candidate.factored
    if candidate.solver == "tridiagonal":
        assert isinstance(operator, EdgeOperator)
        waves = tridiagonal_modes(operator, candidate.size)
        found = _Waves(waves, as_array(True, bool))
        return _levels_of(operator, factored, found, request.k, evolves_density)
    return _solve(
        operator,
        factored,
        candidate.solver,
        request.k,
        candidate.size,
        tol,
        evolves_density,
    )


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
    apart = jnp.abs(values[:, None] - values)
    multiplicities = jnp.sum(apart <= same_level, axis=1)
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
    """Approximate modes by a solver, and levels from them, which are differentiated."""
    found = _Waves(*lowest_modes(solver, frozen(operator), k, size, tol))
    computed = levels(operator, factored, found.waves)
    return _outcome(computed, found, k, operator, evolves_density)


@shape_program
def _levels_of(
    operator: Operator,
    factored: Operator | None,
    found: _Waves,
    k: int,
    evolves_density: bool,
) -> Outcome:
    """Levels from modes that were found outside a program."""
    computed = levels(operator, factored, found.waves)
    return _outcome(computed, found, k, operator, evolves_density)


@shape_program
def _again_through_factor(
    operator: Operator,
    factored: Operator,
    found: _Waves,
    k: int,
    evolves_density: bool,
) -> Outcome:
    """Levels from the same modes, now through A."""
    computed = levels_through_factor(operator, factored, found.waves)
    return _outcome(computed, found, k, operator, evolves_density)


def _outcome(
    computed: Levels,
    found: _Waves,
    k: int,
    operator: Operator,
    evolves_density: bool,
) -> Outcome:
    """The k wanted of the computed levels, and the flags that decide what follows."""
    values = computed.values
    no = jnp.zeros((), bool)
    # The k-th level may belong to a cluster of which not all levels were computed.
    cut = no
    if k < len(values) < operator.grid.size:
        same_level = EIGEN.same_level * jnp.abs(values[-1])
        cut = values[-1] - values[k - 1] <= same_level
    # The digits of the gap, which the levels after it do not need.
    imprecise = no
    tiny = no
    if evolves_density and len(values) > 2:
        imprecise = lacks_digits(values, computed.rounding)
        if is_no_flux_line(operator.grid):
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


def with_small_gap(tried: Candidate, outcome: Outcome) -> Outcome:
    """The same with a gap that has all its digits: through A where H leaves too few,
    and on a line from the partner kernel where A leaves too few.
    """
    request = tried.request
    evolves_density = request.equation.evolves_density
    if tried.solver == "relaxation" or not evolves_density or request.k < 2:
        return outcome
    # Through A. In a traced program `levels` has decided about this already.
    if request.concrete and bool(outcome.imprecise) and not tried.operator.is_factored:
        factored = tried.factored
        if factored is not None:
            waves = _Waves(outcome.waves, outcome.converged)
            outcome = _again_through_factor(
                tried.operator, factored, waves, request.k, evolves_density
            )

    # From the partner kernel, which only a line with no-flux boundaries has. Traced
    # programs decide by `outcome.tiny`.
    if not is_no_flux_line(request.grid):
        return outcome
    if request.concrete and not bool(outcome.tiny):
        return outcome
    if isinstance(tried.operator, EdgeOperator) and request.scheme is not None:
        # The user chose these volumes: the gap and its mode are those of their chain.
        found = _lattice_gap(outcome.levels, outcome.tiny, tried.operator)
        return outcome._replace(levels=found)
    # Where no scheme was given, a small gap is that of the continuum.
    assert isinstance(request.equation, FokkerPlanck)
    axis = request.grid.axes[0]
    tiny = outcome.tiny
    if request.concrete or isinstance(tried.operator, EdgeOperator):
        samples = sample_line(request.equation, axis, request.t)
    else:
        # A traced program holds this part whether its gap is tiny or not. A basis is
        # for smooth functions, and so are these samples: a gradient compiles in a third
        # of the time. If a function jumps, the level keeps its value and its error.
        samples, jumps = sample_smooth_line(request.equation, axis, request.t)
        tiny = tiny & ~jumps
    found = _continuum_gap(outcome.levels, tiny, samples, axis)
    return outcome._replace(levels=found, tiny=tiny)


@shape_program
def _lattice_gap(found: Levels, tiny: Array, operator: EdgeOperator) -> Levels:
    """Levels with the gap of the chain of cells itself, where it is tiny."""

    def replaced() -> Levels:
        gap = partner_mode(operator)
        # Modes are not differentiated, only levels.
        vectors = found.vectors.at[1].set(jax.lax.stop_gradient(gap.mode))
        return _with_gap(found, gap.gap, gap.error)._replace(vectors=vectors)

    # The kernel is applied only where it is needed.
    return jax.lax.cond(tiny, replaced, lambda: found)


@shape_program
def _continuum_gap(
    found: Levels,
    tiny: Array,
    samples: tuple[Samples, ...],
    axis: Axis,
) -> Levels:
    """Levels with the gap of the continuum, where it is tiny."""

    def replaced() -> Levels:
        gap = sampled_line_gap(samples, axis, found.values.dtype)
        return _with_gap(found, gap.gap, gap.error)

    return jax.lax.cond(tiny, replaced, lambda: found)


def _with_gap(found: Levels, gap: Array, relative_error: Array) -> Levels:
    """Levels with another value of the second one."""
    value = gap.astype(found.values.dtype)
    # The level is differentiated, its error is not.
    error = jax.lax.stop_gradient(value * relative_error)
    errors = found.errors.at[1].set(error)
    return found._replace(values=found.values.at[1].set(value), errors=errors)


def is_no_flux_line(grid: Grid) -> bool:
    """Whether the partner kernel exists: it belongs to a chain between two ends."""
    return grid.ndim == 1 and grid.axes[0].boundary == "no_flux"

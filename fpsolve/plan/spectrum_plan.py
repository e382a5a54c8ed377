"""Planning of `fp.spectrum`: the validated request, the scheme and the solver that
suit, and what to try next.

`first_candidate` is a scheme with a solver and a number of levels; `next_candidate`
examines what it found, and gives another candidate or None.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import check_integer, is_concrete, raise_value_error
from ..core.decision import Decision
from ..core.memory import check_memory
from ..core.types import DType, Real, Scalar
from ..eigen import Levels, choose_modes, on_host, unresolved
from ..eigen.constants import CONSTANTS as EIGEN
from ..equation import Equation
from ..grid import Grid
from ..operator import Operator, ScharfetterGummel, Scheme, Spectral
from ..operator.cells import may_be_in_cells
from .constants import CONSTANTS
from .equation_check import check_and_sample
from .regularity import why_no_basis
from .sampled_equation import SampledEquation
from .scheme_choice import check_scheme, choose_scheme, has_basis
from .validation import check_kinds, check_tolerance


@dataclasses.dataclass(frozen=True)
class ModesRequest:
    """A validated request: the equation on its grid at time `t`, and `k` levels to a
    relative error `tol`.

    `scheme` is the one given, or None; `dtype` is the precision.
    """

    sampled: SampledEquation
    t: Array
    k: int
    scheme: Scheme | None
    tol: float
    dtype: DType
    has_tol: bool = False  # whether `tol` was given

    @property
    def equation(self) -> Equation:
        """The equation, its functions as they were when it was requested."""
        return self.sampled.equation

    @property
    def grid(self) -> Grid:
        """Where it is solved."""
        return self.sampled.grid

    @property
    def evolves_density(self) -> bool:
        """Whether H belongs to a Fokker-Planck equation."""
        return self.equation.evolves_density

    @property
    def concrete(self) -> bool:
        """Whether no number of the equation is traced: its values may be examined."""
        return is_concrete(self.equation, self.t)


def validate_modes(
    equation: Any, grid: Any, k: Any, t: Scalar, scheme: Any, tol: Real | None
) -> ModesRequest:
    """The request, or a `ValueError` that names the argument. The functions of the
    equation are sampled on the way, for the scheme that will most likely be chosen.
    """
    check_kinds(equation, scheme)
    likely = _likely_scheme(equation, grid, scheme)
    equation, grid, samples = check_and_sample(equation, grid, likely, t)
    k = check_integer("k", k, 1, "Ask for at least one level.")
    if k > grid.size:
        allowed = f"the grid has only {grid.size} points, and as many levels"
        raise_value_error("k", k, allowed, "Ask for fewer, or refine the grid.")
    fields = CONSTANTS.fields_per_level * k + CONSTANTS.solver_fields
    cure = "Take fewer nodes on some axis, or fewer levels."
    check_memory("grid", grid.shape, fields, cure)
    dtype = jnp.result_type(float)
    double = dtype == jnp.float64
    default_tol = CONSTANTS.default_level_tol
    if not double:
        default_tol = CONSTANTS.default_level_tol_single
    has_tol = tol is not None
    tol = check_tolerance(tol, dtype, default=default_tol)
    # Whether the process is reversible may depend on the grid: with several diffusions
    # U must be a sum over axes there.
    reversible = equation.irreversible_because(grid, t) is None
    if scheme is not None:
        check_scheme(scheme, equation, grid)
    known = None if samples is None else {(type(likely), float(t), reversible): samples}
    # The operator of a score stays in the user's units, because what is computed from
    # its modes is in those units.
    in_cells = may_be_in_cells(scheme) and not equation.by_factors
    sampled = SampledEquation(equation, grid, reversible, known, in_cells)
    return ModesRequest(sampled, as_array(t), k, scheme, tol, dtype, has_tol)


def _likely_scheme(equation: Any, grid: Any, scheme: Any) -> Scheme | None:
    """The scheme that will most likely be chosen; the program that validates also
    samples for it.
    """
    # With several diffusions the existence of a Gibbs density must be tested first.
    if not isinstance(grid, Grid) or equation.reversible_on_some_grids:
        return None
    if scheme is None:
        return Spectral() if has_basis(grid) else ScharfetterGummel()
    return None if scheme.spectral and not has_basis(grid) else scheme


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A scheme and a solver to try; `size` levels are computed, at least k."""

    request: ModesRequest
    scheme: Scheme
    decision: Decision
    solver: str
    size: int

    @property
    def operator(self) -> Operator:
        """H; or L in the flux form, where the process is not reversible."""
        request = self.request
        return request.sampled.operator(self.scheme, request.dtype, request.t)

    @property
    def factored(self) -> Operator | None:
        """H as A^T A, or None where there is no factor A."""
        request = self.request
        if not request.evolves_density and not request.equation.by_factors:
            return None
        # With absorbing ends the basis is sines. A maps them to functions that are no
        # sines, since the drift need not vanish at the ends.
        if request.evolves_density and self.scheme.spectral and request.grid.absorbs:
            return None
        operator = self.operator
        if operator.is_factored:
            return operator
        return request.sampled.operator(
            self.scheme, request.dtype, request.t, flux=True
        )


class Outcome(NamedTuple):
    """What a candidate found.

    - `levels`: the k levels requested
    - `waves`: all eigenfunctions computed
    - `left`: left eigenfunctions, where the process is not reversible
    - `converged`: whether the solver converged
    - `cut`: whether the k-th level may belong to a cluster of which some levels were
      not computed
    - `imprecise`: whether rounding leaves too few digits of the gap
    - `tiny`: whether the gap is small relative to the next level
    """

    levels: Levels
    waves: Array
    left: Array | None
    converged: Array
    cut: Array
    imprecise: Array
    tiny: Array


def first_candidate(request: ModesRequest) -> Candidate:
    """The scheme that was given, or the one that suits, with the solver that suits."""
    grid = request.grid
    k = request.k
    # Without a Gibbs density L is not symmetric: complex rates, by their own solver.
    if request.evolves_density and not request.sampled.reversible:
        if jax.default_backend() == "tpu":
            allowed = (
                "the process is not reversible, and JAX has no eigenvalues of such "
                "matrices on a TPU"
            )
            cure = (
                'Call jax.config.update("jax_platforms", "cpu") before anything else.'
            )
            raise_value_error("equation", request.equation, allowed, cure)
        if grid.size > EIGEN.dense_size:
            # The factors of a block tridiagonal matrix, whose blocks are the layers
            # across the longest axis.
            factors = (grid.size, grid.size // max(grid.shape))
            check_memory("grid", factors, 4, "Take fewer nodes on some axis.")
        return Candidate(request, *_scheme_for_rates(request), "relaxation", k)
    scheme, decision = _choose_scheme(request)
    return Candidate(request, scheme, decision, *_choose_solver(request, scheme))


def _choose_solver(request: ModesRequest, scheme: Scheme) -> tuple[str, int]:
    """The solver that suits a scheme, and the number of levels that it computes."""
    grid = request.grid
    k = request.k
    ground_state_known = request.evolves_density and not grid.absorbs
    host = on_host(grid, request.equation, request.t)
    solver = choose_modes(
        scheme, grid, k, ground_state_known, request.equation.by_factors, host
    )
    # These two solvers compute exactly the levels requested; a block iteration needs
    # guard levels.
    if solver in ("known", "ground"):
        return solver, k
    guards = max(CONSTANTS.guard_levels, k // 2)
    return solver, min(grid.size, k + guards)


def candidate_on(tried: Candidate, grid: Grid, k: int) -> Candidate:
    """The same question on another grid, with the same scheme, for k levels or as many
    as that grid has.
    """
    asked = tried.request
    # No new validation: what must hold on the grid of the user, such as a period, was
    # tested there.
    sampled = SampledEquation(
        asked.equation, grid, asked.sampled.reversible, in_cells=asked.sampled.in_cells
    )
    request = dataclasses.replace(asked, sampled=sampled, k=min(k, grid.size))
    if tried.solver == "relaxation":
        return Candidate(request, tried.scheme, tried.decision, tried.solver, request.k)
    # Another size may need another solver.
    solver, size = _choose_solver(request, tried.scheme)
    return Candidate(request, tried.scheme, tried.decision, solver, size)


def _choose_scheme(request: ModesRequest) -> tuple[Scheme, Decision]:
    """The scheme that was given, or the one that resolves the Gibbs density where it is
    concrete.
    """
    if request.scheme is not None:
        return request.scheme, Decision(type(request.scheme).__name__, "as requested")
    # The Gibbs density takes the place of the initial density; where it cannot be
    # examined, a constant does.
    grid = request.grid
    density = as_array(np.ones(grid.shape), request.dtype)
    if request.evolves_density and request.concrete and has_basis(grid):
        density = _gibbs(request)
    # A known time stays concrete, also inside a user's `jit`.
    if is_concrete(request.t):
        times = as_array(np.reshape(request.t, 1))
    else:
        times = jnp.reshape(request.t, 1)
    chosen = choose_scheme(
        request.equation,
        grid,
        None,
        density,
        times,
        request.tol,
        sampled=request.sampled,
    )
    return chosen.scheme, chosen.decision


def _gibbs(request: ModesRequest) -> Array:
    """The Gibbs density `(*shape)` on the grid that is solved on, computed on the host:
    it takes no program.
    """
    log_gibbs = np.asarray(request.sampled.samples(Spectral(), request.t).log_gibbs)
    density = np.exp(log_gibbs - np.max(log_gibbs))  # at most 1, against overflow
    mass = density
    for axis in reversed(request.sampled.solved.axes):
        mass = mass @ axis.weights
    return as_array(density / mass, request.dtype)


def _scheme_for_rates(request: ModesRequest) -> tuple[Scheme, Decision]:
    """The scheme for a process that is not reversible: `Spectral` wherever there is a
    basis. `next_candidate` tests afterwards whether the basis resolved the stationary
    density.
    """
    if request.scheme is not None:
        return request.scheme, Decision(type(request.scheme).__name__, "as requested")
    if not has_basis(request.grid):
        because = (
            "because an axis is Reflecting or has more than "
            f"{CONSTANTS.largest_spectral_axis} nodes"
        )
        return ScharfetterGummel(), Decision(ScharfetterGummel.__name__, because)
    if (reason := why_no_basis(request.equation, request.grid, request.t)) is not None:
        because = f"because {reason}"
        return ScharfetterGummel(), Decision(ScharfetterGummel.__name__, because)
    because = "because the grid has a basis on every axis"
    return Spectral(), Decision(Spectral.__name__, because)


def next_candidate(tried: Candidate, outcome: Outcome) -> Candidate | None:
    """What to try after a concrete outcome, or None where it is accepted."""
    request = tried.request
    # Not reversible: only the result shows whether a basis resolved the stationary
    # density.
    if tried.solver == "relaxation":
        if request.scheme is not None or not tried.scheme.spectral:
            return None
        defect = unresolved(request.grid, outcome.levels.vectors)
        if defect <= CONSTANTS.largest_defect:
            return None
        because = (
            f"because Spectral resolves the stationary density only to {defect:.0e} on "
            "this grid"
        )
        decision = Decision(ScharfetterGummel.__name__, because, (("defect", defect),))
        return dataclasses.replace(tried, scheme=ScharfetterGummel(), decision=decision)
    # A cluster of levels may be incomplete: compute twice as many.
    if bool(outcome.cut):
        return dataclasses.replace(tried, size=min(request.grid.size, 2 * tried.size))
    return None

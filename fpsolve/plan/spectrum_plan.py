"""Planning slow modes: what was requested of `fp.spectrum`, which scheme and solver suit, what to try next."""

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
from ..eigen import DENSE_SIZE, Levels, choose_modes, on_host, unresolved
from ..equation import Equation
from ..grid import Grid
from ..operator import Operator, ScharfetterGummel, Scheme, Spectral
from ..operator.cells import may_be_in_cells
from .resolution import UNRESOLVED
from .scheme_choice import LARGEST_SPECTRAL, SampledEquation, check_scheme, choose_scheme, has_basis
from .validation import check_and_sample, check_kinds, check_tolerance

# Levels beyond the wanted ones that are computed too, at least: they carry the convergence of a block iteration, and
# a cluster that they complete is counted.
GUARDS = 6
ITERATED, SINGLE = 1e-10, 1e-4  # relative errors of levels where no tol is given, in double and in single precision
FIELDS, FIELDS_PER_LEVEL = 64, 12  # that a solver holds at once: eight blocks of 3k/2 fields (`eigen.lobpcg`)


@dataclasses.dataclass(frozen=True)
class ModesRequest:
    """A validated request: the physics on its grid at one time, how many levels, and what the user decided."""

    sampled: SampledEquation
    t: Any
    k: int
    scheme: Scheme | None
    tol: float
    dtype: Any

    @property
    def equation(self) -> Equation:
        """The equation, its functions as they were when it was requested."""
        return self.sampled.equation

    @property
    def grid(self) -> Grid:
        """Where it is solved."""
        return self.sampled.grid

    @property
    def process(self) -> bool:
        """Whether H belongs to a Fokker-Planck equation."""
        return self.equation.evolves_density

    @property
    def concrete(self) -> bool:
        """Whether no number of the equation is traced, so that results may be looked at."""
        return is_concrete(self.equation, self.t)


def validate_modes(equation: Any, grid: Any, k: Any, t: Any, scheme: Any, tol: Any) -> ModesRequest:
    """Refuse what cannot be right; read the equation's functions, and sample them where a scheme is likely."""
    check_kinds(equation, scheme)
    likely = _likely_scheme(equation, grid, scheme)
    equation, grid, samples = check_and_sample(equation, grid, likely, t)
    k = check_integer("k", k, 1, "Ask for at least one level.")
    if k > grid.size:
        allowed = f"the grid has only {grid.size} points, and as many levels"
        raise_value_error("k", k, allowed, "Ask for fewer, or refine the grid.")
    check_memory("grid", grid.shape, FIELDS_PER_LEVEL * k + FIELDS, "Take fewer nodes on some axis, or fewer levels.")
    dtype = jnp.result_type(float)
    tol = check_tolerance(tol, dtype, default=ITERATED if dtype == jnp.float64 else SINGLE)
    reversible = equation.irreversible_because(grid, t) is None
    if scheme is not None:
        check_scheme(scheme, equation, grid)
    known = None if samples is None else {(type(likely), float(t), reversible): samples}
    # The operator of a score stays in the user's units: what is made of its modes is.
    in_cells = may_be_in_cells(scheme) and not equation.by_factors
    sampled = SampledEquation(equation, grid, reversible, known, in_cells)
    return ModesRequest(sampled, as_array(t), k, scheme, tol, dtype)


def _likely_scheme(equation: Any, grid: Any, scheme: Any) -> Scheme | None:
    """The scheme that will most likely be taken, whose samples the validating program takes along."""
    # With several diffusions it must first be seen whether there is a Gibbs density.
    if not isinstance(grid, Grid) or equation.reversible_on_some_grids:
        return None
    if scheme is None:
        return Spectral() if has_basis(grid) else ScharfetterGummel()
    return None if scheme.spectral and not has_basis(grid) else scheme


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One way to answer: by a scheme and a solver, with `size` levels computed of which k are wanted."""

    request: ModesRequest
    scheme: Scheme
    decision: Decision
    solver: str
    size: int

    @property
    def operator(self) -> Operator:
        """H; or L in the flux form, where the process is not reversible."""
        return self.request.sampled.operator(self.scheme, self.request.dtype, self.request.t)

    @property
    def factored(self) -> Operator | None:
        """The process as A^T A, or None where there is no factor."""
        request = self.request
        if not request.process and not request.equation.by_factors:
            return None
        # Sines are not exact on the quotient through A: a drift need not vanish where they do.
        if request.process and self.scheme.spectral and _absorbs(request.grid):
            return None
        operator = self.operator
        if operator.is_factored:
            return operator
        return request.sampled.operator(self.scheme, request.dtype, request.t, flux=True)


class Outcome(NamedTuple):
    """What a candidate found: k `levels`; all `waves` that they were taken from; `left` modes where the process is not
    reversible; and flags: whether the solver `converged`, whether the k-th level may be one of more than were computed
    (`cut`), whether rounding leaves the gap too few digits (`imprecise`) or it is `tiny` beside the next level."""

    levels: Levels
    waves: Array
    left: Array | None
    converged: Array
    cut: Array
    imprecise: Array
    tiny: Array


def first_candidate(request: ModesRequest) -> Candidate:
    """The scheme that was given or suits, with the solver that suits."""
    grid, k = request.grid, request.k
    if request.process and not request.sampled.reversible:
        if jax.default_backend() == "tpu":
            allowed = "the process is not reversible, and JAX has no eigenvalues of such matrices on a TPU"
            cure = 'Call jax.config.update("jax_platforms", "cpu") before anything else.'
            raise_value_error("equation", request.equation, allowed, cure)
        if grid.size > DENSE_SIZE:
            # A few factors of the layers across the longest axis.
            check_memory("grid", (grid.size, grid.size // max(grid.shape)), 4, "Take fewer nodes on some axis.")
        return Candidate(request, *_scheme_for_rates(request), "relaxation", k)
    scheme, decision = _choose_scheme(request)
    known = request.process and not _absorbs(grid)
    host = on_host(grid, request.equation, request.t)
    solver = choose_modes(scheme, grid, k, known, request.equation.by_factors, host)
    size = k if solver in ("known", "ground") else min(grid.size, k + max(GUARDS, k // 2))
    return Candidate(request, scheme, decision, solver, size)


def _choose_scheme(request: ModesRequest) -> tuple[Scheme, Decision]:
    """The scheme that was given, or the one that suits the Gibbs density, where that is concrete."""
    if request.scheme is not None:
        return request.scheme, Decision(type(request.scheme).__name__, "as asked")
    grid, start = request.grid, as_array(np.ones(request.grid.shape), request.dtype)
    if request.process and request.concrete and has_basis(grid):
        start = _gibbs(request)
    times = jnp.reshape(request.t, 1) if not is_concrete(request.t) else as_array(np.reshape(request.t, 1))
    chosen = choose_scheme(request.equation, grid, None, start, times, request.tol, sampled=request.sampled)
    return chosen.scheme, chosen.decision


def _gibbs(request: ModesRequest) -> Array:
    """The Gibbs density `(*shape)` on the grid that is solved on, computed on the host."""
    log_gibbs = np.asarray(request.sampled.samples(Spectral(), request.t).log_gibbs)
    density = np.exp(log_gibbs - np.max(log_gibbs))
    mass = density
    for axis in reversed(request.sampled.solved.axes):
        mass = mass @ axis.weights
    return as_array(density / mass, request.dtype)


def _scheme_for_rates(request: ModesRequest) -> tuple[Scheme, Decision]:
    """The scheme for a process that is not reversible: `Spectral` wherever there is a basis, to be judged by what it
    finds."""
    if request.scheme is not None:
        return request.scheme, Decision(type(request.scheme).__name__, "as asked")
    if not has_basis(request.grid):
        because = f"because an axis is Reflecting or has more than {LARGEST_SPECTRAL} nodes"
        return ScharfetterGummel(), Decision(ScharfetterGummel.__name__, because)
    return Spectral(), Decision(Spectral.__name__, "because the grid has a basis on every axis")


def next_candidate(tried: Candidate, outcome: Outcome) -> Candidate | None:
    """What to try after an outcome that can be looked at, or None where it stands."""
    request = tried.request
    if tried.solver == "relaxation":
        if request.scheme is not None or not tried.scheme.spectral:
            return None
        size = unresolved(request.grid, outcome.levels.vectors)
        if size <= UNRESOLVED:
            return None
        because = f"because Spectral resolves the stationary density only to {size:.0e} on this grid"
        decision = Decision(ScharfetterGummel.__name__, because, (("defect", size),))
        return dataclasses.replace(tried, scheme=ScharfetterGummel(), decision=decision)
    if bool(outcome.cut):
        return dataclasses.replace(tried, size=min(request.grid.size, 2 * tried.size))
    return None


def _absorbs(grid: Grid) -> bool:
    return grid.absorbs

"""A plan: the discretised problem, the method, and what to try if the outcome is not accepted.

`first_plan` is tried first. `Plan.fallback` examines the outcome of a run and gives the plan to try next, or None.
There are three fallbacks:

    the basis did not resolve the density            finite volumes
    the wave of a time-dependent problem overflowed  the density itself
    a method missed its tolerance                    the same method with wider bounds, or another method
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, scaled
from ..core.checks import is_concrete
from ..core.decision import Decision
from ..core.machine import machine
from ..core.program import compiled
from ..grid import Grid
from ..operator import ScharfetterGummel, Scheme
from ..operator.constants import CONSTANTS as OPERATOR
from ..propagate import Chebyshev, Picture, ProblemKind, Rational, Uniformization, WorkEstimate
from ..propagate.contraction import choose_ranks, contract, contractible, missing, sample_potential_terms
from ..step import Magnus, Problem
from ..step.breakpoints import find_breakpoints
from .constants import CONSTANTS
from .method_choice import check_method, choose_method
from .request import Request
from .resolution import is_resolved, rates
from .scheme_choice import SchemeChoice, first_time


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run returned: values `(T, *shape)`, errors `(T,)`, numbers for `stats`, and the result code."""

    values: Array
    error: Array
    numbers: dict[str, Array]
    code: Array

    @property
    def worst(self) -> float:
        """The largest error; infinity where it is not a number."""
        return float(np.nan_to_num(np.max(np.asarray(self.error)), nan=np.inf))


@dataclasses.dataclass(frozen=True)
class Plan:
    """What will be done: `problem` is solved by `method` from the state `start`, for the reasons in `decisions`.

    `problem` and `start` are in the units of the grid that is solved on (`SampledEquation`). `compared` says that the
    plan is an alternative to the run before it, and that the run with the smaller error is kept.
    """

    request: Request
    problem: Problem
    method: Any
    start: Array
    chosen: SchemeChoice
    decisions: dict[str, Decision]
    work: WorkEstimate | None = None
    compared: bool = False

    @property
    def scheme(self) -> Scheme:
        """The scheme."""
        return self.chosen.scheme

    @property
    def fault(self) -> str:
        """The result code of a run whose error exceeds the tolerance."""
        return "wave_out_of_range" if isinstance(self.method, Chebyshev) else "tolerance_not_reached"

    @property
    def messages(self) -> tuple[tuple[str, str], ...]:
        """The decisions as `stats` shows them."""
        return tuple((name, str(decision)) for name, decision in self.decisions.items())

    @property
    def grid(self) -> Grid:
        """The grid, in the user's units."""
        return self.request.grid

    @property
    def field(self) -> Array:
        """The state at t = 0, `(*shape)`, as an array that may be given to `fp.evolve` as its start."""
        return scaled(self.start, 1 / self.request.sampled.scale)

    @property
    def times(self) -> Array:
        """The times requested, `(T,)`."""
        return self.request.times

    @property
    def tol(self) -> float:
        """The relative L1 error requested."""
        return self.request.tol

    @property
    def seconds(self) -> float | None:
        """The estimated time of the run on one core of a processor, or on an accelerator; None for a moving problem."""
        if self.work is None:
            return None
        return float(self.method.cost(self.request.kind(self.chosen), self.work))

    @property
    def bytes(self) -> int:
        """The estimated memory of the run: the fields that it returns, and those that it works with."""
        return (len(self.times) + CONSTANTS.run_fields) * self.grid.size * self.start.dtype.itemsize

    def __str__(self) -> str:
        seconds = "time not estimated" if self.seconds is None else f"about {self.seconds:.1g} s on {machine().name}"
        memory = f"{self.bytes / 2**20:.1f} MiB" if self.bytes > 2**20 else f"{self.bytes / 2**10:.0f} KiB"
        rows = [f"Plan for {len(self.times)} times up to {float(self.times[-1]):g}, tol {self.tol:.0e}"]
        rows += [f"  grid     {line}" for line in repr(self.grid).splitlines()]
        rows += [f"  {name:8} {decision}" for name, decision in self.decisions.items()]
        rows += [f"  cost     {seconds}, {memory} beside the operator"]
        return "\n".join(rows)

    def fallback(self, outcome: Outcome) -> "Plan | None":
        """The plan to try after this one came to `outcome`; None where that is accepted, or nothing would help."""
        # Under a transformation of JAX nothing can be examined, and the outcome stands.
        if not is_concrete(self.request.equation, outcome.code, outcome.error, outcome.values):
            return None
        # A density that was tried in a basis: the result itself shows whether the basis was fine enough.
        if self.chosen.provisional and not is_resolved(self.problem.grid, outcome.values):
            return self._with_finite_volumes()
        # A time-dependent problem: the error, and not the code, says whether another picture is worth a try.
        if isinstance(self.method, Magnus):
            return None if outcome.worst <= self.request.tol else self._in_density_picture()
        # A static problem: another method, if the first one failed.
        if int(outcome.code) == 0:
            return None
        method, why = _next_method(self.method, outcome.error)
        if method is None:
            return None
        problem = self.problem
        # The smaller basis is part of the operator, and is removed from it with the ranks.
        if isinstance(method, Chebyshev) and not method.ranks:
            problem = _without_contraction(problem)
        decisions = {**self.decisions, "method": self.decisions["method"].also(why)}
        return dataclasses.replace(self, method=method, problem=problem, decisions=decisions)

    def _with_finite_volumes(self) -> "Plan":
        """The plan with finite volumes, for a density that was tried in a basis and was not resolved."""
        plan = plan_for(self.request, self.request.choose(ScharfetterGummel()))
        scheme = Decision("ScharfetterGummel", "because Spectral did not resolve the density")
        return dataclasses.replace(plan, decisions={**plan.decisions, "scheme": scheme})

    def _in_density_picture(self) -> "Plan | None":
        """The plan that evolves the density itself, where p / sqrt(pi) of a moving problem grew too large; None where
        no wave was evolved, or this was tried already."""
        method, request = self.method, self.request
        # On cells the picture is the density, but Chebyshev's exponential works with the wave inside each step.
        uses_wave = self.problem.picture is Picture.GIBBS_WAVE or isinstance(method.exponential, Chebyshev)
        # Without extrapolation the exponential given is part of the request, since its invariants are kept.
        if not (uses_wave and request.equation.evolves_density and method.extrapolate) or self.compared:
            return None
        chosen = SchemeChoice(
            scheme=self.scheme,
            decision=self.decisions["scheme"],
            picture=Picture.DENSITY,
            reversible=True,
            wave_representable=False,
        )
        exponential, _ = choose_method(request.kind(chosen)._replace(time_dependent=False), None)
        path = request.sampled.path(self.scheme, flux=True)
        step = type(exponential).__name__
        why = f"the wave grew too large, so the density itself is evolved, each frozen step by {step}"
        return dataclasses.replace(
            self,
            problem=Problem(path, Picture.DENSITY, self.problem.wick),
            chosen=chosen,
            method=method.with_exponential(exponential),
            decisions={**self.decisions, "picture": Decision("density"), "method": self.decisions["method"].also(why)},
            compared=True,
        )


def first_plan(request: Request) -> Plan:
    """The plan to try first."""
    return plan_for(request, request.choose(request.scheme))


def plan_for(request: Request, chosen: SchemeChoice) -> Plan:
    """The plan for one scheme, with the method that was given or the one that suits."""
    kind, sampled = request.kind(chosen), request.sampled
    field, dtype = request.start(chosen), request.field.real.dtype

    # The operator; the flux form where a reversible process is evolved as a density that is not symmetrised.
    flux = sampled.reversible and chosen.picture is Picture.DENSITY and not chosen.reversible
    work = None
    if request.equation.time_dependent:
        operator: Any = sampled.path(chosen.scheme, flux)
    else:
        operator = sampled.operator(chosen.scheme, dtype, flux=flux)
        # Costs can be estimated only from numbers; a traced problem gets the method that suits its shapes.
        if is_concrete(operator, field, request.times):
            largest_eigenvalue, largest_rate = rates(operator)
            last = float(np.asarray(request.times)[-1])
            work = WorkEstimate(last * float(largest_eigenvalue), last * float(largest_rate), len(request.times))
    problem = Problem(operator, chosen.picture, request.wick)

    # The method, with what it can still be given: a smaller basis, or breakpoints in time.
    if request.method is None:
        method, why = choose_method(kind, work)
        decision = Decision(type(method).__name__, f"because {why}")
    else:
        method = request.method
        check_method(method, kind)
        decision = Decision(type(method).__name__, "as requested")
    if isinstance(method, Chebyshev):
        problem, method, decision = _contract_if_worthwhile(request, problem, method, decision, kind, work)
    if isinstance(method, Magnus) and is_concrete(request.equation, request.times, method):
        method, decision = _with_found_breakpoints(request, method, decision)
    decisions = {"scheme": chosen.decision, "method": decision, "picture": Decision(chosen.picture.word)}
    return Plan(request, problem, method, field, chosen, decisions, work)


def _next_method(method: Any, error: Array) -> tuple[Any, str]:
    """The method to try after a run that missed its tolerance, and why; None if nothing would help."""
    if isinstance(method, Rational):
        # An initial density far from the stationary one enlarges its error; a Poisson sum has no such factor.
        return Uniformization(), "this start enlarges its error beyond tol, so Uniformization took its place"
    if not isinstance(method, Chebyshev):
        return None, ""
    # The error of a smaller basis was only estimated: take the whole basis.
    if method.ranks:
        return Chebyshev((), method.stretch), "which missed tol, so all functions were taken"
    # Outside of its interval a Chebyshev series grows exponentially: an error that is not finite shows that the bounds
    # of the spectrum were too narrow.
    if np.all(np.isfinite(np.asarray(error))) or method.stretch > CONSTANTS.largest_stretch:
        return None, ""
    return Chebyshev(method.ranks, 2 * method.stretch), "the spectrum proved wider than its bounds, which were doubled"


def _without_contraction(problem: Problem) -> Problem:
    """The problem in all functions of its basis."""
    operator: Any = problem.operator
    if getattr(operator, "contraction", None) is None:
        return problem
    return dataclasses.replace(problem, operator=dataclasses.replace(operator, contraction=None))


def _contract_if_worthwhile(
    request: Request,
    problem: Problem,
    method: Chebyshev,
    decision: Decision,
    kind: ProblemKind,
    work: WorkEstimate | None,
) -> tuple[Problem, Chebyshev, Decision]:
    """The problem in the lowest functions of each axis, where ranks were given, or where the run is long enough to pay
    for compiling another program."""
    is_gibbs_wave = problem.picture is Picture.GIBBS_WAVE
    operator: Any = problem.operator
    can_contract = contractible(operator)
    if method.ranks and can_contract and is_gibbs_wave:
        return _in_lowest_functions(request, problem, method.ranks), method, decision

    # `ranks` is None where the choice is left open; () asks for all functions.
    is_open = is_gibbs_wave and problem.wick == 0 and can_contract and method.ranks is None
    if not is_open or work is None:
        return problem, method, decision
    if method.cost(kind, work) < CONSTANTS.worthwhile_seconds:
        return problem, method, decision
    # What a smaller basis misses of the initial state is damped until the first time that is reported.
    first = as_array(first_time(request.times), request.field.dtype)
    rows, bound = _missing(problem, request.field, as_array(request.tol * OPERATOR.clipping_tol_fraction), first)
    ranks = choose_ranks(rows, float(bound), problem.grid.shape, request.tol)
    if ranks is None:
        return problem, method, decision
    decision = decision.also(f"in the lowest {' x '.join(map(str, ranks))} functions of its axes")
    return _in_lowest_functions(request, problem, ranks), Chebyshev(ranks, method.stretch), decision


@compiled
def _missing(problem: Problem, field: Array, fraction: Any, first: Array) -> tuple[Any, Array]:
    """What smaller bases would miss of an initial state, and the largest eigenvalue of H."""
    operator: Any = problem.operator
    wave = problem.to_state(field, jnp.asarray(fraction, field.dtype))
    return missing(operator, wave, first.astype(field.dtype)), operator.bounds[1]


def _in_lowest_functions(request: Request, problem: Problem, ranks: tuple[int, ...]) -> Problem:
    """The problem in the `ranks` lowest functions of its axes."""
    operator: Any = problem.operator
    made = contract(
        operator, ranks, request.grid.nodes, lambda positions: sample_potential_terms(request.equation, positions)
    )
    return dataclasses.replace(problem, operator=dataclasses.replace(operator, contraction=made))


def _with_found_breakpoints(request: Request, method: Magnus, decision: Decision) -> tuple[Magnus, Decision]:
    """The method with breakpoints where the equation jumps in time: those given, and those that sampling finds.

    A step across a jump would lose the order of the method.
    """
    last = float(np.asarray(request.times)[-1])
    given = np.asarray(method.breakpoints)
    # Sampling finds a breakpoint only to rounding: one that was given already is not added a second time.
    separation = CONSTANTS.breakpoint_separation * last
    found = find_breakpoints(request.equation, request.grid, last)
    new = [t for t in found if not np.any(np.abs(given - t) < separation)]
    if new:
        method = method.with_breakpoints(np.sort(np.asarray([*given, *new], dtype=float)))
    if method.breakpoints.size:
        listed = ", ".join(f"{t:.6g}" for t in np.asarray(method.breakpoints))
        decision = decision.also(f"from breakpoint to breakpoint: {listed}")
    return method, decision

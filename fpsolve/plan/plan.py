"""A plan: the discretised problem, the method, and what to try if the outcome is not accepted.

One ladder serves every kind of failure. `first_plan` is its first rung; `Plan.fallback` examines the outcome of a run
and gives the next rung, or None where there is none.
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
from ..operator.clipping import TOL_FRACTION
from ..propagate import Chebyshev, Picture, ProblemKind, Rational, Uniformization, WorkEstimate
from ..propagate.contraction import choose_ranks, contract, contractible, missing, sample_wells
from ..step import Magnus, Problem
from ..step.breakpoints import find_breakpoints
from .method_choice import check_method, choose_method
from .request import RUN_ARRAYS, Request
from .resolution import is_resolved, rates
from .scheme_choice import SchemeChoice, first_time

LARGEST_STRETCH = 1000.0  # the largest factor on the bounds of a spectrum that proved too narrow (a free choice)
BREAKPOINT_DIGITS = 1e-9  # of the last time: closer breakpoints are one
# Seconds that a run in the full basis must be expected to take before a smaller basis is made for it: what the program
# of the smaller basis takes to compile.
WORTH_A_PROGRAM = 0.5


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run made: values `(T, *shape)`, errors `(T,)`, numbers for `stats`, and the code of the result."""

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
    """What will be done: `problem` by `method` from `start`, with the decisions behind it. Both are in the units of the
    grid that is solved on (`SampledEquation`).

    `compared` says that the plan is an alternative to the run before it, and that the smaller error wins.
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
        """The code of a run whose error exceeds the tolerance."""
        return "wave_out_of_range" if isinstance(self.method, Chebyshev) else "tolerance_not_reached"

    @property
    def messages(self) -> tuple[tuple[str, str], ...]:
        """The decisions as `stats` shows them."""
        return tuple((name, str(decision)) for name, decision in self.decisions.items())

    @property
    def grid(self) -> Grid:
        """Where it is solved."""
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
        """About how long the run takes on one core of a processor, or on an accelerator; None for a moving problem."""
        if self.work is None:
            return None
        return float(self.method.cost(self.request.kind(self.chosen), self.work))

    @property
    def bytes(self) -> int:
        """About how much memory the run takes: the fields that it returns, and those that it works with."""
        return (len(self.times) + RUN_ARRAYS) * self.grid.size * self.start.dtype.itemsize

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
        if not is_concrete(self.request.equation, outcome.code, outcome.error, outcome.values):
            return None
        if self.chosen.provisional and not is_resolved(self.problem.grid, outcome.values):
            return self._on_volumes()
        if isinstance(self.method, Magnus):
            return None if outcome.worst <= self.request.tol else self._in_density_picture()
        if int(outcome.code) == 0:
            return None
        method, why = _other_method(self.method, outcome.error)
        if method is None:
            return None
        problem = self.problem
        if isinstance(method, Chebyshev) and not method.ranks:
            problem = _without_contraction(problem)
        decisions = {**self.decisions, "method": self.decisions["method"].also(why)}
        return dataclasses.replace(self, method=method, problem=problem, decisions=decisions)

    def _on_volumes(self) -> "Plan":
        """Finite volumes, where a density that was tried in a basis came out unresolved."""
        plan = plan_for(self.request, self.request.choose(ScharfetterGummel()))
        scheme = Decision("ScharfetterGummel", "because Spectral did not resolve the density")
        return dataclasses.replace(plan, decisions={**plan.decisions, "scheme": scheme})

    def _in_density_picture(self) -> "Plan | None":
        """The density itself, where p / sqrt(pi) of a moving process grew too large."""
        method, request = self.method, self.request
        by_waves = self.problem.picture is Picture.GIBBS_WAVE or isinstance(method.exponential, Chebyshev)
        if not (by_waves and request.equation.evolves_density and method.extrapolate) or self.compared:
            return None
        chosen = SchemeChoice(self.scheme, self.decisions["scheme"], Picture.DENSITY, True, False)
        frozen, _ = choose_method(request.kind(chosen)._replace(time_dependent=False), None)
        path = request.sampled.path(self.scheme, flux=True)
        step = type(frozen).__name__
        why = f"the wave grew too large, so the density itself is evolved, each frozen step by {step}"
        return dataclasses.replace(
            self,
            problem=Problem(path, Picture.DENSITY, self.problem.wick),
            chosen=chosen,
            method=method.with_exponential(frozen),
            decisions={**self.decisions, "picture": Decision("density"), "method": self.decisions["method"].also(why)},
            compared=True,
        )


def first_plan(request: Request) -> Plan:
    """The plan to try first."""
    return plan_for(request, request.choose(request.scheme))


def plan_for(request: Request, chosen: SchemeChoice) -> Plan:
    """The problem in one scheme, with the method given or chosen."""
    kind, sampled = request.kind(chosen), request.sampled
    field, dtype = request.start(chosen), request.field.real.dtype
    flux = sampled.reversible and chosen.picture is Picture.DENSITY and not chosen.reversible
    work = None
    if request.equation.time_dependent:
        operator: Any = sampled.path(chosen.scheme, flux)
    else:
        operator = sampled.operator(chosen.scheme, dtype, flux=flux)
        if is_concrete(operator, field, request.times):
            highest, exits = rates(operator)
            last = float(np.asarray(request.times)[-1])
            work = WorkEstimate(last * float(highest), last * float(exits), len(request.times))
    problem = Problem(operator, chosen.picture, request.wick)
    if request.method is None:
        method, why = choose_method(kind, work)
        decision = Decision(type(method).__name__, f"because {why}")
    else:
        method = request.method
        check_method(method, kind)
        decision = Decision(type(method).__name__, "as asked")
    if isinstance(method, Chebyshev):
        problem, method, decision = _contracted(request, problem, method, decision, kind, work)
    if isinstance(method, Magnus) and is_concrete(request.equation, request.times, method):
        method, decision = _between_breakpoints(request, method, decision)
    decisions = {"scheme": chosen.decision, "method": decision, "picture": Decision(chosen.picture.word)}
    return Plan(request, problem, method, field, chosen, decisions, work)


def _other_method(method: Any, error: Array) -> tuple[Any, str]:
    """The method to try after a run that missed its tolerance, and why; None if nothing would help."""
    if isinstance(method, Rational):
        return Uniformization(), "this start enlarges its error beyond tol, so Uniformization took its place"
    if not isinstance(method, Chebyshev):
        return None, ""
    if method.ranks:
        return Chebyshev((), method.stretch), "which missed tol, so all functions were taken"
    if np.all(np.isfinite(np.asarray(error))) or method.stretch > LARGEST_STRETCH:
        return None, ""
    return Chebyshev(method.ranks, 2 * method.stretch), "the spectrum proved wider than its bounds, which were doubled"


def _without_contraction(problem: Problem) -> Problem:
    operator: Any = problem.operator
    if getattr(operator, "contraction", None) is None:
        return problem
    return dataclasses.replace(problem, operator=dataclasses.replace(operator, contraction=None))


def _contracted(
    request: Request,
    problem: Problem,
    method: Chebyshev,
    decision: Decision,
    kind: ProblemKind,
    work: WorkEstimate | None,
) -> tuple[Problem, Chebyshev, Decision]:
    """The problem in the lowest functions of its axes, where ranks were given, or where it is worth a program."""
    operator: Any = problem.operator
    allowed = problem.picture is Picture.GIBBS_WAVE and problem.wick == 0 and contractible(operator)
    if method.ranks and contractible(operator) and problem.picture is Picture.GIBBS_WAVE:
        return _in_functions(request, problem, method.ranks), method, decision
    if not allowed or method.ranks is not None or work is None:
        return problem, method, decision
    if method.cost(kind, work) < WORTH_A_PROGRAM:
        return problem, method, decision
    first = as_array(first_time(request.times), request.field.dtype)
    rows, bound = _missing(problem, request.field, as_array(request.tol * TOL_FRACTION), first)
    ranks = choose_ranks(rows, float(bound), problem.grid.shape, request.tol)
    if ranks is None:
        return problem, method, decision
    decision = decision.also(f"in the lowest {' x '.join(map(str, ranks))} functions of its axes")
    return _in_functions(request, problem, ranks), Chebyshev(ranks, method.stretch), decision


@compiled
def _missing(problem: Problem, field: Array, fraction: Any, first: Array) -> tuple[Any, Array]:
    """What smaller bases would miss of a start, and the largest eigenvalue of H."""
    operator: Any = problem.operator
    wave = problem.to_state(field, jnp.asarray(fraction, field.dtype))
    return missing(operator, wave, first.astype(field.dtype)), operator.bounds[1]


def _in_functions(request: Request, problem: Problem, ranks: tuple[int, ...]) -> Problem:
    operator: Any = problem.operator
    made = contract(operator, ranks, request.grid.nodes, lambda positions: sample_wells(request.equation, positions))
    return dataclasses.replace(problem, operator=dataclasses.replace(operator, contraction=made))


def _between_breakpoints(request: Request, method: Magnus, decision: Decision) -> tuple[Magnus, Decision]:
    """The method with the breakpoints that sampling in time finds, beside those given."""
    last = float(np.asarray(request.times)[-1])
    given = np.asarray(method.breakpoints)
    found = find_breakpoints(request.equation, request.grid, last)
    new = [t for t in found if not np.any(np.abs(given - t) < BREAKPOINT_DIGITS * last)]
    if new:
        method = method.with_breakpoints(np.sort(np.asarray([*given, *new], dtype=float)))
    if method.breakpoints.size:
        places = ", ".join(f"{t:.6g}" for t in np.asarray(method.breakpoints))
        decision = decision.also(f"from breakpoint to breakpoint: {places}")
    return method, decision

"""A plan: the discretised problem, the method, and what to try if the outcome is not
accepted.

`first_plan` is tried first. `Plan.fallback` examines the outcome of a run and gives the
plan to try next, or None. There are four fallbacks:

    the basis did not resolve the density            finite volumes
    the wave of a time-dependent problem overflowed  the density itself
    a density grew in its basis                      its wave, though that is not
                                                     resolved to the tolerance
    a method missed its tolerance                    the same with wider bounds, or
                                                     another method (`next_method`)

The second and the third are compared with the run before them, and the run with the
smaller error is kept. The other two take its place.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Array

from ..core.arrays import real_dtype, scaled
from ..core.checks import is_concrete
from ..core.decision import Decision
from ..core.machine import machine
from ..grid import Grid
from ..operator import ScharfetterGummel, Scheme
from ..propagate import (
    Chebyshev,
    Dense,
    Picture,
    Propagator,
    WorkEstimate,
)
from ..step import Magnus, Problem
from .breakpoints import with_found_breakpoints
from .constants import CONSTANTS
from .counterpart import with_counterpart
from .method_choice import check_method, choose_method
from .next_method import next_method, takes_too_long
from .outcome import Outcome
from .request import Request
from .resolution import is_resolved, rates
from .scheme_choice import SchemeChoice
from .smaller_basis import contract_if_worthwhile, without_contraction


@dataclasses.dataclass(frozen=True)
class Plan:
    """What will be done: `problem` is solved by `method` from the state `start`, for
    the reasons in `decisions`.

    `problem` and `start` are in the units of the grid that is solved on
    (`SampledEquation`). `compared` says that the plan is an alternative to the run
    before it, and that the run with the smaller error is kept.
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
        # Chebyshev works with p / sqrt(pi) in both pictures of a process.
        is_ratio = self.problem.picture is not Picture.WAVE and not self.grid.absorbs
        if isinstance(self.method, Chebyshev) and is_ratio:
            return "wave_out_of_range"
        return "tolerance_not_reached"

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
        """The state at t = 0, `(*shape)`, as an array that may be given to `fp.evolve`
        as its start.
        """
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
        """The estimated time of the run on one core of a processor, or on an
        accelerator; None for a moving problem.
        """
        if self.work is None:
            return None
        return float(self.method.cost(self.request.kind(self.chosen), self.work))

    @property
    def bytes(self) -> int:
        """The estimated memory of the run: the fields that it returns, and those that
        it works with.
        """
        fields = len(self.times) + CONSTANTS.run_fields
        return fields * self.grid.size * self.start.dtype.itemsize

    def __str__(self) -> str:
        seconds = "time not estimated"
        if self.seconds is not None:
            seconds = f"about {self.seconds:.1g} s on {machine().name}"
        memory = f"{self.bytes / 2**10:.0f} KiB"
        if self.bytes > 2**20:
            memory = f"{self.bytes / 2**20:.1f} MiB"
        rows = [
            f"Plan for {len(self.times)} times up to {float(self.times[-1]):g}, tol "
            f"{self.tol:.0e}"
        ]
        rows += [f"  grid     {line}" for line in repr(self.grid).splitlines()]
        rows += [f"  {name:8} {decision}" for name, decision in self.decisions.items()]
        rows += [f"  cost     {seconds}, {memory} beside the operator"]
        return "\n".join(rows)

    def fallback(self, outcome: Outcome) -> "Plan | None":
        """The plan to try after this one came to `outcome`; None where that is
        accepted, or nothing would help.
        """
        # Under a transformation of JAX nothing can be examined, and the outcome stands.
        if not is_concrete(
            self.request.equation, outcome.code, outcome.error, outcome.values
        ):
            return None
        # A density that was tried in a basis: the result itself shows whether the basis
        # was fine enough.
        resolved = lambda: is_resolved(self.problem.grid, outcome.values)
        if self.chosen.provisional and not resolved():
            return self._with_finite_volumes()
        # A time-dependent problem: the error, and not the code, says whether another
        # picture is worth a try.
        if isinstance(self.method, Magnus):
            if outcome.worst <= self.request.tol:
                return None
            return self._in_density_picture()
        # A static problem: another picture or another method, if the first one failed.
        if int(outcome.code) == 0:
            return None
        is_density = self.chosen.picture is Picture.DENSITY
        if isinstance(self.method, Dense) and is_density and self.chosen.wave_in_range:
            return self.in_wave_picture("but it grew in this basis")
        method, why = next_method(
            self.request, self.chosen, self.work, self.method, outcome.error
        )
        return None if method is None else self._with_method(method, why)

    @property
    def is_contracted(self) -> bool:
        """Whether the run is one in the lowest functions of its axes, which the library
        chose.
        """
        given = self.request.method
        chosen_by_user = isinstance(given, Chebyshev) and bool(given.ranks)
        if chosen_by_user or not isinstance(self.method, Chebyshev):
            return False
        return bool(self.method.ranks)

    def in_full_basis(self) -> "Plan | None":
        """The same in all functions of the basis, for a contraction that a second look
        does not confirm; None where that would take far too long.
        """
        assert isinstance(self.method, Chebyshev), "only Chebyshev contracts"
        whole = Chebyshev((), self.method.stretch)
        if takes_too_long(self.request, self.chosen, self.work, whole):
            return None
        why = "which a run in more functions did not confirm, so all were taken"
        return self._with_method(whole, why)

    def _with_method(self, method: Propagator | Magnus, why: str) -> "Plan":
        """The same with another method, and the reason for it."""
        problem = self.problem
        # The smaller basis is part of the operator, and is removed from it with the
        # ranks.
        if isinstance(method, Chebyshev) and not method.ranks:
            problem = without_contraction(problem)
        decisions = {**self.decisions, "method": self.decisions["method"].also(why)}
        return dataclasses.replace(
            self, method=method, problem=problem, decisions=decisions
        )

    def _with_finite_volumes(self) -> "Plan":
        """The plan with finite volumes, for a density that a basis did not resolve."""
        plan = plan_for(self.request, self.request.choose(ScharfetterGummel()))
        because = "because Spectral did not resolve the density"
        scheme = Decision("ScharfetterGummel", because)
        return dataclasses.replace(plan, decisions={**plan.decisions, "scheme": scheme})

    def _in_density_picture(self) -> "Plan | None":
        """The plan that evolves the density itself, where p / sqrt(pi) of a moving
        problem grew too large; None where no wave was evolved, or this was tried
        already.
        """
        method = self.method
        request = self.request
        # On cells the picture is the density, but Chebyshev's exponential works with
        # the wave inside each step.
        in_chebyshev = isinstance(method.exponential, Chebyshev)
        uses_wave = self.problem.picture is Picture.GIBBS_WAVE or in_chebyshev
        # Without extrapolation the exponential given is part of the request, since its
        # invariants are kept.
        may_change = (
            uses_wave and request.equation.evolves_density and method.extrapolate
        )
        if self.compared or not may_change:
            return None
        chosen = SchemeChoice(
            scheme=self.scheme,
            decision=self.decisions["scheme"],
            picture=Picture.DENSITY,
            reversible=True,
            wave_representable=False,
        )
        # Each step is a static problem, for which the exponential is chosen anew.
        frozen = request.kind(chosen)._replace(time_dependent=False)
        exponential, _ = choose_method(frozen, None)
        path = request.sampled.path(self.scheme, flux=True)
        step = type(exponential).__name__
        why = (
            "the wave grew too large, so the density itself is evolved, each frozen "
            f"step by {step}"
        )
        return dataclasses.replace(
            self,
            problem=Problem(path, Picture.DENSITY, self.problem.wick),
            chosen=chosen,
            method=method.with_exponential(exponential),
            decisions={
                **self.decisions,
                "picture": Decision("density"),
                "method": self.decisions["method"].also(why),
            },
            compared=True,
        )

    def in_wave_picture(self, reason: str) -> "Plan":
        """The plan that evolves the wave where the density was chosen: H is symmetric
        there, and a wave decays on every grid. What the wave is not resolved to is an
        error of the grid. The decision gives the `reason`.
        """
        return plan_in_wave_picture(self.request, self.chosen, reason)


def first_plan(request: Request) -> Plan:
    """The plan to try first."""
    return plan_for(request, request.choose(request.scheme))


def plan_in_wave_picture(request: Request, chosen: SchemeChoice, reason: str) -> Plan:
    """As `Plan.in_wave_picture`, where only the scheme has been chosen."""
    why = f"{reason}, so its wave is evolved, which is not resolved to tol"
    decision = chosen.decision.also(why)
    chosen = chosen._replace(
        decision=decision,
        picture=Picture.GIBBS_WAVE,
        reversible=True,
        wave_representable=True,
    )
    return dataclasses.replace(plan_for(request, chosen), compared=True)


def plan_for(request: Request, chosen: SchemeChoice) -> Plan:
    """The plan for one scheme, with the method that was given or the one that suits."""
    kind = request.kind(chosen)
    sampled = request.sampled
    field = request.start(chosen)
    dtype = real_dtype(request.field)

    # The operator; the flux form where a reversible process is evolved as a density
    # that is not symmetrised.
    flux = (
        sampled.reversible
        and chosen.picture is Picture.DENSITY
        and not chosen.reversible
    )
    work = None
    if request.equation.time_dependent:
        operator: Any = sampled.path(chosen.scheme, flux)
    else:
        operator = sampled.operator(chosen.scheme, dtype, flux=flux)
        # Costs can be estimated only from numbers; a traced problem gets the method
        # that suits its shapes.
        if is_concrete(operator, field, request.times):
            largest_eigenvalue, largest_rate = rates(operator)
            last = float(np.asarray(request.times)[-1])
            spectrum = last * float(largest_eigenvalue)
            exits = last * float(largest_rate)
            work = WorkEstimate(spectrum, exits, len(request.times))
    problem = Problem(operator, chosen.picture, request.wick)

    # The method, with what it can still be given: a smaller basis, or breakpoints in
    # time.
    if request.method is None:
        method, why = choose_method(kind, work)
        decision = Decision(type(method).__name__, f"because {why}")
    else:
        method = request.method
        check_method(method, kind)
        decision = Decision(type(method).__name__, "as requested")
    if isinstance(method, Chebyshev):
        problem, method, decision = contract_if_worthwhile(
            request, problem, method, decision, kind, work
        )
    if isinstance(method, Dense):
        problem = with_counterpart(request, problem, chosen, work)
    if isinstance(method, Magnus):
        method = method.also_breakpoints(request.breakpoints)
        # A traced equation cannot be sampled in time.
        if is_concrete(request.equation, request.times, method):
            method, decision = with_found_breakpoints(request, method, decision)
    decisions = {
        "scheme": chosen.decision,
        "method": decision,
        "picture": Decision(chosen.picture.word),
    }
    if (negative := request.negative_part) > 0:
        because = (
            f"its entries below zero, down to {negative:.0e} of the peak, are rounding "
            "or error and were set to zero"
        )
        decisions["initial"] = Decision("array", because, (("negative", negative),))
    return Plan(request, problem, method, field, chosen, decisions, work)

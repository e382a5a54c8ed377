"""A plan: the discretised problem, the method, and what to try if the outcome is not
accepted.

`first_plan` is tried first. `Plan.fallback` examines the outcome of a run and gives the
plan to try next, or None. There are four fallbacks:

    the basis did not resolve the density            finite volumes
    the wave of a time-dependent problem overflowed  the density itself
    a density grew in its basis                      its wave, though that is not resolved to the tolerance
    a method missed its tolerance                    the same method with wider bounds, or another method
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import real_dtype, scaled
from ..core.checks import is_concrete
from ..core.decision import Decision
from ..core.machine import machine
from ..core.text import listed
from ..grid import Grid
from ..operator import ScharfetterGummel, Scheme, TensorOperator
from ..propagate import (
    Chebyshev,
    Dense,
    Picture,
    Propagator,
    Rational,
    Splitting,
    Uniformization,
    WorkEstimate,
)
from ..propagate.implicit import Implicit
from ..step import Magnus, Problem
from ..step.breakpoints import examine_in_time
from .constants import CONSTANTS
from .method_choice import check_method, choose_method
from .request import Request
from .resolution import is_resolved, rates
from .scheme_choice import SchemeChoice
from .smaller_basis import contract_if_worthwhile, without_contraction


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run returned: values `(T, *shape)`, errors `(T,)`, numbers for `stats`,
    and the result code.
    """

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
        is_ratio = self.problem.picture is not Picture.WAVE and not self.grid.absorbs
        return (
            "wave_out_of_range"
            if isinstance(self.method, Chebyshev) and is_ratio
            else "tolerance_not_reached"
        )

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
        return (
            (len(self.times) + CONSTANTS.run_fields)
            * self.grid.size
            * self.start.dtype.itemsize
        )

    def __str__(self) -> str:
        seconds = (
            "time not estimated"
            if self.seconds is None
            else f"about {self.seconds:.1g} s on {machine().name}"
        )
        memory = (
            f"{self.bytes / 2**20:.1f} MiB"
            if self.bytes > 2**20
            else f"{self.bytes / 2**10:.0f} KiB"
        )
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
        if self.chosen.provisional and not is_resolved(
            self.problem.grid, outcome.values
        ):
            return self._with_finite_volumes()
        # A time-dependent problem: the error, and not the code, says whether another
        # picture is worth a try.
        if isinstance(self.method, Magnus):
            return (
                None
                if outcome.worst <= self.request.tol
                else self._in_density_picture()
            )
        # A static problem: another picture or another method, if the first one failed.
        if int(outcome.code) == 0:
            return None
        if (
            isinstance(self.method, Dense)
            and self.chosen.wave_in_range
            and self.chosen.picture is Picture.DENSITY
        ):
            return self.in_wave_picture("but it grew in this basis")
        method, why = _next_method(self, outcome.error)
        return None if method is None else self._with_method(method, why)

    @property
    def is_contracted(self) -> bool:
        """Whether the run is one in the lowest functions of its axes, which the library
        chose.
        """
        chosen_by_user = isinstance(self.request.method, Chebyshev) and bool(
            self.request.method.ranks
        )
        return (
            isinstance(self.method, Chebyshev)
            and bool(self.method.ranks)
            and not chosen_by_user
        )

    def in_full_basis(self) -> "Plan | None":
        """The same in all functions of the basis, for a contraction that a second look
        does not confirm; None where that would take far too long.
        """
        assert isinstance(self.method, Chebyshev), "only Chebyshev contracts"
        if _takes_too_long(self, Chebyshev((), self.method.stretch)):
            return None
        why = "which a run in more functions did not confirm, so all were taken"
        return self._with_method(Chebyshev((), self.method.stretch), why)

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
        """The plan with finite volumes, for a density that was tried in a basis and was
        not resolved.
        """
        plan = plan_for(self.request, self.request.choose(ScharfetterGummel()))
        scheme = Decision(
            "ScharfetterGummel", "because Spectral did not resolve the density"
        )
        return dataclasses.replace(plan, decisions={**plan.decisions, "scheme": scheme})

    def _in_density_picture(self) -> "Plan | None":
        """The plan that evolves the density itself, where p / sqrt(pi) of a moving
        problem grew too large; None where no wave was evolved, or this was tried
        already.
        """
        method, request = self.method, self.request
        # On cells the picture is the density, but Chebyshev's exponential works with
        # the wave inside each step.
        uses_wave = self.problem.picture is Picture.GIBBS_WAVE or isinstance(
            method.exponential, Chebyshev
        )
        # Without extrapolation the exponential given is part of the request, since its
        # invariants are kept.
        if (
            not (uses_wave and request.equation.evolves_density and method.extrapolate)
            or self.compared
        ):
            return None
        chosen = SchemeChoice(
            scheme=self.scheme,
            decision=self.decisions["scheme"],
            picture=Picture.DENSITY,
            reversible=True,
            wave_representable=False,
        )
        exponential, _ = choose_method(
            request.kind(chosen)._replace(time_dependent=False), None
        )
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
    kind, sampled = request.kind(chosen), request.sampled
    field, dtype = request.start(chosen), real_dtype(request.field)

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
            work = WorkEstimate(
                last * float(largest_eigenvalue),
                last * float(largest_rate),
                len(request.times),
            )
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
        problem = _with_counterpart(request, problem, chosen, work)
    if isinstance(method, Magnus):
        method = method.also_breakpoints(request.breakpoints)
    if isinstance(method, Magnus) and is_concrete(
        request.equation, request.times, method
    ):
        method, decision = _with_found_breakpoints(request, method, decision)
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


def _with_counterpart(
    request: Request, problem: Problem, chosen: SchemeChoice, work: WorkEstimate | None
) -> Problem:
    """The problem with its process in the other form as well, where that keeps digits
    over a long time: beside the exact potential term factors, whose small levels do,
    and beside a density the wave that may take its place.
    """
    operator: Any = problem.operator
    # The drift does not vanish at absorbing ends, where the functions of the basis do:
    # there is no factor.
    if (
        not isinstance(operator, TensorOperator)
        or request.grid.absorbs
        or not request.sampled.reversible
    ):
        return problem
    dtype, is_wave = real_dtype(request.field), problem.picture is Picture.GIBBS_WAVE
    # Where all terms are factors, both forms are one; a process that is not a wave
    # needs its wave.
    if is_wave and operator.is_factored:
        return problem
    # Rounding of H is that of one run of length 1 / |H|, times the length.
    epsilon = float(jnp.finfo(dtype).eps)
    if (
        is_wave
        and work is not None
        and epsilon * work.spectrum < CONSTANTS.level_rounding * request.tol
    ):
        return problem
    counterpart = request.sampled.operator(chosen.scheme, dtype, flux=is_wave)
    return dataclasses.replace(
        problem, operator=dataclasses.replace(operator, counterpart=counterpart)
    )


def _next_method(plan: Plan, error: Array) -> tuple[Propagator | None, str]:
    """The method to try after a run that missed its tolerance, and why; None if nothing
    would help.
    """
    method = plan.method
    if isinstance(method, Rational):
        # An initial density far from the stationary one enlarges its error; a Poisson
        # sum has no such factor.
        return (
            Uniformization(),
            "this start enlarges its error beyond tol, so Uniformization took its "
            "place",
        )
    if isinstance(method, Splitting):
        if plan.request.method is not None:
            return None, ""
        # The grid was fitted for exponentials along its axes: a Poisson sum may take
        # far too long on it.
        if _takes_too_long(plan, Uniformization()):
            return None, ""
        return (
            Uniformization(),
            "whose steps were too few, so Uniformization took its place",
        )
    if not isinstance(method, Chebyshev):
        return None, ""
    # The error of a smaller basis was only estimated: take the whole basis.
    if method.ranks:
        whole = Chebyshev((), method.stretch)
        return (
            (None, "")
            if _takes_too_long(plan, whole)
            else (whole, "which missed tol, so all functions were taken")
        )
    # Outside of its interval a Chebyshev series grows exponentially: an error that is
    # not finite shows that the bounds of the spectrum were too narrow.
    if np.all(np.isfinite(np.asarray(error))):
        return None, ""
    # The wave p / sqrt(pi) itself may be beyond the range of numbers: on cells the
    # density can be evolved instead.
    as_density = (
        not plan.scheme.spectral
        and plan.request.equation.evolves_density
        and plan.request.method is None
    )
    if method.stretch > (
        CONSTANTS.largest_stretch_on_cells if as_density else CONSTANTS.largest_stretch
    ):
        if not as_density:
            return None, ""
        return (
            Implicit(order=3),
            "the wave of this start is beyond the range of numbers, so Implicit took "
            "its place",
        )
    return Chebyshev(
        method.ranks, 2 * method.stretch
    ), "the spectrum proved wider than its bounds, which were doubled"


def _takes_too_long(plan: Plan, method: Propagator) -> bool:
    """Whether a method in the place of another one is estimated to take far too long on
    a fitted grid.
    """
    if not plan.request.fitted or plan.work is None:
        return False
    return (
        method.cost(plan.request.kind(plan.chosen), plan.work)
        > CONSTANTS.longest_fallback_seconds
    )


def _with_found_breakpoints(
    request: Request, method: Magnus, decision: Decision
) -> tuple[Magnus, Decision]:
    """The method with the times at which its steps must end: those given, and those
    that sampling in time finds.

    A step across a jump would lose the order of the method, and a long one may pass
    over a narrow feature.
    """
    times = np.asarray(request.times)
    given = np.asarray(method.breakpoints)
    found = examine_in_time(request.equation, request.grid, times, request.tol, given)
    # Where the number of steps is given, it is that of the steps between jumps.
    stops = found.stops if method.steps is None else found.stops[:0]
    # Sampling finds a breakpoint only to rounding: one that was given already is not
    # added a second time.
    separation = CONSTANTS.breakpoint_separation * float(times[-1])
    new = [t for t in found.breakpoints if not np.any(np.abs(given - t) < separation)]
    breakpoints = np.sort(np.asarray([*given, *new], dtype=float))
    if breakpoints.size:
        decision = decision.also(
            f"from breakpoint to breakpoint: {listed(breakpoints)}"
        )
    if stops.size:
        decision = decision.also(f"in shorter parts, which end at t = {listed(stops)}")
    if found.resolution > 0:
        decision = decision.also(
            f"what lasts less than {found.resolution:.1e} may be missed without "
            "breakpoints="
        )
    if not found.complete:
        decision = decision.also(
            "the functions have more features in time than could be separated"
        )
    if new or stops.size:
        method = method.with_breakpoints(np.sort(np.concatenate([breakpoints, stops])))
    return method, decision

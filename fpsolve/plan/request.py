"""What was requested of `evolve`, validated, with everything sampled that does not depend on a choice."""

import dataclasses
from typing import Any

from jaxtyping import Array

from ..core.arrays import scaled
from ..core.decision import Decision
from ..core.memory import check_memory
from ..equation import Equation
from ..grid import Grid
from ..operator import Spectral
from ..operator.cells import may_be_in_cells
from ..propagate import Picture, ProblemKind
from .method_choice import check_method, needs_rates
from .scheme_choice import SampledEquation, SchemeChoice, choose_scheme, may_be_spectral
from .validation import (
    check_and_sample,
    check_kinds,
    check_times,
    check_tolerance,
    check_wick,
    initial_field,
    of_mass_one,
    sample_observables,
)

RUN_ARRAYS = 12  # fields that a run holds beside those that it returns, at most


@dataclasses.dataclass(frozen=True)
class Request:
    """A validated request: the physics, the state at t = 0 on the grid, the times, and what the user decided.

    `given` is the state in the user's units, `field` in those of the grid that is solved on: mass, or the square of a
    wave, for each cell. `decided_grid` and `space_error` belong to a grid that was fitted.
    """

    sampled: SampledEquation
    given: Array
    field: Array
    smooth: bool
    times: Array
    tol: float
    scheme: Any
    method: Any
    wick: float
    observables: dict[str, Array]
    decided_grid: str | None = None
    space_error: float | None = None

    @property
    def equation(self) -> Equation:
        """The equation, its functions as they were when it was requested."""
        return self.sampled.equation

    @property
    def grid(self) -> Grid:
        """Where it is solved."""
        return self.sampled.grid

    def choose(self, scheme: Any) -> SchemeChoice:
        """The scheme: the one given, or the one that suits."""
        chosen = choose_scheme(
            self.equation, self.grid, scheme, self.field, self.times, self.tol, self.method, self.sampled
        )
        if self.decided_grid is not None:
            chosen = chosen._replace(decision=Decision(chosen.decision.choice, self.decided_grid))
        return chosen

    def kind(self, chosen: SchemeChoice) -> ProblemKind:
        """The facts that methods ask for."""
        return _kind(
            self.equation,
            self.grid,
            chosen.scheme.spectral,
            chosen.reversible or chosen.picture is Picture.WAVE,
            chosen.wave_representable,
            self.wick,
            self.field.real.dtype,
        )

    def start(self, chosen: SchemeChoice) -> Array:
        """The state at t = 0; a density of smooth functions is normalised by the basis that will carry it."""
        if chosen.scheme.spectral and self.smooth and self.equation.evolves_density:
            return of_mass_one(self.sampled.solved, self.field)
        return self.field


def validate(
    equation: Any,
    initial: Any,
    times: Any,
    grid: Any,
    scheme: Any,
    method: Any,
    tol: Any,
    wick: Any,
    observables: Any,
    fitted: tuple[str, float] | None = None,
) -> Request:
    """Refuse what cannot be right, read and sample the functions. `fitted` is what a fit found out about `grid`: a
    sentence, and the estimated error in space."""
    check_kinds(equation, scheme)
    equation, grid, samples = check_and_sample(equation, grid, _likely(equation, grid, scheme, method))
    times = check_times(times)
    check_memory("grid", grid.shape, len(times) + RUN_ARRAYS, "Take fewer nodes on some axis, or fewer times.")
    check_wick(equation, wick)
    sampled_observables = sample_observables(observables, grid)
    process = equation.evolves_density
    reversible = process and equation.irreversible_because(grid) is None
    if method is not None:
        spectral = None if scheme is None else scheme.spectral
        check_method(method, _kind(equation, grid, spectral, reversible or not process, True, wick, float))
    field = initial_field(equation, grid, initial)
    tol = check_tolerance(tol, field.real.dtype)
    known = {(Spectral, 0.0, reversible): samples} if samples is not None else None
    sampled = SampledEquation(equation, grid, reversible, known, may_be_in_cells(scheme))
    return Request(
        sampled=sampled,
        given=field,
        field=scaled(field, sampled.scale),
        smooth=callable(initial),
        times=times,
        tol=tol,
        scheme=scheme,
        method=method,
        wick=float(wick),
        observables=sampled_observables,
        decided_grid=None if fitted is None else f"on a grid fitted to {tol:.0e}: {fitted[0]}",
        space_error=None if fitted is None else fitted[1],
    )


def _kind(
    equation: Equation, grid: Grid, spectral: bool | None, reversible: bool, representable: bool, wick: Any, dtype: Any
) -> ProblemKind:
    return ProblemKind(
        grid=grid,
        spectral=spectral,
        fokker_planck=equation.evolves_density,
        reversible=reversible,
        wave_representable=representable,
        gradient_drift=not equation.evolves_density or equation.irreversible_anywhere is None,
        time_dependent=equation.time_dependent,
        wick=wick,
        dtype=dtype,
    )


def _likely(equation: Any, grid: Any, scheme: Any, method: Any) -> Any:
    """The scheme that will most likely be chosen, if it is `Spectral`: it is sampled by the program that validates."""
    if not isinstance(grid, Grid) or needs_rates(method):
        return None
    # With several diffusions it must first be looked at whether there is a Gibbs density.
    if equation.reversible_on_some_grids or not may_be_spectral(scheme, grid):
        return None
    return Spectral()

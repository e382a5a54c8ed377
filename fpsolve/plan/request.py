"""The validated request of `fp.evolve`, with all samples that do not depend on a choice
of scheme or method.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Array

from ..core.arrays import host_module, real_dtype, scaled
from ..core.checks import is_concrete
from ..core.decision import Decision
from ..core.memory import check_memory
from ..core.types import AnyArray, DType, Initial, Numbers, Real
from ..equation import Equation
from ..grid import Gaussian, Grid, cell_averages
from ..operator import Scheme, Spectral
from ..operator.cells import may_be_in_cells
from ..propagate import Picture, ProblemKind, Propagator
from ..step import Magnus
from .constants import CONSTANTS
from .equation_check import check_and_sample
from .initial_state import initial_field, of_mass_one, sample_observables
from .method_choice import check_method, needs_rates
from .sampled_equation import SampledEquation
from .scheme_choice import SchemeChoice, choose_scheme, may_be_spectral
from .validation import (
    check_breakpoints,
    check_kinds,
    check_times,
    check_tolerance,
    check_wick,
)


@dataclasses.dataclass(frozen=True)
class Request:
    """A validated request: the equation, the state at t = 0 on the grid, the times, and
    what the user decided.

    - `sampled`: the equation on its grid
    - `given`: the state at t = 0, in the user's units
    - `field`: the same in the units of the grid that is solved on: mass, or the square
      of a wave, for each cell
    - `initial`: the state at t = 0 as it was given: a function, an `fp.Gaussian` or an
      array
    - `scheme`, `method`: those given, or None where they are to be chosen
    - `observables`: their samples on the grid, by name
    - `breakpoints`: times of jumps and kinks that the user gave, `(B,)`
    - `decided_grid`, `space_error`: the description and the estimated error of a grid
      that was fitted, else None
    """

    sampled: SampledEquation
    given: Array
    field: Array
    initial: Initial
    times: Array
    tol: float
    scheme: Scheme | None
    method: Propagator | Magnus | None
    wick: float
    observables: dict[str, Array]
    breakpoints: Array
    decided_grid: str | None = None
    space_error: float | None = None

    @property
    def smooth(self) -> bool:
        """Whether the state at t = 0 was given as a function, and not as an array."""
        return callable(self.initial)

    @property
    def negative_part(self) -> float:
        """How far the array of a density was below zero, relative to its peak; 0 where
        it was not or is traced.
        """
        if (
            self.smooth
            or not self.equation.evolves_density
            or not is_concrete(self.initial)
        ):
            return 0.0
        array = np.asarray(self.initial)
        return max(0.0, -float(np.min(array)) / float(np.max(array)))

    @property
    def negative_mass(self) -> float:
        """The mass of an array below zero, which was set to zero, relative to the rest:
        an error of the start.
        """
        if self.negative_part > 0:
            return self.grid.negative_mass(np.asarray(self.initial, float))
        return 0.0

    @property
    def wrong_variance(self) -> AnyArray:
        """By how much the variance of a Gaussian start along each axis differs on the
        grid from the true one, in units of the square of a cell, `(d,)`; zero for other
        starts. A start much narrower than a cell has another one there.
        """
        if not isinstance(self.initial, Gaussian) or not self.equation.evolves_density:
            return np.zeros(self.grid.ndim)
        xp = host_module(self.given, self.initial)
        masses = xp.asarray(self.given) * self.grid.weights_on_host
        true = self.initial.variances(self.grid.ndim, xp)
        wrong = []
        for i, axis in enumerate(self.grid.axes):
            others = tuple(j for j in range(self.grid.ndim) if j != i)
            marginal = xp.sum(masses, others)
            if axis.boundary == "periodic":
                # On a ring by the longest wave, |<exp(i k x)>| = exp(-k^2 v / 2).
                k = 2 * np.pi / axis.length
                wave = np.exp(1j * k * axis.nodes)
                amplitude = xp.abs(xp.sum(marginal * wave))
                exact = xp.exp(-(k**2) * true[i] / 2)
                change = (exact - amplitude) * 2 / k**2
            else:
                mean = xp.sum(marginal * axis.nodes)
                change = xp.sum(marginal * (axis.nodes - mean) ** 2) - true[i]
            wrong.append(xp.abs(change) / (axis.length / axis.n) ** 2)
        return xp.stack(wrong)

    @property
    def fitted(self) -> bool:
        """Whether the grid was fitted."""
        return self.decided_grid is not None

    @property
    def equation(self) -> Equation:
        """The equation, its functions as they were when it was requested."""
        return self.sampled.equation

    @property
    def grid(self) -> Grid:
        """The grid, in the user's units."""
        return self.sampled.grid

    def choose(self, scheme: Scheme | None) -> SchemeChoice:
        """The scheme that was given, checked, or the one that suits."""
        chosen = choose_scheme(
            self.equation,
            self.grid,
            scheme,
            self.field,
            self.times,
            self.tol,
            self.method,
            self.sampled,
        )
        # On a fitted grid the scheme follows from the fit, so that is the reason to
        # show.
        if self.decided_grid is not None:
            decision = Decision(chosen.decision.choice, self.decided_grid)
            chosen = chosen._replace(decision=decision)
        return chosen

    def kind(self, chosen: SchemeChoice) -> ProblemKind:
        """The facts on which methods decide whether they support the problem, and at
        what cost.
        """
        return _kind(
            self.equation,
            self.grid,
            chosen.scheme.spectral,
            # The H of a Schrodinger equation is symmetric, as that of a reversible
            # process is.
            chosen.reversible or chosen.picture is Picture.WAVE,
            chosen.wave_representable,
            self.wick,
            real_dtype(self.field),
        )

    def start(self, chosen: SchemeChoice) -> Array:
        """The state at t = 0. In a basis a density that was given as a function is
        normalised by the basis; finite volumes start from the averages of a normal
        density over the cells.
        """
        if not (self.smooth and self.equation.evolves_density):
            return self.field
        if chosen.scheme.spectral:
            return of_mass_one(self.sampled.solved, self.field)
        if isinstance(self.initial, Gaussian) and self.grid.uniform:
            averages = cell_averages(self.grid.axes, self.initial)
            averages = averages.astype(self.field.dtype)
            return scaled(averages, self.sampled.scale)
        return self.field


def validate(
    equation: Any,
    initial: Initial,
    times: Numbers,
    grid: Any,
    scheme: Any,
    method: Any,
    tol: Real | None,
    wick: Real,
    observables: Any,
    breakpoints: Numbers = (),
    fitted: tuple[str, float] | None = None,
) -> Request:
    """The request, or a `ValueError` that names the argument. Functions are read and
    sampled on the way.

    `fitted` belongs to a grid that was fitted: its description, and the estimated error
    in space.
    """
    # Arguments, in the order in which they depend on each other.
    check_kinds(equation, scheme)
    likely = _likely_scheme(equation, grid, scheme, method)
    equation, grid, samples = check_and_sample(equation, grid, likely)
    times = check_times(times)
    breakpoints = check_breakpoints(breakpoints, times)
    check_memory(
        "grid",
        grid.shape,
        len(times) + CONSTANTS.run_fields,
        "Take fewer nodes on some axis, or fewer times.",
    )
    check_wick(equation, wick)
    sampled_observables = sample_observables(observables, grid)
    evolves_density = equation.evolves_density
    reversible = evolves_density and equation.irreversible_because(grid) is None
    if method is not None:
        # A first check before anything is computed; `plan_for` repeats it when all
        # facts are known.
        spectral = None if scheme is None else scheme.spectral
        symmetric = reversible or not evolves_density
        kind = _kind(equation, grid, spectral, symmetric, True, wick, float)
        check_method(method, kind)
    field = initial_field(equation, grid, initial, tol)
    tol = check_tolerance(tol, real_dtype(field))
    # What was sampled on the way is passed on, by the key under which `SampledEquation`
    # looks for it.
    known = {(Spectral, 0.0, reversible): samples} if samples is not None else None
    sampled = SampledEquation(
        equation, grid, reversible, known, may_be_in_cells(scheme)
    )
    decided_grid = space_error = None
    if fitted is not None:
        decided_grid = f"on a grid fitted to {tol:.0e}: {fitted[0]}"
        space_error = fitted[1]
    return Request(
        sampled=sampled,
        given=field,
        field=scaled(field, sampled.scale),
        initial=initial,
        times=times,
        tol=tol,
        scheme=scheme,
        method=method,
        wick=float(wick),
        observables=sampled_observables,
        breakpoints=breakpoints,
        decided_grid=decided_grid,
        space_error=space_error,
    )


def _kind(
    equation: Equation,
    grid: Grid,
    spectral: bool | None,
    reversible: bool,
    representable: bool,
    wick: Real,
    dtype: DType,
) -> ProblemKind:
    """The facts about a problem; `spectral` is None where no scheme is chosen yet."""
    gradient_drift = (
        not equation.evolves_density or equation.irreversible_anywhere is None
    )
    return ProblemKind(
        grid=grid,
        spectral=spectral,
        fokker_planck=equation.evolves_density,
        reversible=reversible,
        wave_representable=representable,
        gradient_drift=gradient_drift,
        time_dependent=equation.time_dependent,
        wick=wick,
        dtype=dtype,
    )


def _likely_scheme(
    equation: Any, grid: Any, scheme: Any, method: Any
) -> Spectral | None:
    """`Spectral` where it will most likely be chosen, else None: the program that
    validates also samples for it.
    """
    # An argument that is no grid is reported by the validation that follows.
    if not isinstance(grid, Grid) or needs_rates(method):
        return None
    # With several diffusions the existence of a Gibbs density must be tested first.
    if equation.reversible_on_some_grids or not may_be_spectral(scheme, grid):
        return None
    return Spectral()

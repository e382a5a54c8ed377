"""Which scheme suits, and in which picture: measured on the grid at hand before anything is evolved."""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.decision import Decision
from ..core.program import quick_program
from ..equation import Equation, FokkerPlanck
from ..grid import Grid
from ..operator import (
    EvaluatedPath,
    Operator,
    Samples,
    ScharfetterGummel,
    Scheme,
    Spectral,
    log_sqrt_pi_of,
    sample_equation,
)
from ..operator.cells import in_units
from ..operator.clipping import TOL_FRACTION
from ..propagate import Picture
from .method_choice import needs_rates
from .resolution import (
    MOST_CROSSED,
    UNRESOLVED,
    gibbs_leak,
    is_wave_representable,
    largest_peclet,
    measure,
    short_share,
    wave_resolved,
    wave_size,
)
from .validation import check_kinds

LARGEST_SPECTRAL = 512  # nodes of an axis, beyond which its matrices cost more than finer finite volumes (free choice)
MATRIX_LINE = 640  # nodes of a line on which a density is tried in a basis whatever its drift (`method_choice`)


class SampledEquation:
    """An equation on a grid, sampled once for each scheme that is tried.

    Its functions are read on `grid`; operators are those of `solved`, the same grid or, with `in_cells`, the one in
    units of its cells, whose programs serve all boxes.
    """

    def __init__(
        self,
        equation: Equation,
        grid: Grid,
        reversible: bool,
        known: dict[Any, Samples] | None = None,
        in_cells: bool = False,
    ):
        self.equation, self.grid, self.reversible, self.in_cells = equation, grid, reversible, in_cells
        self.solved = grid.in_cells if in_cells else grid
        self.units = grid.units if in_cells else (1.0,) * grid.ndim
        self._known = dict(known or {})

    @property
    def cell(self) -> float:
        """The volume, in the user's units, that is 1 on the grid that is solved on."""
        return math.prod(self.units)

    @property
    def scale(self) -> float:
        """What a field in the user's units is multiplied by: a density becomes the mass of each cell, and so does the
        square of a wave."""
        return self.cell if self.equation.evolves_density else math.sqrt(self.cell)

    def samples(self, scheme: Scheme, t: Any = 0.0, flux: bool = False) -> Samples:
        """What a scheme reads at time t; `flux` takes the form without sqrt(pi)."""
        reversible = self.reversible and not flux
        if not is_concrete(self.equation, t):
            return scheme.sample(self.equation, self.grid, t, reversible)
        key = (type(scheme), float(t), reversible)
        if key not in self._known:
            made = sample_equation(scheme, self.equation, self.grid, as_array(t), reversible)
            self._known[key] = made
        return self._known[key]

    def operator(self, scheme: Scheme, dtype: Any, t: Any = 0.0, flux: bool = False) -> Operator:
        """The operator of a scheme at time t."""
        return _assemble(scheme, self.samples(scheme, t, flux), as_array(self.units), self.solved, dtype)

    def path(self, scheme: Scheme, flux: bool = False) -> EvaluatedPath:
        """The operators of a scheme at all times."""
        return EvaluatedPath(
            equation=self.equation,
            scheme=scheme,
            places=self.grid,
            reversible=self.reversible and not flux,
            in_cells=self.in_cells,
        )


@quick_program
def _assemble(scheme: Scheme, samples: Samples, units: Array, grid: Grid, dtype: Any) -> Operator:
    return scheme.assemble(in_units(scheme, samples, tuple(units)), grid, dtype)


@quick_program
def _normalised(log_gibbs: Array, grid: Grid, dtype: Any) -> Array:
    return log_sqrt_pi_of(log_gibbs, grid).astype(dtype)


class SchemeChoice(NamedTuple):
    """A scheme with the reason for it, the picture to run in, and what the methods must know.

    `provisional` says that the density is tried in a basis and must be looked at afterwards.
    """

    scheme: Scheme
    decision: Decision
    picture: Picture
    reversible: bool
    wave_representable: bool
    provisional: bool = False

    @property
    def why(self) -> str:
        """The decision as a sentence."""
        return str(self.decision)


def choose_scheme(
    equation: Equation,
    grid: Grid,
    scheme: Any,
    field: Array,
    times: Array,
    tol: float,
    method: Any = None,
    sampled: SampledEquation | None = None,
) -> SchemeChoice:
    """The scheme asked for, checked, or the one that suits the method; with the picture it runs in."""
    process = equation.evolves_density
    if sampled is None:
        sampled = SampledEquation(equation, grid, process and equation.irreversible_because(grid) is None)
    reversible = process and sampled.reversible
    if scheme is not None:
        check_scheme(scheme, equation, grid)
    given = scheme
    representable, defect = False, 0.0
    if reversible and may_be_spectral(scheme, grid):
        representable, defect = _measured(sampled, field, times, tol)
    provisional, because = False, "as asked"
    if scheme is None and needs_rates(method):
        scheme, because = ScharfetterGummel(), "because the method needs rates between cells"
    elif scheme is None:
        scheme, because, provisional = _suitable(sampled, reversible, representable, defect, field, times)
    if reversible and not scheme.spectral:
        representable = _representable_on_cells(sampled, scheme, field, tol)
    decision = Decision(type(scheme).__name__, because, (("defect", defect),) if given is None else ())
    if not process:
        return SchemeChoice(scheme, decision, Picture.WAVE, False, True)
    if scheme.spectral:
        if reversible and not representable:
            decision = decision.also("the initial density is too wide for its wave, so the density itself is evolved")
        picture = Picture.GIBBS_WAVE if representable else Picture.DENSITY
        return SchemeChoice(scheme, decision, picture, representable, representable, provisional)
    return SchemeChoice(scheme, decision, Picture.DENSITY, reversible, representable)


def check_scheme(scheme: Any, equation: Equation, grid: Grid) -> None:
    """Refuse what is no scheme, or one that cannot take this equation on this grid."""
    check_kinds(equation, scheme)
    scheme.check(equation, grid)


def has_basis(grid: Grid) -> bool:
    """Whether every axis has a basis of moderate size."""
    return not any(axis.modes is None for axis in grid.axes) and max(grid.shape) <= LARGEST_SPECTRAL


def first_time(times: Any) -> Any:
    """The first time after the start, 0 if there is none."""
    return np.asarray(times)[np.asarray(times) > 0][:1].sum()


def may_be_spectral(scheme: Scheme | None, grid: Grid) -> bool:
    """Whether the scheme given is spectral, or where none was given one may be chosen."""
    return has_basis(grid) if scheme is None else scheme.spectral


def _measured(sampled: SampledEquation, field: Array, times: Array, tol: float) -> tuple[bool, float]:
    """Whether the start can be carried as a wave in a basis, and how badly the basis resolves sqrt(pi) and the start;
    under a transformation nothing can be measured, and both are taken for granted."""
    equation = sampled.equation
    if not is_concrete(equation, field, times):
        return True, 0.0
    operator = sampled.operator(Spectral(), field.dtype)
    given = zip(sampled.samples(Spectral()).diffusion, sampled.units, strict=True)
    least = np.asarray([np.min(np.asarray(d)) / unit**2 for d, unit in given], field.dtype)
    found = measure(operator, least, field, as_array(tol * TOL_FRACTION, field.dtype), first_time(times))
    representable = is_wave_representable(float(found.size), field.dtype, tol) and wave_resolved(
        found.clipped, found.wave_error, found.density_error, tol
    )
    defect = max(float(found.defect), float(found.leak))
    if equation.time_dependent:
        last = float(np.asarray(times)[-1])
        for t in (last / 2, last):
            defect = max(defect, float(gibbs_leak(sampled.operator(Spectral(), field.dtype, t))))
    return representable, defect


def _representable_on_cells(sampled: SampledEquation, scheme: Scheme, field: Array, tol: float) -> bool:
    if not is_concrete(sampled.equation, field):
        return True
    log_gibbs = sampled.samples(scheme).log_gibbs
    if log_gibbs is None:  # a scheme that makes no use of it
        return False
    log_sqrt_pi = _normalised(log_gibbs, sampled.solved, field.dtype)
    return is_wave_representable(float(wave_size(log_sqrt_pi, field, sampled.solved)), field.dtype, tol)


def _suitable(
    sampled: SampledEquation, reversible: bool, representable: bool, defect: float, field: Array, times: Array
) -> tuple[Scheme, str, bool]:
    """A scheme, the reason, and whether that must be looked at afterwards."""
    equation, grid, volumes = sampled.equation, sampled.grid, ScharfetterGummel()
    if any(axis.modes is None for axis in grid.axes):
        return volumes, "because an axis is Reflecting", False
    if max(grid.shape) > LARGEST_SPECTRAL:
        return volumes, f"because an axis has more than {LARGEST_SPECTRAL} nodes", False
    if not equation.evolves_density:
        return Spectral(), "because the grid has a basis on every axis", False
    if not reversible or not representable:
        why = "the initial density is too wide for its wave" if reversible else "the process is not reversible"
        if _may_carry(sampled, field, times):
            resolved = "because the grid resolves the initial density and all that came of it"
            return Spectral(), f"{resolved} (not as a wave: {why})", True
        return volumes, f"because {why}", False
    if not is_concrete(equation, field, times):
        basis = "because the grid has a basis on every axis"
        return Spectral(), f"{basis} (nothing could be measured under a transformation)", False
    if defect < UNRESOLVED:
        return Spectral(), f"because the grid resolves sqrt(pi) and the initial density to {defect:.0e}", False
    why = f"because Spectral resolves sqrt(pi) and the initial density only to {defect:.0e} on this grid"
    return volumes, why, False


def _may_carry(sampled: SampledEquation, field: Array, times: Array) -> bool:
    """Whether the density itself may be tried in a basis: the start is resolved, and no cell is crossed much faster
    than it is mixed, or the axis is one and its matrix small (only in more dimensions does what leaves at one end of a
    box come in at the other)."""
    equation, grid = sampled.equation, sampled.grid
    assert isinstance(equation, FokkerPlanck), "a wave has no drift"
    if equation.time_dependent or not is_concrete(equation, field, times):
        return False
    if not float(short_share(field, sampled.solved)) < UNRESOLVED:
        return False
    return (grid.ndim == 1 and grid.size <= MATRIX_LINE) or float(largest_peclet(equation, grid)) < MOST_CROSSED

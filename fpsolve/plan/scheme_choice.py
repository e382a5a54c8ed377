"""The choice of a scheme, and of the picture that it is run in.

    picture        the state that is evolved: p / sqrt(pi) (a Gibbs wave), p itself (a
                   density), or a Schrodinger wave
    Spectral       where the grid has a basis on every axis that resolves sqrt(pi) and
                   the initial density
    otherwise      ScharfetterGummel, which is stable and positive on every grid

What the basis resolves is measured on the grid at hand before anything is evolved
(`resolution`). Under a transformation of JAX nothing can be measured, and the choice
rests on shapes alone.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.decision import Decision
from ..core.program import quick_program
from ..core.types import AnyArray, DType
from ..equation import Equation, FokkerPlanck
from ..grid import Grid
from ..operator import (
    ScharfetterGummel,
    Scheme,
    Spectral,
    log_sqrt_pi_of,
)
from ..operator.constants import CONSTANTS as OPERATOR
from ..propagate import Picture, Propagator
from ..step import Magnus
from .constants import CONSTANTS
from .method_choice import needs_rates
from .regularity import why_no_basis
from .resolution import (
    is_wave_representable,
    largest_peclet,
    largest_short_fraction,
    measure,
    relative_leak,
    wave_resolved,
    wave_size,
)
from .sampled_equation import SampledEquation
from .validation import check_kinds


@quick_program
def _normalised_log_sqrt_pi(log_gibbs: Array, grid: Grid, dtype: DType) -> Array:
    return log_sqrt_pi_of(log_gibbs, grid).astype(dtype)


class SchemeChoice(NamedTuple):
    """A scheme with the reason for it, and the picture to run in.

    - `reversible`: whether the operator is symmetric in the picture of the run
    - `wave_representable`: whether p / sqrt(pi) of the initial density can be evolved
    - `provisional`: whether the density is tried in a basis, so that the result must be
      checked afterwards
    - `wave_in_range`: whether p / sqrt(pi) keeps its digits, be it resolved or not
    """

    scheme: Scheme
    decision: Decision
    picture: Picture
    reversible: bool
    wave_representable: bool
    provisional: bool = False
    wave_in_range: bool = False

    @property
    def why(self) -> str:
        """The decision as a sentence."""
        return str(self.decision)


def choose_scheme(
    equation: Equation,
    grid: Grid,
    scheme: Scheme | None,
    field: Array,
    times: Array,
    tol: float,
    method: Propagator | Magnus | None = None,
    sampled: SampledEquation | None = None,
) -> SchemeChoice:
    """The scheme that was given, checked, or the one that suits; with the picture to
    run in.

    `method` may be None; one that needs rates between cells decides the scheme.
    """
    if scheme is not None:
        check_scheme(scheme, equation, grid)
    evolves_density = equation.evolves_density
    if sampled is None:
        reversible = evolves_density and equation.irreversible_because(grid) is None
        sampled = SampledEquation(equation, grid, reversible)
    reversible = evolves_density and sampled.reversible

    # Measure the basis, where one may be chosen.
    in_range = representable = False
    defect = 0.0
    if reversible and may_be_spectral(scheme, grid):
        in_range, representable, defect = _measure_basis(sampled, field, times, tol)

    # Choose the scheme.
    if scheme is not None:
        found = _Found(scheme, "as requested")
    elif needs_rates(method):
        because = "because the method needs rates between cells"
        found = _Found(ScharfetterGummel(), because)
    else:
        found = _suitable_scheme(
            sampled, reversible, representable, defect, field, times
        )
    numbers = (("defect", defect),) if scheme is None else ()
    decision = Decision(type(found.scheme).__name__, found.because, numbers)

    # Choose the picture.
    if not evolves_density:
        return SchemeChoice(found.scheme, decision, Picture.WAVE, False, True)
    if found.scheme.spectral:
        if reversible and not representable:
            decision = decision.also(
                "the initial density is too wide for its wave, so the density itself "
                "is evolved"
            )
        picture = Picture.GIBBS_WAVE if representable else Picture.DENSITY
        # In a basis the operator is symmetric for the wave alone.
        return SchemeChoice(
            scheme=found.scheme,
            decision=decision,
            picture=picture,
            reversible=representable,
            wave_representable=representable,
            provisional=found.provisional,
            wave_in_range=in_range,
        )
    # Finite volumes evolve the density; that their operator is symmetric in other
    # variables serves the methods.
    representable = reversible and _representable_on_cells(
        sampled, found.scheme, field, tol
    )
    return SchemeChoice(
        found.scheme, decision, Picture.DENSITY, reversible, representable
    )


def check_scheme(scheme: Scheme, equation: Equation, grid: Grid) -> None:
    """Raise `ValueError` unless `scheme` supports this equation on this grid."""
    check_kinds(equation, scheme)
    scheme.check(equation, grid)


def has_basis(grid: Grid) -> bool:
    """Whether every axis has a basis of moderate size."""
    return not _lacks_basis(grid) and max(grid.shape) <= CONSTANTS.largest_spectral_axis


def _lacks_basis(grid: Grid) -> bool:
    return any(axis.modes is None for axis in grid.axes)


def first_time(times: AnyArray) -> np.number:
    """The first time after t = 0; 0 if there is none."""
    after_start = np.asarray(times)[np.asarray(times) > 0]
    return after_start[:1].sum()  # the sum of no element is zero


def may_be_spectral(scheme: Scheme | None, grid: Grid) -> bool:
    """Whether `scheme` is spectral or, where it is None, whether a spectral scheme may
    be chosen.
    """
    return has_basis(grid) if scheme is None else scheme.spectral


def _measure_basis(
    sampled: SampledEquation, field: Array, times: Array, tol: float
) -> tuple[bool, bool, float]:
    """Whether the wave of the initial density keeps its digits, whether it can be
    evolved in a basis, and the larger of the defects of the basis in sqrt(pi) and in
    the initial density.

    Under a transformation nothing can be measured, and a basis is taken to resolve
    everything.
    """
    equation = sampled.equation
    if not is_concrete(equation, field, times):
        return True, True, 0.0
    operator = sampled.operator(Spectral(), field.dtype)
    # The least diffusion of each axis, in the units of the grid that is solved on.
    diffusions = zip(sampled.samples(Spectral()).diffusion, sampled.units, strict=True)
    least = [np.min(np.asarray(d)) / unit**2 for d, unit in diffusions]
    least_diffusion = np.asarray(least, field.dtype)
    fraction = as_array(tol * OPERATOR.clipping_tol_fraction, field.dtype)
    found = measure(operator, least_diffusion, field, fraction, first_time(times))
    resolved = wave_resolved(found.clipped, found.wave_error, found.density_error, tol)
    in_range = is_wave_representable(
        float(found.size), field.dtype, tol, bool(found.clipped)
    )
    defect = max(float(found.defect), float(found.leak))
    if equation.time_dependent:
        # The Gibbs density changes: it must be resolved later, too.
        last = float(np.asarray(times)[-1])
        for t in (last / 2, last):
            operator = sampled.operator(Spectral(), field.dtype, t)
            defect = max(defect, float(relative_leak(operator, least_diffusion)))
    return in_range, in_range and resolved, defect


def _representable_on_cells(
    sampled: SampledEquation, scheme: Scheme, field: Array, tol: float
) -> bool:
    """Whether p / sqrt(pi) of the initial density can be evolved on cells; taken for
    granted where it is traced.
    """
    if not is_concrete(sampled.equation, field):
        return True
    log_gibbs = sampled.samples(scheme).log_gibbs
    if log_gibbs is None:  # a scheme that does not use the Gibbs density
        return False
    log_sqrt_pi = _normalised_log_sqrt_pi(log_gibbs, sampled.solved, field.dtype)
    size = float(wave_size(log_sqrt_pi, field, sampled.solved))
    return is_wave_representable(size, field.dtype, tol)


class _Found(NamedTuple):
    """A scheme, the reason for it, and whether its result is checked afterwards."""

    scheme: Scheme
    because: str
    provisional: bool = False


def _suitable_scheme(
    sampled: SampledEquation,
    reversible: bool,
    representable: bool,
    defect: float,
    field: Array,
    times: Array,
) -> _Found:
    """The scheme that suits: a basis that resolves the problem, else finite volumes."""
    equation = sampled.equation
    grid = sampled.grid
    volumes = ScharfetterGummel()
    if _lacks_basis(grid):
        return _Found(volumes, "because an axis is Reflecting")
    if max(grid.shape) > CONSTANTS.largest_spectral_axis:
        most = CONSTANTS.largest_spectral_axis
        return _Found(volumes, f"because an axis has more than {most} nodes")
    has_basis_everywhere = "because the grid has a basis on every axis"
    if not equation.evolves_density:
        return _Found(Spectral(), has_basis_everywhere)

    # No wave: the density itself may still be tried in a basis, and is checked
    # afterwards.
    if not reversible or not representable:
        why = "the process is not reversible"
        if reversible:
            why = "the initial density is too wide for its wave"
        if not reversible and (reason := why_no_basis(equation, grid)) is not None:
            return _Found(volumes, f"because {reason}")
        if _may_evolve_density_in_basis(sampled, field, times):
            resolved = (
                "because the grid resolves the initial density and the densities that "
                "follow from it"
            )
            return _Found(Spectral(), f"{resolved} (not as a wave: {why})", True)
        return _Found(volumes, f"because {why}")

    # A wave: the basis must resolve sqrt(pi) and the initial density.
    if not is_concrete(equation, field, times):
        unmeasured = "(nothing could be measured under a transformation)"
        return _Found(Spectral(), f"{has_basis_everywhere} {unmeasured}")
    if defect < CONSTANTS.largest_defect:
        resolved = "because the grid resolves sqrt(pi) and the initial density to"
        return _Found(Spectral(), f"{resolved} {defect:.0e}")
    why = (
        "because Spectral resolves sqrt(pi) and the initial density only to "
        f"{defect:.0e} on this grid"
    )
    return _Found(volumes, why)


def _may_evolve_density_in_basis(
    sampled: SampledEquation, field: Array, times: Array
) -> bool:
    """Whether the density itself may be tried in a basis.

    The basis must resolve the initial density, and either the Peclet number of every
    cell is moderate, or there is one axis with a small matrix. In more dimensions a
    strong drift carries density out at one end of a periodic basis and in at the other.
    """
    equation = sampled.equation
    grid = sampled.grid
    assert isinstance(equation, FokkerPlanck), "a wave has no drift"
    if equation.time_dependent or not is_concrete(equation, field, times):
        return False
    # Written with `not`, so that NaN is rejected.
    short = float(largest_short_fraction(field, sampled.solved))
    if not short < CONSTANTS.largest_defect:
        return False
    if grid.ndim == 1 and grid.size <= CONSTANTS.largest_matrix:
        return True
    return float(largest_peclet(equation, grid)) < CONSTANTS.largest_peclet

"""An equation sampled on a grid, from which the operators of all schemes are built."""

import math
from typing import Any

from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.program import quick_program
from ..core.types import DType, Scalar
from ..equation import Equation
from ..grid import Grid
from ..operator import (
    EvaluatedPath,
    Operator,
    Samples,
    Scheme,
    places_of,
    sample_equation,
)
from ..operator.cells import in_units


class SampledEquation:
    """An equation on a grid, sampled once for each scheme that is tried.

    Its functions are sampled on `grid`. Operators are built on `solved`: the same grid
    or, with `in_cells`, the grid in units of its cells, so that one compiled program
    serves boxes of all sizes. `known` are samples taken before, by scheme class, time,
    and whether they use sqrt(pi).
    """

    def __init__(
        self,
        equation: Equation,
        grid: Grid,
        reversible: bool,
        known: dict[Any, Samples] | None = None,
        in_cells: bool = False,
    ):
        self.equation = equation
        self.grid = grid
        self.reversible = reversible
        self.in_cells = in_cells
        self.solved = grid.in_cells if in_cells else grid
        self.units = grid.units if in_cells else (1.0,) * grid.ndim
        self._known = dict(known or {})

    @property
    def cell(self) -> float:
        """The volume in the user's units of a cell of volume 1 on the grid `solved`."""
        return math.prod(self.units)

    @property
    def scale(self) -> float:
        """The factor from the user's units to those of `solved`: a density becomes the
        mass of each cell, and the square of a wave does.
        """
        if self.equation.evolves_density:
            return self.cell
        return math.sqrt(self.cell)

    def samples(self, scheme: Scheme, t: Scalar = 0.0, flux: bool = False) -> Samples:
        """The samples that a scheme needs at time t; with `flux`, those of the flux
        form, without sqrt(pi).
        """
        reversible = self.reversible and not flux
        # Samples of a traced equation belong to one trace, and must not outlive it.
        if not is_concrete(self.equation, t):
            return scheme.sample(self.equation, self.grid, t, reversible)
        key = (type(scheme), float(t), reversible)
        if key not in self._known:
            places = places_of(self.grid, scheme, self.equation, reversible)
            self._known[key] = sample_equation(
                scheme, self.equation, places, as_array(t), reversible
            )
        return self._known[key]

    def operator(
        self, scheme: Scheme, dtype: DType, t: Scalar = 0.0, flux: bool = False
    ) -> Operator:
        """The operator of a scheme at time t, on the grid `solved`."""
        samples = self.samples(scheme, t, flux)
        # The units are an array, so that boxes of all sizes share one program.
        units = as_array(self.units)
        return _assemble(scheme, samples, units, self.solved, dtype)

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
def _assemble(
    scheme: Scheme, samples: Samples, units: Array, grid: Grid, dtype: DType
) -> Operator:
    return scheme.assemble(in_units(scheme, samples, tuple(units)), grid, dtype)

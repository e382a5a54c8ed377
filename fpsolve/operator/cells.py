"""Problems in units of their cells, in which all boxes of one shape are one grid, and share every program.

With lengths along each axis measured in cells, x_i = l_i + u_i xi_i,

    D_i -> D_i / u_i^2,    drift b_i -> b_i / u_i,    energies, rates and times as they are,

and a density becomes the mass of each cell.
"""

import dataclasses
from typing import Any

from .base import Samples, Scheme
from .finite_volume import ScharfetterGummel, SquareRoot
from .spectral import Spectral


def may_be_in_cells(scheme: Any) -> bool:
    """Whether the units of a scheme's samples are known: those of the user's own may be any. None stands for a scheme
    that is chosen among ours."""
    return scheme is None or type(scheme) in (Spectral, ScharfetterGummel, SquareRoot)


def in_units(scheme: Scheme, samples: Samples, units: tuple[Any, ...]) -> Samples:
    """The samples of one of our schemes with lengths along each axis measured in `units`, d numbers."""
    diffusion = tuple(d / unit**2 for d, unit in zip(samples.diffusion, units, strict=True))
    slope = samples.slope
    if scheme.spectral:  # a drift; on finite volumes it is a difference of log pi, which has no unit
        slope = tuple(None if b is None else b / unit for b, unit in zip(slope, units, strict=True))
    return dataclasses.replace(samples, diffusion=diffusion, slope=slope)

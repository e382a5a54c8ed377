"""Problems in units of their cells: all boxes of one shape become one grid, and share
every compiled program.

With lengths along each axis measured in cells, x_i = l_i + u_i xi_i,

    D_i -> D_i / u_i^2,    drift b_i -> b_i / u_i,
    energies, rates and times are unchanged,

and a density becomes the mass of each cell.
"""

import dataclasses

from ..core.types import Scalar
from .base import Samples, Scheme
from .finite_volume import ScharfetterGummel, SquareRoot
from .spectral import Spectral


def may_be_in_cells(scheme: Scheme | None) -> bool:
    """Whether the units of a scheme's samples are known. They are for the schemes of
    the library, one of which is chosen for None; the samples of a user's own scheme may
    have any units.
    """
    return scheme is None or type(scheme) in (Spectral, ScharfetterGummel, SquareRoot)


def in_units(scheme: Scheme, samples: Samples, units: tuple[Scalar, ...]) -> Samples:
    """The samples of one of the library's schemes, with lengths along each axis
    measured in `units`, d numbers.
    """
    diffusion = tuple(
        d / unit**2 for d, unit in zip(samples.diffusion, units, strict=True)
    )
    slope = samples.slope
    # On a spectral axis the slope is a drift. On finite volumes it is a difference of
    # log pi, which has no unit.
    if scheme.spectral:
        slope = tuple(
            None if drift is None else drift / unit
            for drift, unit in zip(slope, units, strict=True)
        )
    return dataclasses.replace(samples, diffusion=diffusion, slope=slope)

"""Axes of equal cells: `Line`, `Reflecting`, `Absorbing`, `Periodic`. Nodes are the
centres of the cells.
"""

import dataclasses
import functools
from typing import ClassVar

import numpy as np

from ..core.types import Count, Real
from .axis import Axis, Boundary, Modes, register


# Properties are called often, and the arrays are the same each time. The size of the
# cache is a free choice.
@functools.lru_cache(maxsize=256)
def _equal_cells(lower: Real, upper: Real, n: Count) -> tuple[np.ndarray, np.ndarray]:
    """Centres `(n,)` and widths `(n,)` of n equal cells, as read-only arrays."""
    width = (upper - lower) / n
    nodes = lower + width * (np.arange(n) + 0.5)
    weights = np.full(n, width)
    # The arrays are shared by all equal axes, so nobody may write to them.
    nodes.flags.writeable = False
    weights.flags.writeable = False
    return nodes, weights


def _cells_of(axis: Axis) -> tuple[np.ndarray, np.ndarray]:
    """Centres and widths of `n` equal cells."""
    return _equal_cells(axis.lower, axis.upper, axis.n)


# The property `cells` of all axes in this file. Each class assigns it, since no
# implemented method is overridden here.
equal_cells = property(_cells_of)


@register
@dataclasses.dataclass(frozen=True, repr=False)
class Line(Axis):
    """An interval of the real line at whose ends the density has decayed to zero.

    **Arguments**: `lower`, `upper` bounds, in the units of the coordinate; `n` cells,
    an integer above 2. Choose the interval so that the *wave* sqrt(pi) has decayed too:
    if sqrt(pi) is 1e-5 at the ends, the error is about 2e-7 everywhere.

    **Raises**: `ValueError` if the bounds are not finite and ordered or `n` is not an
    integer above 2.

    **Keeps**: mass, since there is no flux through the boundaries.

    ```python
    import fpsolve as fp

    axis = fp.Line(-6.0, 6.0, 64)
    ```
    """

    boundary: ClassVar[Boundary] = "no_flux"
    modes: ClassVar[Modes | None] = "fourier"
    uniform: ClassVar[bool] = True
    unbounded: ClassVar[bool] = True
    cells = equal_cells


@register
@dataclasses.dataclass(frozen=True, repr=False)
class Reflecting(Axis):
    """Equal cells between two reflecting (no-flux) boundaries: J = 0 at `lower` and
    `upper`.

    Arguments and errors are those of `Line`. It is for finite volumes; for spectral
    accuracy use `Legendre`.

    ```python
    import fpsolve as fp

    axis = fp.Reflecting(0.0, 1.0, 100)
    ```
    """

    boundary: ClassVar[Boundary] = "no_flux"
    modes: ClassVar[Modes | None] = None
    uniform: ClassVar[bool] = True
    unbounded: ClassVar[bool] = False
    cells = equal_cells


@register
@dataclasses.dataclass(frozen=True, repr=False)
class Absorbing(Axis):
    """Equal cells between two absorbing (homogeneous Dirichlet) boundaries: p = 0 at
    `lower` and `upper`.

    Arguments and errors are those of `Line`. The mass decreases; the mass at time t is
    the survival probability.

    ```python
    import fpsolve as fp

    axis = fp.Absorbing(0.0, 1.0, 100)
    ```
    """

    boundary: ClassVar[Boundary] = "absorbing"
    modes: ClassVar[Modes | None] = "sines"
    uniform: ClassVar[bool] = True
    unbounded: ClassVar[bool] = False
    cells = equal_cells


@register
@dataclasses.dataclass(frozen=True, repr=False)
class Periodic(Axis):
    """Equal cells on a periodic axis, whose period is upper - lower.

    Arguments and errors are those of `Line`. A potential on it must be periodic. A
    constant force is not the gradient of a periodic potential; give it as `force`.

    ```python
    import fpsolve as fp

    axis = fp.Periodic(0.0, 6.283185307179586, 63)
    ```
    """

    boundary: ClassVar[Boundary] = "periodic"
    modes: ClassVar[Modes | None] = "fourier"
    uniform: ClassVar[bool] = True
    unbounded: ClassVar[bool] = False
    cells = equal_cells

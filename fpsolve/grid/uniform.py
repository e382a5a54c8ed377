"""Axes of equal cells: `Line`, `Reflecting`, `Absorbing`, `Periodic`. Nodes are the centres of the cells."""

import dataclasses
import functools
from typing import ClassVar

import numpy as np

from ..core.types import Count, Real
from .axis import Axis, Boundary, Modes, register


@functools.lru_cache(maxsize=256)
def _equal_cells(lower: Real, upper: Real, n: Count) -> tuple[np.ndarray, np.ndarray]:
    width = (upper - lower) / n
    nodes, weights = lower + width * (np.arange(n) + 0.5), np.full(n, width)
    nodes.flags.writeable = weights.flags.writeable = False
    return nodes, weights


equal_cells = property(
    lambda axis: _equal_cells(axis.lower, axis.upper, axis.n), doc="Centres and widths of `n` equal cells."
)


@register
@dataclasses.dataclass(frozen=True, repr=False)
class Line(Axis):
    """A piece of the real line outside of which nothing is left: the density has decayed before both ends.

    **Arguments**: `lower`, `upper` bounds, in the units of the coordinate; `n` cells, an integer above 2. Choose the
    box so that the *wave* sqrt(pi) has decayed too: a box that cuts sqrt(pi) at 1e-5 costs about 2e-7 everywhere.

    **Raises**: `ValueError` if the bounds are not finite and ordered or `n` is not an integer above 2.

    **Keeps**: mass, since no flux passes the ends.

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
    """Equal cells between two walls that let nothing through: J = 0 at `lower` and `upper`.

    Arguments and errors as for `Line`. For finite volumes; between walls `Legendre` is spectrally accurate.

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
    """Equal cells between two walls that swallow what arrives: p = 0 at `lower` and `upper`.

    Arguments and errors as for `Line`. Mass falls; what is left at time t is the survival probability.

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
    """A ring of circumference upper - lower, in equal cells.

    Arguments and errors as for `Line`. A potential on a ring must be periodic; a constant push round the ring is a
    `force`, not the gradient of a potential.

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

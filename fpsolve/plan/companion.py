"""The companion of a grid: another grid on which the same problem is solved to see the
error of the first.

Two computations that look at the same places share their errors. A companion has other
nodes and, where an axis stands for the whole line, another box:

    spectral   Line                  1.15 (upper - lower) wide, n nodes,
                                     moved by (sqrt(2) - 1) of a cell
               Periodic              n / 1.15 nodes, moved by (sqrt(2) - 1) of a cell
               Absorbing, Legendre   n / 1.15 nodes between the same walls
    volumes    all axes              cells sqrt(2) times as long,
                                     on a Line also in the wider box

In a basis errors fall faster than any power of the spacing, so that the difference of
two answers is the error of the coarser one. A line keeps its n, since grids of the same
shape need no new program. A ring must not: n waves on a ring are the same space
wherever its nodes are, and the difference of two such answers says nothing about the
waves that both lack (for six wells 3 cos 6x on 64 nodes it is 1e-4 of the error).

The errors of finite volumes fall as a power p of the cell length h, and an answer on
cells r h errs by r^p times as much: the difference is (r^p - 1) times the error. With r
= 1.15 this factor is 0.32 (p = 2), and everything else that differs between the two is
magnified by three; with r = sqrt(2) it is one, and an answer on n / sqrt(2) cells costs
less than one on n. As sqrt(2) is irrational, the faces of the two grids do not
coincide, and a jump of the potential at a face of one is within a cell of the other.
The companion of the companion has half the cells, which shows the order p.
"""

import dataclasses

from ..grid import Axis, Grid, Line
from .constants import CONSTANTS


def companion(grid: Grid, spectral: bool, widen: bool = True) -> Grid:
    """A grid with other nodes and, on each `Line`, a wider box.

    **Arguments**: `grid`; `spectral`, whether a basis or finite volumes are used on it;
    without `widen` the ends of the lines are kept, and a line has fewer nodes in a
    basis, too. **Returns** a grid with the same kinds of axes, walls and periods; with
    `spectral` of the same shape where all axes are lines. **Keeps**: walls; the nodes
    and faces of a ring stay within [lower, upper], so that a function that is defined
    on one period only serves, although the bounds of the axis begin a part of a cell
    below it.
    """
    return Grid(*(_companion_axis(axis, spectral, widen) for axis in grid.axes))


def finer(grid: Grid, widen: bool) -> Grid:
    """A grid with shorter cells on all axes and, with `widen`, the wider boxes of its
    companion on all lines.
    """
    axes = []
    for axis in grid.axes:
        wider = axis
        if axis.unbounded and widen:
            wider = _wider_line(axis, spectral=True)
        # The cells are shorter than before, also where the box is wider.
        factor = CONSTANTS.finer_cells * wider.length / axis.length
        axes.append(wider.refine(factor))
    return with_shared_shape(Grid(*axes))


def with_shared_shape(grid: Grid) -> Grid:
    """The same boxes with as many nodes or a few more, so that grids that are fitted to
    problems have few shapes, and the programs that were compiled for one serve others.
    """
    axes = [dataclasses.replace(axis, n=shared_size(axis.n)) for axis in grid.axes]
    return Grid(*axes)


def shared_size(n: int) -> int:
    """The least number from n that is one of eight an octave: ..., 16, 18, ..., 30, 32,
    36, ..., 60, 64, 72, ...
    """
    step = 2 ** max(0, (n - 1).bit_length() - 4)
    return -(-n // step) * step  # rounded up


def _companion_axis(axis: Axis, spectral: bool, widen: bool) -> Axis:
    if axis.unbounded and widen:
        return _wider_line(axis, spectral)
    ratio = CONSTANTS.companion_widening if spectral else CONSTANTS.companion_coarsening
    other = dataclasses.replace(axis, n=_fewer_nodes(axis.n, ratio))
    if not spectral or axis.boundary != "periodic":
        return other
    # Downwards, and by less than half a cell: no node and no face leaves the interval.
    shift = CONSTANTS.companion_shift * other.unit
    lower = axis.lower - shift
    upper = axis.upper - shift
    return dataclasses.replace(other, lower=lower, upper=upper)


def _wider_line(axis: Axis, spectral: bool) -> Line:
    """The box of a line widened about its centre, and moved by a part of a cell."""
    widening = CONSTANTS.companion_widening
    n = axis.n
    if not spectral:
        # The box is wider already, so that fewer nodes less make cells as long.
        n = _fewer_nodes(axis.n, CONSTANTS.companion_coarsening / widening)
    margin = (widening - 1) / 2 * axis.length
    # Symmetric boxes about a symmetric potential would have the origin as a node, or
    # between two, in both.
    shift = CONSTANTS.companion_shift * axis.length * widening / n
    lower = axis.lower - margin + shift
    upper = axis.upper + margin + shift
    return Line(lower, upper, n)


def _fewer_nodes(n: int, ratio: float) -> int:
    """About n / `ratio` nodes, at least one less; more instead of fewer where n is too
    small to lose any.
    """
    if n < CONSTANTS.companion_least_nodes:
        return max(n + 1, round(n * ratio))
    return min(n - 1, round(n / ratio))

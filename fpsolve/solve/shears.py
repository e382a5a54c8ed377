"""A function on a grid of coordinates y at the nodes of a grid of coordinates x = R y:
one axis after another.

    y_i = a x_j + sum_k c_k v_k        v_k: the coordinates of the other axes, some of y and some of x

Each step replaces one coordinate y_i by one x_j. It is a stretch and shifts of lines: a
Fourier series for each line, whose shifts are phases that multiply its coefficients,
and whose new nodes are a product with one matrix for all lines. d steps cost about d N
n operations for N values, in place of N n^d for a series at every place.

The function must vanish at the ends of its box. A step adds wavenumbers of axis i to
those of the other axes, at most those of i itself, since each pivot is the largest
entry of its row.

Reference: Paeth, Graphics Interface '86 (1986) 77 (rotation by shears).
"""

import dataclasses

import numpy as np

from ..grid import Axis, Grid


@dataclasses.dataclass(frozen=True)
class Shear:
    """One step: `axis` i takes the coordinate x_j, j = `target`, in the place of y_i =
    `stretch` x_j + `shifts` . v.
    """

    axis: int
    target: int
    stretch: float
    shifts: np.ndarray


def shears(matrix: np.ndarray) -> list[Shear]:
    """The steps from y to x = `matrix` y, for an invertible matrix `(d, d)`."""
    # `rows[j]` says x_j by the coordinates of the axes, as they are so far.
    rows = np.array(matrix, float)
    left_axes, left_targets = set(range(len(rows))), set(range(len(rows)))
    steps = []
    while left_axes:
        j, i = max(
            ((j, i) for j in left_targets for i in left_axes),
            key=lambda pair: abs(rows[pair]),
        )
        pivot = rows[j, i]
        shifts = -rows[j] / pivot
        shifts[i] = 0
        steps.append(Shear(i, j, 1 / pivot, shifts))
        # In the other rows y_i is said by x_j, which is the coordinate of axis i from
        # now on.
        for other in left_targets - {j}:
            factor = rows[other, i]
            rows[other] = rows[other] + factor * shifts
            rows[other, i] = factor / pivot
        left_axes.remove(i)
        left_targets.remove(j)
    return steps


def needed_wavenumbers(steps: list[Shear], wavenumbers: np.ndarray) -> np.ndarray:
    """The highest wavenumbers `(d,)` along each axis just before its own step, from
    those of the function.
    """
    needed, replaced = np.array(wavenumbers, float), np.zeros(len(steps), bool)
    for step in steps:
        replaced[step.axis] = True
        needed = np.where(
            replaced, needed, needed + np.abs(step.shifts) * needed[step.axis]
        )
    return needed


def on_sheared_axes(
    field: np.ndarray, grid: Grid, steps: list[Shear], target: Grid
) -> np.ndarray:
    """A function `field` `(*grid.shape)` of y at the nodes of `target`,
    `(*target.shape)`; zero outside of its box.
    """
    nodes = [axis.nodes for axis in grid.axes]
    for step in steps:
        new = target.axes[step.target].nodes
        field = _sheared(field, grid.axes[step.axis], nodes, step, new)
        nodes[step.axis] = new
    order = sorted(
        range(len(steps)),
        key=lambda i: next(step.target for step in steps if step.axis == i),
    )
    return np.transpose(field, order)


def _sheared(
    field: np.ndarray, axis: Axis, nodes: list[np.ndarray], step: Shear, new: np.ndarray
) -> np.ndarray:
    """The field with the coordinate of one axis replaced."""
    i, n = step.axis, field.shape[step.axis]
    wavenumbers = 2 * np.pi * np.fft.rfftfreq(n, axis.length / n)
    coefficients = np.fft.rfft(field, axis=i)
    along = lambda values, k: values.reshape(
        [-1 if j == k else 1 for j in range(field.ndim)]
    )
    # Where a new node lies along y_i: the part of x_j, and those of the other axes.
    places = along(step.stretch * new, i)
    for k, shift in enumerate(step.shifts):
        if shift != 0:
            places = places + along(shift * nodes[k], k)
            phases = np.exp(1j * np.multiply.outer(wavenumbers, shift * nodes[k]))
            coefficients *= np.expand_dims(
                phases if i < k else phases.T, tuple({*range(field.ndim)} - {i, k})
            )
    # Real fields: all but the first coefficient, and the last of an even number, stand
    # for two.
    twice = np.full(len(wavenumbers), 2.0)
    twice[0] = 1
    if n % 2 == 0:
        twice[-1] = 1
    series = np.exp(
        1j * np.multiply.outer(step.stretch * new - axis.nodes[0], wavenumbers)
    ) * (twice / n)
    moved = np.moveaxis(coefficients, i, -1)
    values = moved.real @ series.real.T - moved.imag @ series.imag.T
    inside = (places >= axis.lower) & (places <= axis.upper)
    return np.where(inside, np.moveaxis(values, -1, i), 0)

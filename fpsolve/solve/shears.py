"""A function on a grid of coordinates y at the nodes of a grid of coordinates x = R y:
one axis after another.

    y_i = a x_j + sum_k c_k v_k     v_k: coordinates of the other axes, of y or of x

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
import itertools

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
    left_axes = set(range(len(rows)))
    left_targets = set(range(len(rows)))
    steps = []
    while left_axes:
        # The largest entry of all rows is the pivot: shifts stay small.
        pairs = itertools.product(left_targets, left_axes)
        j, i = max(pairs, key=lambda pair: abs(rows[pair]))
        pivot = rows[j, i]
        shifts = -rows[j] / pivot
        shifts[i] = 0
        steps.append(Shear(i, j, 1 / pivot, shifts))
        # In the other rows y_i is said by x_j, the coordinate of axis i from now on.
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
    needed = np.array(wavenumbers, float)
    replaced = np.zeros(len(steps), bool)
    for step in steps:
        # A shift along an axis adds its wavenumbers to those of the axes to come.
        replaced[step.axis] = True
        added = np.abs(step.shifts) * needed[step.axis]
        needed = np.where(replaced, needed, needed + added)
    return needed


def on_sheared_axes(
    field: np.ndarray,
    grid: Grid,
    steps: list[Shear],
    target: Grid,
) -> np.ndarray:
    """A function `field` `(*grid.shape)` of y at the nodes of `target`,
    `(*target.shape)`; zero outside of its box.
    """
    nodes = [axis.nodes for axis in grid.axes]
    for step in steps:
        new = target.axes[step.target].nodes
        field = _sheared(field, grid.axes[step.axis], nodes, step, new)
        nodes[step.axis] = new
    # Axis i holds the coordinate `target` of its step: brought into their order.
    target_of = {step.axis: step.target for step in steps}
    return np.transpose(field, sorted(range(len(steps)), key=target_of.__getitem__))


def _sheared(
    field: np.ndarray,
    axis: Axis,
    nodes: list[np.ndarray],
    step: Shear,
    new: np.ndarray,
) -> np.ndarray:
    """The field with the coordinate of one axis replaced."""
    i = step.axis
    n = field.shape[i]
    wavenumbers = 2 * np.pi * np.fft.rfftfreq(n, axis.length / n)
    coefficients = np.fft.rfft(field, axis=i)

    def along(values: np.ndarray, k: int) -> np.ndarray:
        return values.reshape([-1 if j == k else 1 for j in range(field.ndim)])

    # Where a new node lies along y_i: the part of x_j, and those of the other axes.
    places = along(step.stretch * new, i)
    for k, shift in enumerate(step.shifts):
        if shift != 0:
            places = places + along(shift * nodes[k], k)
            phases = np.exp(1j * np.multiply.outer(wavenumbers, shift * nodes[k]))
            # Wavenumbers lie along axis i, the shifts of the lines along axis k.
            others = tuple({*range(field.ndim)} - {i, k})
            coefficients *= np.expand_dims(phases if i < k else phases.T, others)
    # Real fields: all but the first coefficient, and the last of an even number, stand
    # for two.
    twice = np.full(len(wavenumbers), 2.0)
    twice[0] = 1
    if n % 2 == 0:
        twice[-1] = 1
    distances = step.stretch * new - axis.nodes[0]
    waves = np.exp(1j * np.multiply.outer(distances, wavenumbers))
    series = waves * (twice / n)
    # The real part of the product, without computing the imaginary one.
    moved = np.moveaxis(coefficients, i, -1)
    values = moved.real @ series.real.T - moved.imag @ series.imag.T
    # The series is periodic: beyond the box it would repeat the function.
    inside = (places >= axis.lower) & (places <= axis.upper)
    return np.where(inside, np.moveaxis(values, -1, i), 0)

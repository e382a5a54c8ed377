"""Rates of constant fluxes between nodes, from the masses of cells and the resistances
between nodes.

    up_j = w / (M_j R_j),      P = log(up / down),      D = h up / B(-P)

M and R are sums over halves of cells (`subcells`), which this module evaluates on the
lines through the nodes of the other axes. D and P are the numbers for which the rates
of Scharfetter and Gummel are the given ones.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.types import Scalar
from ..equation import FokkerPlanck
from ..grid import Axis, Grid, sample_product
from .constants import CONSTANTS
from .half_cells import (
    ends_of_halves,
    every_second,
    moved_inside,
    on_faces,
    with_places,
)
from .subcells import Halves, Values, bernoulli, changes, integrate_halves


class Rates(NamedTuple):
    """The logarithms of the rates across the faces of an axis, times a length."""

    up: Array
    down: Array


def fitted(rates: Rates, spacings: Array) -> tuple[Array, Array]:
    """D and P of two rates: P = log(up / down) and D = h up / B(-P)."""
    # Between two rates of zero P is arbitrary. Where one is zero it is as if smaller by
    # e^largest_slope.
    none = (rates.up == -jnp.inf) & (rates.down == -jnp.inf)
    up = jnp.where(none, 0, rates.up)
    down = jnp.where(none, 0, rates.down)
    slope = jnp.clip(up - down, -CONSTANTS.largest_slope, CONSTANTS.largest_slope)
    # From the larger rate, so that nothing underflows: B(-|P|) is at least one.
    larger = jnp.maximum(up, down)
    diffusion = spacings * jnp.exp(larger) / bernoulli(-jnp.abs(slope))
    return jnp.where(none, 0, diffusion), slope


def across_faces(
    axis: Axis,
    i: int,
    lower: Halves,
    upper: Halves,
) -> tuple[Array, Array]:
    """log R between the points on both sides of each face, relative to Phi at the one
    below, and the change of Phi.
    """
    rise_below, rise_above = on_faces(axis, i, upper.rise, lower.rise, 0.0)
    rise = rise_below - rise_above
    below, above = on_faces(
        axis,
        i,
        upper.log_resistance,
        lower.log_resistance,
        -jnp.inf,
    )
    # No resistance stays none: it must not meet an infinite rise.
    above = jnp.where(above == -jnp.inf, -jnp.inf, above + rise)
    return jnp.logaddexp(below, above), rise


def jumps_in_halves(
    equation: FokkerPlanck,
    grid: Grid,
    i: int,
    t: Scalar,
) -> tuple[Array, Array]:
    """Where U and f jump: for each half of a cell along axis i."""
    axis = grid.axes[i]
    positions = with_places(grid, i, moved_inside(axis, ends_of_halves(axis)))
    energies = sample_product(lambda x: equation.energy(x, t), positions)
    of_energy = changes(energies, i)
    force = equation.force
    if force is None:
        return of_energy, jnp.zeros_like(of_energy)
    forces = sample_product(lambda x: force(x, t)[i], positions)
    return of_energy, changes(forces, i)


def axis_evaluator(
    equation: FokkerPlanck,
    grid: Grid,
    i: int,
    t: Scalar,
    forced: bool = True,
) -> Callable[[Array], Values]:
    """U, D_i and f_i at coordinates along axis i, on the lines through the nodes of the
    other axes.

    Without `forced` the values of f are zero.
    """
    force = equation.force if forced else None

    def at(x: Array) -> Values:
        # D may vanish at an end, which is what is looked for: it is not moved.
        inside = x.at[i].set(moved_inside(grid.axes[i], x[i]))
        return Values(
            energy=equation.energy(inside, t),
            diffusion=equation.diffusions(x)[i],
            force=jnp.zeros(()) if force is None else force(inside, t)[i],
        )

    def evaluate(coordinates: Array) -> Values:
        shape = coordinates.shape
        columns = []
        for j, nodes in enumerate(grid.nodes):
            if j == i:
                columns.append(coordinates)
            else:
                columns.append(jnp.broadcast_to(grid.along_axis(j, nodes), shape))
        # The functions take one point: all points are rows of one batch.
        points = jnp.stack(columns, -1)
        values = jax.vmap(at)(points.reshape(-1, points.shape[-1]))
        return jax.tree.map(lambda u: u.reshape(shape), values)

    return evaluate


def half_integrals(
    evaluate: Callable[[Array], Values],
    grid: Grid,
    i: int,
    levels: int,
    ito: bool,
) -> tuple[Halves, Halves]:
    """The integrals over the lower and over the upper half of each cell along axis i,
    each `(*shape)`.
    """
    ends = ends_of_halves(grid.axes[i])
    shape = tuple(2 * n if j == i else n for j, n in enumerate(grid.shape))
    is_upper = np.arange(2 * grid.shape[i]) % 2 == 1

    def along(values: np.ndarray, dtype: type = float) -> Array:
        return jnp.broadcast_to(grid.along_axis(i, values, dtype), shape)

    # Lower and upper halves in one array, so that the functions are traced once.
    halves = integrate_halves(
        evaluate,
        start=along(ends[:-1]),
        width=along(np.diff(ends)),
        upper_half=along(is_upper, bool),
        levels=levels,
        ito=ito,
    )
    part = lambda first: jax.tree.map(lambda u: every_second(u, i, first), halves)
    return part(0), part(1)

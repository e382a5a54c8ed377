"""Cubic splines along one axis of a table: fitted on the host, evaluated by JAX.

    s(x) = Σ_j c_j B_j(x),   s(nodes) = values

The ends of an axis are not-a-knot, and those of a ring are joined. `smoothed` replaces
the values of a table by those of a smoothing spline (`smoothing`) at its knots.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.types import AnyArray, Point
from .constants import CONSTANTS
from .smoothing import AxisSmoother, axis_smoother, smooth_values


class TableAxis(NamedTuple):
    """The nodes `(n,)` of one axis, and its length if it is a ring."""

    nodes: np.ndarray
    period: float | None


def smoothed(
    axes: list[TableAxis],
    table: AnyArray,
    weights: list[np.ndarray],
    known_errors: bool,
) -> tuple[list[TableAxis], AnyArray]:
    """The knots of a smoothing spline and its values there."""
    knots: list[TableAxis] = []
    smoothers: list[AxisSmoother] = []
    for axis, of_axis in zip(axes, weights, strict=True):
        chosen = _chosen(len(axis.nodes), axis.period)
        coarse = TableAxis(axis.nodes[chosen], axis.period)
        knots.append(coarse)
        # The splines of the unit vectors: one for the value at each knot.
        spline = cubic_spline(coarse, np.eye(len(coarse.nodes)))
        breaks = coarse.nodes
        if axis.period is not None:
            breaks = np.r_[breaks, breaks[0] + axis.period]
        smoothers.append(
            axis_smoother(
                spline(axis.nodes),
                spline.derivative(2)(breaks),
                np.diff(breaks),
                of_axis,
                axis.period is not None,
            )
        )
    # The weights of a table are the outer product of those of its axes.
    product = functools.reduce(lambda u, v: u[..., None] * v, weights)
    return knots, smooth_values(table, product, smoothers, known_errors)


def _chosen(n: int, period: float | None) -> np.ndarray:
    """Which of n nodes are knots: all up to a number, beyond it so many at even
    distances, the ends included.
    """
    if n <= CONSTANTS.most_knots:
        return np.arange(n)
    # On a ring the end is the start again, and is not a second knot.
    last = n if period else n - 1
    places = np.linspace(0, last, CONSTANTS.most_knots, endpoint=period is None)
    return places.round().astype(int)


def cubic_spline(axis: TableAxis, values: np.ndarray) -> Any:
    """scipy's cubic spline through `values` `(n, ...)` at the nodes: a banded solve."""
    # scipy is a dependency of JAX; this part of it is slow to import
    from scipy.interpolate import make_interp_spline

    if axis.period is None:
        return make_interp_spline(axis.nodes, values, k=3)
    nodes = np.r_[axis.nodes, axis.nodes[0] + axis.period]
    closed = np.concatenate([values, values[:1]])
    return make_interp_spline(nodes, closed, k=3, bc_type="periodic")


def into_ring(x: Array, knots: Array) -> Array:
    """The place x of a ring in its first period, which starts at the fourth knot."""
    period = knots[-4] - knots[3]
    return x - period * jnp.floor((x - knots[3]) / period)


def b_splines(knots: Array, x: Point) -> tuple[Array, Array]:
    """The index of the first of the four cubic B-splines that are not zero at x, and
    the values (4,) of all four.

    The values come from de Boor's recurrence, in which each degree is a weighted sum of
    two splines of the degree below. Outside of the nodes the first or the last interval
    is used, which continues its polynomial.
    """
    # Three knots at either end lie outside, or at the ends: the intervals are numbered
    # from 3 to len(knots) - 5.
    place = jnp.searchsorted(knots, x, side="right") - 1
    interval = jnp.clip(place, 3, knots.shape[0] - 5)
    # the six knots on which the four splines depend
    near = jax.lax.dynamic_slice(knots, (interval - 2,), (6,))
    splines = [jnp.ones_like(x)]
    for degree in (1, 2, 3):
        # Each spline of the lower degree contributes to two of the higher degree, its
        # own number and the next.
        to_next = jnp.zeros_like(x)
        raised = []
        for r, spline in enumerate(splines):
            left = near[3 - degree + r]
            right = near[3 + r]
            quotient = spline / (right - left)
            raised.append(to_next + (right - x) * quotient)
            to_next = (x - left) * quotient
        splines = [*raised, to_next]
    return interval - 3, jnp.stack(splines)

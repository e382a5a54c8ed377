"""Interpolation of data on a tensor grid: a tensor product of cubic splines.

    U(x) = Σ_{j₁..j_d} c_{j₁..j_d} Πᵢ B_{jᵢ}(xᵢ),   U(nodes) = values

The ends of an axis are not-a-knot, and those of a ring are joined. U is twice
continuously differentiable, exact for cubic polynomials in each coordinate of an axis
with ends, and has the error O(h⁴) for smooth data.
"""

from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, host_module
from ..core.checks import (
    check_finite_number,
    check_positive,
    is_concrete,
    raise_value_error,
)
from ..core.types import AnyArray, Numbers, Point, Scalar
from .base import StaticPotential
from .constants import CONSTANTS
from .leaves import Value, as_leaf, check_point
from .smoothing import along_axes
from .spline import TableAxis, b_splines, cubic_spline, into_ring, smoothed

Period: TypeAlias = Scalar | tuple[Scalar | None, ...] | list[Scalar | None] | None
Smooth: TypeAlias = Numbers | str | None


class Sampled(StaticPotential):
    """A potential that is given by its values on a tensor grid, and interpolated by
    cubic splines.

    **Arguments**

    - `grid`: d ascending 1-D arrays of at least four nodes each; for d = 1 the array
      alone, which may be a column of a table (a pandas `Series`, say); or anything with
      such `.nodes` (an `fp.Grid`, whose periodic axes are rings here).
    - `values` `(*shape)`: the potential at the nodes, in units of energy. They may be
      traced.
    - `period`: the length of the ring, or one for each axis with None for an axis with
      ends. The last node may be the first one again, a period further.
    - `smooth`: for noisy values. A number or, on one axis, an array: their standard
      errors, by which a smoothing spline is chosen. `"gcv"` (or True): errors that are
      equal and unknown; generalised cross-validation finds them. None: interpolation.

    **Raises** `ValueError` for nodes that are not ascending, too few, traced or longer
    than the period, for values of another shape or not finite, and for ends of a ring
    that differ; when called, for x of a shape other than (d,).

    **Keeps**: the values at the nodes, to rounding, unless they are smoothed; two
    continuous derivatives, across the ends of a ring too. **Cost**: 4^d multiplications
    per point; smoothing once, n³ for each axis of n nodes.

    **Limits**, *convenience*: outside of the nodes of an axis with ends the polynomials
    of the ends are continued. They are cubic in each coordinate and may decrease to -∞,
    so keep the box within the data. Smoothing takes the errors of different nodes to be
    independent, and follows nothing narrower than 1/512 of an axis.

    **Reference**: C. de Boor, A Practical Guide to Splines, Springer (1978), chapters
    4, 10 and 17; for smoothing, Craven and Wahba, Numer. Math. 31 (1979) 377.

    ```python
    import jax.numpy as jnp
    from fpsolve.potential import Sampled

    nodes = jnp.linspace(-2.0, 2.0, 41)
    Sampled(nodes, nodes**4)(jnp.array([0.33]))  # about 0.33 ** 4
    ```
    """

    knots: tuple[Array, ...]
    coefficients: Array
    closed: tuple[bool, ...] = eqx.field(static=True)  # which axes are rings

    def __init__(
        self, grid: Any, values: Value, *, period: Period = None, smooth: Smooth = None
    ):
        # Under a user's `jit` the nodes of a grid would be traced; this context keeps
        # them concrete.
        with jax.ensure_compile_time_eval():
            nodes = _nodes(getattr(grid, "nodes", grid))
        shape = tuple(len(axis) for axis in nodes)
        data = as_leaf(
            "values",
            values,
            (len(nodes),),
            cure="Give one finite real number for each node, (*shape).",
        )
        if data.shape != shape:
            raise_value_error(
                "values",
                values,
                f"its shape is {data.shape}, it must be {shape}",
                "Give one value for each node.",
            )
        periods = _periods(grid, period, len(nodes))
        axes = [TableAxis(*axis) for axis in zip(nodes, periods, strict=True)]
        weights = _weights(smooth, shape)

        # Concrete values are fitted on the host, which compiles nothing.
        table: Any = np.asarray(values, dtype=float) if is_concrete(values) else data
        for i, axis in enumerate(axes):
            if _ends_at_its_start(axis, i):
                table, weights[i] = _join_ends(table, weights[i], i, smooth)
                axes[i] = TableAxis(axis.nodes[:-1], axis.period)
        if _is_smoothed(smooth):
            known_errors = not _is_unknown(smooth)
            axes, table = smoothed(axes, table, weights, known_errors)
        # The spline is linear in its values: traced values are multiplied by the
        # splines of the unit vectors.
        if is_concrete(values):
            for i, axis in enumerate(axes):
                table = np.moveaxis(
                    cubic_spline(axis, np.moveaxis(table, i, 0)).c, 0, i
                )
        else:
            units = [np.eye(len(axis.nodes)) for axis in axes]
            splines = map(cubic_spline, axes, units)
            table = along_axes([spline.c for spline in splines], table)

        dtype = data.dtype
        self.coefficients = as_array(table, dtype)
        self.knots = tuple(
            as_array(cubic_spline(axis, axis.nodes).t, dtype) for axis in axes
        )
        self.closed = tuple(axis.period is not None for axis in axes)

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """U(x), a scalar, at the point x of shape (d,)."""
        check_point(x, len(self.knots), "as the grid has it")
        # At each point four splines per axis are not zero: take their coefficients and
        # contract axis by axis.
        first = []
        weights = []
        for i, (knots, closed) in enumerate(zip(self.knots, self.closed, strict=True)):
            place = into_ring(x[i], knots) if closed else x[i]
            start, values = b_splines(knots, place)
            first.append(start)
            weights.append(values)
        block = jax.lax.dynamic_slice(self.coefficients, first, (4,) * len(first))
        for weight in weights:
            block = jnp.tensordot(weight, block, axes=(0, 0))
        return block


def _nodes(nodes: Any) -> tuple[np.ndarray, ...]:
    """The nodes as numpy arrays, checked."""
    cure = (
        "Give a tuple of d ascending arrays, one for each axis, or a grid: Sampled((x, "
        "y), values)."
    )
    if not is_concrete(nodes):
        raise_value_error(
            "grid",
            nodes,
            "the nodes must be concrete when the potential is made, and these are "
            "traced",
            cure,
        )
    # One array, a column of a table or a list of numbers is the only axis.
    several = isinstance(nodes, tuple | list) and any(np.ndim(axis) for axis in nodes)
    axes = tuple(nodes) if several else (nodes,)
    is_table = several or np.ndim(nodes) == 1
    if not is_table or np.size(axes[0]) == 0:
        raise_value_error(
            "grid",
            nodes,
            "it must be a grid, a 1-D array, or a tuple of 1-D arrays",
            cure,
        )
    for i, axis in enumerate(axes):
        as_leaf(f"grid nodes of axis {i}", axis, (1,), cure=cure)
        if len(axis) < 4:
            raise_value_error(
                f"grid nodes of axis {i}",
                axis,
                "a cubic spline needs at least four",
                "Sample more points.",
            )
        array = np.asarray(axis)
        if np.any(array[1:] <= array[:-1]):
            raise_value_error(
                f"grid nodes of axis {i}",
                axis,
                "they must be strictly ascending",
                "Sort them, without repeats.",
            )
    return tuple(np.asarray(axis, dtype=float) for axis in axes)


def _periods(grid: Any, period: Period, d: int) -> tuple[float | None, ...]:
    """The length of each axis that is a ring, and None for the others: as given, or as
    the grid has them.
    """
    if period is None:
        axes: Any = getattr(grid, "axes", (None,) * d)
        return tuple(
            axis.length if getattr(axis, "boundary", "") == "periodic" else None
            for axis in axes
        )
    given = tuple(period) if isinstance(period, tuple | list) else (period,)
    cure = (
        "Give the length of the ring, or one for each axis with None for an axis with "
        "ends."
    )
    if len(given) != d:
        raise_value_error("period", period, f"the table has {d} axes", cure)
    if not is_concrete(given):
        raise_value_error(
            "period", period, "it must be concrete when the potential is made", cure
        )
    for one in given:
        if one is not None:
            check_positive("period", one, cure)
            check_finite_number("period", one, cure)
    return tuple(None if one is None else float(one) for one in given)


def _ends_at_its_start(axis: TableAxis, i: int) -> bool:
    """Whether the last node of a ring is its first one again. **Raises** `ValueError`
    for nodes beyond that.
    """
    if axis.period is None:
        return False
    beyond = axis.nodes[-1] - axis.nodes[0] - axis.period
    slack = CONSTANTS.same_node * axis.period / len(axis.nodes)
    if beyond > slack:
        allowed = f"they must lie within one period, {axis.period:g}"
        raise_value_error(
            f"grid nodes of axis {i}",
            axis.nodes,
            allowed,
            "Give the whole length of the ring.",
        )
    return bool(beyond > -slack)


def _join_ends(
    table: AnyArray, weights: np.ndarray, i: int, smooth: Smooth
) -> tuple[AnyArray, np.ndarray]:
    """The table and the weights with both ends of axis i, one place, joined."""
    xp = host_module(table)
    first = xp.take(table, 0, axis=i)
    last = xp.take(table, -1, axis=i)
    # Without noise both rows are the same; there is no spline through two values at one
    # place.
    if is_concrete(table) and not _is_smoothed(smooth):
        difference = np.max(np.abs(last - first))
        if difference > CONSTANTS.symmetry_tolerance * np.ptp(table):
            allowed = (
                f"both ends of the ring of axis {i} are one place, and their values "
                "differ by this much"
            )
            raise_value_error(
                "values",
                float(difference),
                allowed,
                "Drop one of them, or give smooth= for noisy data.",
            )
    weight = weights[0] + weights[-1]
    mean = (weights[0] * first + weights[-1] * last) / weight
    inner = np.arange(1, table.shape[i] - 1)
    rest = xp.take(table, inner, axis=i)
    joined = xp.concatenate([xp.expand_dims(mean, i), rest], axis=i)
    return joined, np.r_[weight, weights[1:-1]]


def _is_smoothed(smooth: Smooth) -> bool:
    return smooth is not None and smooth is not False


def _is_unknown(smooth: Smooth) -> bool:
    """Whether the errors of the values are to be found by cross-validation."""
    return isinstance(smooth, str) or smooth is True


def _weights(smooth: Smooth, shape: tuple[int, ...]) -> list[np.ndarray]:
    """The weights 1/σ² of the values as a product of one array for each axis; ones
    where the errors are not known.
    """
    weights = [np.ones(n) for n in shape]
    if not _is_smoothed(smooth):
        return weights
    cure = (
        "Give the standard error of the values, one for each value of a table of one "
        'axis, or "gcv".'
    )
    if _is_unknown(smooth):
        if smooth not in (True, "gcv"):
            raise_value_error(
                "smooth", smooth, "it must be standard errors or the word gcv", cure
            )
        return weights
    if not is_concrete(smooth):
        raise_value_error(
            "smooth", smooth, "it must be concrete when the potential is made", cure
        )
    check_positive("smooth", smooth, cure)
    errors = np.asarray(smooth, dtype=float)
    if errors.ndim and errors.shape != shape:
        raise_value_error(
            "smooth",
            smooth,
            f"its shape is {errors.shape}, it must be () or {shape}",
            cure,
        )
    if errors.ndim > 1 and np.ptp(errors):
        raise_value_error(
            "smooth",
            smooth,
            "on several axes all values must have the same error",
            "Give one number.",
        )
    # One error of all values is a factor, which the first axis carries.
    of_first = errors if errors.ndim < 2 else errors.flat[0]
    weights[0] = np.broadcast_to(of_first**-2.0, shape[:1])
    return weights

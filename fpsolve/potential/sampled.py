"""Data on a tensor grid as a smooth potential: the tensor product of cubic splines, not-a-knot at the ends.

    U(x) = Σ_{j₁..j_d} c_{j₁..j_d} Πᵢ B_{jᵢ}(xᵢ),   U(nodes) = values

Twice continuously differentiable; exact for cubics in each coordinate; error O(h⁴) where the data are smooth.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.apply_along_axis import along
from ..core.checks import is_concrete, raise_value_error
from ..core.types import Point
from .base import StaticPotential
from .leaves import Value, as_leaf, check_point


class Sampled(StaticPotential):
    """A potential known by its values on a tensor grid, interpolated twice differentiably.

    **Arguments**: `grid` a tuple of d ascending arrays of at least four nodes each, or anything with such `.nodes`
    (an `fp.Grid`); `values` (*shape), the potential at the nodes, which may be traced (the spline is linear in them).

    **Raises** `ValueError` for nodes that are not ascending, too few or traced, for values of another shape or not
    finite; when called, for x of a shape other than (d,).

    **Keeps**: the values at the nodes, to rounding. **Cost**: 4^d multiplications a point.

    **Limits**, *convenience*: outside the nodes the end polynomials go on, cubic in each coordinate, and may fall:
    keep the box within the data. Periodic data are not wrapped.

    **Reference**: C. de Boor, A Practical Guide to Splines, Springer (1978), chapters 4, 10 and 17.

    ```python
    import jax.numpy as jnp
    from fpsolve.potential import Sampled

    nodes = jnp.linspace(-2.0, 2.0, 41)
    Sampled((nodes,), nodes**4)(jnp.array([0.33]))  # about 0.33 ** 4
    ```
    """

    knots: tuple[Array, ...]
    coefficients: Array

    def __init__(self, grid: Any, values: Value):
        with jax.ensure_compile_time_eval():
            nodes = _nodes(getattr(grid, "nodes", grid))
        data = as_leaf("values", values, (len(nodes),), cure="Give one finite real number a node, shape (*shape).")
        shape = tuple(len(axis) for axis in nodes)
        if data.shape != shape:
            raise_value_error(
                "values", values, f"its shape is {data.shape}, it must be {shape}", "Give one value a node."
            )
        if is_concrete(values):
            self.coefficients = jnp.asarray(_fit(nodes, np.asarray(values, dtype=float)), data.dtype)
        else:
            self.coefficients = _fit_traced(nodes, data)
        # Not-a-knot: the second node and the last but one are no knots, the ends are fourfold.
        self.knots = tuple(jnp.asarray(np.r_[[x[0]] * 4, x[2:-2], [x[-1]] * 4], data.dtype) for x in nodes)

    def __call__(self, x: Point, t: Any = None) -> Array:
        """U(x), a scalar, at the point x of shape (d,)."""
        check_point(x, len(self.knots), "as the grid has it")
        places, weights = zip(*(_basis(knots, x[i]) for i, knots in enumerate(self.knots)), strict=True)
        block = jax.lax.dynamic_slice(self.coefficients, places, (4,) * len(places))
        for weight in weights:
            block = jnp.tensordot(weight, block, axes=(0, 0))
        return block


def _nodes(nodes: Any) -> tuple[np.ndarray, ...]:
    """The nodes as arrays of the host, checked."""
    cure = "Give a tuple of d ascending arrays, one an axis, or a grid: Sampled((x, y), values)."
    if not isinstance(nodes, tuple | list) or not nodes:
        raise_value_error("grid", nodes, "it must be a grid or a tuple of 1-D arrays", cure)
    if not is_concrete(nodes):
        raise_value_error(
            "grid", nodes, "the nodes must be known when the potential is made, and these are traced", cure
        )
    for i, axis in enumerate(nodes):
        as_leaf(f"grid nodes of axis {i}", axis, (1,), cure=cure)
        if len(axis) < 4:
            raise_value_error(
                f"grid nodes of axis {i}", axis, "a cubic spline needs at least four", "Sample more points."
            )
        if np.any(np.asarray(axis)[1:] <= np.asarray(axis)[:-1]):
            raise_value_error(
                f"grid nodes of axis {i}", axis, "they must be strictly ascending", "Sort them, without repeats."
            )
    return tuple(np.asarray(axis, dtype=float) for axis in nodes)


def _fit(nodes: tuple[np.ndarray, ...], values: np.ndarray) -> np.ndarray:
    """The coefficients (*shape), found on the host: one banded solve an axis."""
    from scipy.interpolate import make_interp_spline  # JAX brings scipy; this part of it is slow to import

    for i, axis in enumerate(nodes):
        values = np.moveaxis(make_interp_spline(axis, np.moveaxis(values, i, 0), k=3).c, 0, i)
    return values


def _fit_traced(nodes: tuple[np.ndarray, ...], values: Array) -> Array:
    """The same for traced values, by the matrix (n, n) of each axis, so that they may be differentiated."""
    for i, axis in enumerate(nodes):
        matrix = jnp.asarray(_fit((axis,), np.eye(len(axis))), values.dtype)
        values = along(i, lambda v, matrix=matrix: v @ matrix.T, values)
    return values


def _basis(knots: Array, x: Point) -> tuple[Array, Array]:
    """The first of the four cubic B-splines that live at x, and the values (4,) of all four (de Boor's recurrence).

    Beyond the ends the interval stays the last one, which continues the end polynomial.
    """
    interval = jnp.clip(jnp.searchsorted(knots, x, side="right") - 1, 3, knots.shape[0] - 5)
    near = jax.lax.dynamic_slice(knots, (interval - 2,), (6,))
    splines = [jnp.ones_like(x)]
    for degree in (1, 2, 3):
        carried, raised = jnp.zeros_like(x), []
        for r, spline in enumerate(splines):
            left, right = near[3 - degree + r], near[3 + r]
            share = spline / (right - left)
            raised.append(carried + (right - x) * share)
            carried = (x - left) * share
        splines = [*raised, carried]
    return interval - 3, jnp.stack(splines)

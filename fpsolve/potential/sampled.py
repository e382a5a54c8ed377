"""Interpolation of data on a tensor grid: a tensor product of cubic splines with not-a-knot ends.

    U(x) = Σ_{j₁..j_d} c_{j₁..j_d} Πᵢ B_{jᵢ}(xᵢ),   U(nodes) = values

It is twice continuously differentiable, exact for cubic polynomials in each coordinate, and has the error O(h⁴) for
smooth data.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.apply_along_axis import apply_along_axis
from ..core.checks import is_concrete, raise_value_error
from ..core.types import Point
from .base import StaticPotential
from .leaves import Value, as_leaf, check_point


class Sampled(StaticPotential):
    """A potential that is given by its values on a tensor grid, and interpolated by cubic splines.

    **Arguments**: `grid` a tuple of d ascending arrays of at least four nodes each, or anything with such `.nodes`
    (an `fp.Grid`); `values` (*shape), the potential at the nodes, which may be traced (the spline is linear in them).

    **Raises** `ValueError` for nodes that are not ascending, too few or traced, for values of another shape or not
    finite; when called, for x of a shape other than (d,).

    **Keeps**: the values at the nodes, to rounding. **Cost**: 4^d multiplications per point.

    **Limits**, *convenience*: outside of the nodes the polynomials of the ends are continued. They are cubic in each
    coordinate and may decrease to -∞, so keep the box within the data. Periodic data are not continued periodically.

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
        # Under a user's `jit` the nodes of a grid would be traced; this context keeps them concrete.
        with jax.ensure_compile_time_eval():
            nodes = _nodes(getattr(grid, "nodes", grid))
        data = as_leaf(
            "values", values, (len(nodes),), cure="Give one finite real number for each node, shape (*shape)."
        )
        shape = tuple(len(axis) for axis in nodes)
        if data.shape != shape:
            raise_value_error(
                "values", values, f"its shape is {data.shape}, it must be {shape}", "Give one value for each node."
            )
        if is_concrete(values):
            self.coefficients = jnp.asarray(_fit(nodes, np.asarray(values, dtype=float)), data.dtype)
        else:
            self.coefficients = _fit_traced(nodes, data)
        # Not-a-knot ends: the second and the last but one node are no knots, and the end knots are repeated four times.
        self.knots = tuple(jnp.asarray(np.r_[[x[0]] * 4, x[2:-2], [x[-1]] * 4], data.dtype) for x in nodes)

    def __call__(self, x: Point, t: Any = None) -> Array:
        """U(x), a scalar, at the point x of shape (d,)."""
        check_point(x, len(self.knots), "as the grid has it")
        # At each point four splines per axis are not zero: take their coefficients and contract axis by axis.
        first, weights = zip(*(_basis(knots, x[i]) for i, knots in enumerate(self.knots)), strict=True)
        block = jax.lax.dynamic_slice(self.coefficients, first, (4,) * len(first))
        for weight in weights:
            block = jnp.tensordot(weight, block, axes=(0, 0))
        return block


def _nodes(nodes: Any) -> tuple[np.ndarray, ...]:
    """The nodes as numpy arrays, checked."""
    cure = "Give a tuple of d ascending arrays, one for each axis, or a grid: Sampled((x, y), values)."
    if not isinstance(nodes, tuple | list) or not nodes:
        raise_value_error("grid", nodes, "it must be a grid or a tuple of 1-D arrays", cure)
    if not is_concrete(nodes):
        raise_value_error(
            "grid", nodes, "the nodes must be concrete when the potential is made, and these are traced", cure
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
    """The coefficients (*shape), computed on the host: one banded solve for each axis."""
    from scipy.interpolate import make_interp_spline  # scipy is a dependency of JAX; this part of it is slow to import

    for i, axis in enumerate(nodes):
        values = np.moveaxis(make_interp_spline(axis, np.moveaxis(values, i, 0), k=3).c, 0, i)
    return values


def _fit_traced(nodes: tuple[np.ndarray, ...], values: Array) -> Array:
    """The same for traced values: one matrix product (n, n) for each axis, which JAX can differentiate."""
    for i, axis in enumerate(nodes):
        matrix = jnp.asarray(_fit((axis,), np.eye(len(axis))), values.dtype)
        values = apply_along_axis(i, lambda v, matrix=matrix: v @ matrix.T, values)
    return values


def _basis(knots: Array, x: Point) -> tuple[Array, Array]:
    """The index of the first of the four cubic B-splines that are not zero at x, and the values (4,) of all four.

    The values come from de Boor's recurrence, in which each degree is a weighted sum of two splines of the degree
    below. Outside of the nodes the first or the last interval is used, which continues its polynomial.
    """
    # Knots 0 to 3 and the last four coincide, so the intervals are numbered from 3 to len(knots) - 5.
    interval = jnp.clip(jnp.searchsorted(knots, x, side="right") - 1, 3, knots.shape[0] - 5)
    near = jax.lax.dynamic_slice(knots, (interval - 2,), (6,))  # the six knots on which the four splines depend
    splines = [jnp.ones_like(x)]
    for degree in (1, 2, 3):
        # Each spline of the lower degree contributes to two of the higher degree, its own number and the next.
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

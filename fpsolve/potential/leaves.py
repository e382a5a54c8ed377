"""Parameters of potentials: validation, and conversion to floating-point array leaves.

Every physical number of a potential is an array leaf, so that a sweep over it compiles
once. The values are checked if they are concrete; the shape is checked in any case.
"""

from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import check_positive, is_concrete, raise_value_error
from ..core.types import Point
from .constants import CONSTANTS

Value: TypeAlias = Any
"""What `jnp.asarray` accepts: a number, nested lists of numbers, an array, a tracer.
`as_leaf` raises for others.
"""

_SHAPES = {0: "a number", 1: "a vector", 2: "a matrix", 3: "a stack of matrices"}


def as_leaf(
    name: str,
    value: Value,
    ndims: tuple[int, ...] = (0,),
    *,
    positive: bool = False,
    cure: str = "",
) -> Array:
    """`value` as a float array whose number of axes is among `ndims`: finite, and
    positive if `positive` is given.

    ```python
    from fpsolve.potential.leaves import as_leaf

    as_leaf("stiffness", [1, 2], (0, 1), positive=True)
    ```
    """
    shapes = " or ".join(_SHAPES.get(n, f"an array of {n} axes") for n in ndims)
    sign = "positive " if positive else ""
    cure = cure or f"Give {shapes} of {sign}finite real entries."
    if is_concrete(value):
        try:
            array = np.asarray(value)
        except (TypeError, ValueError):
            raise_value_error(
                name, value, "it must be a real number or a regular array of them", cure
            )
        # Booleans and complex numbers are not accepted.
        is_float = jnp.issubdtype(array.dtype, jnp.floating)
        is_integer = jnp.issubdtype(array.dtype, jnp.integer)
        if not (is_float or is_integer):
            raise_value_error(
                name, value, "it must be a real number or an array of them", cure
            )
        if not np.all(np.isfinite(array)):
            raise_value_error(name, value, "every entry must be finite", cure)
        if positive:
            check_positive(name, array, cure)
        # A floating-point array keeps its precision, except that numpy's own, double,
        # becomes the default one, as that of integers does.
        keeps_precision = is_float and array.dtype != np.float64
        leaf = as_array(value, array.dtype if keeps_precision else float)
    else:
        leaf = jnp.asarray(value)
        is_float = jnp.issubdtype(leaf.dtype, jnp.floating)
        # `astype` to the own type makes the weak type of a Python number a strong one.
        leaf = leaf.astype(leaf.dtype if is_float else float)
    # Shapes are known for traced values too.
    if leaf.ndim not in ndims:
        raise_value_error(
            name, value, f"its shape is {leaf.shape}, it must be {shapes}", cure
        )
    return leaf


def check_point(
    x: Point, d: int | None = None, why: str = "a point of the potential"
) -> None:
    """Raise `ValueError` for a point whose shape is not (d,), or that is not a vector
    if `d` is None.

    Shapes are static, so the check costs nothing at run time.
    """
    if jnp.ndim(x) != 1:
        raise_value_error(
            "x.shape",
            jnp.shape(x),
            "a potential takes one point, of shape (d,)",
            "Use jax.vmap for many points.",
        )
    if d is not None and jnp.shape(x) != (d,):
        raise_value_error(
            "x.shape",
            jnp.shape(x),
            f"it must be ({d},), {why}",
            f"Use it on a grid of {d} axes.",
        )


def check_definite(name: str, matrix: Value) -> None:
    """Raise `ValueError` for a concrete square matrix that is not symmetric positive
    definite.

    ```python
    from fpsolve.potential.leaves import check_definite

    check_definite("covariance", [[1.0, 0.2], [0.2, 1.0]])
    ```
    """
    cure = "Give a symmetric matrix with positive eigenvalues."
    array = np.asarray(matrix, dtype=float)
    tolerance = CONSTANTS.symmetry_tolerance
    # An entry that should be zero has the rounding of the largest.
    rounding = tolerance * np.abs(array).max()
    if not np.allclose(array, array.T, rtol=tolerance, atol=rounding):
        raise_value_error(name, matrix, "it must be symmetric", cure)
    least = np.linalg.eigvalsh(array)[0]
    if not least > 0:
        raise_value_error(
            name,
            matrix,
            f"it must be positive definite, and its least eigenvalue is {least:.3g}",
            cure,
        )

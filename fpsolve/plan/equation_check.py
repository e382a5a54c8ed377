"""Validation of an equation on a grid: its functions have the right shapes, are finite
at the nodes, and are periodic on periodic axes.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete, raise_value_error
from ..core.program import sampling_program
from ..core.types import Formula, Scalar
from ..equation import Equation, read_equation
from ..grid import Axis, Grid, Places, sample_product
from ..operator import Samples, Scheme, places_of, sample_smooth
from .constants import CONSTANTS
from .validation import check_kinds


def check_equation(equation: Any, grid: Any, t: Scalar = 0.0) -> tuple[Any, Grid]:
    """Raise `ValueError` unless `equation` is an equation, `grid` a grid, and all
    functions have the right shape and are finite on the grid.

    **Returns** the equation with its functions as they are now (`read_equation`), and
    the grid.
    """
    check_kinds(equation)
    equation, grid, _ = check_and_sample(equation, grid, None, t)
    return equation, grid


def check_and_sample(
    equation: Any, grid: Any, scheme: Scheme | None, t: Scalar = 0.0
) -> tuple[Any, Grid, Samples | None]:
    """`check_equation`, and the samples of a scheme by the same compiled program; None
    where values are traced.
    """
    check_kinds(equation, may_flow=True)
    if not isinstance(grid, Grid):
        raise_value_error(
            "grid",
            grid,
            "it must be an fp.Grid",
            "Give fp.Grid(fp.Line(-5, 5, 128)), say.",
        )
    # A diffusion given by numbers is checked by its shape, one given by a function
    # below.
    shapes = ()
    if not callable(equation.diffusion):
        shapes = (equation.diffusion.shape, getattr(equation, "given", ()))
    if any(shape not in ((), (grid.ndim,)) for shape in shapes):
        cure = "Give one number, or one an axis."
        raise_value_error(
            "diffusion", equation.diffusion, f"the grid has {_dimensions(grid)}", cure
        )
    # A potential is a scalar; everything else that an equation is given by is a vector.
    vector = (grid.ndim,)
    expected: dict[str, tuple[int, ...]] = {
        name: () if name == "potential" else vector for name in equation.functions
    }
    if callable(equation.diffusion):
        expected["diffusion"] = vector
    for name, shape in expected.items():
        _check_function(name, equation, grid, t, shape)
    equation = read_equation(equation, grid.ndim)
    # From here on values are examined.
    if not is_concrete(equation, t):
        return equation, grid, None
    places = grid
    if scheme is not None:
        reversible = equation.irreversible_anywhere is None
        places = places_of(grid, scheme, equation, reversible)
    names = tuple(expected)
    found, jumps, samples = _examine(equation, names, places, as_array(t), scheme)
    for name, shape in expected.items():
        _check_values(name, found[name], grid, t, shape)
    for i, (jump, largest) in jumps.items():
        _check_periodic(equation, grid.axes[i], float(jump), float(largest))
    if samples is None:
        return equation, grid, None
    smooth_samples, has_jumps = samples
    # Jumps are resolved where the samples are used (`sample_equation`).
    return equation, grid, None if bool(has_jumps) else smooth_samples


def probe(name: str, f: Formula, grid: Grid) -> jax.ShapeDtypeStruct:
    """The shape and type of f at one point of the grid; `ValueError` if f fails there.
    Nothing is computed.

    The point is an array of numpy, where an index beyond the end is an error; JAX would
    clamp the index and return a number.
    """
    corner = [axis.nodes[0] for axis in grid.axes]
    point = np.asarray(corner, dtype=jnp.result_type(float))
    try:
        with np.errstate(all="ignore"):
            try:
                return jax.eval_shape(lambda: jnp.asarray(f(point)))
            # what only arrays of JAX have, such as x.at
            except (AttributeError, TypeError):
                return jax.eval_shape(lambda x: jnp.asarray(f(x)), point)
    except (IndexError, TypeError, ValueError) as error:
        if str(error).startswith(name):  # a message of this form already
            raise
        allowed = (
            f"it must take a point of the grid's {_dimensions(grid)}, and fails there "
            f"({error})"
        )
        raise_value_error(
            f"{name} at x",
            tuple(point.tolist()),
            allowed,
            "Use as many coordinates as the grid has axes.",
        )


def _dimensions(grid: Grid) -> str:
    return f"{grid.ndim} dimension{'s' if grid.ndim > 1 else ''}"


def _check_function(
    name: str, equation: Equation, grid: Grid, t: Scalar, shape: tuple[int, ...]
) -> None:
    """Check the shape and type of a function at one point, and that it needs no more
    coordinates than the grid has.
    """
    function = _function(equation, name)
    value = probe(name, lambda x: function(x, t), grid)
    if value.shape != shape:
        expected = "a scalar" if shape == () else f"of shape {shape}"
        raise_value_error(
            name,
            value.shape,
            f"f(x) must be {expected}",
            "Sum over the coordinates: jnp.sum(x**2), say.",
        )
    if jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise_value_error(
            name,
            value.dtype,
            "it must be real, not complex",
            "Take jnp.real or jnp.abs of it.",
        )


class BadValue(NamedTuple):
    """Whether a function has a value on the grid that is not allowed; the flat index of
    the first, and the value.
    """

    exists: Array
    index: Array
    value: Array


def _check_values(
    name: str, found: BadValue, grid: Grid, t: Scalar, shape: tuple[int, ...]
) -> None:
    """Raise `ValueError` for a value on the grid that is not allowed, with its
    position.
    """
    if bool(found.exists):
        # The index counts the components of a vector, too.
        node = int(found.index) // max(1, math.prod(shape))
        indices = zip(grid.axes, np.unravel_index(node, grid.shape), strict=True)
        position = tuple(float(axis.nodes[i]) for axis, i in indices)
        expected = "finite, and positive or zero," if name == "diffusion" else "finite"
        allowed = (
            f"it must be {expected} on the grid, and is not at x = {position}, t = {t}"
        )
        raise_value_error(
            name,
            float(found.value),
            allowed,
            "Move the box, or change the function there.",
        )


@sampling_program
def _examine(
    equation: Any, names: tuple[str, ...], grid: Grid | Places, t: Scalar, scheme: Any
) -> Any:
    """The first bad value of each function on the grid, the jumps at the ends of
    periodic axes, and a scheme's samples with whether a function jumps.

    All in one program: each compilation costs more than all of these evaluations.
    """
    found = {name: _first_bad(equation, name, grid, t) for name in names}
    jumps = {}
    # Places have no periodic axis.
    if isinstance(grid, Grid):
        jumps = {
            i: _jump(equation, grid, i, t)
            for i, axis in enumerate(grid.axes)
            if axis.boundary == "periodic"
        }
    samples = None
    if scheme is not None:
        reversible = equation.irreversible_anywhere is None
        samples = sample_smooth(scheme, equation, grid, t, reversible)
    return found, jumps, samples


def _first_bad(
    equation: Equation, name: str, grid: Grid | Places, t: Scalar
) -> BadValue:
    """The first value on the grid that is not finite; of a diffusion, also the first
    that is negative.
    """
    function = _function(equation, name)
    values = grid.sample(lambda x: function(x, t)).ravel()
    bad = ~jnp.isfinite(values)
    if name == "diffusion":
        # It may vanish here and there. One that vanishes everywhere is no diffusion.
        bad = bad | (values < 0) | ~jnp.any(values != 0)
    index = jnp.argmax(bad)  # the first of the largest: the first True
    return BadValue(jnp.any(bad), index, values[index])


def _function(equation: Equation, name: str) -> Callable[[Array, Scalar], Array]:
    """A function that defines the equation, or its diffusion, as one of (x, t)."""
    if name == "diffusion":
        return lambda x, t: equation.diffusions(x)
    return equation.functions[name]


def _check_periodic(
    equation: Equation, axis: Axis, jump: float, largest: float
) -> None:
    """Raise `ValueError` where the potential, score or velocity differs at the two ends
    of a periodic axis.
    """
    if jump > largest:
        # A constant push around a periodic axis has no periodic potential, but it is a
        # periodic force.
        name = _on_ring(equation)
        cure = "Use fp.Line."
        if name == "potential":
            cure = "Give the push round the ring as force=..., or use fp.Line."
        raise_value_error(
            name,
            jump,
            f"it must be periodic on {axis!r}, and jumps there by this much",
            cure,
        )


def _jump(equation: Equation, grid: Grid, i: int, t: Scalar) -> tuple[Array, Array]:
    """The largest jump of the potential, score or velocity from one end of axis i to
    the other, and how large it may be, relative to the range of the values on the grid
    and to their rounding.
    """
    # The product grid with axis i replaced by its two ends, at which a periodic
    # function has the same values.
    axis = grid.axes[i]
    ends = jnp.asarray([axis.lower, axis.upper], dtype=float)
    positions = tuple(ends if j == i else x for j, x in enumerate(grid.nodes))
    given = equation.functions[_on_ring(equation)]
    values = sample_product(lambda x: given(x, t), positions)
    inside = grid.sample(lambda x: given(x, t))
    epsilon = jnp.finfo(inside.dtype).eps
    rounding = CONSTANTS.periodic_roundings * epsilon * jnp.max(jnp.abs(inside))
    jump = jnp.max(jnp.abs(jnp.diff(values, axis=i)))
    return jump, CONSTANTS.periodic_jump * jnp.ptp(inside) + rounding


def _on_ring(equation: Equation) -> str:
    """The name of the function that must be periodic on a ring: the potential, else the
    score or the velocity.
    """
    return next(
        name
        for name in ("potential", "score", "velocity")
        if name in equation.functions
    )

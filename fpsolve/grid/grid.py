"""`Grid`: the tensor product of axes. It is static, hashable and compared by value."""

import functools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import (
    check_finite_number,
    check_numbers,
    is_concrete,
    raise_value_error,
)
from ..core.machine import EXACTLY
from ..core.memory import check_memory
from ..core.types import AnyArray, DType, Formula, Initial, Real, Scalar
from .axis import Axis, register
from .constants import CONSTANTS
from .gaussian import Gaussian
from .gaussian_on_grid import (
    cell_averages,
    check_inside,
    node_values,
    standard_deviations,
)
from .sampling import product_points, sample_product

SMALLER = "Take fewer nodes on some axis."
REFINE = "Give 2 for twice the nodes."


@register
class Grid:
    """The tensor product of axes, one for each dimension.

    **Arguments**: `axes`, each an `fp.Line`, `fp.Reflecting`, `fp.Absorbing`,
    `fp.Periodic` or `fp.Legendre`; kinds may be mixed. **Raises**: `ValueError` for no
    axis, or for an argument of another type.

    A grid holds no array: `points`, `weights` and samples are computed at each call. If
    they do not fit into memory, a `ValueError` states the bytes that are needed and
    available.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-3.0, 3.0, 48), fp.Periodic(0.0, 1.0, 31))
    density = grid.density(fp.Gaussian([0.0, 0.5], 0.1))
    ```
    """

    axes: tuple[Axis, ...]

    def __init__(self, *axes: Axis):
        if not axes:
            raise_value_error(
                "Grid.axes",
                axes,
                "a grid needs at least one axis",
                "Give fp.Grid(fp.Line(-5, 5, 128)), say.",
            )
        for i, axis in enumerate(axes):
            if not isinstance(axis, Axis):
                raise_value_error(
                    f"Grid.axes[{i}]",
                    axis,
                    "it must be an axis",
                    "Give fp.Line, fp.Periodic, fp.Legendre, ...",
                )
        self.axes = axes

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of nodes of each axis."""
        return tuple(axis.n for axis in self.axes)

    @property
    def ndim(self) -> int:
        """Number of dimensions d."""
        return len(self.axes)

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(self.shape)

    @property
    def nodes(self) -> tuple[Array, ...]:
        """d arrays `(n_i,)`: the positions of the nodes on each axis."""
        return tuple(jnp.asarray(axis.nodes, dtype=float) for axis in self.axes)

    @property
    def points(self) -> Array:
        """The positions of all points, `(*shape, d)`."""
        check_memory("Grid.shape", self.shape, self.ndim, SMALLER)
        return product_points(self.nodes)

    @property
    def weights(self) -> Array:
        """Quadrature weights `(*shape)`; they sum to the volume of the box."""
        check_memory("Grid.shape", self.shape, 1, SMALLER)
        # The outer product of the weights of all axes.
        weights = jnp.ones(())
        for axis in self.axes:
            weights = weights[..., None] * jnp.asarray(axis.weights, dtype=float)
        return weights

    @property
    def weights_on_host(self) -> np.ndarray:
        """`weights` by numpy, which compiles nothing."""
        return functools.reduce(np.multiply.outer, [axis.weights for axis in self.axes])

    def along_axis(self, i: int, values: AnyArray, dtype: DType = float) -> Array:
        """`values` `(m,)` that belong to axis i, shaped `(m, 1, ..., 1)` to multiply
        fields along that axis.
        """
        later_axes = [1] * (self.ndim - 1 - i)
        return jnp.asarray(values, dtype=dtype).reshape(-1, *later_axes)

    def axis_weights(self, i: int, dtype: DType = float) -> Array:
        """The weights of axis i alone, shaped to multiply fields along that axis."""
        return self.along_axis(i, self.axes[i].weights, dtype)

    @property
    def origin(self) -> Array:
        """The first node of every axis, `(d,)`."""
        return jnp.stack([nodes[0] for nodes in self.nodes])

    @property
    def absorbs(self) -> bool:
        """Whether the boundary of some axis is absorbing, so that mass leaves."""
        return any(axis.boundary == "absorbing" for axis in self.axes)

    @property
    def uniform(self) -> bool:
        """Whether all cells of each axis are equal."""
        return all(axis.uniform for axis in self.axes)

    @property
    def in_cells(self) -> "Grid":
        """The same grid in units of its cells (`Axis.in_cells`), which is one grid for
        boxes of all sizes.
        """
        return Grid(*(axis.in_cells for axis in self.axes))

    @property
    def units(self) -> tuple[float, ...]:
        """The lengths of a cell along each axis: the units of length `in_cells`."""
        return tuple(axis.unit for axis in self.axes)

    def integrate(self, u: Array) -> Array:
        """The integral of `u` `(..., *shape)` over the last d axes, `(...)`: the sum of
        u times the weights.
        """
        # The last axis first, as one matrix-vector product each, in the precision of u.
        u = jnp.asarray(u)
        for axis in reversed(self.axes):
            weights = jnp.asarray(axis.weights, dtype=u.real.dtype)
            u = jnp.matmul(u, weights, precision=EXACTLY)
        return u

    def sample(self, f: Formula) -> Array:
        """`f(x)`, x of shape `(d,)`, at every point: `(*shape)`, or `(*shape, ...)` if
        `f` has several components.
        """
        check_memory("Grid.shape", self.shape, self.ndim + 1, SMALLER)
        return sample_product(f, self.nodes)

    def density(self, f: Initial, name: str = "density") -> Array:
        """A density of mass 1 on the grid, `(*shape)`.

        **Arguments**: `f`, a function of x, an array of the grid's shape, or
        `fp.Gaussian`. A normal density is wrapped on a ring. One that is narrower than
        a cell is represented by averages over the cells, with its mass and mean.

        **Raises**: `ValueError`, with `name` in its message, for a wrong shape, a NaN,
        an infinity, a negative value, no mass on the grid, or a normal density that
        lies outside of the box.
        """
        if isinstance(f, Gaussian):
            f.check_dimension(self.ndim)
            check_inside(name, self.axes, f)
            values = _normal(self, f)
        elif callable(f):
            values = self.sample(f)
        else:
            if is_concrete(f):
                check_numbers(
                    name,
                    f,
                    "it must be a density",
                    "Give a function, fp.Gaussian or an array.",
                    waves=True,
                )
            # Integers (counts) become floats; complex values pass on to
            # `check_density`, which has a message for them.
            values = jnp.asarray(f)
            if not jnp.issubdtype(values.dtype, jnp.inexact):
                values = values.astype(float)
        self.check_density(name, values)
        values = without_rounding(values)
        # Normalise with the weights of this grid; on the host for concrete values, so
        # that nothing is compiled.
        mass = self._mass(values)
        if not is_concrete(values):
            return values / mass
        return as_array(np.asarray(values) / mass, values.dtype)

    def _mass(self, values: Array) -> Scalar:
        """The integral; of concrete values on the host, which compiles nothing."""
        if not is_concrete(values):
            return self.integrate(values)
        return self.integrate_on_host(np.asarray(values))

    def integrate_on_host(self, u: np.ndarray) -> Any:
        """`integrate` by numpy, which compiles nothing: the integral of `u`
        `(..., *shape)`, `(...)`; of one field, a number of numpy.
        """
        for axis in reversed(self.axes):
            u = u @ axis.weights.astype(u.dtype)
        return u

    def check_density(self, name: str, values: Array, tol: float = 0.0) -> None:
        """Raise `ValueError` for an array that is not a density on this grid.

        Entries below zero by rounding pass, and those whose mass is at most the part
        `tol` of the whole, as in the result of another run; `without_rounding` sets
        them to zero. Of a traced array only the shape and the type are checked.
        """
        cure = "Give a function of x, an array of the grid's shape, or fp.Gaussian."
        if values.shape != self.shape:
            raise_value_error(
                f"{name}.shape",
                values.shape,
                f"it must be the grid's shape, {self.shape}",
                cure,
            )
        if jnp.iscomplexobj(values):
            raise_value_error(
                name,
                values.dtype,
                "a density is real",
                "Give fp.Schrodinger as the equation to evolve a wave.",
            )
        if not is_concrete(values):
            return
        array = np.asarray(values)
        negative = array < _lowest(array)
        if self.negative_mass(array) <= tol:
            negative = np.zeros_like(negative)
        defects = {"finite": ~np.isfinite(array), "at least zero": negative}
        for requirement, bad in defects.items():
            if bad.any():
                # of the first bad value
                index = np.unravel_index(int(np.argmax(bad)), self.shape)
                nodes = [axis.nodes for axis in self.axes]
                x = tuple(float(u[i]) for u, i in zip(nodes, index, strict=True))
                raise_value_error(
                    name,
                    float(array[index]),
                    f"it must be {requirement}, and is not at x = {x}",
                    cure,
                )
        if not float(self._mass(values)) > 0:
            raise_value_error(
                name,
                0.0,
                "its mass on the grid must be positive",
                "Choose a box that contains the density.",
            )

    def negative_mass(self, values: np.ndarray) -> float:
        """The mass of the entries of a density below zero, over that of the others."""
        below = float(self.integrate_on_host(np.maximum(-values, 0)))
        above = float(self.integrate_on_host(np.maximum(values, 0)))
        if above > 0:
            return below / above
        return np.inf if below > 0 else 0.0

    def refine(self, factor: Real = 2) -> "Grid":
        """The same box with `factor` times the nodes on every axis."""
        if check_finite_number("factor", factor, REFINE) <= 0:
            raise_value_error("factor", factor, "it must be positive", REFINE)
        return Grid(*(axis.refine(factor) for axis in self.axes))

    def __eq__(self, other: object) -> bool:
        return self.axes == other.axes if isinstance(other, Grid) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.axes)

    def __repr__(self) -> str:
        # One axis is one line; several are a short tree, such as
        #     Grid 48 x 31 = 1,488 points
        #     ├─ Line(-3, 3, 48)
        #     └─ Periodic(0, 1, 31)
        if self.ndim == 1:
            return f"Grid({self.axes[0]!r})"
        shape = " x ".join(map(str, self.shape))
        rows = [f"Grid {shape} = {self.size:,} points"]
        for i, axis in enumerate(self.axes):
            corner = "└" if i == self.ndim - 1 else "├"
            rows.append(f"{corner}─ {axis!r}")
        return "\n".join(rows)


def without_rounding(values: Array) -> Array:
    """A density that was checked, its entries below zero by rounding set to zero. A
    traced one is returned as it is.
    """
    if not is_concrete(values) or not np.any(np.asarray(values) < 0):
        return values
    return as_array(np.maximum(np.asarray(values), 0), values.dtype)


def _lowest(array: np.ndarray) -> float:
    """The lowest value that may be rounding in a density; entries that are no numbers
    are reported elsewhere.
    """
    rounding = CONSTANTS.negative_roundings * float(np.finfo(array.dtype).eps)
    part = max(CONSTANTS.negative_part, rounding)
    largest = np.max(array, initial=0.0, where=np.isfinite(array))
    return -part * float(largest)


def _normal(grid: Grid, f: Gaussian) -> Array:
    """A normal density up to a factor: its values at the nodes, or its averages over
    cells that are wider than it.
    """
    check_memory("Grid.shape", grid.shape, 3, SMALLER)
    if is_concrete(f) and grid.uniform:
        units = np.asarray([axis.unit for axis in grid.axes])
        deviations = standard_deviations(grid.axes, f)
        if np.any(deviations < CONSTANTS.least_deviation * units):
            return cell_averages(grid.axes, f)
    return node_values(grid.axes, f)

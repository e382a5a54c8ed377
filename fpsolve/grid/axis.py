"""One axis of a grid: nodes with quadrature weights, faces between neighbouring nodes,
and the boundary.

    nodes   x_0 < x_1 < ... < x_{n-1}           values of fields
    faces   between neighbouring nodes          values of fluxes and derivatives

The three kinds of boundary differ only in which faces exist:

    no_flux    n - 1 faces, none at the ends, so that no mass leaves
    periodic   n faces, the last one between the last node and the first
    absorbing  n + 1 faces, the first and the last at walls where the density is zero

Axes are static: frozen, hashable, compared by value. Their arrays are float64 numpy
arrays.
"""

import abc
import dataclasses
from typing import ClassVar, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import check_finite_number, check_integer, raise_value_error
from ..core.types import Count, Real

Boundary = Literal["no_flux", "periodic", "absorbing"]
Modes = Literal["fourier", "sines", "polynomials"]
AnyAxis = TypeVar("AnyAxis", bound="Axis")
AnyType = TypeVar("AnyType")


@dataclasses.dataclass(frozen=True)
class Axis(abc.ABC):
    """An axis with two bounds, `n` nodes and a kind of boundary; abstract. Lengths are
    in units of the coordinate.
    """

    lower: Real
    upper: Real
    n: Count
    boundary: ClassVar[Boundary]
    # the functions of its spectral basis; None if it has no such basis
    modes: ClassVar[Modes | None]
    uniform: ClassVar[bool]  # whether all cells are equal
    # whether it represents the whole line, so that a density must decay before its ends
    unbounded: ClassVar[bool]

    def __post_init__(self) -> None:
        name = type(self).__name__
        lower = check_finite_number(f"{name}.lower", self.lower)
        upper = check_finite_number(f"{name}.upper", self.upper)
        if not lower < upper:
            raise_value_error(
                f"{name}.lower, upper",
                (lower, upper),
                "lower must be below upper",
                "Swap or move the bounds.",
            )
        cure = "Give the number of nodes as an integer above 2."
        n = check_integer(f"{name}.n", self.n, 3, cure)
        # The dataclass is frozen; its fields are converted once, so that axes with
        # equal numbers compare equal.
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)
        object.__setattr__(self, "n", n)

    @property
    @abc.abstractmethod
    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes `(n,)` and the quadrature weights `(n,)` of their cells; the weights
        sum to the length.
        """

    @property
    def length(self) -> float:
        """upper - lower."""
        return self.upper - self.lower

    @property
    def nodes(self) -> np.ndarray:
        """Positions of the nodes, `(n,)`, ascending."""
        return self.cells[0]

    @property
    def weights(self) -> np.ndarray:
        """Quadrature weights of the nodes, `(n,)`; they sum to the length."""
        return self.cells[1]

    @property
    def edges(self) -> np.ndarray:
        """Ends of the cells, `(n + 1,)`, from lower to upper."""
        return self.lower + np.concatenate([[0.0], np.cumsum(self.weights)])

    # The next five properties and methods describe the faces. `faces`, `spacings`,
    # `endpoints` and the two arrays of `face_neighbors` all have the length n - 1, n or
    # n + 1 that the boundary gives.

    @property
    def faces(self) -> np.ndarray:
        """Positions of the faces, one for each pair that `face_neighbors` returns."""
        edges = self.edges
        if self.boundary == "absorbing":
            return edges
        # The two ends of a ring are one face, which comes last.
        return edges[1:] if self.boundary == "periodic" else edges[1:-1]

    @property
    def spacings(self) -> np.ndarray:
        """Distances between the two points on either side of each face."""
        below, above = self.endpoints
        distances = above - below
        # On a periodic axis the last face is between the last node and the first, one
        # period further.
        return np.where(above > below, distances, distances + self.length)

    @property
    def endpoints(self) -> tuple[np.ndarray, np.ndarray]:
        """The two points on either side of each face. At an absorbing boundary one of
        them is the wall itself.
        """
        x = self.nodes
        if self.boundary == "periodic":
            return x, np.roll(x, -1)
        # the walls are points of their own, half a cell from the outer nodes
        if self.boundary == "absorbing":
            x = np.concatenate([[self.lower], x, [self.upper]])
        return x[:-1], x[1:]

    def face_neighbors(self, u: Array, axis: int = -1) -> tuple[Array, Array]:
        """Values below and above each face along `axis`; zero on absorbing walls."""
        if self.boundary == "periodic":
            return u, jnp.roll(u, -1, axis)
        if self.boundary == "absorbing":  # the density is zero at the walls
            u = _pad(u, axis)
        return _neighbours(u, axis)

    def node_faces(self, flux: Array, axis: int = -1) -> tuple[Array, Array]:
        """Face values below and above each node along `axis`; zero beyond a no-flux
        boundary.

        This is the adjoint of `face_neighbors`.
        """
        if self.boundary == "periodic":
            return jnp.roll(flux, 1, axis), flux
        if self.boundary == "no_flux":  # there is no face, and no flux, at the ends
            flux = _pad(flux, axis)
        return _neighbours(flux, axis)

    @property
    def in_cells(self: AnyAxis) -> AnyAxis:
        """The same axis from 0 to n, so that equal cells have length 1.

        Programs that need no positions take this axis, so that they are shared by boxes
        of all sizes.
        """
        return dataclasses.replace(self, lower=0.0, upper=float(self.n))

    @property
    def unit(self) -> float:
        """The length of a cell, all being equal: the unit of length `in_cells`."""
        return self.length / self.n

    def refine(self: AnyAxis, factor: Real = 2) -> AnyAxis:
        """The same axis with `factor` times the nodes."""
        return dataclasses.replace(self, n=max(3, round(self.n * factor)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.lower:g}, {self.upper:g}, {self.n})"


def _neighbours(u: Array, axis: int) -> tuple[Array, Array]:
    """The first and the second of each two successive values along `axis`."""
    n = u.shape[axis]
    below = jax.lax.slice_in_dim(u, 0, n - 1, axis=axis)
    above = jax.lax.slice_in_dim(u, 1, n, axis=axis)
    return below, above


def _pad(u: Array, axis: int) -> Array:
    """`u` with a zero at both ends of `axis`."""
    widths = [(0, 0)] * u.ndim
    widths[axis] = (1, 1)
    return jnp.pad(u, widths)


def register(cls: type[AnyType]) -> type[AnyType]:
    """Register an axis or a grid as a static pytree: an argument of `jit` that is a
    constant of the program.
    """
    return jax.tree_util.register_static(cls)

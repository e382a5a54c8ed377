"""An axis: nodes with quadrature weights, faces between neighbouring nodes, and what lies at the two ends.

    nodes   x_0 < x_1 < ... < x_{n-1}           fields live here
    faces   between neighbours                  fluxes and derivatives live here

The three kinds of boundary differ only in which faces exist:

    no_flux    n - 1 faces, none at the ends: nothing leaves
    periodic   n faces, the last one joins the last node to the first
    absorbing  n + 1 faces, the first and the last on walls where the density is zero

Axes are static: frozen, hashable, compared by value, and their arrays are float64 numpy, computed once.
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
    """What every axis has: two bounds, `n` nodes, and its kind of boundary. Units: those of the coordinate."""

    lower: Real
    upper: Real
    n: Count
    boundary: ClassVar[Boundary]
    modes: ClassVar[Modes | None]  # the functions of its spectral basis; None where there is no such basis
    uniform: ClassVar[bool]  # whether all cells are equal
    unbounded: ClassVar[bool]  # whether it stands for the whole line, so that a density must decay before its ends

    def __post_init__(self) -> None:
        name = type(self).__name__
        lower = check_finite_number(f"{name}.lower", self.lower)
        upper = check_finite_number(f"{name}.upper", self.upper)
        if not lower < upper:
            raise_value_error(
                f"{name}.lower, upper", (lower, upper), "lower must be below upper", "Swap or move the bounds."
            )
        n = check_integer(f"{name}.n", self.n, 3, "Give the number of nodes as an integer above 2.")
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)
        object.__setattr__(self, "n", n)

    @property
    @abc.abstractmethod
    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes `(n,)` and the quadrature weights `(n,)` of their cells; the weights sum to the length."""

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
        """Boundaries of the cells, `(n + 1,)`, from lower to upper."""
        return self.lower + np.concatenate([[0.0], np.cumsum(self.weights)])

    @property
    def faces(self) -> np.ndarray:
        """Positions of the faces, one for each pair that `face_neighbors` returns."""
        return {"no_flux": self.edges[1:-1], "periodic": self.edges[1:], "absorbing": self.edges}[self.boundary]

    @property
    def spacings(self) -> np.ndarray:
        """Distances between the two points on either side of each face."""
        below, above = self.endpoints
        return np.where(above > below, above - below, above - below + self.length)

    @property
    def endpoints(self) -> tuple[np.ndarray, np.ndarray]:
        """The two points on either side of each face; on an absorbing end one of them is the wall itself."""
        x = self.nodes
        if self.boundary == "periodic":
            return x, np.roll(x, -1)
        if self.boundary == "absorbing":
            x = np.concatenate([[self.lower], x, [self.upper]])
        return x[:-1], x[1:]

    def face_neighbors(self, u: Array, axis: int = -1) -> tuple[Array, Array]:
        """Values below and above each face along `axis` of `u`; zero on a wall."""
        if self.boundary == "periodic":
            return u, jnp.roll(u, -1, axis)
        if self.boundary == "absorbing":
            u = _pad(u, axis)
        n = u.shape[axis]
        return jax.lax.slice_in_dim(u, 0, n - 1, axis=axis), jax.lax.slice_in_dim(u, 1, n, axis=axis)

    def node_faces(self, flux: Array, axis: int = -1) -> tuple[Array, Array]:
        """Face values below and above each node along `axis`; zero beyond a no-flux end.

        The transpose of `face_neighbors`.
        """
        if self.boundary == "periodic":
            return jnp.roll(flux, 1, axis), flux
        if self.boundary == "no_flux":
            flux = _pad(flux, axis)
        n = flux.shape[axis]
        return jax.lax.slice_in_dim(flux, 0, n - 1, axis=axis), jax.lax.slice_in_dim(flux, 1, n, axis=axis)

    @property
    def in_cells(self: AnyAxis) -> AnyAxis:
        """The same axis from 0 to n, so that equal cells have length 1: what programs that need no positions see."""
        return dataclasses.replace(self, lower=0.0, upper=float(self.n))

    @property
    def unit(self) -> float:
        """The length that is 1 `in_cells`: that of an equal cell."""
        return self.length / self.n

    def refine(self: AnyAxis, factor: Real = 2) -> AnyAxis:
        """The same axis with `factor` times the nodes."""
        return dataclasses.replace(self, n=max(3, round(self.n * factor)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.lower:g}, {self.upper:g}, {self.n})"


def _pad(u: Array, axis: int) -> Array:
    return jnp.pad(u, [(1, 1) if i == axis % u.ndim else (0, 0) for i in range(u.ndim)])


def register(cls: type[AnyType]) -> type[AnyType]:
    """Make an axis or a grid a static pytree: it may pass through `jit` and shapes the program."""
    return jax.tree_util.register_static(cls)

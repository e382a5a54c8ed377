"""T27, the continuity Hamiltonian: the square root of a density that a velocity carries obeys a unitary equation.

    d_t p = -div(v p)   <=>   d_t sqrt(p) = -(v.grad + (div v) / 2) sqrt(p)

On a ring with v = a sin x characteristics are known: tan(x/2) = e^{at} tan(x(0)/2). Control: v.grad without div v / 2,
which does not conserve mass.

Reference: arXiv 2510.08462.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..equation import Continuity
from ..grid import Grid, Periodic
from ..operator.skew import derivative_matrix
from ..solve.evolve import evolve
from .base import Kind, Sides, Theorem, identity
from .problems import refined


class CarriedRoot(Theorem):
    """The square of the wave is the density by characteristics, to 1e-9.

    **Arguments**: `speed` a of v = a sin x; `time` t; `nodes` of the ring.
    """

    name: ClassVar[str] = "T27"
    statement: ClassVar[str] = "∂_t p = -∇·(v p) is ∂_t √p = -(v·∇ + ∇·v/2) √p, whose norm is constant"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "T27.control"
    control_statement: ClassVar[str] = "∂_t √p = -v·∇ √p carries another density, of another mass"

    speed: float = 0.7
    time: float = 1.0
    nodes: int = 63

    def measure(self, refine: bool) -> Sides:
        """The two densities at the node where they differ most."""
        grid = self._grid(refine)
        flow = Continuity(lambda x: self.speed * jnp.sin(x))
        run = evolve(flow, grid.sample(_start), [self.time], grid=grid, tol=1e-11, check=False, throw=False)
        return identity(run.values[0], self._exact(grid), 1e-9)

    def control(self, refine: bool) -> Sides:
        """The same by the matrix of v.grad alone."""
        grid = self._grid(refine)
        speeds = self.speed * np.sin(np.asarray(grid.nodes[0]))
        # Not antisymmetric, so that no orthogonal method applies.
        half = speeds[:, None] * derivative_matrix(grid.axes[0])
        wave = jax.scipy.linalg.expm(-self.time * half) @ jnp.sqrt(grid.sample(_start))
        return identity(wave**2, self._exact(grid), 1e-9)

    def _grid(self, refine: bool) -> Grid:
        return refined(Grid(Periodic(0.0, 2 * np.pi, self.nodes)), refine)

    def _exact(self, grid: Grid) -> Any:
        """p(x, t) = p(x(0), 0) dx(0)/dx."""
        half = np.asarray(grid.nodes[0]) / 2
        growth = np.exp(self.speed * self.time)
        # By the angle of two numbers, which holds beyond x = pi as well.
        origins = 2 * np.arctan2(np.sin(half), growth * np.cos(half))
        stretch = 1 / (growth * np.cos(half) ** 2 + np.sin(half) ** 2 / growth)
        return np.asarray(jax.vmap(_start)(jnp.asarray(origins)[:, None])) * stretch


def _start(x: Array) -> Array:
    """A density of mass 2 pi I_0(1) on the ring."""
    return jnp.exp(jnp.cos(x[0] - 0.4))

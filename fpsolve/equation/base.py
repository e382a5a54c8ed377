"""What every equation of motion tells about itself.

density    d_t p = L p                     its mass is conserved, and there may be a Gibbs density pi
wave       d_t psi = -exp(i w) H psi       w the Wick angle
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.types import Point
from ..grid import Grid

NO_DENSITY = "it evolves a wave"


class Equation(eqx.Module):
    """An equation in d dimensions, given by functions of x `(d,)` and t, and by a diffusion."""

    evolves_density: ClassVar[bool]  # whether the state is a density, whose mass is conserved; else it is a wave
    by_factors: ClassVar[bool]  # whether it is given by the factors A of H = A^T A alone, and not by a potential
    diffusion: eqx.AbstractVar[Any]

    @property
    @abc.abstractmethod
    def time_dependent(self) -> bool:
        """Whether a function of the equation depends on time."""

    @property
    @abc.abstractmethod
    def functions(self) -> dict[str, Callable[[Point, Any], Array]]:
        """The functions of (x, t) that the equation is given by, by name, beside its diffusion."""

    @property
    @abc.abstractmethod
    def irreversible_anywhere(self) -> str | None:
        """Why there is no Gibbs density on any grid, or None."""

    @abc.abstractmethod
    def irreversible_because(self, grid: Grid, t: Any = 0.0) -> str | None:
        """Why there is no Gibbs density on this grid, or None."""

    @property
    def reversible_on_some_grids(self) -> bool:
        """Whether it depends on the grid that there is a Gibbs density: several diffusions, and no other hindrance."""
        return self.irreversible_anywhere is None and np.ndim(self.diffusion) > 0

    def given_at(self, x: Point, t: Any = 0.0) -> Array:
        """The values of all `functions` at (x, t), `(m,)`."""
        return jnp.concatenate([jnp.atleast_1d(function(x, t)) for function in self.functions.values()])

    def diffusions(self, x: Point) -> Array:
        """The diffusion along each axis at x, `(d,)`."""
        value = self.diffusion(x) if callable(self.diffusion) else self.diffusion
        return jnp.broadcast_to(jnp.asarray(value, x.dtype), x.shape)

"""The interface of all equations of motion. The state is a density or a wave:

density    d_t p = L p                  mass is conserved, and there may be a Gibbs
                                        density pi
wave       d_t psi = -exp(i w) H psi    w is the Wick angle
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.types import Point, Scalar
from ..grid import Grid

NO_DENSITY = "it evolves a wave"  # why an equation for waves has no Gibbs density


class Equation(eqx.Module):
    """An equation by functions of x `(d,)` and t, and by a diffusion; abstract."""

    # whether the state is a density, whose mass is conserved, or a wave
    evolves_density: ClassVar[bool]
    # whether it is defined by the factors A of H = A^T A, without a potential
    by_factors: ClassVar[bool]
    diffusion: eqx.AbstractVar[Any]

    @property
    @abc.abstractmethod
    def time_dependent(self) -> bool:
        """Whether a function of the equation depends on time."""

    @property
    @abc.abstractmethod
    def functions(self) -> dict[str, Callable[[Point, Scalar], Array]]:
        """The functions of (x, t) of the equation, by name, without the diffusion."""

    @property
    @abc.abstractmethod
    def irreversible_anywhere(self) -> str | None:
        """The reason why there is no Gibbs density on any grid, or None."""

    @abc.abstractmethod
    def irreversible_because(self, grid: Grid, t: Scalar = 0.0) -> str | None:
        """The reason why there is no Gibbs density on this grid, or None."""

    @property
    def reversible_on_some_grids(self) -> bool:
        """Whether the existence of a Gibbs density depends on the grid.

        This is so for several diffusions, when nothing else excludes a Gibbs density:
        the potential must then be a sum over the axes, which is tested on the grid.
        """
        return self.irreversible_anywhere is None and np.ndim(self.diffusion) > 0

    def given_at(self, x: Point, t: Scalar = 0.0) -> Array:
        """The values of all `functions` at (x, t), `(m,)`."""
        functions = self.functions.values()
        return jnp.concatenate([jnp.atleast_1d(f(x, t)) for f in functions])

    def diffusions(self, x: Point) -> Array:
        """The diffusion along each axis at x, `(d,)`."""
        # A diffusion is one number, one for each axis, or a function that returns
        # either.
        value = self.diffusion(x) if callable(self.diffusion) else self.diffusion
        return jnp.broadcast_to(jnp.asarray(value, x.dtype), x.shape)

"""A discretised problem: its operators, the picture of the state, the Wick angle."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..core.types import DType, Scalar
from ..equation import divide_by_sqrt_pi
from ..grid import Grid
from ..operator import Operator, OperatorPath
from ..operator.clipping import clip_tails
from ..propagate.base import Picture
from .constants import CONSTANTS


class Problem(eqx.Module):
    """What stays fixed while a state is integrated: one operator, or one for each time.

    States are densities (`Picture.DENSITY`), waves p / sqrt(pi_t) relative to the Gibbs
    density of their own time (`GIBBS_WAVE`), or waves of a Schrödinger equation
    (`WAVE`).
    """

    operator: Operator | OperatorPath
    picture: Picture = eqx.field(static=True)
    wick: float = eqx.field(static=True)

    @property
    def grid(self) -> Grid:
        """The grid of the operators."""
        return self.operator.grid

    @property
    def time_dependent(self) -> bool:
        """Whether the operator depends on time."""
        return isinstance(self.operator, OperatorPath)

    @property
    def collocated(self) -> bool:
        """Whether collocation can integrate it: a moving wave whose H is a kinetic
        matrix for each axis plus V.
        """
        path = self.operator
        return (
            isinstance(path, OperatorPath)
            and path.scheme.spectral
            and path.axiswise
            and self.picture is not Picture.DENSITY
            and self.grid.uniform
            and self.grid.size <= CONSTANTS.collocation_max_points
        )

    def at(self, t: Scalar, dtype: DType) -> Operator:
        """The operator at time t."""
        if isinstance(self.operator, OperatorPath):
            return self.operator.at(t, dtype)
        return self.operator

    def log_sqrt_pi(self, t: Scalar, dtype: DType) -> Array:
        """log sqrt(pi_t) where states are relative to sqrt(pi_t), and 0 elsewhere."""
        if self.picture is not Picture.GIBBS_WAVE:
            return jnp.zeros((), dtype)
        if isinstance(self.operator, OperatorPath):
            return self.operator.log_sqrt_pi(t).astype(dtype)
        return self.operator.log_sqrt_pi

    def to_state(self, field: Array, fraction: Scalar | None = None) -> Array:
        """The state at t = 0 of a density or a wave; a `fraction` of the mass may be
        clipped (`operator.clipping`).
        """
        # At another Wick angle than 0 a wave is complex.
        if self.wick != 0:
            return field.astype(jnp.result_type(field, jnp.complex64))
        if self.picture is not Picture.GIBBS_WAVE:
            return field
        log_sqrt_pi = self.log_sqrt_pi(0.0, field.dtype)
        # Without a fraction to give up, the wave is taken whatever its size.
        if fraction is None:
            return divide_by_sqrt_pi(field, log_sqrt_pi)
        weights = self.grid.weights.astype(field.dtype)
        return clip_tails(field, log_sqrt_pi, weights, fraction)

    def to_field(self, state: Array, t: Scalar) -> Array:
        """The density or the wave of a state at time t."""
        return state * jnp.exp(self.log_sqrt_pi(t, state.real.dtype))

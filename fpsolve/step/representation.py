"""From a state to a field, and the errors of a state on its grid: what clipping
removed, and what its nodes alias.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.program import quick_program
from ..core.types import Time
from ..operator import OperatorPath
from ..operator.aliasing import aliasing_error
from ..operator.constants import CONSTANTS as OPERATOR
from ..propagate.base import Picture
from .problem import Problem


def clipping_error(problem: Problem, field: Array, state: Array) -> Array:
    """The relative L1 error of clipping the tails of the start; 0 without clipping."""
    if problem.wick != 0 or problem.picture is not Picture.GIBBS_WAVE:
        return jnp.zeros((), field.real.dtype)
    weights = problem.grid.weights.astype(field.real.dtype)

    def mass(u: Array) -> Array:
        return jnp.sum(weights * jnp.abs(u))

    # Back from the state to a density: what is missing there was clipped.
    clipped = problem.to_field(state, 0.0) - field
    lost = mass(clipped) / mass(field)
    # An error estimate is a constant to derivatives.
    return jax.lax.stop_gradient(lost)


def report(problem: Problem, state: Array, t: Time) -> tuple[Array, Array]:
    """The density or the wave of a state at time t, and its aliasing error."""
    t = jnp.asarray(t)
    return problem.to_field(state, t), boundary_aliasing_error(problem, state, t)


# The same as a program of its own, for a state that is reported from Python.
report_at = quick_program(report)


@quick_program
def stack_fields(fields: list[Array]) -> Array:
    """One array `(T, *shape)` of fields `(*shape)`."""
    return jnp.stack(fields)


def boundary_aliasing_error(problem: Problem, state: Array, t: Array) -> Array:
    """The relative L1 error of a moving wave p / sqrt(pi) by aliasing on its axes.

    It is 0 unless it is much larger than that of the density and of sqrt(pi) itself:
    what those two show is an error of the grid, which `plan` examines.
    """
    path = problem.operator
    spectral = isinstance(path, OperatorPath) and path.scheme.spectral
    if not spectral or problem.picture is not Picture.GIBBS_WAVE:
        return jnp.zeros((), state.real.dtype)
    grid = problem.grid
    # The wave is examined as it is: no mode is taken as already decayed.
    undamped = jnp.ones(grid.ndim)
    sqrt_pi = jnp.exp(problem.log_sqrt_pi(t, state.real.dtype))
    of_wave, of_density = aliasing_error(grid, state, sqrt_pi, undamped)
    of_stationary_wave, _ = aliasing_error(grid, sqrt_pi, sqrt_pi, undamped)
    error = of_wave / grid.integrate(jnp.abs(sqrt_pi * state))
    error_of_grid = of_density + of_stationary_wave
    exceeds = of_wave > OPERATOR.aliasing_excess * error_of_grid
    return jax.lax.stop_gradient(jnp.where(exceeds, error, 0))

"""Gibbs densities in a moving potential, by small programs (`core.program`)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import sampling_program
from ..core.types import AnyArray, Numbers, Scalar
from ..equation import FokkerPlanck
from ..grid import Grid
from .constants import CONSTANTS
from .pieces import irregular_points


@sampling_program
def gibbs_density(equation: FokkerPlanck, grid: Grid, t: Scalar) -> Array:
    """The Gibbs density at time t, `(*shape)`."""
    return jnp.exp(2 * equation.log_sqrt_pi(grid, t))


@sampling_program
def log_gibbs_at(equation: FokkerPlanck, grid: Grid, times: Numbers) -> Array:
    """log pi_t of mass 1 at `times` `(T,)`, `(T, *shape)`."""
    at = lambda t: 2 * equation.log_sqrt_pi(grid, t)
    # Time by time, which takes the memory of one field besides the result.
    return jax.lax.map(at, jnp.asarray(times))


@sampling_program
def log_sqrt_pi_and_rate(
    equation: FokkerPlanck, grid: Grid, t: Scalar
) -> tuple[Array, Array]:
    """log sqrt(pi_t) and d_t log pi_t, `(*shape)`."""
    t = jnp.asarray(t)
    log_sqrt_pi_at = lambda s: equation.log_sqrt_pi(grid, s)
    # One forward derivative, whatever the size of the grid.
    log_sqrt_pi, change = jax.jvp(log_sqrt_pi_at, (t,), (jnp.ones_like(t),))
    return log_sqrt_pi, 2 * change


def box_points(grid: Grid) -> np.ndarray:
    """Irregular points in the box of a grid, `(P, d)`, at which a moving potential is
    sampled for its features.
    """
    lower = np.asarray([axis.lower for axis in grid.axes])
    upper = np.asarray([axis.upper for axis in grid.axes])
    return irregular_points(lower, upper, CONSTANTS.feature_points)


def sample_energies(
    equation: FokkerPlanck, points: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """U at `points` `(P, d)` and `times` `(T,)`, `(T, P)`."""
    # Batches of one size, so that one compiled program serves any number of times.
    batch = CONSTANTS.feature_batch
    padding = np.full(-len(times) % batch, times[-1])
    padded = np.concatenate([times, padding]).reshape(-1, batch)
    rows = [np.asarray(_sample_energies(equation, points, part)) for part in padded]
    return np.concatenate(rows)[: len(times)]


@sampling_program
def _sample_energies(equation: FokkerPlanck, points: AnyArray, times: Numbers) -> Array:
    at = lambda t: jax.vmap(lambda x: equation.energy(x, t))(points)
    return jax.vmap(at)(times)

"""Gibbs densities in a time-dependent potential, by small programs that evaluate its functions (`core.program`)."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.program import sampling_program
from ..equation import FokkerPlanck
from ..grid import Grid


@sampling_program
def gibbs_density(equation: FokkerPlanck, grid: Grid, t: Any) -> Array:
    """The Gibbs density at time t, `(*shape)`."""
    return jnp.exp(2 * equation.log_sqrt_pi(grid, t))


@sampling_program
def log_gibbs_at(equation: FokkerPlanck, grid: Grid, times: Any) -> Array:
    """log pi_t of mass 1 at `times` `(T,)`, `(T, *shape)`."""
    return jax.lax.map(lambda t: 2 * equation.log_sqrt_pi(grid, t), jnp.asarray(times))


@sampling_program
def log_sqrt_pi_and_rate(equation: FokkerPlanck, grid: Grid, t: Any) -> tuple[Array, Array]:
    """log sqrt(pi_t) and d_t log pi_t, `(*shape)`."""
    t = jnp.asarray(t)
    log_sqrt_pi, change = jax.jvp(lambda s: equation.log_sqrt_pi(grid, s), (t,), (jnp.ones_like(t),))
    return log_sqrt_pi, 2 * change

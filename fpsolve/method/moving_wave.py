"""What a moving wave is measured by: its well with the term of theorem T13, what it is relative to, sizes, distances.

d_t psi = -(H_t + d_t log sqrt(pi_t)) psi,      p = sqrt(pi_t) psi
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array


def moving_well(problem: Any, t: Array, dtype: Any) -> Array:
    """V + d_t log sqrt(pi) at time t, `(*shape)`."""
    well = problem.operator(t, dtype).well
    if not problem.process:
        return well
    return well + jax.jvp(lambda s: relative_to(problem, s, dtype), (t,), (jnp.ones_like(t),))[1]


def relative_to(problem: Any, t: Array, dtype: Any) -> Array:
    """log sqrt(pi) + constant: what a process's wave is relative to within a step."""
    grid = problem.grid
    return grid.sample(lambda x: problem.equation.log_gibbs(x, grid.origin, t)).astype(dtype) / 2


def reach_of_wave(problem: Any, field: Array, t: Array) -> Array:
    """|sqrt(pi)| |psi| / |sqrt(pi) psi|_1, by which errors of waves are enlarged; sqrt(1 + chi2) for a density."""
    dtype = field.real.dtype
    weights = problem.grid.weights.astype(dtype)
    root = jnp.exp(problem.log_root(t, dtype)) * jnp.ones_like(weights)
    norm = lambda u: jnp.sqrt(jnp.sum(weights * jnp.abs(u) ** 2))
    return jax.lax.stop_gradient(norm(root) * norm(field) / jnp.sum(weights * root * jnp.abs(field)))


def wave_distance(problem: Any, a: Array, b: Array, t: Array) -> Array:
    """Relative L1 distance of two densities, or of two waves in the weights that make a density of them."""
    dtype = a.real.dtype
    measure = jnp.exp(problem.log_root(t, dtype)) * problem.grid.weights.astype(dtype)
    return jax.lax.stop_gradient(jnp.sum(measure * jnp.abs(a - b)) / jnp.sum(measure * jnp.abs(a)))

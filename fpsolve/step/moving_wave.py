"""What a moving wave is measured by: its well with the term of theorem T13, what it is relative to, sizes, distances.

d_t psi = -(H_t + d_t log sqrt(pi_t)) psi,      p = sqrt(pi_t) psi
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..operator import OperatorPath
from ..propagate.base import Picture
from .problem import Problem


def moving_well(problem: Problem, t: Array, dtype: Any) -> Array:
    """V + d_t log sqrt(pi) at time t, `(*shape)`."""
    assert isinstance(problem.operator, OperatorPath)
    well = problem.operator.samples(t).well
    assert well is not None, "a wave has a well"
    if problem.picture is not Picture.GIBBS_WAVE:
        return well.astype(dtype)
    rate = jax.jvp(lambda s: relative_to(problem, s, dtype), (t,), (jnp.ones_like(t),))[1]
    return well.astype(dtype) + rate


def relative_to(problem: Problem, t: Array, dtype: Any) -> Array:
    """log sqrt(pi) + constant: what a process's wave is relative to within a step."""
    assert isinstance(problem.operator, OperatorPath)
    return problem.operator.log_gibbs(t).astype(dtype) / 2


def reach_of_wave(problem: Problem, field: Array, t: Array) -> Array:
    """|sqrt(pi)| |psi| / |sqrt(pi) psi|_1, by which errors of waves are enlarged; sqrt(1 + chi2) for a density."""
    dtype = field.real.dtype
    weights = problem.grid.weights.astype(dtype)
    root = jnp.exp(problem.log_sqrt_pi(t, dtype)) * jnp.ones_like(weights)
    norm = lambda u: jnp.sqrt(jnp.sum(weights * jnp.abs(u) ** 2))
    return jax.lax.stop_gradient(norm(root) * norm(field) / jnp.sum(weights * root * jnp.abs(field)))


def wave_measure(problem: Problem, t: Array, dtype: Any) -> Array:
    """The weights that make a density of a wave at time t, `(*shape)`."""
    return jnp.exp(problem.log_sqrt_pi(t, dtype)) * problem.grid.weights.astype(dtype)


def relative_distance(a: Array, b: Array, measure: Array) -> Array:
    """Relative L1 distance of two states in the weights of a density."""
    return jax.lax.stop_gradient(jnp.sum(measure * jnp.abs(a - b)) / jnp.sum(measure * jnp.abs(a)))


def wave_distance(problem: Problem, a: Array, b: Array, t: Array) -> Array:
    """Relative L1 distance of two densities, or of two waves in the weights that make a density of them."""
    return relative_distance(a, b, wave_measure(problem, t, a.real.dtype))

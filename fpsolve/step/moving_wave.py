"""A moving wave at one time: its potential term, its size, and distances.

    d_t psi = -(H_t + d_t log sqrt(pi_t)) psi,      p = sqrt(pi_t) psi    (theorem T13)

Errors are measured in the density p, as relative L1 distances. A wave of a Schrödinger
equation is measured as it is.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.types import DType
from ..operator import OperatorPath
from ..propagate.base import Picture
from .problem import Problem


def moving_potential_term(problem: Problem, t: Array, dtype: DType) -> Array:
    """V + d_t log sqrt(pi) at t, `(*shape)`; V alone for a Schrödinger equation."""
    assert isinstance(problem.operator, OperatorPath)
    potential_term = problem.operator.samples(t).potential_term
    assert potential_term is not None, "a wave has a potential term"
    if problem.picture is not Picture.GIBBS_WAVE:
        return potential_term.astype(dtype)

    def log_sqrt_gibbs_at(s: Array) -> Array:
        return log_sqrt_gibbs(problem, s, dtype)

    # The derivative in time by forward mode: it is exact, and costs one more
    # evaluation.
    _, rate = jax.jvp(log_sqrt_gibbs_at, (t,), (jnp.ones_like(t),))
    return potential_term.astype(dtype) + rate


def log_sqrt_gibbs(problem: Problem, t: Array, dtype: DType) -> Array:
    """log sqrt(pi_t) up to a constant in x, `(*shape)`.

    Within a step the constant is left out: a normalisation at every point of the step
    would cost a reduction each, and the change of the constant over the whole step is
    one number.
    """
    assert isinstance(problem.operator, OperatorPath)
    return problem.operator.log_gibbs(t).astype(dtype) / 2


def amplification(problem: Problem, field: Array, t: Array) -> Array:
    """|sqrt(pi)| |psi| / |sqrt(pi) psi|_1, the factor from a relative L2 error of a
    wave to a relative L1 error of p.

    It is sqrt(1 + chi2) for a density, with chi2 its chi-square distance from pi. A
    constant to derivatives.
    """
    dtype = field.real.dtype
    weights = problem.grid.weights.astype(dtype)
    # For a wave of a Schrödinger equation log sqrt(pi) is the number 0.
    sqrt_pi = jnp.exp(problem.log_sqrt_pi(t, dtype)) * jnp.ones_like(weights)

    def norm(u: Array) -> Array:
        return jnp.sqrt(jnp.sum(weights * jnp.abs(u) ** 2))

    mass = jnp.sum(weights * sqrt_pi * jnp.abs(field))
    return jax.lax.stop_gradient(norm(sqrt_pi) * norm(field) / mass)


def wave_measure(problem: Problem, t: Array, dtype: DType) -> Array:
    """The weights that turn a state at t into the masses of a density, `(*shape)`."""
    sqrt_pi = jnp.exp(problem.log_sqrt_pi(t, dtype))
    return sqrt_pi * problem.grid.weights.astype(dtype)


def relative_distance(a: Array, b: Array, measure: Array) -> Array:
    """The relative L1 distance of two states, with `measure` as weights. A constant to
    derivatives.
    """
    distance = jnp.sum(measure * jnp.abs(a - b))
    size = jnp.sum(measure * jnp.abs(a))
    return jax.lax.stop_gradient(distance / size)


def wave_distance(problem: Problem, a: Array, b: Array, t: Array) -> Array:
    """The relative L1 distance of the densities that two states mean at time t."""
    measure = wave_measure(problem, t, a.real.dtype)
    return relative_distance(a, b, measure)

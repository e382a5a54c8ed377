"""Stochastic gradient Langevin dynamics of many walkers.

    theta' = theta - h grad loss(theta, batch) + sqrt(2 h D) N
    N standard normal, batch drawn anew at every step

For h -> 0 the density of theta obeys d_t p = div(p grad U) + D Lap p with U the loss on
all data. A finite h adds two errors of its order: that of Euler's step, h |Hess U| / 2
of the variance, and the noise of the batches, whose covariance C acts as a diffusion
h C / 2 beside D.

Reference: Welling and Teh, ICML 2011.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.content import ReadFunction, read_function
from ..core.program import compiled
from ..core.types import Formula, Scalar
from .constants import CONSTANTS


class Walkers(NamedTuple):
    """Walkers at the output times `(T, W, d)`, and two measures of what a finite step
    adds.

    - `noise`: the largest eigenvalue of h C / 2 in units of D; `euler`: that of h Hess
      U / 2
    """

    positions: Array
    noise: Array
    euler: Array


def read_loss(loss: Formula, dim: int, rows: Any) -> ReadFunction:
    """The loss of theta `(dim,)` and rows of data as it is now (`core.content`)."""
    theta = np.zeros(dim, jnp.result_type(float))
    return read_function(lambda x, y: jnp.asarray(loss(x, y)), theta, rows)


@compiled
def walk(
    read: ReadFunction,
    data: Any,
    start: Array,
    lengths: Array,
    counts: Array,
    diffusion: Array,
    batch: int,
    key: Array,
) -> Array:
    """Walkers `(T, W, d)` at the ends of T intervals, each of `counts` steps of
    `lengths`, from `start` `(W, d)`.

    Every walker draws batches of its own.
    """
    size = jax.tree.leaves(data)[0].shape[0]
    gradient = jax.grad(read)

    def gradients(theta: Array, key: Array) -> Array:
        # All rows: nothing is drawn.
        if batch == size:
            return jax.vmap(lambda x: gradient(x, data))(theta)

        def on_batch(x: Array, rows: Array) -> Array:
            return gradient(x, jax.tree.map(lambda column: column[rows], data))

        chosen = jax.random.randint(key, (theta.shape[0], batch), 0, size)
        return jax.vmap(on_batch)(theta, chosen)

    def interval(
        carry: tuple[Array, Array], length_and_count: tuple[Array, Array]
    ) -> tuple[tuple[Array, Array], Array]:
        length, count = length_and_count

        def step(_: Scalar, state: tuple[Array, Array]) -> tuple[Array, Array]:
            theta, key = state
            key, batch_key, noise_key = jax.random.split(key, 3)
            noise = jax.random.normal(noise_key, theta.shape, theta.dtype)
            drift = length * gradients(theta, batch_key)
            spread = jnp.sqrt(2 * length * diffusion)
            return theta - drift + spread * noise, key

        # Intervals have different numbers of steps, and share one program.
        theta, key = jax.lax.fori_loop(0, count, step, carry)
        return (theta, key), theta

    return jax.lax.scan(interval, (start, key), (lengths, counts))[1]


@compiled
def step_errors(
    full: ReadFunction,
    read: ReadFunction,
    data: Any,
    theta: Array,
    step: Array,
    diffusion: Array,
    batch: int,
    key: Array,
) -> tuple[Array, Array]:
    """The largest eigenvalues over walkers `(W, d)` of h C / (2 D), C the covariance of
    a batch's gradient, and of h Hess U / 2.
    """
    size = jax.tree.leaves(data)[0].shape[0]
    gradient = jax.grad(read)
    # A mean over some walkers is enough for an estimate.
    some = theta[: CONSTANTS.noise_walkers]

    def covariance(x: Array, key: Array) -> Array:
        def on_batch(rows: Array) -> Array:
            return gradient(x, jax.tree.map(lambda column: column[rows], data))

        rows = jax.random.randint(key, (CONSTANTS.noise_batches, batch), 0, size)
        found = jax.vmap(on_batch)(rows)
        # In one dimension `cov` is a scalar.
        return jnp.atleast_2d(jnp.cov(found, rowvar=False))

    keys = jax.random.split(key, some.shape[0])
    covariances = jax.vmap(covariance)(some, keys)
    noises = jnp.linalg.eigvalsh(covariances)
    largest = jnp.mean(noises[:, -1])
    hessians = jax.vmap(lambda x: jax.hessian(full)(x, data))(some)
    curvatures = jnp.linalg.eigvalsh(hessians)
    steepest = jnp.max(jnp.abs(curvatures))
    # A batch of all data has no noise of its own.
    noise = jnp.where(batch == size, 0, step * largest / (2 * diffusion))
    return noise, step * steepest / 2

"""The field g = s_p - s that a score s lacks, by ridge regression on random features,
with cross-fitting.

    E_p|s - s_p|²  >=  -E_p[ |g|² + 2 g·s + 2 div g ],      with equality at g = s_p - s

g = Σ_k c_k φ_k with φ = 1, x and random cosines. The samples are divided into three
thirds, and each is once

    training      c solves  (E[φφᵀ] + ridge) c = -E[φ s + ∇φ],  for every ridge
    validation    the ridge is chosen for which the right side, less its standard error,
                  is largest
    test          the right side is evaluated with that c

The test samples were not used to find g, so the estimate errs downwards: by the part of
the error that no such g expresses, and by the noise of g. Where nothing is found it is
about zero; the standard error is then that of a g which is hardly regularised, and says
how large an error could have remained unseen. Under noise, x + σz, div g is g·z/σ: the
part of the residual s + z/σ that can be predicted from x + σz.

Reference: Rahimi and Recht, NIPS 2007 (random cosines).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...core.program import compiled
from ..constants import CONSTANTS


class Residuals(NamedTuple):
    """At points y, m a sample: `points` standardised `(n, m, d)`, `scores` `(n, m, d)`,
    `slopes` `(d,)` of y's standardisation (0 under noise, where there is no
    divergence), `extras` `(n, m, e)` that g may depend on too, `losses` J `(n,)`.
    """

    points: Array
    scores: Array
    slopes: Array
    extras: Array
    losses: Array


class Cosines(NamedTuple):
    """The random cosines √2 cos(w·y + b) of inputs y `(p,)`: `weights` w
    `(features, p)`, `shifts` b `(features,)`.
    """

    weights: Array
    shifts: Array


class Part(NamedTuple):
    """The samples of one role: features `phi` `(k, m, 1 + p + features)`, the `sines`
    `(k, m, features)` that the derivatives of the cosines need, and the residual
    `scores` `(k, m, d)`.
    """

    phi: Array
    sines: Array
    scores: Array


@compiled
def explained_error(
    residuals: Residuals, key: Array, features: int
) -> tuple[Array, Array]:
    """-(|g|² + 2 g·s + 2 div g) at the test samples, `(n,)` of a whole number of
    thirds, and its standard deviation, or that of a g which is hardly regularised, if
    that is larger.
    """
    dim = residuals.points.shape[-1]
    inputs = jnp.concatenate([residuals.points, residuals.extras], axis=-1)
    weight_key, shift_key, split_key = jax.random.split(key, 3)
    cosines = _draw_cosines(weight_key, shift_key, features, dim, inputs)
    order = jax.random.permutation(split_key, len(inputs))
    thirds = order[: len(inputs) // 3 * 3].reshape(3, -1)

    def turn(thirds: Array) -> Array:
        """The explained error of the third of the thirds, when the first trains and the
        second validates: with the best ridge and with the ridge of the null estimate,
        `(2, n / 3)`.
        """
        training, validation, test = (
            _part(residuals, inputs, cosines, rows) for rows in thirds
        )
        candidates = _solve_ridges(training, residuals.slopes, cosines)

        def worth(c: Array) -> Array:
            """How much of the error a ridge explains with confidence."""
            return _lower_bound(_explained(validation, c, residuals.slopes, cosines))

        best = candidates[jnp.argmax(jax.lax.map(worth, candidates))]
        null = candidates[CONSTANTS.ridges.index(CONSTANTS.null_ridge)]
        return jnp.stack(
            [_explained(test, c, residuals.slopes, cosines) for c in (best, null)]
        )

    # Each third has each role once.
    turns = jnp.stack([jnp.roll(thirds, -k, axis=0) for k in range(3)])
    explained = jax.lax.map(turn, turns)
    values, null_values = jnp.moveaxis(explained, 1, 0).reshape(2, -1)
    # A g that is regularised to zero has no scatter: its own deviation would claim an
    # error of exactly zero.
    return values, jnp.maximum(jnp.std(values), jnp.std(null_values))


def _draw_cosines(
    weight_key: Array, shift_key: Array, features: int, dim: int, inputs: Array
) -> Cosines:
    """Cosines whose lengths are spread over `wave_lengths`, in units of the typical
    distance √d of two samples.
    """
    dtype = inputs.dtype
    # Repeated as often as is needed: about as many cosines of each length.
    lengths = jnp.resize(jnp.asarray(CONSTANTS.wave_lengths, dtype), (features, 1))
    normal = jax.random.normal(weight_key, (features, inputs.shape[-1]), dtype)
    weights = normal / (jnp.sqrt(dim) * lengths)
    shifts = jax.random.uniform(shift_key, (features,), dtype, maxval=2 * jnp.pi)
    return Cosines(weights, shifts)


def _part(residuals: Residuals, inputs: Array, cosines: Cosines, rows: Array) -> Part:
    """The features of the samples `rows`."""
    y = inputs[rows]
    phases = y @ cosines.weights.T + cosines.shifts
    one = jnp.ones_like(y[..., :1])
    waves = jnp.sqrt(2) * jnp.cos(phases)
    phi = jnp.concatenate([one, y, waves], -1)
    return Part(phi, jnp.sin(phases), residuals.scores[rows])


def _stein(part: Part, c: Array, slopes: Array, cosines: Cosines) -> Array:
    """g·s + div g of g = φᵀc at every sample, `(k,)`."""
    dim = len(slopes)
    features = len(cosines.shifts)
    # the divergence of the linear features
    linear = jnp.sum(jnp.diagonal(c[1 : dim + 1]) * slopes)
    # that of the cosines
    weights = cosines.weights[:, :dim]
    waves = jnp.sum(weights * slopes * c[-features:], axis=1)
    divergence = linear - jnp.sqrt(2) * part.sines @ waves
    products = jnp.sum((part.phi @ c) * part.scores, axis=-1)
    return jnp.mean(products + divergence, axis=-1)


def _explained(part: Part, c: Array, slopes: Array, cosines: Cosines) -> Array:
    """-(|g|² + 2 g·s + 2 div g) at every sample, `(k,)`."""
    g = part.phi @ c
    squares = jnp.mean(jnp.sum(g**2, axis=-1), axis=-1)
    return -squares - 2 * _stein(part, c, slopes, cosines)


def _solve_ridges(training: Part, slopes: Array, cosines: Cosines) -> Array:
    """The coefficients c for every ridge, `(ridges, 1 + p + features, d)`."""
    phi = training.phi.reshape(-1, training.phi.shape[-1])
    zero = jnp.zeros((phi.shape[-1], len(slopes)), phi.dtype)

    def mean_stein(c: Array) -> Array:
        return jnp.mean(_stein(training, c, slopes, cosines))

    # It is linear in c; its derivative is the right side E[φ s + ∇φ].
    right = jax.grad(mean_stein)(zero)
    # One diagonalisation serves every ridge.
    levels, axes = jnp.linalg.eigh(phi.T @ phi / len(phi))

    def solve(ridge: Array) -> Array:
        # Eigenvalues that are zero come out negative by rounding.
        damped = (jnp.maximum(levels, 0) + ridge)[:, None]
        return -axes @ ((axes.T @ right) / damped)

    return jax.lax.map(solve, jnp.asarray(CONSTANTS.ridges, phi.dtype))


def _lower_bound(values: Array) -> Array:
    """The mean less its standard error: no ridge looks better by noise alone."""
    return jnp.mean(values) - jnp.std(values) / np.sqrt(len(values))

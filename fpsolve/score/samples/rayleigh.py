"""The Rayleigh quotient of a function on samples, and the combination of features that
minimises it.

    R(f) = E|∇f|² / Var f
    f = Σ_j a_j φ_j:    R = aᵀK a / aᵀC a,   K = E[∇φ·∇φ],   C = Cov φ

The least R among the combinations is the least eigenvalue of K a = μ C a. Features with
parameters of their own are optimised by L-BFGS on the `training` samples, as long as R
on the `validation` samples falls.

Reference: Reed and Simon IV, theorem XIII.1 (min-max), for D E|∇f|²/Var f ≥ gap.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from ...core.program import compiled
from ...core.types import Point
from ..constants import CONSTANTS
from .features import Features, LineSplines, RidgeFunctions

OPTIMISER: Any = optax.lbfgs()


class Observable(eqx.Module):
    """f(x) = Σ a_j φ_j(x) - c, of mean 0 and variance 1: `features` φ, `coefficients` a
    (m,), `constant` c.
    """

    features: Features
    coefficients: Array
    constant: Array

    def __call__(self, x: Point) -> Array:
        """f(x), a scalar, at the point x of shape (d,)."""
        return self.features(jnp.asarray(x)) @ self.coefficients - self.constant

    def over(self, samples: Array) -> Array:
        """f at every sample, (n,)."""
        return self.features.values(samples) @ self.coefficients - self.constant


class Quotient(NamedTuple):
    """R(f) at D = 1 on samples, and its standard error."""

    value: Array
    error: Array


class Candidate(NamedTuple):
    """An observable fitted on training samples, and its R on validation samples."""

    observable: Observable
    quotient: Array


class FeatureMoments(NamedTuple):
    """Moments of m features over samples: `means` E φ (m,), `covariance` C (m, m),
    `gradients` K (m, m).
    """

    means: Array
    covariance: Array
    gradients: Array


@compiled
def rayleigh_quotient(
    observable: Observable, samples: Array, groups: Array
) -> Quotient:
    """R(f) at D = 1 on the samples and its standard error. The samples of one group
    `(n,)`, 0..n-1, count as one draw for the error.
    """
    f = observable.over(samples)
    squares = (f - jnp.mean(f)) ** 2
    gradients = observable.features.squared_gradients(samples, observable.coefficients)
    variance = jnp.sum(squares) / (len(f) - 1)
    value = jnp.mean(gradients) / variance
    # Delta method: R responds to one sample by r_i. Samples of a group are not
    # independent, so their r_i are summed.
    responses = (gradients - value * squares) / variance
    # As many segments as samples: one program serves any number of groups.
    influence = jax.ops.segment_sum(responses, groups, len(f))
    return Quotient(value, jnp.sqrt(jnp.sum(influence**2)) / len(f))


def minimise_rayleigh(features: Features, samples: Array) -> Observable:
    """The f of least quotient on the samples among combinations of the features."""
    moments = feature_moments(features, samples)
    coefficients = least_eigenvector(moments.covariance, moments.gradients)
    return Observable(features, coefficients, coefficients @ moments.means)


def feature_moments(features: Features, samples: Array) -> FeatureMoments:
    """The moments E φ, C and K of features over the samples.

    K has a few pseudo-samples more, spread over the segments between two samples: a
    step function through an empty region would have no gradient at any sample, and so R
    = 0. Where none of n samples is, up to some few of n + 1 may be, and these are
    counted there.
    """
    values = features.values(samples)
    n = len(samples)
    means = jnp.mean(values, axis=0)
    centred = values - means
    covariance = centred.T @ centred / (n - 1)
    between = features.gradient_products(interpolated_samples(samples))
    at_samples = features.gradient_products(samples)
    gradients = at_samples + CONSTANTS.interpolated_weight / n * between
    return FeatureMoments(means, covariance, gradients)


def interpolated_samples(samples: Array) -> Array:
    """Points on the segments between two random samples, `(interpolated_points, d)`."""
    count = CONSTANTS.interpolated_points
    # A fixed key: K is then one function of the features, which L-BFGS needs.
    key = jax.random.key(0)
    one, other = jax.random.randint(key, (2, count), 0, len(samples))
    fractions = (jnp.arange(count, dtype=samples.dtype)[:, None] + 0.5) / count
    return samples[one] + fractions * (samples[other] - samples[one])


def least_eigenvector(covariance: Array, gradients: Array) -> Array:
    """The a (m,) with aᵀC a = 1 of least aᵀK a, among the combinations whose variance
    is above rounding.
    """
    # Features of very different sizes are brought to variance 1 first, so that one
    # threshold holds for all.
    diagonal = jnp.diagonal(covariance)
    scale = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1))
    variances, axes = jnp.linalg.eigh(covariance / scale / scale[:, None])
    # A combination without variance has the quotient 0/0: rounding would be taken for a
    # slow function.
    rounding = CONSTANTS.rank_rounding * jnp.finfo(variances.dtype).eps
    kept = variances > rounding * variances[-1]
    # The inner `where` keeps negative variances out of the root.
    deviations = jnp.sqrt(jnp.where(kept, variances, 1))
    whiten = jnp.where(kept, axes / deviations, 0) / scale[:, None]
    energy = whiten.T @ gradients @ whiten
    # Dropped combinations are zero rows; an eigenvalue above all others keeps them away
    # from the least one. The shape stays m, so that one program serves every rank.
    above_all = 2 * jnp.trace(energy) + 1
    energy = energy + jnp.diag(jnp.where(kept, 0, above_all))
    return whiten @ jnp.linalg.eigh(energy)[1][:, 0]


def training_quotient(features: Features, samples: Array) -> Array:
    """The least quotient on the samples, differentiable in the parameters of the
    features.

    a is held constant: R is stationary in a at the minimum, so that the derivative of a
    contributes nothing, and the derivative of an eigenvector of a degenerate problem is
    avoided.
    """
    _, covariance, gradients = feature_moments(features, samples)
    constants = jax.lax.stop_gradient((covariance, gradients))
    a = jax.lax.stop_gradient(least_eigenvector(*constants))
    return a @ gradients @ a / (a @ covariance @ a)


@compiled
def evaluate(features: Features, training: Array, validation: Array) -> Candidate:
    """The slowest f on the training samples, and its validation quotient."""
    observable = minimise_rayleigh(features, training)
    # Every sample is a group of its own: only the value is needed, not its error.
    groups = jnp.arange(len(validation))
    quotient = rayleigh_quotient(observable, validation, groups).value
    return Candidate(observable, quotient)


def optimise(
    model: LineSplines | RidgeFunctions, training: Array, validation: Array
) -> Candidate:
    """The best f while the parameters of the features descend the quotient of the
    training samples. It stops early, when the quotient of the validation samples has
    ceased to fall.
    """
    best = evaluate(model.as_ridges(), training, validation)
    state = OPTIMISER.init(model)
    without_gain = 0
    # The validation samples decide when to stop: the training quotient falls for ever
    # by overfitting.
    for _ in range(CONSTANTS.optimiser_chunks):
        model, state = _optimise_chunk(model, state, training)
        found = evaluate(model.as_ridges(), training, validation)
        gained = found.quotient < best.quotient * (1 - CONSTANTS.optimiser_gain)
        without_gain = 0 if gained else without_gain + 1
        best = found if found.quotient < best.quotient else best
        if without_gain == CONSTANTS.optimiser_patience:
            break
    return best


@compiled
def _optimise_chunk(
    model: LineSplines | RidgeFunctions, state: Any, samples: Array
) -> tuple[LineSplines | RidgeFunctions, Any]:
    """The model and the state of L-BFGS after `optimiser_chunk` steps."""

    def loss(model: LineSplines | RidgeFunctions) -> Array:
        return training_quotient(model.as_ridges(), samples)

    value_and_gradient = optax.value_and_grad_from_state(loss)

    def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
        model, state = carry
        # Taken from the state, where the line search has left them.
        value, gradient = value_and_gradient(model, state=state)
        update, state = OPTIMISER.update(
            gradient, state, model, value=value, grad=gradient, value_fn=loss
        )
        return (optax.apply_updates(model, update), state), None

    chunk = CONSTANTS.optimiser_chunk
    (model, state), _ = jax.lax.scan(step, (model, state), None, length=chunk)
    return model, state

"""The search for a slow function among families of features.

    linear     the coordinates themselves
    kernel     random cosines of a Gaussian kernel, of the best of three widths
    line       steps along the slowest direction, whose direction is optimised
    network    steps along many directions, a hidden layer whose weights are optimised

Every family is fitted on the `training` samples; the family whose function has the
least quotient on the `validation` samples is taken. Both belong to one half of all
samples. The other half, which tests the function, is not used here.

Reference: Fisher, Annals of Eugenics 7 (1936) 179, for the discriminant directions.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...core.program import compiled
from ...core.types import Formula
from ..constants import CONSTANTS
from .features import (
    CustomFeatures,
    RidgeFunctions,
    covariance,
    independent_directions,
    kernel_waves,
    line_splines,
    linear_features,
    network_features,
    principal_directions,
)
from .rayleigh import Candidate, Observable, evaluate, optimise

FAMILIES = ("linear", "line", "kernel", "network")


class Choice(NamedTuple):
    """The slowest `observable` found, its `quotient` on the validation samples, and the
    `family` of its features.
    """

    observable: Observable
    quotient: Array
    family: str


def search(
    training: Array, validation: Array, features: str | Formula | None, key: Array
) -> Choice:
    """The slowest f on the training samples, of the family that has the least quotient
    on the validation samples.

    `features` is one family by name, None for all of them, or a function of the user's
    own.
    """
    if callable(features):
        given = evaluate(CustomFeatures(features), training, validation)
        return Choice(*given, "given")
    families = FAMILIES if features is None else (features,)
    found: dict[str, Candidate] = {}
    if "linear" in families:
        found["linear"] = evaluate(linear_features(training), training, validation)
    if "kernel" in families:
        found["kernel"] = _best_kernel(training, validation, key)
    if "line" in families or "network" in families:
        # Optimisation finds local minima only: it starts from the slowest of many
        # directions.
        directions = _slow_directions(training, validation, key)
        knots = CONSTANTS.line_knots
        if "line" in families:
            line = line_splines(directions[:1], training, knots)
            found["line"] = optimise(line, training, validation)
        if "network" in families:
            slowest = directions[: CONSTANTS.network_directions]
            start = network_features(slowest, training, knots, key)
            found["network"] = optimise(start, training, validation)
    # The validation samples decide: a rich family fits the training samples best in any
    # case.
    family = min(found, key=lambda name: float(found[name].quotient))
    return Choice(*found[family], family)


def _best_kernel(training: Array, validation: Array, key: Array) -> Candidate:
    """The slowest f among random cosines, whose width some training samples choose."""
    some = _thin(training)
    count = CONSTANTS.median_points
    # The first samples with the last ones: pairs of independent draws.
    differences = some[:count] - some[::-1][:count]
    distance = jnp.median(jnp.linalg.norm(differences, axis=1))
    # One key for every width: the widths are then compared by the same waves, scaled.
    waves_key = jax.random.fold_in(key, 1)
    tried = [
        kernel_waves(some, width * distance, CONSTANTS.kernel_waves, waves_key)
        for width in CONSTANTS.kernel_widths
    ]

    def quotient(features: RidgeFunctions) -> float:
        return float(evaluate(features, some, validation).quotient)

    return evaluate(min(tried, key=quotient), training, validation)


def _thin(samples: Array) -> Array:
    """Every k-th sample, with the least k that leaves at most `direction_samples`."""
    return samples[:: -(-len(samples) // CONSTANTS.direction_samples)]


@compiled
def _slow_directions(training: Array, validation: Array, key: Array) -> Array:
    """Directions along which a spline is slow, the slowest first.

    They are the principal directions, the independent ones, and those between two
    samples, as they are and turned by Fisher's discriminant (C⁻¹ times the difference).
    """
    samples = _thin(training)
    spread = covariance(samples)
    axes = principal_directions(spread)
    count = CONSTANTS.direction_pairs
    ones, others = jax.random.randint(key, (2, count), 0, len(samples))
    differences = samples[ones] - samples[others]
    # C⁻¹ in its principal axes, with a floor: a direction without variance would
    # outweigh all others.
    floor = CONSTANTS.flat_variance * jnp.trace(spread)
    variances = jnp.maximum(jnp.sum((axes @ spread) * axes, axis=1), floor)
    fisher = differences @ axes.T / variances @ axes
    independent = independent_directions(samples)
    tried = jnp.concatenate([axes, independent, differences, fisher])
    tried = tried / jnp.linalg.norm(tried, axis=1, keepdims=True)

    def quotient(direction: Array) -> Array:
        spline = line_splines(direction[None], samples, CONSTANTS.line_knots)
        return evaluate(spline.as_ridges(), samples, validation).quotient

    return tried[jnp.argsort(jax.lax.map(quotient, tried))]

"""Clipping the tails of p / sqrt(pi) where it overflows although p is small.

A Gibbs density may decrease faster than any start (that of a quartic potential does),
and then psi = p / sqrt(pi) grows without bound in tails that hold no mass. With r = psi
/ M the wave becomes psi (1 + r^4)^(-1/2), which never exceeds M and decreases beyond it
as fast as psi increased, so it does not reach the ends of the box. It is rescaled to
its mass.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.types import AnyArray, ArrayModule, SameArray, Scalar
from ..equation import divide_by_sqrt_pi
from .constants import CONSTANTS


def clip_tails(
    density: SameArray,
    log_sqrt_pi: AnyArray,
    weights: AnyArray,
    fraction: Scalar,
    xp: ArrayModule = jnp,
) -> SameArray:
    """p / sqrt(pi), with tails that are clipped at the lowest M that costs at most a
    `fraction` of the mass.

    p changes by at most `fraction` in L1, and not at all unless the largest value of
    the wave is `CONSTANTS.large_amplitude` times its mean.
    """
    # Where sqrt(pi) underflows the wave overflows, and is clipped to nothing: a height
    # whose fourth power is finite does this as well as an infinite one. A density of
    # zero has no wave.
    wave = divide_by_sqrt_pi(density, log_sqrt_pi, xp)
    largest = xp.finfo(wave.dtype).max ** CONSTANTS.largest_wave_power
    wave = xp.where(density > 0, xp.minimum(wave, largest), 0)
    sqrt_pi = xp.exp(log_sqrt_pi)
    mass = xp.sum(weights * density)

    def clipped(height: Scalar) -> SameArray:
        r = wave / height
        return wave / xp.sqrt(1 + xp.square(xp.square(r)))

    def halve(_: Array | int, bounds: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        low, high = bounds
        middle = (low + high) / 2
        kept = xp.sum(weights * sqrt_pi * clipped(xp.exp(middle)))
        lost = mass - kept
        allowed = lost <= fraction * mass
        return xp.where(allowed, low, middle), xp.where(allowed, middle, high)

    # M by bisection of its logarithm, because it may span hundreds of orders of
    # magnitude: from the mean of the wave to far above its largest value.
    log_largest = xp.log(xp.max(wave))
    log_mean = xp.log(mass) - xp.log(xp.sum(weights * sqrt_pi))
    bounds = (log_mean, log_largest + CONSTANTS.height_margin)
    if xp is jnp:
        _, log_height = jax.lax.fori_loop(0, CONSTANTS.bisection_steps, halve, bounds)
        # M is a numerical parameter: p does not depend on it
        height = jnp.exp(jax.lax.stop_gradient(log_height))
    else:
        for step in range(CONSTANTS.bisection_steps):
            bounds = halve(step, bounds)
        _, log_height = bounds
        height = xp.exp(log_height)

    answer = clipped(height)
    answer = answer * mass / xp.sum(weights * sqrt_pi * answer)
    is_large = log_largest > log_mean + math.log(CONSTANTS.large_amplitude)
    return xp.where(is_large, answer, wave)

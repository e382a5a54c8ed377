"""Clipping the tails of p / sqrt(pi) where it overflows although p is small.

A Gibbs density may fall faster than any start (that of a quartic well does), and then psi = p / sqrt(pi) grows without
bound in tails that carry no mass. With r = psi / M the wave becomes psi (1 + r^4)^(-1/2), which never exceeds M, falls
again as fast as it rose, and so reaches no end of the box; it is rescaled to the mass that it had.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from ..equation import divide_by_sqrt_pi

TOL_FRACTION = 0.01  # of the tolerance, which clipping may cost (a free choice)
LARGE = 100.0  # times its mean: the amplitude above which a wave is clipped at all (a free choice)
HALVINGS = 14  # of the range of log M: it is then known to 1/500 of itself, which changes p by less than rounding


def clip_tails(density: Any, log_sqrt_pi: Any, weights: Any, fraction: Any, xp: Any = jnp) -> Any:
    """p / sqrt(pi) with tails clipped as low as costs a `fraction` of the mass.

    M is found by bisection. p changes by at most `fraction` in L1, and not at all unless the wave rises to `LARGE`
    times its mean.
    """
    wave = divide_by_sqrt_pi(density, log_sqrt_pi, xp)
    root = xp.exp(log_sqrt_pi)
    mass = xp.sum(weights * density)

    def clipped(height: Any) -> Any:
        return wave / xp.sqrt(1 + xp.square(xp.square(wave / height)))

    def halve(_: Any, bounds: tuple[Any, Any]) -> tuple[Any, Any]:
        low, high = bounds
        middle = (low + high) / 2
        lost = mass - xp.sum(weights * root * clipped(xp.exp(middle)))
        enough = lost <= fraction * mass
        return xp.where(enough, low, middle), xp.where(enough, middle, high)

    largest = xp.log(xp.max(wave))
    typical = xp.log(mass) - xp.log(xp.sum(weights * root))
    bounds = (typical, largest + 10)
    if xp is jnp:
        height = jnp.exp(jax.lax.stop_gradient(jax.lax.fori_loop(0, HALVINGS, halve, bounds)[1]))
    else:
        for step in range(HALVINGS):
            bounds = halve(step, bounds)
        height = xp.exp(bounds[1])
    answer = clipped(height)
    answer = answer * mass / xp.sum(weights * root * answer)
    return xp.where(largest > typical + math.log(LARGE), answer, wave)

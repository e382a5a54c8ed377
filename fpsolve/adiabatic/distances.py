"""How far a density p is from the Gibbs density pi, with all digits of small distances and of thin tails.

    KL = int p log(p/pi) - p + pi       TV = (1/2) int |p - pi|       1 - F,  F = (int sqrt(p pi))^2

Where p is close to pi the integrand of KL is taken from its series in h = p/pi - 1, whose terms do not cancel; where pi
underflows, from log pi. A density that rounding has made negative counts as zero.
"""

import jax.numpy as jnp
from jaxtyping import Array

from ..grid import Grid

CLOSE = 0.03  # |p / pi - 1| below which the series is taken
TERMS = 10


def relative_entropy(density: Array, log_gibbs: Array, grid: Grid) -> Array:
    """KL(p | pi), `(...)`, of densities `(..., *shape)` from log pi `(..., *shape)`."""
    gibbs = jnp.exp(log_gibbs)
    held = gibbs > 0
    close = held & (jnp.abs(density - gibbs) < CLOSE * gibbs)
    h = jnp.where(close, (density - gibbs) / jnp.where(close, gibbs, 1), 0)
    series = jnp.zeros_like(h)
    for n in range(TERMS, 1, -1):  # (1 + h) log(1 + h) - h = sum_n (-h)^n / (n (n - 1))
        series = 1 / (n * (n - 1)) - h * series
    there = jnp.maximum(density, 0)
    filled = there > 0
    plain = jnp.where(filled, there * (jnp.log(jnp.where(filled, there, 1)) - log_gibbs), 0) - there + gibbs
    return grid.integrate(jnp.where(close, gibbs * h**2 * series, plain))


def total_variation(density: Array, log_gibbs: Array, grid: Grid) -> Array:
    """TV(p, pi), `(...)`."""
    return grid.integrate(jnp.abs(density - jnp.exp(log_gibbs))) / 2


def infidelity(density: Array, log_gibbs: Array, grid: Grid) -> Array:
    """1 - (int sqrt(p pi))^2, `(...)`: with s = (1/2) int (sqrt p - sqrt pi)^2 it is s (2 - s)."""
    there = density > 0
    root = jnp.where(there, jnp.sqrt(jnp.where(there, density, 1)), 0)
    half = grid.integrate((root - jnp.exp(log_gibbs / 2)) ** 2) / 2
    return half * (2 - half)


def chi_square(density: Array, log_gibbs: Array, grid: Grid) -> Array:
    """int (p - pi)^2 / pi, `(...)`; infinite where pi has underflowed and p has not."""
    gibbs = jnp.exp(log_gibbs)
    held = gibbs > 0
    gap = density - gibbs
    return grid.integrate(jnp.where(held, gap**2 / jnp.where(held, gibbs, 1), jnp.where(gap == 0, 0, jnp.inf)))

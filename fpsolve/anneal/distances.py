"""How far a density p is from the Gibbs density pi, with all digits of small distances and of thin tails.

    KL = int p log(p/pi) - p + pi       TV = (1/2) int |p - pi|       1 - F,  F = (int sqrt(p pi))^2

Where p is close to pi the integrand of KL is taken from its series in h = p/pi - 1, whose terms do not cancel; where pi
underflows, from log pi. A density that rounding has made negative counts as zero.

Every function takes the array module `xp`: numpy on the host, where nothing is compiled, or jax.numpy in a program.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ..grid import Grid

CLOSE = 0.03  # |p / pi - 1| below which the series is taken: ten terms then reach 0.03^11 / 110 = 2e-19
TERMS = 10


def relative_entropy(density: Any, log_gibbs: Any, grid: Grid, xp: Any = jnp) -> Any:
    """KL(p | pi), `(...)`, of densities `(..., *shape)` from log pi `(..., *shape)`."""
    gibbs = xp.exp(log_gibbs)
    held = gibbs > 0
    close = held & (xp.abs(density - gibbs) < CLOSE * gibbs)
    h = xp.where(close, (density - gibbs) / xp.where(close, gibbs, 1), 0)
    series = xp.zeros_like(h)
    for n in range(TERMS, 1, -1):  # (1 + h) log(1 + h) - h = sum_n (-h)^n / (n (n - 1))
        series = 1 / (n * (n - 1)) - h * series
    there = xp.maximum(density, 0)
    filled = there > 0
    plain = xp.where(filled, there * (xp.log(xp.where(filled, there, 1)) - log_gibbs), 0) - there + gibbs
    return integral(xp.where(close, gibbs * h**2 * series, plain), grid, xp)


def total_variation(density: Any, log_gibbs: Any, grid: Grid, xp: Any = jnp) -> Any:
    """TV(p, pi), `(...)`."""
    return integral(xp.abs(density - xp.exp(log_gibbs)), grid, xp) / 2


def infidelity(density: Any, log_gibbs: Any, grid: Grid, xp: Any = jnp) -> Any:
    """1 - (int sqrt(p pi))^2, `(...)`: with s = (1/2) int (sqrt p - sqrt pi)^2 it is s (2 - s)."""
    there = density > 0
    root = xp.where(there, xp.sqrt(xp.where(there, density, 1)), 0)
    half = integral((root - xp.exp(log_gibbs / 2)) ** 2, grid, xp) / 2
    return half * (2 - half)


def chi_square(density: Any, log_gibbs: Any, grid: Grid, xp: Any = jnp) -> Any:
    """int (p - pi)^2 / pi, `(...)`; infinite where pi has underflowed and p has not."""
    gibbs = xp.exp(log_gibbs)
    held = gibbs > 0
    gap = density - gibbs
    return integral(xp.where(held, gap**2 / xp.where(held, gibbs, 1), xp.where(gap == 0, 0, xp.inf)), grid, xp)


def integral(u: Any, grid: Grid, xp: Any = jnp) -> Any:
    """Of `u` `(..., *shape)` over the last d axes, `(...)`."""
    if xp is jnp:
        return grid.integrate(u)
    for axis in reversed(grid.axes):
        u = u @ np.asarray(axis.weights, u.dtype)
    return u

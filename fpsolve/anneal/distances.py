"""Distances of a density p from the Gibbs density pi, accurate for small distances and
for thin tails.

    KL = int p log(p/pi) - p + pi,    TV = (1/2) int |p - pi|,
    1 - F,  F = (int sqrt(p pi))^2

Where p is close to pi the integrand of KL is summed from its series in h = p/pi - 1,
whose terms do not cancel. Where pi underflows, log pi is used. A negative density,
which rounding can cause, counts as zero.

Every function takes the array module `xp`: numpy on the host, where nothing is
compiled, or jax.numpy in a program.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ..core.types import AnyArray, ArrayModule, SameArray, Scalar
from ..grid import Grid
from .constants import CONSTANTS


def relative_entropy(
    density: SameArray, log_gibbs: AnyArray, grid: Grid, xp: ArrayModule = jnp
) -> SameArray:
    """KL(p | pi), `(...)`, of densities `(..., *shape)` from log pi `(..., *shape)`."""
    gibbs = xp.exp(log_gibbs)
    # In every `where` below the unused branch is kept finite: under `grad` it would
    # turn into NaN.
    difference = density - gibbs
    small = xp.abs(difference) < CONSTANTS.series_range * gibbs
    close = (gibbs > 0) & small
    safe = xp.where(close, gibbs, 1)
    h = xp.where(close, difference / safe, 0)
    # (1 + h) log(1 + h) - h = sum_n (-h)^n / (n (n - 1)), n >= 2, by Horner's rule.
    series = xp.zeros_like(h)
    for n in range(CONSTANTS.series_terms, 1, -1):
        series = 1 / (n * (n - 1)) - h * series
    p = xp.maximum(density, 0)
    positive = p > 0
    log_ratio = xp.log(xp.where(positive, p, 1)) - log_gibbs
    direct = xp.where(positive, p * log_ratio, 0) - p + gibbs
    integrand = xp.where(close, gibbs * h**2 * series, direct)
    return integral(integrand, grid, xp)


def relative_entropy_slope(
    density: SameArray, log_gibbs: AnyArray, xp: ArrayModule = jnp
) -> SameArray:
    """log(p / pi), `(..., *shape)`: the change of KL per change of p; 0 where p or pi
    has underflowed.
    """
    smallest = xp.log(xp.finfo(density.dtype).tiny)
    positive = (density > 0) & (log_gibbs > smallest)
    log_density = xp.log(xp.where(positive, density, 1))
    log_pi = xp.where(positive, log_gibbs, 0)
    return xp.where(positive, log_density - log_pi, 0)


def deviation(
    density: SameArray, f: AnyArray, grid: Grid, xp: ArrayModule = jnp
) -> SameArray:
    """The standard deviation of `f` `(..., *shape)` under a density, `(...)`."""
    p = xp.maximum(density, 0)
    mean = integral(p * f, grid, xp)
    variance = integral(p * f**2, grid, xp) - mean**2
    # Rounding can make the difference negative.
    return xp.sqrt(xp.maximum(variance, 0))


def total_variation(
    density: SameArray, log_gibbs: AnyArray, grid: Grid, xp: ArrayModule = jnp
) -> SameArray:
    """TV(p, pi), `(...)`."""
    difference = density - xp.exp(log_gibbs)
    return integral(xp.abs(difference), grid, xp) / 2


def total_variation_error(
    density: SameArray, log_gibbs: AnyArray, grid: Grid, xp: ArrayModule = jnp
) -> SameArray:
    """About what the rule of the grid errs by in TV(p, pi), since |p - pi| has a kink
    where p = pi, `(...)`.

    With slopes -s and s on both sides of a kink, a part u of a cell h after a node, a
    sum over equal cells differs from the integral by s h^2 (u (1 - u) - 1/6), from the
    formula of Euler and Maclaurin. The sum over all axes: along an axis that crosses
    the kinks at a slant the parts u are spread evenly, and their mean is zero. Where
    the errors of several kinks vanish or cancel, a part of each remains, since the
    slopes are not constant.
    """
    difference = density - xp.exp(log_gibbs)
    leading = difference.ndim - grid.ndim
    weights = xp.broadcast_to(grid.weights_on_host, grid.shape)
    total: Scalar = 0.0
    sizes: Scalar = 0.0
    for i, axis in enumerate(grid.axes):
        values = xp.moveaxis(difference, leading + i, -1)
        before = values[..., :-1]
        after = values[..., 1:]
        below = xp.abs(before)
        rise = below + xp.abs(after)  # s h
        part = below / xp.where(rise > 0, rise, 1)
        # elsewhere there is no kink
        rise = xp.where(before * after < 0, rise, 0)
        # In the weights of the other axes. The cell between the last and the first node
        # of a ring is left out.
        others = xp.moveaxis(weights, i, -1)[..., :-1]
        spacings = np.diff(axis.nodes) / axis.weights[:-1]
        largest = rise * others * spacings / 6
        signed = largest * (6 * part * (1 - part) - 1)
        summed = tuple(range(leading, difference.ndim))
        total = total + xp.sum(signed, axis=summed)
        sizes = sizes + xp.sum(largest, axis=summed)
    return (xp.abs(total) + CONSTANTS.kept_of_kinks * sizes) / 2


def infidelity(
    density: SameArray, log_gibbs: AnyArray, grid: Grid, xp: ArrayModule = jnp
) -> SameArray:
    """1 - (int sqrt(p pi))^2, `(...)`."""
    # With s = (1/2) int (sqrt p - sqrt pi)^2 this is s (2 - s), where nothing cancels.
    positive = density > 0
    # The derivative of a root is infinite at 0.
    safe = xp.where(positive, density, 1)
    root = xp.where(positive, xp.sqrt(safe), 0)
    root_pi = xp.exp(log_gibbs / 2)
    half = integral((root - root_pi) ** 2, grid, xp) / 2
    return half * (2 - half)


def chi_square(
    density: SameArray, log_gibbs: AnyArray, grid: Grid, xp: ArrayModule = jnp
) -> SameArray:
    """int (p - pi)^2 / pi, `(...)`; infinite where pi has underflowed and p has not."""
    gibbs = xp.exp(log_gibbs)
    positive = gibbs > 0
    difference = density - gibbs
    underflowed = xp.where(difference == 0, 0, xp.inf)
    relative = difference**2 / xp.where(positive, gibbs, 1)
    return integral(xp.where(positive, relative, underflowed), grid, xp)


def integral(u: Any, grid: Grid, xp: ArrayModule = jnp) -> Any:
    """The integral of `u` `(..., *shape)` over the last d axes, `(...)`."""
    if xp is jnp:
        return grid.integrate(u)
    # From the last axis on, so that each product removes one.
    for axis in reversed(grid.axes):
        u = u @ np.asarray(axis.weights, u.dtype)
    return u

"""Distances of a density p from the Gibbs density pi, accurate for small distances and
for thin tails.

    KL = int p log(p/pi) - p + pi       TV = (1/2) int |p - pi|       1 - F,  F = (int sqrt(p pi))^2

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
    close = (gibbs > 0) & (xp.abs(density - gibbs) < CONSTANTS.series_range * gibbs)
    h = xp.where(close, (density - gibbs) / xp.where(close, gibbs, 1), 0)
    # (1 + h) log(1 + h) - h = sum_n (-h)^n / (n (n - 1)), n >= 2, by Horner's rule.
    series = xp.zeros_like(h)
    for n in range(CONSTANTS.series_terms, 1, -1):
        series = 1 / (n * (n - 1)) - h * series
    p = xp.maximum(density, 0)
    positive = p > 0
    direct = (
        xp.where(positive, p * (xp.log(xp.where(positive, p, 1)) - log_gibbs), 0)
        - p
        + gibbs
    )
    return integral(xp.where(close, gibbs * h**2 * series, direct), grid, xp)


def relative_entropy_slope(
    density: SameArray, log_gibbs: AnyArray, xp: ArrayModule = jnp
) -> SameArray:
    """log(p / pi), `(..., *shape)`: the change of KL per change of p; 0 where p or pi
    has underflowed.
    """
    positive = (density > 0) & (log_gibbs > xp.log(xp.finfo(density.dtype).tiny))
    return xp.where(
        positive,
        xp.log(xp.where(positive, density, 1)) - xp.where(positive, log_gibbs, 0),
        0,
    )


def deviation(
    density: SameArray, f: AnyArray, grid: Grid, xp: ArrayModule = jnp
) -> SameArray:
    """The standard deviation of `f` `(..., *shape)` under a density, `(...)`."""
    p = xp.maximum(density, 0)
    mean = integral(p * f, grid, xp)
    return xp.sqrt(xp.maximum(integral(p * f**2, grid, xp) - mean**2, 0))


def total_variation(
    density: SameArray, log_gibbs: AnyArray, grid: Grid, xp: ArrayModule = jnp
) -> SameArray:
    """TV(p, pi), `(...)`."""
    return integral(xp.abs(density - xp.exp(log_gibbs)), grid, xp) / 2


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
    total: Scalar = 0.0
    sizes: Scalar = 0.0
    for i, axis in enumerate(grid.axes):
        values = xp.moveaxis(difference, leading + i, -1)
        below, above = xp.abs(values[..., :-1]), xp.abs(values[..., 1:])
        rise = below + above  # s h
        part = below / xp.where(rise > 0, rise, 1)
        # elsewhere there is no kink
        rise = xp.where(values[..., :-1] * values[..., 1:] < 0, rise, 0)
        # In the weights of the other axes. The cell between the last and the first node
        # of a ring is left out.
        others = xp.moveaxis(xp.broadcast_to(grid.weights_on_host, grid.shape), i, -1)[
            ..., :-1
        ]
        spacings = np.diff(axis.nodes) / axis.weights[:-1]
        largest = rise * others * spacings / 6
        summed = tuple(range(leading, difference.ndim))
        total = total + xp.sum(largest * (6 * part * (1 - part) - 1), axis=summed)
        sizes = sizes + xp.sum(largest, axis=summed)
    return (xp.abs(total) + CONSTANTS.kept_of_kinks * sizes) / 2


def infidelity(
    density: SameArray, log_gibbs: AnyArray, grid: Grid, xp: ArrayModule = jnp
) -> SameArray:
    """1 - (int sqrt(p pi))^2, `(...)`."""
    # With s = (1/2) int (sqrt p - sqrt pi)^2 this is s (2 - s), where nothing cancels.
    positive = density > 0
    root = xp.where(positive, xp.sqrt(xp.where(positive, density, 1)), 0)
    half = integral((root - xp.exp(log_gibbs / 2)) ** 2, grid, xp) / 2
    return half * (2 - half)


def chi_square(
    density: SameArray, log_gibbs: AnyArray, grid: Grid, xp: ArrayModule = jnp
) -> SameArray:
    """int (p - pi)^2 / pi, `(...)`; infinite where pi has underflowed and p has not."""
    gibbs = xp.exp(log_gibbs)
    positive = gibbs > 0
    difference = density - gibbs
    underflowed = xp.where(difference == 0, 0, xp.inf)
    return integral(
        xp.where(positive, difference**2 / xp.where(positive, gibbs, 1), underflowed),
        grid,
        xp,
    )


def integral(u: Any, grid: Grid, xp: ArrayModule = jnp) -> Any:
    """The integral of `u` `(..., *shape)` over the last d axes, `(...)`."""
    if xp is jnp:
        return grid.integrate(u)
    for axis in reversed(grid.axes):
        u = u @ np.asarray(axis.weights, u.dtype)
    return u

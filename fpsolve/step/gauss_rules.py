"""Integrals of exponentials times polynomials over a step, at the Gauss points of a
collocation step.

    Q_km(E) = int_0^{t_k} e^{-(t_k - u) E} l_m(u) du

with l_m the Lagrange polynomials of the points t_m.

Reference: Hochbruck and Ostermann, Acta Numerica 19 (2010) 209, sections 2.1 and 2.4.
"""

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.types import SameArray
from .constants import CONSTANTS


def tables(
    energies: Array, length: Array, widths: Array, which: Array, powers: Array
) -> tuple[Array, Array]:
    """e^{-t_k E} `(n + 1, *shape)` and Q_km(E) `(n + 1, n, *shape)` at the n points of
    a step and at its end.

    **Arguments**: `energies`, the values of E; `length`, of the step; the rest is one
    row of a `Pair`.

    From point to point: Q_{k+1} = e^{-d E} Q_k + the integral over the interval d
    between them, which expanding l_m in powers makes a sum of phi_j(d E), phi_j(z) =
    int_0^1 e^{-(1-u)z} u^{j-1} / (j-1)! du.
    """
    n = powers.shape[1]
    # The phi functions of every different width once, `(n + 1, widths, *shape)`.
    widths = widths.reshape(-1, *(1,) * energies.ndim)
    phis = _phis(length * widths * energies, n)

    def to_next_point(
        carry: tuple[Array, Array], given: tuple[Array, Array]
    ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        decay, integrals = carry
        interval, powers = given
        phi = phis[:, interval]
        over_interval = length * jnp.tensordot(powers, phi[1:], 1)
        after = (phi[0] * decay, phi[0] * integrals + over_interval)
        return after, after

    # At time 0 nothing has decayed, and all integrals are zero.
    start = (
        jnp.ones_like(phis[0, 0]),
        jnp.zeros((n, *energies.shape), phis.dtype),
    )
    intervals = (which, powers.astype(phis.dtype))
    _, at_points = jax.lax.scan(to_next_point, start, intervals)
    return at_points


def _phis(z: Array, m: int) -> Array:
    """phi_0 .. phi_m at -z, `(m + 1, *shape)`, by two recurrences.

    Upwards, phi_{j+1} = (1 / j! - phi_j) / z, digits cancel where z is small.
    Downwards, phi_j = 1 / j! - z phi_{j+1} from a series for phi_m, errors are
    amplified where z is large. Each is evaluated where it is stable, and at a harmless
    z elsewhere, so that neither makes an infinity, which would turn derivatives of the
    `where` into NaNs.
    """
    small = jnp.abs(z) < CONSTANTS.phi_switch
    near = jnp.where(small, z, 0)
    far = jnp.where(small, CONSTANTS.phi_switch, z)

    # The series of phi_m by Horner's rule.
    highest = jnp.zeros_like(z)
    for i in range(CONSTANTS.phi_terms, 0, -1):
        highest = -near / (m + i) * (1 + highest)
    highest = (1 + highest) / math.factorial(m)

    def down(phi: Array, inverse_factorial: Array) -> tuple[Array, Array]:
        lower = inverse_factorial - near * phi
        return lower, lower

    def up(phi: Array, inverse_factorial: Array) -> tuple[Array, Array]:
        higher = (inverse_factorial - phi) / far
        return higher, higher

    # Scans, not loops in Python: they are compiled once, whatever m is.
    factors = [1 / math.factorial(j) for j in range(m)]
    inverse_factorials = jnp.asarray(factors, near.real.dtype)
    _, descending = jax.lax.scan(down, highest, inverse_factorials[::-1])
    first = jnp.exp(-far)
    _, ascending = jax.lax.scan(up, first, inverse_factorials)
    downwards = jnp.concatenate([descending[::-1], highest[None]])
    upwards = jnp.concatenate([first[None], ascending])
    return jnp.where(small, downwards, upwards)


class Pair(NamedTuple):
    """Gauss rules on [0, 1] with n - 1 points and with n, in arrays of one shape; the
    first axis is the rule.

    The rule of n - 1 points holds its last point twice, with weight zero for the
    second.

    - `points` `(2, n)`
    - `weights` `(n,)`: of the second rule
    - `widths` `(2, w)`: the different lengths of the intervals between 0, the points
      and 1, filled up with zeros
    - `which` `(2, n + 1)`: the index of each interval in `widths`
    - `powers` `(2, n + 1, n, n)`: width times j! times the coefficient of u^j of l_i on
      each interval
    - `onward` `(n, n)`: interpolation from the points of the first rule to those of the
      second
    """

    points: np.ndarray
    weights: np.ndarray
    widths: np.ndarray
    which: np.ndarray
    powers: np.ndarray
    onward: np.ndarray


@functools.lru_cache(maxsize=16)
def pair(n: int) -> Pair:
    """The rules of n - 1 and of n points."""
    coarse, _ = other_rule(n - 1)
    fine, weights = other_rule(n)
    padded = np.append(coarse, coarse[-1])
    rules = [_intervals(padded, n - 1), _intervals(fine, n)]
    longest = max(len(rule.widths) for rule in rules)
    widths = []
    for rule in rules:
        # A width of zero is never looked up: it only makes the rows equally long.
        missing = longest - len(rule.widths)
        widths.append(np.pad(rule.widths, (0, missing)))
    # The additional point of the first rule has no part in the interpolation.
    onward = np.asarray(lagrange(coarse, fine))
    return Pair(
        points=np.stack([padded, fine]),
        weights=weights,
        widths=np.stack(widths),
        which=np.stack([rule.which for rule in rules]),
        powers=np.stack([rule.powers for rule in rules]),
        onward=np.append(onward, np.zeros((n, 1)), 1),
    )


@functools.lru_cache(maxsize=16)
def other_rule(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points `(n,)` and weights `(n,)` of the Gauss rule on [0, 1], whose points are
    others than those of a `Pair`.
    """
    points, weights = np.polynomial.legendre.leggauss(n)
    # From [-1, 1] to [0, 1].
    return (points + 1) / 2, weights / 2


class _Intervals(NamedTuple):
    """`widths`, `which` and `powers` of one rule, as in `Pair`."""

    widths: np.ndarray
    which: np.ndarray
    powers: np.ndarray


def _intervals(points: np.ndarray, distinct: int) -> _Intervals:
    """The intervals between 0, the points and 1, and the polynomials of the first
    `distinct` points on them.
    """
    edges = np.concatenate([[0.0], points, [1.0]])
    n = len(points)
    # l_i on each interval, in powers of the fraction u of that interval. The additional
    # point has no polynomial.
    powers = np.zeros((n + 1, n, n))
    factorials = [math.factorial(j) for j in range(distinct)]
    for k, (left, right) in enumerate(itertools.pairwise(edges)):
        width = right - left
        for i in range(distinct):
            row = np.ones(1)
            for other in np.delete(points[:distinct], i):
                # (t - other) / (t_i - other) at t = left + width u.
                linear = np.array([left - other, width]) / (points[i] - other)
                row = np.convolve(row, linear)
            powers[k, i, :distinct] = width * row * factorials
    # Gauss rules are symmetric, so half of the widths occur twice. Rounding to 14
    # digits makes such a pair equal, and the exponentials of a width are then computed
    # once.
    rounded = np.round(np.diff(edges), 14)
    widths, which = np.unique(rounded, return_inverse=True)
    return _Intervals(widths, which, powers)


def lagrange(points: np.ndarray, x: SameArray) -> SameArray:
    """The Lagrange polynomials of `points` `(m,)` at x `(k,)`, an array of numpy or of
    JAX: a matrix `(k, m)`.
    """
    columns = []
    for i, point in enumerate(points):
        others = np.delete(points, i)
        columns.append(math.prod((x - a) / (point - a) for a in others))
    # On the host by numpy, so that no program is compiled for it.
    stack = np.stack if isinstance(x, np.ndarray) else jnp.stack
    return stack(columns, 1).astype(x.dtype)

"""Integrals of exponentials times polynomials over a step, at the Gauss points that collocation stands on.

    Q_km(E) = int_0^{t_k} e^{-(t_k - u) E} l_m(u) du,      l_m the Lagrange polynomials of the points t_m

Reference: Hochbruck and Ostermann, Acta Numerica 19 (2010) 209, sections 2.1 and 2.4.
"""

import functools
import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

SERIES, TURN = 24, 3.0  # terms of the series of phi, and where the recurrence takes over from it


def tables(energies: Array, length: Array, widths: Array, which: Array, powers: Array) -> tuple[Array, Array]:
    """e^{-t_k E} `(n + 1, *shape)` and Q_km(E) `(n + 1, n, *shape)` at the n points of a step and at its end.

    From point to point: Q_{k+1} = e^{-d E} Q_k + the integral over the interval d between them, which expanding l_m in
    powers makes a sum of phi_j(d E), phi_j(z) = int_0^1 e^{-(1-u)z} u^{j-1} / (j-1)! du.
    """
    n = powers.shape[1]
    phis = _phis(length * widths.reshape(-1, *(1,) * energies.ndim) * energies, n)

    def onward(carry: tuple[Array, Array], given: tuple[Array, Array]) -> tuple[tuple[Array, Array], Any]:
        at, powers = given
        phi = phis[:, at]
        carry = phi[0] * carry[0], phi[0] * carry[1] + length * jnp.tensordot(powers, phi[1:], 1)
        return carry, carry

    start = (jnp.ones_like(phis[0, 0]), jnp.zeros((n, *energies.shape), phis.dtype))
    return jax.lax.scan(onward, start, (which, powers.astype(phis.dtype)))[1]


def _phis(z: Array, m: int) -> Array:
    """phi_0 .. phi_m at -z: upwards from the exponential for large z, downwards from a series for small."""
    small = jnp.abs(z) < TURN
    near, far = jnp.where(small, z, 0), jnp.where(small, TURN, z)
    top = jnp.zeros_like(z)
    for i in range(SERIES, 0, -1):
        top = -near / (m + i) * (1 + top)
    top = (1 + top) / math.factorial(m)
    inverse = jnp.asarray([1 / math.factorial(j) for j in range(m)], near.real.dtype)
    twice = lambda step: lambda carry, c: (step(carry, c),) * 2
    below = jax.lax.scan(twice(lambda phi, c: c - near * phi), top, inverse[::-1])[1][::-1]
    first = jnp.exp(-far)
    above = jax.lax.scan(twice(lambda phi, c: (c - phi) / far), first, inverse)[1]
    return jnp.where(small, jnp.concatenate([below, top[None]]), jnp.concatenate([first[None], above]))


class Pair(NamedTuple):
    """Gauss rules on [0, 1] with n - 1 points, the last of them twice, and with n.

    `widths` of the different intervals between 0, the points and 1; `which` of them each interval has; `powers`, the
    width times j! times the coefficient of u^j of l_i on each; `onward`, from coarser points to finer.
    """

    points: np.ndarray
    widths: np.ndarray
    which: np.ndarray
    powers: np.ndarray
    onward: np.ndarray


@functools.lru_cache(maxsize=16)
def pair(n: int) -> Pair:
    """The rules of n - 1 and of n points."""
    coarse, fine = ((np.polynomial.legendre.leggauss(k)[0] + 1) / 2 for k in (n - 1, n))
    points = np.stack([np.append(coarse, coarse[-1]), fine])
    pieces = [_pieces(points[0], n - 1), _pieces(points[1], n)]
    most = max(len(widths) for widths, _, _ in pieces)
    widths = np.stack([np.append(widths, np.zeros(most - len(widths))) for widths, _, _ in pieces])
    onward = np.append(np.asarray(lagrange(coarse, fine)), np.zeros((n, 1)), 1)
    return Pair(points, widths, np.stack([p[1] for p in pieces]), np.stack([p[2] for p in pieces]), onward)


def _pieces(points: np.ndarray, distinct: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    edges, n = np.concatenate([[0.0], points, [1.0]]), len(points)
    powers = np.zeros((n + 1, n, n))
    for k, (left, right) in enumerate(itertools.pairwise(edges)):
        for i in range(distinct):
            row = np.ones(1)
            for other in np.delete(points[:distinct], i):
                row = np.convolve(row, np.array([left - other, right - left]) / (points[i] - other))
            powers[k, i, :distinct] = (right - left) * row * [math.factorial(j) for j in range(distinct)]
    widths, which = np.unique(np.round(np.diff(edges), 14), return_inverse=True)
    return widths, which, powers


def lagrange(points: np.ndarray, x: Any) -> Any:
    """The Lagrange polynomials of `points` at x `(k,)`: a matrix `(k, m)`."""
    others = [np.delete(points, i) for i in range(len(points))]
    columns = [math.prod((x - a) / (p - a) for a in rest) for p, rest in zip(points, others, strict=True)]
    stack = np.stack if isinstance(x, np.ndarray) else jnp.stack
    return stack(columns, 1).astype(x.dtype)

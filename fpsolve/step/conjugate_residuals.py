"""Conjugate residuals with one direction: A x = b for an A that need not be symmetric.

    direction = r - beta * direction
    x = x + alpha * direction

with beta so that A direction is orthogonal to the last A direction, and alpha so that
|b - A x| is smallest. The systems of `collocation` are close to the identity, so a few
iterations are enough, and one direction is kept.

Reference: Eisenstat, Elman and Schultz, SIAM J. Numer. Anal. 20 (1983) 345, the method
Orthomin(1).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .constants import CONSTANTS


class Statistics(NamedTuple):
    """What an iteration took: the `calls` of A, and the relative `residual` |b - A x| /
    |b| that it left.
    """

    calls: Array
    residual: Array


class _Iterate(NamedTuple):
    """x, b - A x, the last direction, A times it, and the calls of A so far."""

    x: Array
    residual: Array
    direction: Array
    image: Array
    calls: Array


def solve(
    product: Callable[[Array], Array], b: Array, guess: Array, residual_tol: Array
) -> tuple[Array, Statistics]:
    """x with |b - A x| <= residual_tol |b|; `product` applies A.

    The first direction is the guess, so the solution starts from the best multiple of
    it: a bad guess cannot make the residual larger than that of x = 0. The iteration
    ends after `CONSTANTS.max_iterations` in any case.
    """
    # Squares are compared, which saves a root in each iteration.
    square_tol = (residual_tol**2) * _square(b)

    def unfinished(now: _Iterate) -> Array:
        unsolved = _square(now.residual) > square_tol
        return unsolved & (now.calls < CONSTANTS.max_iterations)

    def iterate(now: _Iterate) -> _Iterate:
        candidate = jnp.where(now.calls == 0, guess, now.residual)
        candidate_image = product(candidate)
        # In the first iteration the last image is zero, and so is beta.
        beta = _safe_ratio(jnp.vdot(now.image, candidate_image), _square(now.image))
        direction = candidate - beta * now.direction
        image = candidate_image - beta * now.image
        alpha = _safe_ratio(jnp.vdot(image, now.residual), _square(image))
        return _Iterate(
            x=now.x + alpha * direction,
            residual=now.residual - alpha * image,
            direction=direction,
            image=image,
            calls=now.calls + 1,
        )

    zero = jnp.zeros_like(b)
    start = _Iterate(
        x=zero,
        residual=b,
        direction=zero,
        image=zero,
        calls=jnp.zeros((), b.real.dtype),
    )
    last = jax.lax.while_loop(unfinished, iterate, start)
    residual = jnp.sqrt(_safe_ratio(_square(last.residual), _square(b)))
    return last.x, Statistics(last.calls, residual)


def _safe_ratio(a: Array, b: Array) -> Array:
    """a / b, and 0 where b is 0, without a division by 0."""
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))


def _square(u: Array) -> Array:
    """|u|^2."""
    return jnp.sum(jnp.abs(u) ** 2)

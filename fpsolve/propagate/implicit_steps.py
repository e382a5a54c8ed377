"""One implicit step, and runs of equal steps.

With W = (1 - gamma h L)^{-1}, the resolvent of L, a singly diagonally implicit
Runge-Kutta step of s stages on a linear equation is a polynomial in W without a
constant term,

    R(hL) = sum_{k=1}^{s} c_k W^k,
    sum_k c_k (1 - gamma z)^{-k} = 1 + z + ... + z^s / s! + O(z^{s+1}),

of order s if gamma is a root of the last condition, and R(-inf) = 0. For s = 1, gamma =
1: backward Euler, R = W >= 0. For s = 2, gamma = 1 - 1 / sqrt 2; for s = 3 the middle
root 0.4358... of x^3 - 3 x^2 + 3x/2 - 1/6.

Reference: Hairer and Wanner, Solving ODEs II, IV.6; Alexander, SIAM J. Numer. Anal. 14
(1977) 1006.
"""

import functools
import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.loop import run_loop
from ..linear.resolvent import Resolvent, factor_resolvent
from ..operator import EdgeOperator
from .base import node_weights
from .constants import CONSTANTS


class Prepared(eqx.Module):
    """The operator with a potential term that is at least 0, and `shift`, its lowest
    value before.
    """

    operator: EdgeOperator
    shift: Array
    order: int = eqx.field(static=True)

    def norm(self, field: Array) -> Array:
        """The L1 norm in the grid's weights; a constant to derivatives."""
        norm = jnp.sum(jnp.abs(field) * node_weights(self.operator))
        return jax.lax.stop_gradient(norm)


class Run(NamedTuple):
    """What a run gives at each of T output times.

    - `field` `(T, *shape)`; `error` `(T,)`, in L1; `calls` `(T,)`, resolvents applied
      in the interval before
    - `fractions` `(T, steps)`: the length of each double step, as a fraction of the
      interval; `count` `(T,)` of them
    """

    field: Array
    error: Array
    calls: Array
    fractions: Array
    count: Array


class Stepped(NamedTuple):
    """The field after a step, and a bound on the L1 error that the residuals of its
    linear systems make.
    """

    field: Array
    residual: Array


class _Powers(NamedTuple):
    """W^k field, the sum of c_k W^k field, and the bounds of the residuals in both."""

    power: Array
    total: Array
    power_residual: Array
    total_residual: Array


@functools.cache
def coefficients(order: int) -> tuple[float, tuple[float, ...]]:
    """gamma and c_1 ... c_s."""
    # The middle one of three real roots.
    cubic_roots = np.sort(np.roots([1, -3, 1.5, -1 / 6]).real)
    gamma = {
        1: 1.0,
        2: 1 - math.sqrt(0.5),
        3: float(cubic_roots[1]),
    }[order]
    # The coefficient of z^m on both sides of the order conditions.
    rows = []
    for m in range(order):
        powers = range(1, order + 1)
        rows.append([gamma**m * math.comb(k + m - 1, m) for k in powers])
    series = [1 / math.factorial(m) for m in range(order)]
    c = np.linalg.solve(rows, series)
    return gamma, tuple(float(x) for x in c)


def resolvent_of(prepared: Prepared, h: Array) -> Resolvent:
    """W for steps of length h; for order 1 one that keeps every sign."""
    gamma, _ = coefficients(prepared.order)
    keeps_sign = prepared.order == 1
    return factor_resolvent(prepared.operator, gamma * h, keeps_sign)


def step(
    resolvent: Resolvent, order: int, field: Array, residual_tol: Array
) -> Stepped:
    """R(hL) times a field `(..., *shape)`."""

    def next_power(now: _Powers, c: Array) -> tuple[_Powers, None]:
        power = resolvent.solve(now.power, residual_tol)
        # W has L1 norm 1, so a residual passes on to higher powers undiminished at
        # worst.
        residual = jnp.max(resolvent.residual(now.power, power))
        power_residual = now.power_residual + residual
        after = _Powers(
            power=power,
            total=now.total + c * power,
            power_residual=power_residual,
            total_residual=now.total_residual + abs(c) * power_residual,
        )
        return after, None

    zero = jnp.zeros((), field.dtype)
    weights = jnp.asarray(coefficients(order)[1], field.dtype)
    start = _Powers(
        power=field,
        total=jnp.zeros_like(field),
        power_residual=zero,
        total_residual=zero,
    )
    last, _ = jax.lax.scan(next_power, start, weights)
    return Stepped(last.total, last.total_residual)


def two_steps(
    resolvent: Resolvent, order: int, field: Array, residual_tol: Array
) -> Stepped:
    """R(hL)^2 times a field."""

    def another(now: Stepped, _: None) -> tuple[Stepped, None]:
        after = step(resolvent, order, now.field, residual_tol)
        return Stepped(after.field, now.residual + after.residual), None

    # A scan, so that the program of a step is compiled once.
    start = Stepped(field, jnp.zeros((), field.dtype))
    after, _ = jax.lax.scan(another, start, None, 2)
    return after


def fixed_run(
    prepared: Prepared, steps: int, field: Array, lengths: Array, tol: Array
) -> Run:
    """`steps` equal steps to each length, and a second run with half as many, from
    which the error is known.
    """
    order = prepared.order
    fewer = (steps + 1) // 2
    # All residuals together, whose effect the weights c_k enlarge, make a small part of
    # the tolerance.
    enlarged = sum(abs(c) for c in coefficients(order)[1])
    divisor = CONSTANTS.fixed_residual_divisor * steps * enlarged
    # An iteration cannot go below rounding.
    residual_tol = tol / divisor + 2 * jnp.finfo(field.dtype).eps

    def body(_: Array, parameters: tuple[Resolvent, Array], now: Stepped) -> Stepped:
        resolvent, residual_tol = parameters
        after = step(resolvent, order, now.field, residual_tol)
        return Stepped(after.field, now.residual + after.residual)

    def many_steps(count: int, start: Stepped, length: Array) -> Stepped:
        # All steps have one length, and share one factorisation.
        resolvent = resolvent_of(prepared, length / count)
        return run_loop(count, body, (resolvent, residual_tol), start)

    def interval(
        carry: tuple[Stepped, Stepped], length: Array
    ) -> tuple[tuple[Stepped, Stepped], Run]:
        fine, coarse = carry
        fine = many_steps(steps, fine, length)
        # The coarse run serves the error alone: a derivative through it would double
        # the cost.
        coarse = jax.lax.stop_gradient(many_steps(fewer, coarse, length))
        # Richardson: the difference is (ratio^order - 1) times the error of the finer
        # run.
        ratio = steps / fewer
        distance = prepared.norm(fine.field - coarse.field)
        error = distance / (ratio**order - 1) + fine.residual
        resolvents = float(order * (steps + fewer))
        count = jnp.where(length > 0, resolvents, 0.0).astype(field.dtype)
        # Equal steps are not recorded: the last two fields are not used.
        return (fine, coarse), Run(fine.field, error, count, count, count)

    start = Stepped(field, jnp.zeros((), field.dtype))
    both = (start, jax.lax.stop_gradient(start))
    _, run = jax.lax.scan(interval, both, jnp.diff(lengths, prepend=0.0))
    return run

"""Uniformisation: exp(tL) as a Poisson mixture of steps of a Markov chain.

    exp(tL) = sum_k e^{-qt} (qt)^k / k!  P^k,      P = 1 + L / q,   q >= the largest exit rate

Every number in the sum is at least zero on finite volumes, for any drift, so nothing can cancel: mass, positivity and
relative accuracy in the far tails come for free.

Reference: Jensen, Skand. Aktuarietidskr. 36 (1953) 87; Grassmann, Comput. Oper. Res. 4 (1977) 47.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.loop import run_loop
from ..operator import Operator
from .base import (
    Keeps,
    Picture,
    ProblemKind,
    Propagator,
    Reason,
    Step,
    WorkEstimate,
    in_turn,
    product_time,
    split_stationary,
)


class _Prepared(eqx.Module):
    operator: Operator
    rate: Array
    picture: Picture = eqx.field(static=True)

    def rates(self, field: Array) -> Array:
        """d_t of the field in its picture."""
        return self.operator.generator(field) if self.picture == Picture.DENSITY else -self.operator.hamiltonian(field)


class Uniformization(Propagator):
    """exp(tL) p by a Poisson sum of non-negative terms: any drift, any start, any dimension.

    **Keeps** on finite volumes: positivity exactly, mass and every stationary density to rounding, each tail to
    relative accuracy. On spectral operators it is the shifted Taylor series, without those. **Cost**: q t + 8 sqrt(q t)
    products, linear in t: `Chebyshev` needs the square root of that where it applies. **Memory**: five fields.
    **Raises**: `ValueError` for a Schrödinger equation.

    ```python
    import fpsolve as fp

    equation = fp.FokkerPlanck(force=lambda x: 2.0 + 0 * x)
    grid = fp.Grid(fp.Periodic(0.0, 1.0, 40))
    solution = fp.evolve(equation, fp.Gaussian(0.5, 0.01), [0.1], grid=grid, method=fp.Uniformization())
    ```
    """

    def unsupported(self, kind: ProblemKind) -> Reason | None:
        """A Schrödinger equation."""
        if not kind.fokker_planck:
            because = "a Poisson sum needs rates, and a wave of a Schrödinger equation has none"
            return Reason(because, "Give fp.Chebyshev() or fp.Dense().")
        return None

    def cost(self, kind: ProblemKind, work: WorkEstimate) -> float:
        """q t + 8 sqrt(q t) products."""
        return (work.exits + 8 * work.exits**0.5) * product_time(kind.grid, kind.spectral)

    def keeps(self, spectral: bool) -> Keeps:
        """Every sign; mass and the Gibbs density to rounding."""
        return Keeps("rounding", "exact", "rounding", "rounding", "tol", "t")

    def prepare(self, operator: Operator, picture: Picture) -> _Prepared:
        """The rate q: the largest exit rate, or half the spectral bound where there are no rates."""
        return _Prepared(operator, jax.lax.stop_gradient(operator.largest_rate), picture)

    def apply(self, prepared: _Prepared, field: Array, lengths: Array, tol: Array, wick: float) -> Step:
        """Length after length; `tol` is below rounding already, since the last terms cost least."""
        return in_turn(lambda u, length: _sum(prepared, u, length), field, lengths)


def _sum(prepared: _Prepared, field: Array, length: Array) -> Step:
    """One length."""
    mean = prepared.rate * length
    steps = jax.lax.stop_gradient(mean)
    count = jnp.ceil(steps + 9 * jnp.sqrt(steps) + 24).astype(int)
    still = jnp.zeros_like(field)
    if not prepared.operator.positive:  # else every term of the sum is to stay positive
        still, field = split_stationary(prepared.operator, prepared.picture, field)

    def body(k: Array, parameters: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        prepared, mean = parameters
        now, total = carry
        weight = jnp.exp(k * jnp.log(mean) - mean - jax.lax.lgamma(k + jnp.ones_like(mean)))
        return now + prepared.rates(now) / prepared.rate, total + weight * now

    tiny = jnp.finfo(field.dtype).tiny
    parameters = (prepared, jnp.maximum(mean, tiny))
    total = run_loop(count, body, parameters, (field, jnp.zeros_like(field)))[1]
    # log-weights of size q t carry a rounding error of that size, common to all terms: one factor repairs it.
    total = total / _poisson_mass(parameters[1], count)
    if not prepared.operator.positive:
        _, total = split_stationary(prepared.operator, prepared.picture, total)
    else:
        total = total * _kept(prepared, field, total)
    rounding = 2 * jnp.finfo(field.dtype).eps * jnp.sqrt(count.astype(field.dtype))
    return Step(still + total, count.astype(field.dtype), rounding)


def _kept(prepared: _Prepared, before: Array, after: Array) -> Array:
    """The factor that undoes the drift of the mass by rounding, which all products share; 1 where mass may leave."""
    operator = prepared.operator
    if operator.well is not None or operator.grid.absorbs:
        return jnp.ones((), after.dtype)
    mass = operator.grid.integrate(after)
    return jnp.where(mass > 0, operator.grid.integrate(before) / jnp.where(mass > 0, mass, 1), 1)


def _poisson_mass(mean: Array, count: Array) -> Array:
    """The sum of the weights as they were computed."""

    def body(k: Array, mean: Array, total: Array) -> Array:
        return total + jnp.exp(k * jnp.log(mean) - mean - jax.lax.lgamma(k + jnp.ones_like(mean)))

    return run_loop(count, body, mean, jnp.zeros_like(mean))

"""`fp.Uniformization`: exp(tL) as a Poisson mixture of the powers of a Markov matrix.

    exp(tL) = sum_k e^{-qt} (qt)^k / k!  P^k,
    P = 1 + L / q,      q >= the largest exit rate

On finite volumes every number in the sum is at least zero, for any drift. Nothing can
cancel, so the result keeps positivity, and its relative accuracy even in the far tails.

Reference: Jensen, Skand. Aktuarietidskr. 36 (1953) 87; Grassmann, Comput. Oper. Res. 4
(1977) 47.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.loop import run_loop
from ..operator import Operator
from ..operator.base import has_stationary_state
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
    sizes,
    split_stationary,
)
from .constants import CONSTANTS


class _Prepared(eqx.Module):
    """The operator, and q."""

    operator: Operator
    rate: Array
    picture: Picture = eqx.field(static=True)

    def rates(self, field: Array) -> Array:
        """The time derivative of a field in its picture."""
        if self.picture == Picture.DENSITY:
            return self.operator.generator(field)
        return -self.operator.hamiltonian(field)


class Uniformization(Propagator):
    """exp(tL) p by a Poisson sum of non-negative terms, for any drift, any start and
    any dimension.

    **Keeps** on finite volumes: positivity exactly, mass and every stationary density
    to rounding, and the relative accuracy of the tails. On spectral operators it is a
    shifted Taylor series, without these invariants. **Cost**: q t + 8 sqrt(q t)
    products, linear in t; `Chebyshev` takes the square root of that where it is
    supported. **Memory**: five fields. **Raises**: `ValueError` for a Schrödinger
    equation.

    ```python
    import fpsolve as fp

    equation = fp.FokkerPlanck(force=lambda x: 2.0 + 0 * x)
    grid = fp.Grid(fp.Periodic(0.0, 1.0, 40))
    solution = fp.evolve(
        equation, fp.Gaussian(0.5, 0.01), [0.1], grid=grid, method=fp.Uniformization()
    )
    ```
    """

    def unsupported(self, kind: ProblemKind) -> Reason | None:
        """A Schrödinger equation."""
        if not kind.fokker_planck:
            because = (
                "a Poisson sum needs rates, and a wave of a Schrödinger equation has "
                "none"
            )
            return Reason(because, "Give fp.Chebyshev() or fp.Dense().")
        return None

    def cost(self, kind: ProblemKind, work: WorkEstimate) -> float:
        """q t + 8 sqrt(q t) products."""
        products = work.exits + 8 * work.exits**0.5
        return products * product_time(kind.grid, kind.spectral)

    def keeps(self, spectral: bool) -> Keeps:
        """Positivity exactly; mass and the Gibbs density to rounding."""
        return Keeps(
            mass="rounding",
            positivity="exact",
            gibbs="rounding",
            symmetry="rounding",
            order="tol",
            calls="t",
        )

    def prepare(self, operator: Operator, picture: Picture) -> _Prepared:
        """The rate q: the largest exit rate, or half the bound of the spectrum where
        there are no rates.
        """
        # The sum is the same for every q, so q is a constant to derivatives.
        rate = jax.lax.stop_gradient(operator.largest_rate)
        return _Prepared(operator, rate, picture)

    def apply(
        self, prepared: _Prepared, field: Array, lengths: Array, tol: Array, wick: float
    ) -> Step:
        """Each length from the one before, to rounding: the last digits cost few of the
        terms, so `tol` is not used.
        """
        return in_turn(lambda u, length: _sum(prepared, u, length), field, lengths)


def _sum(prepared: _Prepared, field: Array, length: Array) -> Step:
    """exp(length L) times a field."""
    # The number of terms is a constant to derivatives; the mean, and with it the
    # weights, is not.
    mean = prepared.rate * length
    deviation = jnp.sqrt(jax.lax.stop_gradient(mean))
    terms = (
        jax.lax.stop_gradient(mean)
        + CONSTANTS.poisson_deviations * deviation
        + CONSTANTS.poisson_terms
    )
    count = jnp.ceil(terms).astype(int)

    # On finite volumes every term of the sum is to stay positive, and nothing is split
    # off.
    stationary = jnp.zeros_like(field)
    if not prepared.operator.positive:
        stationary, field = split_stationary(prepared.operator, prepared.picture, field)

    def body(
        k: Array, parameters: tuple[_Prepared, Array], carry: tuple[Array, Array]
    ) -> tuple[Array, Array]:
        prepared, mean = parameters
        power, total = carry
        after = power + prepared.rates(power) / prepared.rate
        total = total + _poisson_weight(k, mean) * power
        return after, total

    # At length 0 the logarithm of the mean must stay finite.
    safe_mean = jnp.maximum(mean, jnp.finfo(field.dtype).tiny)
    start = (field, jnp.zeros_like(field))
    _, total = run_loop(count, body, (prepared, safe_mean), start)
    # Log-weights of size q t carry a rounding error of that size, which all terms have
    # in common: one factor undoes it.
    total = total / _sum_of_weights(safe_mean, count)
    if not prepared.operator.positive:
        _, total = split_stationary(prepared.operator, prepared.picture, total)
    else:
        total = total * _mass_factor(prepared, field, total)
    # The roundings of the products add up like a random walk.
    epsilon = jnp.finfo(field.dtype).eps
    error = 2 * epsilon * jnp.sqrt(count.astype(field.dtype))
    if not prepared.operator.positive:
        # In a basis all levels, up to 2 q, err by rounding, which acts on what is left.
        # Its slow modes are as large a part of every term, so that those of a field
        # that decays keep their digits. A stationary density that is not known keeps
        # its level of zero.
        by_levels = CONSTANTS.level_error * epsilon * 2 * jax.lax.stop_gradient(mean)
        if has_stationary_state(prepared.operator):
            left = sizes(prepared.operator, prepared.picture, total[None])[0]
            error = error + by_levels * left
        elif prepared.operator.grid.absorbs:
            error = error + by_levels
    return Step(stationary + total, count.astype(field.dtype), error)


def _poisson_weight(k: Array, mean: Array) -> Array:
    """e^{-mean} mean^k / k!, from its logarithm: both factors may overflow."""
    log_factorial = jax.lax.lgamma(k + jnp.ones_like(mean))
    return jnp.exp(k * jnp.log(mean) - mean - log_factorial)


def _sum_of_weights(mean: Array, count: Array) -> Array:
    """The sum of the Poisson weights as they were computed."""

    def body(k: Array, mean: Array, total: Array) -> Array:
        return total + _poisson_weight(k, mean)

    return run_loop(count, body, mean, jnp.zeros_like(mean))


def _mass_factor(prepared: _Prepared, before: Array, after: Array) -> Array:
    """The factor that undoes the drift of the mass by rounding, which all products
    share; 1 where mass may be lost.
    """
    operator = prepared.operator
    if operator.potential_term is not None or operator.grid.absorbs:
        return jnp.ones((), after.dtype)
    mass = operator.grid.integrate(after)
    # In the mass of a field of both signs most digits may cancel: the factor would be a
    # quotient of rounding errors.
    known = mass > CONSTANTS.uncancelled_mass * operator.grid.integrate(jnp.abs(after))
    factor = operator.grid.integrate(before) / jnp.where(known, mass, 1)
    return jnp.where(known, factor, 1)

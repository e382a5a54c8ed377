"""Steps of a splitting over the axes, whose number is chosen by a tolerance.

    S(h) = e^{h L_1 / 2}  e^{h L_2}  e^{h L_1 / 2}      two axes, order 2 (Strang)
    R(h) = S(h/2)^2 + (S(h/2)^2 - S(h)) / 3             order 4

An attempt compares `count` steps with half as many, by the same matrices squared. The
number of steps grows until the difference of the two is below the tolerance. The
matrices act on masses w p, one for each row of cells along an axis.

Reference: Strang, SIAM J. Numer. Anal. 5 (1968) 506.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.apply_along_axis import apply_along_axis
from ..core.loop import run_loop
from ..core.machine import EXACTLY
from ..linear.markov_expm import doublings, squared, transition
from ..linear.matrix_exponential import exponential
from .constants import CONSTANTS


class Options(eqx.Module):
    """The order and the number of steps of the method, whether the rates balance in
    detail, and whether they are rates of finite volumes, which are not negative, or
    generators in a basis.
    """

    order: int = eqx.field(static=True)
    steps: int | None = eqx.field(static=True)
    reversible: bool = eqx.field(static=True)
    positive: bool = eqx.field(static=True)


class _Attempt(NamedTuple):
    """The masses after `count` steps; the `difference` from half as many, the
    `rounding` error, and the `calls`.
    """

    masses: Array
    count: Array
    difference: Array
    rounding: Array
    calls: Array


@jax.custom_jvp
def steps_to_tolerance(
    options: Options,
    rates: tuple[Array, ...],
    masses: Array,
    length: Array,
    tol: Array,
) -> tuple[Array, Array, Array]:
    """The masses after `length`, the steps of all attempts, and the estimated error."""
    found = _search(options, rates, masses, length, tol)
    return found.masses, found.calls, found.difference + found.rounding


@steps_to_tolerance.defjvp
def _(primals: Any, tangents: Any) -> Any:
    # The derivative of the attempt that was accepted: its number of steps is no
    # function of the parameters.
    options, rates, masses, length, tol = primals
    found = _search(options, rates, masses, length, tol)

    def run(rates: tuple[Array, ...], masses: Array, length: Array) -> Array:
        return _attempt(options, rates, masses, length, found.count).masses

    directions = tuple(tangents[1:4])
    _, change = jax.jvp(run, (rates, masses, length), directions)
    zero = jnp.zeros_like(found.calls)
    error = found.difference + found.rounding
    return (found.masses, found.calls, error), (change, zero, zero)


def _search(
    options: Options,
    rates: tuple[Array, ...],
    masses: Array,
    length: Array,
    tol: Array,
) -> _Attempt:
    """Attempts with more and more steps, until two runs differ by little enough."""
    if options.steps is not None:
        first = most = options.steps
    else:
        first = CONSTANTS.splitting_first_steps
        most = CONSTANTS.splitting_basis_steps
        if options.positive:
            most = CONSTANTS.splitting_max_steps

    def unfinished(now: _Attempt) -> Array:
        # Below its own rounding the difference says nothing.
        allowed = jnp.maximum(tol - now.rounding, now.rounding)
        return (now.difference > allowed) & (now.count < most)

    def another(now: _Attempt) -> _Attempt:
        # The error falls as count^-order.
        excess = CONSTANTS.splitting_safety * now.difference / tol
        growth = excess ** (1 / options.order)
        # The first attempt has an infinite difference, and the second one may be far
        # from its asymptotic order.
        growth = jnp.clip(
            growth,
            CONSTANTS.splitting_smallest_growth,
            CONSTANTS.splitting_largest_growth,
        )
        # Half as many steps must be a whole number, and for order 4 a quarter of them.
        groups = jnp.ceil(now.count * growth / options.order).astype(int)
        wanted = options.order * groups
        count = jnp.where(now.count == 0, first, jnp.minimum(wanted, most))
        # Calls of all attempts are counted, also those that were not accurate enough.
        taken = _attempt(options, rates, masses, length, count)
        return taken._replace(calls=now.calls + taken.calls)

    zero = jnp.zeros((), masses.dtype)
    infinite = jnp.full((), jnp.inf, masses.dtype)
    nothing = _Attempt(
        masses=masses,
        count=jnp.zeros((), int),
        difference=infinite,
        rounding=zero,
        calls=zero,
    )
    return jax.lax.while_loop(unfinished, another, nothing)


def _attempt(
    options: Options,
    rates: tuple[Array, ...],
    masses: Array,
    length: Array,
    count: Array,
) -> _Attempt:
    """`count` steps, compared with half as many: the coarser runs take the matrices of
    the finer ones, squared.
    """
    # Roundings of the squarings, and of the steps, which add up like a random walk.
    if options.positive:
        growth = sum(doublings(each, length) for each in rates)
    else:
        # Scaling and squaring loses digits in proportion to the norm of a matrix with
        # entries of both signs.
        column_sums = (jnp.sum(jnp.abs(each), axis=-2) for each in rates)
        growth = length * sum(map(jnp.max, column_sums))
    epsilon = jnp.finfo(masses.dtype).eps
    rounding = epsilon * (2 + growth + jnp.sqrt(count)).astype(masses.dtype)
    # On one axis there is nothing to split, and one exponential is exact.
    if len(rates) == 1:
        whole = _transition(options, rates[0], length)
        return _Attempt(
            masses=_apply_rows(0, whole, masses),
            count=count,
            difference=jnp.zeros((), masses.dtype),
            rounding=rounding,
            calls=jnp.ones((), masses.dtype),
        )
    half_step = length / (2 * count).astype(length.dtype)
    halves = tuple(_transition(options, each, half_step) for each in rates)

    def level(
        carry: tuple[tuple[Array, ...], Array], _: None
    ) -> tuple[tuple[tuple[Array, ...], Array], Array]:
        halves, count = carry
        run, doubled = _strang(options, halves, count, masses)
        return (doubled, count // 2), run

    # Runs with count, count / 2 and, for order 4, count / 4 steps.
    levels = 2 if options.order == 2 else 3
    _, runs = jax.lax.scan(level, (halves, count), None, levels)
    if options.order == 4:
        runs = runs[:-1] + (runs[:-1] - runs[1:]) / 3
    finest = runs[0]
    coarser = runs[1]
    distance = jnp.sum(jnp.abs(finest - coarser))
    difference = distance / jnp.sum(jnp.abs(finest))
    if not options.reversible:
        # Steps in which each axis relaxes completely have a fixed point of their own,
        # which longer steps share: their difference is zero and says nothing. Where
        # rates balance in detail this fixed point is the Gibbs density.
        visible = length * _relaxation(rates, finest) <= count
        difference = jnp.where(visible, difference, jnp.inf)
    return _Attempt(
        masses=finest,
        count=count,
        difference=difference,
        rounding=rounding,
        calls=(2 * count).astype(masses.dtype),
    )


def _relaxation(rates: tuple[Array, ...], masses: Array) -> Array:
    """The rate at which mass relaxes along an axis, 1 / time: |d drift / dx|, averaged
    over the masses, at most.

    With the drift v_j = h (up_j - down_j) at node j of cells of width h, dv / dx is the
    difference of up - down between neighbouring nodes.
    """
    found = []
    # Where there is no mass, the mean is 0.
    tiny = jnp.finfo(masses.dtype).tiny
    for i, matrix in enumerate(rates):
        n = masses.shape[i]
        # Without the additional node, which takes the mass that is lost.
        living = matrix[..., :n, :n]
        up = jnp.diagonal(living, -1, -2, -1)
        down = jnp.diagonal(living, 1, -2, -1)
        drift = up[..., 1:] - down[..., :-1]  # at all nodes but the two at the ends
        change = jnp.abs(jnp.diff(drift, axis=-1))
        by_row = jnp.moveaxis(jnp.abs(masses), i, -1)
        here = by_row[..., 1 : n - 2]
        mean = jnp.sum(change * here) / jnp.maximum(jnp.sum(here), tiny)
        found.append(mean)
    return jax.lax.stop_gradient(jnp.max(jnp.stack(found)))


def _transition(options: Options, matrix: Array, length: Array) -> Array:
    """The exponential of the rates or of the generators along one axis."""
    if options.positive:
        return transition(matrix, length)
    return exponential(matrix, length)


def _strang(
    options: Options, halves: tuple[Array, ...], count: Array, masses: Array
) -> tuple[Array, tuple[Array, ...]]:
    """`count` steps from the transitions of half a step, and the latter for steps twice
    as long.
    """
    ndim = len(halves)

    def square(half: Array) -> Array:
        # `squared` also divides by the sums of the columns, which are one for rates.
        if options.positive:
            return squared(half)
        return jnp.matmul(half, half, precision=EXACTLY)

    doubled = tuple(map(square, halves))

    def without_additional(matrix: Array, i: int) -> Array:
        return matrix[..., : masses.shape[i], : masses.shape[i]]

    # A step is half a step along each axis but the last, a whole one along the last,
    # and the half steps back. Between two steps the half steps along the first axis
    # meet and become a whole one.
    forth = range(1, ndim)
    back = reversed(range(1, ndim - 1))
    order = (*forth, *back)

    def all_but_first(parameters: tuple[Array, ...], u: Array) -> Array:
        for i in order:
            u = _apply_rows(i, parameters[i], u)
        return u

    def step(k: Array, parameters: tuple[Array, ...], u: Array) -> Array:
        return _apply_rows(0, parameters[0], all_but_first(parameters, u))

    matrices = (doubled[0], *halves[1:-1], doubled[-1])
    parameters = tuple(without_additional(each, i) for i, each in enumerate(matrices))
    first = without_additional(halves[0], 0)
    start = _apply_rows(0, first, masses)
    u = run_loop(count - 1, step, parameters, start)
    after = _apply_rows(0, first, all_but_first(parameters, u))
    return after, doubled


def _apply_rows(i: int, matrix: Array, masses: Array) -> Array:
    """The matrices of axis i, one for each row of cells, times the masses, without the
    additional node.
    """
    living = matrix[..., : masses.shape[i], : masses.shape[i]]

    def times(u: Array) -> Array:
        return jnp.einsum("...ij,...j->...i", living, u, precision=EXACTLY)

    return apply_along_axis(i, times, masses)

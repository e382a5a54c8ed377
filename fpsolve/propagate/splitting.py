"""Splitting: axis after axis, each by the exponential of its own chains.

L = sum_i L_i with L_i the finite volumes along axis i alone, one birth-and-death chain a row. A step of length h, here
for two axes,

    S(h) = e^{h L_1 / 2}  e^{h L_2}  e^{h L_1 / 2}                                 order 2 (Strang)
    R(h) = S(h/2)^2 + (S(h/2)^2 - S(h)) / 3                                        order 4 (extrapolated over a run)

with the two half steps along axis 1 that meet between steps taken as one. Each e^{h L_i} is a batch of matrices, one a
row, made of non-negative numbers (`linear/markov_expm.py`), and the Gibbs density of L is one of every L_i.

References: Strang, SIAM J. Numer. Anal. 5 (1968) 506; Hundsdorfer and Verwer, Numerical Solution of Time-Dependent
Advection-Diffusion-Reaction Equations, IV.1.
"""

import math
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.apply_along_axis import along
from ..core.checks import check_integer, raise_value_error
from ..core.loop import run_loop
from ..core.machine import EXACTLY
from ..core.memory import check_memory
from ..grid import Grid
from ..linear.markov_expm import doublings, squared, transition
from ..operator import EdgeOperator, Operator
from .base import Keeps, Picture, ProblemKind, Propagator, Reason, Step, WorkEstimate, in_turn, no_rates, node_weights

FIRST, MOST = 4, 2**14  # steps of the first attempt, and of the last
GROWTH = 16  # at most, from one attempt to the next


class _Prepared(eqx.Module):
    rates: tuple[Array, ...]  # of each axis, `(*rows, to, from)`
    weights: Array
    floor: Array


class Splitting(Propagator):
    """exp(tL) p by exponentials along one axis at a time: any drift, static, on finite volumes.

    **Arguments**: `order`, 2 (Strang's steps) or 4 (extrapolated); `steps`, the number of steps from one output time
    to the next, a multiple of the order; None takes as many as `tol` asks, at most 16384.
    **Keeps**, at any step, however long: mass to rounding (unless an axis absorbs) and the Gibbs density as a fixed
    point; positivity exactly with order 2, to the size of the error with order 4. **Order**: as said; on one axis, and
    wherever the axes do not feel each other, the exact exponential. **Cost**: a step multiplies every point by a
    column of n numbers an axis; the matrices cost n^4 log2(q t / steps) operations on a grid of n^2 points, once an
    output time and attempt. It pays where rates are so large that `Uniformization`, q t products, takes hundreds of
    them a step. **Memory**: some ten times n fields an axis. **Raises**: `ValueError` for a spectral scheme, a wave of
    a process, real time, and a grid whose matrices would not fit. A wave of a Schrödinger equation in imaginary time
    is split too, its potential with the first axis.

    ```python
    import jax.numpy as jnp
    import fpsolve as fp

    equation = fp.FokkerPlanck(fp.Harmonic(1.0), force=lambda x: jnp.stack([-x[1], x[0]]))
    grid = fp.Grid(fp.Line(-4.0, 4.0, 16), fp.Line(-4.0, 4.0, 16))
    method = fp.Splitting(order=4)
    solution = fp.evolve(equation, fp.Gaussian([1.0, 0.0], 0.3), [1.0], grid=grid, method=method, tol=1e-6)
    ```
    """

    order: Literal[2, 4] = eqx.field(static=True)
    steps: int | None = eqx.field(static=True)

    def __init__(self, order: int = 2, steps: int | None = None):
        if order not in (2, 4):
            raise_value_error(
                "Splitting.order", order, "it must be 2 or 4", "Give 2 to keep positivity, 4 for small errors."
            )
        if steps is not None:
            cure = f"Give a multiple of {order}, or None."
            check_integer("Splitting.steps", steps, order, cure)
            if steps % order:
                raise_value_error("Splitting.steps", steps, f"it must be a multiple of the order, {order}", cure)
        self.order = 2 if order == 2 else 4
        self.steps = steps

    def check_grid(self, grid: Grid) -> None:
        """Refuse a grid whose matrices would not fit in memory."""
        cure = "Use fp.Uniformization(), which holds no matrix, or take fewer nodes."
        check_memory("Splitting on a grid", (grid.size, sum(grid.shape)), 10, cure)

    def unsupported(self, kind: ProblemKind) -> Reason | None:
        """A spectral scheme, a Wick angle; a grid whose matrices would not fit in memory is refused here."""
        reason = no_rates("Splitting", kind)
        if reason is None:
            self.check_grid(kind.grid)
        return reason

    def cost(self, kind: ProblemKind, work: WorkEstimate) -> float:
        """Never chosen: where it wins over implicit steps is not measured."""
        return math.inf

    def keeps(self, spectral: bool) -> Keeps:
        """Mass and the Gibbs density to rounding; signs, with order 2, exactly."""
        positivity = "exact" if self.order == 2 else "error"
        return Keeps("rounding", positivity, "rounding", "rounding", str(self.order), "1")

    def prepare(self, operator: Operator, picture: Picture) -> _Prepared:
        """The rates along each axis; a well counts as death along the first, from its lowest value up."""
        if not isinstance(operator, EdgeOperator):
            raise_value_error(
                "method",
                self,
                f"{type(operator).__name__} is not made of rates along axes",
                "Give scheme=fp.ScharfetterGummel(), or fp.Chebyshev() for this scheme.",
            )
        if picture != Picture.DENSITY and operator.log_sqrt_pi is not None:
            raise_value_error("method", self, "it takes densities", "Give fp.Chebyshev() for the wave of a process.")
        self.check_grid(operator.grid)
        weights = node_weights(operator)
        floor = jnp.zeros((), weights.dtype) if operator.well is None else jnp.min(operator.well)
        return _Prepared(tuple(_rates(operator, i, floor) for i in range(operator.grid.ndim)), weights, floor)

    def apply(self, prepared: _Prepared, field: Array, lengths: Array, tol: Array, wick: float) -> Step:
        """Length after length, each with its share of the tolerance."""
        if wick != 0:
            raise_value_error("wick", wick, "Splitting takes imaginary time only", "Give fp.Chebyshev().")

        def one(masses: Array, length: Array) -> Step:
            share = tol * length / jnp.maximum(lengths[-1], jnp.finfo(lengths.dtype).tiny)
            taken = Step(*_to_tolerance(self, prepared.rates, masses, length, share))
            return taken._replace(field=taken.field * jnp.exp(-prepared.floor * length))

        taken = in_turn(one, prepared.weights * field, lengths)
        return taken._replace(field=taken.field / prepared.weights)


def _rates(operator: EdgeOperator, i: int, floor: Array) -> Array:
    """The rates of the masses w p along axis i `(*rows, to, from)`; where mass dies, it goes to one more node."""
    axis, n = operator.grid.axes[i], operator.grid.shape[i]
    last = lambda rates: jnp.moveaxis(rates, i, -1)
    node, beyond = np.arange(n), [-1]  # the last node, where the dead are, lies beyond an open end
    below, above = {
        "no_flux": (node[:-1], node[1:]),
        "periodic": (node, np.roll(node, -1)),
        "absorbing": (np.concatenate([beyond, node]), np.concatenate([node, beyond])),
    }[axis.boundary]
    weights = np.concatenate([axis.weights, [np.inf]])  # from where nothing returns
    death = None if operator.well is None or i > 0 else last(operator.well - floor)
    size = n + (death is not None or axis.boundary == "absorbing")
    rise = last(operator.up[i]) / jnp.asarray(weights[below], operator.up[i].dtype)
    fall = last(operator.down[i]) / jnp.asarray(weights[above], rise.dtype)
    rates = jnp.zeros((*rise.shape[:-1], size, size), rise.dtype)
    rates = rates.at[..., above, below].add(rise).at[..., below, above].add(fall)
    return rates if death is None else rates.at[..., -1, :n].add(death)


class _Attempt(NamedTuple):
    masses: Array
    count: Array
    difference: Array
    rounding: Array
    calls: Array


@jax.custom_jvp
def _to_tolerance(
    method: Splitting, rates: tuple[Array, ...], masses: Array, length: Array, tol: Array
) -> tuple[Array, Array, Array]:
    """The masses after `length`, the steps taken in all attempts, and the estimated error."""
    found = _search(method, rates, masses, length, tol)
    return found.masses, found.calls, found.difference + found.rounding


@_to_tolerance.defjvp
def _(primals: Any, tangents: Any) -> Any:
    # The derivative of the attempt that was accepted: how many steps it has is no function of the parameters.
    method, rates, masses, length, tol = primals
    found = _search(method, rates, masses, length, tol)
    run = lambda rates, masses, length: _attempt(method, rates, masses, length, found.count).masses
    moved = jax.jvp(run, (rates, masses, length), tuple(tangents[1:4]))[1]
    zero = jnp.zeros_like(found.calls)
    return (found.masses, found.calls, found.difference + found.rounding), (moved, zero, zero)


def _search(method: Splitting, rates: tuple[Array, ...], masses: Array, length: Array, tol: Array) -> _Attempt:
    """Attempts with more and more steps, until the difference of two runs is small enough."""
    first, most = (FIRST, MOST) if method.steps is None else (method.steps, method.steps)
    infinite, zero = jnp.full((), jnp.inf, masses.dtype), jnp.zeros((), masses.dtype)

    def goes_on(now: _Attempt) -> Array:
        return (now.difference > jnp.maximum(tol - now.rounding, now.rounding)) & (now.count < most)

    def again(now: _Attempt) -> _Attempt:
        growth = jnp.clip((1.2 * now.difference / tol) ** (1 / method.order), 1.25, GROWTH)
        wanted = method.order * jnp.ceil(now.count * growth / method.order).astype(int)
        count = jnp.where(now.count == 0, first, jnp.minimum(wanted, most))
        taken = _attempt(method, rates, masses, length, count)
        return taken._replace(calls=now.calls + taken.calls)

    nothing = _Attempt(masses, jnp.zeros((), int), infinite, zero, zero)
    return jax.lax.while_loop(goes_on, again, nothing)


def _attempt(method: Splitting, rates: tuple[Array, ...], masses: Array, length: Array, count: Array) -> _Attempt:
    """`count` steps, compared with half as many: the coarser runs take the finer matrices, squared."""
    squarings = sum(doublings(each, length) for each in rates)
    rounding = jnp.finfo(masses.dtype).eps * (2 + squarings + jnp.sqrt(count)).astype(masses.dtype)
    if len(rates) == 1:
        moved, calls = _along(0, transition(rates[0], length), masses), jnp.ones((), masses.dtype)
        return _Attempt(moved, count, jnp.zeros((), masses.dtype), rounding, calls)
    halves = tuple(transition(each, length / (2 * count).astype(length.dtype)) for each in rates)

    def level(carry: tuple[Any, Array], _: None) -> tuple[tuple[Any, Array], Array]:
        halves, count = carry
        run, doubled = _strang(halves, count, masses)
        return (doubled, count // 2), run

    runs = jax.lax.scan(level, (halves, count), None, 2 if method.order == 2 else 3)[1]
    if method.order == 4:
        runs = runs[:-1] + (runs[:-1] - runs[1:]) / 3
    difference = jnp.sum(jnp.abs(runs[0] - runs[1])) / jnp.sum(jnp.abs(runs[0]))
    return _Attempt(runs[0], count, difference, rounding, (2 * count).astype(masses.dtype))


def _strang(halves: tuple[Array, ...], count: Array, masses: Array) -> tuple[Array, tuple[Array, ...]]:
    """`count` steps from the transitions of half a step, and the latter for steps twice as long."""
    ndim = len(halves)
    doubled = tuple(squared(half) for half in halves)
    living = lambda matrix, i: matrix[..., : masses.shape[i], : masses.shape[i]]

    def inside(parameters: tuple[Array, ...], u: Array) -> Array:
        for i in (*range(1, ndim), *reversed(range(1, ndim - 1))):
            u = _along(i, parameters[i], u)
        return u

    def step(k: Array, parameters: tuple[Array, ...], u: Array) -> Array:
        return _along(0, parameters[0], inside(parameters, u))

    parameters = tuple(living(each, i) for i, each in enumerate((doubled[0], *halves[1:-1], doubled[-1])))
    first = living(halves[0], 0)
    u = run_loop(count - 1, step, parameters, _along(0, first, masses))
    return _along(0, first, inside(parameters, u)), doubled


def _along(i: int, matrix: Array, masses: Array) -> Array:
    """The matrices of axis i, one a row, times the masses; those of the dead are left out."""
    living = matrix[..., : masses.shape[i], : masses.shape[i]]
    return along(i, lambda u: jnp.einsum("...ij,...j->...i", living, u, precision=EXACTLY), masses)

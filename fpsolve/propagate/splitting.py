"""`fp.Splitting`: one axis after another, each by the exponential of its own rates.

L = sum_i L_i with L_i the finite volumes along axis i alone, one birth-death process
for each row of cells; or, for the density of a reversible process in a basis, the flux
along axis i. A step of length h, here for two axes,

    S(h) = e^{h L_1 / 2}  e^{h L_2}  e^{h L_1 / 2}                                 order 2 (Strang)
    R(h) = S(h/2)^2 + (S(h/2)^2 - S(h)) / 3                                        order 4 (extrapolated over a run)

with the two half steps along axis 1 that meet between steps taken as one. Each e^{h
L_i} is a batch of matrices, one a row, of non-negative numbers
(`linear/markov_expm.py`), and the Gibbs density of L is one of every L_i.

References: Strang, SIAM J. Numer. Anal. 5 (1968) 506; Hundsdorfer and Verwer, Numerical
Solution of Time-Dependent Advection-Diffusion-Reaction Equations, IV.1.
"""

import math
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.apply_along_axis import apply_along_axis
from ..core.checks import check_integer, raise_value_error
from ..core.loop import run_loop
from ..core.machine import EXACTLY
from ..core.memory import check_memory
from ..grid import Grid
from ..linear.markov_expm import doublings, squared, transition
from ..linear.matrix_exponential import exponential
from ..operator import EdgeOperator, Operator
from ..operator.tensor import TensorOperator
from .axis_generators import axis_generators, longest_in_basis, takes_basis
from .base import (
    Keeps,
    Picture,
    ProblemKind,
    Propagator,
    Reason,
    Step,
    WorkEstimate,
    in_turn,
    no_rates,
    node_weights,
)
from .constants import CONSTANTS


class _Prepared(eqx.Module):
    """What all lengths share.

    - `rates`: of the masses along each axis, `(*rows, to, from)`; in a basis, the
      generators, whose columns sum to zero
    - `weights`: of the grid; `lowest`: the lowest value of the potential term, 0 where
      there is none
    - `options`: how the steps are chosen
    """

    rates: tuple[Array, ...]
    weights: Array
    lowest: Array
    options: "_Options"


class _Options(eqx.Module):
    """The order and the number of steps of the method, whether the rates balance in
    detail, and whether they are rates of finite volumes, which are not negative, or
    generators in a basis.
    """

    order: int = eqx.field(static=True)
    steps: int | None = eqx.field(static=True)
    reversible: bool = eqx.field(static=True)
    positive: bool = eqx.field(static=True)


class Splitting(Propagator):
    """exp(tL) p by exponentials along one axis at a time: for any drift, on finite
    volumes.

    **Arguments**: `order`, 2 (Strang's steps) or 4 (extrapolated); `steps`, the number
    of steps from one output time to the next, a multiple of the order. None takes as
    many as `tol` needs, at most 16384.

    **Keeps**, at any step, however long: mass to rounding (unless an axis is absorbing)
    and the Gibbs density as a fixed point; positivity exactly with order 2, to the size
    of the error with order 4. **Order**: as given. On one axis, and wherever the axes
    are independent, it is the exact exponential.

    **Cost**: a step multiplies every point by a column of n numbers an axis; the
    matrices cost n^4 log2(q t / steps) operations on a grid of n^2 points, once for
    each output time and attempt. It pays where the rates are so large that
    `Uniformization`, with q t products, takes hundreds of them a step. **Memory**: some
    ten times n fields an axis.

    **Limits**: on finite volumes it is never chosen by itself; it is there because it
    keeps positivity exactly at any step, with order 2. In a basis it takes densities
    with a gradient drift whose wave is too large for the precision. There it is chosen
    where a Poisson sum would take longer, and keeps positivity and the Gibbs density to
    the accuracy of the basis.
    For a process that is not reversible, steps must resolve the relaxation along each
    axis: where 16384 of them do not, the result says that the tolerance was not
    reached.

    **Raises**: `ValueError` for a spectral scheme, the wave p / sqrt(pi), a Wick angle,
    and a grid whose matrices would not fit. A wave of a Schrödinger equation in
    imaginary time is supported: its potential is part of the first axis.

    ```python
    import jax.numpy as jnp
    import fpsolve as fp

    equation = fp.FokkerPlanck(
        fp.Harmonic(1.0), force=lambda x: jnp.stack([-x[1], x[0]])
    )
    grid = fp.Grid(fp.Line(-4.0, 4.0, 16), fp.Line(-4.0, 4.0, 16))
    method = fp.Splitting(order=4)
    solution = fp.evolve(
        equation,
        fp.Gaussian([1.0, 0.0], 0.3),
        [1.0],
        grid=grid,
        method=method,
        tol=1e-6,
    )
    ```
    """

    order: Literal[2, 4] = eqx.field(static=True)
    steps: int | None = eqx.field(static=True)

    def __init__(self, order: int = 2, steps: int | None = None):
        if order not in (2, 4):
            raise_value_error(
                "Splitting.order",
                order,
                "it must be 2 or 4",
                "Give 2 to keep positivity, 4 for small errors.",
            )
        if steps is not None:
            cure = f"Give a multiple of {order}, or None."
            check_integer("Splitting.steps", steps, order, cure)
            if steps % order:
                raise_value_error(
                    "Splitting.steps",
                    steps,
                    f"it must be a multiple of the order, {order}",
                    cure,
                )
        self.order = 2 if order == 2 else 4
        self.steps = steps

    def check_grid(self, grid: Grid) -> None:
        """Raise `ValueError` for a grid whose matrices would not fit in memory."""
        cure = "Use fp.Uniformization(), which holds no matrix, or take fewer nodes."
        check_memory("Splitting on a grid", (grid.size, sum(grid.shape)), 10, cure)

    def unsupported(self, kind: ProblemKind) -> Reason | None:
        """A spectral scheme, but for a density with a gradient drift that has no wave,
        or a Wick angle. **Raises** `ValueError` if the matrices would not fit in
        memory.
        """
        reason = None if takes_basis(kind) else no_rates("Splitting", kind)
        if reason is None:
            self.check_grid(kind.grid)
        return reason

    def cost(self, kind: ProblemKind, work: WorkEstimate) -> float:
        """In a basis the most that it may take. On finite volumes infinity: there it is
        never chosen by itself.

        Where rates are large enough that it would win, its axes relax within a step,
        and an irreversible process then has an error that its own estimate does not see
        (`benchmarks/splitting.py`).
        """
        return longest_in_basis(kind.grid) if takes_basis(kind) else math.inf

    def keeps(self, spectral: bool) -> Keeps:
        """Mass and the Gibbs density to rounding; positivity exactly with order 2."""
        positivity = "exact" if self.order == 2 else "error"
        return Keeps(
            "rounding", positivity, "rounding", "rounding", str(self.order), "1"
        )

    def prepare(self, operator: Operator, picture: Picture) -> _Prepared:
        """The rates along each axis; a potential term is a killing rate along the
        first, above its lowest value.
        """
        if (
            isinstance(operator, TensorOperator)
            and operator.log_sqrt_pi is None
            and operator.is_factored
        ):
            weights = node_weights(operator)
            generators = tuple(
                axis_generators(operator, i) for i in range(operator.grid.ndim)
            )
            # Only a gradient drift is supported, whose Gibbs density is a fixed point
            # along every axis.
            options = _Options(self.order, self.steps, reversible=True, positive=False)
            return _Prepared(generators, weights, jnp.zeros((), weights.dtype), options)
        if not isinstance(operator, EdgeOperator):
            raise_value_error(
                "method",
                self,
                f"{type(operator).__name__} is not made of rates along axes",
                "Give scheme=fp.ScharfetterGummel(), or fp.Chebyshev() for this "
                "scheme.",
            )
        if picture != Picture.DENSITY and operator.log_sqrt_pi is not None:
            raise_value_error(
                "method",
                self,
                "it takes densities",
                "Give fp.Chebyshev() for the wave p / sqrt(pi).",
            )
        self.check_grid(operator.grid)
        weights = node_weights(operator)
        lowest = jnp.zeros((), weights.dtype)
        if operator.potential_term is not None:
            lowest = jnp.min(operator.potential_term)
        rates = tuple(_rates(operator, i, lowest) for i in range(operator.grid.ndim))
        options = _Options(
            self.order, self.steps, operator.log_sqrt_pi is not None, positive=True
        )
        return _Prepared(rates, weights, lowest, options)

    def apply(
        self, prepared: _Prepared, field: Array, lengths: Array, tol: Array, wick: float
    ) -> Step:
        """Each length from the one before, with its part of the tolerance."""
        if wick != 0:
            raise_value_error(
                "wick",
                wick,
                "Splitting supports imaginary time only",
                "Give fp.Chebyshev().",
            )

        def one(masses: Array, length: Array) -> Step:
            length_tol = (
                tol * length / jnp.maximum(lengths[-1], jnp.finfo(lengths.dtype).tiny)
            )
            taken = Step(
                *_to_tolerance(
                    prepared.options, prepared.rates, masses, length, length_tol
                )
            )
            return taken._replace(
                field=taken.field * jnp.exp(-prepared.lowest * length)
            )

        # Masses instead of densities: the rates then move mass from node to node, and
        # sums are exact.
        taken = in_turn(one, prepared.weights * field, lengths)
        return taken._replace(field=taken.field / prepared.weights)


def _rates(operator: EdgeOperator, i: int, lowest: Array) -> Array:
    """The rates of the masses w p along axis i, `(*rows, to, from)`.

    Mass that is lost goes to one more node, behind the last, from which nothing
    returns. So the columns of every exponential sum to one, which `markov_expm` needs.
    """
    axis = operator.grid.axes[i]
    n = operator.grid.shape[i]

    def last(rates: Array) -> Array:
        return jnp.moveaxis(rates, i, -1)

    # The nodes below and above each face; -1 is the additional node.
    node = np.arange(n)
    below, above = {
        "no_flux": (node[:-1], node[1:]),
        "periodic": (node, np.roll(node, -1)),
        "absorbing": (np.concatenate([[-1], node]), np.concatenate([node, [-1]])),
    }[axis.boundary]
    killing_rate = None
    if operator.potential_term is not None and i == 0:
        killing_rate = last(operator.potential_term - lowest)
    size = n + (killing_rate is not None or axis.boundary == "absorbing")

    # An infinite weight of the additional node makes the rates out of it zero.
    weights = np.concatenate([axis.weights, [np.inf]])
    rise = last(operator.up[i]) / jnp.asarray(weights[below], operator.up[i].dtype)
    fall = last(operator.down[i]) / jnp.asarray(weights[above], rise.dtype)
    rates = jnp.zeros((*rise.shape[:-1], size, size), rise.dtype)
    rates = rates.at[..., above, below].add(rise).at[..., below, above].add(fall)
    return rates if killing_rate is None else rates.at[..., -1, :n].add(killing_rate)


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
def _to_tolerance(
    options: _Options,
    rates: tuple[Array, ...],
    masses: Array,
    length: Array,
    tol: Array,
) -> tuple[Array, Array, Array]:
    """The masses after `length`, the steps taken in all attempts, and the estimated
    error.
    """
    found = _search(options, rates, masses, length, tol)
    return found.masses, found.calls, found.difference + found.rounding


@_to_tolerance.defjvp
def _(primals: Any, tangents: Any) -> Any:
    # The derivative of the attempt that was accepted: its number of steps is no
    # function of the parameters.
    options, rates, masses, length, tol = primals
    found = _search(options, rates, masses, length, tol)

    def run(rates: tuple[Array, ...], masses: Array, length: Array) -> Array:
        return _attempt(options, rates, masses, length, found.count).masses

    change = jax.jvp(run, (rates, masses, length), tuple(tangents[1:4]))[1]
    zero = jnp.zeros_like(found.calls)
    return (found.masses, found.calls, found.difference + found.rounding), (
        change,
        zero,
        zero,
    )


def _search(
    options: _Options,
    rates: tuple[Array, ...],
    masses: Array,
    length: Array,
    tol: Array,
) -> _Attempt:
    """Attempts with more and more steps, until the difference of two runs is small
    enough.
    """
    first = CONSTANTS.splitting_first_steps if options.steps is None else options.steps
    allowed_steps = (
        CONSTANTS.splitting_max_steps
        if options.positive
        else CONSTANTS.splitting_basis_steps
    )
    most = allowed_steps if options.steps is None else options.steps

    def unfinished(now: _Attempt) -> Array:
        # Below its own rounding the difference says nothing.
        allowed = jnp.maximum(tol - now.rounding, now.rounding)
        return (now.difference > allowed) & (now.count < most)

    def another(now: _Attempt) -> _Attempt:
        # The error falls as count^-order.
        growth = (CONSTANTS.splitting_safety * now.difference / tol) ** (
            1 / options.order
        )
        growth = jnp.clip(
            growth,
            CONSTANTS.splitting_smallest_growth,
            CONSTANTS.splitting_largest_growth,
        )
        # Half as many steps must be a whole number, and for order 4 a quarter of them.
        wanted = options.order * jnp.ceil(now.count * growth / options.order).astype(
            int
        )
        count = jnp.where(now.count == 0, first, jnp.minimum(wanted, most))
        # Calls of all attempts are counted, also those that were not accurate enough.
        taken = _attempt(options, rates, masses, length, count)
        return taken._replace(calls=now.calls + taken.calls)

    zero = jnp.zeros((), masses.dtype)
    infinite = jnp.full((), jnp.inf, masses.dtype)
    nothing = _Attempt(
        masses, count=jnp.zeros((), int), difference=infinite, rounding=zero, calls=zero
    )
    return jax.lax.while_loop(unfinished, another, nothing)


def _attempt(
    options: _Options,
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
        growth = length * sum(
            jnp.max(jnp.sum(jnp.abs(each), axis=-2)) for each in rates
        )
    rounding = jnp.finfo(masses.dtype).eps * (2 + growth + jnp.sqrt(count)).astype(
        masses.dtype
    )
    # On one axis there is nothing to split, and one exponential is exact.
    if len(rates) == 1:
        after = _apply_rows(0, _transition(options, rates[0], length), masses)
        return _Attempt(
            after,
            count,
            jnp.zeros((), masses.dtype),
            rounding,
            jnp.ones((), masses.dtype),
        )
    halves = tuple(
        _transition(options, each, length / (2 * count).astype(length.dtype))
        for each in rates
    )

    def level(
        carry: tuple[tuple[Array, ...], Array], _: None
    ) -> tuple[tuple[tuple[Array, ...], Array], Array]:
        halves, count = carry
        run, doubled = _strang(options, halves, count, masses)
        return (doubled, count // 2), run

    runs = jax.lax.scan(level, (halves, count), None, 2 if options.order == 2 else 3)[1]
    if options.order == 4:
        runs = runs[:-1] + (runs[:-1] - runs[1:]) / 3
    difference = jnp.sum(jnp.abs(runs[0] - runs[1])) / jnp.sum(jnp.abs(runs[0]))
    if not options.reversible:
        # Steps in which each axis relaxes completely have a fixed point of their own,
        # which longer steps share: their difference is zero and says nothing. Where
        # rates balance in detail this fixed point is the Gibbs density.
        visible = length * _relaxation(rates, runs[0]) <= count
        difference = jnp.where(visible, difference, jnp.inf)
    return _Attempt(
        runs[0], count, difference, rounding, (2 * count).astype(masses.dtype)
    )


def _relaxation(rates: tuple[Array, ...], masses: Array) -> Array:
    """The rate at which mass relaxes along an axis, 1 / time: |d drift / dx|, averaged
    over the masses, at most.

    With the drift v_j = h (up_j - down_j) at node j of cells of width h, dv / dx is the
    difference of up - down between neighbouring nodes.
    """
    found = []
    for i, matrix in enumerate(rates):
        n = masses.shape[i]
        living = matrix[..., :n, :n]
        up = jnp.diagonal(living, -1, -2, -1)
        down = jnp.diagonal(living, 1, -2, -1)
        drift = up[..., 1:] - down[..., :-1]  # at all nodes but the two at the ends
        change = jnp.abs(jnp.diff(drift, axis=-1))
        here = jnp.moveaxis(jnp.abs(masses), i, -1)[..., 1 : n - 2]
        found.append(
            jnp.sum(change * here)
            / jnp.maximum(jnp.sum(here), jnp.finfo(masses.dtype).tiny)
        )
    return jax.lax.stop_gradient(jnp.max(jnp.stack(found)))


def _transition(options: _Options, matrix: Array, length: Array) -> Array:
    """The exponential of the rates or of the generators along one axis."""
    return (
        transition(matrix, length) if options.positive else exponential(matrix, length)
    )


def _strang(
    options: _Options, halves: tuple[Array, ...], count: Array, masses: Array
) -> tuple[Array, tuple[Array, ...]]:
    """`count` steps from the transitions of half a step, and the latter for steps twice
    as long.
    """
    ndim = len(halves)
    doubled = tuple(
        squared(h) if options.positive else jnp.matmul(h, h, precision=EXACTLY)
        for h in halves
    )

    def without_additional(matrix: Array, i: int) -> Array:
        return matrix[..., : masses.shape[i], : masses.shape[i]]

    # A step is half a step along each axis but the last, a whole one along the last,
    # and the half steps back. Between two steps the half steps along the first axis
    # meet and become a whole one.
    def all_but_first(parameters: tuple[Array, ...], u: Array) -> Array:
        for i in (*range(1, ndim), *reversed(range(1, ndim - 1))):
            u = _apply_rows(i, parameters[i], u)
        return u

    def step(k: Array, parameters: tuple[Array, ...], u: Array) -> Array:
        return _apply_rows(0, parameters[0], all_but_first(parameters, u))

    matrices = (doubled[0], *halves[1:-1], doubled[-1])
    parameters = tuple(without_additional(each, i) for i, each in enumerate(matrices))
    first = without_additional(halves[0], 0)
    u = run_loop(count - 1, step, parameters, _apply_rows(0, first, masses))
    return _apply_rows(0, first, all_but_first(parameters, u)), doubled


def _apply_rows(i: int, matrix: Array, masses: Array) -> Array:
    """The matrices of axis i, one for each row of cells, times the masses, without the
    additional node.
    """
    living = matrix[..., : masses.shape[i], : masses.shape[i]]

    def times(u: Array) -> Array:
        return jnp.einsum("...ij,...j->...i", living, u, precision=EXACTLY)

    return apply_along_axis(i, times, masses)

"""Implicit steps: L-stable rational functions of L, so that no step is ever too long to be stable.

With W = (1 - gamma h L)^{-1}, the resolvent of L, a singly diagonally implicit Runge-Kutta step of s stages on a linear
equation is a polynomial in W without a constant term,

    R(hL) = sum_{k=1}^{s} c_k W^k,      sum_k c_k (1 - gamma z)^{-k} = 1 + z + ... + z^s / s! + O(z^{s+1}),

of order s if gamma is a root of the last condition, and R(-inf) = 0. For s = 1, gamma = 1: backward Euler, R = W >= 0.
For s = 2, gamma = 1 - 1 / sqrt 2; for s = 3 the middle root 0.4358... of x^3 - 3 x^2 + 3x/2 - 1/6.

The error is a second solution q with steps twice as long, at half the cost: e = (p - q) / (2^s - 1), as it is after
all that the dynamics damps. Steps chosen from `tol` keep the new part of e at a constant size a step.

Reference: Hairer and Wanner, Solving ODEs II, IV.6 and IV.8; Alexander, SIAM J. Numer. Anal. 14 (1977) 1006.
"""

import functools
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import check_integer, raise_value_error
from ..core.loop import run_loop
from ..core.types import Count
from ..linear.krylov import Resolvent, factor_resolvent
from ..operator import EdgeOperator, Operator
from .base import (
    Keeps,
    Picture,
    ProblemKind,
    Propagator,
    Reason,
    Step,
    WorkEstimate,
    no_rates,
    node_weights,
    product_time,
    split_stationary,
)

PRODUCTS = 4e5  # of a Poisson sum, which take as long as a run of order 3 to 1e-8 (measured: benchmarks/kernels.py)
MOST, TRIES = 8192, 4  # double steps between two output times, and sweeps with ever shorter ones


class _Prepared(eqx.Module):
    operator: EdgeOperator
    shift: Array
    order: int = eqx.field(static=True)

    def norm(self, field: Array) -> Array:
        """L1 in the grid's weights."""
        return jax.lax.stop_gradient(jnp.sum(jnp.abs(field) * node_weights(self.operator)))


class _Run(NamedTuple):
    """The fields `(T, *shape)`, their errors in L1, resolvents applied; fractions of each interval and their number."""

    field: Array
    error: Array
    calls: Array
    fractions: Array
    count: Array


class Implicit(Propagator):
    """L-stable implicit steps on finite volumes: any drift, however steep, any ends, steps of any length.

        R(hL) = sum_k c_k (1 - gamma h L)^{-k},      k = 1, ..., order

    **Arguments**: `order` 1 (backward Euler), 2 or 3; `steps`, the number of equal steps between two output times, at
    least 2; None chooses them from `tol`, short where the density changes fast and ever longer afterwards.
    **Keeps**: mass to rounding unless walls or a well take it. Order 1: positivity exactly, in every dimension.
    Orders 2 and 3: the Gibbs density of a reversible process to rounding; order 1 does so on one axis, and to the
    residual of its linear systems on more. **Error**: that of steps twice as long, plus every residual, both in the
    density. Linear systems on one axis are solved without subtractions; on more axes by BiCGSTAB with line
    relaxation, and for order 1 by relaxation from max(guess, 0), which leaves every iterate non-negative, followed
    by one positive factor that restores the mass; the residual is measured after all that. **Cost**: 1.5 `order`
    linear systems a step (10 ns a point on one axis), about tol^(-1/order) steps. **Raises**: `ValueError` for
    another order, fewer than 2 steps, a scheme without rates between cells, or a Wick angle.

    **Reference**: Hairer and Wanner, Solving ODEs II (1996), IV.6.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Absorbing(0.0, 1.0, 100))
    equation = fp.FokkerPlanck(force=lambda x: 1e4 * (0.5 - x))
    solution = fp.evolve(equation, fp.Gaussian(0.5, 0.01), [0.1], grid=grid, method=fp.Implicit(), tol=1e-4)
    ```
    """

    order: int = eqx.field(static=True)
    steps: int | None = eqx.field(static=True)

    def __init__(self, order: Count = 2, steps: Count | None = None) -> None:
        self.order = check_integer("order", order, 1, "Give 1, 2 or 3.")
        if self.order > 3:
            raise_value_error("order", order, "it must be 1, 2 or 3", "Give 3, or a smaller tolerance.")
        if steps is not None:
            steps = check_integer("steps", steps, 2, "Give at least 2, so that an error can be estimated, or None.")
        self.steps = steps

    def unsupported(self, kind: ProblemKind) -> Reason | None:
        """A spectral scheme, a Wick angle."""
        return no_rates("Implicit", kind)

    def cost(self, kind: ProblemKind, work: WorkEstimate) -> float:
        """As long as `PRODUCTS` products, whatever the rates."""
        return PRODUCTS * product_time(kind.grid, kind.spectral)

    def keeps(self, spectral: bool) -> Keeps:
        """Mass to rounding; signs exactly with order 1, the Gibbs density to rounding with orders 2 and 3."""
        positivity, gibbs = ("exact", "error") if self.order == 1 else ("error", "rounding")
        return Keeps("rounding", positivity, gibbs, "error", str(self.order), "1")

    def prepare(self, operator: Operator, picture: Picture) -> _Prepared:
        """The rates, with a well moved up to zero."""
        if not isinstance(operator, EdgeOperator) or (picture != Picture.DENSITY and operator.log_sqrt_pi is not None):
            cure = "Give scheme=fp.ScharfetterGummel(), or fp.Chebyshev()."
            raise_value_error("method", self, "implicit steps need finite volumes and the density picture", cure)
        if operator.well is None:
            return _Prepared(operator, jnp.zeros((), operator.up[0].dtype), self.order)
        shift = jax.lax.stop_gradient(jnp.min(operator.well))
        return _Prepared(eqx.tree_at(lambda o: o.well, operator, operator.well - shift), shift, self.order)

    def apply(self, prepared: _Prepared, field: Array, lengths: Array, tol: Array, wick: float) -> Step:
        """Step through all lengths, from one to the next."""
        if wick != 0:
            raise_value_error(
                "method", self, "implicit steps damp what a Wick angle only turns", "Give fp.Chebyshev()."
            )
        still = jnp.zeros_like(field)
        if self.order > 1:
            still, field = split_stationary(prepared.operator, Picture.DENSITY, field)
        if self.steps is None:
            run = _adaptive(prepared, still, field, lengths, jnp.asarray(tol, field.dtype))
        else:
            run = _fixed(prepared, self.steps, field, lengths, jnp.asarray(tol, field.dtype))
        rest = run.field
        if self.order > 1:
            rest = jax.vmap(lambda u: split_stationary(prepared.operator, Picture.DENSITY, u)[1])(rest)
        values = still + rest
        size = jax.vmap(prepared.norm)(values)
        error = jax.lax.stop_gradient(run.error / jnp.where(size > 0, size, 1) + 4 * jnp.finfo(field.dtype).eps)
        decay = jnp.exp(-lengths * prepared.shift).reshape(-1, *[1] * field.ndim)
        return Step(decay * values, jnp.sum(run.calls), error)


@functools.cache
def coefficients(order: int) -> tuple[float, tuple[float, ...]]:
    """gamma and c_1 ... c_s."""
    gamma = {1: 1.0, 2: 1 - math.sqrt(0.5), 3: float(np.sort(np.roots([1, -3, 1.5, -1 / 6]).real)[1])}[order]
    rows = [[gamma**m * math.comb(k + m - 1, m) for k in range(1, order + 1)] for m in range(order)]
    c = np.linalg.solve(rows, [1 / math.factorial(m) for m in range(order)])
    return gamma, tuple(float(x) for x in c)


def _resolvent(prepared: _Prepared, h: Array) -> Resolvent:
    return factor_resolvent(prepared.operator, coefficients(prepared.order)[0] * h, prepared.order == 1)


def _step(resolvent: Resolvent, order: int, field: Array, goal: Array) -> tuple[Array, Array]:
    """R(hL) times a field, leading axes a batch, and a bound on what the residuals change."""

    def power(carry: tuple[Array, Array, Array, Array], c: Array) -> tuple[tuple[Array, Array, Array, Array], None]:
        now, total, passed, lost = carry
        after = resolvent.solve(now, goal)
        passed = passed + jnp.max(resolvent.residual(now, after))
        return (after, total + c * after, passed, lost + abs(c) * passed), None

    zero, weights = jnp.zeros((), field.dtype), jnp.asarray(coefficients(order)[1], field.dtype)
    _, total, _, lost = jax.lax.scan(power, (field, jnp.zeros_like(field), zero, zero), weights)[0]
    return total, lost


def _two_steps(resolvent: Resolvent, order: int, field: Array, goal: Array) -> tuple[Array, Array]:
    def step(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        after, lost = _step(resolvent, order, carry[0], goal)
        return (after, carry[1] + lost), None

    return jax.lax.scan(step, (field, jnp.zeros((), field.dtype)), None, 2)[0]


def _fixed(prepared: _Prepared, steps: int, field: Array, lengths: Array, tol: Array) -> _Run:
    """Equal steps, and a second run with half as many for the error."""
    order, coarsen_grid = prepared.order, (steps + 1) // 2
    goal = tol / (20 * steps * sum(abs(c) for c in coefficients(order)[1])) + 2 * jnp.finfo(field.dtype).eps

    def body(_: Array, parameters: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        resolvent, goal = parameters
        after, lost = _step(resolvent, order, carry[0], goal)
        return after, carry[1] + lost

    def many(count: int, start: tuple[Array, Array], length: Array) -> tuple[Array, Array]:
        return run_loop(count, body, (_resolvent(prepared, length / count), goal), start)

    def interval(carry: Any, length: Array) -> Any:
        fine, coarse = carry
        fine = many(steps, fine, length)
        coarse = jax.lax.stop_gradient(many(coarsen_grid, coarse, length))
        error = prepared.norm(fine[0] - coarse[0]) / ((steps / coarsen_grid) ** order - 1) + fine[1]
        count = jnp.where(length > 0, float(order * (steps + coarsen_grid)), 0.0).astype(field.dtype)
        return (fine, coarse), _Run(fine[0], error, count, count, count)

    start = (field, jnp.zeros((), field.dtype))
    return jax.lax.scan(interval, (start, jax.lax.stop_gradient(start)), jnp.diff(lengths, prepend=0.0))[1]


class _State(NamedTuple):
    field: Array
    error: Array  # signed, (*shape)
    lost: Array
    t: Array
    h: Array
    before: Array  # the last accepted local error over the goal
    tried: Array
    count: Array
    fractions: Array


@jax.custom_jvp
def _adaptive(prepared: _Prepared, still: Array, field: Array, lengths: Array, tol: Array) -> _Run:
    """Sweeps over all lengths with a smaller goal a step each, until the error at the end is below `tol`."""
    least = 8 * jnp.finfo(field.dtype).eps
    share = jnp.maximum(8 * tol ** (1 + 1 / prepared.order), least)
    sizes = lambda run: jnp.max(run.error / jax.vmap(lambda u: prepared.norm(still + u))(run.field))

    def again(state: tuple[_Run, Array, Array]) -> Array:
        run, share, k = state
        return (k == 0) | ((sizes(run) > tol) & (k < TRIES) & (share > least))

    def shorter(state: tuple[_Run, Array, Array]) -> tuple[_Run, Array, Array]:
        run, share, k = state
        ratio = jnp.clip(0.5 * tol / sizes(run), 1e-3, 0.5) ** (1 + 1 / prepared.order)
        share = jnp.where(k == 0, share, jnp.maximum(share * ratio, least))
        after = _march(prepared, still, field, lengths, share)
        return after._replace(calls=after.calls + run.calls), share, k + 1

    some = jnp.zeros(lengths.shape, field.dtype)
    none = _Run(jnp.stack([field] * len(some)), some, some, jnp.zeros((len(some), MOST), field.dtype), some)
    return jax.lax.while_loop(again, shorter, (none, share, jnp.zeros((), int)))[0]


@_adaptive.defjvp
def _(primals: Any, tangents: Any) -> Any:
    run = _adaptive(*primals)
    prepared, _, field, lengths, tol = primals
    replay = lambda prepared, field, lengths: _replay(prepared, field, lengths, run.fractions, run.count, tol)
    change = jax.jvp(replay, (prepared, field, lengths), (tangents[0], tangents[2], tangents[3]))[1]
    return run, jax.tree.map(jnp.zeros_like, run)._replace(field=change)


def _march(prepared: _Prepared, still: Array, field: Array, lengths: Array, share: Array) -> _Run:
    """All lengths with local errors of relative size `share`."""
    order, dtype = prepared.order, field.dtype
    zero = jnp.zeros((), dtype)
    slope = prepared.norm(prepared.operator.generator(field)) / prepared.norm(still + field)
    first = share ** (1 / (order + 1)) / jnp.where(slope > 0, slope, 1)

    def interval(carry: _State, length: Array) -> tuple[_State, _Run]:
        carry = carry._replace(t=zero, tried=zero, count=zero, fractions=jnp.zeros((MOST,), dtype))
        end = jax.lax.while_loop(
            lambda state: state.t < length, lambda state: _double_step(prepared, still, share, length, state), carry
        )
        error = prepared.norm(end.error) + end.lost
        return end, _Run(end.field, error, 3 * order * end.tried, end.fractions, end.count)

    start = _State(field, jnp.zeros_like(field), zero, zero, first, zero + 1, zero, zero, jnp.zeros((MOST,), dtype))
    return jax.lax.scan(interval, start, jnp.diff(lengths, prepend=0.0))[1]


def _double_step(prepared: _Prepared, still: Array, share: Array, length: Array, state: _State) -> _State:
    """Two steps of h / 2 beside one of h, kept if they differ by little; then the next h (proportional-integral)."""
    order, left = prepared.order, length - state.t
    forced = state.count >= MOST - 1
    last = forced | (state.h >= left * (1 - 1e-6))
    h = jnp.where(last, left, jnp.minimum(state.h, left))
    goal = 0.02 * share + 2 * jnp.finfo(h.dtype).eps
    half = _resolvent(prepared, h / 2)
    after, lost = _two_steps(half, order, state.field, goal)
    (coarse, error), _ = _step(_resolvent(prepared, h), order, jnp.stack([state.field, state.error]), goal)
    new = (after - coarse) / (2**order - 1)
    size = prepared.norm(new) / (prepared.norm(still + after) * share)
    size = jnp.where(jnp.isfinite(size), jnp.maximum(size, 1e-10), 1e10)
    stuck = state.tried >= 2 * MOST
    kept = (size <= 2) | forced | stuck | (h <= 4 * jnp.finfo(h.dtype).eps * length)
    factor = 0.9 * size ** (-0.7 / (order + 1)) * state.before ** (0.4 / (order + 1))
    factor = jnp.where(kept, jnp.clip(factor, 0.2, 5.0), jnp.clip(0.9 * size ** (-1 / (order + 1)), 0.1, 0.9))
    proposed = jnp.where(kept & last, jnp.maximum(state.h, h * factor), h * factor)
    moved = _State(
        after,
        error + new,
        state.lost + lost,
        jnp.where(last, length, state.t + h),
        proposed,
        jnp.maximum(size, 1e-4),
        state.tried + 1,
        state.count + 1,
        state.fractions.at[state.count.astype(int)].set(h / length),
    )
    return jax.tree.map(
        lambda new, old: jnp.where(kept, new, old), moved, state._replace(h=proposed, tried=state.tried + 1)
    )


def _replay(prepared: _Prepared, field: Array, lengths: Array, fractions: Array, count: Array, tol: Array) -> Array:
    """The same steps once more, as a program that can be differentiated."""
    order = prepared.order
    goal = 0.16 * tol ** (1 + 1 / order) + 2 * jnp.finfo(field.dtype).eps

    def body(k: Array, parameters: Any, u: Array) -> Array:
        prepared, fractions, length, goal = parameters
        half = _resolvent(prepared, fractions[k] * length / 2)
        return _two_steps(half, order, u, goal)[0]

    def interval(u: Array, piece: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        length, fractions, count = piece
        u = run_loop(count.astype(int), body, (prepared, fractions, length, goal), u)
        return u, u

    return jax.lax.scan(interval, field, (jnp.diff(lengths, prepend=0.0), fractions, count))[1]

"""The exponential on one axis by the best rational approximation of e^x on x <= 0: any length for one price.

    exp(tL) p ~ e^{-t lo} 2 Re sum_k c_k (t (L + lo) - z_k)^-1 p,      |e^x - r(x)| about 2 * 9.28903^-n on x <= 0

z_k and c_k are the n/2 poles and residues of Caratheodory and Fejer in the upper half-plane. Each term is one solve
along the chain of cells, which forms no difference of large numbers, so slow modes keep their digits at any t |L|.
L of a chain without a ring is similar to a symmetric matrix whatever the drift: its rates balance in detail, up_j p_j =
down_j p_{j+1}, with a density p that is known. That stationary part is split off and only the rest is taken through
the solves; where mass is lost, or a well lies on the nodes, `lo` is the lowest level, found beforehand.

The error is measured: r of order n and of order n - 2 are both evaluated, and their difference d times the ratio of
their errors E on the half-line is the error of the better one. A start far from the stationary density enlarges both,
by about A = |d| / (E_{n-2} |p|), and the ratio with them; the ratio is taken A^(1/4) times as large, at most 1.

References: Trefethen, Weideman and Schmelzer, BIT Numer. Math. 46 (2006) 653; Cody, Meinardus and Varga, J. Approx.
Theory 2 (1969) 50.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import is_concrete, raise_value_error
from ..core.machine import machine
from ..linear import exponential_partial, lowest_decay, solve_chain
from ..linear.caratheodory_fejer import ORDERS
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
    split_stationary,
)

AMPLIFIED = 1e4  # by how much a start far from the stationary density may enlarge the error on the half-line
SAFETY = 10.0  # of the measured error
ROUNDINGS = 4.0  # of each term, in units of the precision


class _Prepared(eqx.Module):
    operator: Operator  # with the logarithm of the square root of its stationary density, where it has one
    excess: Array  # what leaves the chain at each node, per unit of time and mass
    up: Array  # rates of mass from each node to the next, and back
    down: Array
    lowest: Array
    ring: bool = eqx.field(static=True)


class Rational(Propagator):
    """exp(tL) p on one axis by a rational approximation: n/2 tridiagonal solves, the same for every t.

    On finite volumes, in the density picture, for processes with any drift and diffusion between ends; on a ring only
    without a force (the spectrum is then real). Schrödinger equations in imaginary time, with any well.
    **Arguments**: `order` n, even, from 4 to 16; None takes the least that serves `tol` where `tol` is a number, and
    where it is traced the best in the precision of the field, 14 or 8. **Keeps**: mass and the stationary density to
    rounding at any t, 1e12 too; signs to the size of the error. **Error**: measured, see `Step.error`. **Cost**: about
    n solves an output time, O(cells), whatever t; no matrix. **Raises**: `ValueError` in more dimensions, for spectral
    operators, for a force on a ring, for the wave of a process, and at a Wick angle.

    ```python
    import fpsolve as fp

    equation, grid = fp.FokkerPlanck(fp.DoubleWell(3.0)), fp.Grid(fp.Line(-2.5, 2.5, 400))
    solution = fp.evolve(equation, fp.Gaussian(-1.0, 0.04), [1.0, 1e6], grid=grid, method=fp.Rational())
    ```
    """

    order: int | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        """Refuse an order that is not computed."""
        if self.order is not None and self.order not in ORDERS[1:]:
            raise_value_error("Rational.order", self.order, "it must be even, from 4 to 16", "Give 14, or None.")

    def unsupported(self, kind: ProblemKind) -> Reason | None:
        """More than one axis, a spectral scheme, a Wick angle, a force on a ring."""
        if kind.grid.ndim > 1:
            others = (
                "fp.Chebyshev() for a reversible process, fp.Uniformization(), fp.Splitting() or fp.Implicit() for any"
            )
            return Reason(f"Rational takes one axis, and the grid has {kind.grid.ndim}", f"Give {others}.")
        if reason := no_rates("Rational", kind):
            return reason
        if kind.fokker_planck and not kind.gradient_drift and kind.grid.axes[0].boundary == "periodic":
            cure = "Give fp.Dense() on a small grid, fp.Uniformization(), fp.Splitting() or fp.Implicit()."
            return Reason("a drift that is no gradient on a ring makes the spectrum complex", cure)
        return None

    def cost(self, kind: ProblemKind, work: WorkEstimate) -> float:
        """Some seven solves for each time."""
        start, cell = machine().chain
        return (start + cell * kind.grid.size) * work.times

    def keeps(self, spectral: bool) -> Keeps:
        """Mass and the Gibbs density to rounding, signs to its error."""
        return Keeps("rounding", "error", "rounding", "rounding", "tol", "1")

    def prepare(self, operator: Operator, picture: Picture) -> _Prepared:
        """The chain's rates, its stationary density, and where mass is lost its lowest level."""
        cure = "Give fp.Chebyshev(), or fp.Uniformization() for a force."
        if not isinstance(operator, EdgeOperator) or operator.grid.ndim != 1:
            raise_value_error("method", self, "Rational needs one axis and a finite-volume scheme", cure)
        if picture != Picture.DENSITY and operator.well is None:
            raise_value_error("picture", picture, "Rational carries the density of a process", cure)
        (axis,), weights = operator.grid.axes, node_weights(operator)
        ring, lossy = axis.boundary == "periodic", axis.boundary == "absorbing" or operator.well is not None
        if ring and not lossy and operator.log_sqrt_pi is None:
            raise_value_error("method", self, "a force round a ring makes the spectrum complex", cure)
        up, down = operator.up[0], operator.down[0]
        excess = jnp.zeros_like(weights) if operator.well is None else operator.well
        if axis.boundary == "absorbing":
            excess = excess.at[0].add(down[0] / weights[0]).at[-1].add(up[-1] / weights[-1])
            up, down = up[1:-1], down[1:-1]
        if not lossy and operator.log_sqrt_pi is None:
            operator = eqx.tree_at(
                lambda made: made.log_sqrt_pi, operator, _balance(up, down, weights), is_leaf=lambda leaf: leaf is None
            )
        if not ring:
            up, down = (jnp.append(rate, 0) for rate in (up, down))
        up, down = up / weights, down / jnp.roll(weights, -1)
        lowest = lowest_decay(excess, up, down, ring) if lossy else jnp.zeros((), weights.dtype)
        return _Prepared(operator, excess, up, down, lowest, ring)

    def apply(self, prepared: _Prepared, field: Array, lengths: Array, tol: Array, wick: float) -> Step:
        """Every length from the one field, in one batch of solves."""
        if wick != 0:
            raise_value_error("wick", wick, "Rational holds on the negative axis only", "Give fp.Chebyshev().")
        order = self.order or choose_order(tol, field.real.dtype)
        if jnp.iscomplexobj(field):
            real, imaginary = (_advance(prepared, part, lengths, order) for part in (field.real, field.imag))
            return Step(real.field + 1j * imaginary.field, real.calls, jnp.maximum(real.error, imaginary.error))
        return _advance(prepared, field, lengths, order)


def choose_order(tol: Any, dtype: Any) -> int:
    """The least order whose error, amplified as much as is usual, is below `tol`; where `tol` is traced, the best."""
    best = 14 if jnp.finfo(dtype).bits == 64 else 8
    if not is_concrete(tol):
        return best
    enough = (n for n in ORDERS[1:] if n < best and AMPLIFIED * exponential_partial(n).error <= float(tol))
    return next(enough, best)


def _advance(prepared: _Prepared, field: Array, lengths: Array, order: int) -> Step:
    operator = prepared.operator
    fine, coarse = exponential_partial(order), exponential_partial(order - 2)
    split = len(fine.poles)
    complex_dtype = jnp.result_type(field, jnp.complex64)
    poles, residues = (
        jnp.asarray(np.concatenate(pair), complex_dtype) for pair in zip(fine[:2], coarse[:2], strict=True)
    )
    still, rest = split_stationary(operator, Picture.DENSITY, field)
    weights, safe = node_weights(operator), jnp.where(lengths > 0, lengths, 1)
    shifts = (poles[:, None] / safe - prepared.lowest).ravel()
    solved = solve_chain(shifts, prepared.excess, prepared.up, prepared.down, weights * rest, prepared.ring)
    terms = -2 * residues[:, None] / safe * solved.reshape(-1, *poles.shape, *safe.shape)
    masses, check = jnp.sum(terms[:, :split].real, axis=1), jnp.sum(terms[:, split:].real, axis=1)
    moved = jax.vmap(lambda u: still + split_stationary(operator, Picture.DENSITY, u)[1])((masses / weights[:, None]).T)
    decay = jnp.exp(-lengths * prepared.lowest)[:, None]
    answer = jnp.where(lengths[:, None] > 0, decay * moved, field)
    start = jnp.sum(weights * jnp.abs(rest))
    rounding = ROUNDINGS * jnp.finfo(field.dtype).eps * jnp.sum(jnp.abs(terms[:, :split]), axis=(0, 1))
    gap = jnp.sum(jnp.abs(masses - check), axis=0)
    amplified = jnp.maximum(gap / jnp.where(start == 0, 1, coarse.error * start), 1)
    ratio = jnp.minimum(SAFETY * fine.error / coarse.error * amplified**0.25, 1)
    size = jnp.sum(weights * jnp.abs(moved), axis=1)
    error = jax.lax.stop_gradient((ratio * gap + rounding) / jnp.where(size == 0, 1, size))
    calls = jnp.asarray(len(poles) * len(lengths), field.dtype)
    return Step(answer, calls, jnp.where(lengths > 0, error, 0))


def _balance(up: Array, down: Array, weights: Array) -> Array:
    """log sqrt(pi) of the density in detailed balance, log pi_{j+1} - log pi_j = log up_j - log down_j, of mass 1."""
    tiny = jnp.finfo(up.dtype).tiny
    rise = jnp.log(jnp.maximum(up, tiny)) - jnp.log(jnp.maximum(down, tiny))
    height = jnp.concatenate([jnp.zeros(1, up.dtype), jnp.cumsum(rise)])
    return (height - jax.scipy.special.logsumexp(height, b=weights)) / 2

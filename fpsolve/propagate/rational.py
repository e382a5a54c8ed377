"""`fp.Rational`: the exponential on one axis by the best rational approximation of e^x
on x <= 0.

    exp(tL) p ~ e^{-t lo} 2 Re sum_k c_k (t (L + lo) - z_k)^-1 p,
    |e^x - r(x)| about 2 * 9.28903^-n on x <= 0

z_k and c_k are the n/2 poles and residues of Caratheodory and Fejer in the upper
half-plane. Each term is one tridiagonal solve without subtractions of large numbers, so
slow modes keep their digits at any t |L|. Without a ring, L is similar to a symmetric
matrix whatever the drift: its rates are in detailed balance, up_j p_j = down_j p_{j+1},
with a density p that is known. That stationary part is split off, and only the rest is
approximated. Where mass is lost, or there is a potential term, `lo` is the lowest
level, computed beforehand.

The error is measured: r of order n and of order n - 2 are both evaluated, and their
difference d times the ratio of their errors E on the half-line is the error of the
better one. A start far from the stationary density enlarges both, by about A = |d| /
(E_{n-2} |p|), and the ratio with them; the ratio is taken A^(1/4) times as large, at
most 1.

References: Trefethen, Weideman and Schmelzer, BIT Numer. Math. 46 (2006) 653; Cody,
Meinardus and Varga, J. Approx. Theory 2 (1969) 50.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import is_concrete, raise_value_error
from ..core.machine import machine
from ..core.types import DType, Scalar
from ..linear import exponential_partial, lowest_decay, solve_shifted
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
from .constants import CONSTANTS


class _Prepared(eqx.Module):
    """The rates of the axis, and its lowest level.

    - `operator`: with log sqrt of its stationary density, where it has one
    - `killing_rate` `(n,)`: the mass that leaves the axis at each node, per unit of
      time and mass
    - `up`, `down` `(n,)`: the rates of mass from each node to the next, and back
    - `lowest`: the lowest level; `ring`: whether the last node is followed by the first
    """

    operator: Operator
    killing_rate: Array
    up: Array
    down: Array
    lowest: Array
    ring: bool = eqx.field(static=True)


class Rational(Propagator):
    """exp(tL) p on one axis by a rational approximation: n/2 tridiagonal solves, the
    same for every t.

    On finite volumes, for densities with any drift and diffusion between two ends; on a
    ring only without a force (the spectrum is then real). For Schrödinger equations in
    imaginary time, with any potential.

    **Arguments**: `order` n, even, from 4 to 16. None takes the least that serves
    `tol`, or where `tol` is traced the best in the precision of the field, 14 or 8.

    **Keeps**: mass and the stationary density to rounding at any t, 1e12 too;
    positivity to the size of the error.

    **Error**: measured, see `Step.error`. **Cost**: about n solves for each output
    time, O(cells), whatever t; no matrix. **Raises**: `ValueError` in more dimensions,
    for spectral operators, for a force on a ring, for the wave p / sqrt(pi), and at a
    Wick angle.

    ```python
    import fpsolve as fp

    equation, grid = (
        fp.FokkerPlanck(fp.DoubleWell(3.0)),
        fp.Grid(fp.Line(-2.5, 2.5, 400)),
    )
    solution = fp.evolve(
        equation, fp.Gaussian(-1.0, 0.04), [1.0, 1e6], grid=grid, method=fp.Rational()
    )
    ```
    """

    order: int | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        """Raise `ValueError` for an order that is not available."""
        if self.order is not None and self.order not in ORDERS[1:]:
            raise_value_error(
                "Rational.order",
                self.order,
                "it must be even, from 4 to 16",
                "Give 14, or None.",
            )

    def unsupported(self, kind: ProblemKind) -> Reason | None:
        """More than one axis, a spectral scheme, a Wick angle, or a force on a ring."""
        if kind.grid.ndim > 1:
            others = (
                "fp.Chebyshev() for a reversible process, fp.Uniformization(), "
                "fp.Splitting() or fp.Implicit() for any"
            )
            return Reason(
                f"Rational takes one axis, and the grid has {kind.grid.ndim}",
                f"Give {others}.",
            )
        if reason := no_rates("Rational", kind):
            return reason
        # On a ring a force drives a current, and the levels are complex: r(x) is
        # accurate on the real axis only.
        is_ring = kind.grid.axes[0].boundary == "periodic"
        if kind.fokker_planck and not kind.gradient_drift and is_ring:
            cure = (
                "Give fp.Dense() on a small grid, fp.Uniformization(), fp.Splitting() "
                "or fp.Implicit()."
            )
            return Reason(
                "a drift that is no gradient on a ring makes the spectrum complex", cure
            )
        return None

    def cost(self, kind: ProblemKind, work: WorkEstimate) -> float:
        """About seven solves for each time."""
        start, cell = machine().tridiagonal
        return (start + cell * kind.grid.size) * work.times

    def keeps(self, spectral: bool) -> Keeps:
        """Mass and the Gibbs density to rounding, positivity to its error."""
        return Keeps(
            mass="rounding",
            positivity="error",
            gibbs="rounding",
            symmetry="rounding",
            order="tol",
            calls="1",
        )

    def prepare(self, operator: Operator, picture: Picture) -> _Prepared:
        """The rates of the axis, its stationary density, and its lowest level where
        mass is lost.
        """
        cure = "Give fp.Chebyshev(), or fp.Uniformization() for a force."
        if not isinstance(operator, EdgeOperator) or operator.grid.ndim != 1:
            raise_value_error(
                "method",
                self,
                "Rational needs one axis and a finite-volume scheme",
                cure,
            )
        if picture != Picture.DENSITY and operator.potential_term is None:
            raise_value_error(
                "picture", picture, "Rational needs the density picture", cure
            )
        (axis,) = operator.grid.axes
        weights = node_weights(operator)
        ring = axis.boundary == "periodic"
        lossy = axis.boundary == "absorbing" or operator.potential_term is not None
        if ring and not lossy and operator.log_sqrt_pi is None:
            raise_value_error(
                "method", self, "a force round a ring makes the spectrum complex", cure
            )

        # At absorbing ends the first and the last rate lead out of the grid: they are
        # losses of the end nodes.
        up, down = operator.up[0], operator.down[0]
        killing_rate = jnp.zeros_like(weights)
        if operator.potential_term is not None:
            killing_rate = operator.potential_term
        if axis.boundary == "absorbing":
            killing_rate = killing_rate.at[0].add(down[0] / weights[0])
            killing_rate = killing_rate.at[-1].add(up[-1] / weights[-1])
            up, down = up[1:-1], down[1:-1]
        # With a force there is no Gibbs density, but between two ends every drift is in
        # detailed balance with some density.
        if not lossy and operator.log_sqrt_pi is None:
            operator = eqx.tree_at(
                lambda made: made.log_sqrt_pi,
                operator,
                _log_sqrt_stationary(up, down, weights),
                is_leaf=lambda leaf: leaf is None,
            )

        # From rates of densities to rates of masses, with one entry for each node.
        if not ring:
            up, down = jnp.append(up, 0), jnp.append(down, 0)
        up, down = up / weights, down / jnp.roll(weights, -1)
        lowest = jnp.zeros((), weights.dtype)
        if lossy:
            lowest = lowest_decay(killing_rate, up, down, ring)
        return _Prepared(
            operator=operator,
            killing_rate=killing_rate,
            up=up,
            down=down,
            lowest=lowest,
            ring=ring,
        )

    def apply(
        self, prepared: _Prepared, field: Array, lengths: Array, tol: Array, wick: float
    ) -> Step:
        """Every length from the one field, in one batch of solves."""
        if wick != 0:
            raise_value_error(
                "wick",
                wick,
                "Rational supports imaginary time only",
                "Give fp.Chebyshev().",
            )
        order = self.order or choose_order(tol, field.real.dtype)
        # The two parts of a complex field are independent in imaginary time.
        if jnp.iscomplexobj(field):
            real = _approximate(prepared, field.real, lengths, order)
            imaginary = _approximate(prepared, field.imag, lengths, order)
            return Step(
                field=real.field + 1j * imaginary.field,
                calls=real.calls,
                error=jnp.maximum(real.error, imaginary.error),
            )
        return _approximate(prepared, field, lengths, order)


def choose_order(tol: Scalar, dtype: DType) -> int:
    """The least order whose error is below `tol` for a usual amplification; the best
    one where `tol` is traced.
    """
    double = jnp.finfo(dtype).bits == 64
    best = CONSTANTS.best_order_double if double else CONSTANTS.best_order_single
    # The order decides the shapes of the program, so a traced tolerance cannot choose
    # it.
    if not is_concrete(tol):
        return best
    for order in ORDERS[1:]:
        if order >= best:
            break
        error = exponential_partial(order).error
        if CONSTANTS.expected_amplification * error <= float(tol):
            return order
    return best


def _approximate(prepared: _Prepared, field: Array, lengths: Array, order: int) -> Step:
    """r(tL) times a real field for every length, and the measured error."""
    operator = prepared.operator
    weights = node_weights(operator)
    stationary, rest = split_stationary(operator, Picture.DENSITY, field)

    # The terms of both orders by one batch of solves `(poles, T, n)`. A length of 0 is
    # replaced by 1, and its answer by the field at the end.
    fine = exponential_partial(order)
    coarse = exponential_partial(order - 2)
    split = len(fine.poles)
    complex_dtype = jnp.result_type(field, jnp.complex64)
    all_poles = np.concatenate([fine.poles, coarse.poles])
    all_residues = np.concatenate([fine.residues, coarse.residues])
    poles = jnp.asarray(all_poles, complex_dtype)
    residues = jnp.asarray(all_residues, complex_dtype)
    safe_lengths = jnp.where(lengths > 0, lengths, 1)
    shifts = (poles[:, None] / safe_lengths - prepared.lowest).ravel()
    solved = solve_shifted(
        shifts,
        prepared.killing_rate,
        prepared.up,
        prepared.down,
        weights * rest,
        prepared.ring,
    )
    solved = solved.reshape(-1, *poles.shape, *safe_lengths.shape)
    terms = -2 * residues[:, None] / safe_lengths * solved
    masses = jnp.sum(terms[:, :split].real, axis=1)
    coarse_masses = jnp.sum(terms[:, split:].real, axis=1)

    # Back to densities. Rounding puts a little of the stationary part back into the
    # rest, and it is removed again.
    def with_stationary(u: Array) -> Array:
        return stationary + split_stationary(operator, Picture.DENSITY, u)[1]

    values = jax.vmap(with_stationary)((masses / weights[:, None]).T)
    decay = jnp.exp(-lengths * prepared.lowest)[:, None]
    answer = jnp.where(lengths[:, None] > 0, decay * values, field)

    # The error from the difference of both orders, as in the docstring of the module.
    start = jnp.sum(weights * jnp.abs(rest))
    epsilon = jnp.finfo(field.dtype).eps
    magnitude = jnp.sum(jnp.abs(terms[:, :split]), axis=(0, 1))
    rounding = CONSTANTS.rational_roundings * epsilon * magnitude
    difference = jnp.sum(jnp.abs(masses - coarse_masses), axis=0)
    # Where the rest is zero, nothing is amplified.
    expected = jnp.where(start == 0, 1, coarse.error * start)
    amplified = jnp.maximum(difference / expected, 1)
    growth = amplified**CONSTANTS.amplification_exponent
    ratio = CONSTANTS.rational_safety * fine.error / coarse.error * growth
    ratio = jnp.minimum(ratio, 1)
    size = jnp.sum(weights * jnp.abs(values), axis=1)
    error = (ratio * difference + rounding) / jnp.where(size == 0, 1, size)
    # An error estimate is a constant to derivatives.
    error = jax.lax.stop_gradient(error)
    calls = jnp.asarray(len(poles) * len(lengths), field.dtype)
    return Step(answer, calls, jnp.where(lengths > 0, error, 0))


def _log_sqrt_stationary(up: Array, down: Array, weights: Array) -> Array:
    """log sqrt(pi) of the density in detailed balance, log pi_{j+1} - log pi_j = log
    up_j - log down_j, of mass 1.
    """
    # A rate may underflow to zero in a steep drift; its logarithm stays finite.
    tiny = jnp.finfo(up.dtype).tiny
    log_up = jnp.log(jnp.maximum(up, tiny))
    log_down = jnp.log(jnp.maximum(down, tiny))
    rise = log_up - log_down
    log_pi = jnp.concatenate([jnp.zeros(1, up.dtype), jnp.cumsum(rise)])
    return (log_pi - jax.scipy.special.logsumexp(log_pi, b=weights)) / 2

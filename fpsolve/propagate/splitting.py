"""`fp.Splitting`: one axis after another, each by the exponential of its own rates.

L = sum_i L_i with L_i the finite volumes along axis i alone, one birth-death process
for each row of cells; or, for the density of a reversible process in a basis, the flux
along axis i. A step of length h, here for two axes,

    S(h) = e^{h L_1 / 2}  e^{h L_2}  e^{h L_1 / 2}      order 2 (Strang)
    R(h) = S(h/2)^2 + (S(h/2)^2 - S(h)) / 3             order 4 (extrapolated)

with the two half steps along axis 1 that meet between steps taken as one. Each e^{h
L_i} is a batch of matrices, one a row, of non-negative numbers
(`linear/markov_expm.py`), and the Gibbs density of L is one of every L_i.

References: Strang, SIAM J. Numer. Anal. 5 (1968) 506; Hundsdorfer and Verwer, Numerical
Solution of Time-Dependent Advection-Diffusion-Reaction Equations, IV.1.
"""

import math
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..core.checks import check_integer, raise_value_error
from ..core.memory import check_memory
from ..grid import Grid
from ..operator import EdgeOperator, Operator
from ..operator.tensor import TensorOperator
from .axis_generators import axis_generators, axis_rates, longest_in_basis, takes_basis
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
from .strang_steps import Options, steps_to_tolerance


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
    options: Options


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
            mass="rounding",
            positivity=positivity,
            gibbs="rounding",
            symmetry="rounding",
            order=str(self.order),
            calls="1",
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
            axes = range(operator.grid.ndim)
            # Only a gradient drift is supported, whose Gibbs density is a fixed point
            # along every axis.
            options = Options(self.order, self.steps, reversible=True, positive=False)
            return _Prepared(
                rates=tuple(axis_generators(operator, i) for i in axes),
                weights=weights,
                lowest=jnp.zeros((), weights.dtype),
                options=options,
            )
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
        # A rate must not be negative: the lowest value is put back by a factor.
        lowest = jnp.zeros((), weights.dtype)
        if operator.potential_term is not None:
            lowest = jnp.min(operator.potential_term)
        axes = range(operator.grid.ndim)
        is_reversible = operator.log_sqrt_pi is not None
        options = Options(self.order, self.steps, is_reversible, positive=True)
        return _Prepared(
            rates=tuple(axis_rates(operator, i, lowest) for i in axes),
            weights=weights,
            lowest=lowest,
            options=options,
        )

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

        # All lengths may be zero.
        last = jnp.maximum(lengths[-1], jnp.finfo(lengths.dtype).tiny)

        def one(masses: Array, length: Array) -> Step:
            masses, calls, error = steps_to_tolerance(
                prepared.options, prepared.rates, masses, length, tol * length / last
            )
            decay = jnp.exp(-prepared.lowest * length)
            return Step(masses * decay, calls, error)

        # Masses instead of densities: the rates then move mass from node to node, and
        # sums are exact.
        taken = in_turn(one, prepared.weights * field, lengths)
        return taken._replace(field=taken.field / prepared.weights)

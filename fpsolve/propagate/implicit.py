"""`fp.Implicit`: implicit steps by L-stable rational functions of L, of any length
without instability.

    p <- R(hL) p,      R(hL) = sum_k c_k (1 - gamma h L)^{-k},      R(-inf) = 0

`implicit_steps.py` has the coefficients, one step, and runs of equal steps;
`adaptive_implicit.py` chooses the lengths from the tolerance. The error is estimated by
a second solution q with steps twice as long, at half the cost:
e = (p - q) / (2^s - 1), of which only what the dynamics has not damped counts.

Reference: Hairer and Wanner, Solving ODEs II, IV.6 and IV.8; Alexander, SIAM J. Numer.
Anal. 14 (1977) 1006.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.checks import check_integer, raise_value_error
from ..core.types import Count
from ..operator import EdgeOperator, Operator
from .adaptive_implicit import adaptive_run
from .base import (
    Keeps,
    Picture,
    ProblemKind,
    Propagator,
    Reason,
    Step,
    WorkEstimate,
    no_rates,
    product_time,
    split_stationary,
)
from .constants import CONSTANTS
from .implicit_steps import Prepared, fixed_run


class Implicit(Propagator):
    """L-stable implicit steps on finite volumes, of any length: for any drift, however
    steep, and any boundary.

        R(hL) = sum_k c_k (1 - gamma h L)^{-k},      k = 1, ..., order

    **Arguments**: `order` 1 (backward Euler), 2 or 3; `steps`, the number of equal
    steps between two output times, at least 2; None chooses them from `tol`, short
    where the density changes fast and longer afterwards.

    **Keeps**: mass to rounding, unless an absorbing boundary or a potential term
    removes it. Order 1: positivity exactly, in every dimension. Orders 2 and 3: the
    Gibbs density of a reversible process to rounding; order 1 keeps it so on one axis,
    and on more axes to the residual of its linear systems.

    **Error**: that of steps twice as long, plus every residual, both in the density.

    **Cost**: 1.5 `order` linear systems a step (10 ns a point on one axis), about
    tol^(-1/order) steps. Systems on one axis are solved without subtractions. On more
    axes, they are solved by BiCGSTAB with line relaxation; for order 1, by line
    relaxation from max(guess, 0), whose iterates are non-negative, and one positive
    factor that restores the mass. The residual is measured after that.

    **Raises**: `ValueError` for another order, fewer than 2 steps, a scheme without
    rates between cells, or a Wick angle.

    **Reference**: Hairer and Wanner, Solving ODEs II (1996), IV.6.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Absorbing(0.0, 1.0, 100))
    equation = fp.FokkerPlanck(force=lambda x: 1e4 * (0.5 - x))
    solution = fp.evolve(
        equation,
        fp.Gaussian(0.5, 0.01),
        [0.1],
        grid=grid,
        method=fp.Implicit(),
        tol=1e-4,
    )
    ```
    """

    order: int = eqx.field(static=True)
    steps: int | None = eqx.field(static=True)

    def __init__(self, order: Count = 2, steps: Count | None = None) -> None:
        self.order = check_integer("order", order, 1, "Give 1, 2 or 3.")
        if self.order > 3:
            raise_value_error(
                "order",
                order,
                "it must be 1, 2 or 3",
                "Give 3, or a smaller tolerance.",
            )
        # The error needs a second run with half as many steps.
        if steps is not None:
            steps = check_integer(
                "steps",
                steps,
                2,
                "Give at least 2, so that an error can be estimated, or None.",
            )
        self.steps = steps

    def unsupported(self, kind: ProblemKind) -> Reason | None:
        """A spectral scheme, or a Wick angle."""
        return no_rates("Implicit", kind)

    def cost(self, kind: ProblemKind, work: WorkEstimate) -> float:
        """The time of a fixed number of products, whatever the rates."""
        return CONSTANTS.implicit_products * product_time(kind.grid, kind.spectral)

    def keeps(self, spectral: bool) -> Keeps:
        """Mass to rounding; positivity exactly with order 1, the Gibbs density to
        rounding with orders 2 and 3.
        """
        positivity, gibbs = "error", "rounding"
        if self.order == 1:
            positivity, gibbs = "exact", "error"
        return Keeps(
            mass="rounding",
            positivity=positivity,
            gibbs=gibbs,
            symmetry="error",
            order=str(self.order),
            calls="1",
        )

    def prepare(self, operator: Operator, picture: Picture) -> Prepared:
        """The operator, with its potential term shifted to be at least zero."""
        if not isinstance(operator, EdgeOperator) or (
            picture != Picture.DENSITY and operator.log_sqrt_pi is not None
        ):
            cure = "Give scheme=fp.ScharfetterGummel(), or fp.Chebyshev()."
            raise_value_error(
                "method",
                self,
                "implicit steps need finite volumes and the density picture",
                cure,
            )
        if operator.potential_term is None:
            no_shift = jnp.zeros((), operator.up[0].dtype)
            return Prepared(operator, no_shift, self.order)
        # A negative potential term makes densities grow, and the matrix of a long step
        # indefinite. The shift is undone by an exact factor.
        shift = jax.lax.stop_gradient(jnp.min(operator.potential_term))
        shifted = eqx.tree_at(
            lambda o: o.potential_term, operator, operator.potential_term - shift
        )
        return Prepared(shifted, shift, self.order)

    def apply(
        self, prepared: Prepared, field: Array, lengths: Array, tol: Array, wick: float
    ) -> Step:
        """Step through all lengths, from one to the next."""
        if wick != 0:
            raise_value_error(
                "method",
                self,
                "implicit steps do not support a Wick angle: they damp oscillations",
                "Give fp.Chebyshev().",
            )
        operator = prepared.operator
        epsilon = jnp.finfo(field.dtype).eps
        # Order 1 keeps every sign, which the rest without its stationary part would not
        # have.
        stationary = jnp.zeros_like(field)
        if self.order > 1:
            stationary, field = split_stationary(operator, Picture.DENSITY, field)
        tol = jnp.asarray(tol, field.dtype)
        if self.steps is None:
            run = adaptive_run(prepared, stationary, field, lengths, tol)
        else:
            run = fixed_run(prepared, self.steps, field, lengths, tol)
        # Rounding puts a little of the stationary state back into the rest.
        rest = run.field
        if self.order > 1:

            def without_stationary(u: Array) -> Array:
                return split_stationary(operator, Picture.DENSITY, u)[1]

            rest = jax.vmap(without_stationary)(rest)
        values = stationary + rest
        size = jax.vmap(prepared.norm)(values)
        # Four roundings of the values: a free choice.
        error = run.error / jnp.where(size > 0, size, 1) + 4 * epsilon
        error = jax.lax.stop_gradient(error)
        # The factor that the shift of the potential term left out.
        decay = jnp.exp(-lengths * prepared.shift)
        decay = decay.reshape(-1, *[1] * field.ndim)
        return Step(decay * values, jnp.sum(run.calls), error)

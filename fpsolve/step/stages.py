"""The linear system of one collocation step, for the fields at its points.

    psi(t_k) + sum_m Q_km(E) g_m = e^{-t_k E} psi(0),      g_m = W psi(t_m)

With the g_m known, the same formula gives the field at the end of the step. E is
diagonal in the frame (`frame.py`), W at the nodes of the grid.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .conjugate_residuals import Statistics, solve
from .frame import Frame, apply_matrix, from_frame, to_frame


class StageSolution(NamedTuple):
    """One solution of the step: the field at its end, those at its points, and what the
    iteration took.
    """

    end: Array
    stage_values: Array
    calls: Array
    residual: Array


def solve_stages(
    frame: Frame,
    field: Array,
    coupling: Array,
    decays: Array,
    weights: Array,
    guess: Array,
    residual_tol: Array,
    tangents: list[Array],
) -> StageSolution:
    """The fields at the points of a step and at its end.

    **Arguments**: `coupling`, W at the points `(n, *shape)`; `decays`, exp(-t_k E), and
    `weights`, Q_km(E), of `gauss_rules.tables`; `guess`, the fields at the points;
    `tangents`, what to add to H for derivatives alone.

    Inside, the points are the second axis, behind the first axis of the grid: matrix
    products along the axes of the grid then need no transposition.
    """

    def points_second(u: Array) -> Array:
        return jnp.moveaxis(u, 0, 1)

    state = to_frame(frame, field)
    coupling = points_second(coupling)

    def source(states: Array) -> Array:
        """W psi at every point, from and to coefficients in the frame."""
        fields = from_frame(frame, states)
        coupled = coupling * fields
        for i, matrix in enumerate(tangents):
            coupled = coupled + apply_matrix(matrix, fields, i, field.ndim)
        return to_frame(frame, coupled)

    def product(states: Array) -> Array:
        """The left side of the linear system, psi(t_k) + sum_m Q_km g_m."""
        sources = source(states)
        rows = []
        for row in weights[:-1]:
            rows.append(sum(w * sources[:, m] for m, w in enumerate(row)))
        return states + jnp.stack(rows, 1)

    def solve_forward(
        product: Callable[[Array], Array], b: Array
    ) -> tuple[Array, Statistics]:
        # The solution does not depend on the guess, so neither does its derivative.
        start = to_frame(frame, points_second(jax.lax.stop_gradient(guess)))
        return solve(product, b, start, residual_tol)

    def solve_transposed(
        product: Callable[[Array], Array], b: Array
    ) -> tuple[Array, Statistics]:
        # The guess belongs to the forward system; the transposed one is started from
        # its right-hand side.
        return solve(product, b, b, residual_tol)

    # The derivative is that of the solution, by one more system, not that of the
    # iteration.
    states, statistics = jax.lax.custom_linear_solve(
        product,
        points_second(decays[:-1] * state),
        solve_forward,
        solve_transposed,
        has_aux=True,
    )
    gained = jnp.sum(points_second(weights[-1]) * source(states), 1)
    end = decays[-1] * state - gained
    return StageSolution(
        end=from_frame(frame, end),
        stage_values=jnp.moveaxis(from_frame(frame, states), 1, 0),
        calls=statistics.calls + 1,
        residual=statistics.residual,
    )

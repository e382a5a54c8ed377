"""The backward generator L* on finite volumes, with sets at which paths end.

    (L* g)_j = sum_k r_jk (g_k - g_j)     g a function of the start, r the rates
    M g = b,   M = 1_set - L*

L* is the transpose of L. The rates out of nodes of a set are zero, so M is an M-matrix,
M^{-1} >= 0. An edge that crosses the boundary of a set is cut where it crosses: order 2
although sets do not follow the cells.

One axis is eliminated without a subtraction, so every value has its relative accuracy
under any barrier. More axes take BiCGSTAB with line sweeps.

Reference: Gibou, Fedkiw, Cheng and Kang, J. Comput. Phys. 176 (2002) 205 (cut edges).
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.program import long_program
from ..grid import Grid
from ..linear.bicgstab import Restarts, restarted_bicgstab
from ..linear.line_sweep import LineSweep, factor_line_sweep
from ..operator import EdgeOperator, Samples, ScharfetterGummel
from ..operator.finite_volume import bernoulli
from .constants import CONSTANTS

Action: TypeAlias = Callable[[Array], Array]
Fields: TypeAlias = tuple[Array, ...]

# The loads of the two systems.
ON_LAST_SET = "one on the last set"
OUTSIDE = "one outside all sets"


class BackwardSystem(NamedTuple):
    """What M is made of: samples of the equation, the sets, and the parts of the edges
    that are outside them.
    """

    samples: Samples
    grid: Grid
    sets: Fields
    fractions: Fields


class Backward(eqx.Module):
    """M = 1_set - L*, on functions g `(*shape)`; the rates out of the set are zero.

    With the weights W of the cells L* = W^{-1} L^T W, so M = W^{-1} (1_set - L)^T W,
    and the sweeps for 1_set - L serve for M as well.
    """

    line_sweep: LineSweep  # of 1_set - L
    held: Array  # 1 on the sets, else 0

    def __call__(self, g: Array) -> Array:
        """M g, from the differences of g, `(*shape)`."""
        # Differences are formed first: for a g that is nearly constant nothing cancels.
        operator = self.line_sweep.operator
        answer = self.held * g
        for i, axis in enumerate(operator.grid.axes):
            below, above = axis.face_neighbors(g, i)
            rise = above - below
            lower = axis.node_faces(operator.down[i] * rise, i)[0]
            upper = axis.node_faces(operator.up[i] * rise, i)[1]
            lengths = operator.grid.axis_weights(i, operator.up[i].dtype)
            answer = answer + (lower - upper) / lengths
        return answer

    def sweep(self, load: Array) -> Array:
        """One sweep of line Gauss-Seidel for M from zero; on one axis this is M^{-1}
        load. It keeps load >= 0.
        """
        return self.line_sweep.sweep_transposed(load * self._weights) / self._weights

    def sweep_transposed(self, load: Array) -> Array:
        """The same for M^T."""
        start = jnp.zeros_like(load)
        return self.line_sweep.sweep(load / self._weights, start) * self._weights

    @property
    def _weights(self) -> Array:
        return self.line_sweep.operator.grid.weights.astype(self.held.dtype)


def solve_backward(
    system: BackwardSystem, load: str, tol: float
) -> tuple[Array, Array]:
    """x with M x = load, and its largest residual (zero on one axis), `tol` where that
    can be reached; the load is one on the last of the sets, or outside all of them.
    """
    # The tolerance enters as an array: another one needs no other program.
    return _solve_system(system, load, as_array(tol))


@long_program
def _solve_system(system: BackwardSystem, load: str, tol: Array) -> tuple[Array, Array]:
    dtype = tol.dtype
    operator = ScharfetterGummel().assemble(system.samples, system.grid, dtype)
    held = jnp.any(jnp.stack(system.sets), axis=0)
    never = jnp.zeros_like(held)
    if load == ON_LAST_SET:
        b = system.sets[-1].astype(dtype)
    else:
        # Where a path may end for ever elsewhere, the mean time is infinite, and it is
        # no unknown of the equation.
        never = _may_never_arrive(_cut_rates(operator, system, held), held)
        held = held | never
        b = (~held).astype(dtype)
    matrix = _factor(operator, system, held)

    # `custom_linear_solve` differentiates the equation M x = b, not the iteration.
    if system.grid.ndim == 1:
        # On one axis a sweep is the exact inverse.
        x = jax.lax.custom_linear_solve(
            matrix,
            b,
            lambda _, b: matrix.sweep(b),
            lambda _, b: matrix.sweep_transposed(b),
        )
        return jnp.where(never, jnp.inf, x), jnp.zeros((), dtype)

    def solve(action: Action, b: Array) -> Array:
        return _iterate(action, matrix.sweep, b, tol)

    def solve_transposed(action: Action, b: Array) -> Array:
        return _iterate(action, matrix.sweep_transposed, b, tol)

    x = jax.lax.custom_linear_solve(matrix, b, solve, solve_transposed)
    residual = jnp.max(jnp.abs(b - matrix(x)))
    return jnp.where(never, jnp.inf, x), jax.lax.stop_gradient(residual)


def _iterate(action: Action, preconditioner: Action, b: Array, tol: Array) -> Array:
    """x with residuals up to `tol` times the largest entry of b, by BiCGSTAB."""

    def inner_tol(_: Array) -> Array:
        # Each restart aims at `tol`, but at no more digits than BiCGSTAB holds.
        return jnp.maximum(tol, CONSTANTS.hitting_inner_tol)

    def largest(residual: Array) -> Array:
        return jnp.max(jnp.abs(residual))

    restarts = Restarts(
        CONSTANTS.hitting_restarts,
        CONSTANTS.hitting_iterations,
        CONSTANTS.hitting_decrease,
    )
    return restarted_bicgstab(
        action, preconditioner, b, tol, largest, inner_tol, restarts
    )


def _may_never_arrive(operator: EdgeOperator, held: Array) -> Array:
    """Whether a path from each node may come to nodes from which no rates lead to the
    sets or out of an absorbing end, `(*shape)`.
    """
    arrives = _leads_to(operator, held, jnp.ones((), bool))
    return _leads_to(operator, ~arrives, jnp.zeros((), bool))


def _leads_to(operator: EdgeOperator, nodes: Array, outside: Array) -> Array:
    """From which nodes a sequence of positive rates leads to `nodes` `(*shape)`, or to
    the `outside` of an absorbing axis; the nodes themselves included.
    """

    def spread(found: Array) -> Array:
        for i, axis in enumerate(operator.grid.axes):
            # Beyond an absorbing end the neighbour is zero, so that what is outside is
            # written as a difference.
            differs = (found != outside).astype(operator.up[i].dtype)
            below, above = axis.face_neighbors(differs, i)
            into_below = (below > 0) != outside
            into_above = (above > 0) != outside
            down = jnp.where(into_below & (operator.down[i] > 0), 1.0, 0.0)
            up = jnp.where(into_above & (operator.up[i] > 0), 1.0, 0.0)
            by_lower_face = axis.node_faces(down, i)[0] > 0
            by_upper_face = axis.node_faces(up, i)[1] > 0
            found = found | by_lower_face | by_upper_face
        return found

    def grows(state: tuple[Array, Array]) -> Array:
        return jnp.any(state[0] != state[1])

    def go_on(state: tuple[Array, Array]) -> tuple[Array, Array]:
        return state[1], spread(state[1])

    # At most one turn for each node on the longest way.
    return jax.lax.while_loop(grows, go_on, (nodes, spread(nodes)))[1]


def _factor(operator: EdgeOperator, system: BackwardSystem, held: Array) -> Backward:
    """M, with its rates cut at the boundaries of the sets and its lines factored."""
    masked = _cut_rates(operator, system, held)
    fixed = held.astype(operator.up[0].dtype)
    line_sweep = factor_line_sweep(masked, jnp.ones((), fixed.dtype), fixed)
    return Backward(line_sweep, fixed)


def _cut_rates(
    operator: EdgeOperator, system: BackwardSystem, held: Array
) -> EdgeOperator:
    """The operator with its rates cut at the boundaries of the sets, and none out of
    the nodes that are `held`.
    """
    free = 1 - held.astype(operator.up[0].dtype)
    up = []
    down = []
    for i, axis in enumerate(operator.grid.axes):
        fraction = system.fractions[i].astype(free.dtype)
        cut_up, cut_down = _cut(operator.up[i], operator.down[i], fraction)
        # A path that has reached a set stays there: no rate leads out of it.
        free_below, free_above = axis.face_neighbors(free, i)
        up.append(cut_up * free_below)
        down.append(cut_down * free_above)
    return EdgeOperator(operator.grid, tuple(up), tuple(down), None, None)


def _cut(up: Array, down: Array, fraction: Array) -> tuple[Array, Array]:
    """Rates over a part f of an edge of length h, from those of the edge: (D / (f h))
    B(-+ f P), P = log(up / down).
    """
    tiny = jnp.finfo(up.dtype).tiny
    # A rate that has underflowed has no logarithm: `tiny` stands for it.
    log_up = jnp.log(jnp.maximum(up, tiny))
    log_down = jnp.log(jnp.maximum(down, tiny))
    log_ratio = log_up - log_down
    # D / h from the larger of the two rates, which has not underflowed.
    larger = jnp.where(up > down, up, down)
    conductance = larger / bernoulli(-jnp.abs(log_ratio))

    def rate(log_ratio: Array) -> Array:
        return conductance / fraction * bernoulli(-fraction * log_ratio)

    # Whole edges keep their rates to the last bit.
    is_cut = fraction < 1
    cut_up = jnp.where(is_cut, rate(log_ratio), up)
    cut_down = jnp.where(is_cut, rate(-log_ratio), down)
    return cut_up, cut_down

"""Hitting probabilities and times: the committor and the mean first passage time.

    L* g = D Lap g + (f - grad U) . grad g     the backward generator, on functions g of the start
    committor   L* q = 0,      q = 0 on the reactant, 1 on the product: the probability to reach the product first
    passage     L* tau = -1,   tau = 0 on the target: the mean time until a path reaches it

Finite volumes: with the rates r_jk of the cells, (L* g)_j = sum_k r_jk (g_k - g_j), the
transpose of L. The rates out of nodes of a set are zero, so M = 1_set - L* is an
M-matrix, M^{-1} >= 0. An edge that crosses the boundary of a set is cut where it
crosses (found by bisection where the set is a function): order 2 although sets do not
follow the cells.

One axis is eliminated without a subtraction, so every value has its relative accuracy
under any barrier. More axes take BiCGSTAB with line sweeps. There M e = r gives |e| <=
max |r| tau, tau the passage time to the sets: for a passage time the largest residual
bounds the relative error of every value.

References: Metzner, Schütte and Vanden-Eijnden, J. Chem. Phys. 125 (2006) 084110;
Redner, A Guide to First-Passage Processes (2001), section 1.5; cut edges: Gibou,
Fedkiw, Cheng and Kang, J. Comput. Phys. 176 (2002) 205.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete, raise_value_error
from ..core.program import full_precision, long_program
from ..core.result import NumericalFailure
from ..core.types import AnyArray, DType, Formula, Scalar
from ..equation import Equation, FokkerPlanck
from ..grid import Grid
from ..linear.bicgstab import Restarts, restarted_bicgstab
from ..linear.line_sweep import LineSweep, factor_line_sweep
from ..operator import EdgeOperator, Samples, ScharfetterGummel, sample_equation
from ..operator.finite_volume import bernoulli
from ..plan.companion import companion
from ..plan.validation import check_and_sample
from .between_nodes import unseen_in_field
from .constants import CONSTANTS
from .field import Field
from .field_errors import OnCompanion, field_error
from .sets import interpolated_set, outside_fractions, read_set, sample_set

Action: TypeAlias = Callable[[Array], Array]
Fields: TypeAlias = tuple[Array, ...]

# The loads of the two systems.
ON_LAST_SET = "one on the last set"
OUTSIDE = "one outside all sets"


@full_precision
def committor(
    equation: Equation,
    grid: Grid,
    reactant: Any,
    product: Any,
    *,
    t: Scalar = 0.0,
    check: bool = True,
) -> Field:
    """The probability that a path from x reaches the product before the reactant.

        L* q = 0,      q = 0 on the reactant,  q = 1 on the product

    **Arguments**: `equation` an `fp.FokkerPlanck`, also with a force; `reactant` and
    `product` sets that do not meet, functions of x `(d,)` to a boolean or arrays
    `(*shape)` of booleans; `t` is the time at which a time-dependent equation is taken;
    `check` solves on two coarser grids as well, for the error. **Returns** an
    `fp.Field`, which is used as an array `(*shape)`; its `error` is NaN without
    `check`, under a transformation, and where a set is an array on an axis of unequal
    cells.
    **Raises** `ValueError` for bad arguments, `NumericalFailure` if the error cannot be
    bounded by 1e-6 (1e-2 without x64); under `jit` this is not checked.

    **Keeps**: 0 <= q <= 1 within its error, exactly on one axis, where q keeps its
    relative accuracy. A path that leaves through an absorbing end reaches neither set.
    Order 2 where sets are functions; arrays end at nodes. `jit`, `vmap` and `grad`
    reach the equation.
    **Cost**: O(n) on one axis; else some tens to hundreds of sweeps.
    **Reference**: Metzner, Schütte and Vanden-Eijnden (2006), eq. 9.

    ```python
    import fpsolve as fp

    well, grid = fp.FokkerPlanck(fp.DoubleWell(3.0)), fp.Grid(fp.Line(-2, 2, 200))
    q = fp.committor(well, grid, lambda x: x[0] < -0.9, lambda x: x[0] > 0.9)
    ```
    """
    equation, grid, samples = _check(equation, grid, t)
    in_reactant, reactant_function = read_set("reactant", reactant, grid)
    in_product, product_function = read_set("product", product, grid)
    sets = (in_reactant, in_product)
    if is_concrete(*sets) and bool(
        np.any(np.asarray(in_reactant) & np.asarray(in_product))
    ):
        raise_value_error(
            "product", product, "it must not meet the reactant", "Move the sets apart."
        )
    functions = (reactant_function, product_function)
    system = _System(samples, grid, sets, outside_fractions(grid, sets, functions))
    q, error = _solve(system, ON_LAST_SET, CONSTANTS.hitting_tol)
    if grid.ndim > 1 and is_concrete(q):
        # |e| <= max |r| tau. The passage time tau itself is only known up to its own residual.
        passage, _ = _solve(system, OUTSIDE, CONSTANTS.bound_tol)
        error = (
            np.asarray(error) * np.max(np.asarray(passage)) / (1 - CONSTANTS.bound_tol)
        )
    _check_error(error, q.dtype)
    question = _Question(equation, t, functions, ON_LAST_SET)
    return Field(q, _error(question, system, q, error, check), grid, "committor")


@full_precision
def mean_first_passage_time(
    equation: Equation, grid: Grid, target: Any, *, t: Scalar = 0.0, check: bool = True
) -> Field:
    """The mean time until a path from x first reaches the target.

        L* tau = -1,      tau = 0 on the target

    **Arguments**: as for `fp.committor`; `target` may be empty where an end absorbs,
    and tau is then the mean time of exit. **Returns** an `fp.Field` `(*shape)`, in
    units of time; infinity where a path may stay elsewhere for ever, where the
    diffusion vanishes, say. **Raises** `ValueError` for bad arguments,
    `NumericalFailure` as `fp.committor`, for the relative error, and for a time beyond
    the range of numbers.

    **Keeps**: tau >= 0; on one axis the relative accuracy of tau under any barrier.
    **Cost**: as `fp.committor`. **Reference**: Redner (2001), eq. 1.5.3.

    ```python
    import fpsolve as fp

    well, grid = fp.FokkerPlanck(fp.DoubleWell(3.0)), fp.Grid(fp.Line(-2, 2, 200))
    tau = fp.mean_first_passage_time(well, grid, lambda x: x[0] > 0.9)
    ```
    """
    equation, grid, samples = _check(equation, grid, t)
    inside, function = read_set("target", target, grid, may_be_empty=grid.absorbs)
    system = _System(
        samples, grid, (inside,), outside_fractions(grid, (inside,), (function,))
    )
    tau, residual = _solve(system, OUTSIDE, CONSTANTS.hitting_tol)
    _check_error(residual, tau.dtype)
    if is_concrete(tau) and bool(jnp.any(jnp.isnan(tau))):
        cure = (
            "Raise the diffusion, or take fp.spectral_gap, whose logarithm has no such "
            "bound."
        )
        raise NumericalFailure(
            "not_finite: a mean time over a barrier is beyond the range of numbers. "
            f"{cure}"
        )
    question = _Question(equation, t, (function,), OUTSIDE)
    # The residual is relative.
    return Field(
        tau,
        _error(question, system, tau, residual * tau, check),
        grid,
        "mean first passage time",
    )


class _Question(NamedTuple):
    """What is asked, without a grid: the equation at a time, the functions of the sets
    (None for arrays), the load.
    """

    equation: FokkerPlanck
    t: Scalar
    functions: tuple[Formula | None, ...]
    load: str


def _error(
    question: _Question,
    system: "_System",
    values: Array,
    algebra: AnyArray,
    check: bool,
) -> Array:
    """The error `(*shape)` of a field: that of the solver, and that in space from two
    companion grids.
    """
    unknown = jnp.full(values.shape, jnp.nan, values.dtype)
    if not check or not is_concrete(question.equation, question.t, values, system):
        return unknown
    grid = system.grid
    functions = []
    for inside, function in zip(system.sets, question.functions, strict=True):
        if function is None:
            if not grid.uniform:
                return unknown
            function = interpolated_set(grid, inside)
        functions.append(function)
    others = []
    other_grid = grid
    for _ in range(2):
        other_grid = companion(other_grid, spectral=False)
        samples = sample_equation(
            ScharfetterGummel(),
            question.equation,
            other_grid,
            as_array(question.t),
            False,
        )
        sets = tuple(sample_set(other_grid, function) for function in functions)
        fractions = outside_fractions(other_grid, sets, tuple(functions))
        found, _ = _solve(
            _System(samples, other_grid, sets, fractions),
            question.load,
            CONSTANTS.companion_tol,
        )
        others.append(
            OnCompanion(other_grid, np.asarray(found), np.any(np.asarray(sets), axis=0))
        )
    held = np.any(np.asarray(system.sets), axis=0)
    space = field_error(grid, np.asarray(values), held, others)
    unseen = unseen_in_field(
        question.equation, grid, float(question.t), np.asarray(values)
    )
    # A time that is infinite stays so, and has no relative error.
    finite = np.where(held | ~np.isfinite(values), 0, np.asarray(values))
    space = space + unseen * np.abs(finite)
    return as_array(space + np.asarray(algebra), values.dtype)


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
            answer = answer + (lower - upper) / operator.grid.axis_weights(
                i, operator.up[i].dtype
            )
        return answer

    def sweep(self, load: Array) -> Array:
        """One sweep of line Gauss-Seidel for M from zero; on one axis this is M^{-1}
        load. It keeps load >= 0.
        """
        return self.line_sweep.sweep_transposed(load * self._weights) / self._weights

    def sweep_transposed(self, load: Array) -> Array:
        """The same for M^T."""
        return (
            self.line_sweep.sweep(load / self._weights, jnp.zeros_like(load))
            * self._weights
        )

    @property
    def _weights(self) -> Array:
        return self.line_sweep.operator.grid.weights.astype(self.held.dtype)


class _System(NamedTuple):
    """What M is made of: samples of the equation, the sets, and the parts of the edges
    that are outside them.
    """

    samples: Samples
    grid: Grid
    sets: Fields
    fractions: Fields


def _solve(system: _System, load: str, tol: float) -> tuple[Array, Array]:
    """x with M x = load, and its largest residual (zero on one axis), `tol` where that
    can be reached; the load is one on the last of the sets, or outside all of them.
    """
    return _solve_system(system, load, as_array(tol))


@long_program
def _solve_system(system: _System, load: str, tol: Array) -> tuple[Array, Array]:
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
    return jnp.where(never, jnp.inf, x), jax.lax.stop_gradient(
        jnp.max(jnp.abs(b - matrix(x)))
    )


def _iterate(action: Action, preconditioner: Action, b: Array, tol: Array) -> Array:
    """x with a largest residual of `tol` times the largest entry of b, by restarted
    BiCGSTAB.
    """

    def inner_tol(_: Array) -> Array:
        # Each restart aims at `tol` itself, but at no more digits than BiCGSTAB holds
        # without drifting.
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
            below, above = axis.face_neighbors(
                (found != outside).astype(operator.up[i].dtype), i
            )
            into_below, into_above = (below > 0) != outside, (above > 0) != outside
            down = jnp.where(into_below & (operator.down[i] > 0), 1.0, 0.0)
            up = jnp.where(into_above & (operator.up[i] > 0), 1.0, 0.0)
            found = (
                found
                | (axis.node_faces(down, i)[0] > 0)
                | (axis.node_faces(up, i)[1] > 0)
            )
        return found

    def grows(state: tuple[Array, Array]) -> Array:
        return jnp.any(state[0] != state[1])

    # At most one turn for each node on the longest way.
    return jax.lax.while_loop(
        grows, lambda state: (state[1], spread(state[1])), (nodes, spread(nodes))
    )[1]


def _factor(operator: EdgeOperator, system: _System, held: Array) -> Backward:
    """M, with its rates cut at the boundaries of the sets and its lines factored."""
    masked = _cut_rates(operator, system, held)
    fixed = held.astype(operator.up[0].dtype)
    return Backward(factor_line_sweep(masked, jnp.ones((), fixed.dtype), fixed), fixed)


def _cut_rates(operator: EdgeOperator, system: _System, held: Array) -> EdgeOperator:
    """The operator with its rates cut at the boundaries of the sets, and none out of
    the nodes that are `held`.
    """
    free = 1 - held.astype(operator.up[0].dtype)
    up = []
    down = []
    for i, axis in enumerate(operator.grid.axes):
        cut_up, cut_down = _cut(
            operator.up[i], operator.down[i], system.fractions[i].astype(free.dtype)
        )
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
    log_ratio = jnp.log(jnp.maximum(up, tiny)) - jnp.log(jnp.maximum(down, tiny))
    # D / h from the larger of the two rates, which has not underflowed.
    larger = jnp.where(up > down, up, down)
    conductance = larger / bernoulli(-jnp.abs(log_ratio))

    def rate(log_ratio: Array) -> Array:
        return conductance / fraction * bernoulli(-fraction * log_ratio)

    # Whole edges keep their rates to the last bit.
    return jnp.where(fraction < 1, rate(log_ratio), up), jnp.where(
        fraction < 1, rate(-log_ratio), down
    )


def _check(equation: Any, grid: Any, t: Scalar) -> tuple[FokkerPlanck, Grid, Samples]:
    """The equation with its functions read, and its samples on the cells."""
    volumes = ScharfetterGummel()
    equation, grid, samples = check_and_sample(equation, grid, volumes, t)
    if not equation.evolves_density:
        raise_value_error(
            "equation",
            equation,
            "paths belong to a process",
            "Give an fp.FokkerPlanck.",
        )
    if samples is None:
        # A traced equation is sampled by the program of the caller.
        samples = volumes.sample(equation, grid, as_array(t), False)
    return equation, grid, samples


def _check_error(error: AnyArray, dtype: DType) -> None:
    """**Raises** `NumericalFailure` unless a bound on the error, where it is concrete,
    is small. NaN is not small.
    """
    largest = (
        CONSTANTS.largest_error
        if dtype == jnp.float64
        else CONSTANTS.largest_error_single
    )
    if is_concrete(error) and not float(error) <= largest:
        cure = "Take fewer nodes, larger sets, or double precision."
        raise NumericalFailure(
            f"not_converged: the error may be {float(error):.1e}, above {largest:g}. "
            f"{cure}"
        )

"""Hitting probabilities and times: the committor and the mean first passage time.

    L* g = D Lap g + (f - grad U) . grad g     on functions g of the start
    committor   L* q = 0      q = 0 on the reactant, q = 1 on the product
    passage     L* tau = -1   tau = 0 on the target

q is the probability that a path from x reaches the product first, tau the mean time
until it reaches the target. Both follow from one system M g = b of finite volumes
(`backward_generator`). M is an M-matrix: M e = r gives |e| <= max |r| tau, tau the
passage time to the sets, and for a passage time the largest residual bounds the
relative error of every value.

References: Metzner, Schütte and Vanden-Eijnden, J. Chem. Phys. 125 (2006) 084110;
Redner, A Guide to First-Passage Processes (2001), section 1.5.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete, raise_value_error
from ..core.program import public_function
from ..core.result import NumericalFailure
from ..core.types import AnyArray, DType, Formula, Scalar
from ..equation import Equation, FokkerPlanck
from ..grid import Grid
from ..operator import Samples, ScharfetterGummel, sample_equation
from ..plan.companion import companion
from ..plan.equation_check import check_and_sample
from .backward_generator import ON_LAST_SET, OUTSIDE, BackwardSystem, solve_backward
from .between_nodes import unseen_in_field
from .constants import CONSTANTS
from .field import Field
from .field_errors import OnCompanion, field_error
from .sets import interpolated_set, outside_fractions, read_set, sample_set


@public_function
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
    # Traced sets cannot be compared.
    if is_concrete(*sets) and np.any(np.all(np.asarray(sets), axis=0)):
        cure = "Move the sets apart."
        raise_value_error("product", product, "it must not meet the reactant", cure)
    functions = (reactant_function, product_function)
    fractions = outside_fractions(grid, sets, functions)
    system = BackwardSystem(samples, grid, sets, fractions)
    q, residual = solve_backward(system, ON_LAST_SET, CONSTANTS.hitting_tol)
    error = residual
    if grid.ndim > 1 and is_concrete(q):
        # |e| <= max |r| tau. The passage time tau is known up to its own residual.
        tau, _ = solve_backward(system, OUTSIDE, CONSTANTS.bound_tol)
        error = np.asarray(residual) * np.max(np.asarray(tau))
        error = error / (1 - CONSTANTS.bound_tol)
    _check_error(error, q.dtype)
    problem = _Problem(equation, t, functions, ON_LAST_SET)
    return Field(q, _error(problem, system, q, error, check), grid, "committor")


@public_function
def mean_first_passage_time(
    equation: Equation,
    grid: Grid,
    target: Any,
    *,
    t: Scalar = 0.0,
    check: bool = True,
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
    fractions = outside_fractions(grid, (inside,), (function,))
    system = BackwardSystem(samples, grid, (inside,), fractions)
    tau, residual = solve_backward(system, OUTSIDE, CONSTANTS.hitting_tol)
    _check_error(residual, tau.dtype)
    # NaN marks a time beyond the range of numbers; an infinite one is no failure.
    if is_concrete(tau) and bool(jnp.any(jnp.isnan(tau))):
        cure = (
            "Raise the diffusion, or take fp.spectral_gap, whose logarithm has no such "
            "bound."
        )
        raise NumericalFailure(
            "not_finite: a mean time over a barrier is beyond the range of numbers. "
            f"{cure}"
        )
    problem = _Problem(equation, t, (function,), OUTSIDE)
    # The residual is relative: M tau = 1 outside of the target.
    error = _error(problem, system, tau, residual * tau, check)
    return Field(tau, error, grid, "mean first passage time")


class _Problem(NamedTuple):
    """What is to be solved, without a grid: the equation at a time, the functions of
    the sets (None for arrays), the load.
    """

    equation: FokkerPlanck
    t: Scalar
    functions: tuple[Formula | None, ...]
    load: str


def _error(
    problem: _Problem,
    system: BackwardSystem,
    values: Array,
    algebra: AnyArray,
    check: bool,
) -> Array:
    """The error `(*shape)` of a field: that of the solver, and that in space from two
    companion grids.
    """
    unknown = jnp.full(values.shape, jnp.nan, values.dtype)
    # Under a transformation nothing can be repeated on the host.
    if not check or not is_concrete(problem.equation, problem.t, values, system):
        return unknown
    grid = system.grid
    functions = []
    for inside, function in zip(system.sets, problem.functions, strict=True):
        if function is None:
            # On unequal cells an array has no continuation between the nodes.
            if not grid.uniform:
                return unknown
            function = interpolated_set(grid, inside)
        functions.append(function)
    first = _on_companion(problem, grid, tuple(functions))
    # The companion of the companion shows the order of convergence.
    second = _on_companion(problem, first.grid, tuple(functions))

    held = np.any(np.asarray(system.sets), axis=0)
    on_host = np.asarray(values)
    space = field_error(grid, on_host, held, [first, second])
    unseen = unseen_in_field(problem.equation, grid, float(problem.t), on_host)
    # A time that is infinite stays so, and has no relative error.
    finite = np.where(held | ~np.isfinite(values), 0, on_host)
    space = space + unseen * np.abs(finite)
    return as_array(space + np.asarray(algebra), values.dtype)


def _on_companion(
    problem: _Problem, grid: Grid, functions: tuple[Formula, ...]
) -> OnCompanion:
    """The same field on the companion of a grid; `functions` are those of the sets."""
    other = companion(grid, spectral=False)
    scheme = ScharfetterGummel()
    t = as_array(problem.t)
    samples = sample_equation(scheme, problem.equation, other, t, False)
    sets = tuple(sample_set(other, function) for function in functions)
    fractions = outside_fractions(other, sets, functions)
    system = BackwardSystem(samples, other, sets, fractions)
    values, _ = solve_backward(system, problem.load, CONSTANTS.companion_tol)
    held = np.any(np.asarray(sets), axis=0)
    return OnCompanion(other, np.asarray(values), held)


def _check(equation: Any, grid: Any, t: Scalar) -> tuple[FokkerPlanck, Grid, Samples]:
    """The equation with its functions read, and its samples on the cells."""
    volumes = ScharfetterGummel()
    equation, grid, samples = check_and_sample(equation, grid, volumes, t)
    if not equation.evolves_density:
        cure = "Give an fp.FokkerPlanck."
        raise_value_error("equation", equation, "paths belong to a process", cure)
    if samples is None:
        # A traced equation is sampled by the program of the caller.
        samples = volumes.sample(equation, grid, as_array(t), False)
    return equation, grid, samples


def _check_error(error: AnyArray, dtype: DType) -> None:
    """**Raises** `NumericalFailure` unless a bound on the error, where it is concrete,
    is small. NaN is not small.
    """
    largest = CONSTANTS.largest_error_single
    if dtype == jnp.float64:
        largest = CONSTANTS.largest_error
    # `not <=` holds for NaN as well.
    if is_concrete(error) and not float(error) <= largest:
        cure = "Take fewer nodes, larger sets, or double precision."
        raise NumericalFailure(
            f"not_converged: the error may be {float(error):.1e}, above {largest:g}. "
            f"{cure}"
        )

"""Moving operators: products of exponentials at midpoints, extrapolated.

One step of the exponential midpoint rule, in either picture (a_t = d_t log pi_t, theorem T13),

    p    <- exp(s L_{t+s/2}) p
    psi  <- sqrt(pi_{t+s/2} / pi_{t+s}) exp(-s H_{t+s/2}) sqrt(pi_t / pi_{t+s/2}) psi,

where the two factors are the extra term exp(-int a/2 dt) integrated exactly. The two lines are the same map seen in two
pictures. It is symmetric in time, so its error is a series in s^2, and the table

    T_{l,0} = the rule with n 2^l steps,      T_{l,j} = T_{l,j-1} + (T_{l,j-1} - T_{l-1,j-1}) / (4^j - 1)

removes one power of s^2 a column. Levels are added until |T_{l,j} - T_{l,j-1}| falls below the tolerance: the error
reported is that of the entry *before* the one returned. Since a step of length s costs about sqrt(s |H|) products,
halving every step costs only sqrt(2) times more.

References: Magnus, Comm. Pure Appl. Math. 7 (1954) 649; Hochbruck and Lubich, SIAM J. Numer. Anal. 41 (2003) 945;
extrapolation: Hairer, Norsett and Wanner, Solving ODEs I, II.9.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.checks import check_integer, refuse
from ..core.loop import run_loop
from ..equation import FokkerPlanck
from ..grid import Grid
from ..scheme import Scheme
from ..scheme.base import Equation
from .base import Exponential, Picture
from .chebyshev import Chebyshev

COLUMNS = 5
FIRST, LEVELS, PATIENCE = 4, 12, 2  # steps of the coarsest level, levels, and those without progress
TRACED = 128


class Magnus(eqx.Module):
    """Exponential midpoint steps with extrapolation and an error estimate, for potentials that move.

    **Arguments**: `steps`, the number of steps of the finest level between two output times; None chooses it from
    `tol` (under `jit`, `vmap` and `grad`, where nothing can be looked at, it is 128 and the error is reported);
    `exponential`, the method for one frozen step. **Keeps**: mass as `exponential` does; each step keeps the Gibbs
    density of its midpoint and positivity, which extrapolation gives up to the size of the error. **Order**: 2 a
    step, up to 12 extrapolated; stiff problems see less, and the estimate says so. **Raises**: `ValueError` for
    `steps` below 4.

    ```python
    import fpsolve as fp

    equation = fp.FokkerPlanck(lambda x, t: (x[0] - t) ** 2 / 2)
    grid = fp.Grid(fp.Line(-6.0, 8.0, 64))
    solution = fp.evolve(equation, fp.Gaussian(0.0, 1.0), [1.0], grid=grid, method=fp.Magnus())
    ```
    """

    exponential: Exponential
    steps: int | None = eqx.field(static=True)

    def __init__(self, steps: int | None = None, exponential: Exponential | None = None):
        if steps is not None:
            check_integer("Magnus.steps", steps, 4, "Give at least 4 steps, or None.")
        if exponential is not None and not isinstance(exponential, Exponential):
            refuse(
                "Magnus.exponential",
                exponential,
                "it must be a method for operators that stand still",
                "Give fp.Chebyshev().",
            )
        self.steps = steps
        self.exponential = Chebyshev() if exponential is None else exponential


class Problem(eqx.Module):
    """What a march needs besides its state: who moves, where, and in which picture."""

    equation: Equation
    scheme: Scheme
    grid: Grid = eqx.field(static=True)
    picture: Picture = eqx.field(static=True)
    reversible: bool = eqx.field(static=True)
    wick: float = eqx.field(static=True)

    def operator(self, t: Any, dtype: Any) -> Any:
        """The operator at time t."""
        return self.scheme.build(self.equation, self.grid, t, dtype, self.reversible)

    def log_root(self, t: Any, dtype: Any) -> Array:
        """log sqrt(pi_t) if the state is a wave of a process, else 0: the gauge of the state at time t."""
        if self.picture == "wave" and self.reversible and isinstance(self.equation, FokkerPlanck):
            return self.equation.log_root(self.grid, t).astype(dtype)
        return jnp.zeros((), dtype)


class Interval(NamedTuple):
    """The field after an interval, its calls, the estimated relative error, and the levels taken (steps each)."""

    field: Array
    calls: Array
    error: Array
    levels: tuple[int, ...]


def march(
    method: Magnus, problem: Problem, field: Array, start: Array, end: Array, count: Any
) -> tuple[Array, Array, Array]:
    """`count` midpoint steps from `start` to `end`; the field, the operator calls and the steps' own errors."""
    dtype = field.real.dtype
    length = (end - start) / count

    def step(k: Array, parameters: Any, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        problem, start, length = parameters
        field, gauge, calls, error = carry
        middle, after = start + (k + 0.5) * length, problem.log_root(start + (k + 1) * length, dtype)
        operator = problem.operator(middle, dtype)
        inside = jnp.zeros((), dtype) if problem.picture == "density" or not problem.reversible else operator.log_root
        prepared = method.exponential.prepare(operator, problem.picture)
        taken = method.exponential.apply(
            prepared, field * jnp.exp(gauge - inside), length[None], jnp.zeros((), dtype), problem.wick
        )
        field = taken.field[0] * jnp.exp(inside - after)
        return field, after, calls + taken.calls, jnp.maximum(error, taken.error[0])

    zero = jnp.zeros((), dtype)
    field, _, calls, error = run_loop(
        count, step, (problem, start, length), (field, problem.log_root(start, dtype), zero, zero)
    )
    return field, calls, error * jnp.sqrt(jnp.asarray(count, dtype))  # rounding adds up like a random walk


def advance(
    method: Magnus, problem: Problem, field: Array, start: Array, end: Array, levels: Sequence[int], tol: float | None
) -> Interval:
    """One interval between outputs: extrapolate over `levels` (steps each) until the error is below `tol`, if given."""
    above: list[Array] = []
    calls = jnp.zeros((), field.real.dtype)
    best = Interval(field, calls, jnp.asarray(jnp.inf, field.real.dtype), ())
    for level, count in enumerate(levels):
        finest, more, rounding = _march(method, problem, field, start, end, jnp.asarray(count))
        calls = calls + more
        row = [finest]
        for j, coarse in enumerate(above[:COLUMNS], start=1):
            row.append(row[-1] + (row[-1] - coarse) / (4**j - 1))
        above = row
        if level == 0:
            continue
        taken = Interval(
            row[-1], calls, _distance(problem, row[-1], row[-2], end) + rounding, tuple(levels[: level + 1])
        )
        if tol is None:
            best = taken
            continue
        best = taken if float(taken.error) < float(best.error) else best._replace(calls=calls)
        if float(best.error) < tol or len(taken.levels) > len(best.levels) + PATIENCE:
            break
    return best


def adaptive_levels(first: int) -> list[int]:
    """Levels to adapt over, from `first` steps up."""
    return [first * 2**level for level in range(LEVELS)]


def fixed_levels(steps: int | None) -> list[int]:
    """Three levels that end in `steps`."""
    finest = steps or TRACED
    return [max(1, finest // 4), max(2, finest // 2), finest]


_march = eqx.filter_jit(march)


def _distance(problem: Problem, a: Array, b: Array, t: Array) -> Array:
    """Relative L1 distance of two densities, or of two waves in the weights that make a density of them."""
    dtype = a.real.dtype
    measure = jnp.exp(problem.log_root(t, dtype)) * problem.grid.weights.astype(dtype)
    return jax.lax.stop_gradient(jnp.sum(measure * jnp.abs(a - b)) / jnp.sum(measure * jnp.abs(a)))

"""Where a path goes first, and how long it takes: the committor and the mean first passage time.

    L* g = D Lap g + (f - grad U) . grad g     the backward generator, on functions g of the start
    committor   L* q = 0,      q = 0 on the reactant, 1 on the product: the probability to reach the product first
    passage     L* tau = -1,   tau = 0 on the target: the mean time until a path reaches it

Finite volumes: with the rates r_jk of the cells, (L* g)_j = sum_k r_jk (g_k - g_j), the transpose of L. Nodes of a set
are left at the rate zero, so M = 1_set - L* is an M-matrix, M^{-1} >= 0. An edge that crosses the boundary of a set is
cut where it crosses (found by bisection where the set is a function): order 2 although sets ignore the cells.

One axis is eliminated without a subtraction, so every value has its relative accuracy under any barrier. More axes take
BiCGSTAB with line sweeps. There M e = r gives |e| <= max |r| tau, tau the passage time to the sets: for a passage time
the largest residual bounds the relative error of every value.

References: Metzner, Schütte and Vanden-Eijnden, J. Chem. Phys. 125 (2006) 084110; Redner, A Guide to First-Passage
Processes (2001), section 1.5; cut edges: Gibou, Fedkiw, Cheng and Kang, J. Comput. Phys. 176 (2002) 205.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.sparse.linalg import bicgstab
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete, raise_value_error
from ..core.program import full_precision, shape_program
from ..core.result import NumericalFailure
from ..equation import Equation, FokkerPlanck
from ..grid import Grid
from ..linear.lines import Lines, factor_lines
from ..operator import EdgeOperator, Samples, ScharfetterGummel
from ..operator.finite_volume import bernoulli
from ..plan.validation import check_and_sample
from .sets import edge_shares, read_set

Action: TypeAlias = Callable[[Array], Array]
Fields: TypeAlias = tuple[Array, ...]

ROUNDS, ITERATIONS = 12, 400  # of BiCGSTAB, and of each between two true residuals (free choices)
TIGHT, LOOSE = 1e-10, 0.1  # residuals asked of an answer, and of a passage time that only bounds the error of another
TO_THE_LAST, OUTSIDE = "one on the last set", "one outside all sets"  # the loads of the two systems


@full_precision
def committor(equation: Equation, grid: Grid, reactant: Any, product: Any, *, t: Any = 0.0) -> Array:
    """The probability that a path from x reaches the product before the reactant.

        L* q = 0,      q = 0 on the reactant,  q = 1 on the product

    **Arguments**: `equation` an `fp.FokkerPlanck`, also with a force; `reactant` and `product` sets that do not meet,
    functions of x `(d,)` to a boolean or arrays `(*shape)` of booleans; `t` freezes what moves. **Returns** `(*shape)`.
    **Raises** `ValueError` for bad arguments, `NumericalFailure` if the error cannot be bounded by 1e-6 (1e-2 without
    x64); under `jit` this is not looked at.

    **Keeps**: 0 <= q <= 1 within its error, exactly on one axis, where q keeps its relative accuracy. A path that an
    absorbing end swallows reaches nothing. Order 2 where sets are functions; arrays end at nodes. `jit`, `vmap` and
    `grad` reach the equation.
    **Cost**: O(n) on one axis; else some tens to hundreds of sweeps.
    **Reference**: Metzner, Schütte and Vanden-Eijnden (2006), eq. 9.

    ```python
    import fpsolve as fp

    well, grid = fp.FokkerPlanck(fp.DoubleWell(3.0)), fp.Grid(fp.Line(-2, 2, 200))
    q = fp.committor(well, grid, lambda x: x[0] < -0.9, lambda x: x[0] > 0.9)
    ```
    """
    equation, grid, samples = _check(equation, grid, t)
    read = tuple(read_set(name, s, grid) for name, s in (("reactant", reactant), ("product", product)))
    sets = tuple(inside for inside, _ in read)
    if is_concrete(*sets) and bool(np.any(np.asarray(sets[0]) & np.asarray(sets[1]))):
        raise_value_error("product", product, "it must not meet the reactant", "Move the sets apart.")
    shares = edge_shares(grid, sets, tuple(function for _, function in read))
    q, residual = _solve(samples, grid, sets, shares, TO_THE_LAST, TIGHT)
    if grid.ndim > 1 and is_concrete(q):
        passage, _ = _solve(samples, grid, sets, shares, OUTSIDE, LOOSE)
        residual = np.asarray(residual) * np.max(np.asarray(passage)) / (1 - LOOSE)
    _check_error(residual, q.dtype)
    return q


@full_precision
def mean_first_passage_time(equation: Equation, grid: Grid, target: Any, *, t: Any = 0.0) -> Array:
    """The mean time until a path from x first reaches the target.

        L* tau = -1,      tau = 0 on the target

    **Arguments**: as for `fp.committor`; `target` may be empty where an end absorbs, and tau is then the mean time of
    exit. **Returns** `(*shape)`, in units of time. **Raises** `ValueError` for bad arguments, `NumericalFailure` as
    `fp.committor`, for the relative error.

    **Keeps**: tau >= 0; on one axis the relative accuracy of tau under any barrier. **Cost**: as `fp.committor`.
    **Reference**: Redner (2001), eq. 1.5.3.

    ```python
    import fpsolve as fp

    well, grid = fp.FokkerPlanck(fp.DoubleWell(3.0)), fp.Grid(fp.Line(-2, 2, 200))
    tau = fp.mean_first_passage_time(well, grid, lambda x: x[0] > 0.9)
    ```
    """
    equation, grid, samples = _check(equation, grid, t)
    absorbed = grid.absorbs
    inside, function = read_set("target", target, grid, empty=absorbed)
    shares = edge_shares(grid, (inside,), (function,))
    tau, residual = _solve(samples, grid, (inside,), shares, OUTSIDE, TIGHT)
    _check_error(residual, tau.dtype)
    return tau


class Backward(eqx.Module):
    """M = 1_set - L*, with the factors of its lines; rates out of the set are zero."""

    operator: EdgeOperator
    held: Array  # 1 on the sets, else 0
    lines: tuple[Lines, ...]

    def __call__(self, g: Array) -> Array:
        """M g, from the differences of g, `(*shape)`."""
        answer = self.held * g
        for i, axis in enumerate(self.operator.grid.axes):
            below, above = axis.face_neighbors(g, i)
            rise = above - below
            lower, upper = (
                axis.node_faces(self.operator.down[i] * rise, i)[0],
                axis.node_faces(self.operator.up[i] * rise, i)[1],
            )
            answer = answer + (lower - upper) / _widths(self.operator, i)
        return answer

    def along(self, i: int, load: Array) -> Array:
        """x with B_i x = load, B_i the diagonal of M and its couplings along axis i; non-negative where load is."""
        widths = _widths(self.operator, i)
        return self.lines[i].solve_transposed(load * widths) / widths

    def along_transposed(self, i: int, load: Array) -> Array:
        """x with B_i^T x = load."""
        widths = _widths(self.operator, i)
        return self.lines[i].solve(load / widths) * widths

    def sweep(self, load: Array) -> Array:
        """Line Gauss-Seidel from zero, along all axes and back."""
        x = jnp.zeros_like(load)
        for i in self._there_and_back:
            others = [j for j in range(len(self.lines)) if j != i]
            x = self.along(i, load + sum((self._drawn(j, x) for j in others), start=jnp.zeros_like(x)))
        return x

    def sweep_transposed(self, load: Array) -> Array:
        """The same for M^T."""
        x = jnp.zeros_like(load)
        for i in self._there_and_back:
            others = [j for j in range(len(self.lines)) if j != i]
            x = self.along_transposed(i, load + sum((self._sent(j, x) for j in others), start=jnp.zeros_like(x)))
        return x

    @property
    def _there_and_back(self) -> list[int]:
        there = list(range(len(self.lines)))
        return there + there[-2::-1]

    def _drawn(self, i: int, g: Array) -> Array:
        axis, up, down = self.operator.grid.axes[i], self.operator.up[i], self.operator.down[i]
        below, above = axis.face_neighbors(g, i)
        return (axis.node_faces(down * below, i)[0] + axis.node_faces(up * above, i)[1]) / _widths(self.operator, i)

    def _sent(self, i: int, g: Array) -> Array:
        axis, up, down = self.operator.grid.axes[i], self.operator.up[i], self.operator.down[i]
        below, above = axis.face_neighbors(g / _widths(self.operator, i), i)
        return axis.node_faces(up * below, i)[0] + axis.node_faces(down * above, i)[1]


def _solve(samples: Samples, grid: Grid, sets: Fields, shares: Fields, load: str, goal: float) -> tuple[Array, Array]:
    """x with M x = load, and its largest residual (zero on one axis), `goal` where that can be had; the load is one on
    the last of the sets, or outside all of them."""
    return _solve_sampled(samples, grid, sets, shares, load, as_array(goal))


@shape_program
def _solve_sampled(
    samples: Samples, grid: Grid, sets: Fields, shares: Fields, load: str, goal: Array
) -> tuple[Array, Array]:
    dtype = goal.dtype
    matrix = _factor(ScharfetterGummel().assemble(samples, grid, dtype), sets, shares)
    b = (sets[-1] if load == TO_THE_LAST else ~jnp.any(jnp.stack(sets), axis=0)).astype(dtype)
    if grid.ndim == 1:
        forward, backward = lambda _, b: matrix.along(0, b), lambda _, b: matrix.along_transposed(0, b)
        return jax.lax.custom_linear_solve(matrix, b, forward, backward), jnp.zeros((), dtype)
    forward = lambda action, b: _iterate(action, matrix.sweep, b, goal)
    backward = lambda action, b: _iterate(action, matrix.sweep_transposed, b, goal)
    x = jax.lax.custom_linear_solve(matrix, b, forward, backward)
    return x, jax.lax.stop_gradient(jnp.max(jnp.abs(b - matrix(x))))


def _iterate(action: Action, preconditioner: Action, b: Array, goal: Array) -> Array:
    """BiCGSTAB, restarted on its true residual until that is small or falls no more; nothing worse is taken."""
    size = lambda r: jnp.max(jnp.abs(r))
    least = goal * size(b)

    def restart(state: tuple[Any, ...]) -> tuple[Any, ...]:
        x, r, now, k, _ = state
        reach: Any = jnp.maximum(goal, 1e-6)
        change = bicgstab(action, r, tol=reach, M=preconditioner, maxiter=ITERATIONS)[0]
        left = b - action(x + change)
        after = size(left)
        choose = lambda new, old: jnp.where(after < now, new, old)  # the old where the new is NaN
        return choose(x + change, x), choose(left, r), choose(after, now), k + 1, ~(after < 0.5 * now)

    x = preconditioner(b)
    r = b - action(x)
    start = (x, r, size(r), jnp.zeros((), int), jnp.zeros((), bool))
    return jax.lax.while_loop(lambda s: (s[2] > least) & (s[3] < ROUNDS) & ~s[4], restart, start)[0]


def _factor(operator: EdgeOperator, sets: Fields, shares: Fields) -> Backward:
    held = jnp.any(jnp.stack(sets), axis=0).astype(operator.up[0].dtype)
    free = 1 - held
    up, down = [], []
    for i, axis in enumerate(operator.grid.axes):
        rising, falling = _cut(operator.up[i], operator.down[i], shares[i].astype(held.dtype))
        below, above = axis.face_neighbors(free, i)
        up.append(rising * below)
        down.append(falling * above)
    masked = EdgeOperator(operator.grid, tuple(up), tuple(down), None, None)
    one, out_rates = jnp.ones((), held.dtype), [_leaving(masked, i) for i in range(operator.grid.ndim)]
    others = lambda i: sum((out_rates[j] for j in range(len(out_rates)) if j != i), start=held)
    lines = tuple(factor_lines(masked, i, one, others(i)) for i in range(operator.grid.ndim))
    return Backward(masked, held, lines)


def _leaving(operator: EdgeOperator, i: int) -> Array:
    axis = operator.grid.axes[i]
    return (axis.node_faces(operator.down[i], i)[0] + axis.node_faces(operator.up[i], i)[1]) / _widths(operator, i)


def _cut(up: Array, down: Array, share: Array) -> tuple[Array, Array]:
    """Rates over a part `share` of an edge: (D / (share gap)) B(-+ share P), P = log up - log down."""
    tiny = jnp.finfo(up.dtype).tiny
    drop = jnp.log(jnp.maximum(up, tiny)) - jnp.log(jnp.maximum(down, tiny))
    whole = up > down  # the larger of the two rates gives D / gap
    unit = jnp.where(whole, up, down) / bernoulli(-jnp.abs(drop))
    cut = lambda drop: unit / share * bernoulli(-share * drop)
    return jnp.where(share < 1, cut(drop), up), jnp.where(share < 1, cut(-drop), down)


def _widths(operator: EdgeOperator, i: int) -> Array:
    widths = jnp.asarray(operator.grid.axes[i].weights, operator.up[i].dtype)
    return widths.reshape(-1, *[1] * (operator.grid.ndim - 1 - i))


def _check(equation: Any, grid: Any, t: Any) -> tuple[FokkerPlanck, Grid, Samples]:
    """The equation with its functions read, and its samples on the cells."""
    volumes = ScharfetterGummel()
    equation, grid, samples = check_and_sample(equation, grid, volumes, t)
    if not equation.evolves_density:
        raise_value_error("equation", equation, "paths belong to a process", "Give an fp.FokkerPlanck.")
    if samples is None:  # traced
        samples = volumes.sample(equation, grid, as_array(t), False)
    return equation, grid, samples


def _check_error(error: Any, dtype: Any) -> None:
    """Raise unless a bound on the error, where it can be looked at, is small."""
    most = 1e-6 if dtype == jnp.float64 else 1e-2
    if is_concrete(error) and not float(error) <= most:
        cure = "Take fewer nodes, larger sets, or double precision."
        raise NumericalFailure(f"not_converged: the error may be {float(error):.1e}, above {most:g}. {cure}")

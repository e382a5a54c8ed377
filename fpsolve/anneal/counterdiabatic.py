"""Counterdiabatic drive: transport that keeps up with the Gibbs density at any speed.

    d_t p = L_t p - div(v_t p),      d_t pi_t = -div(pi_t v_t)            p = sqrt(pi_t) psi
    d_t psi = -(H_t + G_t) psi,      G = v.grad + (div v) / 2             H symmetric, G antisymmetric

so that |psi|^2 falls by H alone, and chi2(p | pi_t) <= exp(-2 int gap dt) chi2(0) without an adiabatic term. A step is

    psi  <-  exp(-h H_1 / 2) U exp(-h H_0 / 2) psi,      U = (1 + h G / 2)^-1 (1 - h G / 2),

with the G of a whole step (see `velocity`), whose flux is what takes pi_0 to pi_1 in the time h. With m = sqrt(pi),

    h G (m_0 + m_1) / 2 = m_0 - m_1   <=>   U m_0 = m_1.

Both parts keep sqrt(pi), mass and |psi|^2 where the continuum does, at any h: a start at Gibbs stays there to rounding,
and any other approaches it no slower than the gap says. The step is symmetric in time and its error a series in h^2,
which is extrapolated; steps are as long as keeps the distance of two extrapolations below the tolerance. `strength`
multiplies v: 1 is exact, 0 plain transport, where the term a/2 of theorem T13, which v takes away, comes back.

References: theorem T20 of this library; Kolodrubetz et al., Phys. Rep. 697 (2017) 1; Li, Quan and Tu, Phys. Rev. E 96
(2017) 012144 (shortcuts); extrapolation: Hairer, Norsett and Wanner, Solving ODEs I, II.9.
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import check_finite_number
from ..core.program import quick_program, shape_program
from ..core.result import CODES, code
from ..core.types import Real
from ..equation import FokkerPlanck, divide_by_sqrt_pi
from ..grid import Grid
from ..operator import EdgeOperator, Samples, ScharfetterGummel
from ..operator.clipping import TOL_FRACTION, clip_tails
from ..operator.flow_edges import FlowEdges
from ..plan.validation import check_times, check_tolerance, initial_field
from ..propagate import Chebyshev, Picture, Rational
from .gibbs import log_gibbs_at
from .velocity import Velocity, check_carried, face_velocity

COUNTS = (1, 2, 3, 4, 6, 8)  # steps of the rows of a table
NODES = COUNTS[-1] + 1  # times that a row needs at most
SHORTEST, MOST = 1e-7, 2**14  # the least part of the whole that a table may span, and steps in all
GROW, SHRINK = 4.0, 0.2  # of the span from one table to the next
ROUNDS, LOOSE, ITERATIONS = 8, 1e-5, 2000  # of conjugate gradients, each on what the last one left over


class Drive(eqx.Module):
    """What `drive` returns.

    - `times` `(T,)`; `values` `(T, *shape)` densities; `error` `(T,)` estimated relative L1 error in time
    - `residual`: the largest |d_t sqrt(pi) + G sqrt(pi)| of any step, relative to the largest of its terms
    - `calls` of the operator, and `steps` in time; `result`: "successful", or the name of what went wrong
    """

    times: Array
    values: Array
    error: Array
    residual: Array
    calls: Array
    steps: Array
    code: Array

    @property
    def result(self) -> str:
        """The named code of the run."""
        return CODES[int(self.code)]


class DrivenProcess(eqx.Module):
    """What a step needs beside the wave and log sqrt(pi): D along each axis `(d,)`, and the strength of the drive."""

    diffusion: Array
    strength: Array
    grid: Grid = eqx.field(static=True)

    def operator(self, log_sqrt_pi: Array) -> EdgeOperator:
        """The finite volumes of the process whose log sqrt(pi) `(*shape)` is given; nothing else of it is needed."""
        sides = (axis.face_neighbors(2 * log_sqrt_pi, i) for i, axis in enumerate(self.grid.axes))
        slopes = tuple(above - below for below, above in sides)
        samples = Samples(tuple(self.diffusion), slopes, None, 2 * log_sqrt_pi)
        return ScharfetterGummel().assemble(samples, self.grid, log_sqrt_pi.dtype)

    def step_velocity(self, before: Array, after: Array, length: Array) -> Velocity:
        """What moves pi_0 to pi_1 in the time `length`, from log sqrt(pi) at both ends."""
        middle = jnp.logaddexp(before, after) - jnp.log(2.0).astype(before.dtype)
        rate = 4 / length * jnp.tanh((after - before) / 2)
        return Velocity(FlowEdges(self.grid, face_velocity(self.grid, middle, rate), middle), rate)


class Timed(NamedTuple):
    """The process and its log sqrt(pi) at any time, read by one small program of `NODES` times."""

    process: DrivenProcess
    equation: FokkerPlanck
    dtype: Any

    def log_sqrt_pis(self, start: float, length: float, count: int) -> np.ndarray:
        """At the ends of `count` equal steps, and the last once more, `(NODES, *shape)`."""
        times = start + length / count * np.minimum(np.arange(NODES), count)
        return np.asarray(log_gibbs_at(self.equation, self.process.grid, times), self.dtype) / 2


class March(NamedTuple):
    """The wave, operator calls, the largest residual of G, and in L1 what the steps' own errors come to and how far
    exp(-h H) has moved the density in all."""

    wave: Array
    calls: Array
    residual: Array
    lost: Array
    relaxed: Array


def drive(
    equation: FokkerPlanck, grid: Grid, density: Any, times: Any, tol: Real | None = None, *, strength: Real = 1.0
) -> Drive:
    """The density of a moving process that a counterdiabatic drive carries along.

        d_t p = L_t p - strength div(v_t p),      d_t pi_t = -div(pi_t v_t), v of least energy

    **Arguments**

    - `equation`: an `fp.FokkerPlanck` that moves, without force and with a constant diffusion
    - `grid`: of `fp.Line`, `fp.Reflecting` and `fp.Periodic` axes
    - `density`: the state at t = 0: a function of x `(d,)`, `fp.Gaussian` or an array `(*shape)`
    - `times`: `(T,)`, ascending, at least zero
    - `tol`: relative L1 error in time; 1e-8, or 1e-5 in float32
    - `strength`: what v is multiplied by; 1 keeps up exactly, and far from 1 the wave p / sqrt(pi) may grow beyond
      what rounding bears: plain transport is `fp.evolve`

    **Returns** a `Drive`; a numerical failure is its `result`. **Raises** `ValueError` for what cannot be right, before
    computing.

    **Keeps**, at strength 1, any speed and any length of steps: mass and the Gibbs density to rounding; chi2(p | pi_t)
    within its bound by the gap, up to `tol`. Positivity to `tol`. **Cost**: a step takes one exponential of H, one
    velocity (O(n) on one axis, else some 25 multigrid cycles) and one solve; a start at Gibbs takes one step an output
    time, any other some hundreds in all. **Reference**: theorem T20; Li, Quan and Tu, Phys. Rev. E 96 (2017) 012144.

    ```python
    import fpsolve as fp
    from fpsolve.anneal.counterdiabatic import drive

    dragged, grid = fp.FokkerPlanck(lambda x, t: (x[0] - 9 * t) ** 2 / 2), fp.Grid(fp.Line(-6.0, 7.0, 64))
    carried = drive(dragged, grid, dragged.gibbs(grid), [0.05, 0.1])  # centred at 0.45 and 0.9
    ```
    """
    equation, grid = check_carried(equation, grid)
    times = check_times(times)
    field = initial_field(equation, grid, density)
    tol = check_tolerance(tol, field.dtype)
    check_finite_number("strength", strength, "Give 1 for the exact drive.")
    diffusion = np.broadcast_to(np.asarray(equation.diffusion), (grid.ndim,)).astype(field.dtype)
    process = DrivenProcess(as_array(diffusion, field.dtype), as_array(strength, field.dtype), grid)
    return _drive(Timed(process, equation, field.dtype), field, times.astype(field.dtype), tol)


def _drive(timed: Timed, field: Array, times: Array, tol: float) -> Drive:
    """Table by table from output to output."""
    dtype, total = field.dtype, float(np.asarray(times)[-1])
    number = lambda value: np.asarray(value, dtype)
    start = timed.log_sqrt_pis(0.0, 0.0, 1)
    wave, first = _enter(timed.process.grid, field, start, number(tol * TOL_FRACTION))
    now, span, error, hopeless = 0.0, total, float(first), False
    calls, residual, steps, values, errors = 0.0, 0.0, 0, [], []
    log_sqrt_pi = start[-1]
    for t in np.asarray(times, float):
        while now < t:
            tables = 1 if hopeless else max(1, math.ceil((t - now) / span - 0.01))
            length = (t - now) / tables
            share = tol * (1 - TOL_FRACTION) * length / total
            row = _table(timed, wave, now, length, share)
            goal = max(share, row.floor)
            calls, steps, residual = calls + row.calls, steps + row.steps, max(residual, row.residual)
            hopeless = hopeless or steps > MOST or (length <= SHORTEST * total and row.error > goal)
            if taken := hopeless or row.error <= goal:
                wave, error, log_sqrt_pi = row.wave, error + row.error + row.lost, row.log_sqrt_pi
                now = t if tables == 1 else now + length
            room = (goal / row.error) ** (1 / (2 * row.level + 1)) if row.error > 0 else GROW
            factor = min(max(0.8 * room, SHRINK), GROW)
            span = max(length * factor, span if taken and factor > 1 else SHORTEST * total)
        values.append(np.exp(log_sqrt_pi) * np.asarray(wave))
        errors.append(error if t > 0 else 0.0)
    table = np.stack(values)
    failed = "tolerance_not_reached" if errors[-1] > tol else "successful"
    ended = code(failed if np.all(np.isfinite(table)) else "not_finite")
    numbers = as_array(table, dtype), as_array(errors, dtype), as_array(residual), as_array(calls), as_array(steps, int)
    return Drive(times, *numbers, as_array(ended, int))


class Row(NamedTuple):
    """The best of a table: the wave, its `error` and the `floor` that rounding puts under it, what its steps `lost` on
    their own, its `level`; of all rows the largest `residual`, the `calls` and the `steps`; log sqrt(pi) at the end."""

    wave: Any
    error: float
    floor: float
    lost: float
    level: int
    residual: float
    calls: float
    steps: int
    log_sqrt_pi: Any


def _table(timed: Timed, wave: Any, start: float, length: float, share: float) -> Row:
    """Steps over one span, more of them row by row and extrapolated, until two rows agree.

    One step is enough where exp(-h H) finds nothing to do at either end: what splitting costs is then nothing, too.
    """
    number = lambda value: np.asarray(value, timed.dtype)
    above: list[np.ndarray] = []
    best, residual, calls = Row(wave, math.inf, 0.0, 0.0, 0, 0.0, 0.0, 0, None), 0.0, 0.0
    for level, count in enumerate(COUNTS):
        log_sqrt_pis = timed.log_sqrt_pis(start, length, count)
        march = _march(timed.process, wave, log_sqrt_pis, number(length), np.asarray(count))
        row = [np.asarray(march.wave)]
        for j, coarse in enumerate(above, start=1):
            row.append(row[-1] + (row[-1] - coarse) / number((count / COUNTS[level - j]) ** 2 - 1))
        apart, floor = _distance(timed.process.grid, row[-1], above[-1] if above else row[-1], log_sqrt_pis[-1])
        error, lost = apart if above else float(march.relaxed), float(march.lost)
        floor = max(floor, lost)
        residual = max(residual, float(march.residual))
        calls = calls + float(march.calls)
        steps = sum(COUNTS[: level + 1])
        if error < best.error:
            best = Row(row[-1], error, floor, lost, level, 0.0, 0.0, 0, None)
        best = best._replace(residual=residual, calls=calls, steps=steps, log_sqrt_pi=log_sqrt_pis[-1])
        if error <= (max(share, floor) if above else floor):
            break
        above = row
    return best


@quick_program
def _enter(grid: Grid, field: Array, log_sqrt_pis: Any, fraction: Any) -> tuple[Array, Array]:
    """The wave at t = 0, and what its mass was changed by to keep its tails low."""
    weights, log_sqrt_pi = grid.weights.astype(field.dtype), log_sqrt_pis[0]
    wave = clip_tails(field, log_sqrt_pi, weights, fraction)
    lost = jnp.sum(weights * jnp.abs(jnp.exp(log_sqrt_pi) * wave - field)) / jnp.sum(weights * field)
    return wave, lost


def _distance(grid: Grid, fine: np.ndarray, coarse: np.ndarray, log_sqrt_pi: np.ndarray) -> tuple[float, float]:
    """The relative L1 distance of two densities, and what rounding alone may make it."""
    weights = np.ones((), fine.dtype)
    for axis in grid.axes:
        weights = weights[..., None] * axis.weights.astype(fine.dtype)
    measure = weights * np.exp(log_sqrt_pi)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a run that overflowed is refused as such
        mass = np.sum(measure * np.abs(fine))
        rounding = 64 * np.finfo(fine.dtype).eps * np.sqrt(np.sum(weights * fine**2))
        return float(np.sum(measure * np.abs(fine - coarse)) / mass), float(rounding / mass)


@shape_program
def _march(process: DrivenProcess, wave: Any, log_sqrt_pis: Any, length: Any, count: Any) -> March:
    """`count` equal steps; the halves of exp(-h H) that meet are one."""
    h = length / count

    def relax_and_transport(k: Array, march: March) -> March:
        log_sqrt_pi = log_sqrt_pis[k]
        wave, calls, lost = _relax(process, march.wave, log_sqrt_pi, jnp.where((k == 0) | (k == count), h / 2, h))
        relaxed = process.grid.integrate(jnp.exp(log_sqrt_pi) * jnp.abs(wave - march.wave))
        march = March(wave, march.calls + calls, march.residual, march.lost + lost, march.relaxed + relaxed)
        step = lambda m: _transport_step(process, m, log_sqrt_pi, log_sqrt_pis[jnp.minimum(k + 1, NODES - 1)], h)
        return jax.lax.cond(k < count, step, lambda m: m, march)

    zero = jnp.zeros((), wave.dtype)
    return jax.lax.fori_loop(0, count + 1, relax_and_transport, March(wave, zero, zero, zero, zero))


def _relax(process: DrivenProcess, wave: Array, log_sqrt_pi: Array, length: Array) -> tuple[Array, Array, Array]:
    """exp(-h H_t) psi, its operator calls and its own error."""
    operator = process.operator(log_sqrt_pi)
    exactly = jnp.zeros((), wave.dtype)
    if process.grid.ndim > 1:
        method = Chebyshev()
        taken = method.apply(method.prepare(operator, Picture.GIBBS_WAVE), wave, length[None], exactly, 0.0)
        return taken.field[0], taken.calls, taken.error[0]
    method = Rational()
    prepared = method.prepare(operator, Picture.DENSITY)
    taken = method.apply(prepared, jnp.exp(log_sqrt_pi) * wave, length[None], exactly, 0.0)
    return divide_by_sqrt_pi(taken.field[0], log_sqrt_pi), taken.calls, taken.error[0]


def _transport_step(process: DrivenProcess, march: March, before: Array, after: Array, h: Array) -> March:
    """U psi, from log sqrt(pi) at both ends of the step."""
    moved = process.step_velocity(before, after, h)
    gauge = jnp.exp((1 - process.strength) * (before - after) / 2)
    flow, m = moved.operator, jnp.exp(moved.operator.log_sqrt_pi)
    wave = march.wave * gauge
    wave = 2 * _halfway(flow, wave, process.strength * h / 2) - wave
    unbalanced = process.grid.integrate(m * jnp.abs(moved.rate * m + 2 * flow.wave(m)))
    residual = jnp.maximum(march.residual, moved.residual)
    return March(wave * gauge, march.calls + 1, residual, march.lost + h * unbalanced, march.relaxed)


def _halfway(flow: FlowEdges, wave: Array, h: Array) -> Array:
    """(1 + h G)^-1 psi."""
    if flow.grid.ndim > 1:
        return _by_gradients(flow, wave, h)
    (axis,) = flow.grid.axes
    links = h * flow.velocity[0] / (2 * float(axis.weights[0]))
    if axis.boundary == "no_flux":
        return _tridiagonal(links, wave[:, None])[:, 0]
    corner = jnp.zeros_like(wave[:-1]).at[0].add(-links[-1]).at[-1].add(links[-2])
    inner = _tridiagonal(links[:-2], jnp.stack([wave[:-1], corner], 1))
    last = (wave[-1] + jnp.sum(corner * inner[:, 0])) / (1 + jnp.sum(corner * inner[:, 1]))
    return jnp.append(inner[:, 0] - last * inner[:, 1], last)


def _tridiagonal(links: Array, loads: Array) -> Array:
    """(1 + K) x = loads `(n, k)`, K antisymmetric with `links` above its diagonal."""
    zero = jnp.zeros(1, links.dtype)
    below, above = jnp.concatenate([zero, -links]), jnp.concatenate([links, zero])
    return jax.lax.linalg.tridiagonal_solve(below, jnp.ones_like(above), above, loads)


def _by_gradients(flow: FlowEdges, wave: Array, h: Array) -> Array:
    """Conjugate gradients for (1 - (h G)^2) y = (1 - h G) psi, which is symmetric and at least 1, on what is left."""
    turn = lambda u: h * flow.wave(u)
    diagonal = jnp.ones_like(wave)
    for i, axis in enumerate(flow.grid.axes):
        squares = axis.node_faces(jnp.square(h * flow.velocity[i] / (2 * float(axis.weights[0]))), i)
        diagonal = diagonal + squares[0] + squares[1]
    size = jnp.linalg.norm

    def again(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        y, left, _, k = state
        more, _ = jax.scipy.sparse.linalg.cg(
            lambda u: u - turn(turn(u)),
            left - turn(left),
            tol=LOOSE,
            maxiter=ITERATIONS,
            M=lambda u: u / diagonal,
        )
        after = wave - (y + more) - turn(y + more)
        better = size(after) < size(left)
        return jnp.where(better, y + more, y), jnp.where(better, after, left), size(after) / size(left), k + 1

    def unfinished(state: tuple[Array, Array, Array, Array]) -> Array:
        _, left, fell, k = state
        return (size(left) > 2 * jnp.finfo(wave.dtype).eps * size(wave)) & (fell < 0.5) & (k < ROUNDS)

    start = (jnp.zeros_like(wave), wave, jnp.zeros((), wave.dtype), jnp.zeros((), int))
    return jax.lax.while_loop(unfinished, again, start)[0]

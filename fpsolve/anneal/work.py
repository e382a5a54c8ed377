"""The work done by a moving potential, the free energy and the entropy produced, with
their errors.

    W = int E_p d_t U dt + sum over jumps of E_p (U(b+) - U(b-)),      F = -D log Z,
    entropy produced = (W - F + F_0) / D - (KL - KL_0)

The power E_p d_t U is smooth between the breakpoints of the potential and has two
values at each of them. Between two breakpoints (a stretch) it is interpolated by a
polynomial through up to eight neighbouring nodes, never across a breakpoint, and the
interpolant is integrated. Six of the same nodes give a second value, and four a third:
as far as the differences fall, the error of the first is the geometric continuation of
them. To this error of the quadrature is added that of the density: |dp| times the
standard deviation of d_t U under p.

Under a transformation of JAX the nodes are those of Gauss in panels of a fixed number
(`traced_work`).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import sampling_program
from ..core.types import Scalar
from ..equation import FokkerPlanck
from ..grid import Grid
from .constants import CONSTANTS
from .run_times import TracedTimes, traced_nodes


class Powers(NamedTuple):
    """The moving potential under the densities of T times.

    - `log_gibbs`: log pi `(T, *shape)`; `log_z`: log Z `(T,)`
    - `power`: E_p d_t U, `spread`: the standard deviation of d_t U under p, `energy`:
      E_p U, each `(T,)`
    """

    log_gibbs: Array
    log_z: Array
    power: Array
    spread: Array
    energy: Array


@sampling_program
def sample_powers(
    equation: FokkerPlanck, grid: Grid, times: Array, values: Array
) -> Powers:
    """The powers at `times` `(T,)` for densities `values` `(T, *shape)`."""

    def at(given: tuple[Array, Array]) -> Powers:
        t, p = given
        energy, rate = jax.jvp(
            lambda t: grid.sample(lambda x: equation.energy(x, t)),
            (t,),
            (jnp.ones_like(t),),
        )
        log_weights = -energy / equation.diffusion
        log_z = _log_sum(grid, log_weights)
        # Where there is no density, a potential that is not finite does no work.
        mean = lambda f: grid.integrate(
            p * jnp.where((p == 0) & ~jnp.isfinite(f), 0, f)
        )
        power = mean(rate)
        variance = mean((rate - power) ** 2)
        return Powers(
            log_gibbs=log_weights - log_z,
            log_z=log_z,
            power=power,
            spread=jnp.sqrt(jax.lax.stop_gradient(jnp.maximum(variance, 0))),
            energy=mean(energy),
        )

    return jax.lax.map(at, (times, values))


@sampling_program
def sample_log_z(equation: FokkerPlanck, grid: Grid, times: Array) -> Array:
    """log Z at `times` `(T,)`, `(T,)`."""
    at = lambda t: _log_sum(
        grid, -grid.sample(lambda x: equation.energy(x, t)) / equation.diffusion
    )
    return jax.lax.map(at, times)


def _log_sum(grid: Grid, log_weights: Array) -> Array:
    """log int exp(log_weights), by logsumexp, which does not overflow."""
    return jax.scipy.special.logsumexp(
        log_weights, b=jnp.asarray(grid.weights, log_weights.dtype)
    )


class Work(NamedTuple):
    """The work `value` `(T,)` and its `error` `(T,)` of the quadrature, and the nodes
    with the error of the interval after each.
    """

    value: np.ndarray
    error: np.ndarray
    interval_starts: np.ndarray
    interval_errors: np.ndarray

    def doubtful(self, allowed: float) -> np.ndarray:
        """The starts of the intervals that must be divided so that the whole error
        comes down to `allowed`.
        """
        if not np.sum(self.interval_errors) > allowed:
            return np.zeros(0)
        share = allowed / (2 * len(self.interval_errors))
        return np.sort(self.interval_starts[self.interval_errors > share])


def work_between(
    nodes: np.ndarray,
    stretches: np.ndarray,
    power: np.ndarray,
    jumps: np.ndarray,
    times: np.ndarray,
) -> Work:
    """The work from the first node to each of `times` `(T,)`.

    **Arguments**: `nodes` `(N,)`, ascending; `stretches` `(N,)`, the number of the
    stretch that each node lies in; `power` `(N,)` at the nodes; `jumps` `(B,)`: the
    work at the breakpoint after each stretch but the last.
    """
    ends = np.flatnonzero(np.diff(stretches)) + 1
    groups = np.split(np.arange(len(nodes)), ends)
    value, error = np.zeros(len(times)), np.zeros(len(times))
    total = spent = 0.0
    starts: list[np.ndarray] = []
    sizes: list[np.ndarray] = []
    for k, group in enumerate(groups):
        t, p = nodes[group], power[group]
        steps, step_errors = _stretch_work(t, p)
        before = np.concatenate([[0.0], np.cumsum(steps)])
        errors = np.concatenate([[0.0], np.cumsum(step_errors)])
        inside = (times >= t[0]) & (times <= t[-1])
        value[inside] = total + _partial_work(t, p, before, times[inside])
        error[inside] = (
            spent + errors[np.clip(np.searchsorted(t, times[inside]), 0, len(t) - 1)]
        )
        starts.append(t[:-1])
        sizes.append(step_errors)
        total += before[-1]
        spent += errors[-1]
        if k + 1 == len(groups):
            break
        # The narrow interval around a breakpoint: each half by the power on its side,
        # and the jump.
        after = nodes[groups[k + 1][0]]
        width = after - t[-1]
        halves = width / 2 * (p[-1] + power[groups[k + 1][0]])
        middle = (times > t[-1]) & (times < after)
        value[middle] = total + (times[middle] - t[-1]) * p[-1]
        error[middle] = spent + abs(jumps[k]) + abs(halves)
        total += halves + jumps[k]
        spent += CONSTANTS.work_rounding * np.finfo(power.dtype).eps * abs(jumps[k])
    return Work(value, error, np.concatenate(starts), np.concatenate(sizes))


def _stretch_work(t: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The work of each interval between the nodes of one stretch `(n - 1,)`, and its
    error.
    """
    largest = CONSTANTS.work_nodes
    results = []
    for count in (largest, largest - 2, largest - 4):
        results.append([_interval_integral(t, p, i, count) for i in range(len(t) - 1)])
    best, second, third = (np.asarray(row) for row in results)
    last, before = np.abs(best - second), np.abs(second - third)
    # Geometric convergence: the next difference is to the last one as that is to the
    # one before. It may not converge at all: the error is then the last difference
    # itself.
    ratio = np.where(
        before > 0, np.minimum(last / np.where(before > 0, before, 1), 1), 1
    )
    rounding = (
        CONSTANTS.work_rounding
        * np.finfo(p.dtype).eps
        * np.max(np.abs(p), initial=0.0)
        * np.diff(t)
    )
    # Two nodes give one value, and no difference: nothing is known.
    error = last * ratio + rounding if len(t) > 2 else np.full(len(t) - 1, np.nan)
    return best, error


def _window(t: np.ndarray, i: int, count: int) -> slice:
    """Up to `count` nodes about the interval from node i to node i + 1."""
    count = min(count, len(t))
    first = min(max(i + 1 - count // 2, 0), len(t) - count)
    return slice(first, first + count)


def _interpolant(
    t: np.ndarray, p: np.ndarray, i: int, count: int
) -> tuple[Callable[[Scalar], Scalar], float, float]:
    """The integral of the polynomial through the window of interval i, as a function of
    (t - centre) / half.
    """
    window = _window(t, i, count)
    nodes = t[window]
    centre, half = (nodes[0] + nodes[-1]) / 2, (nodes[-1] - nodes[0]) / 2
    table = np.polynomial.chebyshev.chebvander((nodes - centre) / half, len(nodes) - 1)
    integral = np.polynomial.chebyshev.chebint(np.linalg.solve(table, p[window])) * half
    return (lambda x: np.polynomial.chebyshev.chebval(x, integral)), centre, half


def _interval_integral(t: np.ndarray, p: np.ndarray, i: int, count: int) -> float:
    integral, centre, half = _interpolant(t, p, i, count)
    lower, upper = (t[i] - centre) / half, (t[i + 1] - centre) / half
    return float(integral(upper) - integral(lower))


def _partial_work(
    t: np.ndarray, p: np.ndarray, before: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """The work from the first node of a stretch to `times` inside it, `(T,)`."""
    found = []
    for time in times:
        i = int(
            np.clip(np.searchsorted(t, time, side="right") - 1, 0, max(len(t) - 2, 0))
        )
        # At a node no interpolation is needed.
        if time == t[i] or len(t) == 1:
            found.append(before[i])
            continue
        integral, centre, half = _interpolant(t, p, i, CONSTANTS.work_nodes)
        found.append(
            before[i]
            + float(integral((time - centre) / half) - integral((t[i] - centre) / half))
        )
    return np.asarray(found)


def traced_work(
    equation: FokkerPlanck, grid: Grid, layout: TracedTimes, values: Array, power: Array
) -> tuple[Array, Array]:
    """The work at the edges of the panels `(P + 1,)`, and the error of its quadrature
    `(P + 1,)`.

    **Arguments**: densities `values` `(N, *shape)` and `power` `(N,)` at the times of
    `layout`.
    """
    edges = layout.edges
    panels = len(edges) - 1
    count = traced_nodes(panels)
    lengths = jnp.diff(edges)
    x, weights = np.polynomial.legendre.leggauss(count)
    inside = power[:-1].reshape(panels, count + 1)[:, 1:]
    steps = lengths / 2 * (inside @ jnp.asarray(weights, power.dtype))

    # Both sides of each inner edge, with the density of the edge itself.
    margin = CONSTANTS.breakpoint_margin * edges[-1]
    at_edges = values[:: count + 1]
    beside = [jnp.clip(edges + sign * margin, 0, edges[-1]) for sign in (-1, 1)]
    sides = [sample_powers(equation, grid, moments, at_edges) for moments in beside]
    below, above = (
        (side.energy - sign * margin * side.power)
        for sign, side in zip((-1, 1), sides, strict=True)
    )
    # Zero at a smooth edge and at a kink. Its derivative is that of the time of a kink
    # that moves. A panel of no length repeats an edge, which counts once.
    counted = jnp.concatenate(
        [jnp.zeros(1, bool), lengths[1:] > 2 * margin, jnp.zeros(1, bool)]
    )
    jumps = jnp.where(counted, above - below, 0)
    work = jnp.concatenate([jnp.zeros(1, power.dtype), jnp.cumsum(steps)]) + jnp.cumsum(
        jumps
    )

    # The coefficients of the power in Legendre polynomials, through the nodes and the
    # ends. The rule is exact to degree 2 m - 1; the next coefficient of even degree
    # follows from the last ones if they fall geometrically.
    table = np.linalg.inv(
        np.polynomial.legendre.legvander(np.concatenate([[-1.0], x, [1.0]]), count + 1)
    )
    ends = jnp.concatenate(
        [sides[1].power[:-1, None], inside, sides[0].power[1:, None]], axis=1
    )
    coefficients = jnp.abs(ends @ jnp.asarray(table.T, power.dtype))
    even = (count + 1) // 2 * 2
    largest, before = coefficients[:, even], coefficients[:, even - 2]
    ratio = jnp.minimum(largest / jnp.where(before > 0, before, 1), 1)
    rounding = (
        CONSTANTS.work_rounding * jnp.finfo(power.dtype).eps * jnp.max(jnp.abs(power))
    )
    errors = lengths * (largest * ratio ** ((2 * count - even) // 2) + rounding)
    error = jnp.concatenate([jnp.zeros(1, power.dtype), jnp.cumsum(errors)])
    return work, jax.lax.stop_gradient(
        jnp.where(layout.missed | layout.jumped, jnp.nan, error)
    )

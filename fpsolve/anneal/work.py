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
from numpy.polynomial import chebyshev, legendre

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
        energies = lambda t: grid.sample(lambda x: equation.energy(x, t))
        energy, rate = jax.jvp(energies, (t,), (jnp.ones_like(t),))
        log_weights = -energy / equation.diffusion
        log_z = _log_sum(grid, log_weights)

        # Where there is no density, a potential that is not finite does no work.
        def mean(f: Array) -> Array:
            empty = (p == 0) & ~jnp.isfinite(f)
            return grid.integrate(p * jnp.where(empty, 0, f))

        power = mean(rate)
        variance = mean((rate - power) ** 2)
        # Rounding can make it negative. The spread serves for an error only, and the
        # derivative of a root is infinite at 0: it has none.
        bounded = jax.lax.stop_gradient(jnp.maximum(variance, 0))
        return Powers(
            log_gibbs=log_weights - log_z,
            log_z=log_z,
            power=power,
            spread=jnp.sqrt(bounded),
            energy=mean(energy),
        )

    return jax.lax.map(at, (times, values))


@sampling_program
def sample_log_z(equation: FokkerPlanck, grid: Grid, times: Array) -> Array:
    """log Z at `times` `(T,)`, `(T,)`."""

    def at(t: Array) -> Array:
        energy = grid.sample(lambda x: equation.energy(x, t))
        return _log_sum(grid, -energy / equation.diffusion)

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
        # Half of the error is left to the intervals that are not divided.
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
    value = np.zeros(len(times))
    error = np.zeros(len(times))
    # The work and its error up to the start of a stretch.
    total = spent = 0.0
    starts: list[np.ndarray] = []
    sizes: list[np.ndarray] = []
    for k, group in enumerate(groups):
        t = nodes[group]
        p = power[group]
        steps, step_errors = _stretch_work(t, p)
        before = np.concatenate([[0.0], np.cumsum(steps)])
        errors = np.concatenate([[0.0], np.cumsum(step_errors)])
        inside = (times >= t[0]) & (times <= t[-1])
        value[inside] = total + _partial_work(t, p, before, times[inside])
        # Within an interval the error is that at its end.
        next_node = np.searchsorted(t, times[inside])
        next_node = np.clip(next_node, 0, len(t) - 1)
        error[inside] = spent + errors[next_node]
        starts.append(t[:-1])
        sizes.append(step_errors)
        total += before[-1]
        spent += errors[-1]
        if k + 1 == len(groups):
            break
        # The narrow interval around a breakpoint: each half by the power on its side,
        # and the jump.
        following = groups[k + 1][0]
        after = nodes[following]
        width = after - t[-1]
        halves = width / 2 * (p[-1] + power[following])
        middle = (times > t[-1]) & (times < after)
        elapsed = times[middle] - t[-1]
        value[middle] = total + elapsed * p[-1]
        error[middle] = spent + abs(jumps[k]) + abs(halves)
        total += halves + jumps[k]
        rounding = CONSTANTS.work_rounding * np.finfo(power.dtype).eps
        spent += rounding * abs(jumps[k])
    return Work(
        value=value,
        error=error,
        interval_starts=np.concatenate(starts),
        interval_errors=np.concatenate(sizes),
    )


def _stretch_work(t: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The work of each interval of one stretch `(n - 1,)`, and its error."""
    largest = CONSTANTS.work_nodes
    intervals = range(len(t) - 1)
    results = []
    for count in (largest, largest - 2, largest - 4):
        results.append([_interval_integral(t, p, i, count) for i in intervals])
    best, second, third = (np.asarray(row) for row in results)
    last = np.abs(best - second)
    before = np.abs(second - third)
    # Geometric convergence: the next difference is to the last one as that is to the
    # one before. It may not converge at all: the error is then the last difference
    # itself.
    safe = np.where(before > 0, before, 1)
    ratio = np.where(before > 0, np.minimum(last / safe, 1), 1)
    largest_power = np.max(np.abs(p), initial=0.0)
    unit = CONSTANTS.work_rounding * np.finfo(p.dtype).eps
    rounding = unit * largest_power * np.diff(t)
    # Two nodes give one value, and no difference: nothing is known.
    if len(t) <= 2:
        return best, np.full(len(t) - 1, np.nan)
    return best, last * ratio + rounding


def _window(t: np.ndarray, i: int, count: int) -> slice:
    """Up to `count` nodes about the interval from node i to node i + 1."""
    count = min(count, len(t))
    # Near an end of the stretch the window is not centred.
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
    centre = (nodes[0] + nodes[-1]) / 2
    half = (nodes[-1] - nodes[0]) / 2
    # The Chebyshev basis is well conditioned, unlike that of powers.
    table = chebyshev.chebvander((nodes - centre) / half, len(nodes) - 1)
    coefficients = np.linalg.solve(table, p[window])
    integral = chebyshev.chebint(coefficients) * half
    return (lambda x: chebyshev.chebval(x, integral)), centre, half


def _interval_integral(t: np.ndarray, p: np.ndarray, i: int, count: int) -> float:
    integral, centre, half = _interpolant(t, p, i, count)
    lower = (t[i] - centre) / half
    upper = (t[i + 1] - centre) / half
    return float(integral(upper) - integral(lower))


def _partial_work(
    t: np.ndarray, p: np.ndarray, before: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """The work from the first node of a stretch to `times` inside it, `(T,)`."""
    found = []
    last = max(len(t) - 2, 0)
    for time in times:
        before_time = np.searchsorted(t, time, side="right") - 1
        i = int(np.clip(before_time, 0, last))
        # At a node no interpolation is needed.
        if time == t[i] or len(t) == 1:
            found.append(before[i])
            continue
        integral, centre, half = _interpolant(t, p, i, CONSTANTS.work_nodes)
        lower = integral((t[i] - centre) / half)
        upper = integral((time - centre) / half)
        found.append(before[i] + float(upper - lower))
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
    x, weights = legendre.leggauss(count)
    # The first time of each panel is its edge.
    inside = power[:-1].reshape(panels, count + 1)[:, 1:]
    steps = lengths / 2 * (inside @ jnp.asarray(weights, power.dtype))

    # Both sides of each inner edge, with the density of the edge itself.
    margin = CONSTANTS.breakpoint_margin * edges[-1]
    at_edges = values[:: count + 1]
    signs = (-1, 1)
    beside = [jnp.clip(edges + sign * margin, 0, edges[-1]) for sign in signs]
    sides = [sample_powers(equation, grid, moments, at_edges) for moments in beside]
    below, above = (
        (side.energy - sign * margin * side.power)
        for sign, side in zip(signs, sides, strict=True)
    )
    # Zero at a smooth edge and at a kink. Its derivative is that of the time of a kink
    # that moves. A panel of no length repeats an edge, which counts once.
    never = jnp.zeros(1, bool)
    counted = jnp.concatenate([never, lengths[1:] > 2 * margin, never])
    jumps = jnp.where(counted, above - below, 0)
    zero = jnp.zeros(1, power.dtype)
    work = jnp.concatenate([zero, jnp.cumsum(steps)]) + jnp.cumsum(jumps)

    # The coefficients of the power in Legendre polynomials, through the nodes and the
    # ends. The rule is exact to degree 2 m - 1; the next coefficient of even degree
    # follows from the last ones if they fall geometrically.
    nodes = np.concatenate([[-1.0], x, [1.0]])
    table = np.linalg.inv(legendre.legvander(nodes, count + 1))
    # At an edge each panel has the power on its own side.
    lower_ends = sides[1].power[:-1, None]
    upper_ends = sides[0].power[1:, None]
    at_nodes = jnp.concatenate([lower_ends, inside, upper_ends], axis=1)
    coefficients = jnp.abs(at_nodes @ jnp.asarray(table.T, power.dtype))
    even = (count + 1) // 2 * 2
    last = coefficients[:, even]
    before = coefficients[:, even - 2]
    ratio = jnp.minimum(last / jnp.where(before > 0, before, 1), 1)
    first_missed = last * ratio ** ((2 * count - even) // 2)
    unit = CONSTANTS.work_rounding * jnp.finfo(power.dtype).eps
    rounding = unit * jnp.max(jnp.abs(power))
    errors = lengths * (first_missed + rounding)
    error = jnp.concatenate([zero, jnp.cumsum(errors)])
    # Where a kink lies inside a panel the rule of Gauss has no known error.
    unknown = layout.missed | layout.jumped
    return work, jax.lax.stop_gradient(jnp.where(unknown, jnp.nan, error))

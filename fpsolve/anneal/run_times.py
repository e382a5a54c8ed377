"""The times at which a transport is computed: those to report, and nodes at which its
work is integrated.

Outside of transformations (`RunTimes`) the nodes are evenly spaced, and denser where
the potential changes quickly, after breakpoints, where a transient decays, and where a
first run shows that the work is not accurate yet. No node is nearer to a breakpoint
than a small margin, so that each lies on a known side.

Under a transformation (`TracedTimes`) the number of nodes is fixed. Kinks of the
schedule are searched for inside the program, in the schedule itself and in its
derivatives with respect to its numbers: where knots lie on a straight line, it has no
kink, and its derivative has.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.program import compiled
from ..core.types import Clock
from ..step.breakpoints import find_breakpoints
from .constants import CONSTANTS
from .gibbs import box_points, sample_energies
from .pieces import smooth_pieces
from .schedule_samples import Features
from .transport_request import TransportRequest


class RunTimes(NamedTuple):
    """The times of a run.

    - `times` `(N,)`, ascending from 0; `requested` `(T,)`: the positions of the times
      to report among them
    - `nodes` `(M,)`: the positions of the nodes of the work; `stretches` `(M,)`:
      between which breakpoints each lies
    - `breakpoints` `(B,)` with a node beside them
    """

    times: np.ndarray
    requested: np.ndarray
    nodes: np.ndarray
    stretches: np.ndarray
    breakpoints: np.ndarray


def time_features(
    request: TransportRequest, lambdas: np.ndarray
) -> tuple[np.ndarray, Features]:
    """The breakpoints of the potential before the last time `(B,)`, and where it
    changes quickly; `lambdas` are the edges of the smooth pieces of its path.
    """
    equation, grid = request.equation, request.grid
    last = float(np.asarray(request.times)[-1])
    margin = CONSTANTS.breakpoint_margin * last
    if last == 0:
        return np.zeros(0), Features(lambdas, np.zeros(1), None)
    given = np.asarray(request.breakpoints, float)
    # A breakpoint that was given is exact, and one that was found is not.
    found = []
    for t in find_breakpoints(equation, grid, last):
        if np.all(np.abs(given - t) > margin):
            found.append(t)
    breakpoints = np.sort(np.concatenate([given, found]))
    after_start = breakpoints > 2 * margin
    before_end = breakpoints < last - 2 * margin
    breakpoints = breakpoints[after_start & before_end]
    # Two that are as near as the margin have no node between them.
    breakpoints = breakpoints[np.diff(breakpoints, prepend=-np.inf) > 4 * margin]

    points = box_points(grid)
    sample = lambda times: sample_energies(equation, points, times)
    pieces = smooth_pieces(sample, np.concatenate([[0.0], breakpoints, [last]]))
    jump = _first_jump(sample, breakpoints, margin, last)
    return breakpoints, Features(lambdas, pieces, jump)


def _first_jump(
    sample: Callable[[np.ndarray], np.ndarray],
    breakpoints: np.ndarray,
    margin: float,
    last: float,
) -> float | None:
    """The first breakpoint at which the potential itself jumps, or None."""
    if not len(breakpoints):
        return None
    # Across a kink, and at twice the distance: the difference doubles there, and at a
    # jump it does not.
    sizes = []
    for k in (1, 2):
        above = sample(breakpoints + k * margin)
        below = sample(breakpoints - k * margin)
        difference = above - below
        # A wall, where both are infinite, has no difference.
        finite = np.where(np.isfinite(difference), difference, 0)
        sizes.append(np.max(np.abs(finite), axis=1))
    near, far = sizes
    ends = np.asarray([0.0, last])
    at_ends = np.nan_to_num(sample(ends), posinf=0, neginf=0)
    scale = np.max(np.abs(at_ends))
    rounding = CONSTANTS.feature_rounding * np.finfo(float).eps * scale
    jumps = (near > CONSTANTS.jump_share * far) & (near > rounding)
    return float(breakpoints[jumps][0]) if np.any(jumps) else None


def run_times(
    request: TransportRequest,
    breakpoints: np.ndarray,
    features: Features,
    fastest: float,
    extra: np.ndarray,
) -> RunTimes:
    """The times of a run; `fastest` is the largest gap, `extra` `(E,)` more nodes."""
    requested = np.asarray(request.times, float)
    last = float(requested[-1])
    margin = CONSTANTS.breakpoint_margin * last
    # On more axes the counterdiabatic run pays for every output time, and a large grid
    # for every density.
    fits = request.grid.size * CONSTANTS.report_times <= CONSTANTS.max_run_values
    generous = fits and (request.grid.ndim == 1 or not request.counterdiabatic)
    spacing = np.inf
    if generous:
        spacing = float(request.total) / (CONSTANTS.report_times - 1)

    nodes: list[np.ndarray] = []
    edges = [0.0, *breakpoints, last]
    for k, (a, b) in enumerate(itertools.pairwise(edges)):
        # A node lies on a known side of each breakpoint.
        start = a + margin if k > 0 else a
        end = b - margin if k + 2 < len(edges) else b
        if generous:
            pieces = features.times
            between = (pieces > start + margin) & (pieces < end - margin)
            inner = pieces[between]
            stretch = _stretch_nodes(np.asarray([start, *inner, end]), spacing, fastest)
        else:
            stretch = np.asarray([start, end])
        more = extra
        if not generous:
            more = np.concatenate([extra, requested])
        stretch = np.union1d(
            stretch, more[(more > start + margin) & (more < end - margin)]
        )
        nodes.append(_snapped(stretch, requested, spacing))
    lengths = [len(row) for row in nodes]
    stretches = np.repeat(np.arange(len(nodes)), lengths)
    table = np.concatenate(nodes)
    times = np.union1d(table, requested)
    return RunTimes(
        times=times,
        requested=np.searchsorted(times, requested),
        nodes=np.searchsorted(times, table),
        stretches=stretches,
        breakpoints=breakpoints,
    )


def _stretch_nodes(edges: np.ndarray, spacing: float, fastest: float) -> np.ndarray:
    """Nodes between two breakpoints, from the first edge to the last: some in each
    smooth piece, and graded ones at the start, where a transient decays as fast as
    exp(-fastest t) or faster.
    """
    if edges[-1] <= edges[0]:
        return edges[:1]
    rows = []
    for a, b in itertools.pairwise(edges):
        # Below by 1e-12, so that rounding adds no part.
        needed = int(np.ceil((b - a) / spacing * (1 - 1e-12)))
        parts = max(CONSTANTS.work_nodes, needed)
        rows.append(np.linspace(a, b, parts + 1))
    nodes = np.unique(np.concatenate(rows))
    graded = []
    first = nodes[1] - nodes[0]
    while first * fastest * CONSTANTS.graded_decays > 1:
        first = CONSTANTS.graded_ratio * first
        graded.append(nodes[0] + first)
    return np.union1d(nodes, graded)


def _snapped(nodes: np.ndarray, requested: np.ndarray, spacing: float) -> np.ndarray:
    """The nodes, of which inner ones with a requested time nearby are moved there: it
    is computed in any case.
    """
    if len(nodes) < 3:
        return nodes
    distances = np.abs(nodes[:, None] - requested)
    nearest = requested[np.argmin(distances, axis=1)]
    # At most a quarter of an interval, so that the nodes keep their order.
    steps = np.diff(nodes)
    room = np.minimum(steps[:-1], steps[1:]) / 4
    inner = slice(1, -1)
    shift = np.abs(nearest - nodes)[inner]
    is_near = shift <= np.minimum(room, spacing / 4)
    moved = nodes.copy()
    moved[inner] = np.where(is_near, nearest[inner], nodes[inner])
    return np.unique(moved)


class TracedTimes(NamedTuple):
    """The times of a run under a transformation, in P panels with m nodes each.

    - `edges` `(P + 1,)` of the panels, ascending from 0; `times` `(P (m + 1) + 1,)`:
      each edge and the nodes after it
    - `requested` `(T,)`: the positions of the times to report among the edges
    - `jumped`: whether the schedule jumps where no breakpoint was given; `missed`:
      whether it has more kinks than fit
    """

    edges: Array
    times: Array
    requested: Array
    jumped: Array
    missed: Array


def traced_times(request: TransportRequest) -> TracedTimes:
    """The times of a run whose values are traced."""
    requested = jnp.asarray(request.times)
    last = requested[-1]
    kinks, jumped, missed = traced_kinks(request.schedule, last)
    given = jnp.clip(jnp.asarray(request.breakpoints, requested.dtype), 0, last)
    # Many times to report divide the run finely enough.
    parts = CONSTANTS.traced_panels if len(requested) < CONSTANTS.traced_panels else 1
    even = last * jnp.arange(parts + 1) / parts
    dtype = requested.dtype
    all_edges = [even.astype(dtype), requested, given, kinks.astype(dtype)]
    edges = jnp.sort(jnp.concatenate(all_edges))
    # Known edges that coincide to rounding are one: `evolve` takes no times twice.
    rounding = CONSTANTS.time_rounding * jnp.finfo(edges.dtype).eps * last
    if is_concrete(edges):
        host = np.asarray(edges)
        distinct = np.diff(host, prepend=-np.inf) > float(rounding)
        edges = as_array(host[distinct], dtype)
    nodes, _ = np.polynomial.legendre.leggauss(traced_nodes(len(edges) - 1))
    # The lower edge of a panel, and the nodes of Gauss in it.
    fractions = np.concatenate([[0.0], (1 + nodes) / 2])
    widths = jnp.diff(edges)
    inside = edges[:-1, None] + widths[:, None] * fractions
    times = jnp.concatenate([inside.ravel(), edges[-1:]])
    # A jump at a breakpoint that was given is dealt with by the method.
    jumped = jumped & (len(request.breakpoints) == 0)
    # Of edges that coincide the lowest is kept, which may be below a requested time.
    positions = jnp.searchsorted(edges, requested - rounding)
    return TracedTimes(
        edges=edges,
        times=times,
        requested=positions,
        jumped=jumped,
        missed=missed,
    )


def traced_nodes(panels: int) -> int:
    """How many nodes of Gauss each of so many panels has."""
    few, many = CONSTANTS.traced_nodes
    return few if panels > CONSTANTS.many_panels else many


@compiled
def traced_kinks(schedule: Clock, last: Array) -> tuple[Array, Array, Array]:
    """Times in [0, last] at which the schedule or its derivatives with respect to its
    numbers have a kink.

    **Returns** them `(K,)`, filled up with `last`; whether one is a jump of the
    schedule; whether there are more.
    """
    arrays, static = eqx.partition(schedule, eqx.is_inexact_array)
    arrays, last = jax.lax.stop_gradient((arrays, last))
    # A few random directions stand for all numbers. The seed is fixed, so that one
    # schedule has one answer.
    generator = np.random.default_rng(0)
    leaves, structure = jax.tree.flatten(arrays)
    directions = []
    for _ in range(CONSTANTS.kink_directions):
        random = []
        for leaf in leaves:
            normal = generator.normal(size=leaf.shape)
            random.append(jnp.asarray(normal, leaf.dtype))
        directions.append(jax.tree.unflatten(structure, random))

    def rows_at(t: Array) -> Array:
        """The schedule and its derivatives at one time."""
        value = lambda arrays: jnp.asarray(eqx.combine(arrays, static)(t))
        derivatives = []
        for direction in directions:
            _, derivative = jax.jvp(value, (arrays,), (direction,))
            derivatives.append(derivative)
        return jnp.stack([value(arrays), *derivatives])

    sample = jax.vmap(rows_at)
    count = CONSTANTS.kink_samples
    times = last * jnp.arange(count + 1) / count
    table = sample(times)
    scale = jnp.max(jnp.abs(table), axis=0)
    scale = jnp.where(scale > 0, scale, 1)
    noise = CONSTANTS.feature_rounding * jnp.finfo(table.dtype).eps
    second_differences = jnp.diff(table / scale, 2, axis=0)
    second = jnp.max(jnp.abs(second_differences), axis=1)

    # As `step.breakpoints` does: a kink stands out from its neighbours on both sides.
    reach = CONSTANTS.kink_neighbours
    padded = jnp.pad(second, reach, mode="edge")
    at = lambda k: padded[reach + k : reach + k + count - 1]
    distant = jnp.maximum(at(-reach), at(reach))
    stands_out = second > CONSTANTS.kink_outstanding * distant + noise
    # Of two equal neighbours only one counts.
    likely = stands_out & (second >= at(-1)) & (second > at(1))
    # The number of kinks is fixed, as shapes are under a transformation.
    candidates = jnp.where(likely, second, 0)
    strength, index = jax.lax.top_k(candidates, CONSTANTS.traced_kinks)

    def cut(_: Array, interval: tuple[Array, Array]) -> tuple[Array, Array]:
        """A part of an interval, that with the largest second difference."""
        start, length = interval
        cuts = CONSTANTS.kink_cuts
        parts = length[:, None] * jnp.arange(cuts + 1) / cuts
        places = start[:, None] + parts
        values = jax.vmap(sample)(places) / scale
        differences = jnp.abs(jnp.diff(values, 2, axis=1))
        largest = jnp.argmax(jnp.max(differences, axis=2), axis=1)
        step = length / cuts
        # A second difference spans two parts.
        return start + largest * step, 2 * step

    found = (times[index], jnp.full(index.shape, 2 * last / count))
    start, length = jax.lax.fori_loop(0, CONSTANTS.kink_levels, cut, found)
    kinks = jnp.where(strength > 0, start + length / 2, last)

    # A jump: the schedule differs across the margin by more than its slopes on both
    # sides allow.
    margin = CONSTANTS.breakpoint_margin * last
    value = lambda times: sample(times)[:, 0]
    near = jnp.abs(value(kinks + margin) - value(kinks - margin))
    far = jnp.abs(value(kinks + 2 * margin) - value(kinks - 2 * margin))
    after_start = kinks > 2 * margin
    before_end = kinks < last - 2 * margin
    inside = (strength > 0) & after_start & before_end
    above_noise = near > noise * scale[0]
    jumps = inside & (near > CONSTANTS.jump_share * far) & above_noise
    return kinks, jnp.any(jumps), jnp.sum(likely) > CONSTANTS.traced_kinks

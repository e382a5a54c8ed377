"""The graph of a reversible finite-volume operator, and coarser graphs of the same
kind.

A finite-volume operator that balances in detail is a graph of nodes with masses m = w
pi and with rates r to their neighbours along each axis. Coarsening merges pairs of
nodes, one axis after the other. Where a pair (a, b) becomes the node J and the next
pair (a', b') becomes K,

    m_J = m_a + m_b,       s = m_a / m_J, m_b / m_J       shares of the mass
    across the axis        r_J = s_a r_a + s_b r_b
                           conductances k = m r in parallel
    along the axis         1 / k_JK = s_a / k_ab + 1 / k_ba' + s_b' / k_a'b'
                           resistances in series, from the centre of J's mass to K's

Where pi is constant, this is half the sum of the edges. With sums alone a barrier that
the coarse graph does not resolve is wrong by orders of magnitude. Only ratios of masses
occur, from the logarithm of pi, so nothing overflows or is lost whatever pi spans.
Masses of a Schrödinger operator are w.

**Axes** are counted from the end, -d, ..., -1, everywhere in this module and in
`multigrid`: as an index of the tuples `up`, `down`, `periodic` and `widths`, and as an
axis of arrays `(..., *shape)` with any number of leading axes.

Reference: Braess, Computing 55 (1995) 379 (aggregation, and why half the edges).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..operator import EdgeOperator
from .constants import CONSTANTS


class ReversibleGraph(eqx.Module):
    """Masses, rates to neighbours, and killing rates of nodes, each `(*shape)`."""

    # rates from each node to the next one up, one array an axis; zero where there is
    # none
    up: tuple[Array, ...]
    down: tuple[Array, ...]
    # the rate at which mass leaves for good: walls, clamped neighbours, the potential
    # term
    killing: Array
    log_mass: Array  # up to a constant; -inf at a node that takes no part
    periodic: tuple[bool, ...] = eqx.field(static=True)
    widths: tuple[float, ...] = eqx.field(static=True)  # of the cells, one an axis

    @property
    def shape(self) -> tuple[int, ...]:
        """Nodes an axis."""
        return self.killing.shape

    @property
    def axes(self) -> tuple[int, ...]:
        """-d, ..., -1."""
        return tuple(range(-self.killing.ndim, 0))

    @property
    def sqrt_mass(self) -> Array:
        """sqrt(m) of unit norm: the ground wave where nothing is killed."""
        # Relative to the largest mass, so that the exponential does not overflow.
        sqrt_mass = jnp.exp((self.log_mass - jnp.max(self.log_mass)) / 2)
        return sqrt_mass / jnp.linalg.norm(sqrt_mass)


def graph_of(operator: EdgeOperator, clamped: Array | None = None) -> ReversibleGraph:
    """The graph of an operator. Nodes where `clamped` is true are taken out, and their
    neighbours' rates to them become killing rates.
    """
    grid = operator.grid
    dtype = operator.up[0].dtype
    killing = jnp.zeros(grid.shape, dtype)
    if operator.potential_term is not None:
        # Killing rates are at least zero; the shift by the lowest value shifts all
        # levels by the same number.
        killing = operator.potential_term - jnp.min(operator.potential_term)
    log_mass = jnp.log(grid.weights.astype(dtype))
    if operator.log_sqrt_pi is not None:
        log_mass = log_mass + 2 * operator.log_sqrt_pi
    periodic = tuple(axis.boundary == "periodic" for axis in grid.axes)
    up = []
    down = []
    for axis in range(-grid.ndim, 0):
        upward, downward = _rates_of_nodes(operator, axis)
        if clamped is not None:
            clamped_above = next_value(clamped, axis, periodic[axis])
            clamped_below = previous_value(clamped, axis, periodic[axis])
            killing = killing + jnp.where(clamped_above, upward, 0)
            killing = killing + jnp.where(clamped_below, downward, 0)
            upward = jnp.where(clamped | clamped_above, 0, upward)
            downward = jnp.where(clamped | clamped_below, 0, downward)
        up.append(upward)
        down.append(downward)
    if clamped is not None:
        killing = jnp.where(clamped, 0, killing)
        log_mass = jnp.where(clamped, -jnp.inf, log_mass)
    widths = tuple(axis.length / axis.n for axis in grid.axes)
    return ReversibleGraph(tuple(up), tuple(down), killing, log_mass, periodic, widths)


def _rates_of_nodes(operator: EdgeOperator, axis: int) -> tuple[Array, Array]:
    """The rates up and down from each node along an axis, from the rates across faces.
    At a wall the rate is that at which it absorbs; at a no-flux end it is zero.
    """
    grid_axis = operator.grid.axes[axis]
    upward, downward = operator.up[axis], operator.down[axis]
    if grid_axis.boundary == "no_flux":
        upward = _pad(upward, axis, (0, 1))
        downward = _pad(downward, axis, (1, 0))
    elif grid_axis.boundary == "absorbing":
        upward = jax.lax.slice_in_dim(upward, 1, 1 + grid_axis.n, axis=axis)
        downward = jax.lax.slice_in_dim(downward, 0, grid_axis.n, axis=axis)
    else:
        downward = previous_value(downward, axis, True)
    weights = operator.grid.axis_weights(operator.grid.ndim + axis, upward.dtype)
    return upward / weights, downward / weights


def coarsened(
    graph: ReversibleGraph,
) -> tuple[tuple[ReversibleGraph, ...], tuple[Array, ...]]:
    """All graphs from fine to coarse, and for each but the coarsest the share of every
    node in the mass of the node that it is merged into.
    """
    graphs = [graph]
    shares = []
    while graph.killing.size > CONSTANTS.direct_size:
        axes = _axes_to_merge(graph)
        if not axes:
            break
        fine = graph
        for axis in axes:
            graph = merge_pairs(graph, axis)
        parent_log_mass = graph.log_mass
        for axis in axes:
            parent_log_mass = spread_to_pairs(parent_log_mass, axis, fine.shape[axis])
        # A node without mass may have a parent without mass: the difference is NaN.
        share = jnp.exp(fine.log_mass - parent_log_mass)
        shares.append(jnp.where(fine.log_mass > -jnp.inf, share, 0))
        graphs.append(graph)
    return tuple(graphs), tuple(shares)


def _axes_to_merge(graph: ReversibleGraph) -> list[int]:
    """The axes with the narrowest cells. Point smoothers damp errors only along axes
    with strong couplings, which are those with narrow cells, so only these may be
    coarsened.
    """
    shape = graph.shape
    widths = graph.widths
    long_axes = [axis for axis in graph.axes if shape[axis] >= CONSTANTS.min_axis_nodes]
    narrowest = min((widths[axis] for axis in long_axes), default=0.0)
    # Widths that differ by rounding count as equal.
    widest = (1 + CONSTANTS.width_margin) * narrowest
    return [axis for axis in long_axes if widths[axis] <= widest]


def merge_pairs(graph: ReversibleGraph, axis: int) -> ReversibleGraph:
    """Merge the nodes 2J and 2J + 1 along an axis into the node J. The last node of an
    odd number stays alone.
    """
    periodic = graph.periodic[axis]
    n = graph.shape[axis]

    # Shares of the mass. A sigmoid of the difference of the logarithms forms no mass,
    # so none over- or underflows. Two empty nodes share equally; the difference of
    # their logarithms would be NaN.
    log_mass_a, log_mass_b = pairs(graph.log_mass, axis, -jnp.inf)
    difference = jnp.where(log_mass_a == log_mass_b, 0, log_mass_a - log_mass_b)
    share_a = jax.nn.sigmoid(difference)
    share_b = jax.nn.sigmoid(-difference)

    def mean(u: Array) -> Array:
        a, b = pairs(u, axis)
        return share_a * a + share_b * b

    # Rates from a pair to the next ones as if its inside had no resistance: the upper
    # node b gives up, the lower node a gives down. A node that stays alone gives both.
    up_a, up_b = pairs(graph.up[axis], axis)
    down_a, down_b = pairs(graph.down[axis], axis)
    number = np.arange((n + 1) // 2).reshape(-1, *[1] * (-axis - 1))
    # true for the last of an odd number, and never for an even number
    alone = number == n // 2
    upward = jnp.where(alone, up_a, share_b * up_b)
    downward = share_a * down_a

    # Resistances inside a pair, from the centre of its mass to its upper and to its
    # lower end, relative to that of the edge to the next pair: (s_a / k_ab) k_ba' and
    # (s_b' / k_a'b') k_ba'. A share of zero has no mass to be far from.
    to_upper_end = jnp.where(alone | (share_a == 0), 0, _ratio(upward, up_a))
    to_lower_end = jnp.where(share_b == 0, 0, _ratio(downward, down_b))

    # Conductances in parallel across the axis, resistances in series along it.
    up = [mean(u) for u in graph.up]
    down = [mean(u) for u in graph.down]
    in_next = next_value(to_lower_end, axis, periodic)
    in_previous = previous_value(to_upper_end, axis, periodic)
    up[axis] = upward / (1 + to_upper_end + in_next)
    down[axis] = downward / (1 + to_lower_end + in_previous)
    widths = list(graph.widths)
    widths[axis] = 2 * widths[axis]
    return ReversibleGraph(
        up=tuple(up),
        down=tuple(down),
        killing=mean(graph.killing),
        log_mass=jnp.logaddexp(log_mass_a, log_mass_b),
        periodic=graph.periodic,
        widths=tuple(widths),
    )


def _ratio(a: Array, b: Array) -> Array:
    """a / b for numbers >= 0; a large finite number where b alone is zero, because
    infinity would give NaN later.
    """
    positive = b > 0
    quotient = a / jnp.where(positive, b, 1)
    # A quarter of the largest number: sums of a few of them stay finite.
    instead = jnp.where(a > 0, jnp.finfo(a.dtype).max / 4, 0)
    return jnp.where(positive, quotient, instead)


def next_value(u: Array, axis: int, periodic: bool) -> Array:
    """At each node the value of the next one up along an axis; zero beyond an end."""
    if periodic:
        return jnp.roll(u, -1, axis)
    later = jax.lax.slice_in_dim(u, 1, u.shape[axis], axis=axis)
    return _pad(later, axis, (0, 1))


def previous_value(u: Array, axis: int, periodic: bool) -> Array:
    """At each node the value of the next one down along an axis; zero beyond an end."""
    if periodic:
        return jnp.roll(u, 1, axis)
    earlier = jax.lax.slice_in_dim(u, 0, u.shape[axis] - 1, axis=axis)
    return _pad(earlier, axis, (1, 0))


def pairs(u: Array, axis: int, fill: float = 0.0) -> tuple[Array, Array]:
    """The first and the second of each pair along an axis; `fill` for a missing one."""
    n = u.shape[axis]
    first = jax.lax.slice_in_dim(u, 0, n, 2, axis)
    second = jax.lax.slice_in_dim(u, 1, n, 2, axis)
    return first, _pad(second, axis, (0, n % 2), fill)


def spread_to_pairs(u: Array, axis: int, n: int) -> Array:
    """The value of each merged node at both nodes of its pair; n nodes on the axis."""
    # The last of an odd number has no second node.
    return jax.lax.slice_in_dim(jnp.repeat(u, 2, axis), 0, n, axis=axis)


def _pad(u: Array, axis: int, ends: tuple[int, int], fill: float = 0.0) -> Array:
    widths = [(0, 0)] * u.ndim
    widths[axis] = ends
    return jnp.pad(u, widths, constant_values=fill)

"""The plot of a transport: the gap and the schedule, the lag and its bound, the density
and the Gibbs density.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..anneal import Transport
from ..core.checks import is_concrete, raise_value_error
from ..equation import Equation, FokkerPlanck
from ..grid import Grid
from ..record.types import Axes, Figure
from .panels import VISIBLE, choose_times, coordinate, marginal, new_figure

# distinct for colour-blind readers; in grey the dashes differ
BLUE, ORANGE, INK = "#0072B2", "#D55E00", "0.25"
MOST_DENSITIES = 5
MARKED_TIMES = 12  # up to this many times each is marked by a dot
ROUNDING = 1e-16  # a lag below this is rounding, and is not drawn


@dataclasses.dataclass(frozen=True)
class DensitySeries:
    """A density at several times, and the Gibbs density at the same times, in numpy.

    `times` `(T,)`, `lambdas` `(T,)` or None, `values`, `gibbs` and `potential`
    `(T, *shape)`, the last two or None.
    """

    grid: Grid
    times: np.ndarray
    lambdas: np.ndarray | None
    values: np.ndarray
    gibbs: np.ndarray | None
    potential: np.ndarray | None

    def label(self, k: int) -> str:
        """The time of the k-th density, and its λ if it has one."""
        where = "" if self.lambdas is None else f"   λ = {self.lambdas[k]:.3f}"
        return f"t = {self.times[k]:.4g}{where}"


def density_series(
    transport: Transport, indices: np.ndarray | None = None
) -> DensitySeries:
    """The `DensitySeries` of a transport at the times with these `indices`, or at all
    times.

    **Raises** `ValueError` for values that are traced.
    """
    if not is_concrete(transport.times, transport.values):
        raise_value_error(
            "transport",
            "Transport",
            "its values are traced",
            "Plot outside of jit, vmap and grad.",
        )
    indices = np.arange(len(transport.times)) if indices is None else indices
    times = np.asarray(transport.times)[indices]
    values = np.asarray(transport.values)[indices]
    lambdas = np.asarray(transport.lambdas)[indices]
    gibbs, potential = gibbs_and_potential(transport.equation, transport.grid, times)
    return DensitySeries(transport.grid, times, lambdas, values, gibbs, potential)


def gibbs_and_potential(
    equation: Equation | None, grid: Grid, times: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The Gibbs density and the potential of an equation at every time, `(T, *shape)`;
    None where it has none.
    """
    if not isinstance(equation, FokkerPlanck) or equation.potential is None:
        return None, None
    # A static potential is sampled once and repeated.
    moments = jnp.asarray(times if equation.time_dependent else times[:1])
    reversible = equation.irreversible_because(grid) is None
    rows = [np.asarray(field) for field in _fields(equation, grid, moments, reversible)]
    potential, *gibbs = (
        np.broadcast_to(row, (len(times), *grid.shape)) for row in rows
    )
    return gibbs[0] if gibbs else None, potential


@eqx.filter_jit
def _fields(
    equation: FokkerPlanck, grid: Grid, times: Array, reversible: bool
) -> list[Array]:
    """The potential and, of a reversible equation, the Gibbs density, `(T, *shape)`
    each.
    """

    def potential(t: Array) -> Array:
        return grid.sample(lambda x: equation.energy(x, t))

    def gibbs(t: Array) -> Array:
        return jnp.exp(2 * equation.log_sqrt_pi(grid, t))

    return [
        jax.lax.map(field, times)
        for field in ((potential, gibbs) if reversible else (potential,))
    ]


def plot_transport(transport: Transport) -> Figure:
    """A matplotlib figure of a `Transport`.

    Left, over time: the gap (logarithmic) with the schedule; KL and TV to the Gibbs
    density of the time, and the bound on TV with its theorem (logarithmic). Right: the
    density and the Gibbs density at the start, the end and up to three times between;
    in two dimensions maps with lines of equal Gibbs density, in more the marginals
    along the first axis. **Raises** `ImportError` with the command to install
    matplotlib; `ValueError` for traced values.
    """
    plane = transport.grid.ndim == 2
    # Maps are large: one time fewer.
    drawn = density_series(
        transport, choose_times(len(transport.times), MOST_DENSITIES - plane)
    )
    figure = new_figure(11.0 if plane else 9.6, 5.4)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    left, right = figure.subfigures(1, 2, width_ratios=[1.0, 1.25 if plane else 1.0])
    # Left the numbers over time, right the densities.
    above, below = left.subplots(2, 1, sharex=True)
    _gap(above, transport)
    _lag(below, transport)
    (_maps if plane else _densities)(right, drawn)
    return figure


def _gap(panel: Axes, transport: Transport) -> None:
    """The gap over time on a logarithmic axis, and the schedule on a second axis."""
    times = np.asarray(transport.times)
    lambdas = np.asarray(transport.lambdas)
    if transport.gap is not None:
        panel.plot(
            times, np.asarray(transport.gap), color=BLUE, lw=1.8, marker=_dots(times)
        )
        panel.set_yscale("log")
        # at least a decade, so that a constant gap is a flat line
        low, high = panel.get_ylim()
        panel.set_ylim(min(low, high / 3), max(high, low * 3))
        plain_decades(panel)
    panel.set_ylabel("gap Δ (1 / time)", color=BLUE)
    panel.tick_params(axis="y", which="both", colors=BLUE)
    # The schedule has another unit: its axis is on the right.
    other = panel.twinx()
    other.plot(times, lambdas, color=ORANGE, lw=1.8, ls="--", marker=_dots(times))
    other.set_ylim(-0.04, 1.04)
    other.set_ylabel("schedule λ (dashed)", color=ORANGE)
    other.tick_params(axis="y", colors=ORANGE)
    for axes in (panel, other):
        axes.spines["top"].set_visible(False)


def plain_decades(panel: Axes) -> None:
    """Ticks 0.5, 1, 2 on a logarithmic axis over a short range; powers of ten over a
    long one.
    """
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    low, high = panel.get_ylim()
    if high < 300 * low and low > 1e-3:
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())


def _dots(times: np.ndarray) -> str:
    """The marker: a dot where there are few times."""
    return "." if len(times) <= MARKED_TIMES else ""


def _lag(panel: Axes, transport: Transport) -> None:
    """KL, TV and its bound, down to rounding. The bound is drawn up to 1, above which
    it is trivial.
    """
    times = np.asarray(transport.times)
    kl = np.asarray(transport.kl)
    tv = np.asarray(transport.tv)
    bound = np.minimum(np.asarray(transport.bound), 1.0)
    theorem = transport.bound_by.split(" (")[0]
    # A bound that is nowhere below 1 is only named in the legend.
    bounded = bool(np.any(bound < 1))
    rows = [(kl, "KL", ORANGE, "-"), (tv, "TV", BLUE, "-")]
    rows += [(bound, f"bound on TV ({theorem})", INK, (0, (5, 2)))] if bounded else []
    for row, label, colour, dashes in rows:
        shown = np.where(row > ROUNDING, row, np.nan)
        panel.plot(
            times,
            shown,
            label=label,
            color=colour,
            ls=dashes,
            lw=1.8,
            marker=_dots(times),
        )
    if not bounded:
        panel.plot([], [], " ", label="no bound below 1")
    drawn = np.concatenate([row[row > ROUNDING] for row, *_ in rows])
    # A lag crosses zero now and then: single dips would stretch the axis.
    lowest, highest = (
        (np.quantile(drawn, 0.02), np.max(drawn)) if drawn.size else (ROUNDING, 1.0)
    )
    panel.set(yscale="log", ylim=(lowest / 3, 3 * highest))
    panel.margins(x=0.02)
    plain_decades(panel)
    panel.set(xlabel="time t", ylabel="lag behind Gibbs")
    panel.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        frameon=False,
        ncols=3,
        fontsize="medium",
    )
    panel.grid(color="0.92")
    panel.spines[["top", "right"]].set_visible(False)


def _densities(figure: Figure, drawn: DensitySeries) -> None:
    """One panel a time, with a common coordinate and a height of its own."""
    grid = drawn.grid
    x = grid.axes[0].nodes
    panels = figure.subplots(len(drawn.times), 1, sharex=True, squeeze=False)[:, 0]
    for k, panel in enumerate(panels):
        panel.fill_between(
            x,
            marginal(grid, drawn.values[k], 0),
            color=BLUE,
            alpha=0.35,
            lw=0,
            label="density p",
        )
        if drawn.gibbs is not None:
            gibbs = marginal(grid, drawn.gibbs[k], 0)
            panel.plot(
                x, gibbs, color="black", lw=1.1, ls=(0, (4, 2)), label="Gibbs density"
            )
        panel.set_title(drawn.label(k), loc="left", fontsize="small", pad=2)
        panel.set_ylim(bottom=0)
        panel.locator_params(axis="y", nbins=2)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        frameon=False,
        ncols=2,
        fontsize="small",
    )
    panels[-1].set(xlabel=coordinate(0, grid.ndim), xlim=extent(drawn)[0])
    figure.supylabel(
        "density" if grid.ndim == 1 else "marginal density", fontsize="medium"
    )


def _maps(figure: Figure, drawn: DensitySeries) -> None:
    """One map a time, in one colour scale."""
    # Two rows; panels that are not needed are removed.
    columns = -(-len(drawn.times) // 2)
    panels = figure.subplots(
        -(-len(drawn.times) // columns),
        columns,
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    spare = panels.ravel().tolist()[len(drawn.times) :]
    limits = extent(drawn)
    top = float(np.max(drawn.values))
    cells = None
    for k, panel in enumerate(panels.ravel().tolist()[: len(drawn.times)]):
        cells = draw_cells(
            panel, drawn.grid, drawn.values[k], cmap="viridis", vmin=0.0, vmax=top
        )
        if drawn.gibbs is not None:
            draw_levels(panel, drawn.grid, drawn.gibbs[k])
        panel.set_title(drawn.label(k), fontsize="medium")
        panel.set(xlim=limits[0], ylim=limits[1])
        panel.locator_params(nbins=4)
    for panel in spare:
        panel.remove()
    for panel in panels[-1]:
        panel.set_xlabel(coordinate(0, 2))
    for panel in panels[:, 0]:
        panel.set_ylabel(coordinate(1, 2))
    text = "density p" if drawn.gibbs is None else "density p;  lines: Gibbs density"
    figure.colorbar(
        cells, ax=panels.ravel().tolist()[: len(drawn.times)], label=text, shrink=0.8
    )


def draw_cells(panel: Axes, grid: Grid, field: np.ndarray, **style: Any) -> Any:
    """A field over two axes as coloured cells, with equal scales unless the box is
    narrow.
    """
    edges = [axis.edges for axis in grid.axes]
    width, height = (axis.length for axis in grid.axes)
    panel.set_aspect("equal" if 1 / 3 < width / height < 3 else "auto")
    return panel.pcolormesh(
        edges[0], edges[1], field.T, shading="flat", rasterized=True, **style
    )


def draw_levels(panel: Axes, grid: Grid, density: np.ndarray) -> None:
    """Lines at a tenth, three and seven tenths of the largest density."""
    levels = np.asarray([0.1, 0.3, 0.7]) * float(np.max(density))
    nodes = [axis.nodes for axis in grid.axes]
    panel.contour(
        *nodes,
        density.T,
        levels=levels,
        colors="white",
        linewidths=0.8,
        linestyles="solid",
    )


def extent(drawn: DensitySeries, least: float = VISIBLE) -> list[tuple[float, float]]:
    """On each axis the part of the box where a density is above `least` of its peak,
    and a margin.
    """
    limits = []
    for i, axis in enumerate(drawn.grid.axes):
        fields = [drawn.values] if drawn.gibbs is None else [drawn.values, drawn.gibbs]
        # The marginals decide: a density may be thin at one point and wide along an
        # axis.
        lines = np.stack(
            [marginal(drawn.grid, field, i) for rows in fields for field in rows]
        )
        visible = np.any(lines > least * lines.max(axis=1, keepdims=True), axis=0)
        x = np.asarray(axis.nodes)[visible]
        margin = 0.06 * (x[-1] - x[0])
        limits.append((max(axis.lower, x[0] - margin), min(axis.upper, x[-1] + margin)))
    return limits

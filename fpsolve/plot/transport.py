"""The plot of a transport: the gap and the schedule, the lag and its bound, the density
and the Gibbs density.
"""

from typing import Any

import numpy as np

from ..anneal import Transport
from ..grid import Grid
from ..record.types import Axes, Figure
from .density_series import DensitySeries, density_series, extent
from .panels import choose_times, coordinate, marginal, new_figure

# distinct for colour-blind readers; in grey the dashes differ
BLUE = "#0072B2"
ORANGE = "#D55E00"
INK = "0.25"
# A density is a filled area, and the Gibbs density a dashed line over it.
FILLED = {"color": BLUE, "alpha": 0.35, "lw": 0}
DASHED = {"color": "black", "ls": (0, (4, 2))}
MOST_DENSITIES = 5
MARKED_TIMES = 12  # up to this many times each is marked by a dot
ROUNDING = 1e-16  # a lag below this is rounding, and is not drawn


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
    chosen = choose_times(len(transport.times), MOST_DENSITIES - plane)
    drawn = density_series(transport, chosen)
    figure = new_figure(11.0 if plane else 9.6, 5.4)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    left, right = figure.subfigures(1, 2, width_ratios=[1.0, 1.25 if plane else 1.0])
    # Left the numbers over time, right the densities.
    above, below = left.subplots(2, 1, sharex=True)
    _gap(above, transport)
    _lag(below, transport)
    draw = _maps if plane else _densities
    draw(right, drawn)
    return figure


def _gap(panel: Axes, transport: Transport) -> None:
    """The gap over time on a logarithmic axis, and the schedule on a second axis."""
    times = np.asarray(transport.times)
    lambdas = np.asarray(transport.lambdas)
    if transport.gap is not None:
        gap = np.asarray(transport.gap)
        panel.plot(
            times,
            gap,
            color=BLUE,
            lw=1.8,
            marker=_dots(times),
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
    other.plot(
        times,
        lambdas,
        color=ORANGE,
        lw=1.8,
        ls="--",
        marker=_dots(times),
    )
    other.set_ylim(-0.04, 1.04)  # λ goes from 0 to 1
    other.set_ylabel("schedule λ (dashed)", color=ORANGE)
    other.tick_params(axis="y", colors=ORANGE)
    for axes in (panel, other):
        axes.spines["top"].set_visible(False)


def plain_decades(panel: Axes) -> None:
    """Ticks 0.5, 1, 2 on a short logarithmic axis, powers of ten on a long one."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    low, high = panel.get_ylim()
    # A short range may hold no power of ten at all.
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
    rows: list[tuple[np.ndarray, str, str, Any]] = [
        (kl, "KL", ORANGE, "-"),
        (tv, "TV", BLUE, "-"),
    ]
    if bounded:
        rows.append((bound, f"bound on TV ({theorem})", INK, (0, (5, 2))))
    marker = _dots(times)
    for row, label, colour, dashes in rows:
        # NaN leaves a gap in the line, which a logarithmic axis needs at zero.
        shown = np.where(row > ROUNDING, row, np.nan)
        panel.plot(
            times,
            shown,
            label=label,
            color=colour,
            ls=dashes,
            lw=1.8,
            marker=marker,
        )
    if not bounded:
        panel.plot([], [], " ", label="no bound below 1")
    drawn = np.concatenate([row[row > ROUNDING] for row, *_ in rows])
    # A lag crosses zero now and then: single dips would stretch the axis.
    lowest = np.quantile(drawn, 0.02) if drawn.size else ROUNDING
    highest = np.max(drawn) if drawn.size else 1.0
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
    panels = figure.subplots(
        len(drawn.times),
        1,
        sharex=True,
        squeeze=False,
    )[:, 0]
    for k, panel in enumerate(panels):
        density = marginal(grid, drawn.values[k], 0)
        panel.fill_between(
            x,
            density,
            **FILLED,
            label="density p",
        )
        if drawn.gibbs is not None:
            gibbs = marginal(grid, drawn.gibbs[k], 0)
            panel.plot(
                x,
                gibbs,
                **DASHED,
                lw=1.1,
                label="Gibbs density",
            )
        panel.set_title(
            drawn.label(k),
            loc="left",
            fontsize="small",
            pad=2,
        )
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
    # One label for all panels, whose heights differ.
    label = "density" if grid.ndim == 1 else "marginal density"
    figure.supylabel(label, fontsize="medium")


def _maps(figure: Figure, drawn: DensitySeries) -> None:
    """One map a time, in one colour scale."""
    # Two rows; panels that are not needed are removed.
    count = len(drawn.times)
    columns = -(-count // 2)
    rows = -(-count // columns)
    panels = figure.subplots(
        rows,
        columns,
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    in_order = panels.ravel().tolist()
    used = in_order[:count]
    limits = extent(drawn)
    top = float(np.max(drawn.values))  # one scale for all maps
    cells = None
    for k, panel in enumerate(used):
        cells = draw_cells(
            panel,
            drawn.grid,
            drawn.values[k],
            cmap="viridis",
            vmin=0.0,
            vmax=top,
        )
        if drawn.gibbs is not None:
            draw_levels(panel, drawn.grid, drawn.gibbs[k])
        panel.set_title(drawn.label(k), fontsize="medium")
        panel.set(xlim=limits[0], ylim=limits[1])
        panel.locator_params(nbins=4)
    for spare in in_order[count:]:
        spare.remove()
    # Axes are shared: labels stand at the left and below.
    for panel in panels[-1]:
        panel.set_xlabel(coordinate(0, 2))
    for panel in panels[:, 0]:
        panel.set_ylabel(coordinate(1, 2))
    text = "density p" if drawn.gibbs is None else "density p;  lines: Gibbs density"
    figure.colorbar(
        cells,
        ax=used,
        label=text,
        shrink=0.8,
    )


def draw_cells(panel: Axes, grid: Grid, field: np.ndarray, **style: Any) -> Any:
    """A field over two axes as coloured cells, with equal scales unless the box is
    narrow.
    """
    edges = [axis.edges for axis in grid.axes]
    width, height = (axis.length for axis in grid.axes)
    panel.set_aspect("equal" if 1 / 3 < width / height < 3 else "auto")
    # As pixels also in a vector file, which thousands of cells would make large.
    return panel.pcolormesh(
        *edges,
        field.T,
        shading="flat",
        rasterized=True,
        **style,
    )


def draw_levels(panel: Axes, grid: Grid, density: np.ndarray) -> None:
    """Lines at a tenth, three and seven tenths of the largest density."""
    levels = np.asarray([0.1, 0.3, 0.7]) * float(np.max(density))
    nodes = [axis.nodes for axis in grid.axes]
    # Solid, since lines of a negative level would be dashed.
    panel.contour(
        *nodes,
        density.T,
        levels=levels,
        colors="white",
        linewidths=0.8,
        linestyles="solid",
    )

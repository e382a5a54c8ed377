"""The picture of a transport: the gap and the schedule, the lag and its bound, the density and the Gibbs density."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..anneal import Transport
from ..core.checks import is_concrete, raise_value_error
from ..equation import FokkerPlanck
from ..grid import Grid
from .panels import choose_times, coordinate, marginal, new_figure

BLUE, ORANGE, INK = "#0072B2", "#D55E00", "0.25"  # apart for every eye, and in print by their dashes
MOST_DENSITIES = 5
FEW = 12  # times, which are marked one by one
ROUNDING = 1e-16  # below which a lag is none


@dataclasses.dataclass(frozen=True)
class Course:
    """A density in time beside the Gibbs density of the same time, in numpy.

    `times` `(T,)`, `lambdas` `(T,)` or None, `values`, `gibbs` and `potential` `(T, *shape)`, the last two or None.
    """

    grid: Grid
    times: np.ndarray
    lambdas: np.ndarray | None
    values: np.ndarray
    gibbs: np.ndarray | None
    potential: np.ndarray | None

    def label(self, k: int) -> str:
        """When and where the k-th density is."""
        where = "" if self.lambdas is None else f"   λ = {self.lambdas[k]:.3f}"
        return f"t = {self.times[k]:.4g}{where}"


def course(transport: Transport, indices: np.ndarray | None = None) -> Course:
    """The `Course` of a transport at the times with these `indices`, or at all.

    **Raises** `ValueError` for values that are traced.
    """
    if not is_concrete(transport.times, transport.values):
        raise_value_error("transport", "Transport", "its values are traced", "Plot outside of jit, vmap and grad.")
    indices = np.arange(len(transport.times)) if indices is None else indices
    times, values = np.asarray(transport.times)[indices], np.asarray(transport.values)[indices]
    process = transport.equation
    gibbs, potential = frames(process, transport.grid, times)
    return Course(transport.grid, times, np.asarray(transport.lambdas)[indices], values, gibbs, potential)


def frames(process: Any, grid: Grid, times: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The Gibbs density and the potential of a process at every time, `(T, *shape)`; None where it has none."""
    if not isinstance(process, FokkerPlanck) or process.potential is None:
        return None, None
    moments = jnp.asarray(times if process.time_dependent else times[:1])
    reversible = process.irreversible_because(grid) is None
    rows = [np.asarray(field) for field in _fields(process, grid, moments, reversible)]
    potential, *gibbs = (np.broadcast_to(row, (len(times), *grid.shape)) for row in rows)
    return gibbs[0] if gibbs else None, potential


@eqx.filter_jit
def _fields(process: FokkerPlanck, grid: Grid, times: Array, reversible: bool) -> list[Array]:
    """The potential and, of a reversible process, the Gibbs density, `(T, *shape)` each."""
    asked = [lambda t: grid.sample(lambda x: process.energy(x, t))]
    asked += [lambda t: jnp.exp(2 * process.log_sqrt_pi(grid, t))] if reversible else []
    return [jax.lax.map(field, times) for field in asked]


def plot_transport(transport: Transport) -> Any:
    """A matplotlib figure of a `Transport`.

    Left, over time: the gap (logarithmic) with the schedule; KL and TV to the Gibbs density of the time, and the bound
    on TV with its theorem (logarithmic). Right: the density and the Gibbs density at the start, the end and up to
    three times between; in two dimensions maps with lines of equal Gibbs density, in more the marginals along the
    first axis. **Raises** `ImportError` with the command to install matplotlib; `ValueError` for traced values.
    """
    plane = transport.grid.ndim == 2
    drawn = course(transport, choose_times(len(transport.times), MOST_DENSITIES - plane))
    figure = new_figure(11.0 if plane else 9.6, 5.4)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    left, right = figure.subfigures(1, 2, width_ratios=[1.0, 1.25 if plane else 1.0])
    above, below = left.subplots(2, 1, sharex=True)
    _gap(above, transport)
    _lag(below, transport)
    (_maps if plane else _densities)(right, drawn)
    return figure


def _gap(panel: Any, transport: Transport) -> None:
    times, lambdas = np.asarray(transport.times), np.asarray(transport.lambdas)
    if transport.gap is not None:
        panel.plot(times, np.asarray(transport.gap), color=BLUE, lw=1.8, marker=_dots(times))
        panel.set_yscale("log")
        low, high = panel.get_ylim()
        panel.set_ylim(min(low, high / 3), max(high, low * 3))
        plain_decades(panel)
    panel.set_ylabel("gap Δ (1 / time)", color=BLUE)
    panel.tick_params(axis="y", which="both", colors=BLUE)
    other = panel.twinx()
    other.plot(times, lambdas, color=ORANGE, lw=1.8, ls="--", marker=_dots(times))
    other.set_ylim(-0.04, 1.04)
    other.set_ylabel("schedule λ (dashed)", color=ORANGE)
    other.tick_params(axis="y", colors=ORANGE)
    for axes in (panel, other):
        axes.spines["top"].set_visible(False)


def plain_decades(panel: Any) -> None:
    """Ticks 0.5, 1, 2 on a logarithmic axis that spans little; powers of ten on one that spans much."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    low, high = panel.get_ylim()
    if high < 300 * low and low > 1e-3:
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())


def _dots(times: np.ndarray) -> str:
    """A dot for each time where these are few."""
    return "." if len(times) <= FEW else ""


def _lag(panel: Any, transport: Transport) -> None:
    """KL, TV and its bound, which says nothing above 1, down to rounding."""
    times = np.asarray(transport.times)
    kl, tv = np.asarray(transport.kl), np.asarray(transport.tv)
    bound = np.minimum(np.asarray(transport.bound), 1.0)
    theorem = transport.bound_by.split(" (")[0]
    bounded = bool(np.any(bound < 1))
    rows = [(kl, "KL", ORANGE, "-"), (tv, "TV", BLUE, "-")]
    rows += [(bound, f"bound on TV ({theorem})", INK, (0, (5, 2)))] if bounded else []
    for row, label, colour, dashes in rows:
        shown = np.where(row > ROUNDING, row, np.nan)
        panel.plot(times, shown, label=label, color=colour, ls=dashes, lw=1.8, marker=_dots(times))
    if not bounded:
        panel.plot([], [], " ", label="no bound below 1")
    seen = np.concatenate([row[row > ROUNDING] for row, *_ in rows])
    lowest, highest = (np.quantile(seen, 0.02), np.max(seen)) if seen.size else (ROUNDING, 1.0)
    panel.set(yscale="log", ylim=(lowest / 3, 3 * highest))
    panel.margins(x=0.02)
    plain_decades(panel)
    panel.set(xlabel="time t", ylabel="lag behind Gibbs")
    panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, ncols=3, fontsize="medium")
    panel.grid(color="0.92")
    panel.spines[["top", "right"]].set_visible(False)


def _densities(figure: Any, drawn: Course) -> None:
    """One panel a time; the coordinate is shared, the height is not."""
    grid = drawn.grid
    x, line = grid.axes[0].nodes, lambda field: marginal(grid, field, 0)
    panels = figure.subplots(len(drawn.times), 1, sharex=True, squeeze=False)[:, 0]
    for k, panel in enumerate(panels):
        panel.fill_between(x, line(drawn.values[k]), color=BLUE, alpha=0.35, lw=0, label="density p")
        if drawn.gibbs is not None:
            panel.plot(x, line(drawn.gibbs[k]), color="black", lw=1.1, ls=(0, (4, 2)), label="Gibbs density")
        panel.set_title(drawn.label(k), loc="left", fontsize="small", pad=2)
        panel.set_ylim(bottom=0)
        panel.locator_params(axis="y", nbins=2)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False, ncols=2, fontsize="small")
    panels[-1].set(xlabel=coordinate(0, grid.ndim), xlim=extent(drawn)[0])
    figure.supylabel("density" if grid.ndim == 1 else "marginal density", fontsize="medium")


def _maps(figure: Any, drawn: Course) -> None:
    columns = -(-len(drawn.times) // 2)
    panels = figure.subplots(-(-len(drawn.times) // columns), columns, squeeze=False, sharex=True, sharey=True)
    spare = panels.ravel().tolist()[len(drawn.times) :]
    limits, top, cells = extent(drawn), float(np.max(drawn.values)), None
    for k, panel in enumerate(panels.ravel().tolist()[: len(drawn.times)]):
        cells = draw_cells(panel, drawn.grid, drawn.values[k], cmap="viridis", vmin=0.0, vmax=top)
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
    words = "density p" if drawn.gibbs is None else "density p;  lines: Gibbs density"
    figure.colorbar(cells, ax=panels.ravel().tolist()[: len(drawn.times)], label=words, shrink=0.8)


def draw_cells(panel: Any, grid: Grid, field: np.ndarray, **style: Any) -> Any:
    """A field over two axes as coloured cells, in their true proportions where these allow."""
    edges, (width, height) = [axis.edges for axis in grid.axes], (axis.length for axis in grid.axes)
    panel.set_aspect("equal" if 1 / 3 < width / height < 3 else "auto")
    return panel.pcolormesh(edges[0], edges[1], field.T, shading="flat", rasterized=True, **style)


def draw_levels(panel: Any, grid: Grid, density: np.ndarray) -> None:
    """Lines at a tenth, three and seven tenths of the largest density."""
    levels = np.asarray([0.1, 0.3, 0.7]) * float(np.max(density))
    nodes = [axis.nodes for axis in grid.axes]
    panel.contour(*nodes, density.T, levels=levels, colors="white", linewidths=0.8, linestyles="solid")


def extent(drawn: Course, least: float = 1e-3) -> list[tuple[float, float]]:
    """On each axis the part of the box where some density is above `least` of its peak, and a little more."""
    limits = []
    for i, axis in enumerate(drawn.grid.axes):
        fields = [drawn.values] if drawn.gibbs is None else [drawn.values, drawn.gibbs]
        lines = np.stack([marginal(drawn.grid, field, i) for rows in fields for field in rows])
        seen = np.any(lines > least * lines.max(axis=1, keepdims=True), axis=0)
        x = np.asarray(axis.nodes)[seen]
        margin = 0.06 * (x[-1] - x[0])
        limits.append((max(axis.lower, x[0] - margin), min(axis.upper, x[-1] + margin)))
    return limits

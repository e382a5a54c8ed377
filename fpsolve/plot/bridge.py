"""The plot of a bridge: its density at several times, and its drift."""

import numpy as np

from ..io.reading import AnyResult, describe
from ..record import Record
from ..record.types import Figure
from .panels import (
    MOST_LINES,
    MOST_MAPS,
    VISIBLE,
    WIDTH,
    choose_times,
    colours,
    coordinate,
    draw_map,
    grid_of_panels,
    label_time,
    new_figure,
)
from .solution import plot_solution

ARROWS = 14  # along each axis of a map


def plot_bridge(bridge: AnyResult) -> Figure:
    """A matplotlib figure of a `Bridge` or its `Record`.

    One dimension: the densities at up to eight times, and below them the drift where
    they are visible. Two: up to four maps with arrows of the drift. More: the marginal
    densities along each axis.
    **Raises** `ImportError` with the command to install matplotlib.

    ```python
    import fpsolve as fp
    from fpsolve.plot import plot_bridge

    grid = fp.Grid(fp.Line(-5.0, 5.0, 64))
    ends = fp.Gaussian(-1.0, 0.3), fp.Gaussian(1.0, 0.3)
    figure = plot_bridge(fp.bridge(fp.FokkerPlanck(None, 0.5), *ends, 1.0, grid=grid))
    ```
    """
    record = describe(bridge)
    if record.grid.ndim > 2:
        return plot_solution(record)
    draw = _lines if record.grid.ndim == 1 else _maps
    return draw(record)


def _lines(record: Record) -> Figure:
    """One line a time, the drift in a panel below."""
    indices = choose_times(len(record.values), MOST_LINES)
    x = record.grid.axes[0].nodes
    figure = new_figure(WIDTH, 5.0)
    above, below = figure.subplots(2, 1, sharex=True)
    for k, colour in zip(indices, colours(len(indices)), strict=True):
        density = record.values[k]
        label = label_time(record.times[k])
        above.plot(
            x,
            density,
            color=colour,
            lw=1.8,
            label=label,
        )
        # Where there is no density the drift is large, and hides the rest.
        visible = density > VISIBLE * density.max()
        below.plot(
            x[visible],
            record["drift"][k, visible, 0],
            color=colour,
            lw=1.4,
        )
    above.set_ylabel("density p")
    above.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    below.set_ylabel("drift")
    below.set_xlabel(coordinate(0, 1))
    below.set_xlim(record.grid.axes[0].lower, record.grid.axes[0].upper)
    return figure


def _maps(record: Record) -> Figure:
    """One map a time, with arrows."""
    indices = choose_times(len(record.values), MOST_MAPS)
    figure, panels = grid_of_panels(len(indices))
    grid = record.grid
    # Each arrow stands in the middle of the nodes that it represents.
    strides = [max(1, n // ARROWS) for n in grid.shape]
    places = tuple(slice(stride // 2, None, stride) for stride in strides)
    nodes = [axis.nodes[p] for axis, p in zip(grid.axes, places, strict=True)]
    for panel, k in zip(panels, indices, strict=True):
        density = record.values[k]
        draw_map(figure, panel, grid, density, "density p", cmap="viridis")
        # NaN draws no arrow.
        visible = density[..., None] > VISIBLE * density.max()
        arrows = np.where(visible, record["drift"][k], np.nan)[places]
        components = (arrows[..., 0].T, arrows[..., 1].T)
        panel.quiver(
            *nodes,
            *components,
            color="white",
            alpha=0.7,
        )
        panel.set_title(label_time(record.times[k]))
    return figure

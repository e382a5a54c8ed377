"""The plot of a solution: densities at several times, and their potential."""

import numpy as np

from ..io.reading import AnyResult, describe
from ..record import Record
from ..record.types import Figure
from .panels import (
    MOST_LINES,
    MOST_MAPS,
    WIDTH,
    choose_times,
    colours,
    coordinate,
    draw_contours,
    draw_map,
    draw_potential,
    grid_of_panels,
    label_time,
    marginal,
    new_figure,
)


def plot_solution(solution: AnyResult) -> Figure:
    """A matplotlib figure of a `Solution` or its `Record`.

    One dimension: the densities at up to eight times over the potential. Two: up to
    four maps with lines of equal potential. More: the marginal densities along each
    axis. A complex wave is drawn as |psi|^2.
    **Raises** `ImportError` with the command to install matplotlib.

    ```python
    import fpsolve as fp
    from fpsolve.plot import plot_solution

    grid = fp.Grid(fp.Line(-3.0, 3.0, 32))
    figure = plot_solution(
        fp.evolve(
            fp.FokkerPlanck(fp.Harmonic()), fp.Gaussian(0.5, 0.5), [0.5], grid=grid
        )
    )
    ```
    """
    record = describe(solution)
    evolves_density = record.header["process"]
    fields = record.values
    symbol = "p" if evolves_density else "ψ"
    if np.iscomplexobj(fields):
        fields = np.abs(fields) ** 2
        symbol = "|ψ|²"
    # |psi|² is a density too, that of quantum mechanics.
    name = "density" if evolves_density or symbol == "|ψ|²" else "wave"
    # Three and more dimensions cannot be drawn: their marginals can.
    draw = {1: _lines, 2: _maps}.get(record.grid.ndim, _marginals)
    return draw(record, fields, f"{name} {symbol}")


def _lines(record: Record, fields: np.ndarray, label: str) -> Figure:
    """One line a time, with the potential in a panel below."""
    indices = choose_times(len(fields), MOST_LINES)
    x = record.grid.axes[0].nodes
    # A wave of a Schrödinger equation, or a process with a force only, may have no
    # potential.
    below = "potential" in record.arrays
    figure = new_figure(WIDTH, 4.6 if below else 3.6)
    heights = [3, 1] if below else [3]
    panels = figure.subplots(
        len(heights), 1, sharex=True, height_ratios=heights, squeeze=False
    )[:, 0]
    for k, colour in zip(indices, colours(len(indices)), strict=True):
        name = label_time(record.times[k])
        panels[0].plot(
            x,
            fields[k],
            color=colour,
            lw=1.8,
            label=name,
        )
    # Beside the panel: up to eight lines leave no room within it.
    panels[0].set_ylabel(label)
    panels[0].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    if below:
        draw_potential(panels[1], record, indices, fields)
    panels[-1].set_xlabel(coordinate(0, 1))
    panels[-1].set_xlim(record.grid.axes[0].lower, record.grid.axes[0].upper)
    return figure


def _maps(record: Record, fields: np.ndarray, label: str) -> Figure:
    """One map a time, with lines of equal potential."""
    indices = choose_times(len(fields), MOST_MAPS)
    figure, panels = grid_of_panels(len(indices))
    for panel, k in zip(panels, indices, strict=True):
        draw_map(figure, panel, record.grid, fields[k], label, cmap="viridis")
        panel.set_title(label_time(record.times[k]))
        if "potential" in record.arrays:
            potential = record["potential"]
            # One potential for all times, or one a time if it depends on time.
            at_time = potential if potential.ndim == 2 else potential[k]
            draw_contours(panel, record.grid, at_time, fields)
    return figure


def _marginals(record: Record, fields: np.ndarray, label: str) -> Figure:
    """One panel an axis, one line a time."""
    indices = choose_times(len(fields), MOST_LINES)
    grid = record.grid
    figure, panels = grid_of_panels(grid.ndim, 3.8, 2.9)
    for i, panel in enumerate(panels):
        x = grid.axes[i].nodes
        for k, colour in zip(indices, colours(len(indices)), strict=True):
            density = marginal(grid, fields[k], i)
            panel.plot(
                x,
                density,
                color=colour,
                label=label_time(record.times[k]),
            )
        panel.set_xlabel(coordinate(i, grid.ndim))
        panel.set_ylabel(f"marginal {label}")
        panel.set_xlim(grid.axes[i].lower, grid.axes[i].upper)
    handles, labels = panels[0].get_legend_handles_labels()
    # All panels have the same times: one legend below them.
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=4,
        frameon=False,
    )
    return figure

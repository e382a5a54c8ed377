"""The picture of the correspondence: p and sqrt(pi) psi on top of each other, and what is left between them."""

from typing import Any

import numpy as np

from .panels import (
    MOST_LINES,
    WIDTH,
    choose_times,
    colours,
    coordinate,
    draw_contours,
    draw_map,
    label_time,
    marginal,
    new_figure,
)
from .record import Record, describe

TITLE = "largest relative difference of p and √π ψ: {:.1e}"


def plot_correspondence(correspondence: Any) -> Any:
    """A matplotlib figure of a `Correspondence` or its `Record`.

    One dimension: p and sqrt(pi) psi at up to eight times, their difference below on a logarithmic scale. Two: maps of
    both and of the difference at the last time. More: the marginals along the first axis.
    **Raises** `ImportError` with the command to install matplotlib.

    ```python
    import fpsolve as fp
    from fpsolve.report import plot_correspondence

    grid = fp.Grid(fp.Line(-2.5, 2.5, 48))
    equation = fp.FokkerPlanck(fp.DoubleWell(2.0))
    figure = plot_correspondence(fp.correspondence(equation, fp.Gaussian(-1.0, 0.05), [0.1, 1.0], grid=grid))
    ```
    """
    record = describe(correspondence)
    figure = (_maps if record.grid.ndim == 2 else _lines)(record, record["density"], record["root"] * record["wave"])
    figure.suptitle(TITLE.format(np.max(record["difference"])), fontsize="medium")
    return figure


def _apart(density: np.ndarray, image: np.ndarray) -> np.ndarray:
    """|p - sqrt(pi) psi| with a floor far below rounding, so that it has a logarithm where both agree to the bit."""
    return np.maximum(np.abs(density - image), 1e-3 * np.finfo(density.dtype).eps * np.max(np.abs(density)))


def _lines(record: Record, density: np.ndarray, image: np.ndarray) -> Any:
    grid, indices = record.grid, choose_times(len(density), MOST_LINES)
    x, several = grid.axes[0].nodes, grid.ndim > 1
    figure = new_figure(WIDTH, 5.0)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1.2])
    line = None
    for k, colour in zip(indices, colours(len(indices)), strict=True):
        p, twin = (marginal(grid, field[k], 0) for field in (density, image))
        above.plot(x, p, color=colour, lw=3.0, alpha=0.75, label=f"p, {label_time(record.times[k])}")
        (line,) = above.plot(x, twin, color="black", lw=1.0, ls=(0, (4, 3)))
        below.semilogy(x, _apart(p, twin), color=colour, lw=1.2)
    if line is not None:
        line.set_label("√π ψ, each time")
    above.set_ylabel("marginal density" if several else "density")
    above.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    below.set_ylabel("|p − √π ψ|")
    below.set_xlabel(coordinate(0, grid.ndim))
    below.set_xlim(grid.axes[0].lower, grid.axes[0].upper)
    return figure


def _maps(record: Record, density: np.ndarray, image: np.ndarray) -> Any:
    figure = new_figure(12.0, 3.6)
    panels = figure.subplots(1, 3)
    potential = record.arrays.get("potential")
    for panel, field, label in zip(panels, (density, image), ("p", "√π ψ"), strict=False):
        draw_map(figure, panel, record.grid, field[-1], label, cmap="viridis")
        if potential is not None:
            draw_contours(panel, record.grid, potential if potential.ndim == 2 else potential[-1], density)
        panel.set_title(f"{label}, {label_time(record.times[-1])}")
    apart = np.log10(_apart(density[-1], image[-1]))
    draw_map(figure, panels[2], record.grid, apart, "log₁₀ |p − √π ψ|", cmap="magma")
    panels[2].set_title("difference")
    return figure

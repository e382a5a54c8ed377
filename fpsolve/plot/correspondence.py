"""The plot of the correspondence: p and sqrt(pi) psi in one panel, and their
difference.
"""

import numpy as np

from ..io.reading import AnyResult, describe
from ..record import Record
from ..record.types import Figure
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

TITLE = "largest relative difference of p and √π ψ: {:.1e}"
FLOOR = 1e-3  # of one rounding: smaller differences are drawn as this


def plot_correspondence(correspondence: AnyResult) -> Figure:
    """A matplotlib figure of a `Correspondence` or its `Record`.

    One dimension: p (filled) and sqrt(pi) psi (dashed) at up to eight times; below,
    their difference on a logarithmic scale beside one rounding of the largest density.
    Two: maps of both and of the difference at the last time. More: the marginals along
    the first axis.
    **Raises** `ImportError` with the command to install matplotlib.

    ```python
    import fpsolve as fp
    from fpsolve.plot import plot_correspondence

    grid = fp.Grid(fp.Line(-2.5, 2.5, 48))
    equation = fp.FokkerPlanck(fp.DoubleWell(2.0))
    figure = plot_correspondence(
        fp.correspondence(equation, fp.Gaussian(-1.0, 0.05), [0.1, 1.0], grid=grid)
    )
    ```
    """
    record = describe(correspondence)
    draw = _maps if record.grid.ndim == 2 else _lines
    figure = draw(record, record["density"], record["root"] * record["wave"])
    figure.suptitle(TITLE.format(np.max(record["difference"])), fontsize="medium")
    return figure


def _difference(density: np.ndarray, image: np.ndarray) -> np.ndarray:
    """|p - sqrt(pi) psi|, at least far below rounding: where both agree to the bit
    there would be no logarithm.
    """
    floor = FLOOR * _rounding(density, density.dtype)
    return np.maximum(np.abs(density - image), floor)


def _rounding(density: np.ndarray, dtype: np.dtype) -> float:
    """One rounding of the largest density in the precision of the run."""
    return float(np.finfo(dtype).eps * np.max(np.abs(density)))


def _lines(record: Record, density: np.ndarray, image: np.ndarray) -> Figure:
    """Both densities over the first coordinate, and their difference below."""
    grid = record.grid
    indices = choose_times(len(density), MOST_LINES)
    x = grid.axes[0].nodes
    shades = colours(len(indices))
    p = np.stack([marginal(grid, density[k], 0) for k in indices])
    from_wave = np.stack([marginal(grid, image[k], 0) for k in indices])
    figure = new_figure(WIDTH, 4.6)
    above, below = figure.subplots(
        2,
        1,
        sharex=True,
        height_ratios=[2, 1],
    )
    # p is filled and wide, sqrt(pi) psi a thin dashed line on top: both can be seen
    # where they agree.
    for k, index in enumerate(indices):
        label = f"p, {label_time(record.times[index])}"
        above.fill_between(
            x,
            p[k],
            color=shades[k],
            alpha=0.25,
            lw=0,
        )
        above.plot(
            x,
            p[k],
            color=shades[k],
            alpha=0.6,
            lw=2.6,
            label=label,
        )
    for k, shade in enumerate(shades):
        # All dashed lines look alike: one entry in the legend.
        label = "√π ψ, each time" if k == 0 else None
        above.plot(
            x,
            from_wave[k],
            color="black",
            lw=1.1,
            ls=(0, (4, 3)),
            label=label,
        )
        # Dots, since the difference jumps between zero and one rounding.
        difference = np.abs(p[k] - from_wave[k])
        below.plot(
            x,
            difference,
            color=shade,
            ls="none",
            marker="o",
            ms=2.2,
            mew=0,
        )
    rounding = _rounding(p, density.dtype)
    # The axis ends at the differences, and shows one rounding in any case.
    top = 10 * max(float(np.max(np.abs(p - from_wave))), rounding)
    below.axhline(
        rounding,
        color="0.6",
        lw=0.8,
        zorder=0,
    )
    below.annotate(
        "rounding",
        (1.01, rounding),
        xycoords=("axes fraction", "data"),
        color="0.4",
        va="center",
    )
    below.set(
        yscale="log",
        ylim=(FLOOR * rounding, top),
        xlabel=coordinate(0, grid.ndim),
        ylabel="|p − √π ψ|",
    )
    above.set(ylabel="density" if grid.ndim == 1 else "marginal density")
    above.set(xlim=(grid.axes[0].lower, grid.axes[0].upper))
    # A density starts at zero; one with small negative values shows these.
    above.set_ylim(bottom=min(0.0, float(np.min(p))))
    above.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    for panel in (above, below):
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def _maps(record: Record, density: np.ndarray, image: np.ndarray) -> Figure:
    """Maps of both densities and of their difference, at the last time."""
    figure = new_figure(12.0, 3.6)
    panels = figure.subplots(1, 3)
    potential = record.arrays.get("potential")
    sides = ((density, "p"), (image, "√π ψ"))
    # The third panel is that of the difference.
    for panel, (field, label) in zip(panels, sides, strict=False):
        draw_map(figure, panel, record.grid, field[-1], label, cmap="viridis")
        if potential is not None:
            at_end = potential if potential.ndim == 2 else potential[-1]
            draw_contours(panel, record.grid, at_end, density)
        panel.set_title(f"{label}, {label_time(record.times[-1])}")
    difference = np.log10(_difference(density[-1], image[-1]))
    label = "log₁₀ |p − √π ψ|"
    draw_map(figure, panels[2], record.grid, difference, label, cmap="magma")
    panels[2].set_title("difference")
    return figure

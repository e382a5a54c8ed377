"""The plot of a spectrum: the levels with their errors, and the modes."""

import numpy as np

from ..io.reading import AnyResult, describe
from ..record import Record
from ..record.types import Axes, Figure
from .panels import (
    MOST_LINES,
    MOST_MAPS,
    choose_times,
    colours,
    coordinate,
    draw_contours,
    draw_map,
    marginal,
    new_figure,
)


def plot_spectrum(spectrum: AnyResult) -> Figure:
    """A matplotlib figure of a `Spectrum` or its `Record`.

    Beside the levels: in one dimension the modes, in two up to four of them as maps, in
    more the marginals of psi^2 along the first axis. Complex rates are drawn in the
    complex plane, with the real parts of their modes. **Raises** `ImportError` with the
    command to install matplotlib.

    ```python
    import fpsolve as fp
    from fpsolve.plot import plot_spectrum

    figure = plot_spectrum(
        fp.spectrum(
            fp.FokkerPlanck(fp.DoubleWell(3.0)), fp.Grid(fp.Line(-2.5, 2.5, 48)), 4
        )
    )
    ```
    """
    record = describe(spectrum)
    if record.grid.ndim == 2:
        return _maps(record)
    figure = new_figure(8.0, 3.4)
    levels, modes = figure.subplots(1, 2, width_ratios=[1, 1.4])
    _levels(levels, record)
    grid = record.grid
    x = grid.axes[0].nodes
    # Modes of a process with a current are complex; their real parts show where they
    # live.
    shown = np.real(record["vectors"][:MOST_LINES])
    for k, (mode, colour) in enumerate(zip(shown, colours(len(shown)), strict=True)):
        # The integral of a mode over an axis may vanish, that of its square does not.
        row = mode if grid.ndim == 1 else marginal(grid, mode**2, 0)
        modes.plot(
            x,
            row,
            color=colour,
            lw=1.6,
            label=f"k = {k}",
        )
    modes.set_xlabel(coordinate(0, grid.ndim))
    modes.set_ylabel("mode ψₖ" if grid.ndim == 1 else "marginal of ψₖ²")
    modes.set_xlim(grid.axes[0].lower, grid.axes[0].upper)
    modes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure


def _levels(panel: Axes, record: Record) -> None:
    """Real levels over their number, complex rates in the plane."""
    values = record.values
    if np.iscomplexobj(values):
        panel.plot(
            np.real(values),
            np.imag(values),
            "o",
            ms=5,
            color="C0",
        )
        panel.set_xlabel("Re λₖ, rate (1 / time)")
        panel.set_ylabel("Im λₖ, frequency (1 / time)")
        panel.grid(color="0.9")
        if len(values) > 1:
            panel.set_title(f"gap Re λ₁ = {np.real(values[1]):.6g}", fontsize="medium")
        return
    panel.errorbar(
        np.arange(len(values)),
        values,
        yerr=record["errors"],
        fmt="o",
        ms=5,
        capsize=2,
        color="C0",
    )
    # At most ten ticks, at integers.
    panel.set_xticks(choose_times(len(values), 10))
    panel.set_xlabel("k")
    panel.set_ylabel("level Eₖ (1 / time)")
    panel.grid(axis="y", color="0.9")
    if len(values) > 1:
        panel.set_title(f"gap E₁ − E₀ = {values[1] - values[0]:.6g}", fontsize="medium")


def _maps(record: Record) -> Figure:
    """The levels, and up to four modes as maps."""
    shown = np.real(record["vectors"][:MOST_MAPS])
    # The levels on the left, the modes in two rows on the right.
    columns = -(-len(shown) // 2)
    rows = min(2, len(shown))
    figure = new_figure(3.2 + 3.0 * columns, 2.9 * rows)
    left, right = figure.subfigures(1, 2, width_ratios=[3.2, 3.0 * columns])
    _levels(left.subplots(), record)
    panels = right.subplots(rows, columns, squeeze=False).ravel()
    for spare in panels[len(shown) :]:
        spare.remove()
    for k, (panel, mode) in enumerate(zip(panels, shown, strict=False)):
        # Colours symmetric about zero: the node line of a mode is white.
        size = float(np.max(np.abs(mode)))
        draw_map(
            right,
            panel,
            record.grid,
            mode,
            "",
            cmap="RdBu_r",
            vmin=-size,
            vmax=size,
        )
        panel.set_title(f"mode ψ{'₀₁₂₃'[k]}", fontsize="medium")
        if "potential" in record.arrays:
            potential = record["potential"]
            draw_contours(panel, record.grid, potential, record["vectors"], "0.3")
    return figure

"""An animation of a density: one frame a time. The file is written atomically.

One dimension: the density (filled) and the Gibbs density (dashed) over the potential.
Two: a map, with lines of equal Gibbs density. More: the marginal density along the
first axis.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..anneal import Transport
from ..core.checks import check_integer, raise_value_error
from ..core.extras import extra
from ..core.files import write_atomically
from ..core.types import Count, FilePath
from ..io.reading import AnyResult, describe
from ..record.types import Figure
from .density_series import (
    DensitySeries,
    density_series,
    extent,
    gibbs_and_potential,
)
from .panels import VISIBLE, coordinate, marginal, new_figure
from .transport import (
    BLUE,
    DASHED,
    FILLED,
    draw_cells,
    draw_levels,
)

MOST_FPS = 50  # frames a second; viewers show a faster GIF slowly
DPI = 100


def animate(result: AnyResult, path: FilePath, fps: Count = 15) -> None:
    """Write an animation of the density to `path`.

    **Arguments**: `result`, of `transport` or `evolve`, or a `Record` of the latter;
    `path` a file name that ends in `.gif`; `fps` frames a second, one frame for each
    time of the result, at most 50. A complex wave is shown as |psi|^2. **Raises**
    `ValueError` for another ending, `fps` out of range or a result of another kind,
    `ImportError` with the command to install matplotlib.

    **Keeps**: an existing file, until the new one is complete. **Cost**: about a tenth
    of a second a frame.

    ```python
    import fpsolve as fp
    from fpsolve.plot import animate

    grid = fp.Grid(fp.Line(-3.0, 3.0, 32))
    animate(
        fp.evolve(
            fp.FokkerPlanck(fp.Harmonic()), fp.Gaussian(0.5, 0.5), [0.1, 0.5], grid=grid
        ),
        "film.gif",
    )
    ```
    """
    path = Path(path)
    if path.suffix != ".gif":
        raise_value_error(
            "path", str(path), "it must end in .gif", "Name the file density.gif, say."
        )
    if check_integer("fps", fps, 1, "Give the frames a second.") > MOST_FPS:
        raise_value_error(
            "fps",
            fps,
            f"it must be at most {MOST_FPS}",
            "Give the frames a second: 15.",
        )
    shown, label = _frames_of(result)
    write = lambda file: _write(shown, label, int(fps), path.parent, file)
    write_atomically(path, write)


def _frames_of(result: AnyResult) -> tuple[DensitySeries, str]:
    """The densities to show, and their label."""
    if isinstance(result, Transport):
        return density_series(result), "density p"
    record = describe(result)
    if record.kind != "Solution":
        cure = "Give what fp.transport returned, say."
        raise_value_error(
            "result", record.kind, "it must be a Transport or a Solution", cure
        )
    values = record.values
    label = "density p" if record.header["process"] else "wave ψ"
    if np.iscomplexobj(values):
        values = np.abs(values) ** 2
        label = "density |ψ|²"
    # A record of a file has no equation, and so no Gibbs density.
    equation = getattr(result, "equation", None)
    gibbs, _ = gibbs_and_potential(equation, record.grid, record.times)
    potential = record.arrays.get("potential")
    if potential is not None:
        # A static potential is the same in every frame.
        potential = np.broadcast_to(potential, values.shape)
    shown = DensitySeries(record.grid, record.times, None, values, gibbs, potential)
    return shown, label


def _write(
    shown: DensitySeries, label: str, fps: int, folder: Path, file: BinaryIO
) -> None:
    """Write all frames to an open file."""
    with extra("plot", "An animation"):
        from matplotlib.animation import PillowWriter
    make_figure = _map if shown.grid.ndim == 2 else _line
    figure, show = make_figure(shown, label)
    figure.draw_without_rendering()
    # laid out once: else the panels would move between frames
    figure.set_layout_engine("none")
    writer = PillowWriter(fps=fps)
    # The writer needs a file with a name, and `file` is an open stream.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".film.") as scratch:
        whole = Path(scratch) / "whole.gif"
        with writer.saving(figure, str(whole), DPI):
            for k in range(len(shown.times)):
                show(k)
                writer.grab_frame()
        with whole.open("rb") as source:
            shutil.copyfileobj(source, file)


def _line(shown: DensitySeries, label: str) -> tuple[Figure, Callable[[int], None]]:
    """The figure, and a function that shows its k-th frame: a line over one axis."""
    grid = shown.grid
    one_axis = grid.ndim == 1
    potential = shown.potential if one_axis else None
    x = grid.axes[0].nodes
    lines = [marginal(grid, field, 0) for field in shown.values]
    gibbs = []
    if shown.gibbs is not None:
        gibbs = [marginal(grid, field, 0) for field in shown.gibbs]
    # The potential is drawn in one dimension only.
    below = potential is not None
    figure = new_figure(6.4, 4.4 if below else 3.4)
    heights = [3, 1] if below else [3]
    panels = figure.subplots(
        len(heights), 1, sharex=True, height_ratios=heights, squeeze=False
    )[:, 0]
    # Limits of all frames: the axes do not change in time.
    top = float(np.max([*lines, *gibbs]))
    bottom = min(0.0, float(np.min(lines)))
    panels[0].set_ylim(1.05 * bottom, 1.05 * top)
    panels[0].set_ylabel(label if one_axis else f"marginal {label}")
    panels[-1].set(xlabel=coordinate(0, grid.ndim), xlim=extent(shown)[0])
    title = panels[0].set_title(shown.label(0), loc="left", fontsize="medium")
    area = panels[0].fill_between(x, lines[0], **FILLED)
    # What moves: each line with its values in all frames.
    updated = [(panels[0].plot(x, lines[0], color=BLUE, lw=1.6)[0], lines)]
    if gibbs:
        dashed = panels[0].plot(
            x,
            gibbs[0],
            **DASHED,
            lw=1.2,
            label="Gibbs density",
        )
        panels[0].legend(
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            frameon=False,
            borderaxespad=0.2,
        )
        updated.append((dashed[0], gibbs))
    if potential is not None:
        curve = panels[1].plot(
            x,
            potential[0],
            color="0.35",
            lw=1.4,
        )[0]
        updated.append((curve, list(potential)))
        # Up to where a density is seen: far out a potential may be very high.
        peaks = np.max(shown.values, axis=1, keepdims=True)
        visible = shown.values > VISIBLE * peaks
        low = float(np.min(potential))
        high = float(np.max(potential[visible]))
        margin = 0.08 * (high - low) or 1.0  # a constant potential has no height
        panels[1].set(ylim=(low - margin, high + margin), ylabel="potential U")
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)

    def show(k: int) -> None:
        title.set_text(shown.label(k))
        area.set_data(x, lines[k], np.zeros_like(x))
        for line, rows in updated:
            line.set_ydata(rows[k])

    return figure, show


def _map(shown: DensitySeries, label: str) -> tuple[Figure, Callable[[int], None]]:
    """The figure, and a function that shows its k-th frame: a map of both axes."""
    figure = new_figure(5.4, 4.4)
    panel = figure.subplots()
    # A wave with a sign has colours symmetric about zero; small negative values of a
    # density do not count.
    signed = float(np.min(shown.values)) < -1e-3 * float(np.max(shown.values))
    top = float(np.max(np.abs(shown.values) if signed else shown.values))
    style: dict[str, Any] = {
        "cmap": "viridis",
        "vmin": 0.0,
        "vmax": top,
    }
    if signed:
        style = {
            "cmap": "RdBu_r",
            "vmin": -top,
            "vmax": top,
        }
    cells = draw_cells(panel, shown.grid, shown.values[0], **style)
    across, up = extent(shown)
    text = label if shown.gibbs is None else f"{label};  lines: Gibbs density"
    figure.colorbar(
        cells,
        ax=panel,
        label=text,
        shrink=0.8,
    )
    panel.set(
        xlim=across,
        ylim=up,
        xlabel=coordinate(0, 2),
        ylabel=coordinate(1, 2),
    )
    title = panel.set_title(shown.label(0), loc="left", fontsize="medium")

    def show(k: int) -> None:
        title.set_text(shown.label(k))
        cells.set_array(shown.values[k].T)
        # The first collection is the cells; contours cannot be updated, and are drawn
        # anew.
        for lines in panel.collections[1:]:
            lines.remove()
        if shown.gibbs is not None:
            draw_levels(panel, shown.grid, shown.gibbs[k])

    return figure, show

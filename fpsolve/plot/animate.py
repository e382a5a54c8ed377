"""A film of a density: one frame a time, written whole or not at all.

One dimension: the density (filled) and the Gibbs density (dashed) over the potential. Two: a map, with lines of equal
Gibbs density. More: the marginal density along the first axis.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..anneal import Transport
from ..core.checks import check_integer, raise_value_error
from ..core.extras import extra
from ..core.files import write_atomically
from ..core.types import Count
from ..io.reading import describe
from .panels import coordinate, marginal, new_figure
from .transport import BLUE, Course, course, draw_cells, draw_levels, extent, frames

FASTEST = 50  # frames a second: what viewers make of a GIF
DPI = 100


def animate(result: Any, path: Any, fps: Count = 15) -> None:
    """Write a film of the density to `path`.

    **Arguments**: `result` what `transport` or `evolve` returned, or a `Record` of the latter; `path` a file name that
    ends in `.gif`; `fps` frames a second, one frame for each time of the result, at most 50. A complex wave is shown as
    |psi|^2. **Raises** `ValueError` for another ending, `fps` out of range or a result of another kind, `ImportError`
    with the command to install matplotlib.

    **Keeps**: an existing file, until the film is whole. **Cost**: about a tenth of a second a frame.

    ```python
    import fpsolve as fp
    from fpsolve.plot import animate

    grid = fp.Grid(fp.Line(-3.0, 3.0, 32))
    animate(fp.evolve(fp.FokkerPlanck(fp.Harmonic()), fp.Gaussian(0.5, 0.5), [0.1, 0.5], grid=grid), "film.gif")
    ```
    """
    path = Path(path)
    if path.suffix != ".gif":
        raise_value_error("path", str(path), "it must end in .gif", "Name the film density.gif, say.")
    if check_integer("fps", fps, 1, "Give the frames a second.") > FASTEST:
        raise_value_error("fps", fps, f"it must be at most {FASTEST}", "Give the frames a second: 15.")
    shown, label = _shown(result)
    write_atomically(path, lambda file: _write(shown, label, int(fps), path.parent, file))


def _shown(result: Any) -> tuple[Course, str]:
    if isinstance(result, Transport):
        return course(result), "density p"
    record = describe(result)
    if record.kind != "Solution":
        raise_value_error(
            "result", record.kind, "it must be a Transport or a Solution", "Give what fp.transport returned, say."
        )
    values, label = record.values, "density p" if record.header["process"] else "wave ψ"
    if np.iscomplexobj(values):
        values, label = np.abs(values) ** 2, "density |ψ|²"
    gibbs, _ = frames(getattr(result, "equation", None), record.grid, record.times)
    potential = record.arrays.get("potential")
    potential = None if potential is None else np.broadcast_to(potential, values.shape)
    return Course(record.grid, record.times, None, values, gibbs, potential), label


def _write(shown: Course, label: str, fps: int, folder: Path, file: BinaryIO) -> None:
    with extra("plot", "A film"):
        from matplotlib.animation import PillowWriter
    begin = _map if shown.grid.ndim == 2 else _line
    figure, show = begin(shown, label)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once: nothing jumps
    writer = PillowWriter(fps=fps)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".film.") as scratch:
        whole = Path(scratch) / "whole.gif"
        with writer.saving(figure, str(whole), DPI):
            for k in range(len(shown.times)):
                show(k)
                writer.grab_frame()
        with whole.open("rb") as source:
            shutil.copyfileobj(source, file)


def _line(shown: Course, label: str) -> tuple[Any, Any]:
    """The figure, and what shows its k-th frame."""
    grid, gibbs = shown.grid, shown.gibbs
    plain, potential = grid.ndim == 1, shown.potential if grid.ndim == 1 else None
    x, lines = grid.axes[0].nodes, [marginal(grid, field, 0) for field in shown.values]
    twins = [] if gibbs is None else [marginal(grid, field, 0) for field in gibbs]
    below = potential is not None
    figure = new_figure(6.4, 4.4 if below else 3.4)
    panels = figure.subplots(1 + below, 1, sharex=True, height_ratios=[3, 1][: 1 + below], squeeze=False)[:, 0]
    top, bottom = float(np.max([*lines, *twins])), min(0.0, float(np.min(lines)))
    panels[0].set(ylim=(1.05 * bottom, 1.05 * top), ylabel=label if plain else f"marginal {label}")
    panels[-1].set(xlabel=coordinate(0, grid.ndim), xlim=extent(shown)[0])
    title = panels[0].set_title(shown.label(0), loc="left", fontsize="medium")
    area = panels[0].fill_between(x, lines[0], color=BLUE, alpha=0.35, lw=0)
    moving = [(panels[0].plot(x, lines[0], color=BLUE, lw=1.6)[0], lines)]
    if twins:
        dashed = panels[0].plot(x, twins[0], color="black", lw=1.2, ls=(0, (4, 2)), label="Gibbs density")
        panels[0].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False, borderaxespad=0.2)
        moving.append((dashed[0], twins))
    if potential is not None:
        moving.append((panels[1].plot(x, potential[0], color="0.35", lw=1.4)[0], list(potential)))
        seen = shown.values > 1e-3 * np.max(shown.values, axis=1, keepdims=True)
        low, high = float(np.min(potential)), float(np.max(potential[seen]))
        margin = 0.08 * (high - low) or 1.0
        panels[1].set(ylim=(low - margin, high + margin), ylabel="potential U")
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)

    def show(k: int) -> None:
        title.set_text(shown.label(k))
        area.set_data(x, lines[k], np.zeros_like(x))
        for line, rows in moving:
            line.set_ydata(rows[k])

    return figure, show


def _map(shown: Course, label: str) -> tuple[Any, Any]:
    figure = new_figure(5.4, 4.4)
    panel = figure.subplots()
    signed = float(np.min(shown.values)) < -1e-3 * float(np.max(shown.values))
    top = float(np.max(np.abs(shown.values) if signed else shown.values))
    style = {"cmap": "RdBu_r" if signed else "viridis", "vmin": -top if signed else 0.0, "vmax": top}
    cells, (across, up) = draw_cells(panel, shown.grid, shown.values[0], **style), extent(shown)
    words = label if shown.gibbs is None else f"{label};  lines: Gibbs density"
    figure.colorbar(cells, ax=panel, label=words, shrink=0.8)
    panel.set(xlim=across, ylim=up, xlabel=coordinate(0, 2), ylabel=coordinate(1, 2))
    title = panel.set_title(shown.label(0), loc="left", fontsize="medium")

    def show(k: int) -> None:
        title.set_text(shown.label(k))
        cells.set_array(shown.values[k].T)
        for lines in panel.collections[1:]:
            lines.remove()
        if shown.gibbs is not None:
            draw_levels(panel, shown.grid, shown.gibbs[k])

    return figure, show

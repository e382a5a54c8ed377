"""Parts of plots: lines over one coordinate, maps over two, colours that are ordered in
time.
"""

import functools
import io
from typing import Any

import numpy as np

from ..core.extras import extra
from ..core.types import Scalar
from ..grid import Grid
from ..record import Record
from ..record.types import Axes, Figure

MOST_LINES = 8
MOST_MAPS = 4
WIDTH = 7.0  # inches of a figure with one column
VISIBLE = 1e-3  # of its largest value: a field below this is not seen


def new_figure(width: float, height: float) -> Figure:
    """An empty `matplotlib.figure.Figure`, in inches, laid out without overlaps;
    notebooks show it.
    """
    with extra("plot", "A picture"):
        from matplotlib.figure import Figure
    # Without pyplot, which would keep every figure in memory and may open windows.
    figure = Figure(figsize=(width, height), layout="constrained")
    # IPython shows an object by this method, which a figure without pyplot does not
    # have.
    figure.__dict__["_repr_png_"] = functools.partial(png, figure)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()


def svg(figure: Figure, name: str) -> str:
    """The figure as SVG for a page, with text that can be searched, and with
    identifiers made from `name`.
    """
    with extra("plot", "A picture"):
        import matplotlib
    file = io.StringIO()
    # Without a date and with a fixed salt the same figure is the same text.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]  # without the heading of a file


def colours(count: int) -> list[np.ndarray]:
    """`count` colours from dark to light, ordered also in grey, without the palest."""
    with extra("plot", "A picture"):
        import matplotlib
    # 0.87: beyond this the yellow of the map is too pale on white.
    return list(matplotlib.colormaps["viridis"](np.linspace(0.0, 0.87, count)))


def choose_times(count: int, most: int) -> np.ndarray:
    """At most `most` of `count` indices, evenly spread, with the first and the last."""
    places = np.linspace(0, count - 1, min(count, most))
    # Two places may be rounded to the same index.
    return np.unique(places.round().astype(int))


def coordinate(i: int, ndim: int) -> str:
    """The label of a coordinate: x on a line, else x₀, x₁, ... as in the code."""
    if ndim == 1:
        return "x"
    return "x" + "".join("₀₁₂₃₄₅₆₇₈₉"[int(digit)] for digit in str(i))


def marginal(grid: Grid, field: np.ndarray, i: int) -> np.ndarray:
    """`field` `(*shape)` integrated over every axis but the i-th, `(n_i,)`."""
    # From the last axis to the first: the numbers of the axes before stay valid.
    for j in reversed(range(grid.ndim)):
        if j != i:
            field = np.tensordot(field, grid.axes[j].weights, axes=(j, 0))
    return field


def label_time(t: Scalar) -> str:
    """The label of a time."""
    return f"t = {t:.4g}"


def potential_range(potential: np.ndarray, fields: np.ndarray) -> tuple[float, float]:
    """The least potential, and the highest where any field is above a thousandth of its
    largest value.
    """
    # A potential that depends on time has an axis more than its space.
    space = potential.shape[-fields.ndim + 1 :]
    size = np.abs(np.nan_to_num(fields)).reshape(-1, *space).max(axis=0)
    visible = np.isfinite(potential)
    if size.max() > 0:
        visible = np.broadcast_to(size > VISIBLE * size.max(), potential.shape)
    return float(np.min(potential)), float(np.max(potential[visible]))


def draw_potential(
    panel: Axes, record: Record, indices: np.ndarray, fields: np.ndarray
) -> None:
    """The potential in a panel below the densities, up to where these are visible; one
    line a time if it depends on time.
    """
    potential = record["potential"]
    x = record.grid.axes[0].nodes
    low, high = potential_range(potential, fields)
    if potential.ndim == 1:
        panel.plot(x, potential, color="0.35", lw=1.2)
    else:
        for k, colour in zip(indices, colours(len(indices)), strict=True):
            panel.plot(
                x,
                potential[k],
                color=colour,
                lw=1.0,
            )
    margin = 0.08 * (high - low) or 1.0  # a constant potential has no height
    panel.set_ylim(low - margin, high + margin)
    panel.set_ylabel("potential U")


def draw_map(
    figure: Figure, panel: Axes, grid: Grid, field: np.ndarray, label: str, **style: Any
) -> None:
    """A field over two axes as coloured cells with true edges, and a colour bar."""
    edges = [axis.edges for axis in grid.axes]
    # As pixels also in a vector file, which thousands of cells would make large.
    cells = panel.pcolormesh(
        *edges,
        field.T,
        shading="flat",
        rasterized=True,
        **style,
    )
    figure.colorbar(
        cells,
        ax=panel,
        label=label,
        shrink=0.9,
    )
    # Equal scales, unless the box is so narrow that its panel would be.
    ratio = grid.axes[0].length / grid.axes[1].length
    panel.set_aspect("equal" if 1 / 3 < ratio < 3 else "auto")
    panel.set_xlabel(coordinate(0, 2))
    panel.set_ylabel(coordinate(1, 2))


def draw_contours(
    panel: Axes,
    grid: Grid,
    potential: np.ndarray,
    fields: np.ndarray,
    colour: str = "white",
) -> None:
    """Lines of equal potential, up to where the fields `(T, *shape)` are visible."""
    low, high = potential_range(potential, fields)
    # A constant potential has no contours.
    if high > low:
        # Not the least value itself, whose line would be a point.
        levels = np.linspace(low, high, 9)[1:]
        nodes = [axis.nodes for axis in grid.axes]
        # Solid, since lines of a negative level would be dashed.
        panel.contour(
            *nodes,
            potential.T,
            levels=levels,
            colors=colour,
            linewidths=0.6,
            alpha=0.6,
            linestyles="solid",
        )


def grid_of_panels(
    count: int, width: float = 4.0, height: float = 3.3
) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels, at most two a row, and these in reading order."""
    # Spare panels in the last row are removed.
    columns = min(count, 2)
    rows = -(-count // columns)
    figure = new_figure(width * columns, height * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in panels[count:]:
        spare.remove()
    return figure, panels[:count]

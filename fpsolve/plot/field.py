"""Plots of fields: a line with its error as a band, or a map."""

import numpy as np

from ..core.checks import raise_value_error
from ..record import Record
from ..record.types import Figure
from .panels import coordinate, draw_map, grid_of_panels


def plot_field(field: Record) -> Figure:
    """A matplotlib figure of the `Record` of an `fp.Field`, in one or two dimensions.

    ```python
    import fpsolve as fp
    from fpsolve.plot import draw

    well, grid = fp.FokkerPlanck(fp.DoubleWell(3.0)), fp.Grid(fp.Line(-2, 2, 64))
    figure = draw(fp.mean_first_passage_time(well, grid, lambda x: x[0] > 0.9).record())
    ```
    """
    grid = field.grid
    values = np.asarray(field["values"])
    error = np.asarray(field["error"])
    label = field.header["stats"]["name"]
    if grid.ndim > 2:
        raise_value_error(
            "grid",
            grid.ndim,
            "fields are drawn in one or two dimensions",
            "Take a section of .values.",
        )
    figure, panels = grid_of_panels(1)
    if grid.ndim == 2:
        draw_map(figure, panels[0], grid, values, label)
        return figure
    x = grid.axes[0].nodes
    panels[0].plot(x, values, color="0.2", lw=1.2)
    panels[0].fill_between(
        x,
        values - error,
        values + error,
        color="0.7",
        lw=0,
    )
    panels[0].set_xlabel(coordinate(0, 1))
    panels[0].set_ylabel(label)
    return figure

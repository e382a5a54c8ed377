"""Plots of imaginary time found from real time."""

import numpy as np

from ..io.reading import AnyResult, describe
from ..record import ERROR_PART, Record
from ..record.types import Axes, Figure
from .panels import choose_times, colours, coordinate, label_time, new_figure

MOST_TIMES = 5  # waves drawn: more cannot be told apart


def plot_continuation(continuation: AnyResult) -> Figure:
    """A matplotlib figure of an `fp.wick.Continuation` or its `Record`: waves on a
    line, and errors over time.

    Lines are the average of real-time states, dots the run in imaginary time. In more
    dimensions the errors alone are drawn.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-7.0, 7.0, 32))
    oscillator = fp.Schrodinger(lambda x: x[0] ** 2 / 2)
    figure = fp.wick.warped_phase(
        oscillator, fp.Gaussian(0.5, 0.5), [0.5, 1.0], grid=grid
    ).plot()
    ```
    """
    record = describe(continuation)
    on_line = record.grid.ndim == 1
    figure = new_figure(8.0 if on_line else 4.2, 3.3)
    # A single panel is no array.
    panels = np.atleast_1d(figure.subplots(1, 2 if on_line else 1))
    if on_line:
        _draw_waves(panels[0], record)
    _draw_errors(panels[-1], record)
    return figure


def _draw_waves(panel: Axes, record: Record) -> None:
    """The real parts of the waves at some of the times."""
    x = record.grid.axes[0].nodes
    indices = choose_times(len(record.times), MOST_TIMES)
    for k, colour in zip(indices, colours(len(indices)), strict=True):
        wave = np.real(record.values[k])
        panel.plot(
            x,
            wave,
            color=colour,
            lw=1.2,
            label=label_time(record.times[k]),
        )
        panel.plot(
            x,
            np.real(record["reference"][k]),
            ".",
            color=colour,
            ms=3,
        )
    panel.set_xlabel(coordinate(0, 1))
    panel.set_ylabel("wave")
    panel.legend(frameon=False, fontsize=8)


def _draw_errors(panel: Axes, record: Record) -> None:
    """The difference of the two runs, and the error with its part from the average,
    over time.
    """
    rows = (
        ("difference", "difference", "o-", "0.2"),
        ("error", "error", "s--", "0.5"),
        ("average", ERROR_PART + "average", ":", "0.5"),
    )
    for label, name, form, colour in rows:
        # An error of exactly zero has no logarithm.
        error = np.maximum(record[name], np.finfo(float).tiny)
        panel.semilogy(
            record.times,
            error,
            form,
            color=colour,
            label=label,
        )
    panel.set_xlabel("imaginary time")
    panel.set_ylabel("relative error")
    panel.legend(frameon=False, fontsize=8)

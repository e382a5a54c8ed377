"""The plot of a certificate: what was measured of a claim, beside what was measured of
its control.
"""

from typing import Any

import numpy as np

from ..record.types import Axes, Figure
from .panels import new_figure

# blue, orange, grey: apart in every kind of colour blindness
CLAIM = "#0b5394"
CONTROL = "#b45f06"
LIMIT = "#666666"


def plot_certificate(certificate: Any) -> Figure | None:
    """A matplotlib figure of a `Certificate` with at least two points, else None.

    Order: the departure at every size, with the fitted power. Identity: |lhs - rhs| at
    every value of the sweep. Inequality: lhs / rhs at every value, with the limit 1.
    The control stands beside it. Every number is one of `certificate.points`.
    **Raises** `ImportError` with the command to install matplotlib.

    ```python
    import jax
    import fpsolve as fp
    from fpsolve.plot import plot_certificate

    jax.config.update("jax_enable_x64", True)
    softmax = next(theorem for theorem in fp.theorems() if theorem.name == "T29")
    figure = plot_certificate(fp.verify(softmax, refine=False))
    ```
    """
    if len(certificate.points) < 2:
        return None
    figure = new_figure(6.4, 2.8)
    panels = figure.subplots(1, 2, sharey=certificate.kind != "inequality")
    rows = ((certificate, "claim", CLAIM), (certificate.control, "control", CONTROL))
    draw = _departures if certificate.kind == "order" else _sweep
    for panel, (measured, word, colour) in zip(panels, rows, strict=True):
        draw(panel, measured, colour)
        panel.set_title(f"{word}: {measured.name}", fontsize="medium")
        panel.spines[["top", "right"]].set_visible(False)
    if certificate.kind != "inequality":
        panels[1].set_ylabel("")  # both have the same scale
    return figure


def _departures(panel: Axes, measured: Any, colour: str) -> None:
    """The departures over the sizes, and the fitted power."""
    # Of an order a point has the departure on the left, the fitted one on the right.
    sizes = [point.at for point in measured.points]
    departures = [point.lhs for point in measured.points]
    fitted = [point.rhs for point in measured.points]
    panel.loglog(
        sizes,
        departures,
        "o",
        color=colour,
        ms=5,
    )
    label = f"order {measured.lhs:.3f} ± {measured.standard_error:.1g}"
    panel.loglog(
        sizes,
        fitted,
        "-",
        color=LIMIT,
        lw=1,
        label=label,
    )
    # The sizes themselves, not powers of ten, of which there may be none.
    panel.set_xticks(sizes, [str(size) for size in sizes], minor=False)
    panel.set_xticks([], minor=True)
    panel.set_xlabel("size")
    panel.set_ylabel("|left - right|, relative")
    panel.legend(frameon=False, fontsize="small")


def _sweep(panel: Axes, measured: Any, colour: str) -> None:
    """The difference or the quotient of both sides over the sweep."""
    values = [point.at for point in measured.points]
    left = np.asarray([point.lhs for point in measured.points])
    right = np.asarray([point.rhs for point in measured.points])
    # Names and numbers in one sweep have no common axis: they are counted.
    numbers = all(isinstance(value, int | float) for value in values)
    positions = values if numbers else list(range(len(values)))
    if not numbers:
        panel.set_xticks(positions, [str(value) for value in values])
    panel.set_xlabel("value of the sweep")
    if measured.kind == "inequality":
        # NaN is not drawn.
        ratio = left / np.where(right == 0, np.nan, right)
        panel.plot(
            positions,
            ratio,
            "o",
            color=colour,
            ms=5,
        )
        panel.axhline(
            1.0,
            color=LIMIT,
            lw=1,
            label="limit",
        )
        panel.set_ylim(bottom=0)
        panel.set_ylabel("left / right")
        panel.legend(frameon=False, fontsize="small")
        return
    # A difference of exactly zero has no logarithm. It is drawn at the rounding of the
    # right side.
    least = np.finfo(float).eps * np.maximum(np.abs(right), np.finfo(float).tiny)
    difference = np.maximum(np.abs(left - right), least)
    panel.semilogy(
        positions,
        difference,
        "o",
        color=colour,
        ms=5,
    )
    panel.set_ylabel("|left - right|")

"""The picture of the kernel benchmark: error against warm time, one panel a problem,
every solver.
"""

import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.patheffects import withStroke

from fpsolve.core.files import write_atomically

# Okabe and Ito's colours, which colour-blind readers tell apart, and a marker for each
FAMILIES = {
    "fpsolve": ("#D55E00", "*"),
    "numpy": ("#000000", "o"),
    "diffrax": ("#0072B2", "s"),
    "exponax": ("#009E73", "^"),
    "QuTiP": ("#CC79A7", "D"),
    "fplanck": ("#E69F00", "v"),
    "py-pde": ("#56B4E9", "P"),
}
COLUMNS = 3
# distance from a marker to its label, width of a letter, height of a line; as fractions
# of a panel
GAP, LETTER, LINE = 0.025, 0.0165, 0.045


def draw(rows: list[Any], path: Path) -> None:
    """Write the picture to `path`."""
    names = list(dict.fromkeys(row.problem for row in rows))
    columns = min(COLUMNS, len(names))
    height = -(-len(names) // columns)
    figure, axes = plt.subplots(
        height, columns, figsize=(5.2 * columns, 4.1 * height), squeeze=False
    )
    for name, panel in zip(names, axes.flat, strict=False):
        _panel(panel, name, [row for row in rows if row.problem == name])
    for panel in axes.flat[len(names) :]:
        panel.axis("off")
    used = [family for family in FAMILIES if any(row.family == family for row in rows)]
    marks = [
        plt.Line2D(
            [],
            [],
            color=FAMILIES[f][0],
            marker=FAMILIES[f][1],
            linestyle="",
            markersize=10 if f == "fpsolve" else 7,
        )
        for f in used
    ]
    figure.legend(
        marks, used, loc="lower center", ncol=len(used), frameon=False, fontsize=11
    )
    inch = 1 / (4.1 * height)
    title = "Error against time: warm, one core, float64 (dashed: the error to reach)"
    figure.suptitle(title, fontsize=13, y=1 - 0.15 * inch)
    figure.tight_layout(rect=(0, 0.4 * inch, 1, 1 - 0.3 * inch))
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=110))
    plt.close(figure)


def _panel(panel: Any, name: str, rows: list[Any]) -> None:
    panel.set(
        xscale="log",
        yscale="log",
        title=name,
        xlabel="seconds",
        ylabel="relative L1 error",
    )
    goal = rows[0].goal
    # a solver that diverged is drawn on the upper edge
    errors = [min(max(row.error, 1e-16), 10.0) for row in rows]
    times = [row.seconds_warm for row in rows]
    left, right = min(times) / 3, max(times) * 12
    low, high = min(*errors, goal) / 6, max(*errors, goal) * 6
    panel.set(xlim=(left, right), ylim=(low, high))
    panel.axhline(goal, color="0.5", linestyle="--", linewidth=1)
    panel.grid(which="major", color="0.92")
    panel.set_axisbelow(True)
    words = [
        row.solver.removeprefix(row.family).strip(" ,") or row.solver for row in rows
    ]
    across = [math.log(t / left) / math.log(right / left) for t in times]
    up = [math.log(e / low) / math.log(high / low) for e in errors]
    for row, error, word, height in zip(
        rows, errors, words, _heights(across, up, words), strict=True
    ):
        colour, marker = FAMILIES.get(row.family, ("0.4", "x"))
        size = 210 if row.solver == "fpsolve" else 90 if row.family == "fpsolve" else 45
        depth = 4 if row.solver == "fpsolve" else 3
        panel.scatter(
            row.seconds_warm,
            error,
            s=size,
            color=colour,
            marker=marker,
            zorder=depth,
            edgecolor="white",
        )
        panel.annotate(
            word,
            (row.seconds_warm, error),
            (row.seconds_warm * (right / left) ** GAP, low * (high / low) ** height),
            fontsize=7.5,
            color=colour,
            va="center",
            zorder=5,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.4,
                "alpha": 0.6,
                "shrinkB": 3,
            },
        )


def _heights(across: list[float], up: list[float], words: list[str]) -> list[float]:
    """The position of each label, as a fraction of the height of the panel: at its
    marker, or the nearest free position.
    """
    taken: list[tuple[float, float, float]] = []  # from, to, height
    heights = [0.0] * len(words)
    for i in sorted(range(len(words)), key=lambda i: (-up[i], across[i])):
        start, end = across[i] + GAP, across[i] + GAP + LETTER * len(words[i])
        others = [
            (x - GAP / 2, x + GAP / 2, y)
            for k, (x, y) in enumerate(zip(across, up, strict=True))
            if k != i
        ]
        free = lambda y, a=start, b=end, others=others: all(
            b < c or d < a or abs(y - z) >= LINE for c, d, z in taken + others
        )
        steps = [sign * k * LINE for k in range(12) for sign in (1, -1)]
        places = [up[i] + step for step in steps if 0.02 < up[i] + step < 0.98]
        heights[i] = next((y for y in places if free(y)), up[i])
        taken.append((start, end, heights[i]))
    return heights

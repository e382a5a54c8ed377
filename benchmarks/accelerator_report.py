"""The output of the device benchmark: lines, a summary, a roofline picture, a table for
the README.
"""

import json
from pathlib import Path
from typing import Any

INSTALL = (
    'CUDA 13: pip install "fpsolve[cuda13]"; CUDA 12: pip install "fpsolve[cuda12]"; '
    'TPU: pip install "fpsolve[tpu]"'
)
README = Path(__file__).resolve().parent.parent / "README.md"
NAME = "device"  # name of the markers in the README


def no_accelerator() -> str:
    """The message that there is no accelerator, and how to install for one."""
    import jax

    found = ", ".join(sorted({device.device_kind for device in jax.devices()}))
    return (
        f"no accelerator: JAX {jax.__version__} found {found} only. {INSTALL}. Or give "
        "--small for small rows here."
    )


def heading() -> str:
    """The head of the table."""
    columns = (
        ("row", 26),
        ("warm [ms]", 11),
        ("compile [s]", 11),
        ("copy", 6),
        ("product", 8),
        ("error", 8),
    )
    return " ".join(
        f"{word:>{width}s}" if i else f"{word:{width}s}"
        for i, (word, width) in enumerate(columns)
    )


def line(entry: dict[str, Any]) -> str:
    """One row: time, fractions of the limits of the device, error, other libraries."""
    if why := entry.get("left_out") or entry.get("failed"):
        return (
            f"{entry['row']:26s} {'left out' if 'left_out' in entry else 'FAILED'}: "
            f"{why}"
        )
    cells = [f"{entry['row']:26s}", _number(1e3 * entry["seconds"], "11.3f", 11)]
    cells += [
        _number(entry.get("seconds_compile"), "11.2f", 11),
        _share(entry.get("share_copy"), 6),
    ]
    cells += [
        _share(entry.get("share_product"), 8),
        _number(entry.get("error"), "8.1e", 8),
    ]
    rivals = [
        f"{name} {ratio:.2f} x" for name, ratio in entry.get("ratios", {}).items()
    ]
    rivals += [] if entry.get("reached", True) else ["MISSES ITS ERROR"]
    return " ".join([*cells, *rivals, entry.get("words", "")]).rstrip()


def summary(found: list[dict[str, Any]]) -> str:
    """The number of rows that ran, and the names of the others."""
    ran = [row for row in found if "seconds" in row]
    lines = [
        f"\n{len(ran)} of {len(found)} rows measured, "
        f"{sum(row['seconds_row'] for row in found):.0f} s"
    ]
    lines += [
        f"  {row['row']}: {row.get('left_out') or row['failed']}"
        for row in found
        if "seconds" not in row
    ]
    lines += [
        f"  {row['row']}: error {row['error']:.1e}"
        for row in ran
        if row.get("reached") is False
    ]
    return "\n".join(lines)


def markdown(files: list[Path]) -> str:
    """A table for each device: row, time, fractions of the limits, error, other
    libraries, memory.
    """
    parts = []
    for path in files:
        rows = [
            row
            for row in json.loads(path.read_text(encoding="utf-8"))["rows"]
            if "seconds" in row
        ]
        if not rows:
            continue
        head = (
            "| row | what | warm | share of copies | share of products | error | "
            "rivals, and more | memory |"
        )
        parts.append(
            f"**{rows[0]['device']}**, jax {rows[0]['versions']['jax']}, "
            f"{max(row['date'] for row in rows)}\n"
        )
        parts += [head, "| --- | --- | ---: | ---: | ---: | ---: | --- | ---: |"]
        for row in rows:
            rivals = ", ".join(
                f"{name} {ratio:.2g} x" for name, ratio in row.get("ratios", {}).items()
            )
            held = row.get("program_bytes") or row.get("peak_bytes")
            memory = "" if held is None else f"{held / 2**30:.2f} GiB"
            cells = [f"`{row['row']}`", row["title"], _time(row["seconds"])]
            cells += [
                _share(row.get(f"share_{what}")).strip(" -")
                for what in ("copy", "product")
            ]
            cells += [
                "" if row.get("error") is None else f"{row['error']:.0e}",
                rivals or row.get("words", ""),
                memory,
            ]
            parts.append(f"| {' | '.join(cells)} |")
        parts.append("")
    return "\n".join(parts)


def stored(folder: Path) -> str:
    """The tables of all devices whose rows are stored in a folder."""
    files = [
        path
        for path in sorted(folder.glob("accelerator_*.json"))
        if not path.stem.endswith("_small")
    ]
    return markdown(files) or "No accelerator has been measured.\n"


def into_readme(folder: Path) -> int:
    """Write those tables into README.md."""
    import tables

    tables.into_readme(README, stored(folder), NAME)
    return 0


def draw(rows: list[dict[str, Any]], path: Path) -> str:
    """The roofline: operations a second against operations a byte, the limits of the
    device as lines. Returns the reason if there is none.
    """
    points = [
        row
        for row in rows
        if row.get("flops") and row.get("bytes_moved") and "seconds" in row
    ]
    limits = {
        row["row"]: row
        for row in rows
        if row["row"].startswith("limit-") and "seconds" in row
    }
    if not points or not limits:
        return "no picture: no kernel was measured beside the device's limits"
    try:
        import matplotlib
    except ImportError:
        return 'no picture: pip install "fpsolve[plot]"'
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    from fpsolve.core.files import write_atomically

    figure, panel = plt.subplots(figsize=(9.5, 6.0))
    places = [row["flops"] / row["bytes_moved"] for row in points]
    reach = np.geomspace(min(places) / 8, max(places) * 30, 200)
    for dtype, colour in (("float64", "#0072B2"), ("float32", "#D55E00")):
        copy = limits.get(f"limit-copy-{dtype}")
        product = limits.get(f"limit-product-{dtype}")
        if copy and product:
            roof = np.minimum(reach * copy["rate"], product["rate"])
            label = (
                f"{dtype}: copies {copy['rate'] / 1e12:.2g} TB/s, products "
                f"{product['rate'] / 1e12:.2g} Tflop/s"
            )
            panel.plot(reach, roof, color=colour, label=label, linewidth=1.5)
        here = [row for row in points if row["dtype"] == dtype]
        xs = [row["flops"] / row["bytes_moved"] for row in here]
        ys = [row["flops"] / row["seconds"] for row in here]
        panel.scatter(xs, ys, color=colour, s=40, zorder=3, edgecolor="white")
        for row, x, y in zip(here, xs, ys, strict=True):
            name = row["row"].removesuffix(f"-{dtype}")
            left = name == "volumes-2d"  # its point is next to that of volumes-3d
            place = (-7 if left else 7, 2 if left or dtype == "float32" else -9)
            side = "right" if left else "left"
            panel.annotate(
                name,
                (x, y),
                place,
                textcoords="offset points",
                fontsize=8,
                color=colour,
                ha=side,
            )
    panel.set(
        xscale="log",
        yscale="log",
        xlabel="operations a byte",
        ylabel="operations a second",
    )
    panel.set_title(f"{points[0]['device']}: kernels below the device's own limits")
    panel.grid(which="major", color="0.92")
    panel.set_axisbelow(True)
    panel.legend(loc="lower right", fontsize=9)
    figure.tight_layout()
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=110))
    plt.close(figure)
    return ""


def _number(value: Any, form: str, width: int) -> str:
    return "-".rjust(width) if value is None else f"{value:{form}}"


def _share(value: Any, width: int = 1) -> str:
    return "-".rjust(width) if value is None else f"{value:.0%}".rjust(width)


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    if seconds >= 1e-3:
        return f"{1e3 * seconds:.3g} ms"
    return f"{1e6 * seconds:.3g} µs"

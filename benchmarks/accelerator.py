"""The benchmark of a device.

    python benchmarks/accelerator.py [--small] [--only NAME ...] [--out FILE]

The rows are, in this order: the limits of the device (copies, products of matrices),
the kernels at sizes that fill a card, spectra, sweeps, transport, first and second
calls, and agreement with the numbers of a processor. A kernel is compared with those
limits, and with the same recurrence in CuPy and PyTorch where they are installed. Every
row is written as soon as it is measured, so that an interrupted run leaves a valid
file. A row that does not fit into memory is left out, and this is printed.

Without an accelerator the run stops and prints how to install for one; `--small` runs
smaller rows on any device.
"""

import argparse
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
sys.path[:0] = [path for path in (str(HERE.parent), str(HERE)) if path not in sys.path]

# Of the device's memory, set aside for JAX; the rest is for the CuPy and PyTorch twins
# (a free choice).
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.6")

import accelerator_report as report  # noqa: E402
import accelerator_timing as timing  # noqa: E402
import harness  # noqa: E402
import jax  # noqa: E402

# seconds of warm calls in a small row, which tests that it runs: a free choice
SHORT = 0.03
# fraction of the free memory; a row that needs more is left out, because programs need
# memory too: a free choice
ENOUGH = 0.75


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and write after every row; return 0 if every row that ran agrees
    with its reference.
    """
    parser = argparse.ArgumentParser(
        prog="accelerator.py", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--small",
        action="store_true",
        help="small sizes, on any device, an ordinary processor too",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        help="rows whose names begin so",
    )
    parser.add_argument(
        "--skip",
        nargs="+",
        default=[],
        metavar="NAME",
        help="no rows whose names begin so",
    )
    parser.add_argument(
        "--budget",
        type=float,
        default=float("inf"),
        help="seconds after which no row is begun",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        help="a .json file; default: results/, by the device's name",
    )
    parser.add_argument("--print-only", action="store_true", help="write no file")
    parser.add_argument(
        "--programs",
        type=Path,
        default=None,
        help="a folder for the texts of compiled programs",
    )
    parser.add_argument(
        "--readme",
        action="store_true",
        help="put the table of every measured device into README.md",
    )
    parser.add_argument(
        "--reference",
        action="store_true",
        help="store the numbers that other devices must agree with",
    )
    chosen = parser.parse_args(argv)
    if chosen.readme:
        return report.into_readme(RESULTS)
    jax.config.update("jax_enable_x64", True)
    import accelerator_rows
    import agreement

    if chosen.reference:
        agreement.store(RESULTS)
        return 0
    if jax.default_backend() == "cpu" and not chosen.small:
        parser.error(report.no_accelerator())
    if chosen.small:
        timing.ENOUGH = SHORT
    rows = accelerator_rows.rows(chosen.small)
    for name in (*chosen.only, *chosen.skip):
        if not any(row.name.startswith(name) for row in rows):
            parser.error(
                f"no row begins with {name}; there are "
                f"{', '.join(row.name for row in rows)}"
            )
    if chosen.only:
        rows = [row for row in rows if row.name.startswith(tuple(chosen.only))]
    rows = [
        row
        for row in rows
        if not chosen.skip or not row.name.startswith(tuple(chosen.skip))
    ]
    out = None if chosen.print_only else chosen.out or _place(chosen.small)
    if chosen.programs is not None:
        chosen.programs.mkdir(parents=True, exist_ok=True)
        timing.PROGRAMS = chosen.programs
    found = run(rows, out, chosen.budget)
    print(report.summary(found))
    if out is not None:
        troubles = report.draw(
            json.loads(out.read_text(encoding="utf-8"))["rows"], out.with_suffix(".png")
        )
        print(troubles or f"rows in {out}, picture beside it")
    return 1 if any(row.get("reached") is False for row in found) else 0


def run(
    rows: list[Any], out: Path | None, budget: float = float("inf")
) -> list[dict[str, Any]]:
    """Measure the rows one by one; print and write each at once. Rows of an earlier run
    that are not measured again are kept.
    """
    begun = time.perf_counter()
    limits = timing.Limits()
    kept = (
        []
        if out is None or not out.exists()
        else json.loads(out.read_text(encoding="utf-8"))["rows"]
    )
    for row in kept:
        limits.learn(row)
    found: list[dict[str, Any]] = []
    print(f"{harness.device()}, jax {jax.__version__}\n{report.heading()}", flush=True)
    for row in rows:
        passed = time.perf_counter() - begun
        entry = {"row": row.name, "title": row.title} | _measured(
            row, limits, passed, budget
        )
        entry |= {
            "seconds_row": time.perf_counter() - begun - passed,
            "device": harness.device(),
        }
        entry |= {
            "versions": harness.versions(""),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
        }
        limits.learn(entry)
        found.append(entry)
        print(report.line(entry), flush=True)
        if out is not None:
            _write(
                out,
                [old for old in kept if old["row"] not in {new["row"] for new in found}]
                + found,
            )
    return found


def _measured(row: Any, limits: Any, passed: float, budget: float) -> dict[str, Any]:
    """The measurement of a row, or the reason why there is none."""
    from fpsolve.core.memory import available_bytes

    if passed > budget:
        return {"left_out": f"{passed:.0f} s had passed, and {budget:.0f} were given"}
    available = available_bytes()
    if row.bytes > ENOUGH * available:
        needs = f"it needs {row.bytes:,} bytes ({row.bytes / 2**30:.3g} GiB)"
        return {
            "left_out": (
                f"{needs}, and {available:,} ({available / 2**30:.3g} GiB) are "
                "available"
            )
        }
    before = timing.peak()
    try:
        found = row.measure(limits)
        after = timing.peak()
        # The device reports its peak so far, which is the memory of this row only if
        # the peak rose.
        return found if before == after else found | {"peak_bytes": after}
    except Exception as fault:  # noqa: BLE001 - the other rows are measured all the same
        traceback.print_exc()
        return {"failed": harness.in_words(fault), "reached": False}


def _write(out: Path, rows: list[dict[str, Any]]) -> None:
    from fpsolve.core.files import write_atomically

    out.parent.mkdir(parents=True, exist_ok=True)
    content = {"environment": harness.environment(), "rows": rows}
    write_atomically(out, lambda file: file.write(harness.as_json(content)))


def _place(small: bool) -> Path:
    """The file for the rows of this device."""
    words = "".join(
        letter if letter.isalnum() else "_"
        for letter in jax.devices()[0].device_kind.lower()
    )
    return RESULTS / f"accelerator_{words}{'_small' if small else ''}.json"


if __name__ == "__main__":
    raise SystemExit(main())

"""Schedules on the hard path, refined twice, and a path in the plane.

    python benchmarks/transport.py [--out FILE]

line     2(x+1)^2 to 3(x^2-1)^2 - x/2 at D = 1: KL at the end of every schedule, and the
         ratio to the linear one; each on three grids and tolerances, finer by two in
         space and by a hundred in time
plane    the same with 2y^2 (+ xy/2 at the end) on 256 x 256 points, 200 times: seconds
         of schedule and transport together, compilation included
"""

import argparse
import itertools
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [path for path in (str(HERE.parent), str(HERE)) if path not in sys.path]

import harness  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402

LEVELS = ((80, 1e-6), (160, 1e-8), (320, 1e-9))
# target for the gain of the best schedule over the linear one
ASKED = {20.0: 8.0, 80.0: 20.0}
COSTS = ("bound", "score", "wasserstein", "exact")
SECONDS = 30.0  # seconds in the plane, target


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "results" / "transport.json")
    chosen = parser.parse_args(argv)
    jax.config.update("jax_enable_x64", True)
    from fpsolve.core.files import write_atomically

    rows = [plane(), *(row for total in ASKED for row in line(total))]
    content = {"environment": harness.environment(), "rows": rows}
    write_atomically(chosen.out, lambda file: file.write(harness.as_json(content)))
    return 0 if all(row["reached"] for row in rows) else 1


def line(total: float) -> list[dict[str, Any]]:
    """KL at the end by schedule, `(schedule, level)`, and a row for each schedule."""
    import fpsolve as fp

    path = fp.Mix(
        lambda x: 2 * (x[0] + 1) ** 2, lambda x: 3 * (x[0] ** 2 - 1) ** 2 - x[0] / 2
    )
    found: dict[str, list[float]] = {}
    for n, tol in LEVELS:
        grid = fp.Grid(fp.Line(-4.6, 3.2, n))
        along = fp.along(path, grid=grid)
        ways = {"linear": fp.schedule.linear(total)}
        ways |= {cost: fp.schedule.optimal(along, total, cost=cost) for cost in COSTS}
        for name, way in ways.items():
            run = fp.transport(path, way, grid=grid, times=[total], tol=tol)
            found.setdefault(name, []).append(float(run.kl[0]))
    best = min(values[0] for values in found.values())
    rows = []
    for name, values in found.items():
        gains = [float(a / b) for a, b in zip(found["linear"], values, strict=True)]
        enough = all(gain > 1 for gain in gains) if name != "linear" else True
        if values[0] == best:
            enough = enough and all(gain >= ASKED[total] for gain in gains)
        moved = [abs(b / a - 1) for a, b in itertools.pairwise(values)]
        rows.append(
            {
                "problem": f"line, T = {total:g}",
                "schedule": name,
                "kl": values,
                "gain": gains,
                "reached": enough,
            }
            | {"moved": moved}
        )
        print(
            f"T = {total:3g}  {name:12s} KL {values[-1]:.4e}  {gains[-1]:6.2f} x  "
            f"moved by {moved}",
            flush=True,
        )
    return rows


def plane() -> dict[str, Any]:
    """Seconds with compilation, on 256 x 256 points with 200 times."""
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-5.0, 4.0, 256), fp.Line(-4.8, 4.8, 256))
    path = fp.Mix(
        lambda x: 2 * (x[0] + 1) ** 2 + 2 * x[1] ** 2,
        lambda x: 3 * (x[0] ** 2 - 1) ** 2 - x[0] / 2 + 2 * x[1] ** 2 + x[0] * x[1] / 2,
    )
    begin = time.perf_counter()
    way = fp.schedule.optimal(path, 20.0, grid=grid, cost="score")
    scheduled = time.perf_counter() - begin
    run = fp.transport(path, way, grid=grid, times=np.linspace(0, 20.0, 200))
    jax.block_until_ready(run.values)
    seconds = time.perf_counter() - begin
    print(
        f"plane: schedule {scheduled:.1f} s, in all {seconds:.1f} s; KL "
        f"{float(run.kl[-1]):.4e}",
        flush=True,
    )
    return {
        "problem": "plane, 256 x 256, 200 times",
        "seconds": seconds,
        "seconds_schedule": scheduled,
        "kl": float(run.kl[-1]),
        "error": float(run.error[-1]),
        "method": run.solution.stats["method"],
        "versions": harness.versions(""),
        "reached": seconds <= SECONDS,
    }


if __name__ == "__main__":
    sys.exit(main())

"""Ten levels of large finite-volume grids.

    python benchmarks/multigrid.py [--quick] [--only 2d|3d] [--out FILE]

Double wells of several barriers, on grids of several sizes, by LOBPCG with multigrid:
iterations, seconds, and a bound on the relative error of the levels as levels of the
grid, residual^2 / separation / level. The number of iterations should depend neither on
the grid nor on the barrier.
"""

import argparse
import datetime
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [path for path in (str(HERE.parent), str(HERE)) if path not in sys.path]

import harness  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

LEVELS, BLOCK, TOL, GOAL = 10, 16, 1e-5, 1e-10
CASES = [(2, n, barrier) for n in (128, 256, 512, 1024) for barrier in (3.0, 12.0)]
CASES += [(3, n, barrier) for n in (32, 64, 128) for barrier in (3.0, 12.0)]


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write after every case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick",
        action="store_true",
        help="up to 256 x 256 and 32 x 32 x 32, nothing written",
    )
    parser.add_argument("--only", choices=("2d", "3d"), default=None)
    parser.add_argument("--out", type=Path, default=None)
    chosen = parser.parse_args(argv)
    jax.config.update("jax_enable_x64", True)
    from fpsolve.core.files import write_atomically

    out = chosen.out or (None if chosen.quick else HERE / "results" / "multigrid.json")
    rows: list[dict[str, Any]] = []
    for d, n, barrier in CASES:
        if n**d <= 256**2 or not chosen.quick:
            if chosen.only in (None, f"{d}d"):
                rows.append(measure(d, n, barrier))
                show(rows[-1])
            if out is not None:
                content = {"environment": harness.environment(), "rows": rows}
                write_atomically(
                    out,
                    lambda file, content=content: file.write(harness.as_json(content)),
                )
    return 0 if all(row["reached"] for row in rows) else 1


def measure(d: int, n: int, barrier: float) -> dict[str, Any]:
    """One grid and one barrier; warm calls until they have taken ten seconds, five at
    most.
    """
    from fpsolve.eigen.fv_lobpcg import volume_modes

    made = jax.jit(lambda: build(d, n, barrier))()
    start = time.perf_counter()
    solve = (
        jax.jit(lambda made: volume_modes(made, LEVELS, BLOCK, jnp.asarray(TOL)))
        .lower(made)
        .compile()
    )
    compiling = time.perf_counter() - start
    seconds = []
    busy = []
    while not seconds or (len(seconds) < 5 and sum(seconds) < 10):
        start = time.perf_counter()
        before = time.process_time()
        pairs, _ = jax.block_until_ready(solve(made))
        seconds.append(time.perf_counter() - start)
        busy.append(time.process_time() - before)
    values, residuals = np.asarray(pairs.values), np.asarray(pairs.residuals)
    error = bound(values, residuals)
    return {
        "problem": f"double well, {d}-D",
        "n": n,
        "barrier": barrier,
        "rounds": int(pairs.rounds),
        "seconds": float(np.median(seconds)),
        "seconds_least": min(seconds),
        "seconds_cpu": float(np.median(busy)),
        "calls": len(seconds),
        "seconds_compile": compiling,
        "bytes": solve.memory_analysis().temp_size_in_bytes,
        "error": error,
        "reached": bool(error <= GOAL),
        "gap": float(values[1]),
        "residual": float(np.max(residuals[:LEVELS])),
        "versions": harness.versions(""),
        "device": harness.device(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def build(d: int, n: int, barrier: float) -> Any:
    """A double well b (x^2 - 1)^2 + 2 y^2 + x y / 2 (+ 2 z^2 + y z / 2) with D = 1."""
    import fpsolve as fp

    def potential(x: Any) -> Any:
        rest = sum(2 * x[i] ** 2 + x[i - 1] * x[i] / 2 for i in range(1, d))
        return barrier * (x[0] ** 2 - 1) ** 2 + rest

    half = 2.2 if barrier > 5 else 2.6
    grid = fp.Grid(fp.Line(-half, half, n), *[fp.Line(-3.8, 3.8, n)] * (d - 1))
    return fp.ScharfetterGummel().build(
        fp.FokkerPlanck(potential), grid, 0.0, jnp.float64, True
    )


def bound(values: np.ndarray, residuals: np.ndarray) -> float:
    """The largest r^2 / separation, relative to the spread of the requested levels; a
    cluster of close levels counts as one.
    """
    wanted = values[:LEVELS]
    spread = values[LEVELS - 1] - values[0]
    worst = 0.0
    for i in range(1, LEVELS):
        close = np.abs(values - wanted[i]) < 0.1 * spread / LEVELS
        apart = np.min(np.abs(values[~close] - wanted[i]))
        worst = max(
            worst,
            float(
                np.sum(residuals[close] ** 2) / apart / max(wanted[i], spread / LEVELS)
            ),
        )
    return worst


def show(row: dict[str, Any]) -> None:
    """A line of the table."""
    cells = (
        f"{row['rounds']:3d} rounds {row['seconds']:8.2f} s ({row['seconds_cpu']:.2f} "
        "of processors)"
    )
    rest = (
        f"error {row['error']:.0e}, gap {row['gap']:.3e}, {row['bytes'] / 2**20:.0f} "
        "MiB"
    )
    print(
        f"{row['problem']} n = {row['n']:5d} barrier {row['barrier']:4.0f}  {cells}  "
        f"{rest}",
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())

"""Error against n for each scheme on each exact system.

    python benchmarks/convergence.py [--quick] [--out FILE]

Each row has the relative L1 error in space and time, the seconds of the first call
(with compilation) and the median of five warm calls, versions, device, precision and
date. The table groups rows by system and scheme and ends with the observed order
(finite volumes) or the smallest error (spectral). If a scheme misses its claim, the run
ends with status 1.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

import jax  # noqa: E402
import jaxlib  # noqa: E402
import numpy as np  # noqa: E402

import exact  # noqa: E402
import fpsolve as fp  # noqa: E402
from fpsolve.core.files import write_atomically  # noqa: E402
from measure import observed_order, relative_error, solve  # noqa: E402

VOLUMES = {1: (90, 135, 200, 300), 2: (32, 42, 54, 70), 3: (16, 20, 26, 34)}
SPECTRAL = {1: (16, 24, 40, 64, 96), 2: (24, 32, 48, 64), 3: (16, 20, 24, 32)}
REPEATS = 5
TOL = 1e-9  # in time
# the claimed spectral error at the largest n; otherwise errors need only fall: a free
# choice
CLAIMS = {
    "oscillator 2-D, rotated": 1e-8,
    "oscillator 3-D, coupled": 1e-8,
    "walls": 1e-9,
    "walls, force": 1e-9,
}


def main() -> int:
    """Run, print, write; return 0 if every claim holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one-dimensional systems and four sizes only",
    )
    parser.add_argument(
        "--out", type=Path, default=HERE / "results" / "convergence.json"
    )
    chosen = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    rows, failures = [], []
    for name, system in {**exact.still(), **exact.moving(), **exact.waves()}.items():
        d = system.grid(3).ndim
        if chosen.quick and d > 1:
            continue
        for scheme in (fp.ScharfetterGummel(), fp.SquareRoot(), fp.Spectral()):
            if (kind := axis_kind(name, scheme)) == "none":
                continue
            sizes = (SPECTRAL if isinstance(scheme, fp.Spectral) else VOLUMES)[d]
            series = [
                row(name, system, scheme, n, kind)
                for n in (sizes[:4] if chosen.quick else sizes)
            ]
            rows += series
            failures += report(series)
            write(chosen.out, {"environment": environment(), "rows": rows})
    print(f"{len(rows)} rows in {chosen.out}")
    print("\n".join(failures) or "every claim holds")
    return 1 if failures else 0


def axis_kind(name: str, scheme: Any) -> Any:
    """The axis to run on: None for that of the system, "none" where the scheme does not
    apply.
    """
    if isinstance(scheme, fp.Spectral):
        if "walls" in name:
            return "none" if " x " in name else fp.Legendre
        pushed = "force" in name or "pushed x" in name
        return "none" if "absorbed" in name and pushed else None
    if name in exact.waves():
        return None if isinstance(scheme, fp.ScharfetterGummel) else "none"
    forced = any(word in name for word in ("force", "swirl", "ito", "ring, pushed"))
    return "none" if forced and isinstance(scheme, fp.SquareRoot) else None


def row(name: str, system: Any, scheme: Any, n: int, kind: Any) -> dict[str, Any]:
    """One system, one scheme, one n."""
    t = 0.1 if "walls" in name or "absorbed" in name else 0.3
    seconds = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        solution = solve(system, n, t, kind, scheme=scheme, tol=TOL)
        jax.block_until_ready(solution.values)
        seconds.append(time.perf_counter() - start)
    return {
        "system": name,
        "scheme": type(scheme).__name__,
        "axis": type(solution.grid.axes[0]).__name__,
        "n": n,
        "dimensions": solution.grid.ndim,
        "time": t,
        "error": relative_error(system, solution),
        "error_in_time": float(solution.error[-1]),
        "seconds_first": seconds[0],
        "seconds_warm": statistics.median(seconds[1:]),
        "method": solution.stats["method"].split(",")[0],
        "dtype": str(solution.values.dtype),
        **stamp(),
    }


def report(series: list[dict[str, Any]]) -> list[str]:
    """Print a series, and return the claims that it misses."""
    first = series[0]
    errors = [row["error"] for row in series]
    head = f"{first['system']}, {first['scheme']} ({first['axis']}, {first['method']})"
    spectral = first["scheme"] == "Spectral"
    order = observed_order(errors, [row["n"] for row in series])
    print(
        f"\n{head}: "
        + (f"smallest error {min(errors):.1e}" if spectral else f"order {order:.2f}")
    )
    print("     n      error   first [s]   warm [ms]")
    for entry in series:
        line = (
            f"{entry['n']:6d}   {entry['error']:8.1e}   {entry['seconds_first']:9.2f}"
        )
        print(f"{line}   {1e3 * entry['seconds_warm']:9.2f}", flush=True)
    if spectral:
        claim = CLAIMS.get(first["system"], np.inf)
        if errors[-1] > claim:
            return [f"{head}: {errors[-1]:.1e}, claimed {claim:.0e}"]
        return []
    if abs(order - 2) <= 0.15:
        return []
    return [f"{head}: order {order:.2f}, claimed 2.0 +- 0.15"]


def stamp() -> dict[str, str]:
    """The entries of every row: versions, device, date."""
    return {
        "fpsolve": fp.__version__,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def environment() -> dict[str, Any]:
    """The machine and the software."""
    return {
        **stamp(),
        "jaxlib": jaxlib.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "repeats": REPEATS,
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Write atomically."""
    write_atomically(
        path, lambda file: file.write((json.dumps(content, indent=1) + "\n").encode())
    )


if __name__ == "__main__":
    raise SystemExit(main())

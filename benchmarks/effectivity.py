"""Reported against true errors on random problems: `python benchmarks/effectivity.py`.

    --seed S            another set of problems (0)
    --count N           how many problems (600), shared by all kinds
    --kinds A,B         these kinds only; --list names them
    --quick             a tenth of the problems, no warm calls
    --only KIND:SEED    one problem again: prints what was asked, what fpsolve said, and
                        what is right
    --out FILE          the rows as JSON (benchmarks/results/effectivity.json)
    --table FILE ...    only print the table of such files
    --readme            with --table: write the table into README

Every problem is solved by the public functions of fpsolve with default options, and
compared with a reference that shares no code with it (`calibration/`). An error is
silent if it is above three times the reported one and above the rounding of the
reference, and the result says "successful". NaN as a reported error claims nothing. The
exit status is 1 if any error is silent.
"""

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

RESULTS = HERE / "results" / "effectivity.json"
MODULES = (
    "lines",
    "irregular",
    "planes",
    "moving",
    "levels",
    "plane_levels",
    "rates",
    "transports",
    "precision",
)
# How many problems of a kind are asked: fewer where one takes many seconds.
SHARES = {
    "space": 0.25,
    "space_fitted": 0.2,
    "plane": 0.7,
    "plane_fitted": 0.5,
    "linear_fitted": 0.4,
    "trap": 0.5,
}
SHARES |= {
    "plane_levels": 0.35,
    "radial": 0.3,
    "transport": 0.4,
    "single": 0.6,
    "features": 0.7,
}
STRIDE = 1_000_000  # between the seeds of problems of successive --seed


def main(argv: list[str] | None = None) -> int:
    """Solve and judge the problems; 1 if any error is silent."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--kinds")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", metavar="KIND:SEED")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", type=Path, nargs="+")
    parser.add_argument("--readme", action="store_true")
    parser.add_argument("--list", action="store_true")
    chosen = parser.parse_args(argv)
    from calibration import tables
    from tables import into_readme

    if chosen.table:
        read = [
            row for file in chosen.table for row in json.loads(file.read_text())["rows"]
        ]
        print(tables.markdown(read))
        if chosen.readme:
            into_readme(HERE.parent / "README.md", tables.short(read), "calibration")
        return 0
    kinds = all_kinds()
    if chosen.list:
        print("\n".join(kinds))
        return 0
    ready()
    if chosen.only:
        kind, seed = chosen.only.split(":")
        return one(kinds[kind](int(seed)))
    names = chosen.kinds.split(",") if chosen.kinds else list(kinds)
    count = chosen.count // 10 if chosen.quick else chosen.count
    rows: list[dict[str, Any]] = []
    for mine in run(kinds, names, chosen.seed, count, not chosen.quick):
        rows += mine
        forget_programs()
        # Hours of work are not lost where a later kind is interrupted.
        write(rows, chosen)
    print(tables.markdown(rows))
    return 1 if any(row["silent"] for row in rows) else 0


def all_kinds() -> dict[str, Callable[[int], Any]]:
    """The kinds of problems by name: a seed to a problem."""
    found: dict[str, Callable[[int], Any]] = {}
    for name in MODULES:
        found |= importlib.import_module(f"calibration.{name}").KINDS
    return found


def ready() -> None:
    """Double precision, and a cache of all programs, before fpsolve is used."""
    import jax

    jax.config.update("jax_enable_x64", os.environ.get("JAX_ENABLE_X64", "1") != "0")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        import fpsolve

        fpsolve.compilation_cache()


def forget_programs() -> None:
    """Drop what was compiled for a kind: a process can map only so many programs into
    its memory.
    """
    import jax

    from fpsolve.core import program

    program.forget_programs()
    jax.clear_caches()


def run(
    kinds: Any, names: list[str], seed: int, count: int, again: bool
) -> Iterator[list[dict[str, Any]]]:
    """The rows of `count` problems, kind by kind, shared by the kinds in proportion to
    `SHARES`.
    """
    from calibration.problem import solve

    weights = [SHARES.get(name, 1.0) for name in names]
    ends = np.round(np.cumsum(weights) / sum(weights) * count).astype(int)
    for name, share in zip(names, np.diff(ends, prepend=0), strict=True):
        begun = time.perf_counter()
        mine = [solve(kinds[name](seed * STRIDE + i), again) for i in range(share)]
        silent = [row["seed"] for row in mine if row["silent"]]
        seconds = time.perf_counter() - begun
        print(
            f"{name}: {share} in {seconds:.0f} s, {len(silent)} silent {silent}",
            file=sys.stderr,
            flush=True,
        )
        yield mine


def one(problem: Any) -> int:
    """Print one problem, the answer and the judgement."""
    from calibration.problem import solve

    shown: list[str] = []
    row = solve(
        problem, again=False, watch=lambda answer: shown.append(problem.show(answer))
    )
    print(f"{problem.kind}:{problem.seed}  {problem.title}")
    print(*shown, sep="\n")
    print(json.dumps(row, indent=1))
    return 1 if row["silent"] else 0


def write(rows: list[dict[str, Any]], chosen: Any) -> None:
    """The rows with versions, device and how they were drawn."""
    import harness

    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    how = {
        "seed": chosen.seed,
        "count": len(rows),
        "environment": harness.environment(),
    }
    chosen.out.write_bytes(
        harness.as_json(how | {"versions": harness.versions(""), "rows": rows})
    )


if __name__ == "__main__":
    sys.exit(main())

"""Record what the library answers to every problem, or compare the answers of a tree
with those recorded.

    python tests/golden/record.py [--only NAME ...] [--out FILE]
        write golden.json
    python tests/golden/record.py --compare [--only NAME ...]
        compare this tree with golden.json

Of every array its shape, norms and up to 48 entries at fixed places are kept in full
double precision. The programs that XLA compiled and the seconds of a problem are those
in one process, each section of `problems.py` begun without compiled programs: they are
shown and never compared; "busy" are seconds of a processor, which others on the machine
lengthen less. To run another tree, put it first: `PYTHONPATH=TREE`.
"""

import argparse
import gc
import json
import math
import os
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

HERE = Path(__file__).resolve().parent
GOLDEN = HERE / "golden.json"
ENTRIES = 48  # of an array that are kept
COMPILED = "/jax/core/compile/backend_compile_duration"

# the problems hold arrays, so that the precision is set before they are imported
if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    sys.path.insert(0, str(HERE.parent))

from golden.problems import PROBLEMS, Problem  # noqa: E402
from one_look import look_once  # noqa: E402


class Deviation(NamedTuple):
    """The quantity that is farthest from its record, in units of what is allowed."""

    quantity: str
    size: float
    words: str = ""

    @property
    def bad(self) -> bool:
        """Whether it is too far."""
        return not self.size <= 1


def places(name: str, size: int) -> np.ndarray:
    """Which entries of a flat array are kept: the same for the same name."""
    if size <= ENTRIES:
        return np.arange(size)
    return np.sort(
        np.random.default_rng(zlib.crc32(name.encode())).choice(
            size, ENTRIES, replace=False
        )
    )


def numbers(values: np.ndarray) -> list[Any]:
    """Entries as JSON holds them; a complex one as a pair."""
    if np.iscomplexobj(values):
        return [[float(value.real), float(value.imag)] for value in values]
    return [float(value) for value in values]


def summary(name: str, value: Any) -> Any:
    """What is kept of a quantity: a string itself; norms and entries of an array."""
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    flat = array.ravel().astype(complex if np.iscomplexobj(array) else float)
    sizes = np.abs(flat)
    return {
        "shape": list(array.shape),
        "norms": [
            float(np.sum(sizes)),
            float(np.sqrt(np.sum(sizes**2))),
            float(np.max(sizes, initial=0.0)),
        ],
        "entries": numbers(flat[places(name, flat.size)]),
    }


def summarise(problem: Problem, answer: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of an answer."""
    return {
        name: summary(f"{problem.name}: {name}", value)
        for name, value in answer.items()
    }


def compare(
    problem: Problem, old: Mapping[str, Any], new: Mapping[str, Any]
) -> Deviation:
    """The worst deviation of what was found from what was recorded."""
    worst = Deviation("", 0.0)
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in new or name not in old:
            return Deviation(
                name, math.inf, "is missing" if name not in new else "is not recorded"
            )
        found = _distance(name, old[name], new[name], problem.allowed(name))
        if not found.size <= worst.size:
            worst = found
    return worst


def _distance(name: str, old: Any, new: Any, tol: float) -> Deviation:
    if isinstance(old, str) or isinstance(new, str):
        same = old == new
        return Deviation(
            name, 0.0 if same else math.inf, "" if same else f"was {old!r}, is {new!r}"
        )
    if old["shape"] != new["shape"]:
        return Deviation(
            name, math.inf, f"had the shape {old['shape']}, has {new['shape']}"
        )
    a, b = np.asarray(old["entries"], float), np.asarray(new["entries"], float)
    if a.shape != b.shape or not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return Deviation(
            name, math.inf, "is complex or not finite where it was not, or the reverse"
        )
    scale = old["norms"][2]
    scale = scale if np.isfinite(scale) and scale > 0 else 1.0
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return Deviation(name, math.inf, "is infinite elsewhere")
    apart = float(np.max(np.abs(a[finite] - b[finite]), initial=0.0)) / scale
    norms = [
        abs(p - q) / (p or 1.0)
        for p, q in zip(old["norms"], new["norms"], strict=True)
        if np.isfinite(p) or np.isfinite(q)
    ]
    relative = (
        max(apart, *norms, 0.0)
        if not any(math.isnan(norm) for norm in norms)
        else math.nan
    )
    return Deviation(
        name,
        relative / tol,
        f"differs by {relative:.1e} of its size, {tol:.0e} allowed",
    )


_compiled: list[float] = []


def count_programs() -> None:
    """Begin to count what XLA compiles in this process."""
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: (
            _compiled.append(seconds) if event == COMPILED else None
        )
    )


def run(problem: Problem) -> dict[str, Any]:
    """Ask one problem: what is kept of the answer, the programs it compiled and its
    seconds.
    """
    before = len(_compiled)
    start = time.perf_counter()
    busy = time.process_time()
    answer = jax.block_until_ready(problem.ask())
    quantities = summarise(problem, answer)
    taken = {
        "seconds": round(time.perf_counter() - start, 2),
        "busy": round(time.process_time() - busy, 2),
    }
    return {"programs": len(_compiled) - before, **taken, "quantities": quantities}


def read(path: Path = GOLDEN) -> dict[str, Any]:
    """The record."""
    return json.loads(path.read_text(encoding="utf-8"))


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record, whole or not at all."""
    lines = [f"{json.dumps(name)}: {json.dumps(kept)}" for name, kept in record.items()]
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, delete=False, encoding="utf-8"
    ) as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def _runs(names: list[str]) -> Iterator[tuple[Problem, Callable[[], dict[str, Any]]]]:
    """Problems in turn; each section begins without compiled programs, which would fill
    the maps of the process.
    """
    section = ""
    for name in names:
        if PROBLEMS[name].section != section:
            section = PROBLEMS[name].section
            jax.clear_caches()
            gc.collect()
        yield PROBLEMS[name], lambda name=name: run(PROBLEMS[name])


def _record(names: list[str], path: Path) -> int:
    record = read(path) if path.exists() else {}
    failed = []
    for problem, ask in _runs(names):
        try:
            record[problem.name] = ask()
        except Exception as error:  # noqa: BLE001 - whatever a problem raises is printed, and the others are recorded
            failed.append(problem.name)
            print(
                f"{problem.name:60s} FAILED: {type(error).__name__}: {error}",
                flush=True,
            )
            continue
        kept = record[problem.name]
        print(
            f"{problem.name:60s} {kept['programs']:5d} programs {kept['seconds']:7.2f} "
            f"s, busy {kept['busy']:7.2f} s",
            flush=True,
        )
        write(path, {name: record[name] for name in PROBLEMS if name in record})
    kept = [record[name] for name in names if name in record]
    total = {
        name: sum(one[name] for one in kept) for name in ("programs", "seconds", "busy")
    }
    print(
        f"{len(kept)} problems, {total['programs']} programs, "
        f"{total['seconds']:.0f} s, busy {total['busy']:.0f} s, {len(failed)} failed"
    )
    return 1 if failed else 0


def _compare(names: list[str], path: Path) -> int:
    record = read(path)
    bad = []
    before = [0, 0.0, 0.0]
    after = [0, 0.0, 0.0]
    for problem, ask in _runs(names):
        if problem.name not in record:
            print(f"{problem.name:60s} is not recorded")
            continue
        old = record[problem.name]
        try:
            new = ask()
            worst = compare(problem, old["quantities"], new["quantities"])
        except Exception as error:  # noqa: BLE001 - whatever a problem raises is a deviation
            new = {"programs": 0, "seconds": 0.0, "busy": 0.0}
            worst = Deviation("", math.inf, f"{type(error).__name__}: {error}")
        for total, one in ((before, old), (after, new)):
            total[0] += one["programs"]
            total[1] += one["seconds"]
            total[2] += one["busy"]
        mark = "BAD" if worst.bad else "ok"
        print(
            f"{mark:3s} {problem.name:56s} programs {old['programs']:4d} -> "
            f"{new['programs']:4d}   seconds {old['seconds']:6.2f} -> "
            f"{new['seconds']:6.2f}   busy {old['busy']:6.2f} -> {new['busy']:6.2f}   "
            f"{worst.quantity} {worst.words}",
            flush=True,
        )
        if worst.bad:
            bad.append(problem.name)
    print(
        f"{len(names)} problems, {len(bad)} "
        f"deviate{': ' if bad else ''}{', '.join(bad)}; programs {before[0]} -> "
        f"{after[0]}, seconds {before[1]:.0f} -> {after[1]:.0f}, busy {before[2]:.0f} "
        f"-> {after[2]:.0f}"
    )
    return 1 if bad else 0


def main() -> int:
    """Record or compare."""
    parser = argparse.ArgumentParser(
        description="Record or compare the answers to the golden problems."
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help="these problems or sections, in this order",
    )
    parser.add_argument(
        "--out", type=Path, default=GOLDEN, help="the record, golden.json if not given"
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="compare with the record instead of writing it",
    )
    parser.add_argument("--quick", action="store_true", help="the quick problems alone")
    parser.add_argument(
        "--reverse",
        action="store_true",
        help="last first: no answer may depend on the order",
    )
    given = parser.parse_args()
    names = [
        name for name, problem in PROBLEMS.items() if problem.quick or not given.quick
    ]
    if given.only:
        known = {*PROBLEMS, *(problem.section for problem in PROBLEMS.values())}
        if unknown := set(given.only) - known:
            parser.error(
                f"there is no problem or section called {', '.join(sorted(unknown))}"
            )
        names = [
            name
            for only in given.only
            for name in PROBLEMS
            if only in (name, PROBLEMS[name].section)
        ]
    names = names[::-1] if given.reverse else names
    import fpsolve

    print(f"fpsolve from {Path(fpsolve.__file__).parent}")
    # The record is of answers, which a second look does not change.
    look_once(setattr)
    count_programs()
    return _compare(names, given.out) if given.compare else _record(names, given.out)


if __name__ == "__main__":
    sys.exit(main())

"""Timing of a benchmark: one core, compilation apart from runs, peers in turn, error
with every time.

A `Contender` is a solver on a problem; `compare` runs all of them in turn, round after
round, in one process, and returns a `Row` each. Ratios are ratios of medians. Peak
memory is the growth of the resident set of the process during one warm call (Linux
only, else None).
"""

import contextlib
import ctypes
import dataclasses
import datetime
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

# at least; short calls are repeated until they have taken `ENOUGH` seconds, up to
# `MOST` times
REPEATS = 5
ENOUGH, MOST = 0.3, 40
# calls shorter than the first are repeated for as long as the second before one is
# timed
SHORT, WARM = 0.02, 0.002
PATIENCE = 8.0  # a call longer than this is timed once, and its row says so
ONE_CORE = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


@dataclasses.dataclass
class Contender:
    """A solver: `run()` returns what `density` turns into values on `axes`; `goal` is
    the error it must reach.
    """

    solver: str
    family: str  # "fpsolve", "numpy", or the peer's name
    run: Callable[[], Any]
    density: Callable[[Any], np.ndarray]
    axes: tuple[np.ndarray, ...]
    parameters: dict[str, Any]
    goal: float
    notes: Callable[[Any], dict[str, Any]] = lambda answer: {}


@dataclasses.dataclass
class Row:
    """One measurement. Seconds are wall-clock time, bytes are those of the resident
    set.
    """

    problem: str
    solver: str
    family: str
    parameters: dict[str, Any]
    error: float
    goal: float
    reached: bool
    seconds_first: float
    seconds_warm: float
    seconds: list[float]
    # the median of processor time, which other programs on the machine do not lengthen
    seconds_cpu: float
    peak_bytes: int | None
    dtype: str
    notes: dict[str, Any]
    versions: dict[str, str]
    device: str
    date: str


def compare(
    name: str, problem: Any, contenders: list[Contender]
) -> tuple[list[Row], dict[str, str]]:
    """Run each contender once, then all of them in turn. Returns their rows, and the
    reasons of failures by solver.
    """
    firsts, failures = {}, {}
    for one in contenders:
        try:
            firsts[one.solver] = _first_call(one, problem)
        except Exception as fault:  # noqa: BLE001 - a peer may raise anything, and the other rows are still wanted
            failures[one.solver] = in_words(fault)
    alive = [one for one in contenders if one.solver in firsts]
    with _without_collection():
        times = _take_turns(alive, firsts, failures)
    rows = []
    for one in alive:
        if one.solver in failures:
            continue
        seconds, busy = times[one.solver]
        first, error, dtype, notes = firsts[one.solver]
        warm = statistics.median(seconds)
        rows.append(
            Row(
                problem=name,
                solver=one.solver,
                family=one.family,
                parameters=one.parameters,
                error=error,
                goal=one.goal,
                reached=bool(error <= one.goal),
                seconds_first=first,
                seconds_warm=warm,
                seconds=seconds,
                seconds_cpu=statistics.median(busy),
                peak_bytes=peak_bytes(one.run) if warm < PATIENCE else None,
                dtype=dtype,
                notes=notes,
                versions=versions(one.family),
                device=device(),
                date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            )
        )
    return rows, failures


def _first_call(
    one: Contender, problem: Any
) -> tuple[float, float, str, dict[str, Any]]:
    """Seconds with compilation, the error (1e99 if it is not a number), the precision,
    notes.
    """
    start = time.perf_counter()
    answer = jax.block_until_ready(one.run())
    seconds = time.perf_counter() - start
    density = np.asarray(one.density(answer))
    error = problem.error(density, one.axes)
    return (
        seconds,
        error if np.isfinite(error) else 1e99,
        str(density.dtype),
        one.notes(answer),
    )


def _take_turns(
    alive: list[Contender], firsts: dict[str, Any], failures: dict[str, str]
) -> dict[str, tuple[list[float], list[float]]]:
    """Wall-clock and processor seconds of warm calls; every round starts with another
    solver. Failures go into `failures`.

    A short call follows untimed calls of the same solver, so that the caches do not
    contain data of another.
    """
    times: dict[str, tuple[list[float], list[float]]] = {
        one.solver: ([], []) for one in alive
    }
    for turn in range(MOST):
        shift = turn % max(1, len(alive))
        for one in alive[shift:] + alive[:shift]:
            seconds, busy = times[one.solver]
            done = (seconds and seconds[0] > PATIENCE) or (
                turn >= REPEATS and sum(seconds) > ENOUGH
            )
            if done or one.solver in failures:
                continue
            # no compilation takes so long, so the run did
            if not seconds and firsts[one.solver][0] > 4 * PATIENCE:
                seconds.append(firsts[one.solver][0])
                busy.append(firsts[one.solver][0])
                continue
            try:
                begun = time.perf_counter()
                while (
                    seconds
                    and seconds[-1] < SHORT
                    and time.perf_counter() - begun < WARM
                ):
                    jax.block_until_ready(one.run())
                start = time.perf_counter()
                before = time.process_time()
                jax.block_until_ready(one.run())
            except Exception as fault:  # noqa: BLE001 - as at the first call
                failures[one.solver] = in_words(fault)
                continue
            seconds.append(time.perf_counter() - start)
            busy.append(time.process_time() - before)
    return times


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Collect garbage, so that no solver collects that of another."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def in_words(fault: Exception) -> str:
    """The type of an exception and its message, in one line."""
    return f"{type(fault).__name__}: {str(fault)[:160]}".replace("\n", " ")


def peak_bytes(run: Callable[[], Any]) -> int | None:
    """The growth of the resident set during one call."""
    # glibc: give free pages back, so that growth is seen
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
        before = _status("VmRSS")
        answer = jax.block_until_ready(run())
        peak = _status("VmHWM")
    except OSError:
        return None
    del answer
    return max(0, peak - before)


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(name)


def on_one_core(arguments: list[str]) -> None:
    """Start this process again, on one core and with one thread in every library,
    unless it is so already.
    """
    if all(os.environ.get(name) == value for name, value in ONE_CORE.items()):
        return
    with contextlib.suppress(AttributeError, OSError):  # not Linux
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *arguments], {**os.environ, **ONE_CORE})


def versions(family: str) -> dict[str, str]:
    """The versions of fpsolve, JAX, numpy and the peer."""
    from importlib.metadata import PackageNotFoundError, version

    names = ["fpsolve", "jax", "numpy", "scipy"]
    packages = {
        "exponax": ["exponax"],
        "diffrax": ["diffrax"],
        "fplanck": ["fplanck"],
        "py-pde": ["py-pde"],
    }
    names += packages.get(
        family,
        ["qutip"] if family == "QuTiP" else ["pyamg"] if "pyamg" in family else [],
    )
    found = {}
    for name in names:
        # fpsolve may run from its folder without being installed
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def device() -> str:
    """The name of the device in JAX, with that of the processor where it is one."""
    kind = jax.devices()[0].device_kind
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if kind == "cpu" and line.startswith("model name"):
                return f"cpu, {line.split(':', 1)[1].strip()}"
    return kind


def environment() -> dict[str, Any]:
    """The machine and how many cores this process may use."""
    cores = (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count()
    )
    threads = {name: os.environ.get(name, "") for name in ONE_CORE}
    return {
        "device": device(),
        "cores": cores,
        "python": platform.python_version(),
        "threads": threads,
    }


def as_json(content: dict[str, Any]) -> bytes:
    """Rows as JSON, one a line."""
    parts = []
    for name, value in content.items():
        if isinstance(value, list):
            lines = ",\n".join(
                "  " + json.dumps(entry, default=_plain) for entry in value
            )
            parts.append(f' "{name}": [\n{lines}\n ]')
        else:
            parts.append(f' "{name}": {json.dumps(value, default=_plain)}')
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else str(value)


def median_seconds(run: Callable[[], Any], repeats: int = 7) -> float:
    """The median seconds of several warm calls, after one that compiles."""
    return medians([run], repeats)[0]


def medians(runs: list[Callable[[], Any]], repeats: int) -> list[float]:
    """The median seconds of warm calls of each, in turn, after one that compiles."""
    times: list[list[float]] = [[] for _ in runs]
    for turn in range(repeats + 1):
        for run, seconds in zip(runs, times, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(run())
            if turn:
                seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]

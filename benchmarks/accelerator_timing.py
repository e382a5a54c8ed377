"""Timing of a row of the device benchmark: compilation apart from runs, medians,
fractions of the rates of the device.
"""

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

# warm calls: least count, total seconds, and the seconds above which a call is timed
# once: free choices
REPEATS, ENOUGH, LONG = 5, 0.3, 8.0
# the same for a call of another library, of which there are two in each row: a free
# choice
RIVAL = 0.5
# short calls are launched together, so that the queue of the device is never empty: a
# free choice
BATCH = 10
PROGRAMS: Path | None = None  # folder for the compiled programs as text


class Limits:
    """The rates of the device, known after their rows are measured."""

    def __init__(self) -> None:
        self.rates: dict[str, float] = {}

    def learn(self, entry: dict[str, Any]) -> None:
        """Store the rate of a row that measures one."""
        if "rate" in entry:
            self.rates[entry["row"]] = entry["rate"]

    def shares(
        self, dtype: str, seconds: float, moved: float, flops: float
    ) -> dict[str, float]:
        """A run as a fraction of the rates of copies and products in its precision."""
        copy, product = (
            self.rates.get(f"limit-{what}-{dtype}") for what in ("copy", "product")
        )
        shares = {} if copy is None else {"share_copy": moved / seconds / copy}
        if product is not None:
            shares["share_product"] = flops / seconds / product
        return shares


@dataclasses.dataclass(frozen=True)
class Row:
    """A row: `measure(limits)` returns the measurements, with `seconds`; `bytes` is the
    least memory of the row.
    """

    name: str
    title: str
    measure: Callable[[Limits], dict[str, Any]]
    bytes: int = 0


def timed(
    run: Callable[[], Any],
    wait: Callable[[Any], Any] = jax.block_until_ready,
    patience: float = LONG,
) -> tuple[float, list[float]]:
    """The median seconds of warm calls, and all of them; a single call if it takes
    longer than `patience` seconds. Short calls are launched `BATCH` at a time.
    """
    wait(run())
    start = time.perf_counter()
    wait(run())
    once = time.perf_counter() - start
    batch = BATCH if once < ENOUGH / (REPEATS * BATCH) else 1
    seconds = [once] if once > patience else []
    while once <= patience and (
        len(seconds) < REPEATS or sum(seconds) * batch < ENOUGH
    ):
        start = time.perf_counter()
        for _ in range(batch):
            answer = run()
        wait(answer)
        seconds.append((time.perf_counter() - start) / batch)
    return statistics.median(seconds), seconds


def compile_apart(
    function: Callable[..., Any], *arguments: Any, name: str = ""
) -> tuple[Any, dict[str, Any]]:
    """The compiled program, the seconds of tracing and of compiling it, and the bytes
    that it needs. Its text goes to `PROGRAMS` under `name`, if both are given.
    """
    start = time.perf_counter()
    lowered = jax.jit(function).lower(*arguments)
    traced = time.perf_counter()
    program = lowered.compile()
    facts: dict[str, Any] = {
        "seconds_trace": traced - start,
        "seconds_compile": time.perf_counter() - traced,
    }
    with contextlib.suppress(Exception):  # not every backend reports it
        used = program.memory_analysis()
        total = (
            used.argument_size_in_bytes
            + used.output_size_in_bytes
            + used.temp_size_in_bytes
        )
        facts["program_bytes"] = int(total)
    if PROGRAMS is not None and name:
        (PROGRAMS / f"{name}.txt").write_text(program.as_text(), encoding="utf-8")
    return program, facts


def peak() -> int | None:
    """The peak memory of the device in this process so far, where the device reports
    it.
    """
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")

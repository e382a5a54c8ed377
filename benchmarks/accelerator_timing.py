"""How a row of the device benchmark is timed: compilation apart from runs, medians, shares of the device's rates."""

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

REPEATS, ENOUGH, LONG = 5, 0.3, 8.0  # warm calls: at least so many, until so many seconds; a longer one is timed once
RIVAL = 0.5  # the same for a rival's call, of which there are two in each row
BATCH = 10  # short calls are given to the device together, so that its queue is never empty
PROGRAMS: Path | None = None  # a folder for the texts of the compiled programs


class Limits:
    """The device's own rates, known once their rows are measured."""

    def __init__(self) -> None:
        self.rates: dict[str, float] = {}

    def learn(self, entry: dict[str, Any]) -> None:
        """Keep the rate of a row that measures one."""
        if "rate" in entry:
            self.rates[entry["row"]] = entry["rate"]

    def shares(self, dtype: str, seconds: float, moved: float, flops: float) -> dict[str, float]:
        """How near a run came to the rates of copies and of products in its precision."""
        copy, product = (self.rates.get(f"limit-{what}-{dtype}") for what in ("copy", "product"))
        shares = {} if copy is None else {"share_copy": moved / seconds / copy}
        return shares if product is None else shares | {"share_product": flops / seconds / product}


@dataclasses.dataclass(frozen=True)
class Row:
    """`measure(limits)` returns what was found, `seconds` among it; `bytes` is what the row needs at least."""

    name: str
    title: str
    measure: Callable[[Limits], dict[str, Any]]
    bytes: int = 0


def timed(
    run: Callable[[], Any], wait: Callable[[Any], Any] = jax.block_until_ready, patience: float = LONG
) -> tuple[float, list[float]]:
    """The median second of warm calls, and all of them; one call alone if it takes longer than `patience` seconds.
    Short calls are given to the device `BATCH` at a time."""
    wait(run())
    start = time.perf_counter()
    wait(run())
    once = time.perf_counter() - start
    batch = BATCH if once < ENOUGH / (REPEATS * BATCH) else 1
    seconds = [once] if once > patience else []
    while once <= patience and (len(seconds) < REPEATS or sum(seconds) * batch < ENOUGH):
        start = time.perf_counter()
        for _ in range(batch):
            answer = run()
        wait(answer)
        seconds.append((time.perf_counter() - start) / batch)
    return statistics.median(seconds), seconds


def compile_apart(function: Callable[..., Any], *arguments: Any, name: str = "") -> tuple[Any, dict[str, Any]]:
    """The compiled program, the seconds of tracing and of compiling it, and the bytes that it needs. Its text goes to
    `PROGRAMS` under `name`, if both are given."""
    start = time.perf_counter()
    lowered = jax.jit(function).lower(*arguments)
    traced = time.perf_counter()
    program = lowered.compile()
    facts: dict[str, Any] = {"seconds_trace": traced - start, "seconds_compile": time.perf_counter() - traced}
    with contextlib.suppress(Exception):  # not every backend tells
        used = program.memory_analysis()
        total = used.argument_size_in_bytes + used.output_size_in_bytes + used.temp_size_in_bytes
        facts["program_bytes"] = int(total)
    if PROGRAMS is not None and name:
        (PROGRAMS / f"{name}.txt").write_text(program.as_text(), encoding="utf-8")
    return program, facts


def peak() -> int | None:
    """The most memory that the device has held in this process so far, where it tells."""
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")

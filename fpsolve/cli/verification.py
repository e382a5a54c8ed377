"""`fpsolve verify`: measure theorems, print their table, write their JSON and their
page.
"""

import contextlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.util import find_spec
from pathlib import Path

import jax

from ..core.checks import nearest, raise_value_error
from ..core.compilation_cache import cache_of_command
from ..core.files import write_atomically
from ..theorem import Certificate, Theorem, theorems, to_json
from .certificates import print_certificates, print_theorems, summary_line
from .console import console
from .problem import run_python
from .report import report_page


def verify_all(
    only: tuple[str, ...],
    file: Path | None,
    list_only: bool,
    measure: Callable[[Theorem], Certificate],
    json_file: Path | None,
    report: Path | None,
) -> int:
    """Measure the claims named in `only`, or all of them; print their table, write
    their JSON and their page.
    """
    chosen = _chosen(only, theorems() if file is None else read_theorems(file))
    if list_only:
        print_theorems(chosen)
        return 0
    # A page needs matplotlib: without it nothing is measured.
    if report is not None and find_spec("matplotlib") is None:
        raise ImportError(
            '--report: matplotlib is not installed: pip install "fpsolve[plot]"'
        )
    begun = time.perf_counter()
    certificates = _measure_all(chosen, file, measure)
    seconds = time.perf_counter() - begun
    # First on the screen: what fails later does not lose minutes of measurement.
    print_certificates(certificates)
    if json_file is not None:
        text = json.dumps(to_json(certificates), indent=2, ensure_ascii=False)
        write_atomically(json_file, lambda file: file.write(text.encode()))
    if report is not None:
        report.mkdir(parents=True, exist_ok=True)
        page = report_page(certificates, seconds)
        write_atomically(report / "index.html", lambda file: file.write(page.encode()))
    console().print(summary_line(certificates, seconds))
    return 0 if all(certificate.sound for certificate in certificates) else 1


def _measure_all(
    chosen: list[Theorem], file: Path | None, measure: Callable[[Theorem], Certificate]
) -> list[Certificate]:
    """The certificates in the order of `chosen`; those of the library in several
    processes.

    Most of the time is compilation, of which a process does one after the other.
    Threads would not do: with two threads on two cores, XLA can wait without end for a
    task that no worker has.
    """
    # By place, since theorems of a user's file may have the same name.
    found: dict[int, Certificate] = {}
    workers = _workers(len(chosen)) if file is None else 1
    # Progress goes to standard error, so that standard output can be piped.
    with contextlib.ExitStack() as stack:
        status = stack.enter_context(console(error=True).status(f"0 of {len(chosen)}"))
        if workers == 1:
            measured = ((i, measure(theorem)) for i, theorem in enumerate(chosen))
        else:
            # a process that JAX has started threads in must not fork
            context = multiprocessing.get_context("spawn")
            # A new process does not know the options of this one.
            arguments = (jax.config.values["jax_enable_compilation_cache"],)
            pool = stack.enter_context(
                ProcessPoolExecutor(workers, context, _start_worker, arguments)
            )
            places = {
                pool.submit(_measure_by_name, theorem.name, measure): i
                for i, theorem in enumerate(chosen)
            }
            done = as_completed(places)
            measured = ((places[future], future.result()) for future in done)
        for i, certificate in measured:
            found[i] = certificate
            what = f"{certificate.name}: {certificate.statement}"
            status.update(f"{len(found)} of {len(chosen)}  {what}")
    return [found[i] for i in range(len(chosen))]


def _workers(count: int) -> int:
    """As many as there are cores for this process, at most four: each holds programs
    and matrices of its own. One where starting others, which takes some seconds, would
    not pay.
    """
    # In a container a process may have fewer cores than the machine; not every system
    # can say so.
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return min(4, cores) if count > 4 else 1


def _start_worker(caches_programs: bool) -> None:
    """Prepare a process as the command is prepared."""
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_enable_compilation_cache", caches_programs)
    cache_of_command()


def _measure_by_name(
    name: str, measure: Callable[[Theorem], Certificate]
) -> Certificate:
    """The certificate of a theorem of the library, whose function cannot be sent to
    another process.
    """
    return measure(next(theorem for theorem in theorems() if theorem.name == name))


def _chosen(only: tuple[str, ...], known: tuple[Theorem, ...]) -> list[Theorem]:
    """The theorems named in `only`, or all."""
    names = tuple(theorem.name for theorem in known)
    for name in only:
        if name not in names:
            cure = f"Did you mean {nearest(name, names)!r}?"
            raise_value_error(
                "--only", name, f"it must be one of {', '.join(names)}", cure
            )
    return [theorem for theorem in known if not only or theorem.name in only]


def read_theorems(path: Path) -> tuple[Theorem, ...]:
    """The theorems of a Python file. **Raises** `ValueError` where it makes none."""
    values = run_python(path).values()
    found = tuple(value for value in values if isinstance(value, Theorem))
    if not found:
        cure = "Make one with @fp.claim(...) at the top level."
        raise_value_error("--file", str(path), "it makes no theorem", cure)
    return found

"""The compiled kernels of two trees, pair by pair.

    python benchmarks/against.py OTHER [--out FILE] [--rounds 15]

OTHER is a folder that holds another version of the package
(`git worktree add OTHER COMMIT`). Both trees solve P1 to P6 and spectra with the same
grids, schemes, methods and numbers of steps, each tree in a process of its own on the
same core, one call of one tree and then one of the other. The exit status is 1 if a
kernel of this tree takes more than `SLOWER` times as long, or if its answer differs by
more than `DIFFERENCE`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

SLOWER = 1.05  # allowed ratio of times: a free choice
# allowed relative L1 difference of the two answers: the loosest tolerance of a kernel
# below
DIFFERENCE = 1e-6
ROUNDS = 15  # pairs a kernel, whose median is compared: a free choice
# a short call is repeated for as long before one time is taken: a free choice
BATCH_SECONDS = 0.05

Kernel = Callable[[], Any]  # solves once and waits for the answer


def kernels() -> Iterator[tuple[str, Kernel]]:
    """Names and compiled solves of the tree that is imported."""
    import suite

    import fpsolve as fp

    volumes = fp.ScharfetterGummel()
    line, plane, space = suite.box(2.1), suite.box(2.2, 4.0), suite.box(2.15, 3.4, 3.4)
    for t in (1.0, 50.0):
        for method in (fp.Chebyshev(), fp.Dense()):
            yield (
                f"P1 t={t:g}, {type(method).__name__}",
                density(suite.P1, line, (48,), method, t=t),
            )
    for method in (fp.Rational(), fp.Chebyshev()):
        name = f"P1 volumes, {type(method).__name__}"
        yield (
            name,
            density(suite.P1, suite.box(1.9), (160,), method, tol=1e-5, scheme=volumes),
        )
    yield "P2 Chebyshev", density(suite.P2, plane, (48, 34), fp.Chebyshev(()))
    yield (
        "P2 Chebyshev, contracted",
        density(suite.P2, plane, (48, 34), fp.Chebyshev((28, 12))),
    )
    yield (
        "P2 volumes 128²",
        density(suite.P2, plane, (128, 128), fp.Chebyshev(), scheme=volumes),
    )
    yield "P3 Chebyshev", density(suite.P3, space, (48, 36, 36), fp.Chebyshev(()))
    yield (
        "P3 Chebyshev, contracted",
        density(suite.P3, space, (48, 36, 36), fp.Chebyshev((28, 36, 36))),
    )
    yield (
        "P5 1-D",
        density(suite.P5_LINE, suite.box(2.4), (52,), fp.Magnus(steps=6), tol=1e-7),
    )
    yield (
        "P5 2-D",
        density(
            suite.P5_PLANE, suite.box(2.35, 4.0), (48, 32), fp.Magnus(steps=4), tol=1e-6
        ),
    )
    yield (
        "P6",
        levels(fp.Schrodinger, suite.P6, suite.box(2.8, 3.6), (28, 22), 1, 1e-10),
    )
    yield (
        "spectrum on a line",
        levels(fp.FokkerPlanck, suite.P1, suite.box(2.2), (64,), 10, 1e-10),
    )
    yield (
        "spectrum in the plane",
        levels(fp.FokkerPlanck, suite.P2, suite.box(2.2, 3.6), (40, 30), 10, 1e-7),
    )
    yield (
        "spectrum in space",
        levels(
            fp.FokkerPlanck, suite.P3, suite.box(2.2, 3.6, 3.6), (40, 30, 30), 10, 1e-7
        ),
    )


def density(
    problem: Any,
    box: Any,
    shape: Any,
    method: Any,
    *,
    tol: float = 1e-8,
    scheme: Any = None,
    t: float | None = None,
) -> Kernel:
    """The density at the end of a problem."""
    import jax
    import suite

    import fpsolve as fp

    grid = suite.grid_of(box, shape)
    equation = fp.FokkerPlanck(problem.potential)
    start = grid.density(fp.Gaussian(*suite.problems.start_moments(problem)))
    times = [problem.t if t is None else t]
    options = {
        "scheme": fp.Spectral() if scheme is None else scheme,
        "method": method,
        "tol": tol,
        "throw": False,
    }
    program = jax.jit(
        lambda start: fp.evolve(equation, start, times, grid=grid, **options).values[0]
    )
    return lambda: program(start).block_until_ready()


def levels(
    equation: Any, problem: Any, box: Any, shape: Any, k: int, tol: float
) -> Kernel:
    """The `k` lowest levels. The depth is an argument, because the compiler evaluates a
    program without arguments.
    """
    import jax
    import suite

    import fpsolve as fp

    grid = suite.grid_of(box, shape)
    depth = jax.numpy.ones(())
    scaled = lambda depth: equation(lambda x: depth * problem.potential(x))
    program = jax.jit(lambda depth: fp.spectrum(scaled(depth), grid, k, tol=tol).values)
    return lambda: program(depth).block_until_ready()


def serve() -> None:
    """One tree: a line of JSON with each kernel's name and answer, then a time for each
    name that is read.
    """
    import jax

    jax.config.update("jax_enable_x64", True)
    import numpy as np

    import fpsolve

    known, repeats = {}, {}
    answer = lambda **fields: print(json.dumps(fields), flush=True)
    answer(package=fpsolve.__file__)
    for name, kernel in kernels():
        try:
            value = np.asarray(kernel())
        except Exception as fault:  # noqa: BLE001 - a kernel that one tree lacks is a row without a time
            answer(name=name, failed=f"{type(fault).__name__}: {fault}"[:200])
            continue
        begun = time.perf_counter()
        kernel()
        known[name] = kernel
        repeats[name] = max(1, round(BATCH_SECONDS / (time.perf_counter() - begun)))
        answer(name=name, value=value.ravel().tolist())
    answer(name=None)
    for request in sys.stdin:
        name = request.strip()
        begun = time.perf_counter()
        for _ in range(repeats[name]):
            known[name]()
        answer(seconds=(time.perf_counter() - begun) / repeats[name])


class Tree:
    """A process that serves one tree."""

    def __init__(self, folder: Path):
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(folder), str(HERE))),
        }
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "--serve"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        package = Path(self.read()["package"]).resolve()
        if folder.resolve() not in package.parents:
            raise SystemExit(
                f"{folder} holds no package fpsolve: {package} was imported"
            )
        self.answers = {}
        while (row := self.read())["name"] is not None:
            self.answers[row["name"]] = row

    def read(self) -> dict[str, Any]:
        """The next line."""
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(
                f"the process of a tree ended with status {self.process.wait()}"
            )
        return json.loads(line)

    def seconds(self, name: str) -> float:
        """The time of one call."""
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        return self.read()["seconds"]


def main() -> int:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(
        prog="against.py", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "other", type=Path, help="a folder with another version of the package"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=None, help="a .json file")
    chosen = parser.parse_args()
    if chosen.rounds < 5:
        parser.error(f"--rounds {chosen.rounds}: a median needs 5 or more")
    import harness

    harness.on_one_core([str(Path(__file__).resolve()), *sys.argv[1:]])
    this, other = Tree(HERE.parent), Tree(chosen.other)
    rows = []
    print(
        f"{'kernel':28s} {'this, ms':>10s} {'other, ms':>10s} {'ratio':>7s} "
        f"{'answers differ by':>18s}"
    )
    for name, answer in this.answers.items():
        twin = other.answers[name]
        if "failed" in answer or "failed" in twin:
            print(
                f"{name:28s} {answer.get('failed', 'runs')} | "
                f"{twin.get('failed', 'runs')}"
            )
            rows.append(
                {
                    "kernel": name,
                    "this": answer.get("failed"),
                    "other": twin.get("failed"),
                }
            )
            continue
        pairs = [
            (this.seconds(name), other.seconds(name)) for _ in range(chosen.rounds)
        ]
        mine, theirs = (
            statistics.median(column) for column in zip(*pairs, strict=True)
        )
        ratio = statistics.median(a / b for a, b in pairs)
        scale = sum(map(abs, twin["value"]))
        difference = (
            sum(abs(a - b) for a, b in zip(answer["value"], twin["value"], strict=True))
            / scale
        )
        rows.append(
            {
                "kernel": name,
                "this": mine,
                "other": theirs,
                "ratio": ratio,
                "difference": difference,
            }
        )
        print(
            f"{name:28s} {1e3 * mine:10.3f} {1e3 * theirs:10.3f} {ratio:7.3f} "
            f"{difference:18.1e}",
            flush=True,
        )
    if chosen.out is not None:
        from fpsolve.core.files import write_atomically

        content = {"rows": rows, "environment": harness.environment()}
        write_atomically(chosen.out, lambda file: file.write(harness.as_json(content)))
    timed = [row for row in rows if "ratio" in row]
    slower = [row["kernel"] for row in timed if row["ratio"] > SLOWER]
    different = [row["kernel"] for row in timed if row["difference"] > DIFFERENCE]
    print(f"slower by more than {SLOWER - 1:.0%}: {', '.join(slower) or 'none'}")
    print(f"answers that differ: {', '.join(different) or 'none'}")
    return 1 if slower or different else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        sys.exit(main())

"""Seconds until a first result, and until that of the next potential.

    first     the first call in a fresh process, without a cache of programs
    numbers   then the same formula with other numbers, on the same grid
    formula   then another formula on the same grid
    again     then the last call once more
    warm      the first call in a fresh process with all programs in a persistent cache

    --only NAME         one case (may be given again)
    --tree PATH         another checkout in turn with this one, and the ratio of both;
                        its rows say "before"
    --alone             that checkout only
    --rounds N          N runs of each case in each checkout, in turn; medians
    --verify            `fpsolve verify --quick` too
    --table             only print benchmarks/results/first_answer.json as Markdown

The seconds of a call end when everything that the README prints has been printed into a
string. Imports and the start of the backend of JAX are not included. `cpu` is the
processor time of the process, which depends less on other programs.
The number of programs is that of requests to XLA: with a warm cache they are read
instead of compiled, and counted.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

import first_answer_table as table  # noqa: E402

RESULTS = HERE / "results" / "first_answer.json"
EVENT = "/jax/core/compile/backend_compile_duration"
MARK = "first answer: "  # prefix of the line that is read from a child process
PATIENCE = 900  # seconds until a child process is stopped: a free choice
IMPORTS = 5
CACHES = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")
KEEP_ALL = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
VERIFY = (
    "import sys; sys.argv = ['fpsolve', 'verify', '--quick']; from "
    "fpsolve.cli.application import main; main()"
)


def main(argv: list[str] | None = None) -> int:
    """Measure; print and write each row at once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", metavar="NAME")
    parser.add_argument("--tree", type=Path)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument(
        "--child", nargs=2, metavar=("CASE", "CALLS"), help=argparse.SUPPRESS
    )
    chosen = parser.parse_args(argv)
    if chosen.child:
        return child(*chosen.child)
    if chosen.table:
        print(table.markdown(rows_of(chosen.out)))
        return 0
    if chosen.alone and chosen.tree is None:
        parser.error("--alone leaves out this checkout: name another with --tree PATH.")
    trees = {} if chosen.tree is None else {"before": chosen.tree.resolve()}
    trees |= {} if chosen.alone else {"now": HERE.parent}
    troubles = []
    for name in chosen.only or names(chosen.verify):
        troubles += compare(name, trees, chosen.rounds, chosen.out)
    for trouble in troubles:
        print(trouble)
    return 1 if troubles else 0


def names(verify: bool) -> list[str]:
    """The names of all cases except that of the tests."""
    return [name for name in table.CASES if verify or name != "verify_quick"]


def compare(name: str, trees: dict[str, Path], rounds: int, out: Path) -> list[str]:
    """Run a case in every tree in turn, write and print the rows, and return the
    failures.
    """
    runs: dict[str, list[Any]] = {label: [] for label in trees}
    troubles = []
    for turn in range(rounds):
        for label in list(trees)[:: -1 if turn % 2 else 1]:
            try:
                runs[label].append(measure(name, trees[label]))
            except (RuntimeError, subprocess.TimeoutExpired) as fault:
                troubles.append(f"{name}, {label}: {fault}")
    rows = [
        row_of(name, label, trees[label], runs[label]) for label in trees if runs[label]
    ]
    for row in rows:
        write(row, out)
        if row["error"] > row["goal"]:
            troubles.append(f"{name}, {row['tree']}: error {row['error']:.1e}")
    table.show(rows)
    return troubles


def row_of(
    name: str, label: str, tree: Path, runs: list[dict[str, Any]]
) -> dict[str, Any]:
    """The medians of several runs, with versions, device and date."""
    calls = {}
    for call, figures in runs[0]["calls"].items():
        calls[call] = {
            key: statistics.median(run["calls"][call][key] for run in runs)
            for key in figures
        }
    errors = [
        figures.get("error", 0.0) for run in runs for figures in run["calls"].values()
    ]
    import harness

    return {
        "problem": name,
        "tree": label,
        "commit": commit_of(tree),
        "calls": calls,
        "error": max(errors),
        "goal": runs[0]["goal"],
        "rounds": len(runs),
        "notes": runs[0]["notes"],
        "versions": harness.versions(""),
        "device": harness.device(),
        "cores": harness.environment()["cores"],
        "load": os.getloadavg()[0],
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def commit_of(tree: Path) -> str:
    """The short name of the commit, with a + if the package differs from it."""
    git = ["git", "-C", str(tree)]
    name = subprocess.run(
        [*git, "rev-parse", "--short=7", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    changes = subprocess.run(
        [*git, "status", "--porcelain", "--", "fpsolve"],
        capture_output=True,
        text=True,
        check=False,
    )
    return name.stdout.strip() + ("+" if changes.stdout.strip() else "")


# In fresh processes


def measure(name: str, tree: Path) -> dict[str, Any]:
    """One run of a case: its calls, its largest error and its notes."""
    if name == "import":
        return measured_import(tree)
    if name == "verify_quick":
        return measured_verify(tree)
    found = ask_child(tree, name, "all", None)
    with tempfile.TemporaryDirectory(prefix="first-answer-") as folder:
        for _ in range(2):  # the first fills the cache
            again = ask_child(tree, name, "first", folder)
    found["calls"]["warm"] = again["calls"]["first"]
    return found


def measured_import(tree: Path) -> dict[str, Any]:
    """Seconds of `import fpsolve` after `import jax`."""
    found = [ask_child(tree, "import", "all", None) for _ in range(IMPORTS)]
    seconds = statistics.median(run["seconds"] for run in found)
    return {
        "calls": {"import": {"seconds": seconds}},
        "goal": 0.0,
        "notes": {"runs": IMPORTS},
    }


def measured_verify(tree: Path) -> dict[str, Any]:
    """Seconds of `fpsolve verify --quick`, the whole process."""
    calls = {"first": {"seconds": seconds_of_verify(tree, None)}}
    with tempfile.TemporaryDirectory(prefix="first-answer-") as folder:
        for _ in range(2):
            calls["warm"] = {"seconds": seconds_of_verify(tree, folder)}
    return {"calls": calls, "goal": 0.0, "notes": {}}


def seconds_of_verify(tree: Path, cache: str | None) -> float:
    """Of one process."""
    begun = time.perf_counter()
    run_python(["-c", VERIFY], tree, cache)
    return time.perf_counter() - begun


def ask_child(tree: Path, name: str, calls: str, cache: str | None) -> dict[str, Any]:
    """The measurements of a fresh process that imports fpsolve from `tree`."""
    shown = run_python(
        [str(Path(__file__).resolve()), "--child", name, calls], tree, cache
    )
    (line,) = (line for line in shown.splitlines() if line.startswith(MARK))
    found = json.loads(line.removeprefix(MARK))
    if Path(found.pop("package")).resolve() != (tree / "fpsolve").resolve():
        raise RuntimeError("fpsolve came from another checkout than the one asked for")
    return found


def run_python(arguments: list[str], tree: Path, cache: str | None) -> str:
    """The output of a fresh interpreter. **Raises** `RuntimeError` with its last lines
    if it fails.
    """
    with tempfile.TemporaryDirectory(prefix="first-answer-") as folder:
        environment = {
            key: value for key, value in os.environ.items() if key not in CACHES
        }
        environment |= {
            "PYTHONPATH": str(tree),
            "XDG_CACHE_HOME": cache or folder,
            "PYTHONWARNINGS": "ignore",
        }
        environment |= (
            {} if cache is None else {"JAX_COMPILATION_CACHE_DIR": cache, **KEEP_ALL}
        )
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            env=environment,
            cwd=folder,
            timeout=PATIENCE,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(
            " ".join(done.stderr.splitlines()[-1:]) or f"ended with {done.returncode}"
        )
    return done.stdout


def child(name: str, calls: str) -> int:
    """Run the calls in such a process, and print the measurements."""
    import jax

    jax.config.update("jax_enable_x64", True)
    begun = time.perf_counter()
    import fpsolve

    found: dict[str, Any] = {"seconds": time.perf_counter() - begun}
    if name != "import":
        found = asked(name, calls)
    print(MARK + json.dumps(found | {"package": str(Path(fpsolve.__file__).parent)}))
    return 0


def asked(name: str, calls: str) -> dict[str, Any]:
    """The calls of a case in this process; errors are measured after all of them."""
    import first_answer_cases

    case = first_answer_cases.cases()[name]
    watch = Watch()
    which = first_answer_cases.POTENTIALS if calls == "all" else ("first",)
    found, answers = {}, {}
    for one in which:
        ask = case.prepare(one)
        found[one], answers[one] = watch.call(ask)
    if calls == "all":
        found["again"], answers["again"] = watch.call(ask)
        for call, answer in answers.items():
            found[call]["error"] = case.error(
                "formula" if call == "again" else call, answer
            )
    else:
        found["first"]["error"] = case.error("first", answers["first"])
    return {"calls": found, "goal": case.goal, "notes": case.notes(answers["first"])}


class Watch:
    """Times calls, and counts the programs that they compile."""

    def __init__(self) -> None:
        import jax

        jax.devices()
        self.compiled: list[float] = []
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event: str, seconds: float, **_: Any) -> None:
        if event == EVENT:
            self.compiled.append(seconds)

    def call(self, ask: Any) -> tuple[dict[str, Any], Any]:
        """The measurements of one call, and its result."""
        import jax

        before = len(self.compiled)
        busy = time.process_time()
        begun = time.perf_counter()
        answer = jax.block_until_ready(ask())
        seconds = time.perf_counter() - begun
        new = self.compiled[before:]
        figures = {
            "seconds": seconds,
            "cpu": time.process_time() - busy,
            "programs": len(new),
        }
        return figures | {"compile_seconds": sum(new)}, answer


# Results


def rows_of(path: Path) -> list[dict[str, Any]]:
    """All rows of a file; none if there is no file."""
    return json.loads(path.read_text())["rows"] if path.exists() else []


def write(row: dict[str, Any], path: Path) -> None:
    """Replace the row of the same case and tree; the file is written atomically."""
    import harness

    key = (row["problem"], row["tree"])
    rows = [one for one in rows_of(path) if (one["problem"], one["tree"]) != key]
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(harness.as_json({"rows": [*rows, row]}))
    os.replace(beside, path)


if __name__ == "__main__":
    sys.exit(main())

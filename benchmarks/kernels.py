"""The kernel benchmark: fpsolve against numpy by hand and other packages.

    python benchmarks/kernels.py [--quick] [--only P2 ...] [--out FILE] [--readme]

Every problem of `suite.py`, pair by pair in one process on one core: one table a
problem, then the ratios and their targets, then the laws (`laws.py`). A missed ratio is
shown as missed. A solver that misses its stated error, or raises, makes the run fail at
its end; the others are run all the same. A whole run is written to
`results/kernels.json` with a picture. A part of it (`--quick`, `--only`) is written
only to `--out`.
"""

import argparse
import itertools
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
sys.path[:0] = [path for path in (str(HERE.parent), str(HERE)) if path not in sys.path]

import harness  # noqa: E402
import tables  # noqa: E402

# contest, peer, target for the ratio of its time to that of fpsolve (None: best of its
# family)
RATIOS = (
    ("P1 t=50, 1e-4", "fplanck default", 10_000),
    ("P1 t=50, 1e-4", "fplanck dense", 1_000),
    ("P1 t=1, 1e-8", "diffrax", 10),
    ("P1 t=50, 1e-8", "diffrax", 10),
    ("P1 t=1, 1e-8", "numpy sinc, eigh", 1 / 1.5),
    ("P1 t=50, 1e-8", "numpy sinc, eigh", 1 / 1.5),
    ("P2 1e-8", "numpy sinc, Chebyshev", 3),
    ("P2 1e-8", "diffrax", 25),
    ("P2 1e-8", "exponax", 80),
    ("P2 delivered, 5e-5", "numpy FFT Strang, Richardson", 10),
    ("P3 1e-8", "numpy sinc, Chebyshev", 1.8),
    ("P3 1e-8", "diffrax", 6),
    ("P3 1e-8", "exponax", 20),
    ("P5 2-D, 1e-7", "numpy sinc Strang, 3 levels", 4),
    ("P5 2-D, 1e-7", "diffrax", 12),
    ("P5 2-D, 1e-8", "numpy sinc Strang, 3 levels", 4),
    ("P5 2-D, 1e-8", "diffrax", 12),
    ("P6 1e-8", "numpy sinc, Lanczos", 1),
    ("P6 1e-8", "numpy FFT Strang", 50),
)
# suffix of the names of solvers that are not compiled as a whole
CALLS = ", call by call"
# allowed ratio of the time of `method=None` to that of the best method: a free choice
CHOICE = 1.2


def main(argv: list[str] | None = None) -> int:
    """Run, print, write; return 0 if every solver reaches its stated error. The process
    is started again on one core.
    """
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="kernels.py", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="P1, P2 and P5 on a line, without the slowest rivals",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        help="contests whose names begin so",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        help="a .json file; the picture goes beside it",
    )
    parser.add_argument("--print-only", action="store_true", help="write no file")
    parser.add_argument(
        "--readme", action="store_true", help="put the table of ratios into README.md"
    )
    parser.add_argument("--cores", action="store_true", help="use every core")
    chosen = parser.parse_args(argv)
    if chosen.readme and (chosen.quick or chosen.only):
        parser.error("--readme wants all of it: leave out --quick and --only")
    if chosen.readme:
        tables.parts_of(README)
    if not chosen.cores:
        harness.on_one_core([str(Path(__file__).resolve()), *argv])
    import jax

    jax.config.update("jax_enable_x64", True)
    import laws
    import suite

    contests = [
        contest
        for contest in suite.CONTESTS
        if contest.quick or chosen.only or not chosen.quick
    ]
    for name in chosen.only:
        if not any(contest.name.startswith(name) for contest in contests):
            parser.error(
                f"--only {name}: no contest begins so; there are "
                f"{', '.join(c.name for c in contests)}"
            )
    if chosen.only:
        contests = [
            contest
            for contest in contests
            if contest.name.startswith(tuple(chosen.only))
        ]
    rows = []
    troubles = []
    begun = time.perf_counter()
    for contest in contests:
        found, failures = hold(contest, chosen.quick)
        rows += found
        troubles += tables.report(contest, found, failures)
    ratios = ratio_rows(rows)
    checks = choice_rows(rows)
    if not chosen.only:
        found, broken = laws.rows(chosen.quick)
        checks += found
        troubles += broken
    tables.print_checks(ratios, checks)
    print(f"\n{tables.markdown(ratios)}\n{time.perf_counter() - begun:.0f} s")
    out = chosen.out
    if out is None and not (chosen.only or chosen.quick or chosen.print_only):
        out = HERE / "results" / "kernels.json"
    if out is not None:
        troubles += save(
            out,
            {
                "environment": harness.environment(),
                "rows": rows,
                "ratios": ratios,
                "checks": checks,
            },
        )
    if chosen.readme:
        tables.into_readme(README, tables.markdown(ratios))
    print(
        "\n".join(["", *troubles])
        if troubles
        else "\nevery solver reaches its stated error"
    )
    return 1 if troubles else 0


def hold(contest: Any, quick: bool) -> tuple[list[Any], dict[str, str]]:
    """The rows of a contest, and the reasons why other solvers have none."""
    try:
        return harness.compare(
            contest.name, contest.problem, list(contest.contenders(contest, quick))
        )
    except Exception as fault:  # noqa: BLE001 - the other contests are run all the same
        return [], {"all of it": harness.in_words(fault)}


def ratio_rows(rows: list[Any], wanted: Any = RATIOS) -> list[dict[str, Any]]:
    """Targets and measured ratios of medians; a family is represented by its fastest
    solver.
    """
    answer = []
    for contest, rival, target in wanted:
        here = [row for row in rows if row.problem == contest]
        mine = [row for row in here if row.solver == "fpsolve"]
        theirs = [
            row for row in here if rival in (row.solver, row.family) and row.reached
        ]
        if not mine or not theirs:
            continue
        best = min(theirs, key=lambda row: row.seconds_warm)
        measured = best.seconds_warm / mine[0].seconds_warm
        reached = measured >= target and mine[0].reached
        answer.append(
            {
                "contest": contest,
                "peer": best.solver,
                "target": target,
                "measured": measured,
                "measured_cpu": best.seconds_cpu / mine[0].seconds_cpu,
                "error": mine[0].error,
                "error_reached": mine[0].reached,
                "reached": reached,
            }
        )
    return answer


def choice_rows(rows: list[Any]) -> list[dict[str, Any]]:
    """Whether `method=None` is within 20 % of the best method that reaches the error.
    Compiled solves are compared with compiled ones, and calls with calls.
    """
    answer = []
    for contest, ending in itertools.product(
        dict.fromkeys(row.problem for row in rows), ("", CALLS)
    ):
        here = [
            row for row in rows if row.problem == contest and row.family == "fpsolve"
        ]
        here = [row for row in here if row.solver.endswith(CALLS) == bool(ending)]
        mine = next((row for row in here if row.solver == f"fpsolve{ending}"), None)
        others = [row for row in here if row is not mine and row.reached]
        if mine is None or not others:
            continue
        best = min(others, key=lambda row: row.seconds_warm)
        excess = mine.seconds_warm / best.seconds_warm
        what = f"{contest}: the choice over {best.solver}"
        answer.append(
            {
                "what": what,
                "limit": CHOICE,
                "measured": excess,
                "reached": mine.reached and excess <= CHOICE,
            }
        )
    return answer


def save(path: Path, content: dict[str, Any]) -> list[str]:
    """Write the results atomically, and the picture; return the failure of the picture,
    if any.
    """
    from fpsolve.core.files import write_atomically

    write_atomically(path, lambda file: file.write(harness.as_json(content)))
    try:
        import picture

        picture.draw(content["rows"], path.with_suffix(".png"))
    except Exception as fault:  # noqa: BLE001 - a failing picture must not lose the measurements
        return [f"no picture: {harness.in_words(fault)}"]
    return []


if __name__ == "__main__":
    raise SystemExit(main())

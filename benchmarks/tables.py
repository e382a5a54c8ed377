"""The printed output of benchmarks: a table a problem, the ratios, the laws; the ratios
as Markdown for the README.
"""

import sys
from pathlib import Path
from typing import Any


def report(
    contest: Any,
    rows: list[Any],
    failures: dict[str, str],
    error: str = "relative L1 error",
) -> list[str]:
    """Print a table. Returns the failures, except missing packages and unsupported
    methods.
    """
    print(f"\n{contest.name}: {error} at most {contest.goal:.0e}")
    columns = (
        ("error", 8),
        ("first [s]", 10),
        ("warm [ms]", 11),
        ("cpu [ms]", 10),
        ("peak [MB]", 10),
        ("/ fpsolve", 10),
    )
    print(
        " ".join(
            [f"  {'solver':34s}", *(f"{word:>{width}s}" for word, width in columns)]
        )
    )
    mine = next((row for row in rows if row.solver == "fpsolve"), None)
    troubles = []
    for row in sorted(rows, key=lambda row: row.seconds_warm):
        peak = "-" if row.peak_bytes is None else f"{row.peak_bytes / 1e6:.1f}"
        ratio = "-" if mine is None else f"{row.seconds_warm / mine.seconds_warm:.3g}"
        mark = "" if row.reached else "  misses the error"
        mark += "  (timed once)" if len(row.seconds) == 1 else ""
        line = (
            f"  {row.solver:34s} {row.error:8.1e} {row.seconds_first:10.3f} "
            f"{1e3 * row.seconds_warm:11.3f}"
        )
        print(f"{line} {1e3 * row.seconds_cpu:10.3f} {peak:>10s} {ratio:>10s}{mark}")
        if not row.reached:
            troubles.append(
                f"{contest.name}, {row.solver}: error {row.error:.1e}, stated "
                f"{row.goal:.0e}"
            )
    for solver, reason in failures.items():
        print(f"  {solver:34s} left out: {reason}")
        refused = (
            reason.startswith(("ValueError", "NumericalFailure"))
            and solver != "fpsolve"
        )
        if not refused and not reason.startswith(
            ("ImportError", "ModuleNotFoundError")
        ):
            troubles.append(f"{contest.name}, {solver}: {reason}")
    sys.stdout.flush()
    return troubles


def print_checks(ratios: list[dict[str, Any]], checks: list[dict[str, Any]]) -> None:
    """The table of targets and measured values."""
    print(
        f"\n  {'times as fast as':52s} {'at least':>9s} {'measured':>9s} {'by cpu':>9s}"
    )
    for row in ratios:
        name = f"{row['contest']}: {row['peer']}"
        figures = (
            f"{row['target']:9.4g} {row['measured']:9.4g} {row['measured_cpu']:9.4g}"
        )
        print(f"  {name:52s} {figures}  {_verdict(row)}")
    if checks:
        print(f"\n  {'laws':52s} {'at most':>9s} {'measured':>9s}")
    for row in checks:
        print(
            f"  {row['what']:52s} {row['limit']:9.4g} {row['measured']:9.4g}  "
            f"{'yes' if row['reached'] else 'missed'}"
        )


def markdown(ratios: list[dict[str, Any]]) -> str:
    """The ratios as a table: problem, peer, target, measured, reached."""
    lines = [
        "| problem | peer | at least | measured | reached |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    for row in ratios:
        cells = (
            row["contest"],
            row["peer"],
            _times(row["target"]),
            _times(row["measured"]),
            _verdict(row),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def into_readme(path: Path, table: str, name: str = "speed") -> None:
    """Write the table between the two markers of `path`, `<!-- name -->` and
    `<!-- /name -->`.
    """
    from fpsolve.core.files import write_atomically

    before, after = parts_of(path, name)
    content = f"{before}<!-- {name} -->\n{table}<!-- /{name} -->{after}"
    write_atomically(path, lambda file: file.write(content.encode()))


def parts_of(path: Path, name: str = "speed") -> tuple[str, str]:
    """The text before and after the two markers of `path`. **Raises** `ValueError` if
    they are missing.
    """
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, opening, rest = path.read_text(encoding="utf-8").partition(first)
    _, closing, after = rest.partition(last)
    if not (opening and closing):
        raise ValueError(
            f"{path} has no {first} ... {last}: write the two markers where the table "
            "is to stand."
        )
    return before, after


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} x" if ratio >= 100 else f"{ratio:.3g} x"


def _verdict(row: dict[str, Any]) -> str:
    if row["reached"]:
        return "yes"
    return "missed" if row["error_reached"] else "missed (error)"

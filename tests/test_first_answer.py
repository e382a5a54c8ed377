"""`benchmarks/first_answer.py` asks fresh processes, counts what they compile, and its
table has no gaps.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from blocks import ROOT


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules of the folder, as the command imports them."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import first_answer
    import first_answer_table

    return type("Bench", (), {"run": first_answer, "table": first_answer_table})


def rows(table: Any, trees: tuple[str, ...], seconds: float) -> list[dict[str, Any]]:
    """A row of every case in every tree, each call in `seconds` and with eleven
    programs.
    """
    calls = {call: {"seconds": seconds, "programs": 11} for call in table.CALLS}
    row = {"calls": calls, "error": 0.0, "goal": 0.0, "commit": "0000000"}
    return [
        row | {"problem": name, "tree": tree} for name in table.CASES for tree in trees
    ]


def test_a_tiny_case_from_end_to_end(tmp_path: Path) -> None:
    out = tmp_path / "answers.json"
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "first_answer.py"),
        "--only",
        "tiny",
        "--out",
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads(out.read_text())["rows"]
    assert (row["problem"], row["tree"]) == ("tiny", "now")
    assert row["error"] <= row["goal"]
    assert set(row["calls"]) == {"first", "numbers", "formula", "again", "warm"}
    first, warm = row["calls"]["first"], row["calls"]["warm"]
    assert first["programs"] > 0 and 0 < first["compile_seconds"] < first["seconds"]
    assert warm["compile_seconds"] < first["compile_seconds"]
    assert row["calls"]["again"]["programs"] == 0
    assert str(ROOT) not in out.read_text()
    assert os.path.expanduser("~") not in out.read_text()


def test_a_newer_row_takes_the_place_of_an_older_one_and_of_no_other(
    bench: Any, tmp_path: Path
) -> None:
    out = tmp_path / "answers.json"
    for problem, tree, value in (
        ("a", "before", 1),
        ("a", "now", 2),
        ("b", "now", 3),
        ("a", "now", 4),
    ):
        bench.run.write({"problem": problem, "tree": tree, "value": value}, out)
    assert [row["value"] for row in bench.run.rows_of(out)] == [1, 3, 4]


def test_a_process_that_breaks_is_named(bench: Any, tmp_path: Path) -> None:
    package = tmp_path / "fpsolve"
    package.mkdir()
    (package / "__init__.py").write_text("raise ValueError('broken')")
    with pytest.raises(RuntimeError, match="ValueError: broken"):
        bench.run.ask_child(tmp_path, "import", "all", None)


def test_a_package_from_elsewhere_is_refused(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = bench.run.MARK + json.dumps(
        {"seconds": 1.0, "package": str(tmp_path / "here" / "fpsolve")}
    )
    monkeypatch.setattr(
        bench.run, "run_python", lambda *arguments: f"a warning\n{shown}\n"
    )
    assert bench.run.ask_child(tmp_path / "here", "import", "all", None) == {
        "seconds": 1.0
    }
    with pytest.raises(RuntimeError, match="another checkout"):
        bench.run.ask_child(tmp_path / "there", "import", "all", None)


def test_the_table_shows_both_trees_and_judges_the_last(bench: Any) -> None:
    table = bench.table
    both = rows(table, ("before",), 50.0) + rows(table, ("now",), 0.01)
    lines = table.markdown(both).splitlines()
    assert lines[0] == "| question | call | before | now | target | reached |"
    assert (
        "| `evolve` in the plane, 48 x 48 | first call | 50.00 s | 0.01 s | 2.00 s | "
        "yes |" in lines
    )
    missed = [line for line in lines if line.endswith("| missed |")]
    assert [line.split(" | ")[2:5] for line in missed] == [
        ["11 programs", "11 programs", "10 programs"]
    ]
    assert all(
        "| missed |" in line
        for line in table.markdown(both, ("before",)).splitlines()[2:]
        if " s |" in line
    )


def test_a_figure_with_a_wrong_answer_is_missed(bench: Any) -> None:
    found = rows(bench.table, ("now",), 0.01)
    found[0]["error"] = 1.0  # the calls are shared, the errors are not
    shown = [
        line
        for line in bench.table.markdown(found).splitlines()
        if "missed (error)" in line
    ]
    assert shown and all("`evolve` in the plane" in line for line in shown)


def test_the_table_refuses_a_missing_row(bench: Any) -> None:
    found = rows(bench.table, ("before", "now"), 1.0)
    without = [
        row for row in found if (row["problem"], row["tree"]) != ("transport", "now")
    ]
    with pytest.raises(ValueError, match=r"no row of transport \(now\)"):
        bench.table.markdown(without)
    with pytest.raises(ValueError, match="evolve_plane"):
        bench.table.markdown([])
    # What was not measured before is no obstacle.
    before = [
        row
        for row in found
        if (row["problem"], row["tree"]) != ("spectrum_plane", "before")
    ]
    assert (
        "| `spectrum` in the plane, k = 4 | first call | – | 1.00 s |"
        in bench.table.markdown(before)
    )
    quick = [row for row in found if row["problem"] != "verify_quick"]
    assert "verify" not in bench.table.markdown(quick)
    with pytest.raises(ValueError, match="verify_quick"):
        bench.table.markdown(quick, verify=True)


def test_every_case_has_a_name_for_the_table(bench: Any) -> None:
    import first_answer_cases

    assert set(first_answer_cases.cases()) | {"import", "verify_quick"} == set(
        bench.table.CASES
    ) | {"tiny"}

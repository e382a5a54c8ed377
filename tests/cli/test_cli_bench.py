"""`fpsolve bench`: the table, the exit status, what is written and what is refused; the
figures are not judged here.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import fpsolve.cli.application as cli
from blocks import ROOT
from fpsolve.cli import benchmark as bench
from fpsolve.cli import output

FOLDER = ROOT / "benchmarks"
NAME = "P1 t=1, 1e-4"


def invoke(*words: str) -> Any:
    return CliRunner().invoke(cli.application(), ["bench", "--cores", *words])


@pytest.fixture
def contest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The benchmark cut down to fpsolve and numpy on a line; `contest(goal)` sets the
    error to reach.
    """
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.chdir(tmp_path)
    import by_hand
    import harness
    import suite

    def contenders(contest: Any, quick: bool) -> Any:
        yield suite.ours(contest, "fpsolve", suite.box(2.0), (30,), tol=1e-5)
        yield suite.hand(
            contest, "sinc, eigh", by_hand.sinc_eigh, suite.box(1.9), (28,)
        )

    def plant(goal: float = 1e-4, contenders: Any = contenders) -> None:
        made = suite.Contest(NAME, suite.P1, goal, True, contenders)
        monkeypatch.setattr(suite, "CONTESTS", (made,))

    monkeypatch.setattr(harness, "ENOUGH", 0.0)
    plant()
    return plant


def test_it_prints_the_table_and_writes_nothing(contest: Any, tmp_path: Path) -> None:
    before = sorted((FOLDER / "results").iterdir())
    done = invoke("--only", "P1")
    assert done.exit_code == 0, done.output
    assert f"{NAME}: relative L1 error at most 1e-04" in done.output
    for solver in ("  fpsolve ", "  numpy sinc, eigh "):
        (line,) = [line for line in done.output.splitlines() if line.startswith(solver)]
        assert float(line.split()[-6]) <= 1e-4
    assert "every solver reaches its stated error" in done.output
    assert sorted((FOLDER / "results").iterdir()) == before
    assert list(tmp_path.iterdir()) == []


def test_a_stated_error_that_is_missed_is_an_exit_status(contest: Any) -> None:
    contest(goal=1e-30)
    done = invoke("--only", "P1")
    assert done.exit_code == 1
    assert f"{NAME}, numpy sinc, eigh: error" in done.output
    assert "misses the error" in done.output


def test_a_contest_that_breaks_is_an_exit_status(contest: Any) -> None:
    def broken(contest: Any, quick: bool) -> Any:
        raise RuntimeError("planted")
        yield

    contest(contenders=broken)
    done = invoke("--only", "P1")
    assert done.exit_code == 1 and "planted" in done.output


def test_rows_go_where_out_says(contest: Any, tmp_path: Path) -> None:
    assert invoke("--only", "P1", "--out", "rows.json").exit_code == 0
    found = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    keys = {
        "error",
        "seconds_first",
        "seconds_warm",
        "peak_bytes",
        "versions",
        "device",
        "date",
        "dtype",
        "parameters",
    }
    assert len(found["rows"]) == 2 and all(keys <= row.keys() for row in found["rows"])
    assert np.all([row["reached"] for row in found["rows"]])
    assert (tmp_path / "rows.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "said"), [(["--only", "P9"], "P9"), (["--out", "rows.csv"], ".json")]
)
def test_what_cannot_be_right_is_refused(
    contest: Any, words: list[str], said: str, tmp_path: Path
) -> None:
    done = invoke(*words)
    assert done.exit_code == 2 and said in done.output
    assert list(tmp_path.iterdir()) == []


def test_without_the_repository_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        bench, "__file__", str(tmp_path / "site" / "fpsolve" / "cli.py")
    )
    monkeypatch.chdir(tmp_path)
    done = invoke()
    assert done.exit_code == 2
    assert "bench = " in done.output and "Clone the repository" in done.output


def test_without_scipy_it_says_which_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "find_spec", lambda name: None)
    done = invoke()
    assert done.exit_code == 2 and 'pip install "fpsolve[bench]"' in done.output


def test_one_core_is_taken_by_a_new_process() -> None:
    code = "from fpsolve.cli.application import main; main()"
    words = [sys.executable, "-c", code, "bench", "--only", NAME]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "numpy sinc, eigh" in done.stdout

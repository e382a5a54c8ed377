"""`fpsolve verify`: the table at every width, the exit status, the JSON. The claims
themselves are tested elsewhere.
"""

import dataclasses
import json
import math
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fpsolve.cli.application as cli
from fpsolve.cli import verification
from fpsolve.theorem import Certificate, theorems

RUNNER = CliRunner()
NAMES = [theorem.name for theorem in theorems()]


def certificate(
    name: str, statement: str, *, holds: bool = True, refused: bool = True
) -> Certificate:
    control = Certificate(
        "N1",
        "the same, broken on purpose",
        "identity",
        3.28,
        2.845,
        -7.4e9,
        not refused,
        None,
        0.1,
    )
    return Certificate(
        name, statement, "identity", 1.2345678, 1.2345678, 0.98, holds, control, 0.1
    )


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Certificates without measuring: what was asked for is listed."""
    asked: list[tuple[str, bool]] = []

    def verify(theorem, *, refine=True, grid_factor=1.0, seed=0):
        asked.append((theorem.name, refine))
        return certificate(theorem.name, theorem.statement)

    monkeypatch.setattr(cli, "verify", verify)
    # another process would measure
    monkeypatch.setattr(verification, "_workers", lambda count: 1)
    return asked


def invoke(*words: str, columns: int | None = None):
    env = {"COLUMNS": None if columns is None else str(columns)}
    return RUNNER.invoke(cli.application(), list(words), env=env)


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_the_table_fits_the_terminal(columns: int, measured: list) -> None:
    done = invoke("verify", columns=columns)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert max(map(len, lines)) <= columns
    for name in NAMES:
        assert any(line.startswith(f"{name}:") and "holds" in line for line in lines), (
            name
        )
    assert sum("refused" in line and "control N1" in line for line in lines) == len(
        NAMES
    )
    assert "…" not in done.output


def test_a_pipe_gets_one_full_row_a_claim_without_colours(measured: list) -> None:
    done = invoke("verify")
    assert "\x1b" not in done.output
    for theorem in theorems():
        (row,) = [
            line
            for line in done.output.splitlines()
            if line.startswith(f"{theorem.name} ")
        ]
        for part in (
            theorem.statement,
            "1.235",
            "0.98",
            "holds",
            "N1",
            "3.28",
            "2.845",
            "refused",
        ):
            assert part in row
    assert f"{len(NAMES)} of {len(NAMES)} claims hold" in done.output


def test_only_and_quick_choose(measured: list) -> None:
    assert (
        invoke("verify", "--only", NAMES[1], "--only", NAMES[0], "--quick").exit_code
        == 0
    )
    assert measured == [(NAMES[0], False), (NAMES[1], False)]
    measured.clear()
    invoke("verify", "--only", NAMES[0])
    assert measured == [(NAMES[0], True)]


def test_an_unknown_name_is_refused_before_anything_is_measured(
    measured: list, tmp_path: Path
) -> None:
    done = invoke(
        "verify",
        "--only",
        NAMES[0],
        "--only",
        "T3.mode",
        "--json",
        str(tmp_path / "v.json"),
    )
    assert done.exit_code == 2
    assert "Did you mean 'T3.modes'?" in done.output
    assert measured == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("holds", "refused", "said"),
    [(False, True, "failing: T1"), (True, False, "N1 of T1")],
)
def test_a_failure_of_either_kind_is_an_exit_status(
    holds: bool, refused: bool, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        cli,
        "verify",
        lambda theorem, **_: certificate("T1", "x", holds=holds, refused=refused),
    )
    done = invoke("verify", "--only", NAMES[0])
    assert done.exit_code == 1
    assert said in done.output
    assert ("FAILS" in done.output, "NOT refused" in done.output) == (
        not holds,
        not refused,
    )


def test_a_control_that_could_not_be_measured_refuses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = certificate("T1", "x")
    blind = dataclasses.replace(
        whole, control=dataclasses.replace(whole.control, lhs=math.nan)
    )
    monkeypatch.setattr(cli, "verify", lambda theorem, **_: blind)
    assert invoke("verify", "--only", NAMES[0]).exit_code == 1


def test_the_json_holds_every_field(measured: list, tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    assert invoke("verify", "--json", str(path)).exit_code == 0
    found = json.loads(path.read_text(encoding="utf-8"))
    assert [entry["name"] for entry in found] == NAMES
    keys = {
        "name",
        "statement",
        "kind",
        "lhs",
        "rhs",
        "margin",
        "holds",
        "control",
        "seconds",
    }
    assert all(
        keys <= entry.keys()
        and {"name", "lhs", "rhs", "refused"} <= entry["control"].keys()
        for entry in found
    )


def test_several_processes_measure_what_one_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quick = ("T5.entropy", "T7", "T29", "T13.weights", "T21.normal")  # the shortest
    words = [word for name in quick for word in ("--only", name)]
    found = []
    for workers in (1, 2):
        monkeypatch.setattr(
            verification, "_workers", lambda count, workers=workers: workers
        )
        path = tmp_path / f"{workers}.json"
        assert invoke("verify", "--quick", *words, "--json", str(path)).exit_code == 0
        found.append(
            [
                (row["name"], row["lhs"])
                for row in json.loads(path.read_text(encoding="utf-8"))
            ]
        )
    assert [name for name, _ in found[1]] == [name for name in NAMES if name in quick]
    assert found[1] == found[0]


def test_two_theorems_of_one_name_have_a_certificate_each(tmp_path: Path) -> None:
    path, json_file = tmp_path / "two.py", tmp_path / "two.json"
    line = (
        '{0} = fp.claim("same", "one is {1}", kind="identity", allowed=1e-9, '
        'control=("2", "2"))(lambda case: (1.0, 2.0 if case.control else {1}))\n'
    )
    path.write_text(
        "import fpsolve as fp\n"
        + line.format("wrong", "3.0")
        + line.format("right", "1.0")
    )
    assert (
        invoke("verify", "--file", str(path), "--json", str(json_file)).exit_code == 1
    )
    assert [
        row["holds"] for row in json.loads(json_file.read_text(encoding="utf-8"))
    ] == [False, True]


OWN = """
import fpsolve as fp

@fp.claim(
    "mine",
    "one is {right}",
    kind="identity",
    allowed=1e-9,
    control=("two", "one is two"),
)
def mine(case):
    return 1.0, 2.0 if case.control else {right}
"""


@pytest.mark.parametrize(("right", "status"), [(1.0, 0), (1.1, 1)])
def test_theorems_of_a_file_are_measured_and_a_false_one_fails(
    right: float, status: int, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN.format(right=right), encoding="utf-8")
    done = invoke("verify", "--file", str(file))
    assert done.exit_code == status, done.output
    assert f"mine    one is {right}" in done.output
    assert "1 of 1 controls are refused" in done.output
    assert ("failing: mine" in done.output) == bool(status)


def test_a_file_without_theorems_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "none.py"
    file.write_text("x = 1\n", encoding="utf-8")
    done = invoke("verify", "--file", str(file))
    assert done.exit_code == 2 and "it makes no theorem" in done.output
    file.write_text("x = 1 / 0\n", encoding="utf-8")
    done = invoke("verify", "--file", str(file))
    assert done.exit_code == 2 and "none.py, line 1: ZeroDivisionError" in done.output


def test_list_names_every_claim_and_measures_none(measured: list) -> None:
    done = invoke("verify", "--list")
    assert done.exit_code == 0 and not measured
    for theorem in theorems():
        assert f"{theorem.name} " in done.output and theorem.kind in done.output


def test_a_page_holds_every_certificate_and_needs_no_other_file(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "mine.py"
    sweep = 'sweep=(0.25, 0.5), control=("<two>", "one is two")'
    file.write_text(
        OWN.format(right=1.0).replace('control=("two", "one is two")', sweep),
        encoding="utf-8",
    )
    done = invoke(
        "verify",
        "--file",
        str(file),
        "--report",
        str(tmp_path / "page"),
        "--json",
        str(tmp_path / "a.json"),
    )
    assert done.exit_code == 0, done.output
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert (
        "not a proof" in page
        and 'href="#mine"' in page
        and 'id="mine"' in page
        and page.count("<svg") == 1
    )
    assert "&lt;two&gt;" in page and "<two>" not in page
    assert not re.findall(
        r'(?:src|href)="(?!#)(?!http://www.w3.org)[^"]*"', page.replace("xlink:", "")
    )
    (row,) = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert [point["at"] for point in row["points"]] == [0.25, 0.5]
    assert len(row["control"]["points"]) == 2

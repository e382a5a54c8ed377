"""`fpsolve anneal`: what it reads, prints, writes and refuses.

What is fast here stands in for the transports with the closed form of a Gaussian that
is dragged; the slow tests run the command as it is.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

import fpsolve.cli.anneal as anneal
import fpsolve.cli.application as cli
from fpsolve.anneal.schedule import COSTS, tabulated
from refusals import refused_file

RUNNER = CliRunner()
PYTHON = """
import fpsolve as fp
start = lambda x: (x[0] + 1) ** 2 / 2
end = lambda x: (x[0] - 1) ** 2 / 2
grid = fp.Grid(fp.Line(-7.0, 7.0, 40))
total = 4.0
"""
TOML = """
total = 4.0
[start]
kind = "Harmonic"
center = -1.0
[end]
kind = "Harmonic"
center = 1.0
[[grid]]
kind = "Line"
lower = -7.0
upper = 7.0
n = 40
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test works in a folder of its own that holds the two examples."""
    (tmp_path / "drag.py").write_text(PYTHON, encoding="utf-8")
    (tmp_path / "drag.toml").write_text(TOML, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Way:
    """A schedule that is known: u or u^2."""

    gain, cost_integral, along = 3.0, 0.437, "along"

    def __init__(self, name: str, total: float) -> None:
        self.name, self.total = name, total
        self.gain = 1.0 if name == "linear" else 3.0

    def table(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Times and lambda."""
        u = np.linspace(0, 1, n + 1)
        return u * self.total, u ** (1 + (self.name != "linear"))


@pytest.fixture
def closed_form(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Known schedules, and transports whose KL goes by name; what was asked is kept."""
    asked: dict[str, Any] = {
        "ends": {
            "linear": 0.08,
            "bound": 0.01,
            "score": 0.02,
            "wasserstein": 0.004,
            "exact": 0.03,
        }
    }

    def transport(path: Any, way: Way, **options: Any) -> Any:
        asked.update(options, path=path)
        kl = asked["ends"][way.name]
        bounded = way.name != "linear"
        return SimpleNamespace(
            kl=np.array([0.0, kl]),
            tv=np.array([0.0, kl / 2]),
            bound=np.array([0.0, 0.5 if bounded else np.inf]),
            bound_by="T16" if bounded else "none: T15 needs bounded driving",
            gap=np.array([1.0, 0.25, 2.0]),
            lambdas=np.array([0.0, 0.5, 1.0]),
            grid=options["grid"],
            plot=Figure,
        )

    monkeypatch.setattr(anneal, "transport", transport)
    monkeypatch.setattr(anneal.schedule, "linear", lambda total: Way("linear", total))
    monkeypatch.setattr(
        anneal.schedule,
        "optimal",
        lambda path, total, cost="bound", **options: Way(cost, total),
    )
    return asked


def run(*words: str) -> Any:
    return RUNNER.invoke(cli.application(), ["anneal", *words], env={"COLUMNS": None})


def refused(text: str, here: Path, suffix: str = ".py", *words: str) -> str:
    """The one line said of a file that is refused."""
    return refused_file(run, text, here, suffix, *words)


def column(output: str, name: str) -> list[str]:
    """The row of a schedule in the table, as words."""
    return next(line for line in output.splitlines() if line.startswith(name)).split()


@pytest.mark.parametrize("file", ["drag.py", "drag.toml"])
def test_every_schedule_is_tried_and_the_best_is_written(
    file: str, closed_form: dict[str, Any], here: Path
) -> None:
    done = run(file)
    assert done.exit_code == 0, done.output
    assert [cost for cost in COSTS if f"optimal, {cost}" in done.output] == list(COSTS)
    assert column(done.output, "linear") == [
        "linear",
        "8.000e-02",
        "4.000e-02",
        "none",
        "1",
        "1",
    ]
    row = ["optimal,", "wasserstein", "4.000e-03", "2.000e-03", "0.5", "T16", "20", "3"]
    assert column(done.output, "optimal, wasserstein") == row
    for words in (
        "Grid(Line(-7, 7, 40))",
        "time       4",
        "0.25, at lambda = 0.5",
        "optimal, wasserstein: drag.csv",
    ):
        assert words in done.output
    rows = np.loadtxt(here / "drag.csv", delimiter=",", skiprows=1)
    assert (here / "drag.csv").read_text().startswith("t,lambda\n0.0,0.0\n")
    np.testing.assert_allclose(rows[:, 1], (rows[:, 0] / 4) ** 2, rtol=1e-15)
    assert float(tabulated(*rows.T).total) == 4.0
    assert (here / "drag.png").read_bytes().startswith(b"\x89PNG")
    assert float(closed_form["path"](0.5)(np.array([2.0]))) == 2.5


def test_options_take_precedence_and_one_cost_is_enough(
    closed_form: dict[str, Any], here: Path
) -> None:
    words = (
        "--total",
        "6",
        "--diffusion",
        "0.5",
        "--cost",
        "exact",
        "--out",
        "way.csv",
        "--plot",
        "way.svg",
    )
    done = run("drag.py", *words)
    assert done.exit_code == 0, done.output
    assert "optimal, exact: way.csv" in done.output
    assert "optimal, bound" not in done.output
    assert closed_form["diffusion"] == 0.5
    assert (here / "way.csv").read_text().splitlines()[-1] == "6.0,1.0"
    assert (here / "way.svg").exists()


def test_without_a_total_the_path_decides(
    closed_form: dict[str, Any], here: Path
) -> None:
    (here / "p.py").write_text(PYTHON.replace("total = 4.0", ""), encoding="utf-8")
    done = run("p.py")
    assert done.exit_code == 0, done.output
    assert "4.4, since none was given: 10 x C of the adiabatic bound" in done.output


def test_the_linear_schedule_is_written_where_it_is_best(
    closed_form: dict[str, Any], here: Path
) -> None:
    closed_form["ends"]["linear"] = 1e-5
    assert "linear: drag.csv" in run("drag.py").output


def test_existing_files_are_kept_unless_forced(
    closed_form: dict[str, Any], here: Path
) -> None:
    for name in ("drag.csv", "drag.png"):
        (here / name).write_bytes(b"old")
        done = run("drag.py")
        assert done.exit_code == 2
        assert f"{name}': this file exists" in done.output
        assert "path" not in closed_form
        assert (here / name).read_bytes() == b"old"
        (here / name).unlink()
    (here / "drag.csv").write_bytes(b"old")
    assert run("drag.py", "--force").exit_code == 0
    assert (here / "drag.csv").read_bytes() != b"old"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("total = 4.0", "total = 0.0", "total = 0.0: it must be above zero"),
        ("total = 4.0", "totl = 4.0", "Did you mean 'total'?"),
        (
            "total = 4.0",
            "total = 4.0; diffusion = -1",
            "diffusion = -1.0: it must be above zero",
        ),
        ("total = 4.0", "total = 4.0; cost = 'exakt'", "Did you mean 'exact'?"),
        (
            "total = 4.0",
            "total = 4.0; times = [1.0, 5.0]",
            "they must lie within [0, 4]",
        ),
        ("total = 4.0", "times = [1.0, 5.0]", "they go with a total"),
        ("total = 4.0", "path = lambda lam: start", "gives start or end as well"),
        ("end =", "path = 3.0\nlast =", "gives start or end as well"),
        ("end =", "last =", "p.py must give a path, or start and end"),
        ("(x[0] - 1) ** 2 / 2", "1\nend = 3.0", "end = 3.0: it must be a potential"),
        (
            "(x[0] - 1) ** 2 / 2",
            "1\nend = lambda x, t: t * x[0] ** 2",
            "it must not depend on time",
        ),
        ("fp.Grid(fp.Line(-7.0, 7.0, 40))", "40", "grid = 40: it must be an fp.Grid"),
    ],
)
def test_what_cannot_be_right_is_one_clear_line(
    old: str, new: str, said: str, closed_form: dict[str, Any], here: Path
) -> None:
    assert said in refused(PYTHON.replace(old, new, 1), here)
    assert "path" not in closed_form


def test_paths_that_are_none_and_files_that_cannot_be_are_named(
    closed_form: dict[str, Any], here: Path
) -> None:
    assert "path = 2.0: it must be callable" in refused("path = 2.0", here)
    assert "path(0.5) = 0.5: it must be a potential" in refused(
        "path = lambda lam: lam", here
    )
    assert "p.py: path(0.5) fails: ZeroDivisionError" in refused(
        "path = lambda lam: 1 / 0", here
    )
    assert "path: there is no such key" not in refused("path = 1", here, ".toml")
    assert "Did you mean 'Harmonic'?" in refused(
        TOML.replace("Harmonic", "Harmonik"), here, ".toml"
    )
    assert "p.toml must give a path, or start and end" in refused(
        "total = 1.0", here, ".toml"
    )
    assert "it must end in .py or .toml" in refused("x", here, ".txt")
    assert "it must end in .csv" in refused(PYTHON, here, ".py", "--out", "way.txt")
    assert "it must end in .png or .pdf or .svg" in refused(
        PYTHON, here, ".py", "--plot", "way.jpg"
    )
    assert "no such file" in run("nowhere.py").output

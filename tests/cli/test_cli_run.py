"""`fpsolve run`: what it reads, prints, writes and refuses."""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import fpsolve.cli.application as cli
from fpsolve.cli import evolution, output
from fpsolve.core.result import NumericalFailure
from fpsolve.io import load
from refusals import refused_file

DATA = Path(__file__).parent / "data"
RUNNER = CliRunner()
WELL = (DATA / "double_well.toml").read_text(encoding="utf-8")
PYTHON = """
import fpsolve as fp
def potential(x):
    return (x[0] ** 2 - 1) ** 2
grid = fp.Grid(fp.Line(-2.5, 2.5, 24))
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test works in a folder of its own that holds the two examples."""
    for name in ("double_well.toml", "moving_trap.py"):
        shutil.copy(DATA / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> Any:
    return RUNNER.invoke(cli.application(), ["run", *words], env={"COLUMNS": None})


def refused(text: str, here: Path, suffix: str = ".toml", *words: str) -> str:
    """The one line said of a file that is refused."""
    return refused_file(run, text, here, suffix, *words)


def test_a_toml_problem_is_evolved_written_and_drawn(here: Path) -> None:
    done = run("double_well.toml")
    assert done.exit_code == 0, done.output
    for word in (
        "Line(-2.5, 2.5, 64)",
        "Spectral, as requested",
        "mass",
        "minimum",
        "correspondence  holds",
        "error",
    ):
        assert word in done.output
    record = load("double_well.npz")
    assert record.values.shape == (2, 64) and record.header["result"] == "successful"
    assert (here / "double_well.png").read_bytes().startswith(b"\x89PNG")


def test_a_moving_potential_from_python(here: Path) -> None:
    done = run(
        "moving_trap.py",
        "--out",
        "trap.nc",
        "--plot",
        "trap.svg",
        "--times",
        "0.25,0.5",
        "--tol",
        "1e-4",
    )
    assert done.exit_code == 0, done.output
    assert "Magnus, because the equation moves" in done.output
    assert np.array_equal(load("trap.nc").times, [0.25, 0.5])
    assert (here / "trap.svg").exists()


def test_existing_files_are_kept_unless_forced(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        evolution,
        "evolve",
        lambda *args, **kwargs: pytest.fail("computed before looking"),
    )
    for name in ("double_well.npz", "double_well.png"):
        (here / name).write_bytes(b"old")
        done = run("double_well.toml")
        assert done.exit_code == 2 and f"{name}': this file exists" in done.output
        assert (here / name).read_bytes() == b"old"
        (here / name).unlink()
    monkeypatch.undo()
    monkeypatch.chdir(here)
    (here / "double_well.npz").write_bytes(b"old")
    assert run("double_well.toml", "--force").exit_code == 0
    assert load("double_well.npz").kind == "Solution"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "barrier =",
            "barier =",
            "potential.barier = 3.0: there is no such key; allowed here: barrier,",
        ),
        ("barrier =", "barier =", "Did you mean 'barrier'?"),
        ('"DoubleWell"', '"DoubleWel"', "Did you mean 'DoubleWell'?"),
        ("diffusion =", "difusion =", "Did you mean 'diffusion'?"),
        ("covariance", "covarience", "Did you mean 'covariance'?"),
        ("upper", "uper", "grid[0].uper = 2.5: there is no such key"),
        ('"Line"', '"line"', "Did you mean 'Line'?"),
        ('"Spectral"', '"Spektral"', "scheme = 'Spektral'"),
        ('"Chebyshev"', '"Chebychev"', "Did you mean 'Chebyshev'?"),
        ("[potential]", "[potental]", "Did you mean 'potential'?"),
        ("barrier = 3.0", "barrier = -3.0", "[potential] barrier = "),
        (
            "barrier = 3.0",
            'barrier = "high"',
            "potential.barrier = 'high': it must be a number",
        ),
        ("n = 64", "n = 2", "Line.n = 2"),
        ("n = 64", "", "grid[0] = "),
        ("times = [0.1, 1.0]", "times = [1.0, 0.1]", "they must be ascending"),
        ("tol = 1e-8", "tol = 0.0", "tol = 0.0: it must be positive"),
        ("diffusion = 1.0", "diffusion = -1.0", "diffusion = -1.0"),
        ("kind =", "kind", "p.toml: "),
    ],
)
def test_what_cannot_be_right_is_one_clear_line(
    old: str, new: str, said: str, here: Path
) -> None:
    assert said in refused(
        WELL.replace(old, new, 1) if old != '"Line"' else WELL.replace(old, new), here
    )


def test_missing_parts_are_named(here: Path) -> None:
    assert "p.toml must give a grid" in refused(WELL.partition("[[grid]]")[0], here)
    assert "p.toml must give a potential" in refused("diffusion = 1.0", here)
    assert "p.py must give a grid" in refused(
        "potential = lambda x: x[0] ** 2", here, ".py"
    )
    assert "Add end" in refused(
        '[potential]\nstart = {kind = "Harmonic"}\n'
        'schedule = {kind = "linear", total = 1}',
        here,
    )
    assert "it must end in .py or .toml" in refused("x", here, ".txt")
    assert "no such file" in run("nowhere.toml").output


def test_a_python_file_that_fails_names_its_line(here: Path) -> None:
    said = refused("potential = lambda x: x[0]\ngrid = undefined\n", here, ".py")
    assert "p.py, line 2: NameError: name 'undefined' is not defined" in said
    assert "line 1: SyntaxError" in refused("potential = (\n", here, ".py")
    assert "Did you mean 'diffusion'?" in refused(
        PYTHON + "difusion = 3.0", here, ".py"
    )


def test_sums_and_moving_potentials_in_toml(here: Path) -> None:
    rest = WELL.partition("[initial]")[2]
    parts = (
        '[[potential]]\nkind = "Harmonic"\n'
        '[[potential]]\nkind = "DoubleWell"\nbarrier = 2.0\n'
        f"[initial]{rest}"
    )
    (here / "sum.toml").write_text(
        'times = [0.1]\nscheme = "ScharfetterGummel"\n' + parts, encoding="utf-8"
    )
    assert run("sum.toml").exit_code == 0
    x = np.linspace(-2.5, 2.5, 129)[1::2]
    assert np.allclose(load("sum.npz")["potential"], x**2 / 2 + 2 * (x**2 - 1) ** 2)
    moving = (
        '[potential]\nstart = {kind = "Harmonic"}\n'
        'end = {kind = "Harmonic", center = 1.0}\n'
        'schedule = {kind = "linear", total = 0.2}\n'
        f"[initial]{rest}"
    )
    (here / "move.toml").write_text(
        "times = [0.1, 0.3]\ntol = 1e-4\n" + moving, encoding="utf-8"
    )
    done = run("move.toml")
    assert done.exit_code == 0, done.output
    half = (x**2 + (x - 1) ** 2) / 4
    assert np.allclose(load("move.npz")["potential"], [half, (x - 1) ** 2 / 2])


def test_defaults_are_said_and_a_force_has_no_wave(here: Path) -> None:
    (here / "p.py").write_text(PYTHON + "force = lambda x: -x\n", encoding="utf-8")
    done = run("p.py", "--times", "0.1")
    assert done.exit_code == 0, done.output
    assert "note: no initial density was given" in done.output
    assert "correspondence  none, because the process has a force" in done.output


def test_a_numerical_failure_is_exit_status_one(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise NumericalFailure("not_finite: Look at the potential.")

    monkeypatch.setattr(evolution, "evolve", fail)
    done = run("double_well.toml")
    assert (done.exit_code, done.output) == (
        1,
        "failed: not_finite: Look at the potential.\n",
    )
    assert not (here / "double_well.npz").exists()


def test_without_matplotlib_the_result_is_still_written(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        output,
        "find_spec",
        lambda name: None if name in {"matplotlib", "xarray"} else find_spec(name),
    )
    done = run("double_well.toml")
    assert done.exit_code == 0
    assert (
        'picture         none: matplotlib is not installed: pip install "fpsolve[plot]"'
        in done.output
    )
    assert (here / "double_well.npz").exists()
    assert not (here / "double_well.png").exists()
    for words in (("--plot", "a.png"), ("--out", "a.nc")):
        done = run("double_well.toml", "--force", *words)
        assert done.exit_code == 2 and "pip install" in done.output


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_the_extra_the_command_says_how_to_get_it(package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None; from fpsolve.cli.application "
        "import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert 'pip install "fpsolve[cli]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_itself_works_in_double_precision(here: Path) -> None:
    code = "from fpsolve.cli.application import main; main()"
    words = [sys.executable, "-c", code, "run", "double_well.toml", "--times", "0.1"]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert load("double_well.npz").values.dtype == np.float64

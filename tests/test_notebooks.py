"""Every notebook is short, carries its outputs, and runs from top to bottom."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from blocks import ROOT, execute_as_reader

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_CELLS, MOST_BYTES = 12, 300_000


def faults(notebook: nbformat.NotebookNode, size: int) -> list[str]:
    """What keeps `notebook`, a file of `size` bytes, from being one of ours; nothing
    when it is.
    """
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found = []
    if len(notebook.cells) > MOST_CELLS:
        found.append(f"{len(notebook.cells)} cells, at most {MOST_CELLS}")
    if size >= MOST_BYTES:
        found.append(f"{size} bytes, below {MOST_BYTES}")
    if not any(cell.outputs for cell in code):
        found.append("no outputs")
    if any(cell.execution_count is None for cell in code):
        found.append("a cell was never run")
    if any(output.output_type == "error" for cell in code for output in cell.outputs):
        found.append("an error among the outputs")
    return found


def as_script(notebook: nbformat.NotebookNode) -> str:
    """The code cells of `notebook`, one after the other."""
    return "\n\n".join(
        cell.source for cell in notebook.cells if cell.cell_type == "code"
    )


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_short_and_carries_its_outputs(path: Path) -> None:
    assert faults(read(path), path.stat().st_size) == []


QUICK = ("01_quickstart",)  # the others are run in a kernel only, in the long suite
SMALLER = {  # what the cell of parameters is followed by there
    "05_two_modes": "SEEDS, places = 1, places[::3]",
    "06_annealing_speed": (
        "SEEDS, STEPS, BUDGETS, SIDE, PLACES = 1, 300, (3, 6, 12, 24), 40, 4"
    ),
    "07_two_moons": "SEEDS, STEPS = 1, 1000",
    "08_hamiltonians_from_samples": "SEEDS = 1",
    "09_digits": (
        "TRAINING, PLACES, COPIES, COUNT, SEEDS, BUDGETS, BOTTLENECK = 200, 4, 1, "
        "200, 2, (2, 5), 'linear'"
    ),
}


@pytest.mark.parametrize(
    "path", [p for p in NOTEBOOKS if p.stem in QUICK], ids=lambda path: path.stem
)
def test_notebook_runs_as_a_script(path: Path, tmp_path: Path) -> None:
    done = execute_as_reader(as_script(read(path)), tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_in_a_kernel(path: Path, tmp_path: Path) -> None:
    done = run_in_kernel(smaller(read(path), SMALLER.get(path.stem)), tmp_path)
    assert not [fault for fault in faults(done, 0) if "cells" not in fault]


def smaller(
    notebook: nbformat.NotebookNode, numbers: str | None
) -> nbformat.NotebookNode:
    """`notebook` with other `numbers`, given after its first cell of code."""
    if numbers is not None:
        first = next(
            k for k, cell in enumerate(notebook.cells) if cell.cell_type == "code"
        )
        notebook.cells.insert(
            first + 1,
            nbformat.v4.new_code_cell(f"{numbers}\nprint({numbers.split(' = ')[0]})"),
        )
    return notebook


def run_in_kernel(
    notebook: nbformat.NotebookNode, folder: Path
) -> nbformat.NotebookNode:
    """`notebook` after every cell was executed in a kernel that started in `folder`.

    Notebooks compute more than they compile, so the compiler is not asked to hurry as
    it is in `conftest`.
    """
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute(env=os.environ | {"XLA_FLAGS": ""})


def made_up(*sources: str) -> nbformat.NotebookNode:
    """A notebook of code cells, each as if it had been run and had printed."""
    output = nbformat.v4.new_output("stream", text="1\n")
    return nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(source, execution_count=1, outputs=[output])
            for source in sources
        ]
    )


def test_a_long_an_empty_and_a_heavy_notebook_are_caught() -> None:
    assert faults(made_up("1"), 1000) == []
    assert faults(made_up(*["1"] * 13), 1000) == ["13 cells, at most 12"]
    assert faults(made_up("1"), MOST_BYTES) == [
        f"{MOST_BYTES} bytes, below {MOST_BYTES}"
    ]
    never_run = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    assert faults(never_run, 1000) == ["no outputs", "a cell was never run"]


def test_a_broken_notebook_is_caught_as_a_script(tmp_path: Path) -> None:
    assert (
        "ZeroDivisionError"
        in execute_as_reader(as_script(made_up("a = 0", "1 / a")), tmp_path).stderr
    )


def test_a_broken_notebook_is_caught_in_a_kernel(tmp_path: Path) -> None:
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        run_in_kernel(made_up("a = 0", "1 / a"), tmp_path)

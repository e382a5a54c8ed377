"""README.md: its Python blocks run as a reader would run them, and its first two bash
blocks are the two commands.
"""

import subprocess
from pathlib import Path

import pytest

from blocks import ROOT, execute_as_reader, fenced

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8") if README.exists() else ""
PYTHON = fenced(TEXT, "python")


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_block_runs(number: int, tmp_path: Path) -> None:
    block = PYTHON[number]
    done = execute_as_reader(block.code, tmp_path)
    assert done.returncode == 0, (
        f"README.md, line {block.line}:\n{block.code}\n{done.stderr}"
    )


def test_quick_start_opens_with_the_two_commands() -> None:
    before, heading, after = TEXT.partition("## Quick start")
    assert heading, "README.md has no section 'Quick start'"
    assert not fenced(before, "bash"), (
        "a bash block stands before 'Quick start', where .ci/run counts from"
    )
    run, test = fenced(after)[:2]
    assert (run.language, test.language) == ("bash", "bash")
    assert run.code.startswith("pip install -e ")
    assert "fpsolve verify --quick" in run.code
    install, check = test.code.strip().splitlines()
    assert install == 'pip install -e ".[test]"'
    assert check.split()[0] == "pytest"


def test_continuous_integration_runs_the_second_block() -> None:
    shown = subprocess.run(
        [ROOT / ".ci" / "run", "--show"], capture_output=True, text=True, check=True
    )
    assert shown.stdout == fenced(TEXT, "bash")[1].code


def test_a_broken_block_is_caught(tmp_path: Path) -> None:
    text = (
        "# A page\n\n```python\nassert 1 + 1 == 3\n```\n\n```python\nassert 1 + 1 == "
        "2\n```\n"
    )
    broken, sound = fenced(text, "python")
    assert (broken.line, sound.line) == (4, 8)
    assert "AssertionError" in execute_as_reader(broken.code, tmp_path).stderr
    assert execute_as_reader(sound.code, tmp_path).returncode == 0

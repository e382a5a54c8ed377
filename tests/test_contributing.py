"""CONTRIBUTING.md: its Python blocks run as a reader would run them, after the change
that stands above them.

A section under "To add something" may have a `diff` block. It is applied to a copy of
the package, and the Python block of the section runs with this copy. Hunks are found by
their lines, not by numbers.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import import_rules
from blocks import ROOT, Block, fenced

PAGE = ROOT / "CONTRIBUTING.md"


def sections(text: str) -> dict[str, list[Block]]:
    """The `diff` and `python` blocks of `text` by the heading above them, where there
    is a `python` block.
    """
    parts = re.split(r"^#{2,} (.+)$", text, flags=re.MULTILINE)
    found = {
        title: fenced(body, "diff", "python")
        for title, body in zip(parts[1::2], parts[2::2], strict=True)
    }
    return {
        title: blocks
        for title, blocks in found.items()
        if any(block.language == "python" for block in blocks)
    }


def apply_diff(diff: str, root: Path) -> None:
    """Apply `diff` to the files below `root`; a line without a sign or with `-` must be
    there, and only once.
    """
    for part in diff.split("+++ b/")[1:]:
        name, _, hunks = part.partition("\n")
        path = root / name
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for hunk in hunks.split("@@\n"):
            lines = hunk.splitlines()
            wrong = [line for line in lines if line[:1] not in (" ", "+", "-")]
            assert not wrong, (
                f"{name}: {wrong[0]!r} starts with neither of ' ', '+', '-'"
            )
            before = "".join(f"{line[1:]}\n" for line in lines if line[0] != "+")
            after = "".join(f"{line[1:]}\n" for line in lines if line[0] != "-")
            if before:
                count = len(
                    re.findall(rf"^{re.escape(before)}", text, flags=re.MULTILINE)
                )
                assert count == 1, (
                    f"{name} has these lines {count} times, and not once:\n{before}"
                )
                text = re.sub(
                    rf"^{re.escape(before)}",
                    lambda _, after=after: after,
                    text,
                    flags=re.MULTILINE,
                )
            else:
                text += after
        path.write_text(text, encoding="utf-8")


def run_section(blocks: list[Block], folder: Path) -> subprocess.CompletedProcess[str]:
    """Apply the changes of a section to a copy of the package in `folder`, and run its
    Python blocks with it.
    """
    tree = folder / "tree"
    tree.mkdir()
    shutil.copytree(
        ROOT / "fpsolve", tree / "fpsolve", ignore=shutil.ignore_patterns("__pycache__")
    )
    for block in blocks:
        if block.language == "diff":
            apply_diff(block.code, tree)
    script = folder / "block.py"
    script.write_text(
        "\n".join(block.code for block in blocks if block.language == "python"),
        encoding="utf-8",
    )
    return subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


SECTIONS = sections(PAGE.read_text(encoding="utf-8"))
QUICK = ("A field of a result",)  # the others are for the long suite


def test_every_kind_of_addition_has_its_whole_change() -> None:
    changed = [
        title
        for title, blocks in SECTIONS.items()
        if any(block.language == "diff" for block in blocks)
    ]
    assert changed == [
        "A potential",
        "A scheme",
        "A method in time",
        "A theorem",
        "A field of a result",
    ]


def packages(text: str) -> dict[str, float]:
    """The packages in the table of `text` by their numbers: lines of a `text` block
    that start with a number.
    """
    rows = [
        re.match(r" +(-?[\d.]+) +(\w+(?:  ?\w+)?)(?: {2,}|$)", line)
        for line in text.splitlines()
    ]
    return {name: float(row[1]) for row in rows if row for name in row[2].split("  ")}


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "README.md"])
def test_the_table_of_packages_is_that_of_the_imports(name: str) -> None:
    there = {
        path.parent.name for path in (ROOT / import_rules.PACKAGE).glob("*/__init__.py")
    }
    expected = {
        package: number
        for package, number in import_rules.LAYERS.items()
        if package in there
    }
    assert packages((ROOT / name).read_text(encoding="utf-8")) == expected


@pytest.mark.parametrize(
    "title",
    [
        pytest.param(title, marks=[pytest.mark.slow] * (title not in QUICK))
        for title in SECTIONS
    ],
)
def test_section_runs(title: str, tmp_path: Path) -> None:
    done = run_section(SECTIONS[title], tmp_path)
    assert done.returncode == 0, (
        f"CONTRIBUTING.md, {title}:\n{done.stdout}\n{done.stderr}"
    )


@pytest.mark.parametrize("title", SECTIONS)
def test_changes_apply(title: str, tmp_path: Path) -> None:
    for block in SECTIONS[title]:
        if block.language == "diff":
            for name in re.findall(r"^\+\+\+ b/(.+)$", block.code, flags=re.MULTILINE):
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / name).exists():
                    shutil.copy(ROOT / name, tmp_path / name)
            apply_diff(block.code, tmp_path)


def test_a_table_of_packages_is_read() -> None:
    assert packages(
        "  7.5  one         some words\n  -1    two  three   more\nno row\n"
    ) == {
        "one": 7.5,
        "two": -1,
        "three": -1,
    }


MADE_UP = """# A page

## Good

```diff
+++ b/fpsolve/planted.py
+ANSWER = 41
```

```python
from fpsolve.planted import ANSWER

assert ANSWER == 41
```

## Bad

```python
assert 1 + 1 == 3
```

## Text only
"""


@pytest.mark.slow
def test_a_block_that_raises_is_caught(tmp_path: Path) -> None:
    found = sections(MADE_UP)
    assert list(found) == ["Good", "Bad"]
    for title, code in (("Good", 0), ("Bad", 1)):
        folder = tmp_path / title
        folder.mkdir()
        assert run_section(found[title], folder).returncode == code


@pytest.mark.parametrize(
    ("diff", "words"),
    [
        ("+++ b/a.py\n three\n+four\n", "0 times"),
        ("+++ b/a.py\n one\n+four\n", "2 times"),
        ("+++ b/a.py\nthree\n", "starts with neither"),
    ],
)
def test_a_diff_that_does_not_fit_is_caught(
    diff: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\none\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=words):
        apply_diff(diff, tmp_path)


def test_a_diff_is_applied(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\nthree\n", encoding="utf-8")
    apply_diff(
        "+++ b/a.py\n-one\n+1\n@@\n two\n+2.5\n+++ b/a.py\n+four\n+++ "
        "b/new.py\n+five\n",
        tmp_path,
    )
    assert (tmp_path / "a.py").read_text(
        encoding="utf-8"
    ) == "1\ntwo\n2.5\nthree\nfour\n"
    assert (tmp_path / "new.py").read_text(encoding="utf-8") == "five\n"

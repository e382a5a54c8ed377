"""The theory page: every statement with all its parts, and names of theorems, functions
and tests that exist.
"""

import ast
import functools
import importlib.resources
import re
from operator import attrgetter
from pathlib import Path

import pytest

import fpsolve as fp

ROOT = Path(__file__).resolve().parents[2]
PAGE = (
    importlib.resources.files("fpsolve.theorem")
    .joinpath("THEORY.md")
    .read_text(encoding="utf-8")
)
STATEMENTS = [f"T{k}" for k in range(1, 31)] + [f"N{k}" for k in range(1, 14)]
PARTS = ["Hypotheses", "Claim", "Proof", "Control", "Source", "Checked by"]
OPTIONAL = "Sharpness"
UNMEASURED = "not yet checked by `fpsolve verify`"


def sections(page: str) -> dict[str, str]:
    """The text below each heading "### T5 Title", by "T5"."""
    pieces = re.split(r"^#{2,3} (.*)$", page, flags=re.M)[1:]
    titles, texts = pieces[::2], pieces[1::2]
    found = [
        (title.split()[0], text) for title, text in zip(titles, texts, strict=True)
    ]
    named = [(name, text) for name, text in found if re.fullmatch(r"[TN]\d+", name)]
    assert len({name for name, _ in named}) == len(named), (
        "a statement has two sections"
    )
    return dict(named)


def parts(section: str) -> dict[str, str]:
    """The text of each part, by its bold name at the start of a line, in order."""
    pieces = re.split(r"^\*\*([^*]+)\*\*", section, flags=re.M)[1:]
    return {
        name: " ".join(text.split())
        for name, text in zip(pieces[::2], pieces[1::2], strict=True)
    }


def missing_parts(section: str) -> list[str]:
    """What a section lacks: a part that is absent, empty, or in another place."""
    found = parts(section)
    faults = [name for name in PARTS if len(found.get(name, "")) < 4]
    if [name for name in found if name in (*PARTS, OPTIONAL)] != [
        n for n in order_of_parts() if n in found
    ]:
        faults.append("order")
    return faults


def order_of_parts() -> list[str]:
    """All parts in order; sharpness stands after the proof."""
    at = PARTS.index("Control")
    return [*PARTS[:at], OPTIONAL, *PARTS[at:]]


def checked_by(name: str) -> str:
    return parts(sections(PAGE)[name])["Checked by"]


@functools.cache
def docstrings() -> list[tuple[str, str]]:
    """Place and text of every docstring of the library."""
    found = []
    for path in sorted((ROOT / "fpsolve").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(
                node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            ):
                text = ast.get_docstring(node)
                if text:
                    name = getattr(node, "name", "module")
                    found.append((f"{path.relative_to(ROOT)}:{name}", text))
    return found


def cited(text: str) -> set[str]:
    """The statements that a text cites, "T7" or "N3"."""
    return set(re.findall(r"(?<![\w.])[TN]\d+(?![\w.]*\w)", text))


def test_every_statement_has_a_section_and_nothing_else_has() -> None:
    assert list(sections(PAGE)) == STATEMENTS


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_section_has_all_parts_in_order(name: str) -> None:
    assert missing_parts(sections(PAGE)[name]) == []


def test_a_missing_part_is_seen() -> None:
    section = sections(PAGE)["T5"]
    assert missing_parts(section.replace("**Control**", "Control")) == ["Control"]
    assert missing_parts(
        section.replace("**Claim**", "**Source**").replace(
            "**Source** Bakry", "**Claim** Bakry"
        )
    )


def test_every_theorem_is_named_in_its_section() -> None:
    for theorem in fp.theorems():
        section = theorem.name.split(".")[0]
        assert f"`{theorem.name}`" in checked_by(section), theorem.name
        if theorem.control_name in STATEMENTS:
            assert f"`{theorem.name}`" in checked_by(theorem.control_name), (
                theorem.name,
                theorem.control_name,
            )


def test_what_is_named_as_checked_is_checked() -> None:
    names = {theorem.name: theorem for theorem in fp.theorems()}
    for section in STATEMENTS:
        text = checked_by(section)
        claimed = re.findall(r"`([TN]\d+(?:\.\w+)?)`", text)
        assert set(claimed) <= set(names), (section, claimed)
        # A theorem stands in its own section, or in that of its control.
        for name in claimed:
            assert section in (name.split(".")[0], names[name].control_name), (
                section,
                name,
            )
        assert (UNMEASURED in text) == (not claimed), section


def test_every_function_named_is_public() -> None:
    found = re.findall(r"`fp\.([\w.]+)", PAGE)
    assert len(found) > 60
    for name in found:
        attrgetter(name)(fp)
    with pytest.raises(AttributeError):
        attrgetter("score.reconstructed")(fp)


def test_every_test_named_exists() -> None:
    found = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)
    assert len(found) > 40
    for path, test in found:
        source = (ROOT / path).read_text(encoding="utf-8")
        assert not test or f"\ndef {test}(" in source, (path, test)


def test_what_docstrings_cite_stands_on_the_page() -> None:
    wrong = [(place, cited(text) - set(STATEMENTS)) for place, text in docstrings()]
    assert [fault for fault in wrong if fault[1]] == []
    assert sum(bool(cited(text)) for _, text in docstrings()) > 40
    assert cited("theorems T4 and T31 of this library (N2), `(T,)`, T5.decay, U2") == {
        "T4",
        "T31",
        "N2",
    }


def test_the_contents_lead_to_every_section() -> None:
    contents = PAGE.split("## Contents")[1].split("\n## ")[0]
    assert re.findall(r"^\| \[(\w+)\] \|", contents, flags=re.M) == STATEMENTS
    links = dict(re.findall(r"^\[(\w+)\]: #(.*)$", contents, flags=re.M))
    for title in re.findall(r"^### ([TN]\d+ .*)$", PAGE, flags=re.M):
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        assert links.pop(title.split()[0]) == anchor, title
        assert title.split(maxsplit=1)[1] in contents
    assert not links


def formula_faults(page: str) -> list[str]:
    """Lines whose formulas GitHub would not draw: a formula that is cut by the end of a
    line, a backslash before punctuation, which Markdown takes away, and a line of a
    displayed formula that Markdown reads as a list.
    """
    faults = []
    displayed = False
    for line in page.splitlines():
        if line.strip() == "$$":
            displayed = not displayed
            continue
        formulas = [line] if displayed else re.findall(r"\$([^$]*)\$", line)
        cut = not displayed and line.count("$") % 2 == 1
        escaped = any(re.search(r"\\[^A-Za-z]", formula) for formula in formulas)
        braces = any(
            formula.count("{") != formula.count("}")
            for formula in formulas
            if not displayed
        )
        listed = displayed and re.match(r"\s*([-+*>#=]\s|\d+[.)]\s|$)", line)
        if cut or escaped or braces or listed or len(line) > 120:
            faults.append(line)
    return faults if not displayed else [*faults, "a displayed formula has no end"]


def test_formulas_are_drawn() -> None:
    assert formula_faults(PAGE) == []
    for wrong in ("a $x", r"$a\,b$", "$$\na\n- b\n$$", "$$\na", "$a_{b$", "x" * 121):
        assert formula_faults(wrong), wrong

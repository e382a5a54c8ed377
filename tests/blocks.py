"""Fenced code blocks in Markdown and in docstrings, found and executed: an example that
does not run is a failure.
"""

import ast
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FENCE = re.compile(
    r"^(?P<indent>[ \t]*)```(?P<language>\w*)[^\n]*\n"
    r"(?P<code>.*?)^(?P=indent)```[ \t]*$",
    re.M | re.S,
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its dedented code, and the line of `text` on which
    the code starts.
    """

    language: str
    code: str
    line: int


def fenced(text: str, *languages: str) -> list[Block]:
    """The fenced blocks of `text` in one of `languages` (all of them when none is
    named), in order.
    """
    found = (
        Block(
            match["language"],
            textwrap.dedent(match["code"]),
            text.count("\n", 0, match.start("code")) + 1,
        )
        for match in FENCE.finditer(text)
    )
    return [block for block in found if not languages or block.language in languages]


def docstring_blocks(source: str, where: str = "made_up") -> dict[str, str]:
    """The `python` blocks in every docstring of `source`, keyed by
    `where:Qualified.name[:number]`.
    """
    blocks: dict[str, str] = {}

    def visit(node: ast.AST, name: str) -> None:
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ):
            for number, block in enumerate(
                fenced(ast.get_docstring(node) or "", "python"), start=1
            ):
                blocks[
                    f"{where}:{name or 'module'}" + (f":{number}" if number > 1 else "")
                ] = block.code
        for child in ast.iter_child_nodes(node):
            # Definitions are statements: expressions, which are most nodes, hold none.
            if isinstance(child, ast.stmt):
                visit(child, ".".join(filter(None, [name, getattr(child, "name", "")])))

    visit(ast.parse(source), "")
    return blocks


def execute(code: str, name: str) -> dict[str, object]:
    """Run `code` in this process, in a namespace of its own, and give that namespace
    back.
    """
    namespace: dict[str, object] = {"__name__": "__main__"}
    exec(compile(code, f"<{name}>", "exec"), namespace)
    return namespace


def execute_as_reader(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `code` as a reader would: a fresh interpreter with JAX's own defaults, in the
    empty `folder`.
    """
    script = folder / "block.py"
    script.write_text(code, encoding="utf-8")
    return subprocess.run(
        [sys.executable, script.name],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

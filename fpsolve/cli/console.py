"""The consoles and tables of the command line."""

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
else:  # imported where something is printed
    Console = Table = Text = Any

# columns of a pipe or a file: wider than any row, so that none is folded
PLAIN_WIDTH = 1000


def console(error: bool = False) -> Console:
    """A rich console on standard output or error; without a terminal or COLUMNS, rows
    are not folded.
    """
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    # None lets rich find the width of the terminal, or take that of COLUMNS.
    width = None if stream.isatty() or "COLUMNS" in os.environ else PLAIN_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False)


def new_table(*heads: str) -> Table:
    """An empty table with these heads; text is aligned left, numbers right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for head in heads:
        is_text = head in ("statement", "verdict", "control", "by", heads[0])
        may_wrap = head in ("statement", heads[0])
        justify = "left" if is_text else "right"
        table.add_column(head, justify=justify, no_wrap=not may_wrap)
    return table


def print_rows(rows: dict[str, str]) -> None:
    """Print names and values in two columns."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    console().print(table)

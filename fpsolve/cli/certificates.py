"""The table of certificates that `fpsolve verify` prints."""

from typing import Any

from .console import PLAIN_WIDTH, console, new_table


def print_certificates(certificates: list[Any]) -> None:
    """One row a claim where the line is wide enough, else one block a claim with its control below it."""
    from rich.measure import Measurement

    screen = console()
    wide = _wide_table(certificates)
    fits = Measurement.get(screen, screen.options.update(max_width=PLAIN_WIDTH), wide).maximum <= screen.width
    screen.print(wide if fits else _narrow_table(certificates))


def _wide_table(certificates: list[Any]) -> Any:
    table = new_table("claim", "statement", "left", "right", "margin", "verdict", "control", "left", "right", "verdict")
    for c in certificates:
        control = ["", "", "", ""] if c.control is None else [c.control.name, *_sides(c.control), _refusal(c.control)]
        table.add_row(c.name, c.statement, *_sides(c), f"{c.margin:.3g}", _holding(c), *control)
    return table


def _narrow_table(certificates: list[Any]) -> Any:
    table = new_table("claim and its control", "left", "right", "margin", "verdict")
    for c in certificates:
        table.add_row(f"{c.name}: {c.statement}", *_sides(c), f"{c.margin:.3g}", _holding(c))
        if c.control is not None:
            words = f"  control {c.control.name}: {c.control.statement}"
            table.add_row(words, *_sides(c.control), f"{c.control.margin:.3g}", _refusal(c.control))
        table.add_section()
    return table


def _sides(certificate: Any) -> tuple[str, str]:
    return f"{certificate.lhs:.4g}", f"{certificate.rhs:.4g}"


def _holding(certificate: Any) -> Any:
    from rich.text import Text

    return Text("holds", "green") if certificate.holds else Text("FAILS", "bold red")


def _refusal(control: Any) -> Any:
    from rich.text import Text

    return Text("refused", "green") if control.refused else Text("NOT refused", "bold red")

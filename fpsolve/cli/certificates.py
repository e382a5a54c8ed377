"""The table of certificates that `fpsolve verify` prints."""

from ..theorem import Certificate, Theorem
from .console import PLAIN_WIDTH, Table, Text, console, new_table


def print_certificates(certificates: list[Certificate]) -> None:
    """Print one row a claim where the line is wide enough, else each claim with its
    control in a row below it.
    """
    from rich.measure import Measurement

    screen = console()
    wide = _wide_table(certificates)
    # The width that the table would take if it were not limited.
    unlimited = screen.options.update(max_width=PLAIN_WIDTH)
    fits = Measurement.get(screen, unlimited, wide).maximum <= screen.width
    screen.print(wide if fits else _narrow_table(certificates))


def print_theorems(theorems: list[Theorem]) -> None:
    """Print the name, the kind and the statement of each."""
    table = new_table("claim", "kind", "statement", "control")
    for theorem in theorems:
        table.add_row(
            theorem.name, theorem.kind, theorem.statement, theorem.control_name
        )
    console().print(table)


def summary_line(certificates: list[Certificate], seconds: float) -> str:
    """How many hold and how many controls are refused, and which do not."""
    failing = [c.name for c in certificates if not c.holds]
    # A control without a result counts as not refused: nothing was shown.
    passed = [
        f"{c.control.name} of {c.name}"
        for c in certificates
        if c.control is not None and not c.control.refused
    ]
    count = len(certificates)
    line = f"{count - len(failing)} of {count} claims hold"
    line += f", {count - len(passed)} of {count} controls are refused"
    line += f", in {seconds:.1f} s"
    line += f"; failing: {', '.join(failing)}" if failing else ""
    line += f"; not refused: {', '.join(passed)}" if passed else ""
    return line


def _wide_table(certificates: list[Certificate]) -> Table:
    """A claim and its control in one row."""
    table = new_table(
        "claim",
        "statement",
        "left",
        "right",
        "margin",
        "verdict",
        "control",
        "left",
        "right",
        "verdict",
    )
    for c in certificates:
        # Empty cells for a claim without a control.
        control = ["", "", "", ""]
        if c.control is not None:
            control = [c.control.name, *_sides(c.control), _control_verdict(c.control)]
        claim = [c.name, c.statement, *_sides(c), f"{c.margin:.3g}", _verdict(c)]
        table.add_row(*claim, *control)
    return table


def _narrow_table(certificates: list[Certificate]) -> Table:
    """A control in the row below its claim."""
    table = new_table("claim and its control", "left", "right", "margin", "verdict")
    for c in certificates:
        text = f"{c.name}: {c.statement}"
        table.add_row(text, *_sides(c), f"{c.margin:.3g}", _verdict(c))
        control = c.control
        if control is not None:
            # Indented, so that it reads as a part of its claim.
            text = f"  control {control.name}: {control.statement}"
            verdict = _control_verdict(control)
            table.add_row(text, *_sides(control), f"{control.margin:.3g}", verdict)
        table.add_section()
    return table


def _sides(certificate: Certificate) -> tuple[str, str]:
    """Both sides with four digits."""
    return f"{certificate.lhs:.4g}", f"{certificate.rhs:.4g}"


def _verdict(certificate: Certificate) -> Text:
    """Whether a claim holds, in green or red."""
    from rich.text import Text

    return Text("holds", "green") if certificate.holds else Text("FAILS", "bold red")


def _control_verdict(control: Certificate) -> Text:
    """Whether a control fails, as it must, in green or red."""
    from rich.text import Text

    if control.refused:
        return Text("refused", "green")
    return Text("NOT refused", "bold red")

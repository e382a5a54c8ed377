"""The page of `fpsolve verify --report`: every certificate with its evidence, in one
HTML file that needs no other.
"""

import platform
import time
from html import escape
from importlib.metadata import version

import jax
import numpy as np

from ..plot import plot_certificate, svg
from ..theorem import Certificate
from .certificates import summary_line

STYLE = """
:root { color-scheme: light; }
body {
  font: 16px/1.5 system-ui, sans-serif; color: #1c1c1c;
  max-width: 52rem; margin: 0 auto; padding: 1rem;
}
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin: 0 0 .3rem; }
section { border-top: 1px solid #ccc; padding: 1.2rem 0; break-inside: avoid; }
.wide { overflow-x: auto; }
table {
  border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem;
}
th, td {
  text-align: left; vertical-align: top;
  padding: .2rem .9rem .2rem 0; border-bottom: 1px solid #e4e4e4;
}
th { font-weight: 600; } tbody th { white-space: nowrap; }
td.number { text-align: right; white-space: nowrap; }
.good { color: #14652c; font-weight: 600; }
.bad { color: #a61b1b; font-weight: 600; }
dl {
  display: grid; grid-template-columns: minmax(5.5rem, max-content) 1fr;
  gap: .15rem 1rem; margin: .5rem 0;
}
dt { color: #555; } dd { margin: 0; } a { color: #0b5394; }
summary { cursor: pointer; color: #0b5394; }
svg { max-width: 100%; height: auto; margin-top: .8rem; }
section td { min-width: 7rem; } section td.number { min-width: 0; }
@media print {
  body { max-width: none; font-size: 11pt; } details { display: none; }
}
"""

EVIDENCE = (
    "A certificate is numerical evidence with a stated error, not a proof. A claim "
    "holds where both of its sides were measured and its margin is at least zero. The "
    "margin is the fraction of what is allowed that is not used: of the difference of "
    "both sides for an identity, of the difference from the claimed order for an "
    "order, of the right side for an inequality. The same claim with a broken premise, "
    "its control, must be refused."
)


def report_page(certificates: list[Certificate], seconds: float) -> str:
    """The page as text, 30 kB a plot. **Raises** `ImportError` without matplotlib."""
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>fpsolve verify</title><style>{STYLE}</style></head><body>",
        "<h1>fpsolve verify</h1>",
        f"<p>{escape(summary_line(certificates, seconds))}.</p>",
        f"<p>{escape(EVIDENCE)}</p>",
        _definitions(_environment()),
        '<div class="wide">',
        _table(certificates),
        "</div>",
        *(_section(certificate) for certificate in certificates),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _environment() -> list[tuple[str, str]]:
    """What the numbers depend on: versions, device, precision, time."""
    device = jax.devices()[0]
    system = f"{platform.system()} {platform.machine()}"
    return [
        ("fpsolve", escape(version("fpsolve"))),
        ("jax, jaxlib", escape(f"{jax.__version__}, {version('jaxlib')}")),
        ("numpy", escape(np.__version__)),
        ("Python", escape(f"{platform.python_version()} on {system}")),
        ("device", escape(f"{device.platform}, {device.device_kind}")),
        # `verify` refuses every other precision.
        ("precision", "float64"),
        ("written", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())),
    ]


def _table(certificates: list[Certificate]) -> str:
    """One row a claim, each with a link to its section."""
    rows = []
    for c in certificates:
        # Statements are escaped, since they may hold the sign <.
        cells = [
            f'<td><a href="#{_anchor(c)}">{escape(c.name)}</a></td>',
            f"<td>{escape(c.statement)}</td>",
            f'<td class="number">{c.margin:.3g}</td>',
            f"<td>{_verdict(c)}</td>",
            f"<td>{_control_verdict(c)}</td>",
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    words = ("claim", "statement", "margin", "verdict", "control")
    head = f"<tr>{''.join(f'<th>{word}</th>' for word in words)}</tr>"
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _section(certificate: Certificate) -> str:
    """One claim: what it says, both sides, its control, its picture and its numbers."""
    c = certificate
    rows = [
        ("kind", escape(c.kind)),
        ("hypotheses", escape(c.hypotheses)),
        ("source", escape(c.source)),
    ]
    # Claim and control are measured one after the other.
    seconds = c.seconds + (c.control.seconds if c.control is not None else 0.0)
    rows += [("measured in", f"{seconds:.1f} s")]
    parts = [
        f'<section id="{_anchor(c)}"><h2>{escape(c.name)}. {escape(c.statement)}</h2>',
        # A theorem of a user's need not have hypotheses or a source.
        _definitions([row for row in rows if row[1]]),
        f'<div class="wide">{_measured(c)}</div>',
        _picture(c),
        _points(c),
        "</section>",
    ]
    return "\n".join(parts)


def _measured(c: Certificate) -> str:
    """Both sides, margin and verdict, of the claim and of its control beside it."""
    both = [c]
    names = [escape(c.name)]
    verdicts = [_verdict(c)]
    if c.control is not None:
        both.append(c.control)
        names.append(f"control {escape(c.control.name)}")
        verdicts.append(_refusal(c.control))
    left_word = "left side"
    right_word = "right side"
    left = [f"{m.lhs:.10g}" for m in both]
    if c.kind == "order":
        left_word = "observed order"
        right_word = "claimed order"
        # The digits that the fit has, not those of a float.
        left = [f"{m.lhs:.4f} ± {m.standard_error:.1g}" for m in both]
    cells = {
        "": names,
        "says": [escape(m.statement) for m in both],
        left_word: left,
        right_word: [f"{m.rhs:.10g}" for m in both],
        "margin": [f"{m.margin:.4g}" for m in both],
        "verdict": verdicts,
    }
    if any(m.failure for m in both):
        cells["not measured"] = [escape(m.failure) for m in both]
    rows = [
        f"<tr><th>{word}</th>{''.join(f'<td>{text}</td>' for text in row)}</tr>"
        for word, row in cells.items()
    ]
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _points(c: Certificate) -> str:
    """The numbers behind the picture, folded."""
    if len(c.points) < 2:
        return ""
    rows = []
    for word, measured in (("claim", c), ("control", c.control)):
        for point in measured.points if measured is not None else ():
            values = (point.lhs, point.rhs, point.margin)
            cells = [f'<td class="number">{value:.8g}</td>' for value in values]
            at = escape(str(point.at))
            rows.append(f"<tr><td>{word}</td><td>{at}</td>{''.join(cells)}</tr>")
    left, right = ("departure", "fit") if c.kind == "order" else ("left", "right")
    words = ("", "at", left, right, "margin")
    head = f"<tr>{''.join(f'<th>{word}</th>' for word in words)}</tr>"
    table = f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
    body = f'<div class="wide">{table}</div>'
    return f"<details><summary>numbers</summary>{body}</details>"


def _picture(c: Certificate) -> str:
    """The plot as SVG inside the page."""
    figure = plot_certificate(c)
    # The name keeps the identifiers of two pictures on one page apart.
    return "" if figure is None else svg(figure, c.name)


def _definitions(rows: list[tuple[str, str]]) -> str:
    """A list of words and their values, which are HTML already."""
    items = [f"<dt>{escape(word)}</dt><dd>{value}</dd>" for word, value in rows]
    return f"<dl>{''.join(items)}</dl>"


def _anchor(c: Certificate) -> str:
    """The name of a section, as a link needs it."""
    return "".join(letter if letter.isalnum() else "-" for letter in c.name)


def _verdict(c: Certificate) -> str:
    if c.holds:
        return '<span class="good">holds</span>'
    return '<span class="bad">fails</span>'


def _refusal(control: Certificate) -> str:
    # A control must fail: that it is refused is the good outcome.
    if control.refused:
        return '<span class="good">refused</span>'
    return '<span class="bad">not refused</span>'


def _control_verdict(c: Certificate) -> str:
    if c.control is None:
        return ""
    return f"{escape(c.control.name)} {_refusal(c.control)}"

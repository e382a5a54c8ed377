"""The tables of `effectivity.py`."""

from typing import Any

import numpy as np

from .problem import FACTOR

COLUMNS = (
    "kind",
    "problems",
    "answered",
    "refused",
    "rightly refused",
    "failed with a code",
    "silent errors",
    "understated with a code",
    "no error given",
    "reported/true, 5 %",
    "median",
    "95 %",
    "worst",
    "warm, s",
)

SHORT = (
    "kind",
    "problems",
    "answered",
    "refused",
    "failed with a code",
    "silent errors",
)
SHORT += ("reported/true, 5 %", "median", "warm, s")
TITLES = {
    "failed with a code": "with a failure code",
    "median": "reported/true, median",
}


def markdown(rows: list[dict[str, Any]]) -> str:
    """A line a kind and one for all, then the silent errors, and the share of smooth
    problems answered.
    """
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    lines = [
        "| " + " | ".join(COLUMNS) + " |",
        "|" + " --- |" + " ---: |" * (len(COLUMNS) - 1),
    ]
    for kind in [*kinds, "all"]:
        lines.append(
            "| "
            + " | ".join(entries(kind, [r for r in rows if kind in (r["kind"], "all")]))
            + " |"
        )
    return "\n".join([*lines, "", *smooth(rows), "", *silent(rows), *crashes(rows)])


def short(rows: list[dict[str, Any]]) -> str:
    """The table for the README: a line a kind and one for all."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    chosen = [COLUMNS.index(name) for name in SHORT]
    titles = ["kind", *(TITLES.get(name, name) for name in SHORT[1:])]
    lines = [
        "| " + " | ".join(titles) + " |",
        "|" + " --- |" + " ---: |" * (len(SHORT) - 1),
    ]
    for kind in [*kinds, "all"]:
        found = entries(kind, [r for r in rows if kind in (r["kind"], "all")])
        lines.append("| " + " | ".join(found[i] for i in chosen) + " |")
    return "\n".join([*lines, "", *smooth(rows), ""])


def entries(kind: str, rows: list[dict[str, Any]]) -> list[str]:
    """The cells of a kind."""
    answered = [r for r in rows if r["outcome"] == "answered"]
    coded = [r for r in answered if r["code"] != "successful"]
    counts = [
        len(rows),
        len(answered),
        sum(
            r["outcome"] in ("refused", "crashed") and not r.get("impossible", False)
            for r in rows
        ),
        sum(r["outcome"] == "refused" and r.get("impossible", False) for r in rows),
        sum(r["outcome"] == "failed" for r in rows) + len(coded),
        sum(r["silent"] for r in rows),
        sum(r["understated"] and not r["silent"] for r in answered),
        sum(not (r["claimed"] and r["told"]) for r in answered),
    ]
    known = [
        r
        for r in answered
        if r["ratio"] is not None and r["told"] and r["true"] > FACTOR * r["rounding"]
    ]
    ratios = [r["ratio"] for r in known if np.isfinite(r["ratio"])]
    points = np.quantile(ratios, [0.05, 0.5, 0.95, 0.0]) if ratios else [np.nan] * 4
    warm = [r["warm_seconds"] for r in answered if "warm_seconds" in r]
    seconds = f"{np.median(warm):.2g}" if warm else "-"
    return [
        kind,
        *map(str, counts),
        *("-" if np.isnan(p) else f"{p:.2g}" for p in points),
        seconds,
    ]


def smooth(rows: list[dict[str, Any]]) -> list[str]:
    """The share of smooth confining problems that a fitted grid answers, and their
    time.
    """
    mine = [r for r in rows if r["smooth"]]
    answered = [
        r for r in mine if r["outcome"] == "answered" and r["code"] == "successful"
    ]
    if not mine:
        return []
    warm = [r["warm_seconds"] for r in answered if "warm_seconds" in r]
    seconds = f", median {np.median(warm):.2g} s warm" if warm else ""
    answered_of = (
        f"{len(answered)} of {len(mine)} answered "
        f"({100 * len(answered) / len(mine):.0f} %)"
    )
    return [f"Smooth confining potentials on fitted grids: {answered_of}{seconds}."]


def silent(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each silent error, and for each error that a code did not hide but
    that is understated.
    """
    found = []
    for r in rows:
        if r["silent"] or r.get("understated"):
            word = "silent" if r["silent"] else f"understated ({r['code']})"
            numbers = (
                f"true {r['true']:.2g}, reported {r['reported']:.2g}, rounding "
                f"{r['rounding']:.1g}"
            )
            found.append(f"- {word} `{r['kind']}:{r['seed']}` {r['title']}: {numbers}")
    return found or ["No error is silent."]


def crashes(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each refusal, failure and crash."""
    return [
        f"- {r['outcome']} `{r['kind']}:{r['seed']}` {r['title']}: {r['code']}: "
        f"{r['message']}"
        for r in rows
        if r["outcome"] != "answered"
    ]

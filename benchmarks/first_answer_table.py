"""The figures of `first_answer.py`: targets, printed lines, the table of the README."""

from typing import Any

CASES = {
    "evolve_plane": "`evolve` in the plane, 48 x 48",
    "spectrum_plane": "`spectrum` in the plane, k = 4",
    "evolve_line_fitted": "`evolve` on a fitted line",
    "gap_line_fitted": "`spectral_gap` on a fitted line",
    "moving_line": "a moving trap on a line",
    "transport": "`transport`, optimal schedule",
    "transport_linear": "`transport`, linear schedule",
    "schedule_optimal": "`schedule.optimal`, exact cost",
    "correspondence": "`correspondence`, 64 nodes",
    "correspondence_plane": "`correspondence`, 24 x 24",
    "radial_2000": "radial process, 2000 cells",
    "radial_4000": "radial process, 4000 cells",
    "radial_8000": "radial process, 8000 cells",
    "radial_wave_2000": "radial wave, 2000 cells",
    "radial_wave_4000": "radial wave, 4000 cells",
    "radial_wave_8000": "radial wave, 8000 cells",
    "import": "`import fpsolve`, beyond JAX",
    "verify_quick": "`fpsolve verify --quick`",
}
CALLS = {
    "first": "first call",
    "warm": "first call, warm cache",
    "numbers": "other numbers",
    "formula": "another formula",
    "again": "the same again",
    "import": "import",
}
TREES = ("before", "now")
Target = tuple[str, str, float]  # call, figure, at most

ASKED = {  # seconds: first call, warm cache, the next potential
    "evolve_plane": (2.0, 0.5, 0.10),
    "spectrum_plane": (3.0, 0.7, 0.15),
    "moving_line": (2.5, 0.7, 0.3),
    "transport": (6.0, 1.5, 0.5),
    "transport_linear": (6.0, 1.5, 0.5),
    "correspondence": (2.5, 0.7, 0.2),
    "correspondence_plane": (2.5, 0.7, 0.2),
    "schedule_optimal": (2.5, 0.7, 0.5),
}
PROGRAMS = {"evolve_plane": 10, "transport": 30, "transport_linear": 30}
RADIAL = {2000: 0.05, 4000: 0.1, 8000: 0.2}


def targets(problem: str) -> list[Target]:
    """The targets of a case."""
    if problem == "import":
        return [("import", "seconds", 0.25)]
    if problem == "verify_quick":
        return [("first", "seconds", 20.0), ("warm", "seconds", 8.0)]
    found: list[Target] = []
    if problem in ASKED:
        first, warm, following = ASKED[problem]
        found = [("first", "seconds", first), ("warm", "seconds", warm)]
        found += [(call, "seconds", following) for call in ("numbers", "formula")]
    if problem in PROGRAMS:
        found.append(("first", "programs", PROGRAMS[problem]))
    if problem.startswith("radial"):
        second = RADIAL[int(problem.rpartition("_")[2])]
        found = [
            ("first", "seconds", 3.0),
            *((call, "seconds", second) for call in ("numbers", "again")),
        ]
    return found


def markdown(
    rows: list[dict[str, Any]],
    trees: tuple[str, ...] | None = None,
    verify: bool | None = None,
    names: tuple[str, ...] = (),
) -> str:
    """Every figure with a target: before, now, target, reached. A row of the tree
    before that is missing is a dash.

    **Raises** `ValueError` where a row of the last tree is missing.

    `trees` are the columns, all that have a row unless given; `verify` whether
    `verify --quick` is among the cases, as the rows have it unless given; `names` the
    cases, all unless given.
    """
    at = {(row["problem"], row["tree"]): row for row in rows}
    if trees is None:
        measured = {row["tree"] for row in rows}
        trees = tuple(tree for tree in TREES if tree in measured)
    if verify is None:
        verify = any(row["problem"] == "verify_quick" for row in rows)
    wanted = [
        name for name in CASES if targets(name) and (verify or name != "verify_quick")
    ]
    wanted = [name for name in wanted if name in names or not names]
    judged = (trees or TREES)[-1]
    missing = [f"{name} ({judged})" for name in wanted if (name, judged) not in at]
    if missing:
        raise ValueError(
            f"no row of {', '.join(missing)}: run first_answer.py, with --only and "
            "--tree where it helps."
        )
    columns = [*trees, "target", "reached"]
    lines = [
        f"| question | call | {' | '.join(columns)} |",
        f"| --- | --- |{' ---: |' * (len(trees) + 1)} --- |",
    ]
    for name in wanted:
        for call, figure, limit in targets(name):
            found = [
                at[name, tree]["calls"][call][figure] if (name, tree) in at else None
                for tree in trees
            ]
            cells = [
                CASES[name],
                CALLS[call],
                *(in_units(value, figure) for value in [*found, limit]),
            ]
            last = at[name, judged]
            lines.append(
                f"| {' | '.join(cells)} | "
                f"{verdict(last, last['calls'][call][figure], limit)} |"
            )
    return "\n".join(lines) + "\n"


def in_units(value: float | None, figure: str) -> str:
    """Seconds, or a number of programs; a dash for what was not measured."""
    if value is None:
        return "–"
    return f"{value:.0f} programs" if figure == "programs" else f"{value:.2f} s"


def verdict(row: dict[str, Any], value: float, limit: float) -> str:
    """Whether a figure and the error of its case are within their targets."""
    if row["error"] > row["goal"]:
        return "missed (error)"
    return "yes" if value <= limit else "missed"


def show(rows: list[dict[str, Any]]) -> None:
    """Print one case: a line for each call and tree, and how many times as fast the
    last tree is.
    """
    for row in rows:
        print(
            f"\n{row['problem']}, {row['tree']} ({row['commit']}); error "
            f"{row['error']:.1e}, goal {row['goal']:.0e}"
        )
        limits = {
            (call, figure): limit for call, figure, limit in targets(row["problem"])
        }
        for call, figures in row["calls"].items():
            words = [f"{figures['seconds']:8.3f} s"]
            if "cpu" in figures:
                words.append(f"cpu {figures['cpu']:7.3f} s")
                words.append(
                    f"{figures['programs']:4.0f} programs in "
                    f"{figures['compile_seconds']:7.3f} s"
                )
            if (call, "seconds") in limits:
                words.append(f"target {limits[call, 'seconds']:g} s")
            print(f"  {CALLS[call]:24s} {'   '.join(words)}", flush=True)
    if len(rows) > 1:
        first, last = rows[0]["calls"], rows[-1]["calls"]
        ratios = [
            f"{CALLS[call]} {first[call]['seconds'] / last[call]['seconds']:.2f}"
            for call in last
        ]
        print(f"  times as fast as before: {', '.join(ratios)}", flush=True)

"""The harness of `benchmarks/` measures what it says, and says what it could not
measure or reach.
"""

import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blocks import ROOT

FOLDER = str(ROOT / "benchmarks")
AXES = (np.zeros(1),)


class Exact:
    """A problem whose error is the answer itself."""

    @staticmethod
    def error(density: np.ndarray, axes: Any) -> float:
        return float(density)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules of the folder, as the command imports them."""
    monkeypatch.syspath_prepend(FOLDER)
    import harness
    import kernels
    import tables

    monkeypatch.setattr(harness, "ENOUGH", 0.0)
    monkeypatch.setattr(harness, "SHORT", 0.0)
    return type("Bench", (), {"harness": harness, "kernels": kernels, "tables": tables})


@pytest.fixture
def clock(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clock that only moves when told to: `clock(seconds)`."""
    now = [0.0]
    monkeypatch.setattr(bench.harness.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(bench.harness.time, "process_time", lambda: now[0] / 2)

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    return pass_by


def contender(bench: Any, solver: str, run: Any, goal: float = 1.0) -> Any:
    return bench.harness.Contender(solver, "fpsolve", run, np.asarray, AXES, {}, goal)


def test_medians_are_of_warm_calls_only(bench: Any, clock: Any) -> None:
    seconds = itertools.chain([100.0], [3.0, 1.0, 2.0, 50.0, 2.5])
    assert bench.harness.medians([lambda: clock(next(seconds))], 5) == [2.5]


def test_a_row_parts_the_first_call_from_the_median_of_the_rest(
    bench: Any, clock: Any
) -> None:
    costs = itertools.chain([7.0], [0.3, 0.1, 0.2, 0.9, 0.2], itertools.repeat(0.2))

    def run() -> float:
        clock(next(costs))
        return 0.5

    (row,), failures = bench.harness.compare(
        "x", Exact, [contender(bench, "a", run, goal=0.4)]
    )
    assert not failures
    assert (row.seconds_first, len(row.seconds)) == (7.0, bench.harness.REPEATS)
    assert row.seconds_warm == pytest.approx(0.2)
    assert row.seconds_cpu == pytest.approx(0.1)
    assert (row.error, row.reached) == (0.5, False)
    assert {"fpsolve", "jax", "numpy"} <= row.versions.keys() and row.device


def test_solvers_take_turns_and_each_begins_a_round(bench: Any) -> None:
    order: list[str] = []
    runs = [
        contender(bench, name, lambda name=name: order.append(name) or 0.0)
        for name in "ab"
    ]
    bench.harness.compare("x", Exact, runs)
    assert "".join(order).startswith("ab" + "ab" + "ba" + "ab")


def test_a_short_call_follows_untimed_ones_and_a_long_one_does_not(
    bench: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.harness, "SHORT", 0.02)
    for cost, calls in (
        (0.01, 2 * bench.harness.REPEATS - 1),
        (0.03, bench.harness.REPEATS),
    ):
        done: list[int] = []
        run = lambda cost=cost, done=done: clock(cost) or done.append(1) or 0.0
        (row,), _ = bench.harness.compare("x", Exact, [contender(bench, "a", run)])
        # the first, the warm ones, and the one whose memory is watched
        assert len(done) == 1 + calls + 1
        assert row.seconds == pytest.approx([cost] * bench.harness.REPEATS)


def test_who_breaks_at_first_or_later_is_named_and_the_others_have_rows(
    bench: Any,
) -> None:
    calls = itertools.count()

    def later() -> float:
        if next(calls):
            raise RuntimeError("broke\nwhen warm")
        return 0.0

    runs = [contender(bench, "never", lambda: 1 / 0), contender(bench, "once", later)]
    rows, failures = bench.harness.compare(
        "x", Exact, [*runs, contender(bench, "well", lambda: 0.0)]
    )
    assert [row.solver for row in rows] == ["well"]
    assert failures == {
        "never": "ZeroDivisionError: division by zero",
        "once": "RuntimeError: broke when warm",
    }


def test_a_density_that_is_no_number_misses_every_error(bench: Any) -> None:
    (row,), _ = bench.harness.compare(
        "x", Exact, [contender(bench, "a", lambda: np.nan)]
    )
    assert not row.reached and row.error == 1e99


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(),
    reason="the resident set is read from /proc",
)
def test_peak_memory_sees_an_array(bench: Any) -> None:
    assert bench.harness.peak_bytes(lambda: np.ones(2**23)) > 2**25
    assert bench.harness.peak_bytes(lambda: 0) < 2**24


def test_peak_memory_is_none_where_it_cannot_be_read(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.harness, "Path", lambda name: Path("/nowhere") / "at all")
    assert bench.harness.peak_bytes(lambda: 0) is None


@pytest.fixture
def rows(bench: Any) -> dict[str, Any]:
    """fpsolve at 1 s, its method Dense at 0.9 s and two peers, on a contest that has
    targets of 3 and 25.
    """
    (row,), _ = bench.harness.compare(
        "P2 1e-8", Exact, [contender(bench, "fpsolve", lambda: 0.0)]
    )

    def made(solver: str, family: str, seconds: float, reached: bool = True) -> Any:
        changes = {"seconds_warm": seconds, "seconds_cpu": seconds, "reached": reached}
        return dataclasses.replace(row, solver=solver, family=family, **changes)

    return {
        "mine": made("fpsolve", "fpsolve", 1.0),
        "dense": made("fpsolve Dense", "fpsolve", 0.9),
        "numpy": made("numpy sinc, Chebyshev", "numpy", 2.9),
        "slow": made("diffrax Tsit5", "diffrax", 40.0),
        "quick": made("diffrax Bosh3", "diffrax", 30.0),
        "wrong": made("diffrax Euler", "diffrax", 1.0, reached=False),
    }


def test_a_ratio_is_that_of_the_family_s_best_that_reaches_the_error(
    bench: Any, rows: dict[str, Any]
) -> None:
    numpy, diffrax = bench.kernels.ratio_rows(list(rows.values()))
    assert (numpy["peer"], numpy["measured"], numpy["reached"]) == (
        "numpy sinc, Chebyshev",
        2.9,
        False,
    )
    assert (diffrax["peer"], diffrax["measured"], diffrax["reached"]) == (
        "diffrax Bosh3",
        30.0,
        True,
    )


def test_missed_ratios_are_shown_as_missed(
    bench: Any, rows: dict[str, Any], capsys: pytest.CaptureFixture
) -> None:
    ratios = bench.kernels.ratio_rows(list(rows.values()))
    bench.tables.print_checks(ratios, [])
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in shown if line.startswith("  P2")] == [
        "missed",
        "yes",
    ]
    rows["mine"] = dataclasses.replace(rows["mine"], reached=False)
    assert not any(
        row["reached"] for row in bench.kernels.ratio_rows(list(rows.values()))
    )
    assert "| missed |" in bench.tables.markdown(ratios)
    assert "| 3 x | 2.9 x |" in bench.tables.markdown(ratios)


def test_the_choice_is_held_against_the_best_method(
    bench: Any, rows: dict[str, Any]
) -> None:
    (row,) = bench.kernels.choice_rows(list(rows.values()))
    assert row["measured"] == pytest.approx(1 / 0.9) and row["reached"]
    rows["dense"] = dataclasses.replace(rows["dense"], seconds_warm=0.5)
    assert not bench.kernels.choice_rows(list(rows.values()))[0]["reached"]


def test_the_table_goes_between_the_markers_and_nowhere_else(
    bench: Any, tmp_path: Path
) -> None:
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- speed -->\nold\n<!-- /speed -->\nafter\n")
    for _ in range(2):
        bench.tables.into_readme(page, "| new |\n")
        assert (
            page.read_text()
            == "before\n<!-- speed -->\n| new |\n<!-- /speed -->\nafter\n"
        )
    page.write_text("no markers")
    with pytest.raises(ValueError, match="<!-- speed -->"):
        bench.tables.into_readme(page, "| new |\n")
    assert page.read_text() == "no markers"


def test_a_law_that_breaks_is_named(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import laws

    def broken() -> Any:
        raise ValueError("no such law")
        yield

    monkeypatch.setattr(laws, "_calls", broken)
    monkeypatch.setattr(
        laws, "_rational", lambda: iter([{"what": "x", "limit": 1.0, "measured": 2.0}])
    )
    found, troubles = laws.rows(quick=True)
    assert [row["reached"] for row in found] == [False]
    assert len(troubles) == 1 and "no such law" in troubles[0]


def test_importing_the_folder_imports_no_peer() -> None:
    peers = {"diffrax", "exponax", "fplanck", "pde", "qutip"}
    code = (
        f"import sys; sys.path[:0] = [{FOLDER!r}, {str(ROOT)!r}]; import suite, laws; "
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not peers & set(done.stdout.split())

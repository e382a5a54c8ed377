"""The device benchmark, small, on this processor: its rows, what is left when it is cut
off, and what it refuses.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

import fpsolve as fp
import fpsolve.cli.application as cli
from blocks import ROOT

SCRIPT = ROOT / "benchmarks" / "accelerator.py"
# that the small benchmark may take on a busy machine; alone it takes some 50
SECONDS = 200.0


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules of the folder, as the command imports them."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import accelerator
    import accelerator_report
    import accelerator_timing

    return type(
        "B",
        (),
        {
            "main": accelerator,
            "report": accelerator_report,
            "timing": accelerator_timing,
        },
    )


def start(out: Path, *words: str) -> subprocess.Popen[str]:
    """The benchmark in a process of its own, with the compiled programs of this run at
    hand.
    """
    folder = str(jax.config.jax_compilation_cache_dir or "")
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": folder,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, str(SCRIPT), "--small", "--out", str(out), *words]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def rows_of(out: Path) -> list[dict[str, Any]]:
    """The rows of a file, which is whole whenever it is read."""
    return json.loads(out.read_text(encoding="utf-8"))["rows"] if out.exists() else []


def test_every_row_runs_and_is_written_at_once(tmp_path: Path, benchmark: Any) -> None:
    import accelerator_rows

    out = tmp_path / "rows.json"
    begun = time.perf_counter()
    counts = []
    process = start(out)
    while process.poll() is None:
        counts.append(len(rows_of(out)))
        time.sleep(0.2)
    printed = process.communicate()[0]
    assert process.returncode == 0, printed
    assert time.perf_counter() - begun < SECONDS
    rows = rows_of(out)
    assert [row["row"] for row in rows] == [
        row.name for row in accelerator_rows.rows(small=True)
    ]
    assert len(set(counts)) > 5, "rows are written one by one"
    for row in rows:
        assert (
            row["seconds"] > 0
            and row["device"]
            and row["date"]
            and "jax" in row["versions"]
        ), row
        assert row.get("reached", True), row
        assert row["row"] in printed
    kernels = [row for row in rows if row["row"].startswith(("volumes", "spectral"))]
    assert all(
        row["share_copy"] > 0 and row["share_product"] > 0 and row["calls"] > 1
        for row in kernels
    )
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    table = benchmark.report.markdown([out])
    assert all(f"`{row['row']}`" in table for row in rows)


def test_a_run_that_is_killed_leaves_its_rows(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    process = start(out, "--only", "limit", "volumes")
    while len(rows_of(out)) < 2 and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    names = [row["row"] for row in rows_of(out)]
    assert names[:2] == ["limit-copy-float64", "limit-copy-float32"]


def plant(benchmark: Any, measure: Any, needed: int = 0) -> Any:
    return benchmark.timing.Row("planted", "a planted row", measure, needed)


def test_a_row_too_large_for_the_memory_is_left_out_with_its_bytes(
    benchmark: Any, tmp_path: Path
) -> None:
    out = tmp_path / "rows.json"
    (found,) = benchmark.main.run(
        [plant(benchmark, lambda limits: pytest.fail("it ran"), 10**18)], out
    )
    assert f"{10**18:,} bytes" in found["left_out"]
    assert "are available" in found["left_out"]
    assert rows_of(out)[0]["left_out"] == found["left_out"]


def test_a_row_that_breaks_says_so_and_others_run(
    benchmark: Any, tmp_path: Path
) -> None:
    def broken(limits: Any) -> Any:
        raise RuntimeError("planted")

    whole = benchmark.timing.Row(
        "whole", "a whole row", lambda limits: {"seconds": 1.0}
    )
    found = benchmark.main.run(
        [plant(benchmark, broken), whole], tmp_path / "rows.json"
    )
    assert "planted" in found[0]["failed"]
    assert found[0]["reached"] is False
    assert found[1]["seconds"] == 1.0


def test_no_row_is_begun_after_the_time_given(benchmark: Any) -> None:
    (found,) = benchmark.main.run(
        [plant(benchmark, lambda limits: pytest.fail("it ran"))], None, budget=-1.0
    )
    assert "were given" in found["left_out"]


def test_rows_that_are_not_measured_again_are_kept(
    benchmark: Any, tmp_path: Path
) -> None:
    out = tmp_path / "rows.json"
    one = benchmark.timing.Row("one", "", lambda limits: {"seconds": 1.0})
    two = benchmark.timing.Row("two", "", lambda limits: {"seconds": 2.0})
    benchmark.main.run([one, two], out)
    benchmark.main.run(
        [benchmark.timing.Row("two", "", lambda limits: {"seconds": 3.0})], out
    )
    assert [(row["row"], row["seconds"]) for row in rows_of(out)] == [
        ("one", 1.0),
        ("two", 3.0),
    ]


def test_without_an_accelerator_it_says_what_it_found_and_how_to_install() -> None:
    done = CliRunner().invoke(cli.application(), ["bench", "--device"])
    assert done.exit_code == 2
    for word in (
        "cpu",
        "fpsolve[cuda13]",
        "fpsolve[cuda12]",
        "fpsolve[tpu]",
        "--small",
    ):
        assert word in done.output, done.output


def test_an_unknown_row_is_refused_with_the_known_ones() -> None:
    done = CliRunner().invoke(
        cli.application(), ["bench", "--device", "--small", "--only", "volumes-9d"]
    )
    assert done.exit_code == 2
    assert "volumes-9d" in done.output
    assert "volumes-2d-float64" in done.output


def test_the_table_of_the_readme_is_made_from_the_stored_rows(benchmark: Any) -> None:
    import tables

    readme = ROOT / "README.md"
    before, after = tables.parts_of(readme, benchmark.report.NAME)
    shown = readme.read_text(encoding="utf-8").removeprefix(before).removesuffix(after)
    assert shown == (
        "<!-- device "
        f"-->\n{benchmark.report.stored(ROOT / 'benchmarks' / 'results')}<!-- "
        "/device -->"
    )


@pytest.mark.parametrize("form", ["volumes", "spectral"])
def test_a_rival_computes_the_recurrence_of_the_operator(
    benchmark: Any, form: str
) -> None:
    import accelerator_twins as twins

    grid = fp.Grid(fp.Line(-2.0, 2.0, 9), fp.Line(-2.0, 2.5, 8))
    scheme = fp.ScharfetterGummel() if form == "volumes" else fp.Spectral()
    made = scheme.build(
        fp.FokkerPlanck(fp.Harmonic()), grid, 0.0, np.dtype(float), True
    )
    field = np.random.default_rng(0).normal(size=grid.shape)
    highest = float(made.bounds[1])
    act = lambda u: np.asarray(u - 2 / highest * made.hamiltonian(jnp.asarray(u)))
    wanted = 0.3 * field - 0.2 * act(field) + 0.7 * (2 * act(act(field)) - field)
    missing: dict[str, str] = {}
    (numpy,) = twins.libraries("cpu", missing)
    terms = [0.3, -0.2, 0.7]
    if form == "volumes":
        inner = [
            np.asarray(c) / axis.unit
            for c, axis in zip(made.couplings, grid.axes, strict=True)
        ]
        run = twins.volumes(
            numpy, inner, np.asarray(made.out_rates), field, highest, terms
        )
    else:
        matrices = [np.asarray(term.matrix) for term in made.terms]
        run = twins.spectral(
            numpy, matrices, np.asarray(made.potential_term), field, highest, terms
        )
    assert not missing and np.max(np.abs(run() - wanted)) < 1e-12


def test_a_rival_that_does_not_run_says_why(
    benchmark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import accelerator_twins as twins

    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    missing: dict[str, str] = {}
    assert list(twins.libraries("gpu", missing)) == []
    assert "cupy" in missing["CuPy"] and "torch" in missing["PyTorch"]

"""Samplers that know their answer.

    python benchmarks/samplers.py [--out FILE] [--only PART ...]

steps       exact KL of few-step samplers from the data, for Gaussian mixtures in one to
            three dimensions, at equal numbers of steps: DDIM in all dimensions, and the
            ancestral sampler on a line. All start from the exact law at λ = 1, and all
            but the last rules end at the same noise level before the last step. Five
            seeds where samples are drawn
protocols   least mean work of a moved and of a stiffened trap, found by descent, over
            that of Schmiedl and Seifert
weights     effective sample size of the weights of a sampler with γ times the exact
            drift, and KL of its law

No row for the schedules of arXiv 2605.21911: their closed forms could not be looked up.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [path for path in (str(HERE.parent), str(HERE)) if path not in sys.path]

import harness  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402
from sampler_steps import BUDGETS, MIXTURES, draw_steps, steps  # noqa: E402

STRENGTHS = (0.0, 0.5, 0.9, 1.0)


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "results" / "samplers.json")
    parser.add_argument("--only", nargs="+", choices=("steps", "protocols", "weights"))
    parser.add_argument(
        "--dimensions",
        nargs="+",
        type=int,
        default=sorted(MIXTURES),
        choices=sorted(MIXTURES),
    )
    parser.add_argument(
        "--budgets", nargs="+", type=int, default=BUDGETS, help="numbers of steps"
    )
    chosen = parser.parse_args(argv)
    jax.config.update("jax_enable_x64", True)
    from fpsolve.core.files import write_atomically

    parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "steps": lambda: [
            row for d in chosen.dimensions for row in steps(d, chosen.budgets)
        ],
        "protocols": protocols,
        "weights": weights,
    }
    rows = [row for name in chosen.only or parts for row in parts[name]()]
    # Rows of another part, dimension or number of steps stay in the file.
    measured_now = {place(row) for row in rows}
    before = json.loads(chosen.out.read_text())["rows"] if chosen.out.exists() else []
    rows = sorted(
        [row for row in before if place(row) not in measured_now] + rows, key=place
    )
    content = {"environment": harness.environment(), "rows": rows}
    write_atomically(chosen.out, lambda file: file.write(harness.as_json(content)))
    drawn = [row for row in rows if row["part"] == "steps"]
    if drawn:
        draw_steps(drawn, chosen.out.with_suffix(".png"))
    return 0 if all(row["reached"] for row in rows) else 1


def place(row: dict[str, Any]) -> tuple[str, int, int]:
    """The part, dimension and number of steps of a row: one run measures these."""
    return row["part"], row.get("dimension", 0), row.get("steps", 0)


def protocols() -> list[dict[str, Any]]:
    """The least work of two traps, by descent."""
    import optax

    import fpsolve as fp
    from fpsolve.anneal.schedule import learn

    stiffness, reach, total = 1.0, 2.0, 2.0
    moved = (
        fp.path.Moved(fp.Harmonic(stiffness), reach),
        fp.Grid(fp.Line(-6.5, 8.5, 64)),
        total,
    )
    truth_moved = stiffness * reach**2 / (2 + stiffness * total)
    first, last, total = 1.0, 4.0, 0.8
    stiffened = (
        fp.Mix(fp.Harmonic(first), fp.Harmonic(last)),
        fp.Grid(fp.Line(-6.5, 6.5, 64)),
        total,
    )
    c = max(np.roots([last * total**2 + 2 * total, 2 * last * total + 2, last - first]))
    growth = 1 + c * total
    truth_stiffened = (
        (last * growth**2 / first - 1) / 2 - np.log(growth) + c**2 * total / first
    )
    rows = []
    for name, (path, grid, total), truth in (
        ("moved", moved, truth_moved),
        ("stiffened", stiffened, truth_stiffened),
    ):
        begin = time.perf_counter()
        protocol, history = learn(
            path,
            total,
            "work",
            optax.adam(0.1),
            grid=grid,
            steps=80,
            knots=4,
            jumps=True,
        )
        work = fine_work(path, protocol, grid, total)
        jumps = [float(jump) for jump in protocol.jumps]
        error = abs(work - truth) / truth
        seconds = time.perf_counter() - begin
        rows.append(
            {
                "part": "protocols",
                "trap": name,
                "work": work,
                "on 64 nodes": float(min(history)),
                "truth": float(truth),
                "error": error,
                "jumps": jumps,
            }
            | {"seconds": seconds, "reached": error < 1e-3}
        )
        print(
            f"{name:10s} trap: work {work:.6f}, least {truth:.6f}, relative error "
            f"{error:.1e}, jumps {jumps}"
        )
    return rows


def fine_work(path: Any, protocol: Any, grid: Any, total: float) -> float:
    """The mean work of a protocol, from 128 and 256 nodes extrapolated to cells of no
    width.
    """
    import fpsolve as fp
    from fpsolve.anneal.staircase import mean_work
    from fpsolve.path.mix import Driven, Identity

    by_lambda = fp.FokkerPlanck(Driven(path, Identity()), 1.0)
    found = []
    for factor in (2, 4):
        found.append(
            float(mean_work(by_lambda, grid.refine(factor), protocol, total, 64))
        )
    return found[1] + (found[1] - found[0]) / 3


def weights() -> list[dict[str, Any]]:
    """The weights along a path between mixtures in one and two dimensions, with parts
    of the exact drift.
    """
    import fpsolve as fp
    from fpsolve.anneal import importance_weights

    line = fp.Mix(
        fp.GaussianMixture([[0.0]], 1.0),
        fp.GaussianMixture([[-1.6], [1.6]], 0.25, [0.3, 0.7]),
    )
    plane = fp.Mix(
        fp.GaussianMixture([[0.0, 0.0]], 1.0),
        fp.GaussianMixture([[-1.2, 0.0], [1.2, 0.6]], 0.4, [0.4, 0.6]),
    )
    cases = (
        (line, fp.Grid(fp.Line(-6.0, 6.0, 128)), 1e-4),
        (plane, fp.Grid(fp.Line(-5.0, 5.0, 40), fp.Line(-5.0, 5.0, 40)), 1e-3),
    )
    rows = []
    for path, grid, tol in cases:
        for strength in STRENGTHS:
            schedule = fp.schedule.linear(1.0)
            found = importance_weights(
                path, schedule, drift="exact", strength=strength, grid=grid, tol=tol
            )
            numbers = {
                "variance": float(found.variance),
                "effective": float(found.effective),
                "kl": float(found.kl),
            }
            error = float(found.errors["effective"])
            rows.append(
                {
                    "part": "weights",
                    "dimension": grid.ndim,
                    "strength": strength,
                    **numbers,
                    "error": error,
                }
                | {"mean": float(found.mean), "reached": found.result == "successful"}
            )
            print(
                f"{grid.ndim}-D, {strength:.1f} of the exact drift: {numbers}, E w "
                f"Z_0/Z_T - 1 = {found.mean - 1:.0e}"
            )
    return rows


if __name__ == "__main__":
    raise SystemExit(main())

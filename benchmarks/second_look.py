"""What the second look costs: warm calls with `check=True` and with `check=False`.

    --only NAME     one call (may be given again)
    --out FILE      the rows as JSON (benchmarks/results/second_look.json, where all
                    calls are made)

The two calls of each row are made in turn in one process, on one core, after one of
each that compiles: medians of seven. `error` is the largest estimated error that each
reports. The exit status is 1 if a second look makes a call more than three times as
long.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

import harness  # noqa: E402

RESULTS = HERE / "results" / "second_look.json"
LIMIT = 3.0  # times as long as without a second look


def main(argv: list[str] | None = None) -> int:
    """Measure, print and write; 1 if a ratio is above `LIMIT`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="NAME")
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(argv)
    harness.on_one_core(sys.argv if argv is None else [sys.argv[0], *argv])
    import jax

    jax.config.update("jax_enable_x64", True)
    rows = []
    print(
        f"  {'call':34s} {'check=True':>11s} {'check=False':>12s} {'ratio':>6s} "
        f"{'error':>9s} {'without':>9s}"
    )
    for name, ask in calls().items():
        if chosen.only and name not in chosen.only:
            continue
        with_look, without = harness.medians(
            [lambda ask=ask: ask(True), lambda ask=ask: ask(False)], 7
        )
        errors = [error_of(ask(check)) for check in (True, False)]
        rows.append(
            {"call": name, "check": with_look, "no_check": without, "errors": errors}
        )
        print(
            f"  {name:34s} {with_look:9.4f} s {without:10.4f} s "
            f"{with_look / without:6.2f}",
            end="",
        )
        print(" ".join(f"{error:10.1e}" for error in errors), flush=True)
    content = {
        "environment": harness.environment(),
        "versions": harness.versions("fpsolve"),
        "rows": rows,
    }
    # A few calls do not take the place of all in the results.
    if not chosen.only or chosen.out != RESULTS:
        chosen.out.write_bytes(harness.as_json(content))
    return 1 if any(row["check"] > LIMIT * row["no_check"] for row in rows) else 0


def error_of(answer: Any) -> float:
    """The largest estimated error of an answer; NaN where it has none."""
    import numpy as np

    errors = getattr(answer, "error", getattr(answer, "errors", None))
    if errors is None:
        return float("nan")
    return float(
        np.max(
            [
                np.max(np.asarray(leaf))
                for leaf in (errors.values() if isinstance(errors, dict) else [errors])
            ]
        )
    )


def calls() -> dict[str, Callable[[bool], Any]]:
    """The calls of the README; each takes the value of `check`."""
    import first_answer_driven as driven
    import first_answer_static as static
    import jax.numpy as jnp

    import fpsolve as fp

    plane = static.plane_grid(48)
    line = fp.Grid(fp.Line(-2.6, 2.6, 64))
    ridge, well = (
        fp.FokkerPlanck(u["first"], diffusion=d)
        for u, d in ((static.PLANE, 0.5), (static.LINE, 0.1))
    )
    trap = fp.FokkerPlanck(driven.TRAPS["first"].potential)
    ring = fp.FokkerPlanck(lambda x: jnp.cos(x[0]) + jnp.cos(2 * x[0]) / 2)
    round_grid = fp.Grid(fp.Periodic(0.0, 2 * jnp.pi, 64))
    walls = fp.Grid(fp.Reflecting(-2.0, 2.0, 256))
    narrow, broad = fp.Gaussian(-1.0, 0.05), fp.Gaussian([-1.0, 0.0], 0.05)
    bowls, bowls_grid = driven.bowls("first")
    schedule = fp.schedule.linear(driven.TOTAL)
    times = list(static.TIMES)
    left, right = (lambda x: x[0] < -1.0), (lambda x: x[0] > 1.0)
    return {
        "evolve, line": lambda check: fp.evolve(
            well, narrow, times, grid=line, check=check
        ),
        "evolve, plane": lambda check: fp.evolve(
            ridge, broad, times, grid=plane, check=check
        ),
        "evolve, plane of 144 x 144": lambda check: fp.evolve(
            ridge, broad, times, grid=static.plane_grid(144), check=check
        ),
        "evolve, fitted line": lambda check: fp.evolve(
            well, narrow, times, tol=1e-6, check=check
        ),
        "evolve, finite volumes": lambda check: fp.evolve(
            well, narrow, times, grid=walls, scheme=fp.ScharfetterGummel(), check=check
        ),
        "evolve, ring": lambda check: fp.evolve(
            ring, fp.Gaussian(2.0, 0.1), times, grid=round_grid, check=check
        ),
        "evolve, moving line": lambda check: fp.evolve(
            trap,
            fp.Gaussian(0.0, 1.0),
            [1.0, 2.0],
            grid=fp.Grid(fp.Line(-7.0, 7.0, 64)),
            check=check,
        ),
        "spectrum, line": lambda check: fp.spectrum(well, line, k=4, check=check),
        "spectrum, plane": lambda check: fp.spectrum(ridge, plane, k=4, check=check),
        "spectrum, plane of 144 x 144": lambda check: fp.spectrum(
            ridge, static.plane_grid(144), k=4, check=check
        ),
        "spectral_gap, line": lambda check: fp.spectral_gap(well, line, check=check),
        "committor, plane": lambda check: fp.committor(
            ridge, plane, left, right, check=check
        ),
        "mean_first_passage_time, line": lambda check: fp.mean_first_passage_time(
            well, line, right, check=check
        ),
        "correspondence, plane": lambda check: fp.correspondence(
            ridge, broad, times, grid=plane, check=check
        ),
        "transport, line": lambda check: fp.transport(
            bowls, schedule, grid=bowls_grid, times=[driven.TOTAL], check=check
        ),
    }


if __name__ == "__main__":
    sys.exit(main())

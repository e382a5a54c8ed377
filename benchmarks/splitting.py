"""Stiff irreversible processes in the plane: `Splitting` beside `Implicit` and
`Uniformization` on finite volumes.

    python benchmarks/splitting.py      writes benchmarks/results/splitting.json

Each row is a problem, a time, and a method, with the first call, the median warm call,
the operator calls, the estimated error, and the true one: the distance from the Poisson
sum, whose error is rounding.
"""

import json
from pathlib import Path
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from harness import environment, median_seconds

import fpsolve as fp

jax.config.update("jax_enable_x64", True)

RESULTS = Path(__file__).parent / "results" / "splitting.json"
N, TOL = 32, 1e-6
LONGEST = 10.0  # seconds of a first call from which the warm call is not repeated


def swirl(speed: float) -> Any:
    """A rotation round the origin."""
    return lambda x: speed * jnp.stack([x[1], -x[0]])


def problems() -> dict[str, tuple[fp.FokkerPlanck, fp.Grid, fp.Gaussian]]:
    """Fast rotation in a trap; steep wells with a slow rotation; a driven ring across a
    stiff trap, weakly coupled.
    """
    steep = lambda x: 40 * (x[0] ** 2 - 1) ** 2 + 30 * x[1] ** 4 + 8 * x[0] * x[1]
    crossed = lambda x: 100 * x[1] ** 2 + 0.05 * jnp.cos(x[0]) * x[1]
    push = lambda x: jnp.stack([3.0 + 0 * x[0], 0 * x[1]])
    return {
        "rotation": (
            fp.FokkerPlanck(fp.Harmonic(), force=swirl(30.0)),
            fp.Grid(fp.Line(-4.0, 4.0, N), fp.Line(-4.0, 4.0, N)),
            fp.Gaussian([1.0, 0.0], 0.3),
        ),
        "steep wells": (
            fp.FokkerPlanck(steep, force=swirl(1.0)),
            fp.Grid(fp.Line(-1.6, 1.6, N), fp.Line(-1.4, 1.4, N)),
            fp.Gaussian([-1.0, 0.0], 0.01),
        ),
        "driven ring": (
            fp.FokkerPlanck(crossed, force=push),
            fp.Grid(fp.Periodic(0.0, 2 * np.pi, N), fp.Line(-0.5, 0.5, N)),
            fp.Gaussian([3.0, 0.0], [0.1, 0.004]),
        ),
    }


def row(name: str, time: float, method: Any) -> dict[str, Any]:
    """One method on one problem."""
    equation, grid, start = problems()[name]

    def run() -> fp.Solution:
        chosen = {
            "scheme": fp.ScharfetterGummel(),
            "method": method,
            "tol": TOL,
            "throw": False,
        }
        found = fp.evolve(equation, start, [time], grid=grid, **chosen)
        return jax.block_until_ready(found)

    begun = perf_counter()
    found = run()
    first = perf_counter() - begun
    warm = median_seconds(run, 5) if first < LONGEST else None
    truth = fp.evolve(
        equation,
        start,
        [time],
        grid=grid,
        scheme=fp.ScharfetterGummel(),
        method=fp.Uniformization(),
    )
    apart = float(grid.integrate(jnp.abs(found.values[0] - truth.values[0])))
    label = f"{type(method).__name__}({getattr(method, 'order', '')})"
    numbers = {
        "error": float(found.error[-1]),
        "true_error": apart,
        "calls": float(found.stats["operator_calls"]),
        "result": found.result,
    }
    return {
        "problem": name,
        "t": time,
        "method": label,
        "first": first,
        "warm": warm,
        **numbers,
    }


def main() -> None:
    """All rows, written after each."""
    rows = []
    for name in problems():
        for time in (1.0, 100.0):
            for method in (
                fp.Splitting(order=4),
                fp.Splitting(order=2),
                fp.Uniformization(),
                fp.Implicit(order=3),
            ):
                rows.append(row(name, time, method))
                print(json.dumps(rows[-1]), flush=True)
                RESULTS.write_text(
                    json.dumps({"environment": environment(), "rows": rows}, indent=1)
                    + "\n"
                )


if __name__ == "__main__":
    main()

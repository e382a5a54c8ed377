"""Work against precision for time-dependent potentials, by kind of step. Writes
results/moving.json and .png.

    P5, on a line and on a plane (see `problems`): one density at t = 10, error against
    time of a warm call

It compares `fp.Magnus()` (collocation in a moving frame, adaptive), its even steps, its
extrapolated midpoints (which it uses where there is no frame), and numpy by hand:
Strang steps in the sinc basis with three levels of extrapolation.
"""

import json
import sys
from pathlib import Path

import harness

if __name__ == "__main__":
    harness.on_one_core(sys.argv)

import jax

jax.config.update("jax_enable_x64", True)

import by_hand  # noqa: E402
import numpy as np  # noqa: E402
import problems  # noqa: E402

import fpsolve as fp  # noqa: E402

RESULTS = Path(__file__).parent / "results"
TOLERANCES = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
BOXES = {
    1: (((-2.4, 2.4),), (52,), ((-2.6, 2.6),), (96,)),
    2: (((-2.4, 2.4), (-4.3, 4.3)), (52, 36), None, None),
}
BOXES[2] = (*BOXES[2][:2], ((-2.6, 2.6), (-4.6, 4.6)), (80, 60))


def contenders(problem: problems.Problem) -> list[harness.Contender]:
    """Every solver, with each of its sizes."""
    axes = problems.open_axes(problem.box, problem.shape)
    grid = fp.Grid(
        *(
            fp.Line(*bounds, n)
            for bounds, n in zip(problem.box, problem.shape, strict=True)
        )
    )
    equation = fp.FokkerPlanck(problem.potential)
    start = problem.start(axes)

    def ours(
        label: str, method: fp.Magnus, tol: float, parameters: dict[str, object]
    ) -> harness.Contender:
        def run() -> fp.Solution:
            return fp.evolve(
                equation,
                start,
                [problem.t],
                grid=grid,
                scheme=fp.Spectral(),
                method=method,
                tol=tol,
                throw=False,
            )

        return harness.Contender(
            f"{label} {parameters}",
            label,
            run,
            lambda solution: np.asarray(solution.values[0]),
            axes,
            parameters,
            np.inf,
            lambda solution: {
                "estimate": float(solution.error[0]),
                "calls": float(solution.stats["operator_calls"]),
            },
        )

    found = [ours("fp.Magnus()", fp.Magnus(), tol, {"tol": tol}) for tol in TOLERANCES]
    found += [
        ours("even steps", fp.Magnus(steps=n), 1e-9, {"steps": n})
        for n in (6, 10, 16, 24)
    ]
    found += [ours("midpoints", fp.Magnus(extrapolate=False), 1e-3, {"tol": 1e-3})]
    for steps in (300, 600, 1200, 2400):
        run, at = by_hand.sinc_strang(problem, problem.box, problem.shape, steps, 3)
        found.append(
            harness.Contender(
                f"numpy Strang {steps}",
                "numpy Strang",
                run,
                np.asarray,
                at,
                {"steps": steps},
                np.inf,
            )
        )
    return found


def picture(rows: list[harness.Row], path: Path) -> None:
    """Error against time, one panel a problem."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = sorted({row.problem for row in rows})
    figure, panels = plt.subplots(
        1, len(names), figsize=(5 * len(names), 4), sharey=True, constrained_layout=True
    )
    for panel, name in zip(panels, names, strict=True):
        for family in dict.fromkeys(row.family for row in rows):
            mine = sorted(
                (row for row in rows if row.problem == name and row.family == family),
                key=lambda r: r.error,
            )
            times = [row.seconds_warm * 1e3 for row in mine]
            errors = [row.error for row in mine]
            (line,) = panel.loglog(times, errors, "o-", label=family)
            if family == "fp.Magnus()":
                estimates = [row.notes["estimate"] for row in mine]
                panel.loglog(
                    times, estimates, ":", color=line.get_color(), label="its estimate"
                )
        panel.set(title=name, xlabel="one warm call (ms)")
    panels[0].set_ylabel("relative L1 error")
    panels[0].legend(frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run all, print a table, write the results."""
    rows = []
    for d, (box, shape, fine_box, fine_shape) in BOXES.items():
        problem = problems.Problem(
            f"P5 {d}-D", d, 10.0, box, shape, fine_box, fine_shape, "moving"
        )
        found, failures = harness.compare(problem.name, problem, contenders(problem))
        rows += found
        for name, fault in failures.items():
            print(f"{problem.name}  {name}: {fault}")
        for row in found:
            print(
                f"{row.problem}  {row.solver:32s} {row.seconds_warm * 1e3:8.1f} ms  "
                f"error {row.error:.1e}  {row.notes}"
            )
    content = {"environment": harness.environment(), "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "moving.json").write_bytes(harness.as_json(content))
    json.loads((RESULTS / "moving.json").read_text())
    picture(rows, RESULTS / "moving.png")


if __name__ == "__main__":
    main()

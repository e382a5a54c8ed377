"""The benchmark of slow modes: fpsolve against scipy and pyamg.

    python benchmarks/spectra.py [--only 2-D] [--out FILE] [--print-only]

Ten levels of problems P2 and P3 (see `problems.py`), pair by pair in one process on one
core. The error is the largest relative error of E_k - E_0, k = 1 to 9, against
a converged reference: Lanczos iteration in the sinc basis on a finer grid in a wider
box. The error that other solvers reach on their cells is their target, and is in the
row.
"""

import argparse
import dataclasses
import functools
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [path for path in (str(HERE.parent), str(HERE)) if path not in sys.path]

import harness  # noqa: E402
import tables  # noqa: E402

LEVELS = 10
RATIOS = (
    ("2-D, 1e-6", "scipy shift-invert, 256²", 20),
    ("2-D, 1e-6", "scipy eigsh, sinc", 1),
    ("3-D, 1e-6", "scipy LOBPCG with pyamg, 64³", 20),
    ("3-D, 1e-6", "scipy eigsh, sinc", 1.5),
)


@dataclasses.dataclass(frozen=True)
class Levels:
    """A problem for the harness: the error of the result of a solver."""

    problem: Any

    def error(self, values: Any, _: Any) -> float:
        """The largest relative error of the distances of levels 1 to 9 from the ground
        state.
        """
        import numpy as np

        found, truth = (
            np.asarray(levels)[1:LEVELS] - levels[0] for levels in (values, self.truth)
        )
        return float(np.max(np.abs(found - truth) / truth))

    @functools.cached_property
    def truth(self) -> Any:
        """The converged levels."""
        import spectra_by_hand

        fine = tuple(int(1.15 * n) for n in self.problem.shape)
        box = tuple((1.1 * a, 1.1 * b) for a, b in self.problem.box)
        return spectra_by_hand.sinc_lanczos(self.problem, box, fine, LEVELS, 1e-12)[0]()


def ours(
    problem: Any, label: str, bounds: Any, shape: Any, anew: bool = False
) -> harness.Contender:
    """`fp.spectrum` with only the grid given."""
    import numpy as np
    import problems
    import suite

    import fpsolve as fp

    grid = suite.grid_of(bounds, shape)
    calls = itertools.count(1)
    equation = fp.FokkerPlanck(problem.potential)

    def run() -> Any:
        asked = equation
        if anew:
            asked = fp.FokkerPlanck(problem.potential, 1.0 + 1e-15 * next(calls))
        return fp.spectrum(asked, grid, LEVELS, tol=1e-7)

    axes = problems.open_axes(bounds, shape)
    parameters = {"nodes": list(shape), "box": bounds, "tol": 1e-7}
    notes = lambda answer: {**answer.stats, "bounds": float(np.max(answer.errors))}
    return harness.Contender(
        label,
        "fpsolve",
        run,
        lambda answer: np.asarray(answer.values),
        axes,
        parameters,
        1e-6,
        notes,
    )


def hand(
    problem: Any,
    label: str,
    goal: float,
    make: Any,
    bounds: Any,
    shape: Any,
    **sizes: Any,
) -> harness.Contender:
    """A solver by hand."""
    run, axes = make(problem, bounds, shape, k=LEVELS, **sizes)
    parameters = {"nodes": list(shape), "box": bounds, **sizes}
    return harness.Contender(
        label, label.split(",")[0], run, lambda values: values, axes, parameters, goal
    )


def contests() -> Iterator[tuple[str, Any, list[harness.Contender]]]:
    """Names, problems, solvers."""
    import spectra_by_hand as by
    import suite

    for name, problem, shape, goals in (
        ("2-D, 1e-6", suite.P2, (40, 30), 1e-6),
        ("3-D, 1e-6", suite.P3, (40, 30, 30), 1e-6),
    ):
        bounds = suite.box(2.2, 3.6, 3.6)[: problem.d]
        if problem.d == 2:
            on_cells = hand(
                problem,
                "scipy shift-invert, 256²",
                1e-3,
                by.shift_invert,
                bounds,
                (256, 256),
            )
        else:
            on_cells = hand(
                problem,
                "scipy LOBPCG with pyamg, 64³",
                1e-1,
                by.amg_lobpcg,
                bounds,
                (64,) * 3,
                tol=1e-3,
            )
        lanczos = hand(
            problem,
            "scipy eigsh, sinc",
            goals,
            by.sinc_lanczos,
            bounds,
            shape,
            tol=1e-7,
        )
        solvers = [
            ours(problem, "fpsolve", bounds, shape),
            ours(problem, "fpsolve, asked anew", bounds, shape, anew=True),
            lanczos,
            on_cells,
        ]
        yield name, problem, solvers


def main(argv: list[str] | None = None) -> int:
    """Run, print, write; return 0 if every solver reaches its stated error. The process
    is started again on one core.
    """
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="spectra.py", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        help="contests whose names begin so",
    )
    parser.add_argument("--out", type=Path, default=None, help="a .json file")
    parser.add_argument("--print-only", action="store_true", help="write no file")
    parser.add_argument(
        "--readme", action="store_true", help="put the table of ratios into README.md"
    )
    chosen = parser.parse_args(argv)
    harness.on_one_core([str(Path(__file__).resolve()), *argv])
    import jax

    jax.config.update("jax_enable_x64", True)
    import kernels

    rows, troubles = [], []
    for name, problem, contenders in contests():
        if chosen.only and not name.startswith(tuple(chosen.only)):
            continue
        found, failures = harness.compare(name, Levels(problem), contenders)
        rows += found
        troubles += tables.report(
            _Named(name, contenders[0].goal), found, failures, "largest relative error"
        )
    ratios = kernels.ratio_rows(rows, RATIOS)
    tables.print_checks(ratios, [])
    print(f"\n{tables.markdown(ratios)}")
    out = chosen.out or (
        None if chosen.only or chosen.print_only else HERE / "results" / "spectra.json"
    )
    if out is not None:
        from fpsolve.core.files import write_atomically

        content = harness.as_json(
            {"environment": harness.environment(), "rows": rows, "ratios": ratios}
        )
        write_atomically(out, lambda file: file.write(content))
    if chosen.readme:
        tables.into_readme(kernels.README, tables.markdown(ratios), "spectra")
    print(
        "\n".join(["", *troubles])
        if troubles
        else "\nevery solver reaches its stated error"
    )
    return 1 if troubles else 0


@dataclasses.dataclass(frozen=True)
class _Named:
    name: str
    goal: float


if __name__ == "__main__":
    sys.exit(main())

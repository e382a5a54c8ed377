"""`fpsolve run`: evolve the problem in a file, print a summary, write the result and a
picture.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..core.result import NumericalFailure
from ..core.types import Scalar
from ..solve.correspondence import correspondence
from ..solve.evolve import evolve
from .console import console, print_rows
from .output import check_targets, draw, missing_package
from .problem import Problem, read_problem

SUFFIXES = (".npz", ".nc")


def run_file(
    path: Path,
    out: Path | None,
    plot: Path | None,
    overrides: dict[str, Any],
    force: bool,
) -> int:
    """Evolve the problem in a file; print a summary, write the result and a picture."""
    # Everything that can fail early is checked before the run: the problem, the files,
    # the packages.
    problem = read_problem(path, overrides)
    out = Path(f"{path.stem}.npz") if out is None else out
    picture, no_picture = check_targets(out, plot, SUFFIXES, force)
    if out.suffix == ".nc":
        missing = missing_package("io", "h5netcdf") or missing_package("io", "xarray")
        if missing:
            raise ImportError(f"--out: {missing}")
    screen = console()
    for note in problem.notes:
        screen.print(f"note: {note}")
    solution = evolve(
        problem.equation,
        problem.initial,
        problem.times,
        grid=problem.grid,
        scheme=problem.scheme,
        method=problem.method,
        tol=problem.tol,
        progress=sys.stderr.isatty(),  # no bar in a log file
    )
    # An independent check of the answer: density and wave on one grid.
    agreement, agrees = _agreement(problem)
    stats = solution.stats
    minimum = f"{stats['min_density']:.3e}"
    if stats["min_density"] < 0:
        minimum += ", the most negative density at any time"
    mass = f"{float(solution.mass[-1]):.12g} at the last time"
    error = float(np.max(np.asarray(solution.error)))
    rows = {
        "grid": repr(problem.grid),
        "scheme": stats["scheme"],
        "method": stats["method"],
        "times": ", ".join(f"{t:.6g}" for t in _few(np.asarray(solution.times))),
        "mass": f"{mass}, drift at most {stats['mass_drift']:.1e}",
        "minimum": minimum,
        "error in time": f"{error:.1e}, relative L1, estimated",
        "correspondence": agreement,
        "result": str(out),
    }
    # The result first: a failing plot does not lose it.
    solution.save(out)
    rows["picture"] = f"none: {no_picture}" if no_picture else draw(solution, picture)
    print_rows(rows)
    return 0 if agrees else 1


def _agreement(problem: Problem) -> tuple[str, bool]:
    """The correspondence on the same grid by finite volumes, in words, and whether it
    holds where it exists.
    """
    # Without a Gibbs density there is no correspondence to measure.
    reason = problem.equation.irreversible_because(problem.grid)
    if reason is not None:
        return f"none, because {reason}", True
    try:
        # Only the difference of the two sides is reported here.
        both = correspondence(
            problem.equation,
            problem.initial,
            problem.times,
            grid=problem.grid,
            check=False,
        )
    # The run itself has succeeded: a check that cannot be made is no failure.
    except (ValueError, NumericalFailure) as error:
        return f"not measured: {error}", True
    verdict = "holds" if both.holds else "does NOT hold"
    size = float(np.max(np.asarray(both.difference)))
    text = f"{verdict}: p and √π ψ differ by at most {size:.1e}"
    return f"{text} (relative L1, finite volumes)", both.holds


def _few(times: np.ndarray) -> list[Scalar]:
    """At most eight times: the first four and the last four of more."""
    return list(times) if len(times) <= 8 else [*times[:4], *times[-4:]]

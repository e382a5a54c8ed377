"""The run of an evolution: a plan, what came of it, and its error by a second look.

A fitted grid on which the error is above the tolerance is replaced by finer ones.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core.progress import track
from ..fit import Fit
from ..plan import Outcome, Plan, Request, first_plan
from ..plan.companion import finer
from ..plan.run import run, run_accepted
from ..propagate import Dense
from .checkpoint import Checkpoint
from .constants import CONSTANTS
from .evolution_request import Arguments, on_fitted_grid
from .second_look import Look, look


class Solved(NamedTuple):
    """A plan, what came of it, and its error."""

    plan: Plan
    outcome: Outcome
    found: Look


def run_request(
    request: Request,
    folder: Path | None,
    progress: bool,
    check: bool,
) -> Solved:
    """The first plan of a request whose outcome is accepted, and its whole error."""
    plan, outcome = _run_plans(request, folder, progress)
    found = look(plan, outcome, check)
    if plan.is_contracted and found.compared and found.worst > request.tol:
        # The companions ran in larger bases: what they deny may be the smaller basis.
        whole = plan.in_full_basis()
        if whole is not None:
            inside = _subfolder(folder, "all_functions")
            bar = track(request.times, progress)
            outcome = run(whole, bar, _checkpoint(inside, whole))
            found = look(whole, outcome, check)
            plan = whole
    return Solved(plan, outcome, found)


def _run_plans(
    request: Request, folder: Path | None, progress: bool
) -> tuple[Plan, Outcome]:
    """The first plan whose outcome is accepted, or the best of all, and its outcome."""
    first = first_plan(request)
    if folder is not None and first.chosen.provisional:
        # A folder holds one discretisation. Whether the first one resolves the solution
        # is found out without it.
        first = first.fallback(run(first)) or first

    def run_one(plan: Plan) -> Outcome:
        # Each attempt shows a bar of its own.
        return run(plan, track(request.times, progress), _checkpoint(folder, plan))

    return run_accepted(first, run_one, may_try=lambda fallback: folder is None)


def on_finer_grids(
    given: Arguments,
    solved: Solved,
    folder: Path | None,
    progress: bool,
    check: bool,
) -> Solved:
    """The same on finer grids, and on wider ones, until the error is at most the
    tolerance or is no longer reduced.
    """
    # Under a transformation nothing is compared, and errors have no values here.
    if not solved.found.compared:
        return solved
    tol = solved.plan.tol
    # Nodes do not help where a box is too narrow.
    box_error = float(np.max(np.asarray(solved.found.parts.box)))
    widen = solved.found.narrow or box_error > tol / 2
    grid = solved.plan.grid
    useless = 0
    for attempt in range(CONSTANTS.finer_grids):
        if solved.found.worst <= tol or not _grid_may_help(solved):
            break
        # A new fit would take longer than several runs, and may find the same grid.
        grid = finer(grid, widen)
        description = f"{grid!r}, made finer because a companion differed"
        try:
            request = on_fitted_grid(given, Fit(grid, np.nan, description))
        # a function that is not finite beyond the box, or too little memory
        except ValueError:
            break
        inside = _subfolder(folder, f"finer_{attempt + 1}")
        other = run_request(request, inside, progress, check)
        # Not a number if both are infinite, that is, not known.
        gain = solved.found.worst / other.found.worst
        if gain > 1:
            solved = other
        # `not >` holds for NaN as well.
        if not gain > CONSTANTS.least_gain:
            # On coarse nodes an error may rise before it falls: one grid shows little.
            useless += 1
            if widen and useless > CONSTANTS.useless_grids:
                break
            widen = True
    return solved


def _grid_may_help(solved: Solved) -> bool:
    """Whether a finer grid may reduce the error of a run: it was compared, and
    succeeded, or levels of its matrix, which depend on the grid, were not certain
    enough.
    """
    plan, outcome, found = solved
    # What one run shows is too rough a guide for another grid.
    if not found.compared:
        return False
    if int(outcome.code) == 0:
        return True
    finite = bool(np.all(np.isfinite(outcome.values)))
    return isinstance(plan.method, Dense) and finite


def _subfolder(folder: Path | None, name: str) -> Path | None:
    """A folder of its own for another discretisation: a folder of states holds one."""
    return None if folder is None else folder / name


def _checkpoint(folder: Path | None, plan: Plan) -> Checkpoint | None:
    if folder is None:
        return None
    return Checkpoint(folder, plan.request, plan.scheme, plan.method, plan.start)

"""`fpsolve anneal`: the best schedule along a path. Each schedule of the theory, and
the linear one, is run to its end and compared.

    dλ/dt = C / (T sqrt(g(λ))),     sqrt(g) one of the four costs of theorem T21

The best schedule is the one whose final density is nearest to the Gibbs density, by KL.
Where no time T is given, T is 10 C of the adiabatic bound, for which the first-order
lag sqrt(chi2) is at most about a tenth.

Reference: theorems T15 to T17 and T21 of this library.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..anneal import Transport, transport
from ..anneal.constants import CONSTANTS as ANNEAL
from ..anneal.grid_for_path import path_grid
from ..anneal.schedule import Schedule
from ..anneal.schedule import schedules as schedule
from ..anneal.schedule.schedules import COSTS
from ..core.files import write_atomically
from .console import console, new_table, print_rows
from .constants import CONSTANTS
from .output import check_targets, draw
from .problem import Annealing, read_annealing


class Trial(NamedTuple):
    """A schedule by name, its transport, and its predicted `gain`: the cost of the
    linear schedule over its own.
    """

    name: str
    schedule: Schedule
    transport: Transport
    gain: float

    @property
    def kl(self) -> float:
        """KL to the Gibbs density at the end of the path."""
        return float(self.transport.kl[-1])


def anneal_file(
    path: Path,
    out: Path | None,
    plot: Path | None,
    overrides: dict[str, Any],
    force: bool,
) -> int:
    """Run every schedule along the path in a file; print how near to Gibbs each ends,
    write the best one and its picture.
    """
    problem = read_annealing(path, overrides)
    out = Path(f"{path.stem}.csv") if out is None else out
    picture, no_picture = check_targets(out, plot, (".csv",), force)
    found: list[Trial] = []
    # On standard error, so that standard output can be piped.
    with console(error=True).status("the gap along the path") as status:
        for trial in trials(problem):
            found.append(trial)
            status.update(f"{len(found)} schedules done, the last: {trial.name}")
    table = new_table(
        "schedule",
        "KL at the end",
        "TV",
        "TV at most",
        "by",
        "KL, linear / this",
        "gain predicted",
    )
    for row in compare(found):
        table.add_row(*row)
    console().print(table)
    chosen = best(found, problem.cost)
    rows = summary(problem, chosen) | {"schedule": f"{chosen.name}: {out}"}
    write_table(chosen, out)
    # The schedule is written by now: a failing plot does not lose it.
    drawn = f"none: {no_picture}" if no_picture else draw(chosen.transport, picture)
    rows["picture"] = drawn
    print_rows(rows)
    return 0


def trials(problem: Annealing) -> Iterator[Trial]:
    """The linear schedule and then the optimal ones, for every cost or for the
    requested one; each when it is done.
    """
    costs = COSTS if problem.cost is None else (problem.cost,)
    path = problem.path
    diffusion = problem.diffusion
    # One grid and one gap along the path serve every schedule.
    grid = problem.grid
    if grid is None:
        grid = path_grid(path, diffusion, ANNEAL.schedule_path_tol)
    first = schedule.optimal(
        path,
        problem.total or 1.0,
        grid=grid,
        diffusion=diffusion,
        cost=costs[-1],
    )
    # C of the adiabatic bound, the default cost; it does not depend on the time.
    cost_integral = float(schedule.optimal(first.along, 1.0).cost_integral)
    total = problem.total or _two_digits(CONSTANTS.total_per_cost * cost_integral)
    # Enough times to resolve the fastest part of a schedule, and those of the file.
    times = np.linspace(0.0, total, CONSTANTS.reported_times)
    if problem.times is not None:
        times = np.union1d(times, problem.times)
    chosen: dict[str, Schedule] = {"linear": schedule.linear(total)}
    chosen |= {
        f"optimal, {cost}": schedule.optimal(first.along, total, cost=cost)
        for cost in costs
    }
    tol = CONSTANTS.transport_tol
    for name, candidate in chosen.items():
        found = transport(
            path,
            candidate,
            grid=grid,
            diffusion=diffusion,
            times=times,
            tol=tol,
        )
        # The linear schedule has no gain: it is what the others are compared with.
        gain = float(getattr(candidate, "gain", 1.0))
        yield Trial(name, candidate, found, gain)


def best(found: list[Trial], cost: str | None) -> Trial:
    """The trial with the least KL at the end; that of the requested cost, if any."""
    if cost is not None:
        return found[-1]  # after the linear one, the only other
    return min(found, key=lambda trial: trial.kl)


def compare(found: list[Trial]) -> list[list[str]]:
    """One row a trial: the final distances from Gibbs, the bound and its theorem,
    measured and predicted gain.
    """
    rows = []
    for trial in found:
        run = trial.transport
        last = float(run.bound[-1])
        # An infinite bound is one whose premise does not hold.
        bound = [f"{last:.3g}", run.bound_by] if np.isfinite(last) else ["none", ""]
        ratio = f"{found[0].kl / trial.kl:.3g}" if trial.kl > 0 else ""
        rows.append(
            [
                trial.name,
                f"{trial.kl:.3e}",
                f"{float(run.tv[-1]):.3e}",
                *bound,
                ratio,
                f"{trial.gain:.3g}",
            ]
        )
    return rows


def summary(problem: Annealing, chosen: Trial) -> dict[str, str]:
    """The problem and the main numbers of the chosen schedule, by name."""
    run = chosen.transport
    total = float(chosen.schedule.total)
    gap = np.asarray(run.gap)
    least = int(np.argmin(gap))
    origin = ""
    if not problem.total:
        factor = f"{CONSTANTS.total_per_cost:g} x C"
        origin = f", since none was given: {factor} of the adiabatic bound"
    return {
        "grid": repr(run.grid),
        "diffusion": f"{problem.diffusion:g}",
        "time": f"{total:g}{origin}",
        "least gap": f"{gap[least]:.4g}, at lambda = {float(run.lambdas[least]):.3g}",
        "bound": run.bound_by,
    }


def write_table(trial: Trial, path: Path) -> None:
    """Write the schedule as text: a line `t,lambda`, then equal steps in time, with all
    digits.
    """
    times, lambdas = trial.schedule.table(CONSTANTS.table_steps)
    rows = zip(np.asarray(times), np.asarray(lambdas), strict=True)
    # `repr` of a float has the digits that give it back.
    lines = [f"{float(t)!r},{float(lam)!r}\n" for t, lam in rows]
    text = "t,lambda\n" + "".join(lines)
    write_atomically(path, lambda file: file.write(text.encode()))


def _two_digits(total: float) -> float:
    """A number rounded to two digits."""
    return float(f"{total:.1e}")

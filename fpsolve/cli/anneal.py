"""The best schedule along a path: each schedule of the theory, and the linear one, is
run to its end and compared.

    dλ/dt = C / (T sqrt(g(λ))),     sqrt(g) one of the four costs of theorem T21

The best schedule is the one whose final density is nearest to the Gibbs density, by KL.
Where no time T is given, T is 10 C of the adiabatic bound, for which the first-order
lag sqrt(chi2) is at most about a tenth.

Reference: theorems T15 to T17 and T21 of this library.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..anneal import Transport, transport
from ..anneal.constants import CONSTANTS as ANNEAL
from ..anneal.grid_for_path import path_grid
from ..anneal.schedule import Schedule
from ..anneal.schedule import schedules as schedule
from ..anneal.schedule.schedules import COSTS
from ..core.files import write_atomically
from .constants import CONSTANTS
from .problem import Annealing


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


def trials(problem: Annealing) -> Iterator[Trial]:
    """The linear schedule and then the optimal ones, for every cost or for the
    requested one; each when it is done.
    """
    costs = COSTS if problem.cost is None else (problem.cost,)
    path = problem.path
    diffusion = problem.diffusion
    # One grid and one gap along the path serve every schedule.
    grid = (
        path_grid(path, diffusion, ANNEAL.schedule_path_tol)
        if problem.grid is None
        else problem.grid
    )
    first = schedule.optimal(
        path, problem.total or 1.0, grid=grid, diffusion=diffusion, cost=costs[-1]
    )
    cost_integral = float(schedule.optimal(first.along, 1.0).cost_integral)
    total = problem.total or _two_digits(CONSTANTS.total_per_cost * cost_integral)
    # Enough times to resolve the fastest part of a schedule, and those of the file.
    times = np.linspace(0.0, total, CONSTANTS.reported_times)
    times = times if problem.times is None else np.union1d(times, problem.times)
    chosen: dict[str, Schedule] = {"linear": schedule.linear(total)}
    chosen |= {
        f"optimal, {cost}": schedule.optimal(first.along, total, cost=cost)
        for cost in costs
    }
    tol = CONSTANTS.transport_tol
    for name, candidate in chosen.items():
        found = transport(
            path, candidate, grid=grid, diffusion=diffusion, times=times, tol=tol
        )
        yield Trial(name, candidate, found, float(getattr(candidate, "gain", 1.0)))


def best(found: list[Trial], cost: str | None) -> Trial:
    """The trial with the least KL at the end; that of the requested cost, if there is
    one.
    """
    return min(found, key=lambda trial: trial.kl) if cost is None else found[-1]


def compare(found: list[Trial]) -> list[list[str]]:
    """One row a trial: the final distances from Gibbs, the bound and its theorem,
    measured and predicted gain.
    """
    rows = []
    for trial in found:
        run = trial.transport
        last = float(run.bound[-1])
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
    origin = (
        ""
        if problem.total
        else (
            f", since none was given: {CONSTANTS.total_per_cost:g} x C of the adiabatic "
            "bound"
        )
    )
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
    rows = zip(
        *(np.asarray(column) for column in trial.schedule.table(CONSTANTS.table_steps)),
        strict=True,
    )
    text = "t,lambda\n" + "".join(f"{float(t)!r},{float(lam)!r}\n" for t, lam in rows)
    write_atomically(path, lambda file: file.write(text.encode()))


def _two_digits(total: float) -> float:
    """A number rounded to two digits."""
    return float(f"{total:.1e}")

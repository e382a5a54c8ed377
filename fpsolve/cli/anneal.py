"""Which schedule to take along a path: every schedule of the theory beside the linear one, each run to its end.

    dλ/dt = C / (T sqrt(g(λ))),     sqrt(g) one of the four costs of theorem T21

The best is the one whose density ends nearest to the Gibbs density, by KL. Where no time T is given, T = 10 C of the
adiabatic bound, in which the first-order lag sqrt(chi2) is at most about a tenth.

Reference: theorems T15 to T17 and T21 of this library.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..anneal import Transport, transport
from ..anneal.along import TOLS
from ..anneal.grid_for_path import path_grid
from ..anneal.schedule import schedules as schedule
from ..anneal.schedule.schedules import COSTS
from ..core.files import write_atomically
from .problem import Annealing

LONG = 10.0  # C, which a path takes where nothing is said
TOL = 1e-6  # relative, of densities: KL far below its square root could not be told from zero
REPORTED = 101  # times, and those that the question names
ROWS = 400  # steps of the table of a schedule


class Trial(NamedTuple):
    """A schedule by name, what came of it, and by how much linear was to cost more, by the schedule's own cost."""

    name: str
    schedule: Any
    transport: Transport
    gain: float

    @property
    def kl(self) -> float:
        """KL to the Gibbs density at the end of the path."""
        return float(self.transport.kl[-1])


def trials(question: Annealing) -> Iterator[Trial]:
    """The linear schedule and then the optimal ones, of every cost or of the one asked for, each when it is done."""
    costs = COSTS if question.cost is None else (question.cost,)
    path, diffusion = question.path, question.diffusion
    grid = path_grid(path, diffusion, TOLS[0]) if question.grid is None else question.grid
    first = schedule.optimal(path, question.total or 1.0, grid=grid, diffusion=diffusion, cost=costs[-1])
    total = question.total or _round(LONG * float(schedule.optimal(first.along, 1.0).cost_integral))
    times = np.linspace(0.0, total, REPORTED)  # enough for the quickest part of a schedule to be resolved
    times = times if question.times is None else np.union1d(times, question.times)
    chosen: dict[str, Any] = {"linear": schedule.linear(total)}
    chosen |= {f"optimal, {cost}": schedule.optimal(first.along, total, cost=cost) for cost in costs}
    for name, way in chosen.items():
        found = transport(path, way, grid=grid, diffusion=diffusion, times=times, tol=TOL)
        yield Trial(name, way, found, float(getattr(way, "gain", 1.0)))


def best(found: list[Trial], cost: str | None) -> Trial:
    """The trial with the least KL at the end; where a cost was asked for, its own."""
    return min(found, key=lambda trial: trial.kl) if cost is None else found[-1]


def compare(found: list[Trial]) -> list[list[str]]:
    """One row a trial: how far from Gibbs it ends, the bound on that and its theorem, and its gain over linear."""
    rows = []
    for trial in found:
        run, last = trial.transport, float(trial.transport.bound[-1])
        bound = [f"{last:.3g}", run.bound_by] if np.isfinite(last) else ["none", ""]
        ratio = f"{found[0].kl / trial.kl:.3g}" if trial.kl > 0 else ""
        rows.append([trial.name, f"{trial.kl:.3e}", f"{float(run.tv[-1]):.3e}", *bound, ratio, f"{trial.gain:.3g}"])
    return rows


def summary(question: Annealing, chosen: Trial) -> dict[str, str]:
    """What was asked, and what there is to say of the schedule chosen, by name."""
    run, total = chosen.transport, float(chosen.schedule.total)
    gap = np.asarray(run.gap)
    least = int(np.argmin(gap))
    decided = "" if question.total else f", since none was given: {LONG:g} x C of the adiabatic bound"
    return {
        "grid": repr(run.grid),
        "diffusion": f"{question.diffusion:g}",
        "time": f"{total:g}{decided}",
        "least gap": f"{gap[least]:.4g}, at lambda = {float(run.lambdas[least]):.3g}",
        "bound": run.bound_by,
    }


def write_table(trial: Trial, path: Path) -> None:
    """The schedule as text: a line `t,lambda`, and equal steps in time below it, with all digits."""
    rows = zip(*(np.asarray(column) for column in trial.schedule.table(ROWS)), strict=True)
    text = "t,lambda\n" + "".join(f"{float(t)!r},{float(lam)!r}\n" for t, lam in rows)
    write_atomically(path, lambda file: file.write(text.encode()) and None)


def _round(total: float) -> float:
    """To two digits."""
    return float(f"{total:.1e}")

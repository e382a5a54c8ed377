"""Calls of `first_answer.py` with time-dependent potentials, and along a path."""

from typing import Any

import first_answer_truth as truth
import jax.numpy as jnp
import numpy as np
from first_answer_static import Ask, read


def swung(a: float, rate: float) -> truth.Trap:
    """A trap that oscillates; that of the README for a = rate = 1."""
    move = lambda x, t: (x[0] - a * jnp.sin(rate * t)) ** 2 / 2
    return truth.Trap(move, lambda t: 1.0, lambda t: a * np.sin(rate * t))


TRAPS = {
    "first": swung(1.0, 1.0),
    "numbers": swung(0.8, 1.5),
    "formula": truth.Trap(
        lambda x, t: (1 + t / 4) * (x[0] - t / (1 + t)) ** 2 / 2,
        lambda t: 1 + t / 4,
        lambda t: t / (1 + t),
    ),
}


def moving_line(which: str) -> Ask:
    """The time-dependent trap of the README."""
    import fpsolve as fp

    def ask() -> Any:
        grid = fp.Grid(fp.Line(-7.0, 7.0, 64))
        found = fp.evolve(
            fp.FokkerPlanck(TRAPS[which].potential),
            fp.Gaussian(0.0, 1.0),
            [1.0, 2.0],
            grid=grid,
        )
        read(found.values, found.error, found.stats)
        return found

    return ask


def moving_line_error(which: str, found: Any) -> float:
    """The error of the densities, in L1, from the normal density with the moments of
    the trap.
    """
    axes = truth.axes_of(found.grid)
    right = [
        truth.normal((m,), v)(axes)
        for m, v in truth.moments(TRAPS[which], 0.0, 1.0, (1.0, 2.0))
    ]
    return truth.l1(found.values, right)


ENDS = {
    # stiffness and centre at each end, those of the README
    "first": ((2.0, -1.0), (0.5, 1.0)),
    "numbers": ((1.8, -0.9), (0.6, 1.1)),
    "formula": ((2.0, -0.8), (0.6, 1.0)),
}
TOTAL = 5.0


def bowls(which: str) -> tuple[Any, Any]:
    """A path between two harmonic potentials, and its grid."""
    import fpsolve as fp

    (k, a), (q, b) = ENDS[which]
    ends = fp.Harmonic(k, center=a), fp.Harmonic(q, center=b)
    if which == "formula":
        ends = (
            (lambda x: jnp.square(x[0] - a) * k / 2),
            (lambda x: q / 2 * (b - x[0]) ** 2),
        )
    return fp.Mix(*ends), fp.Grid(fp.Line(-8.0, 10.0, 96))


def optimal(which: str) -> Ask:
    """The schedule of the README."""
    import fpsolve as fp

    path, grid = bowls(which)

    def ask() -> Any:
        found = fp.schedule.optimal(path, TOTAL, grid=grid, cost="exact")
        read(found.gain)
        return found

    return ask


def optimal_error(which: str, found: Any) -> float:
    """The relative error of the gain and of C."""
    total, gain = truth.harmonic_costs(*ENDS[which])
    return max(
        abs(float(found.cost_integral) / total - 1), abs(float(found.gain) / gain - 1)
    )


def transport(which: str, linear: bool) -> Ask:
    """The transport of the README; the schedule is not timed."""
    import fpsolve as fp

    path, grid = bowls(which)
    schedule = fp.schedule.linear(TOTAL) if linear else optimal(which)()

    def ask() -> Any:
        found = fp.transport(path, schedule, grid=grid, times=[TOTAL])
        read(found.kl, found.tv, found.bound, found.bound_by)
        return found, schedule

    return ask


def transport_error(which: str, answer: Any) -> float:
    """The relative error of KL at the end."""
    found, schedule = answer
    return abs(
        float(found.kl[-1]) / truth.harmonic_lag(*ENDS[which], schedule, TOTAL) - 1
    )

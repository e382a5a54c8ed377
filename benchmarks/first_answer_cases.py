"""The cases of `first_answer.py`: three potentials each, the calls, and the errors of
their results.

A case is run for "first", then for "numbers" (the same formula with other numbers),
then for "formula" (another formula of the same shape). `prepare(which)` makes the
objects that are not timed, and returns the function to time, which reads all that the
README prints. Errors are against closed forms, or against numpy and scipy at a finer
resolution.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import first_answer_truth as truth
import jax.numpy as jnp
import numpy as np
from first_answer_driven import (
    moving_line,
    moving_line_error,
    optimal,
    optimal_error,
    transport,
    transport_error,
)
from first_answer_static import (
    Ask,
    correspondence,
    correspondence_error,
    evolve_line,
    evolve_line_error,
    evolve_plane,
    evolve_plane_error,
    gap_line,
    gap_line_error,
    read,
    spectrum_plane,
    spectrum_plane_error,
)

POTENTIALS = ("first", "numbers", "formula")


@dataclasses.dataclass(frozen=True)
class Case:
    """A case: `prepare(which)` returns the call, `error(which, answer)` is at most
    `goal`; `notes` go into the row.
    """

    name: str
    goal: float
    prepare: Callable[[str], Ask]
    error: Callable[[str, Any], float]
    notes: Callable[[Any], dict[str, Any]] = lambda answer: {}


# Radial


def trap(a: float) -> Callable[..., Any]:
    """The distance from the centre of a trap in three dimensions: levels 2 a n."""
    return lambda x: a * x[0] ** 2 / 2 - 2 * jnp.log(x[0])


def shell(a: float) -> Callable[..., Any]:
    """The same oscillator as a wave, with one quantum of angular momentum and D = 1/2:
    levels a (2n + 5/2).
    """
    return lambda x: a**2 * x[0] ** 2 / 2 + 1 / x[0] ** 2


PROCESSES = {
    "first": trap(1.0),
    "numbers": trap(1.2),
    "formula": lambda x: x[0] ** 4 / 4 - jnp.log(x[0]),
}
WAVES = {
    "first": shell(1.0),
    "numbers": shell(1.2),
    "formula": lambda x: jnp.cosh(x[0] / 3) + 3 / x[0] ** 2,
}
REACH = 9.0


def radial(which: str, n: int, wave: bool) -> Ask:
    """Four levels on cells from the centre outward."""
    import fpsolve as fp

    equation = (
        fp.Schrodinger(WAVES[which]) if wave else fp.FokkerPlanck(PROCESSES[which])
    )

    def ask() -> Any:
        found = fp.spectrum(equation, fp.Grid(fp.Reflecting(0.0, REACH, n)), k=4)
        read(found.values)
        return found

    return ask


def radial_error(which: str, found: Any, n: int, wave: bool) -> float:
    """The error of the levels over the highest, from `scipy.linalg.eigh_tridiagonal` on
    the same matrix.
    """
    return truth.level_error(
        found.values,
        truth.radial_levels(WAVES[which] if wave else PROCESSES[which], n, wave)[0],
    )


def radial_notes(found: Any, n: int, wave: bool) -> dict[str, Any]:
    """The seconds of scipy, and the error of finite volumes from the closed form, for
    the first potential.
    """
    values, seconds = truth.radial_levels(
        WAVES["first"] if wave else PROCESSES["first"], n, wave
    )
    closed = 2.0 * np.arange(4) + 2.5 * wave
    return {
        "scipy_seconds": seconds,
        "scipy_space_error": truth.level_error(values, closed),
    }


# For the tests


def tiny(which: str) -> Ask:
    """An integral over few nodes, which compiles quickly."""
    import fpsolve as fp

    grid = fp.Grid(fp.Reflecting(-4.0, 4.0, 16))

    def ask() -> Any:
        mass = grid.integrate(grid.sample(TINY[which]))
        read(mass)
        return mass

    return ask


TINY = {
    "first": lambda x: x[0] ** 2 / 2,
    "numbers": lambda x: x[0] ** 2 / 3,
    "formula": lambda x: jnp.cosh(x[0]),
}


def tiny_error(which: str, mass: Any) -> float:
    """The relative error from numpy at the same nodes."""
    right = truth.energies(TINY[which], (np.arange(16) / 2 - 3.75,)).sum() / 2
    return abs(float(mass) / right - 1)


def cases() -> dict[str, Case]:
    """All of them, by name, in the order in which they are run."""
    made = [
        Case(
            "evolve_plane",
            1e-6,
            evolve_plane,
            evolve_plane_error,
            lambda found: {"stats": str(found.stats)},
        ),
        Case(
            "spectrum_plane",
            1e-8,
            spectrum_plane,
            spectrum_plane_error,
            lambda found: {"stats": str(found.stats)},
        ),
        Case(
            "evolve_line_fitted",
            1e-6,
            evolve_line,
            evolve_line_error,
            lambda found: {"shape": found.grid.shape},
        ),
        Case("gap_line_fitted", 1e-6, gap_line, gap_line_error),
        Case(
            "moving_line",
            1e-6,
            moving_line,
            moving_line_error,
            lambda found: {"stats": str(found.stats)},
        ),
        Case(
            "transport",
            1e-4,
            functools.partial(transport, linear=False),
            transport_error,
        ),
        Case(
            "transport_linear",
            1e-4,
            functools.partial(transport, linear=True),
            transport_error,
        ),
        Case("schedule_optimal", 1e-6, optimal, optimal_error),
    ]
    for ndim, name in ((1, "correspondence"), (2, "correspondence_plane")):
        ask = functools.partial(correspondence, ndim=ndim)
        made.append(
            Case(name, 1e-5, ask, functools.partial(correspondence_error, ndim=ndim))
        )
    for wave, name in ((False, "radial"), (True, "radial_wave")):
        for n in (2000, 4000, 8000):
            given = {"n": n, "wave": wave}
            parts = (
                functools.partial(part, **given)
                for part in (radial, radial_error, radial_notes)
            )
            ask, error, notes = parts
            made.append(Case(f"{name}_{n}", 1e-8, ask, error, notes))
    made.append(Case("tiny", 1e-8, tiny, tiny_error))
    return {case.name: case for case in made}

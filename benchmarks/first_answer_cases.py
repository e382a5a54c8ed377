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

POTENTIALS = ("first", "numbers", "formula")
Ask = Callable[[], Any]


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


def read(*answers: Any) -> str:
    """The text that `print` would show."""
    return " ".join(str(answer) for answer in answers)


# Static potentials, in the plane and on a line


def ridge(a: float, b: float) -> Callable[..., Any]:
    """Two wells; that of the README for a = b = 1."""
    return lambda x: (x[0] ** 2 - a) ** 2 + x[1] ** 2 * (b + x[0] ** 2)


def rippled(x: Any) -> Any:
    """Another formula in the plane."""
    return x[0] ** 4 / 2 - jnp.cos(2 * x[0]) / 5 + 1.2 * x[1] ** 2 + x[0] * x[1] / 3


def well(a: float) -> Callable[..., Any]:
    """The potential of the README on a line, for a = 1."""
    return lambda x: (x[0] ** 2 - a) ** 2


def slanted(x: Any) -> Any:
    """Another formula on a line."""
    return x[0] ** 4 / 2 - x[0] ** 2 / 2 + jnp.sin(x[0]) / 8


PLANE = {"first": ridge(1.0, 1.0), "numbers": ridge(1.1, 0.8), "formula": rippled}
LINE = {"first": well(1.0), "numbers": well(0.95), "formula": slanted}
BOX = ((-2.6, 2.6), (-3.2, 3.2))
WIDER, FINER = ((-3.0, 3.0), (-3.6, 3.6)), (72, 72)
LINE_BOX, LINE_FINE = ((-2.6, 2.6),), (320,)
TIMES = (0.1, 1.0, 10.0)


def plane_grid(n: int) -> Any:
    """The box of the README."""
    import fpsolve as fp

    return fp.Grid(*(fp.Line(*bounds, n) for bounds in BOX))


def evolve_plane(which: str) -> Ask:
    """The density of README, "A potential of your own"."""
    import fpsolve as fp

    def ask() -> Any:
        equation = fp.FokkerPlanck(PLANE[which], diffusion=0.5)
        start, crossed = fp.Gaussian([-1.0, 0.0], 0.05), {"crossed": lambda x: x[0] > 0}
        found = fp.evolve(
            equation, start, list(TIMES), grid=plane_grid(48), observables=crossed
        )
        read(found.observables["crossed"], found.error, found.stats)
        return found

    return ask


def evolve_plane_error(which: str, found: Any) -> float:
    """The error of the densities, in L1, and of the part that has crossed."""
    start = truth.normal((-1.0, 0.0), 0.05)
    right = truth.evolved(PLANE[which], 0.5, start, TIMES, WIDER, FINER)
    densities = right.at(truth.axes_of(found.grid))
    beyond = truth.axes_of(found.grid)[0].ravel() > 0
    parts = [density[beyond].sum() / density.sum() for density in densities]
    missed = np.abs(np.asarray(found.observables["crossed"]) - parts)
    return max(truth.l1(found.values, densities), float(missed.max()))


def spectrum_plane(which: str) -> Ask:
    """The slow modes of the same section."""
    import fpsolve as fp

    def ask() -> Any:
        found = fp.spectrum(
            fp.FokkerPlanck(PLANE[which], diffusion=0.5), plane_grid(48), k=4
        )
        read(found.gap)
        return found

    return ask


def spectrum_plane_error(which: str, found: Any) -> float:
    """The relative error of the gap; the box of the README changes the fourth level by
    up to 1e-5.
    """
    right = truth.levels(PLANE[which], 0.5, ((-2.8, 2.8), (-4.4, 4.4)), (54, 64), 2)
    return abs(float(found.gap) / (right[1] - right[0]) - 1)


def evolve_line(which: str) -> Ask:
    """README, on a fitted grid."""
    import fpsolve as fp

    def ask() -> Any:
        found = fp.evolve(
            fp.FokkerPlanck(LINE[which], diffusion=0.1),
            fp.Gaussian(-1.0, 0.05),
            [1.0, 10.0],
            tol=1e-6,
        )
        read(found.grid, found.error, found.space_error)
        return found

    return ask


def evolve_line_error(which: str, found: Any) -> float:
    """Of densities, in L1."""
    start = truth.normal((-1.0,), 0.05)
    right = truth.line_evolved(
        LINE[which], 0.1, start, (1.0, 10.0), LINE_BOX, truth.axes_of(found.grid)
    )
    return truth.l1(found.values, right)


def gap_line(which: str) -> Ask:
    """README, on a fitted grid."""
    import fpsolve as fp

    def ask() -> Any:
        gap = fp.spectral_gap(fp.FokkerPlanck(LINE[which], diffusion=0.1))
        read(gap)
        return gap

    return ask


def gap_line_error(which: str, gap: Any) -> float:
    """Of the gap, relative."""
    levels = truth.levels(LINE[which], 0.1, LINE_BOX, LINE_FINE, 2)
    return abs(float(gap) / (levels[1] - levels[0]) - 1)


# Time-dependent potentials


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


# Both sides


def correspondence(which: str, ndim: int) -> Ask:
    """The example of `fp.correspondence` on 64 nodes; in the plane on 24 x 24."""
    import fpsolve as fp

    potential = pairs(ndim)[which]

    def ask() -> Any:
        box = ((-2.5, 2.5),) * ndim
        grid = fp.Grid(*(fp.Line(*bounds, 64 if ndim == 1 else 24) for bounds in box))
        start = fp.Gaussian([-1.0, 0.0][:ndim], 0.05)
        both = fp.correspondence(
            fp.FokkerPlanck(potential), start, [0.1, 1.0], grid=grid
        )
        read(both.difference, both.error, both.spectra, both.holds)
        return both

    return ask


def pairs(ndim: int) -> dict[str, Any]:
    """Potentials by name."""
    import fpsolve as fp

    if ndim == 2:
        return PLANE
    return {
        "first": fp.DoubleWell(2.0),
        "numbers": fp.DoubleWell(2.3),
        "formula": slanted,
    }


def correspondence_error(which: str, both: Any, ndim: int) -> float:
    """The difference of both sides, and that of the density from the exponential of the
    same volumes by numpy.
    """
    axes = truth.axes_of(both.grid)
    start = truth.normal_averages((-1.0, 0.0)[:ndim], 0.05, axes)
    right = truth.volumes_evolved(pairs(ndim)[which], axes, start, (0.1, 1.0))
    return max(float(np.max(both.difference)), truth.l1(both.density, right))


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

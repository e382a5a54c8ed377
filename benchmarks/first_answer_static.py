"""Calls of `first_answer.py` with static potentials, in the plane and on a line."""

from collections.abc import Callable
from typing import Any

import first_answer_truth as truth
import jax.numpy as jnp
import numpy as np

Ask = Callable[[], Any]


def read(*answers: Any) -> str:
    """The text that `print` would show."""
    return " ".join(str(answer) for answer in answers)


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
        start = fp.Gaussian([-1.0, 0.0], 0.05)
        crossed = {"crossed": lambda x: x[0] > 0}
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

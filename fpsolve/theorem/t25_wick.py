"""T25, Wick rotation: real and imaginary time are values of one analytic function, f(z)
= <phi| e^{-zH} |phi>.

    e^{-tau H} = (1 / pi) int d eta e^{-i eta tau H} / (1 + eta^2),    H >= 0
    f(c) = the mean of f over a circle in Re z > 0

Cut at eta_max the integral is of order 1 at E = 0. Control of the first: a negative
level, which comes back as e^{-|E| tau} (N7). Of the second: the value at another
centre.

Reference: Jin, Liu and Yu, arXiv 2404.13585.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..equation import Schrodinger
from ..grid import Axis, Grid, Line
from ..wick import cauchy, lorentzian
from .base import Case, Measured, claim
from .problems import Function, values_on


def unit_well(x: Array) -> Array:
    """V = (x^2 - 1) / 2; its ground state exp(-x^2 / 2) has the level 0 at D = 1/2."""
    return (x[0] ** 2 - 1) / 2


def unit_ground(x: Array) -> Array:
    """exp(-x^2 / 2)."""
    return jnp.exp(-(x[0] ** 2) / 2)


def shifted(x: Array) -> Array:
    """exp(-(x - 0.7)^2)."""
    return jnp.exp(-((x[0] - 0.7) ** 2))


@claim(
    "T25",
    "a Lorentzian average of real-time runs is imaginary time, to order 1 at a level "
    "of zero",
    kind="order",
    claimed=1,
    sizes=(20, 40, 80, 160),  # eta_max, the end of the integral
    control=(
        "N7",
        "a level below zero comes back as exp(-|E| t), however long the real times are",
    ),
    hypotheses="H >= 0; the start is the ground state, of level 0",
    source="Jin, Liu and Yu, arXiv 2404.13585",
)
def lorentzian_bridge(
    case: Case,
    *,
    potential: Function = unit_well,
    ground: Function = unit_ground,  # of `potential`, of any norm
    diffusion: float = 0.5,
    axis: Axis = Line(-6.0, 6.0, 32),
    time: float = 1.0,
    depth: float = 0.3,  # of the level below zero, in the control
) -> Measured:
    """The average up to eta_max, and the wave in imaginary time."""
    below = depth if case.control else 0.0
    grid = Grid(axis)
    # The depth is an array, so that claim and control are one program.
    equation = Schrodinger(Lowered(potential, jnp.asarray(below)), diffusion)
    start = jnp.asarray(values_on(grid, ground))
    # The error of the cut is what is measured: it must not fail for it.
    options = {
        "eta_max": float(case.size),
        "check": False,
        "throw": False,
    }
    found = lorentzian(equation, start, [time], grid=grid, **options)
    # The ground state of level -below grows.
    exact = np.exp(below * time) * np.asarray(start)
    return np.asarray(found.values[0]), exact


@claim(
    "T25.cauchy",
    "the mean of <φ|exp(-zH)|φ> over a circle of complex times is the value at its "
    "centre",
    kind="identity",
    allowed=1e-11,
    control=("another centre", "the mean is not the value at another centre"),
    hypotheses="the circle lies in Re z > 0",
    source=(
        "Cauchy's integral formula; Reed and Simon, Methods of Modern Mathematical "
        "Physics I (1980), VI.1"
    ),
)
def cauchy_mean_value(
    case: Case,
    *,
    potential: Function = unit_well,
    start: Function = shifted,
    diffusion: float = 0.5,
    axis: Axis = Line(-6.0, 6.0, 32),
    center: float = 1.0,
    radius: float = 0.5,
    points: int = 32,  # on the circle
    elsewhere: float = 1.01,  # the centre of the control
) -> Measured:
    """The mean over the circle, and the value at its centre."""
    grid = case.grid(axis)
    equation = Schrodinger(potential, diffusion)
    wave = jnp.asarray(values_on(grid, start))
    circle = cauchy(
        equation,
        wave,
        center,
        radius,
        grid=grid,
        points=points,
    )
    value = circle.center
    if case.control:
        other = cauchy(
            equation,
            wave,
            elsewhere,
            radius,
            grid=grid,
            points=points,
        )
        value = other.center
    # Real equation and real wave: f is real on the real axis.
    return np.real(np.asarray(circle.mean)), np.asarray(value)


class Lowered(eqx.Module):
    """V(x) - depth."""

    potential: Function
    depth: Array

    def __call__(self, x: Array) -> Array:
        return self.potential(x) - self.depth

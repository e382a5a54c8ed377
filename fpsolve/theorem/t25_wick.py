"""T25, Wick rotation: real and imaginary time are values of one analytic function, f(z) = <phi| e^{-zH} |phi>.

    e^{-tau H} = (1 / pi) int d eta e^{-i eta tau H} / (1 + eta^2),    H >= 0,    cut at eta_max: order 1 at E = 0
    f(c) = the mean of f over a circle in Re z > 0

Control of the first: a negative level, which comes back as e^{-|E| tau} (N7). Of the second: the value at another
centre.

Reference: Jin, Liu and Yu, arXiv 2404.13585.
"""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..equation import Schrodinger
from ..grid import Grid, Line
from ..wick import cauchy, lorentzian
from .base import Kind, Sides, Theorem, identity, order
from .problems import Function, values_on


def unit_well(x: Array) -> Array:
    """V = (x^2 - 1) / 2, whose ground state exp(-x^2 / 2) has the level zero at D = 1/2."""
    return (x[0] ** 2 - 1) / 2


def unit_ground(x: Array) -> Array:
    """exp(-x^2 / 2)."""
    return jnp.exp(-(x[0] ** 2) / 2)


class LorentzianBridge(Theorem):
    """A Lorentzian average of real-time runs is imaginary time, to order 1 in 1 / eta_max at a level of zero.

    **Arguments**: `potential` V(x) on a line; `ground` its ground state, any norm; `diffusion` D; `lower`, `upper` the
    box; `nodes`; `time` tau; `ends` of the integral, with `finer` ones to refine. `depth` is that of the level in the
    control.
    """

    name: ClassVar[str] = "T25"
    statement: ClassVar[str] = "a Lorentzian average of real-time runs is imaginary time, to order 1 at a level of zero"
    kind: ClassVar[Kind] = "order"
    control_name: ClassVar[str] = "N7"
    control_statement: ClassVar[str] = "a level below zero comes back as exp(-|E| t), however long the real times are"

    potential: Function = unit_well
    ground: Function = unit_ground
    diffusion: float = 0.5
    lower: float = -6.0
    upper: float = 6.0
    nodes: int = 32
    time: float = 1.0
    ends: tuple[float, ...] = (20.0, 40.0, 80.0, 160.0)
    finer: tuple[float, ...] = (320.0,)
    depth: float = 0.3

    def measure(self, refine: bool) -> Sides:
        """The observed order and 1."""
        return self._order(0.0, refine)

    def control(self, refine: bool) -> Sides:
        """The observed order with a negative level, about 0, and 1."""
        return self._order(self.depth, refine)

    def _order(self, depth: float, refine: bool) -> Sides:
        """The order at which the average converges where the ground state has the level -depth."""
        grid = Grid(Line(self.lower, self.upper, self.nodes))
        equation = Schrodinger(lambda x: self.potential(x) - depth, self.diffusion)
        start = jnp.asarray(values_on(grid, self.ground))
        exact = np.exp(depth * self.time) * np.asarray(start)
        ends = self.ends + (self.finer if refine else ())
        errors = []
        for eta_max in ends:
            options = {"grid": grid, "eta_max": eta_max, "check": False, "throw": False}
            found = lorentzian(equation, start, [self.time], **options)
            errors.append(float(np.max(np.abs(np.asarray(found.values[0]) - exact)) / np.max(np.abs(exact))))
        return order(ends, errors, 1)


class CauchyMeanValue(Theorem):
    """The mean of <phi| e^{-zH} |phi> over a circle of complex times is its value at the centre, to 1e-11.

    **Arguments**: `potential` V(x) on a line; `start` phi; `diffusion` D; `lower`, `upper` the box; `nodes`; `center`
    and `radius` of the circle; `points` on it; `elsewhere`, the centre of the control.
    """

    name: ClassVar[str] = "T25.cauchy"
    statement: ClassVar[str] = "the mean of <φ|exp(-zH)|φ> over a circle of complex times is the value at its centre"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "another centre"
    control_statement: ClassVar[str] = "the mean is not the value at another centre"

    potential: Function = unit_well
    start: Function = lambda x: jnp.exp(-((x[0] - 0.7) ** 2))
    diffusion: float = 0.5
    lower: float = -6.0
    upper: float = 6.0
    nodes: int = 32
    center: float = 1.0
    radius: float = 0.5
    points: int = 32
    elsewhere: float = 1.01

    def measure(self, refine: bool) -> Sides:
        """The mean over the circle and the value at its centre."""
        return self._mean(self.center, refine)

    def control(self, refine: bool) -> Sides:
        """The mean over the circle and the value at another centre."""
        return self._mean(self.elsewhere, refine)

    def _mean(self, center: float, refine: bool) -> Sides:
        grid = Grid(Line(self.lower, self.upper, self.nodes * (2 if refine else 1)))
        equation = Schrodinger(self.potential, self.diffusion)
        start = jnp.asarray(values_on(grid, self.start))
        circle = cauchy(equation, start, self.center, self.radius, grid=grid, points=self.points)
        value = circle.center
        if center != self.center:
            value = cauchy(equation, start, center, self.radius, grid=grid, points=8).center
        return identity(np.real(np.asarray(circle.mean)), value, 1e-11)

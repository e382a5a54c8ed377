"""T26, the fluid of a wave: the phase and the density of a wave in real time obey the equations of Madelung.

    d_t rho = -div(rho v),      d_t S = -D |grad S|^2 - V + D Lap sqrt(rho) / sqrt(rho),      v = 2 D grad S

Both left sides are central differences in time of waves that `evolve` returns, so that the residuals are of order 2 in
their step. Control: with V + 0.01 x the residual of the second equation is 0.01 x, whatever the step.
"""

import math
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..equation import Schrodinger
from ..flow.madelung import madelung
from ..grid import Axis, Grid, Line
from ..operator.skew import derivative
from ..solve.evolve import evolve
from .base import Kind, Sides, Theorem, order
from .problems import Function, refined


def anharmonic(x: Array) -> Array:
    """V = x^2 / 2 + x^4 / 10 + 3 x / 10."""
    return x[0] ** 2 / 2 + x[0] ** 4 / 10 + 0.3 * x[0]


class PhaseEquation(Theorem):
    """The residual of the equation of the phase falls with the square of the step of its difference in time.

    **Arguments**: `potential` V(x); `diffusion` D; `axis`, a `Line` or `Periodic`; `time`, and the `steps` of the
    differences; `least`, the density from which the residual counts, relative to the largest.
    """

    name: ClassVar[str] = "T26"
    statement: ClassVar[str] = "∂_t S = -D|∇S|² - V + D Δ√ρ/√ρ for the phase of a wave in real time, to order 2"
    kind: ClassVar[Kind] = "order"
    control_name: ClassVar[str] = "T26.control"
    control_statement: ClassVar[str] = "the phase does not obey the equation with V + 0.01 x"

    potential: Function = anharmonic
    diffusion: float = 0.5
    axis: Axis = Line(-6.0, 6.0, 72)
    time: float = 0.3
    steps: tuple[float, ...] = (0.04, 0.02, 0.01, 0.005)
    least: float = 1e-4

    def measure(self, refine: bool) -> Sides:
        """The observed order and 2."""
        return self._order(0.0, refine)

    def control(self, refine: bool) -> Sides:
        """The same with the tilted potential."""
        return self._order(0.01, refine)

    def _order(self, tilt: float, refine: bool) -> Sides:
        grid = refined(Grid(self.axis), refine)
        x = grid.nodes[0]
        start = jnp.exp(-((x - 0.5) ** 2) / 1.2 + 0.4j * x)
        # All times of all differences by one run.
        around = [self.time + sign * step for step in self.steps for sign in (-1, 1)]
        times = np.sort(np.asarray([*around, self.time]))
        equation = Schrodinger(self.potential, self.diffusion)
        options = {"tol": 1e-11, "check": False}
        waves = evolve(equation, start, times, grid=grid, wick=math.pi / 2, **options).values
        middle = len(self.steps)
        right = self._right_side(grid, waves[middle], tilt)
        counted = jnp.abs(waves[middle]) ** 2 > self.least * jnp.max(jnp.abs(waves[middle]) ** 2)
        errors = []
        for k, step in enumerate(self.steps):
            # The largest step has the first and the last of the times.
            change = jnp.angle(waves[-1 - k] * jnp.conj(waves[k])) / (2 * step)
            errors.append(float(jnp.max(jnp.where(counted, jnp.abs(change - right), 0))))
        return order([1 / step for step in self.steps], errors, 2)

    def _right_side(self, grid: Grid, wave: Array, tilt: float) -> Array:
        """-D |grad S|^2 - V + D Lap sqrt(rho) / sqrt(rho), with a tilt of V."""
        fluid = madelung(wave, grid, diffusion=self.diffusion)
        size = jnp.abs(wave)
        axis = grid.axes[0]
        curvature = derivative(axis, 0, derivative(axis, 0, size))
        quantum = self.diffusion * curvature / jnp.maximum(size, fluid.wave_error)
        # grad S = v / (2 D)
        motion = fluid.current[:, 0] ** 2 / (4 * self.diffusion)
        return quantum - motion - grid.sample(self.potential) - tilt * grid.nodes[0]

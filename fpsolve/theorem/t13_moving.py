"""T13: the correspondence for a time-dependent potential, and the extra term that it needs.

    p = sqrt(pi_t) psi   <=>   d_t psi = -H_t psi - (kappa/2) a_t psi,   a_t = d_t log pi_t,   kappa = +1

kappa = 0 is the pure imaginary-time Schrödinger equation, a different law at finite speed (control N2); for kappa = -1
psi stays sqrt(pi_t) at any speed (Jarzynski's weights).

Reference: Jarzynski, Phys. Rev. Lett. 78 (1997) 2690, for kappa = -1.
"""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from ..equation import FokkerPlanck
from ..grid import Grid, Line
from ..operator import ScharfetterGummel, Spectral
from ..solve.correspondence import correspondence
from ..solve.evolve import evolve
from .base import Kind, Sides, Theorem, identity
from .constants import CONSTANTS
from .problems import Function, density_on, off_centre, refined, swept, values_on


def evolve_wave(equation: FokkerPlanck, wave: Any, times: Any, grid: Grid, kappa: float) -> Any:
    """Waves `(T, n)` at `times` by the equation with that kappa in a Fourier basis, each divided by its integral."""
    image = equation.schrodinger(kappa)
    waves = np.asarray(
        evolve(image, wave, times, grid=grid, scheme=Spectral(), tol=CONSTANTS.integrator_tol, check=False).values
    )
    return waves / (waves @ grid.axes[0].weights)[:, None]


def sqrt_gibbs_at(equation: FokkerPlanck, times: Any, grid: Grid) -> Any:
    """sqrt(pi_t) `(T, n)` by numpy."""
    heights = np.stack([values_on(grid, equation.energy, t) for t in times])
    # U less its minimum: exp(-U/2D) itself may overflow.
    sqrt_pi = np.exp(-(heights - heights.min(axis=1, keepdims=True)) / (2 * float(equation.diffusion)))
    return sqrt_pi / np.sqrt(sqrt_pi**2 @ grid.axes[0].weights)[:, None]


class MovingPictures(Theorem):
    """On one grid and in the same steps, p by the generators and sqrt(pi_t) psi by the Hamiltonians agree to 1e-11.

    **Arguments**: `potential` U(x, t), one-dimensional; `diffusion` D; `start` a density of mass 1 narrower than
    sqrt(pi); `lower`, `upper` the box; `nodes` (half as many again to refine); `times`.
    """

    name: ClassVar[str] = "T13"
    statement: ClassVar[str] = "for a time-dependent U, p = √π_t ψ with the extra term, on one grid"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "N2"
    control_statement: ClassVar[str] = "without the extra term (κ = 0) √π_t ψ is not p"

    potential: Function = swept
    diffusion: float = 0.5
    start: Function = off_centre
    lower: float = -2.4
    upper: float = 2.4
    nodes: int = 96
    times: tuple[float, ...] = (1.0, 2.0)

    def measure(self, refine: bool) -> Sides:
        """The two densities at the node and time where they differ most."""
        equation, grid = self._problem(refine)
        start = density_on(grid, self.start)
        both = correspondence(equation, start, self.times, grid=grid, scheme=ScharfetterGummel(), check=False)
        return identity(both.density, sqrt_gibbs_at(equation, self.times, grid) * np.asarray(both.wave), 1e-11)

    def control(self, refine: bool) -> Sides:
        """The same with a wave of kappa = 0, and its density normalised."""
        equation, grid = self._problem(refine)
        start = density_on(grid, self.start)
        both = correspondence(equation, start, self.times, grid=grid, scheme=ScharfetterGummel(), check=False)
        # The wave of kappa = 0 does not conserve mass: its density is normalised before it is compared.
        wave = jnp.asarray(start / sqrt_gibbs_at(equation, (0.0,), grid)[0])
        from_wave = sqrt_gibbs_at(equation, self.times, grid) * evolve_wave(equation, wave, self.times, grid, 0.0)
        return identity(both.density, from_wave / (from_wave @ grid.axes[0].weights)[:, None], 1e-11)

    def _problem(self, refine: bool) -> tuple[FokkerPlanck, Grid]:
        """The equation and the grid."""
        grid = Grid(Line(self.lower, self.upper, self.nodes))
        return FokkerPlanck(self.potential, self.diffusion), refined(grid, refine)


class MovingWave(Theorem):
    """The Schrödinger equation with the extra term, solved by itself, gives the density of the Fokker-Planck equation,
    to ten times the tolerance of the integrator, 1e-9.

    **Arguments**: as for `MovingPictures`.
    """

    name: ClassVar[str] = "T13.wave"
    statement: ClassVar[str] = "the Schrödinger equation with κ = 1, solved alone, gives the density p"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "N2"
    control_statement: ClassVar[str] = "κ = 0 gives another density than the Fokker-Planck equation"

    potential: Function = swept
    diffusion: float = 0.5
    start: Function = off_centre
    lower: float = -2.4
    upper: float = 2.4
    nodes: int = 96
    times: tuple[float, ...] = (1.0, 2.0)

    def measure(self, refine: bool) -> Sides:
        """The two densities at the node and time where they differ most."""
        return self._compare(1.0, refine)

    def control(self, refine: bool) -> Sides:
        """The same with kappa = 0."""
        return self._compare(0.0, refine)

    def _compare(self, kappa: float, refine: bool) -> Sides:
        """Both sides with this `kappa`."""
        equation = FokkerPlanck(self.potential, self.diffusion)
        grid = refined(Grid(Line(self.lower, self.upper, self.nodes)), refine)
        start = density_on(grid, self.start)
        tol = CONSTANTS.integrator_tol
        density = evolve(
            equation, jnp.asarray(start), self.times, grid=grid, scheme=Spectral(), tol=tol, check=False
        ).values
        first = jnp.asarray(start / sqrt_gibbs_at(equation, (0.0,), grid)[0])
        wave = evolve_wave(equation, first, self.times, grid, kappa)
        from_wave = sqrt_gibbs_at(equation, self.times, grid) * wave
        return identity(density, from_wave / (from_wave @ grid.axes[0].weights)[:, None], 10 * CONSTANTS.integrator_tol)


class Weights(Theorem):
    """With kappa = -1 the wave that starts as sqrt(pi_0) is sqrt(pi_t) at every time, however fast U moves.

    **Arguments**: as for `MovingPictures`, without a start.
    """

    name: ClassVar[str] = "T13.weights"
    statement: ClassVar[str] = "with κ = -1 the wave started at √π_0 is √π_t at any speed"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "N2"
    control_statement: ClassVar[str] = "with κ = 0 it lags behind √π_t"

    potential: Function = swept
    diffusion: float = 0.5
    lower: float = -2.4
    upper: float = 2.4
    nodes: int = 96
    times: tuple[float, ...] = (1.0, 2.0)

    def measure(self, refine: bool) -> Sides:
        """The wave and sqrt(pi_t), each of integral 1, at the node and time where they differ most."""
        return self._compare(-1.0, refine)

    def control(self, refine: bool) -> Sides:
        """The same with kappa = 0."""
        return self._compare(0.0, refine)

    def _compare(self, kappa: float, refine: bool) -> Sides:
        """Both sides with this `kappa`."""
        equation = FokkerPlanck(self.potential, self.diffusion)
        grid = refined(Grid(Line(self.lower, self.upper, self.nodes)), refine)
        wave = evolve_wave(equation, jnp.asarray(sqrt_gibbs_at(equation, (0.0,), grid)[0]), self.times, grid, kappa)
        steady = sqrt_gibbs_at(equation, self.times, grid)
        return identity(wave, steady / (steady @ grid.axes[0].weights)[:, None], 10 * CONSTANTS.integrator_tol)

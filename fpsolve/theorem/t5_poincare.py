"""T5: the gap equals the inverse Poincaré constant and the slowest rate of relaxation.

    gap = min_f  D E_pi |f'|^2 / Var_pi f      chi2(t) <= exp(-2 gap t) chi2(0)      d/dt KL(p|pi) = -D I(p|pi)

with I = E_p |(log p/pi)'|^2. The minimum is attained, and the bound is an equality, at f = psi_1 / psi_0. Control: D
replaced by 1.02 D on one side.

Reference: Bakry, Gentil and Ledoux, Analysis and Geometry of Markov Diffusion Operators (2014), sections 4.2 and 5.2.
"""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from numpy.polynomial import legendre

from ..equation import FokkerPlanck
from ..grid import Grid, Line
from ..operator import ScharfetterGummel, Spectral
from ..propagate import Dense
from ..solve.evolve import evolve
from ..solve.spectrum import spectrum
from .base import Kind, Sides, Theorem, identity, inequality, order
from .constants import CONSTANTS
from .problems import (
    Function,
    density_on,
    evolve_by_volumes,
    off_centre,
    refined,
    sqrt_gibbs,
    tilted,
    values_at,
    values_on,
)


def rayleigh_ritz(energy: Any, lower: float, upper: float, diffusion: float, degree: int) -> float:
    """min D E|f'|^2 / Var f over polynomials of a degree, by numpy, without any part of the library.

    `energy` maps positions `(m,)` to U / D. Polynomials are made orthonormal in pi by a QR decomposition.
    """
    nodes, weights = legendre.leggauss(8 * degree)
    heights = energy(lower + (upper - lower) * (nodes + 1) / 2)
    sqrt_pi = np.sqrt(weights * np.exp(heights.min() - heights))[:, None]
    values = legendre.legvander(nodes, degree)
    slopes = np.stack([legendre.legval(nodes, legendre.legder(row)) for row in np.eye(degree + 1)], axis=1)
    # values = Q mixture: the columns of Q are the orthonormal polynomials, whose slopes are slopes mixture^-1.
    mixture = np.linalg.qr(sqrt_pi * values)[1]
    slopes = np.linalg.solve(mixture.T, (sqrt_pi * slopes).T) * 2 / (upper - lower)
    return diffusion * float(np.linalg.eigvalsh(slopes @ slopes.T)[1])  # the lowest belongs to constants


class Poincare(Theorem):
    """The gap of H and the fitted rate of relaxation are the minimum of the Poincaré quotient, to 1e-8.

    **Arguments**: `potential` U(x), one-dimensional; `diffusion` D; `start` a density of mass 1 with a mean other than
    that of pi; `lower`, `upper` the box; `nodes` (half as many again to refine); `times` late enough that one mode is
    left in the mean; `degree` of the polynomials.
    """

    name: ClassVar[str] = "T5"
    statement: ClassVar[str] = "gap of H = fitted rate of relaxation = min D E|f'|²/Var f, over polynomials"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "D to 1.02 D"
    control_statement: ClassVar[str] = "the quotient with 1.02 D is not the gap"

    potential: Function = tilted
    diffusion: float = 0.5
    start: Function = off_centre
    lower: float = -2.4
    upper: float = 2.4
    nodes: int = 96
    times: tuple[float, ...] = (8.0, 9.0, 10.0, 11.0, 12.0)
    degree: int = 40

    def measure(self, refine: bool) -> Sides:
        """The gap or the rate, whichever differs more, and the quotient."""
        return self._compare(self.diffusion, refine)

    def control(self, refine: bool) -> Sides:
        """The same with 1.02 D in the quotient."""
        return self._compare(CONSTANTS.wrong_diffusion * self.diffusion, refine)

    def _compare(self, diffusion: float, refine: bool) -> Sides:
        """Gap and rate, and the least quotient with this `diffusion`."""
        equation = FokkerPlanck(self.potential, self.diffusion)
        grid = refined(Grid(Line(self.lower, self.upper, self.nodes)), refine)
        gap = float(spectrum(equation, grid, 2, scheme=Spectral(), check=False).gap)
        # The mean of x relaxes to that of pi; at late times its logarithm is a line.
        field = jnp.asarray(values_on(grid, self.start))
        run = evolve(equation, field, self.times, grid=grid, scheme=Spectral(), method=Dense(), tol=1e-10, check=False)
        lag = (np.asarray(run.values) - sqrt_gibbs(equation, grid) ** 2) @ (grid.axes[0].weights * grid.axes[0].nodes)
        rate = -np.polyfit(self.times, np.log(np.abs(lag)), 1)[0]

        def energy(x: Any) -> Any:
            """U / D at positions `(m,)`."""
            return values_at(x[:, None], self.potential) / self.diffusion

        degree = self.degree * (5 if refine else 4) // 4  # a quarter more to refine
        quotient = rayleigh_ritz(energy, self.lower, self.upper, diffusion, degree)
        return identity([gap, rate], [quotient, quotient], 1e-8)


class Decay(Theorem):
    """chi2(t) exp(2 gap t) / chi2(0) <= 1 for every start and time, and = 1 for p_0 = pi (1 + c psi_1 / psi_0).

    The right side is 1 + 1e-10, for rounding; the tight start is among those measured, so the left side is 1 as well.

    **Arguments**: as for `Poincare`; `times` of a few units of 1/gap.
    """

    name: ClassVar[str] = "T5.decay"
    statement: ClassVar[str] = "χ²(t) e^(2 gap t)/χ²(0) ≤ 1, attained by the slowest mode"
    kind: ClassVar[Kind] = "inequality"
    control_name: ClassVar[str] = "D to 1.02 D"
    control_statement: ClassVar[str] = "a gap 1.02 times as large bounds nothing"

    potential: Function = tilted
    diffusion: float = 0.5
    start: Function = off_centre
    lower: float = -2.4
    upper: float = 2.4
    nodes: int = 64
    times: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8, 1.6)

    def measure(self, refine: bool) -> Sides:
        """The largest ratio over starts and times, and 1 + 1e-10."""
        return self._compare(1.0, refine)

    def control(self, refine: bool) -> Sides:
        """The same with 1.02 times the gap."""
        return self._compare(CONSTANTS.wrong_diffusion, refine)

    def _compare(self, factor: float, refine: bool) -> Sides:
        """The largest ratio, with `factor` times the gap."""
        equation = FokkerPlanck(self.potential, self.diffusion)
        grid = refined(Grid(Line(self.lower, self.upper, self.nodes)), refine)
        modes = spectrum(equation, grid, 2, scheme=ScharfetterGummel(), check=False)
        weights = grid.axes[0].weights
        sqrt_pi = sqrt_gibbs(equation, grid)
        slow = np.asarray(modes.vectors[1])
        # pi (1 + c psi_1/psi_0) with c = 0.9 of the largest for which it is positive.
        slow_start = sqrt_pi**2 + 0.9 * sqrt_pi * slow / np.max(np.abs(slow / sqrt_pi))
        starts = [density_on(grid, self.start), slow_start]
        growth = np.exp(2 * factor * float(modes.gap) * np.asarray(self.times))

        def chi2(p: Any) -> Any:
            return np.sum(weights * (p / sqrt_pi - sqrt_pi) ** 2, axis=-1)

        ratios = []
        for start in starts:
            densities = np.asarray(evolve_by_volumes(equation, start, self.times, grid))
            ratios.append(growth * chi2(densities) / chi2(start))
        return inequality(float(np.max(ratios)), 1 + 1e-10)


class Entropy(Theorem):
    """d/dt KL = -D I, where I is computed by differences on the nodes: both converge to each other at order 2.

    **Arguments**: as for `Poincare`; `time` of the measurement and `step` of the fourth-order difference in time;
    `sizes` of the grids, with `finer` ones to refine.
    """

    name: ClassVar[str] = "T5.entropy"
    statement: ClassVar[str] = "d/dt KL(p|π) and -D E_p|∇ log(p/π)|² meet at order 2"
    kind: ClassVar[Kind] = "order"
    control_name: ClassVar[str] = "D to 1.02 D"
    control_statement: ClassVar[str] = "d/dt KL and -1.02 D E_p|∇ log(p/π)|² do not meet"

    potential: Function = tilted
    diffusion: float = 0.5
    start: Function = off_centre
    lower: float = -2.4
    upper: float = 2.4
    time: float = 0.3
    step: float = 0.005
    sizes: tuple[int, ...] = (48, 64, 96, 128)
    finer: tuple[int, ...] = (192, 256)

    def measure(self, refine: bool) -> Sides:
        """The observed order and 2."""
        return self._order(1.0, refine)

    def control(self, refine: bool) -> Sides:
        """The observed order, about 0, and 2."""
        return self._order(CONSTANTS.wrong_diffusion, refine)

    def _order(self, factor: float, refine: bool) -> Sides:
        """The observed order, with `factor` times D."""
        sizes = self.sizes + (self.finer if refine else ())
        times = self.time + self.step * np.arange(-2, 3)
        equation = FokkerPlanck(self.potential, self.diffusion)
        errors = []
        for n in sizes:
            grid = Grid(Line(self.lower, self.upper, n))
            density = np.asarray(evolve_by_volumes(equation, self.start, tuple(times.tolist()), grid))
            log_ratio = np.log(density / sqrt_gibbs(equation, grid) ** 2)
            weights = grid.axes[0].weights
            # d/dt by the difference of fourth order over five times.
            rate = np.sum(density * log_ratio * weights, axis=1) @ [1, -8, 0, 8, -1] / (12 * self.step)
            # I on the faces: the density is the mean of both nodes, the slope a difference.
            slope = np.diff(log_ratio[2]) / grid.axes[0].spacings
            information = np.sum((density[2, 1:] + density[2, :-1]) / 2 * slope**2 * grid.axes[0].spacings)
            errors.append(abs(rate + factor * self.diffusion * information))
        return order(sizes, errors, 2)

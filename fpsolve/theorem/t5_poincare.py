"""T5: the gap equals the inverse Poincaré constant and the slowest rate of relaxation.

    gap = min_f  D E_pi |f'|^2 / Var_pi f
    chi2(t) <= exp(-2 gap t) chi2(0)
    d/dt KL(p|pi) = -D I(p|pi)

with I = E_p |(log p/pi)'|^2. The minimum is attained, and the bound is an equality, at
f = psi_1 / psi_0. Control: D replaced by 1.02 D on one side.

Reference: Bakry, Gentil and Ledoux, Analysis and Geometry of Markov Diffusion Operators
(2014), sections 4.2 and 5.2.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from numpy.polynomial import legendre

from ..equation import FokkerPlanck
from ..grid import Axis, Grid, Line
from ..operator import ScharfetterGummel, Spectral
from ..propagate import Dense
from ..solve.evolve import evolve
from ..solve.spectrum import spectrum
from .base import Case, Measured, claim
from .chain import chi
from .constants import CONSTANTS
from .problems import (
    Function,
    density_on,
    evolve_by_volumes,
    off_centre,
    sqrt_gibbs,
    tilted,
    values_at,
    values_on,
)


def rayleigh_ritz(
    energy: Callable[[np.ndarray], np.ndarray],
    lower: float,
    upper: float,
    diffusion: float,
    degree: int,
) -> float:
    """min D E|f'|^2 / Var f over polynomials of a degree, by numpy, without any part of
    the library.

    `energy` maps positions `(m,)` to U / D. Polynomials are made orthonormal in pi by a
    QR decomposition.
    """
    # So many points that also exp(-U/D) times two polynomials is integrated.
    nodes, weights = legendre.leggauss(8 * degree)
    heights = energy(lower + (upper - lower) * (nodes + 1) / 2)
    masses = weights * np.exp(heights.min() - heights)
    sqrt_pi = np.sqrt(masses)[:, None]
    values = legendre.legvander(nodes, degree)
    derivatives = [legendre.legder(unit) for unit in np.eye(degree + 1)]
    columns = [legendre.legval(nodes, derivative) for derivative in derivatives]
    slopes = np.stack(columns, axis=1)
    # values = Q mixture: the columns of Q are the orthonormal polynomials, whose slopes
    # are slopes mixture^-1.
    mixture = np.linalg.qr(sqrt_pi * values)[1]
    slopes = np.linalg.solve(mixture.T, (sqrt_pi * slopes).T)
    slopes = slopes * 2 / (upper - lower)  # from [-1, 1] to the box
    # the lowest belongs to constants
    return diffusion * float(np.linalg.eigvalsh(slopes @ slopes.T)[1])


@claim(
    "T5",
    "gap of H = fitted rate of relaxation = min D E|f'|²/Var f, over polynomials",
    kind="identity",
    allowed=1e-8,
    control=("D to 1.02 D", "the quotient with 1.02 D is not the gap"),
    hypotheses=(
        "U grows so that pi is normalisable and H has a gap; no flux through the ends "
        "of the box"
    ),
    source=(
        "Bakry, Gentil and Ledoux, Analysis and Geometry of Markov Diffusion "
        "Operators (2014), section 4.2"
    ),
)
def poincare(
    case: Case,
    *,
    potential: Function = tilted,
    diffusion: float = 0.5,
    start: Function = off_centre,
    axis: Axis = Line(-2.4, 2.4, 96),
    # so late that one mode is left in the mean
    times: tuple[float, ...] = (8.0, 9.0, 10.0, 11.0, 12.0),
    degree: int = 40,  # of the polynomials
) -> Measured:
    """Gap and rate, and the least quotient of polynomials."""
    equation = FokkerPlanck(potential, diffusion)
    grid = case.grid(axis)
    gap = float(spectrum(equation, grid, 2, scheme=Spectral(), check=False).gap)
    # The mean of x relaxes to that of pi; at late times its logarithm is a line.
    field = jnp.asarray(values_on(grid, start))
    run = evolve(
        equation,
        field,
        times,
        grid=grid,
        scheme=Spectral(),
        method=Dense(),
        tol=1e-10,
        check=False,
    )
    difference = np.asarray(run.values) - sqrt_gibbs(equation, grid) ** 2
    lag = difference @ (grid.axes[0].weights * grid.axes[0].nodes)
    log_lag = np.log(np.abs(lag))
    rate = -np.polyfit(times, log_lag, 1)[0]

    def energy(x: np.ndarray) -> np.ndarray:
        """U / D at positions `(m,)`."""
        return values_at(x[:, None], potential) / diffusion

    quoted = CONSTANTS.wrong_diffusion * diffusion if case.control else diffusion
    finer = round(degree * case.refinement**0.5)
    quotient = rayleigh_ritz(energy, axis.lower, axis.upper, quoted, finer)
    return np.array([gap, rate]), np.array([quotient, quotient])


@claim(
    "T5.decay",
    "χ²(t) e^(2 gap t)/χ²(0) ≤ 1, attained by the slowest mode",
    kind="inequality",
    allowed=1e-10,  # rounding: the slowest mode attains the bound
    control=("D to 1.02 D", "a gap 1.02 times as large bounds nothing"),
    hypotheses="as for T5; chi2(0) is finite",
    source="Bakry, Gentil and Ledoux (2014), theorem 4.2.5",
    sweep=("slowest mode", "start"),
)
def decay(
    case: Case,
    *,
    potential: Function = tilted,
    diffusion: float = 0.5,
    start: Function = off_centre,
    axis: Axis = Line(-2.4, 2.4, 64),
    times: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8, 1.6),
) -> Measured:
    """chi2(t) e^(2 gap t) at every time, and chi2(0)."""
    equation = FokkerPlanck(potential, diffusion)
    grid = case.grid(axis)
    modes = spectrum(
        equation,
        grid,
        2,
        scheme=ScharfetterGummel(),
        check=False,
    )
    sqrt_pi = sqrt_gibbs(equation, grid)
    density = density_on(grid, start)
    if case.value == "slowest mode":
        slow = np.asarray(modes.vectors[1])
        # pi (1 + c psi_1/psi_0) with c = 0.9 of the largest for which it is positive.
        largest = np.max(np.abs(slow / sqrt_pi))
        density = sqrt_pi**2 + 0.9 * sqrt_pi * slow / largest

    gap = float(modes.gap) * (CONSTANTS.wrong_diffusion if case.control else 1.0)
    later = np.asarray(evolve_by_volumes(equation, density, times, grid))
    first = chi(density, sqrt_pi**2, grid) ** 2
    last = chi(later, sqrt_pi**2, grid) ** 2
    growth = np.exp(2 * gap * np.asarray(times))
    return last * growth, np.full(len(times), first)


@claim(
    "T5.entropy",
    "d/dt KL(p|π) and -D E_p|∇ log(p/π)|² meet at order 2",
    kind="order",
    claimed=2,
    sizes=(48, 64, 96, 128),
    control=("D to 1.02 D", "d/dt KL and -1.02 D E_p|∇ log(p/π)|² do not meet"),
    hypotheses="as for T5; KL(p|pi) is finite",
    source="Bakry, Gentil and Ledoux (2014), section 5.2",
)
def entropy(
    case: Case,
    *,
    potential: Function = tilted,
    diffusion: float = 0.5,
    start: Function = off_centre,
    bounds: tuple[float, float] = (-2.4, 2.4),
    time: float = 0.3,
    step: float = 0.005,  # of the difference in time, of fourth order
) -> Measured:
    """d/dt KL, and -D I computed by differences on the nodes."""
    equation = FokkerPlanck(potential, diffusion)
    grid = Grid(Line(*bounds, case.size))
    times = tuple((time + step * np.arange(-2, 3)).tolist())
    density = np.asarray(evolve_by_volumes(equation, start, times, grid))
    log_ratio = np.log(density / sqrt_gibbs(equation, grid) ** 2)
    weights = grid.axes[0].weights
    # d/dt by the difference of fourth order over five times.
    kl = np.sum(density * log_ratio * weights, axis=1)
    rate = kl @ [1, -8, 0, 8, -1] / (12 * step)
    # I on the faces at the middle time: the density is the mean of both nodes, the
    # slope a difference.
    spacings = grid.axes[0].spacings
    slope = np.diff(log_ratio[2]) / spacings
    on_faces = (density[2, 1:] + density[2, :-1]) / 2
    information = np.sum(on_faces * slope**2 * spacings)
    factor = CONSTANTS.wrong_diffusion if case.control else 1.0
    return rate, -diffusion * factor * information

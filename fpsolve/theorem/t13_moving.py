"""T13: the correspondence for a time-dependent potential, and the extra term that it
needs.

    p = sqrt(pi_t) psi   <=>   d_t psi = -H_t psi - (kappa/2) a_t psi,   kappa = +1

with a_t = d_t log pi_t. kappa = 0 is the pure imaginary-time Schrödinger equation, a
different law at finite speed (control N2); for kappa = -1 psi stays sqrt(pi_t) at any
speed (Jarzynski's weights).

Reference: Jarzynski, Phys. Rev. Lett. 78 (1997) 2690, for kappa = -1.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..equation import FokkerPlanck
from ..grid import Axis, Grid, Line
from ..operator import ScharfetterGummel, Spectral
from ..solve.correspondence import correspondence
from ..solve.evolve import evolve
from .base import Case, Measured, claim
from .constants import CONSTANTS
from .problems import Function, density_on, off_centre, swept, values_on


def evolve_wave(
    equation: FokkerPlanck,
    wave: Array,
    times: tuple[float, ...],
    grid: Grid,
    kappa: float,
) -> np.ndarray:
    """Waves `(T, n)` at `times` by the equation with that kappa in a Fourier basis,
    each divided by its integral.
    """
    run = evolve(
        equation.schrodinger(kappa),
        wave,
        times,
        grid=grid,
        scheme=Spectral(),
        tol=CONSTANTS.integrator_tol,
        check=False,
    )
    waves = np.asarray(run.values)
    integrals = waves @ grid.axes[0].weights
    return waves / integrals[:, None]


def sqrt_gibbs_at(
    equation: FokkerPlanck, times: tuple[float, ...], grid: Grid
) -> np.ndarray:
    """sqrt(pi_t) `(T, n)` by numpy."""
    heights = np.stack([values_on(grid, equation.energy, t) for t in times])
    # U less its minimum: exp(-U/2D) itself may overflow.
    lowest = heights.min(axis=1, keepdims=True)
    sqrt_pi = np.exp(-(heights - lowest) / (2 * float(equation.diffusion)))
    norms = np.sqrt(sqrt_pi**2 @ grid.axes[0].weights)
    return sqrt_pi / norms[:, None]


def density_of(sqrt_pi: np.ndarray, wave: np.ndarray, grid: Grid) -> np.ndarray:
    """sqrt(pi_t) psi `(T, n)`, normalised: kappa = 0 does not conserve mass."""
    product = sqrt_pi * wave
    return product / (product @ grid.axes[0].weights)[:, None]


@claim(
    "T13",
    "for a time-dependent U, p = √π_t ψ with the extra term, on one grid",
    kind="identity",
    allowed=1e-11,
    control=("N2", "without the extra term (κ = 0) √π_t ψ is not p"),
    hypotheses="the drift is -grad U(x, t)",
    source="theorem T13 of the theory page",
)
def moving_pictures(
    case: Case,
    *,
    potential: Function = swept,
    diffusion: float = 0.5,
    start: Function = off_centre,
    axis: Axis = Line(-2.4, 2.4, 96),
    times: tuple[float, ...] = (1.0, 2.0),
) -> Measured:
    """p by the generators and sqrt(pi_t) psi by the Hamiltonians, in the same steps."""
    equation = FokkerPlanck(potential, diffusion)
    grid = case.grid(axis)
    first = density_on(grid, start)
    both = correspondence(
        equation, first, times, grid=grid, scheme=ScharfetterGummel(), check=False
    )
    density = np.asarray(both.density)
    sqrt_pi = sqrt_gibbs_at(equation, times, grid)
    if not case.control:
        return density, sqrt_pi * np.asarray(both.wave)
    # The wave of kappa = 0 from the same start.
    start_wave = jnp.asarray(first / sqrt_gibbs_at(equation, (0.0,), grid)[0])
    waves = evolve_wave(equation, start_wave, times, grid, 0.0)
    return density, density_of(sqrt_pi, waves, grid)


@claim(
    "T13.wave",
    "the Schrödinger equation with κ = 1, solved alone, gives the density p",
    kind="identity",
    allowed=10 * CONSTANTS.integrator_tol,
    control=("N2", "κ = 0 gives another density than the Fokker-Planck equation"),
    hypotheses="as for T13",
    source="theorem T13 of the theory page",
)
def moving_wave(
    case: Case,
    *,
    potential: Function = swept,
    diffusion: float = 0.5,
    start: Function = off_centre,
    axis: Axis = Line(-2.4, 2.4, 96),
    times: tuple[float, ...] = (1.0, 2.0),
) -> Measured:
    """p, and sqrt(pi_t) psi of the wave with kappa = 1, in the control 0."""
    equation = FokkerPlanck(potential, diffusion)
    grid = case.grid(axis)
    first = density_on(grid, start)
    options = {
        "scheme": Spectral(),
        "tol": CONSTANTS.integrator_tol,
        "check": False,
    }
    density = evolve(
        equation,
        jnp.asarray(first),
        times,
        grid=grid,
        **options,
    ).values
    wave = jnp.asarray(first / sqrt_gibbs_at(equation, (0.0,), grid)[0])
    kappa = 0.0 if case.control else 1.0
    waves = evolve_wave(equation, wave, times, grid, kappa)
    sqrt_pi = sqrt_gibbs_at(equation, times, grid)
    return np.asarray(density), density_of(sqrt_pi, waves, grid)


@claim(
    "T13.weights",
    "with κ = -1 the wave started at √π_0 is √π_t at any speed",
    kind="identity",
    allowed=10 * CONSTANTS.integrator_tol,
    control=("N2", "with κ = 0 it lags behind √π_t"),
    hypotheses="as for T13",
    source="Jarzynski, Phys. Rev. Lett. 78 (1997) 2690",
)
def weights(
    case: Case,
    *,
    potential: Function = swept,
    diffusion: float = 0.5,
    axis: Axis = Line(-2.4, 2.4, 96),
    times: tuple[float, ...] = (1.0, 2.0),
) -> Measured:
    """The wave and sqrt(pi_t), each of integral 1."""
    equation = FokkerPlanck(potential, diffusion)
    grid = case.grid(axis)
    first = jnp.asarray(sqrt_gibbs_at(equation, (0.0,), grid)[0])
    kappa = 0.0 if case.control else -1.0
    wave = evolve_wave(equation, first, times, grid, kappa)
    steady = sqrt_gibbs_at(equation, times, grid)
    return wave, steady / (steady @ grid.axes[0].weights)[:, None]

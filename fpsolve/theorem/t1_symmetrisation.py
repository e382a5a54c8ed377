"""T1, symmetrisation: the density equals sqrt(pi) times a wave in imaginary time.

    d_t p = div( D grad p + p grad U ),      p = sqrt(pi) psi
    <=>    d_t psi = D Lap psi - ( |grad U|^2/(4D) - Lap U/2 ) psi

The two sides have only U in common: p is computed by conservative finite volumes, psi
in a Fourier basis with the analytic potential term. Control: the opposite sign of div s
(N3).

Reference: Risken, The Fokker-Planck Equation (1989), section 5.4.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..equation import FokkerPlanck
from ..grid import Axis, Grid, Line
from ..operator import Spectral
from ..potential import Harmonic
from ..propagate import Dense
from ..solve.evolve import evolve
from .base import Case, Measured, claim
from .problems import (
    Function,
    evolve_by_volumes,
    off_centre,
    schrodinger_image,
    tilted,
    values_on,
)


@claim(
    "T1",
    "p by finite volumes and √π ψ by a spectral wave meet at order 2",
    kind="order",
    claimed=2,
    sizes=(48, 64, 96, 128),
    control=(
        "N3",
        "with the opposite sign of div s, V = |s|²/4 - div s/2, they do not meet",
    ),
    hypotheses=(
        "the drift is -grad U, U does not depend on time; no flux through the ends of "
        "the box"
    ),
    source="Risken, The Fokker-Planck Equation (1989), section 5.4",
)
def symmetrisation(
    case: Case,
    *,
    potential: Function = tilted,
    diffusion: float = 0.5,
    start: Function = off_centre,  # narrower than sqrt(pi)
    bounds: tuple[float, float] = (-2.4, 2.4),
    times: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5),
    nodes: int = 96,  # of the wave
) -> Measured:
    """The densities at all times, each times the length of a cell."""

    def sqrt_pi(x: Array) -> Array:
        """sqrt(pi), not normalised."""
        return jnp.exp(-potential(x) / (2 * diffusion))

    equation = FokkerPlanck(potential, diffusion)
    fine = Grid(Line(*bounds, nodes))
    # psi_0 = p_0 / sqrt(pi), and sqrt(pi) psi on the nodes of every finite-volume grid.
    first = jnp.asarray(values_on(fine, start) / values_on(fine, sqrt_pi))
    sign = -1.0 if case.control else 1.0
    image = schrodinger_image(equation, sign)
    # The error of the wave is far below that of finite volumes, whose order is fitted.
    wave = evolve(
        image,
        first,
        times,
        grid=fine,
        scheme=Spectral(),
        method=Dense(),
        tol=1e-12,
        check=False,
    )
    grid = Grid(Line(*bounds, case.size))
    from_wave = values_on(grid, sqrt_pi) * np.asarray(wave.on(grid))
    density = np.asarray(evolve_by_volumes(equation, start, times, grid))
    return density, from_wave


@claim(
    "T1.spectral",
    "√π ψ by a spectral wave is the exact density of a harmonic well, to 1e-10",
    kind="identity",
    allowed=1e-10,
    control=(
        "N3",
        "with the opposite sign of div s, V = |s|²/4 - div s/2, √π ψ is another "
        "function",
    ),
    hypotheses=(
        "U = x.K x/2 with K symmetric and positive, in any dimension; the start is "
        "normal"
    ),
    source=(
        "Risken (1989), section 6.5: mean e^{-Kt} m, covariance C + e^{-Kt} (C_0 - C) "
        "e^{-Kt}, C = D K^-1"
    ),
)
def spectral_wave(
    case: Case,
    *,
    stiffness: tuple[tuple[float, ...], ...] = ((1.5,),),
    diffusion: float = 0.06,
    mean: tuple[float, ...] = (0.3,),
    variance: float = 0.03,
    axis: Axis = Line(-2.4, 2.4, 96),  # in every dimension
    time: float = 0.4,
) -> Measured:
    """sqrt(pi) psi and the exact density."""
    grid = case.grid(*[axis] * len(mean))
    equation = FokkerPlanck(Harmonic(np.asarray(stiffness)), diffusion)
    sqrt_pi = np.exp(-values_on(grid, equation.energy) / (2 * diffusion))
    covariance = variance * np.eye(len(mean))
    first = jnp.asarray(_normal(grid, np.asarray(mean), covariance) / sqrt_pi)
    sign = -1.0 if case.control else 1.0
    image = schrodinger_image(equation, sign)
    run = evolve(
        image, first, [time], grid=grid, scheme=Spectral(), tol=1e-12, check=False
    )
    # exp(-K t) and D K^-1 in the eigenvectors of K.
    levels, axes = np.linalg.eigh(np.asarray(stiffness))
    decay = axes @ np.diag(np.exp(-levels * time)) @ axes.T
    steady = diffusion * axes @ np.diag(1 / levels) @ axes.T
    # Mean and covariance of the Ornstein-Uhlenbeck process.
    later_mean = decay @ np.asarray(mean)
    later_covariance = steady + decay @ (covariance - steady) @ decay
    exact = _normal(grid, later_mean, later_covariance)
    return sqrt_pi * np.asarray(run.values[0]), exact


def _normal(grid: Grid, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """The normal density at the nodes, `(*shape)`."""
    coordinates = np.meshgrid(*(axis.nodes for axis in grid.axes), indexing="ij")
    offsets = np.stack(coordinates, axis=-1) - mean
    precision = np.linalg.inv(covariance)
    exponent = np.einsum("...i,ij,...j->...", offsets, precision, offsets)
    normalisation = np.sqrt(np.linalg.det(2 * np.pi * covariance))
    return np.exp(-exponent / 2) / normalisation

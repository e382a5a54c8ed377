"""T14: imaginary time and the Fokker-Planck equation transport the same density to
first order in the speed.

    d_t psi = -H_t psi
    |psi|^2 / int |psi|^2 = p_t + O(T^-2),      p_t = pi_t + O(T^-1)

The lag of the amplitude without the term a/2 (theorem T13) is half of that of p /
sqrt(pi), and the square doubles it. Control: sqrt(pi) psi in place of |psi|^2 has half
of the lag of p.
"""

import numpy as np
from scipy.linalg import solve_banded

from ..grid import Axis, Grid
from .base import Case, Measured, claim
from .chain import chain_hamiltonian
from .driven import (
    WELLS,
    Tilting,
    driven_energies,
    evolve_driven,
    schedule_at,
    tilted_gibbs,
)


def imaginary_time(
    potential: Tilting, diffusion: float, wave: np.ndarray, grid: Grid, steps: int = 512
) -> np.ndarray:
    """psi at the end of d_t psi = -H_t psi on the chain: the implicit midpoint rule."""
    # Modes that are faster than a step follow H_t as they should: the error is that of
    # a slow function of t.
    start, driving = driven_energies(potential, grid)
    total = float(potential.schedule.total)
    half = total / steps / 2
    spacing = float(grid.axes[0].weights[0])
    for middle in (np.arange(steps) + 0.5) * total / steps:
        energy = start + schedule_at(potential.schedule, middle)[0] * driving
        moved = half * chain_hamiltonian(energy, diffusion, spacing)
        # (1 + h H / 2) psi_new = (1 - h H / 2) psi, by the three diagonals of H.
        bands = np.zeros((3, grid.size))
        bands[0, 1:] = np.diagonal(moved, 1)
        bands[1] = 1 + np.diagonal(moved)
        bands[2, :-1] = np.diagonal(moved, -1)
        wave = solve_banded((1, 1), bands, wave - moved @ wave)
    return wave


@claim(
    "T14",
    "|ψ|² of imaginary time, normalised, and p meet as T^-2",
    kind="order",
    claimed=2,
    sizes=(24, 34, 48, 68),
    control=("√π_t ψ for |ψ|²", "the amplitude times √π_t and p meet as T^-1 only"),
    hypotheses="smooth driving, a gap at every λ; psi starts as sqrt(pi_0), p as pi_0",
    source="derived in the theory of this library",
)
def born(
    case: Case, *, diffusion: float = 0.5, slope: float = 0.35, axis: Axis = WELLS
) -> Measured:
    """Both densities after the time `case.size`; the largest difference counts."""
    grid = case.grid(axis)
    total = float(case.size)
    potential = Tilting(total, slope=slope)
    steady = tilted_gibbs(potential, diffusion, grid, (0.0, total))
    times = (0.5 * total, total)
    density = evolve_driven(potential, diffusion, steady[0], times, grid)[1]
    wave = imaginary_time(potential, diffusion, np.sqrt(steady[0]), grid)
    born = np.sqrt(steady[1]) * wave if case.control else wave**2
    # psi loses norm in imaginary time.
    return born / (born @ grid.axes[0].weights), density

"""T2, the exact lattice Hamiltonian: with square-root rates the map between generator
and Hamiltonian is exact.

    rate(i -> j) = (D/h^2) sqrt(pi_j / pi_i)
    =>    -L / similar = -D Lap_h + diag( D (Lap_h sqrt pi) / sqrt pi )

Lap_h is the standard graph Laplacian of the grid. Controls: the opposite sign of div s
(N3), which on the lattice is 1/sqrt(pi) in place of sqrt(pi); a temperature gradient
D(x) with the H of constant D (N12).
"""

import jax.numpy as jnp
import numpy as np

from ..equation import FokkerPlanck
from ..grid import Axis, Grid, Line, Periodic
from ..operator import SquareRoot
from ..solve.correspondence import correspondence
from .base import Case, Measured, claim
from .problems import (
    Function,
    density_on,
    matrices,
    off_centre,
    sqrt_gibbs,
    tilted,
    valley,
)


def lattice_hamiltonian(
    grid: Grid, diffusion: float, sqrt_pi: np.ndarray
) -> np.ndarray:
    """-D Lap_h + diag(D Lap_h sqrt_pi / sqrt_pi) in plain numpy, `(size, size)`, for
    axes of equal cells.
    """
    laplacian = np.zeros((grid.size, grid.size))
    number = np.arange(grid.size).reshape(grid.shape)
    # Each pair of neighbours adds -1/h² twice on the diagonal and 1/h² twice beside it.
    for i, axis in enumerate(grid.axes):
        rows = np.moveaxis(number, i, 0).reshape(axis.n, -1)
        pairs = [(rows[k], rows[k + 1]) for k in range(axis.n - 1)]
        if axis.boundary == "periodic":
            pairs.append((rows[-1], rows[0]))
        weight = (axis.n / axis.length) ** 2
        for below, above in pairs:
            for here, there in ((below, above), (above, below)):
                laplacian[here, there] += weight
                laplacian[here, here] -= weight
    return -diffusion * laplacian + np.diag(diffusion * (laplacian @ sqrt_pi) / sqrt_pi)


@claim(
    "T2",
    "with square-root rates H = -D Δ_h + D (Δ_h √π)/√π, the lattice Laplacian and a "
    "potential term",
    kind="identity",
    allowed=1e-14,
    control=(
        "N3",
        "the potential term with the opposite sign of div s, D (Δ_h 1/√π) √π, is "
        "another one",
    ),
    hypotheses=(
        "axes of equal cells, no-flux or periodic, in any dimension; rates (D/h^2) "
        "sqrt(pi_j/pi_i)"
    ),
    source="theorem T2 of the theory page",
)
def lattice_hamiltonian_form(
    case: Case,
    *,
    potential: Function = valley,
    diffusion: float = 0.5,
    axes: tuple[Axis, ...] = (Line(-1.8, 1.8, 18), Periodic(0.0, 2 * np.pi, 14)),
) -> Measured:
    """The Hamiltonian of `SquareRoot` and the lattice Hamiltonian, entry by entry."""
    grid = case.grid(*axes)
    equation = FokkerPlanck(potential, diffusion)
    hamiltonian = matrices(equation, grid, SquareRoot())[1]
    sqrt_pi = sqrt_gibbs(equation, grid)
    if case.control:
        # The opposite sign of div s is that of U.
        sqrt_pi = 1 / sqrt_pi
    return hamiltonian, lattice_hamiltonian(grid, diffusion, sqrt_pi)


@claim(
    "T2.density",
    "on one grid p = √π ψ at all times, p by the generator and ψ by H",
    kind="identity",
    allowed=1e-11,
    control=(
        "N12",
        "p under a temperature gradient D(x) is not √π ψ with the H of constant D",
    ),
    hypotheses="as for T2; D is constant",
    source="theorem T2 of the theory page",
)
def lattice_densities(
    case: Case,
    *,
    potential: Function = tilted,
    diffusion: float = 0.5,
    start: Function = off_centre,
    axes: tuple[Axis, ...] = (Line(-2.4, 2.4, 64),),
    times: tuple[float, ...] = (0.1, 1.0),
) -> Measured:
    """Both densities at all times. In the control D (1 + 0.8 sin(x_0 / 2)) stands in
    the generator.
    """
    equation = FokkerPlanck(potential, diffusion)
    grid = case.grid(*axes)
    first = density_on(grid, start)
    sqrt_pi = sqrt_gibbs(equation, grid)
    if not case.control:
        both = correspondence(
            equation, first, times, grid=grid, scheme=SquareRoot(), check=False
        )
        wave = np.asarray(both.wave)
        return np.asarray(both.density), sqrt_pi.reshape(grid.shape) * wave
    gradient = lambda x: diffusion * (1 + 0.8 * jnp.sin(x[0] / 2))
    warmed = FokkerPlanck(potential, gradient)
    # p by the eigenvectors of the generator, which is not symmetric.
    generator = matrices(warmed, grid, SquareRoot(), reversible=False)[0]
    rates, right = np.linalg.eig(generator)
    coefficients = np.linalg.solve(right, first.ravel())
    # Complex levels come in pairs, whose sum is real.
    evolved = [right @ (np.exp(-t * rates) * coefficients) for t in times]
    density = [values.real for values in evolved]
    # psi by the modes of the Hamiltonian.
    levels, modes = np.linalg.eigh(lattice_hamiltonian(grid, diffusion, sqrt_pi))
    amplitudes = modes.T @ (first.ravel() / sqrt_pi)
    waves = [modes @ (np.exp(-t * levels) * amplitudes) for t in times]
    return np.stack(density), sqrt_pi * np.stack(waves)

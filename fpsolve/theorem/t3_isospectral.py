"""T3: generator and Hamiltonian have the same spectrum, and the same eigenfunctions up
to factors sqrt(pi).

    spec(-L) = spec(H), real, >= 0,      H sqrt(pi) = 0
    right eigenfunctions sqrt(pi) psi_k, left ones psi_k / sqrt(pi)
    chi2(t) = int (p - pi)^2 / pi = sum_{k>=1} c_k^2 exp(-2 E_k t)

with c_k = <psi_k, p_0 / sqrt(pi)>. The eigenvalues of -L are computed by numpy's solver
for general matrices, which does not use the symmetry. Only low levels are compared: a
general solver has errors of eps cond(sqrt pi). Controls: a constant force on a ring
(N1), the opposite sign of div s (N3).

Reference: Risken, The Fokker-Planck Equation (1989), sections 5.4 and 5.5.
"""

from typing import Any

import numpy as np

from ..equation import FokkerPlanck
from ..grid import Axis, Line, Periodic
from ..operator import ScharfetterGummel, Spectral
from ..solve.spectrum import spectrum
from .base import Case, Measured, claim
from .chain import chi
from .problems import (
    Function,
    density_on,
    evolve_by_volumes,
    matrices,
    off_centre,
    sqrt_gibbs,
    symmetric,
    tilted,
)
from .t2_lattice import lattice_hamiltonian


def lowest(matrix: np.ndarray, k: int) -> tuple[np.ndarray, Any]:
    """The k eigenvalues of smallest real part and their right eigenvectors in columns,
    by numpy's general solver.
    """
    values, vectors = np.linalg.eig(matrix)
    # Real parts are rounded: a conjugate pair keeps its order, the negative imaginary
    # part first.
    rounded = np.round(np.real(values), 6)
    order = np.lexsort((np.imag(values), rounded))[:k]
    return values[order], vectors[:, order]


@claim(
    "T3",
    "the low levels of -L (general eigensolver) and of H are the same",
    kind="identity",
    allowed=1e-11,  # of the highest level compared
    control=(
        "N1",
        "under a force f on a ring -L has D k² + i f k, H has D k² + f²/(4D)",
    ),
    hypotheses="the drift is -grad U",
    source="Risken (1989), section 5.4",
)
def isospectrality(
    case: Case,
    *,
    potential: Function = tilted,
    diffusion: float = 0.5,
    axis: Axis = Line(-2.4, 2.4, 64),
    levels: int = 5,
    force: float = 1.3,  # of the control, round a ring of circumference 2 pi
) -> Measured:
    """The low levels of both. In the control H is that of the score f/D on a ring."""
    if case.control:
        equation = FokkerPlanck(None, diffusion, lambda x: force + 0 * x)
        ring = case.grid(Periodic(0.0, 2 * np.pi, 31))
        generator, hamiltonian = matrices(equation, ring, Spectral(), reversible=False)
        rates = lowest(generator, levels)[0]
        return rates, np.linalg.eigvalsh(symmetric(hamiltonian, ring))[:levels]
    equation = FokkerPlanck(potential, diffusion)
    grid = case.grid(axis)
    scheme = ScharfetterGummel()
    rates = lowest(matrices(equation, grid, scheme)[0], levels)[0]
    modes = spectrum(
        equation,
        grid,
        levels,
        scheme=scheme,
        check=False,
    )
    return rates, modes.values


@claim(
    "T3.modes",
    "eigenvectors of -L: right √π ψ_k, left ψ_k/√π, and √π is the ground state of H",
    kind="identity",
    allowed=1e-10,
    control=(
        "N3",
        "the modes of H with the opposite sign of div s are not those of -L",
    ),
    hypotheses="as for T3; the levels compared are simple",
    source="Risken (1989), section 5.5",
)
def biorthogonality(
    case: Case,
    *,
    potential: Function = tilted,
    diffusion: float = 0.5,
    axis: Axis = Line(-2.4, 2.4, 64),
    levels: int = 4,
) -> Measured:
    """Overlaps of the eigenvectors of -L, and of sqrt(pi), with the modes of H, and
    those of unit vectors.
    """
    equation = FokkerPlanck(potential, diffusion)
    grid = case.grid(axis)
    weights = grid.axes[0].weights
    sqrt_pi = sqrt_gibbs(equation, grid)
    if case.control:
        wrong = lattice_hamiltonian(grid, diffusion, 1 / sqrt_pi)
        vectors = np.linalg.eigh(wrong)[1][:, :levels]
        # From the orthonormal basis of the nodes to values there.
        modes = vectors.T / np.sqrt(weights)
    else:
        scheme = ScharfetterGummel()
        found = spectrum(
            equation,
            grid,
            levels,
            scheme=scheme,
            check=False,
        )
        modes = np.asarray(found.vectors)
    generator = matrices(equation, grid, ScharfetterGummel())[0]
    # A general solver may return real vectors as complex ones.
    right = lowest(generator, levels)[1].real / sqrt_pi[:, None]
    # Left vectors are right vectors of the adjoint in the weights of the grid.
    adjoint = generator.T / weights * weights[:, None]
    left = lowest(adjoint, levels)[1].real * sqrt_pi[:, None]
    # Right vectors over sqrt(pi) and left ones times sqrt(pi): each of unit norm, with
    # the sign of its mode.
    vectors = np.stack([right, left])
    norms = np.sqrt(np.einsum("sxk,sxk,x->sk", vectors, vectors, weights))
    vectors = vectors / norms[:, None]
    overlaps = np.einsum("jx,sxk,x->sjk", modes, vectors, weights)
    overlaps = overlaps * np.sign(np.einsum("skk->sk", overlaps))[:, None]
    ground_overlaps = np.abs(np.einsum("kx,x,x->k", modes, sqrt_pi, weights))
    unit = np.eye(levels)
    # sqrt(pi) is the mode of index 0.
    exact = np.concatenate([unit, unit, unit[:, :1]], axis=None)
    return np.append(overlaps, ground_overlaps), exact


@claim(
    "T3.sum",
    "χ²(t) of the density is Σ c_k² exp(-2 E_k t) over the excited levels of H",
    kind="identity",
    allowed=1e-9,
    control=(
        "N3",
        "the sum over the levels of H with the opposite sign of div s is another "
        "number",
    ),
    hypotheses="as for T3; chi2(0) is finite",
    source="Risken (1989), section 5.5",
)
def mode_sum(
    case: Case,
    *,
    potential: Function = tilted,
    diffusion: float = 0.5,
    start: Function = off_centre,
    axis: Axis = Line(-2.4, 2.4, 64),
    times: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8, 1.6),
) -> Measured:
    """chi2 of the evolved density over the sum, at every time, and 1."""
    equation = FokkerPlanck(potential, diffusion)
    grid = case.grid(axis)
    weights = grid.axes[0].weights
    sqrt_pi = sqrt_gibbs(equation, grid)
    first = density_on(grid, start)
    density = np.asarray(evolve_by_volumes(equation, first, times, grid))
    measured = chi(density, sqrt_pi**2, grid) ** 2
    if case.control:
        hamiltonian = lattice_hamiltonian(grid, diffusion, 1 / sqrt_pi)
    else:
        hamiltonian = symmetric(matrices(equation, grid, ScharfetterGummel())[1], grid)
    levels, modes = np.linalg.eigh(hamiltonian)
    # c_k in the orthonormal basis of the nodes; the level 0 belongs to pi.
    amplitudes = modes.T @ (np.sqrt(weights) * first / sqrt_pi)
    powers = amplitudes[1:] ** 2
    summed = [np.sum(powers * np.exp(-2 * levels[1:] * t)) for t in times]
    # The last time counts as much as the first, where chi2 is much larger.
    return measured / summed, np.ones(len(times))

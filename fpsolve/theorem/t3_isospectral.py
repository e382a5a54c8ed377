"""T3: generator and Hamiltonian have the same spectrum, and the same eigenfunctions up to factors sqrt(pi).

    spec(-L) = spec(H), real, >= 0      right sqrt(pi) psi_k, left psi_k / sqrt(pi)      H sqrt(pi) = 0
    chi2(t) = int (p - pi)^2 / pi = sum_{k>=1} c_k^2 exp(-2 E_k t),     c_k = <psi_k, p_0 / sqrt(pi)>

The eigenvalues of -L are computed by numpy's solver for general matrices, which does not use the symmetry. Only low
levels are compared: a general solver has errors of eps cond(sqrt pi). Controls: a constant force on a ring (N1), the
opposite sign of div s (N3).

Reference: Risken, The Fokker-Planck Equation (1989), sections 5.4 and 5.5.
"""

from typing import Any, ClassVar

import numpy as np

from ..equation import FokkerPlanck
from ..grid import Grid, Line, Periodic
from ..operator import ScharfetterGummel, Spectral
from ..solve.spectrum import spectrum
from .base import Kind, Sides, Theorem, identity
from .problems import (
    Function,
    density_on,
    evolve_by_volumes,
    matrices,
    off_centre,
    refined,
    sqrt_gibbs,
    symmetric,
    tilted,
)
from .t2_lattice import lattice_hamiltonian


def lowest(matrix: Any, k: int) -> tuple[Any, Any]:
    """The k eigenvalues of smallest real part and their right eigenvectors in columns, by numpy's general solver."""
    values, vectors = np.linalg.eig(matrix)
    # Real parts are rounded: a conjugate pair keeps its order, the negative imaginary part first.
    order = np.lexsort((np.imag(values), np.round(np.real(values), 6)))[:k]
    return values[order], vectors[:, order]


class Isospectrality(Theorem):
    """The low levels of -L and of H agree to 1e-11 of the highest compared, and the lowest is zero.

    **Arguments**: `potential` U(x), one-dimensional; `diffusion` D; `lower`, `upper` the box; `nodes` (half as many
    again to refine); `levels` how many to compare; `force` on a ring of circumference 2 pi, for the control.
    """

    name: ClassVar[str] = "T3"
    statement: ClassVar[str] = "the low levels of -L (general eigensolver) and of H are the same"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "N1"
    control_statement: ClassVar[str] = "under a force f on a ring -L has D k² + i f k, H has D k² + f²/(4D)"

    potential: Function = tilted
    diffusion: float = 0.5
    lower: float = -2.4
    upper: float = 2.4
    nodes: int = 64
    levels: int = 5
    force: float = 1.3

    def measure(self, refine: bool) -> Sides:
        """The pair of levels that differ most."""
        equation = FokkerPlanck(self.potential, self.diffusion)
        grid = refined(Grid(Line(self.lower, self.upper, self.nodes)), refine)
        rates = lowest(matrices(equation, grid, ScharfetterGummel())[0], self.levels)[0]
        levels = spectrum(equation, grid, self.levels, scheme=ScharfetterGummel(), check=False).values
        return identity(rates, levels, 1e-11)

    def control(self, refine: bool) -> Sides:
        """The same on a ring with a force, where H is that of the score f/D."""
        equation = FokkerPlanck(None, self.diffusion, lambda x: self.force + 0 * x)
        grid = refined(Grid(Periodic(0.0, 2 * np.pi, 31)), refine)
        generator, hamiltonian = matrices(equation, grid, Spectral(), reversible=False)
        levels = np.linalg.eigvalsh(symmetric(hamiltonian, grid))[: self.levels]
        return identity(lowest(generator, self.levels)[0], levels, 1e-11)


class Biorthogonality(Theorem):
    """Right and left eigenvectors of -L are sqrt(pi) psi_k and psi_k / sqrt(pi): their products are the unit matrix.

    **Arguments**: as for `Isospectrality`.
    """

    name: ClassVar[str] = "T3.modes"
    statement: ClassVar[str] = "eigenvectors of -L: right √π ψ_k, left ψ_k/√π, and √π is the ground state of H"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "N3"
    control_statement: ClassVar[str] = "the modes of H with the opposite sign of div s are not those of -L"

    potential: Function = tilted
    diffusion: float = 0.5
    lower: float = -2.4
    upper: float = 2.4
    nodes: int = 64
    levels: int = 4

    def measure(self, refine: bool) -> Sides:
        """Overlaps with the modes of H and the unit matrix, where they differ most."""
        equation, grid = self._problem(refine)
        modes = spectrum(equation, grid, self.levels, scheme=ScharfetterGummel(), check=False).vectors
        return self._overlaps(np.asarray(modes), refine)

    def control(self, refine: bool) -> Sides:
        """The same with the modes of the lattice Hamiltonian for the opposite sign of div s."""
        equation, grid = self._problem(refine)
        wrong = lattice_hamiltonian(grid, self.diffusion, 1 / sqrt_gibbs(equation, grid))
        modes = np.linalg.eigh(wrong)[1][:, : self.levels].T / np.sqrt(grid.axes[0].weights)
        return self._overlaps(modes, refine)

    def _overlaps(self, modes: Any, refine: bool) -> Sides:
        """Overlaps of the eigenvectors of -L with `modes` `(levels, n)`, and of sqrt(pi) with the lowest of these."""
        equation, grid = self._problem(refine)
        weights = grid.axes[0].weights
        sqrt_pi = sqrt_gibbs(equation, grid)
        generator = matrices(equation, grid, ScharfetterGummel())[0]
        right = lowest(generator, self.levels)[1].real / sqrt_pi[:, None]
        # Left vectors are right vectors of the adjoint in the weights of the grid.
        left = lowest(generator.T / weights * weights[:, None], self.levels)[1].real * sqrt_pi[:, None]
        # Right vectors over sqrt(pi) and left ones times sqrt(pi): each of unit norm, with the sign of its mode.
        vectors = np.stack([right, left])
        vectors = vectors / np.sqrt(np.einsum("sxk,sxk,x->sk", vectors, vectors, weights))[:, None]
        overlaps = np.einsum("jx,sxk,x->sjk", modes, vectors, weights)
        overlaps = overlaps * np.sign(np.einsum("skk->sk", overlaps))[:, None]
        ground_overlaps = np.abs(np.einsum("kx,x,x->k", modes, sqrt_pi, weights))
        unit = np.eye(self.levels)
        measured = np.append(overlaps, ground_overlaps)
        return identity(measured, np.concatenate([unit, unit, unit[:, :1]], axis=None), 1e-10)

    def _problem(self, refine: bool) -> tuple[FokkerPlanck, Grid]:
        """The equation and the grid."""
        grid = Grid(Line(self.lower, self.upper, self.nodes))
        return FokkerPlanck(self.potential, self.diffusion), refined(grid, refine)


class ModeSum(Theorem):
    """chi2 of the evolved density is the sum over the decaying modes, to 1e-9.

    **Arguments**: as for `Isospectrality`; `start` a density of mass 1; `times`.
    """

    name: ClassVar[str] = "T3.sum"
    statement: ClassVar[str] = "χ²(t) of the density is Σ c_k² exp(-2 E_k t) over the excited levels of H"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "N3"
    control_statement: ClassVar[str] = "the sum over the levels of H with the opposite sign of div s is another number"

    potential: Function = tilted
    diffusion: float = 0.5
    start: Function = off_centre
    lower: float = -2.4
    upper: float = 2.4
    nodes: int = 64
    times: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8, 1.6)

    def measure(self, refine: bool) -> Sides:
        """chi2 by the density and by the modes, at the time where they differ most."""
        equation, grid = self._problem(refine)
        return self._compare(symmetric(matrices(equation, grid, ScharfetterGummel())[1], grid), refine)

    def control(self, refine: bool) -> Sides:
        """The same with the levels of the lattice Hamiltonian for the opposite sign of div s."""
        equation, grid = self._problem(refine)
        return self._compare(lattice_hamiltonian(grid, self.diffusion, 1 / sqrt_gibbs(equation, grid)), refine)

    def _compare(self, hamiltonian: Any, refine: bool) -> Sides:
        """chi2 of the density, and the sum over the modes of a `hamiltonian` `(n, n)`."""
        equation, grid = self._problem(refine)
        weights = grid.axes[0].weights
        sqrt_pi = sqrt_gibbs(equation, grid)
        start = density_on(grid, self.start)
        density = np.asarray(evolve_by_volumes(equation, start, self.times, grid))
        measured = np.sum(weights * (density / sqrt_pi - sqrt_pi) ** 2, axis=1)
        levels, modes = np.linalg.eigh(hamiltonian)
        # c_k in the orthonormal basis of the nodes.
        amplitudes = modes.T @ (np.sqrt(weights) * start / sqrt_pi)
        summed = [np.sum(amplitudes[1:] ** 2 * np.exp(-2 * levels[1:] * t)) for t in self.times]
        return identity(measured, summed, 1e-9, scale=np.asarray(summed))

    def _problem(self, refine: bool) -> tuple[FokkerPlanck, Grid]:
        """The equation and the grid."""
        grid = Grid(Line(self.lower, self.upper, self.nodes))
        return FokkerPlanck(self.potential, self.diffusion), refined(grid, refine)

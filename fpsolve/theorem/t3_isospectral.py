"""T3: generator and Hamiltonian have one spectrum, and each other's eigenfunctions up to sqrt(pi).

    spec(-L) = spec(H), real, >= 0      right sqrt(pi) psi_k, left psi_k / sqrt(pi)      H sqrt(pi) = 0
    chi2(t) = int (p - pi)^2 / pi = sum_{k>=1} c_k^2 exp(-2 E_k t),     c_k = <psi_k, p_0 / sqrt(pi)>

-L goes to numpy's solver for general matrices, which knows nothing of the symmetry. Only low levels are compared: a
general solver loses eps cond(sqrt pi) digits. Controls: a constant force on a ring (N1), the sign of div s turned (N3).

Reference: Risken, The Fokker-Planck Equation (1989), sections 5.4 and 5.5.
"""

from typing import Any, ClassVar

import numpy as np

from ..equation import FokkerPlanck
from ..grid import Grid, Line, Periodic
from ..operator import ScharfetterGummel, Spectral
from ..solve.spectrum import spectrum
from .base import Kind, Sides, Theorem, identity
from .problems import Function, density_on, gibbs_root, matrices, off_centre, symmetric, tilted, volumes
from .t2_lattice import lattice_hamiltonian


def lowest(matrix: Any, k: int) -> tuple[Any, Any]:
    """The k eigenvalues of smallest real part and their right eigenvectors in columns, by numpy's general solver."""
    values, vectors = np.linalg.eig(matrix)
    order = np.lexsort((np.imag(values), np.round(np.real(values), 6)))[:k]
    return values[order], vectors[:, order]


class Isospectrality(Theorem):
    """The low levels of -L and of H agree to 1e-11 of the highest compared, and the lowest is zero.

    **Arguments**: `potential` U(x), one-dimensional; `diffusion` D; `lower`, `upper` the box; `nodes` (half as many
    again to refine); `levels` how many to compare; `force` round a ring of circumference 2 pi, for the control.
    """

    name: ClassVar[str] = "T3"
    statement: ClassVar[str] = "the low levels of -L (general eigensolver) and of H are the same"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "N1"
    control_statement: ClassVar[str] = "under a force f round a ring -L has D k² + i f k, H has D k² + f²/(4D)"

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
        grid = Grid(Line(self.lower, self.upper, self.nodes)).refine(1.5 if refine else 1.0)
        rates = lowest(matrices(equation, grid, ScharfetterGummel())[0], self.levels)[0]
        levels = spectrum(equation, grid, self.levels, scheme=ScharfetterGummel()).values
        return identity(rates, levels, 1e-11)

    def control(self, refine: bool) -> Sides:
        """The same on a ring with a force, where H is that of the score f/D."""
        equation = FokkerPlanck(None, self.diffusion, lambda x: self.force + 0 * x)
        grid = Grid(Periodic(0.0, 2 * np.pi, 31)).refine(1.5 if refine else 1.0)
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
    control_statement: ClassVar[str] = "the modes of H with the sign of div s turned are not those of -L"

    potential: Function = tilted
    diffusion: float = 0.5
    lower: float = -2.4
    upper: float = 2.4
    nodes: int = 64
    levels: int = 4

    def measure(self, refine: bool) -> Sides:
        """Overlaps with the modes of H and the unit matrix, where they differ most."""
        equation, grid = self._problem(refine)
        modes = spectrum(equation, grid, self.levels, scheme=ScharfetterGummel()).vectors
        return self._overlaps(np.asarray(modes), refine)

    def control(self, refine: bool) -> Sides:
        """The same with the modes of the turned lattice Hamiltonian."""
        equation, grid = self._problem(refine)
        turned = lattice_hamiltonian(grid, self.diffusion, 1 / gibbs_root(equation, grid))
        modes = np.linalg.eigh(turned)[1][:, : self.levels].T / np.sqrt(grid.axes[0].weights)
        return self._overlaps(modes, refine)

    def _overlaps(self, modes: Any, refine: bool) -> Sides:
        equation, grid = self._problem(refine)
        weights, root = grid.axes[0].weights, gibbs_root(equation, grid)
        generator = matrices(equation, grid, ScharfetterGummel())[0]
        right = lowest(generator, self.levels)[1].real / root[:, None]
        left = lowest(generator.T / weights * weights[:, None], self.levels)[1].real * root[:, None]
        # The modes times sqrt(pi)^-1 and sqrt(pi), each of unit norm, and with the sign of its partner in `modes`.
        first, ground = np.stack([right, left]), np.broadcast_to(root, (1, len(root)))
        first = first / np.sqrt(np.einsum("sxk,sxk,x->sk", first, first, weights))[:, None]
        overlaps = np.einsum("jx,sxk,x->sjk", modes, first, weights)
        overlaps = overlaps * np.sign(np.einsum("skk->sk", overlaps))[:, None]
        lowest_mode = np.abs(np.einsum("kx,gx,x->kg", modes, ground, weights))
        unit = np.eye(self.levels)
        return identity(np.append(overlaps, lowest_mode), np.concatenate([unit, unit, unit[:, :1]], axis=None), 1e-10)

    def _problem(self, refine: bool) -> tuple[FokkerPlanck, Grid]:
        grid = Grid(Line(self.lower, self.upper, self.nodes))
        return FokkerPlanck(self.potential, self.diffusion), grid.refine(1.5 if refine else 1.0)


class ModeSum(Theorem):
    """chi2 of the evolved density is the sum of its modes' decays, to 1e-9.

    **Arguments**: as for `Isospectrality`; `start` a density of mass 1; `times`.
    """

    name: ClassVar[str] = "T3.sum"
    statement: ClassVar[str] = "χ²(t) of the density is Σ c_k² exp(-2 E_k t) over the excited levels of H"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "N3"
    control_statement: ClassVar[str] = "the sum over the levels of H with the sign of div s turned is another number"

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
        """The same with the levels of the turned lattice Hamiltonian."""
        equation, grid = self._problem(refine)
        return self._compare(lattice_hamiltonian(grid, self.diffusion, 1 / gibbs_root(equation, grid)), refine)

    def _compare(self, hamiltonian: Any, refine: bool) -> Sides:
        equation, grid = self._problem(refine)
        weights, root = grid.axes[0].weights, gibbs_root(equation, grid)
        start = density_on(grid, self.start)
        density = np.asarray(volumes(equation, start, self.times, grid))
        measured = np.sum(weights * (density / root - root) ** 2, axis=1)
        levels, modes = np.linalg.eigh(hamiltonian)
        amplitudes = modes.T @ (np.sqrt(weights) * start / root)
        summed = [np.sum(amplitudes[1:] ** 2 * np.exp(-2 * levels[1:] * t)) for t in self.times]
        return identity(measured, summed, 1e-9, scale=np.asarray(summed))

    def _problem(self, refine: bool) -> tuple[FokkerPlanck, Grid]:
        grid = Grid(Line(self.lower, self.upper, self.nodes))
        return FokkerPlanck(self.potential, self.diffusion), grid.refine(1.5 if refine else 1.0)

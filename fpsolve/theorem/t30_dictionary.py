"""T30, the two roles of an objective: potential of a Hamiltonian, or Boltzmann energy.

    (-D Lap + zeta) psi_0 = E_0 psi_0,   U = -2 D log psi_0:      |psi_0|^2 = exp(-U / D) / Z,    zeta - E_0 = V_S[U]

The gap of -D Lap + zeta is that of the Fokker-Planck equation of U, computed by finite volumes from U alone. Control:
zeta itself as the energy (N10).

Reference: Wang and Maimaitiabudula, arXiv 2407.19890.
"""

from typing import ClassVar

from jaxtyping import Array

from ..equation import FokkerPlanck
from ..grid import Grid, Line, Reflecting
from ..learning import boltzmann_energy
from ..solve.spectrum import spectrum
from .base import Kind, Sides, Theorem, identity
from .problems import Function


def half_square(x: Array) -> Array:
    """zeta = x^2 / 2."""
    return x[0] ** 2 / 2


class Dictionary(Theorem):
    """The process whose energy is U = -2 D log psi_0 has the gap of -D Lap + zeta, to 1e-3.

    **Arguments**: `objective` zeta(x) on a line; `diffusion` D; `lower`, `upper` the box of the wave, `nodes` in it;
    `inner` the part of the box in which U is known; `cells` of the process.
    """

    name: ClassVar[str] = "T30"
    statement: ClassVar[str] = "the process of energy U = -2D log ψ₀ has the gap of -DΔ + ζ"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "N10"
    control_statement: ClassVar[str] = "the process of energy ζ has another gap"

    objective: Function = half_square
    diffusion: float = 0.02
    lower: float = -2.6
    upper: float = 2.6
    nodes: int = 64
    inner: float = 0.65
    cells: int = 300

    def measure(self, refine: bool) -> Sides:
        """The gap of the process of U, and that of the Hamiltonian."""
        return self._gaps(True, refine)

    def control(self, refine: bool) -> Sides:
        """The gap of the process of zeta, and that of the Hamiltonian."""
        return self._gaps(False, refine)

    def _gaps(self, translated: bool, refine: bool) -> Sides:
        grid = Grid(Line(self.lower, self.upper, self.nodes * (2 if refine else 1)))
        found = boltzmann_energy(self.objective, grid, self.diffusion)
        energy = found.potential if translated else self.objective
        middle, half = (self.lower + self.upper) / 2, self.inner * (self.upper - self.lower) / 2
        inner = Grid(Reflecting(middle - half, middle + half, self.cells * (2 if refine else 1)))
        gap = spectrum(FokkerPlanck(energy, self.diffusion), inner, 2, check=False).gap
        return identity(gap, found.gap, 1e-3)

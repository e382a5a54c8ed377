"""T2, the exact lattice Hamiltonian: with square-root rates the map between generator and Hamiltonian is exact.

    rate(i -> j) = (D/h^2) sqrt(pi_j / pi_i)   =>   -L / similar = -D Lap_h + diag( D (Lap_h sqrt pi) / sqrt pi )

Lap_h is the standard graph Laplacian of the grid. Controls: the opposite sign of div s (N3), which on the lattice is
1/sqrt(pi) in place of sqrt(pi); a temperature gradient D(x) with the H of constant D (N12).
"""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from ..equation import FokkerPlanck
from ..grid import Axis, Grid, Line, Periodic
from ..operator import SquareRoot
from ..solve.correspondence import correspondence
from .base import Kind, Sides, Theorem, identity
from .problems import Function, density_on, matrices, off_centre, refined, sqrt_gibbs, tilted, valley


def lattice_hamiltonian(grid: Grid, diffusion: float, sqrt_pi: Any) -> Any:
    """-D Lap_h + diag(D Lap_h sqrt_pi / sqrt_pi) in plain numpy, `(size, size)`, for axes of equal cells."""
    laplacian = np.zeros((grid.size, grid.size))
    number = np.arange(grid.size).reshape(grid.shape)
    # Each pair of neighbours adds -1/h² twice on the diagonal and 1/h² twice beside it.
    for i, axis in enumerate(grid.axes):
        rows = np.moveaxis(number, i, 0)
        pairs = [(rows[k], rows[k + 1]) for k in range(axis.n - 1)]
        if axis.boundary == "periodic":
            pairs.append((rows[-1], rows[0]))
        for below, above in pairs:
            for here, there in ((below.ravel(), above.ravel()), (above.ravel(), below.ravel())):
                laplacian[here, there] += (axis.n / axis.length) ** 2
                laplacian[here, here] -= (axis.n / axis.length) ** 2
    return -diffusion * laplacian + np.diag(diffusion * (laplacian @ sqrt_pi) / sqrt_pi)


class LatticeHamiltonian(Theorem):
    """The Hamiltonian of `SquareRoot` is the lattice Laplacian plus a potential term, entry by entry, to 1e-14.

    **Arguments**: `potential` U(x); `diffusion` D; `axes` of equal cells, no-flux or periodic (to refine: half as
    many nodes again).
    """

    name: ClassVar[str] = "T2"
    statement: ClassVar[str] = (
        "with square-root rates H = -D Δ_h + D (Δ_h √π)/√π, the lattice Laplacian and a potential term"
    )
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "N3"
    control_statement: ClassVar[str] = (
        "the potential term with the opposite sign of div s, D (Δ_h 1/√π) √π, is another one"
    )

    potential: Function = valley
    diffusion: float = 0.5
    axes: tuple[Axis, ...] = (Line(-1.8, 1.8, 18), Periodic(0.0, 2 * np.pi, 14))

    def measure(self, refine: bool) -> Sides:
        """The entries of the two matrices where they differ most."""
        return self._compare(1, refine)

    def control(self, refine: bool) -> Sides:
        """The same with 1/sqrt(pi) in the potential term."""
        return self._compare(-1, refine)

    def _compare(self, sign: int, refine: bool) -> Sides:
        """The Hamiltonian and the lattice Hamiltonian of sqrt(pi) to the power `sign`."""
        grid = refined(Grid(*self.axes), refine)
        equation = FokkerPlanck(self.potential, self.diffusion)
        hamiltonian = matrices(equation, grid, SquareRoot())[1]
        plain = lattice_hamiltonian(grid, self.diffusion, sqrt_gibbs(equation, grid) ** sign)
        return identity(hamiltonian, plain, 1e-14)


class LatticePictures(Theorem):
    """On one grid p by the generator and sqrt(pi) psi, psi by the lattice Hamiltonian, agree to 1e-11.

    **Arguments**: as for `LatticeHamiltonian`; `start` a density; `times`, ascending.
    """

    name: ClassVar[str] = "T2.density"
    statement: ClassVar[str] = "on one grid p = √π ψ at all times, p by the generator and ψ by H"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "N12"
    control_statement: ClassVar[str] = "p under a temperature gradient D(x) is not √π ψ with the H of constant D"

    potential: Function = tilted
    diffusion: float = 0.5
    start: Function = off_centre
    axes: tuple[Axis, ...] = (Line(-2.4, 2.4, 64),)
    times: tuple[float, ...] = (0.1, 1.0)

    def measure(self, refine: bool) -> Sides:
        """The two densities at the node and time where they differ most."""
        equation, grid = self._problem(refine)
        start = density_on(grid, self.start)
        both = correspondence(equation, start, self.times, grid=grid, scheme=SquareRoot(), check=False)
        return identity(both.density, sqrt_gibbs(equation, grid).reshape(grid.shape) * np.asarray(both.wave), 1e-11)

    def control(self, refine: bool) -> Sides:
        """The same with D (1 + 0.8 sin(x_0 / 2)) in the generator, both sides by full matrices."""
        equation, grid = self._problem(refine)
        warmed = FokkerPlanck(self.potential, lambda x: self.diffusion * (1 + 0.8 * jnp.sin(x[0] / 2)))
        sqrt_pi = sqrt_gibbs(equation, grid)
        start = density_on(grid, self.start).ravel()
        # p by the eigenvectors of the generator, which is not symmetric.
        rates, right = np.linalg.eig(matrices(warmed, grid, SquareRoot(), reversible=False)[0])
        coefficients = np.linalg.solve(right, start)
        density = [(right @ (np.exp(-t * rates) * coefficients)).real for t in self.times]
        # psi by the modes of the Hamiltonian.
        levels, modes = np.linalg.eigh(lattice_hamiltonian(grid, self.diffusion, sqrt_pi))
        amplitudes = modes.T @ (start / sqrt_pi)
        waves = [modes @ (np.exp(-t * levels) * amplitudes) for t in self.times]
        return identity(np.stack(density), sqrt_pi * np.stack(waves), 1e-11)

    def _problem(self, refine: bool) -> tuple[FokkerPlanck, Grid]:
        """The equation and the grid."""
        return FokkerPlanck(self.potential, self.diffusion), refined(Grid(*self.axes), refine)

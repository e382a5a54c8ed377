"""T2, the exact lattice twin: with square-root rates nothing is approximated between generator and Hamiltonian.

    rate(i -> j) = (D/h^2) sqrt(pi_j / pi_i)   =>   -L / similar = -D Lap_h + diag( D (Lap_h sqrt pi) / sqrt pi )

Lap_h is the standard graph Laplacian of the grid. Controls: the sign of div s turned (N3), which on the lattice is
1/sqrt(pi) in place of sqrt(pi); a temperature gradient D(x) under the H of constant D (N12).
"""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from ..equation import FokkerPlanck
from ..grid import Axis, Grid, Line, Periodic
from ..operator import SquareRoot
from ..solve.correspondence import correspondence
from .base import Kind, Sides, Theorem, identity
from .problems import Function, density_on, gibbs_root, matrices, off_centre, tilted, valley


def lattice_hamiltonian(grid: Grid, diffusion: float, root: Any) -> Any:
    """-D Lap_h + diag(D Lap_h root / root) in plain numpy, `(size, size)`, for axes of equal cells."""
    laplacian = np.zeros((grid.size, grid.size))
    number = np.arange(grid.size).reshape(grid.shape)
    for i, axis in enumerate(grid.axes):
        rows = np.moveaxis(number, i, 0)
        pairs = [(rows[k], rows[k + 1]) for k in range(axis.n - 1)]
        if axis.boundary == "periodic":
            pairs.append((rows[-1], rows[0]))
        for below, above in pairs:
            for here, there in ((below.ravel(), above.ravel()), (above.ravel(), below.ravel())):
                laplacian[here, there] += (axis.n / axis.length) ** 2
                laplacian[here, here] -= (axis.n / axis.length) ** 2
    return -diffusion * laplacian + np.diag(diffusion * (laplacian @ root) / root)


class LatticeTwin(Theorem):
    """The Hamiltonian of `SquareRoot` is the plain lattice Laplacian plus a well, entry by entry, to 1e-14.

    **Arguments**: `potential` U(x); `diffusion` D; `axes` of equal cells, closed or rings (to refine: half as many
    nodes again).
    """

    name: ClassVar[str] = "T2"
    statement: ClassVar[str] = (
        "with square-root rates H = -D Δ_h + D (Δ_h √π)/√π, the plain lattice Laplacian and a well"
    )
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "N3"
    control_statement: ClassVar[str] = "the well with the sign of div s turned, D (Δ_h 1/√π) √π, is another one"

    potential: Function = valley
    diffusion: float = 0.5
    axes: tuple[Axis, ...] = (Line(-1.8, 1.8, 18), Periodic(0.0, 2 * np.pi, 14))

    def measure(self, refine: bool) -> Sides:
        """The entries of the two matrices where they differ most."""
        return self._compare(1, refine)

    def control(self, refine: bool) -> Sides:
        """The same with 1/sqrt(pi) in the well."""
        return self._compare(-1, refine)

    def _compare(self, sign: int, refine: bool) -> Sides:
        grid = Grid(*self.axes).refine(1.5 if refine else 1.0)
        equation = FokkerPlanck(self.potential, self.diffusion)
        hamiltonian = matrices(equation, grid, SquareRoot())[1]
        twin = lattice_hamiltonian(grid, self.diffusion, gibbs_root(equation, grid) ** sign)
        return identity(hamiltonian, twin, 1e-14)


class LatticePictures(Theorem):
    """On one grid p by the generator and sqrt(pi) psi, psi by the lattice Hamiltonian, agree to 1e-11.

    **Arguments**: as for `LatticeTwin`; `start` a density; `times`, ascending.
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
        both = correspondence(equation, start, self.times, grid=grid, scheme=SquareRoot())
        return identity(both.density, gibbs_root(equation, grid).reshape(grid.shape) * np.asarray(both.wave), 1e-11)

    def control(self, refine: bool) -> Sides:
        """The same with D (1 + 0.8 sin(x_0 / 2)) in the generator, both sides by full matrices."""
        equation, grid = self._problem(refine)
        warmed = FokkerPlanck(self.potential, lambda x: self.diffusion * (1 + 0.8 * jnp.sin(x[0] / 2)))
        root, start = gibbs_root(equation, grid), density_on(grid, self.start).ravel()
        rates, flows = np.linalg.eig(matrices(warmed, grid, SquareRoot(), reversible=False)[0])
        levels, modes = np.linalg.eigh(lattice_hamiltonian(grid, self.diffusion, root))
        inside, amplitudes = np.linalg.solve(flows, start), modes.T @ (start / root)
        density = [(flows @ (np.exp(-t * rates) * inside)).real for t in self.times]
        waves = [modes @ (np.exp(-t * levels) * amplitudes) for t in self.times]
        return identity(np.stack(density), root * np.stack(waves), 1e-11)

    def _problem(self, refine: bool) -> tuple[FokkerPlanck, Grid]:
        return FokkerPlanck(self.potential, self.diffusion), Grid(*self.axes).refine(1.5 if refine else 1.0)

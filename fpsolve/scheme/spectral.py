"""`Spectral`: smooth bases on every axis; errors fall faster than any power of the spacing.

In the wave picture a potential enters as the exact quantum potential, axis by axis,

    V_i = (d_i U)^2 / (4 D) - d_i^2 U / 2,

which per node is sharper and four times cheaper than the factors; a `Legendre` axis keeps A = sqrt(D) (d - b/(2D)),
whose natural ends let no flux through. In the density picture every axis takes the flux J = b p - D dp/dx, for any
drift.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..equation import FokkerPlanck, QuantumPotential, ScoreHamiltonian, axis_wells
from ..grid import Absorbing, Grid, Legendre, sample_product
from .base import Equation, Scheme
from .basis import basis, check_axis, wavenumbers
from .tensor import Factor, FourierKinetic, Kinetic, MatrixKinetic, TensorOperator

# Nodes from which the FFT of an axis beats its matrix, by backend and bits: benchmarks/crossover.py. Accelerators are
# not measured.
FOURIER_FROM = {("cpu", 64): 192, ("cpu", 32): 384}
SINES_FROM = {("cpu", 64): 384, ("cpu", 32): 768}
UNMEASURED = 1024


class Spectral(Scheme):
    """Fourier on `Line` and `Periodic`, sines on `Absorbing`, Legendre polynomials on `Legendre`; kinds may be mixed.

    **Keeps**: H symmetric to rounding; mass and the Gibbs density to the accuracy of the space (`stats["mass_drift"]`
    tells); in the density picture mass to rounding. Positivity only to that accuracy. **Order**: spectral for smooth
    potentials, algebraic for a kink. **Cost**: one dense product an axis, n multiplications a point, or an FFT
    where that is measured faster.
    **Raises**: `ValueError` on a `Reflecting` axis.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-6.0, 6.0, 48))
    modes = fp.spectrum(fp.FokkerPlanck(fp.Harmonic()), grid, 3, scheme=fp.Spectral())
    ```
    """

    def check(self, equation: Equation, grid: Grid) -> None:
        """Refuse an axis that has no basis."""
        for axis in grid.axes:
            check_axis(axis)

    def build(self, equation: Equation, grid: Grid, t: Any, dtype: Any, reversible: bool) -> TensorOperator:
        """The operator at time t: the well form where sqrt(pi) exists, else the factors, which are also the flux."""
        if isinstance(equation, ScoreHamiltonian):
            return self.build(equation.sampler(), grid, t, dtype, False)
        if not isinstance(equation, FokkerPlanck):
            terms = tuple(_kinetic(equation, grid, i, dtype) for i in range(grid.ndim))
            well = grid.sample(lambda x: equation.energy(x, t)).astype(dtype)
            return TensorOperator(grid=grid, terms=terms, well=well, log_root=None)
        factored = [not reversible or isinstance(axis, Legendre) for axis in grid.axes]
        terms = tuple(
            _factor(equation, grid, i, t, dtype) if factored[i] else _kinetic(equation, grid, i, dtype)
            for i in range(grid.ndim)
        )
        well = None
        if not all(factored):
            exact = np.logical_not(factored)
            well = grid.sample(lambda x: jnp.sum(jnp.where(exact, axis_wells(equation, x, t), 0))).astype(dtype)
        log_root = equation.log_root(grid, t).astype(dtype) if reversible else None
        whole = reversible and not any(factored) and not equation.moves
        potential = QuantumPotential(equation, jnp.ones(())) if whole else None
        return TensorOperator(grid=grid, terms=terms, well=well, log_root=log_root, potential=potential)


def _kinetic(equation: Equation, grid: Grid, i: int, dtype: Any) -> Kinetic:
    axis = grid.axes[i]
    diffusion = equation.diffusions(jnp.zeros(grid.ndim))[i]
    odd = isinstance(axis, Absorbing)
    machine = jax.default_backend(), jnp.finfo(dtype).bits
    enough = (SINES_FROM if odd else FOURIER_FROM).get(machine, UNMEASURED)
    if not isinstance(axis, Legendre) and axis.n >= enough:
        return FourierKinetic((diffusion * jnp.asarray(wavenumbers(axis)) ** 2).astype(dtype), axis.n, odd)
    matrix = diffusion * jnp.asarray(basis(axis).kinetic(axis))
    return MatrixKinetic(matrix.astype(dtype), (diffusion * basis(axis).steepest ** 2).astype(dtype))


def _factor(equation: FokkerPlanck, grid: Grid, i: int, t: Any, dtype: Any) -> Factor:
    axis, faces = grid.axes[i], basis(grid.axes[i])
    positions = [jnp.asarray(faces.faces if j == i else a.nodes, dtype=float) for j, a in enumerate(grid.axes)]
    diffusion = sample_product(lambda x: equation.diffusions(x)[i], tuple(positions))
    drift = sample_product(lambda x: equation.drift(x, t)[i], tuple(positions))
    steepest = jnp.sqrt(jnp.max(diffusion)) * faces.steepest
    largest = (steepest + jnp.max(jnp.abs(drift) / jnp.sqrt(diffusion)) * faces.tallest / 2) ** 2
    cast = lambda array: jnp.asarray(array).astype(dtype)
    return Factor(
        derivative=cast(faces.derivative),
        interpolation=cast(faces.interpolation),
        node_weights=cast(axis.weights),
        face_weights=cast(faces.weights),
        diffusion=cast(diffusion),
        drift=cast(drift),
        largest=cast(largest),
    )

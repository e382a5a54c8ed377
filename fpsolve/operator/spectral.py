"""`Spectral`: smooth bases on every axis; errors fall faster than any power of the spacing.

In the wave picture a potential enters as the exact quantum potential, axis by axis,

    V_i = (d_i U)^2 / (4 D) - d_i^2 U / 2,

which per node is sharper and four times cheaper than the factors; a `Legendre` axis keeps A = sqrt(D) (d - b/(2D)),
whose natural ends let no flux through. In the density picture every axis takes the flux J = b p - D dp/dx, for any
drift.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..equation import Equation, FokkerPlanck, ScoreHamiltonian, axis_wells
from ..grid import Axis, Grid, sample_product
from .base import Samples, Scheme, log_sqrt_pi_of, sample_potential
from .basis import basis, check_axis, wavenumbers
from .tensor import Factor, FourierKinetic, Kinetic, MatrixKinetic, TensorOperator

# Nodes from which the FFT of an axis beats its matrix, by backend and bits. Measured on a processor by
# benchmarks/crossover.py, on an NVIDIA H200 by the rows `crossover-*` of benchmarks/accelerator.py (sines in float64 by
# their ratio to the rest in float32). Other backends take `UNMEASURED`.
FOURIER_FROM = {("cpu", 64): 192, ("cpu", 32): 384, ("gpu", 64): 1024, ("gpu", 32): 1024}
SINES_FROM = {("cpu", 64): 384, ("cpu", 32): 768, ("gpu", 64): 2048, ("gpu", 32): 1024}
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

    spectral: ClassVar[bool] = True

    def check(self, equation: Equation, grid: Grid) -> None:
        """Refuse an axis that has no basis."""
        for axis in grid.axes:
            check_axis(axis)

    def sample(self, equation: Equation, grid: Grid, t: Any, reversible: bool) -> Samples:
        """The quantum potential and log pi at the nodes where sqrt(pi) exists, else D and the drift at the faces."""
        if isinstance(equation, ScoreHamiltonian):
            return self.sample(equation.sampler(), grid, t, False)
        diffusions = equation.diffusions(jnp.zeros(grid.ndim))
        if not isinstance(equation, FokkerPlanck):
            well = sample_potential(equation, grid, t)
            return Samples(tuple(diffusions), (None,) * grid.ndim, well, None)
        # A Legendre axis keeps its factor: only the factor's natural ends let no flux through.
        factored = [not reversible or not axis.uniform for axis in grid.axes]
        faces = [_at_faces(equation, grid, i, t) if factored[i] else (diffusions[i], None) for i in range(grid.ndim)]
        well = None
        if not all(factored):
            exact = np.logical_not(factored)
            well = grid.sample(lambda x: jnp.sum(jnp.where(exact, axis_wells(equation, x, t), 0)))
        diffusion, slope = zip(*faces, strict=True)
        return Samples(diffusion, slope, well, equation.log_gibbs_on(grid, t) if reversible else None)

    def assemble(self, samples: Samples, grid: Grid, dtype: Any) -> TensorOperator:
        """A kinetic matrix or a factor for each axis."""
        terms = tuple(
            _kinetic(grid.axes[i], diffusion, dtype)
            if slope is None
            else _factor(grid.axes[i], diffusion, slope, dtype)
            for i, (diffusion, slope) in enumerate(zip(samples.diffusion, samples.slope, strict=True))
        )
        well = None if samples.well is None else samples.well.astype(dtype)
        log_sqrt_pi = None if samples.log_gibbs is None else log_sqrt_pi_of(samples.log_gibbs, grid).astype(dtype)
        return TensorOperator(grid=grid, terms=terms, well=well, log_sqrt_pi=log_sqrt_pi)


def _kinetic(axis: Axis, diffusion: Array, dtype: Any) -> Kinetic:
    odd = axis.boundary == "absorbing"
    machine = jax.default_backend(), jnp.finfo(dtype).bits
    enough = (SINES_FROM if odd else FOURIER_FROM).get(machine, UNMEASURED)
    if axis.uniform and axis.n >= enough:
        return FourierKinetic((diffusion * jnp.asarray(wavenumbers(axis)) ** 2).astype(dtype), axis.n, odd)
    matrix = diffusion * jnp.asarray(basis(axis).kinetic(axis))
    return MatrixKinetic(matrix.astype(dtype), (diffusion * basis(axis).steepest ** 2).astype(dtype))


def _at_faces(equation: FokkerPlanck, grid: Grid, i: int, t: Any) -> tuple[Array, Array]:
    """D_i and the drift b_i at the faces of axis i."""
    faces = basis(grid.axes[i]).faces
    positions = tuple(jnp.asarray(faces if j == i else a.nodes, dtype=float) for j, a in enumerate(grid.axes))
    diffusion = sample_product(lambda x: equation.diffusions(x)[i], positions)
    return diffusion, sample_product(lambda x: equation.drift(x, t)[i], positions)


def _factor(axis: Axis, diffusion: Array, drift: Array, dtype: Any) -> Factor:
    faces = basis(axis)
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

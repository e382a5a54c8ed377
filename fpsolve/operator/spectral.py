"""`Spectral`: smooth bases on every axis; errors decrease faster than any power of the
spacing.

In the wave picture a potential is represented by the exact quantum potential, axis by
axis,

    V_i = (d_i U)^2 / (4 D) - d_i^2 U / 2,

which for the same nodes is more accurate than the factors and four times cheaper. A
`Legendre` axis keeps the factor A = sqrt(D) (d - b/(2D)), whose natural ends let no
flux through. In the density picture every axis takes the flux J = b p - D dp/dx, for
any drift.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import is_concrete, raise_value_error
from ..core.program import sampling_program
from ..core.types import DType, Scalar
from ..equation import Equation, FokkerPlanck, ScoreHamiltonian, axis_potential_terms
from ..grid import Axis, Grid, sample_product
from .base import Samples, Scheme, log_sqrt_pi_of, sample_potential
from .basis import basis, check_axis, wavenumbers
from .constants import CONSTANTS
from .tensor import Factor, FourierKinetic, Kinetic, MatrixKinetic, TensorOperator


class Spectral(Scheme):
    """Fourier on `Line` and `Periodic`, sines on `Absorbing`, Legendre polynomials on
    `Legendre`; kinds may be mixed.

    **Keeps**: H symmetric to rounding; mass and the Gibbs density to the accuracy of
    the basis (`stats["mass_drift"]`); in the density picture mass to rounding.
    Positivity only to the accuracy of the basis. **Order**: spectral for smooth
    potentials, algebraic for a kink. **Cost**: one dense product an axis, n
    multiplications a point, or an FFT where that was measured to be faster.
    **Raises**: `ValueError` on a `Reflecting` axis.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-6.0, 6.0, 48))
    modes = fp.spectrum(fp.FokkerPlanck(fp.Harmonic()), grid, 3, scheme=fp.Spectral())
    ```
    """

    spectral: ClassVar[bool] = True
    samples_nodes: ClassVar[bool] = True

    def check(self, equation: Equation, grid: Grid) -> None:
        """Raise `ValueError` for an axis without a basis, or a vanishing diffusion."""
        for axis in grid.axes:
            check_axis(axis)
        # Traced values cannot be examined.
        if not is_concrete(equation):
            return
        diffusion = equation.diffusion
        # Numbers are examined by numpy; only a function is sampled, by a program.
        if callable(diffusion):
            vanishes = _vanishes(equation, grid)
        else:
            vanishes = np.any(np.asarray(diffusion) <= 0)
        if bool(vanishes):
            raise_value_error(
                "scheme",
                self,
                "the diffusion vanishes at a face, and a basis divides by it",
                "Use fp.ScharfetterGummel(), which takes any diffusion.",
            )

    def sample(
        self,
        equation: Equation,
        grid: Any,
        t: Scalar,
        reversible: bool,
    ) -> Samples:
        """The quantum potential and log pi at the nodes where sqrt(pi) exists, else D
        and the drift at the faces.
        """
        # A score Hamiltonian is sampled as the process whose drift is the score, which
        # has no known Gibbs density.
        if isinstance(equation, ScoreHamiltonian):
            return self.sample(equation.sampler(), grid, t, False)
        # Kinetic terms need a constant D, so its value at any point serves.
        diffusions = equation.diffusions(jnp.zeros(grid.ndim))
        if not isinstance(equation, FokkerPlanck):
            potential_term = sample_potential(equation, grid, t)
            return Samples(tuple(diffusions), (None,) * grid.ndim, potential_term, None)

        # A Legendre axis keeps its factor: only the factor's natural ends let no flux
        # through. Every other axis of a reversible process is represented by its part
        # of the quantum potential.
        factored = [not reversible or not axis.uniform for axis in grid.axes]
        faces = [
            _at_faces(equation, grid, i, t) if factored[i] else (diffusions[i], None)
            for i in range(grid.ndim)
        ]
        exact = np.logical_not(factored)

        def exact_potential(x: Array) -> Array:
            terms = axis_potential_terms(equation, x, t)
            return jnp.sum(jnp.where(exact, terms, 0))

        diffusion, slope = zip(*faces, strict=True)
        return Samples(
            diffusion=diffusion,
            slope=slope,
            potential_term=grid.sample(exact_potential) if np.any(exact) else None,
            log_gibbs=equation.log_gibbs_on(grid, t) if reversible else None,
        )

    def assemble(self, samples: Samples, grid: Grid, dtype: DType) -> TensorOperator:
        """A kinetic matrix or a factor for each axis."""
        terms = []
        for axis, diffusion, slope in zip(
            grid.axes, samples.diffusion, samples.slope, strict=True
        ):
            if slope is None:
                terms.append(_kinetic(axis, diffusion, dtype))
            else:
                terms.append(_factor(axis, diffusion, slope, dtype))
        potential_term = samples.potential_term
        if potential_term is not None:
            potential_term = potential_term.astype(dtype)
        log_sqrt_pi = None
        if samples.log_gibbs is not None:
            # Normalised in the precision of the samples, and only then rounded.
            log_sqrt_pi = log_sqrt_pi_of(samples.log_gibbs, grid).astype(dtype)
        return TensorOperator(
            grid=grid,
            terms=tuple(terms),
            potential_term=potential_term,
            log_sqrt_pi=log_sqrt_pi,
        )


@sampling_program
def _vanishes(equation: Equation, grid: Grid) -> Array:
    """Whether a diffusion that is a function is not positive at some face."""
    least = []
    for i in range(grid.ndim):
        positions = _face_positions(grid, i)
        along_axis = lambda x, i=i: equation.diffusions(x)[i]
        least.append(jnp.min(sample_product(along_axis, positions)))
    return jnp.min(jnp.stack(least)) <= 0


def _kinetic(axis: Axis, diffusion: Array, dtype: DType) -> Kinetic:
    """-D d^2/dx^2 by the form that is faster on this machine."""
    odd = axis.boundary == "absorbing"
    measured = CONSTANTS.sines_min_nodes if odd else CONSTANTS.fourier_min_nodes
    machine = jax.default_backend(), jnp.finfo(dtype).bits
    min_nodes = measured.get(machine, CONSTANTS.unmeasured_min_nodes)
    if axis.uniform and axis.n >= min_nodes:
        symbol = diffusion * jnp.asarray(wavenumbers(axis)) ** 2
        return FourierKinetic(symbol.astype(dtype), axis.n, odd)
    own = basis(axis)
    matrix = diffusion * jnp.asarray(own.kinetic(axis))
    highest = diffusion * own.derivative_norm**2
    return MatrixKinetic(matrix.astype(dtype), highest.astype(dtype))


def _at_faces(
    equation: FokkerPlanck,
    grid: Grid,
    i: int,
    t: Scalar,
) -> tuple[Array, Array]:
    """D_i and the drift b_i at the faces of axis i."""
    positions = _face_positions(grid, i)
    diffusion = sample_product(lambda x: equation.diffusions(x)[i], positions)
    return diffusion, sample_product(lambda x: equation.drift(x, t)[i], positions)


def _face_positions(grid: Grid, i: int) -> tuple[Array, ...]:
    """The nodes of all axes, with the faces of the basis on axis i."""
    positions = list(grid.nodes)
    positions[i] = jnp.asarray(basis(grid.axes[i]).faces, dtype=float)
    return tuple(positions)


def _factor(axis: Axis, diffusion: Array, drift: Array, dtype: DType) -> Factor:
    """A = sqrt(D) (G - b/(2D) M) along one axis."""
    own = basis(axis)
    # The norm of A is at most that of its two terms together.
    derivative_norm = jnp.sqrt(jnp.max(diffusion)) * own.derivative_norm
    largest_drift = jnp.max(jnp.abs(drift) / jnp.sqrt(diffusion))
    drift_norm = largest_drift * own.interpolation_norm / 2
    largest = (derivative_norm + drift_norm) ** 2
    # D k^2 / 2 + b^2 / (2 D), for the highest wavenumber k.
    poisson_rate = derivative_norm**2 / 2 + 2 * drift_norm**2
    cast = lambda array: jnp.asarray(array).astype(dtype)
    return Factor(
        derivative=cast(own.derivative),
        interpolation=cast(own.interpolation),
        node_weights=cast(axis.weights),
        face_weights=cast(own.weights),
        diffusion=cast(diffusion),
        drift=cast(drift),
        largest=cast(largest),
        poisson_rate=cast(poisson_rate),
    )

"""`fp.Dense`: the exponential of the whole matrix, for small grids: the reference of
all other methods.

    symmetric H = Q diag(E) Q^T:   exp(-s e^{iw} H) = Q diag(exp(-s e^{iw} E)) Q^T
    otherwise:                     exp(sL) by scaling and squaring

An eigenvalue of H errs by eps |H|, which a long time s multiplies: beyond s = 1 / (eps
|H|) nothing is left of a slow mode. With H = A^T A a small level is the square of a
singular value of A, which errs by eps |A|: 2 eps sqrt(E |H|) for the level, so that
slow relaxation over a barrier keeps its digits.
"""

import dataclasses
import math

import jax.numpy as jnp
from jaxtyping import Array

from ..core.machine import machine
from ..core.memory import check_memory
from ..operator import Operator
from ..operator.base import dense
from ..operator.tensor import Factor, TensorOperator
from .base import (
    Keeps,
    Picture,
    ProblemKind,
    Propagator,
    Reason,
    Step,
    WorkEstimate,
    node_weights,
)
from .constants import CONSTANTS
from .full_matrix import (
    GeneralMatrix,
    SymmetricMatrix,
    by_decomposition,
    by_exponentials,
    symmetric_matrix,
)
from .relaxing_density import RelaxingDensity, by_relaxation


class Dense(Propagator):
    """exp of the full matrix, by eigendecomposition (symmetric) or scaling and squaring
    (any drift).

    **Cost**: size^3 operations and size^2 numbers, once for a symmetric operator, once
    a step otherwise. **Raises**: `ValueError` if the matrix would not fit in memory.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Legendre(0.0, 1.0, 24))
    equation = fp.FokkerPlanck(force=lambda x: 1.0 + 0 * x)
    solution = fp.evolve(equation, lambda x: 1.0, [0.1], grid=grid, method=fp.Dense())
    ```
    """

    def check_size(self, size: int) -> None:
        """Raise `ValueError` for a size whose matrix would not fit in memory."""
        check_memory(
            "Dense on a grid",
            (size, size),
            4,
            "Use fp.Chebyshev() or fp.Uniformization(): no matrix.",
        )

    def unsupported(self, kind: ProblemKind) -> Reason | None:
        """Nothing. **Raises** `ValueError` if the matrix would not fit in memory."""
        self.check_size(kind.grid.size)
        return None

    def cost(self, kind: ProblemKind, work: WorkEstimate) -> float:
        """One decomposition of a symmetric matrix, or an exponential for each time of
        one that is not.
        """
        # In float32 an eigendecomposition loses half of the digits of a wave's tails.
        if jnp.finfo(kind.dtype).bits == 32:
            return math.inf
        # A symmetric matrix is decomposed once for all output times.
        size = kind.grid.size
        if kind.symmetric:
            row, cube = machine().decomposition
            return row * size + cube * size**3
        product = CONSTANTS.exponential_products * machine().operation * size**3
        return product * max(work.times, 1)

    def keeps(self, spectral: bool) -> Keeps:
        """Mass and the Gibbs density to rounding, positivity to its error."""
        return Keeps(
            mass="rounding",
            positivity="error",
            gibbs="rounding",
            symmetry="rounding",
            order="tol",
            calls="1",
        )

    def prepare(
        self, operator: Operator, picture: Picture
    ) -> SymmetricMatrix | GeneralMatrix | RelaxingDensity:
        """The matrix, or those of both forms of a process."""
        grid = operator.grid
        self.check_size(grid.size)
        if picture == Picture.DENSITY and operator.log_sqrt_pi is None:
            weights = node_weights(operator)
            generator = dense(operator.generator, grid, weights.dtype)
            general = GeneralMatrix(generator, weights)
            # Without a wave of the same process the density has no other form.
            if not isinstance(operator, TensorOperator) or operator.counterpart is None:
                return general
            # The wave has the factors of the density beside its exact potential term.
            counterpart = dataclasses.replace(
                operator.counterpart, counterpart=operator
            )
            wave = symmetric_matrix(counterpart, Picture.GIBBS_WAVE)
            factors = (term for term in operator.terms if isinstance(term, Factor))
            diffusion = [jnp.min(factor.diffusion) for factor in factors]
            return RelaxingDensity(general, wave, jnp.stack(diffusion))
        return symmetric_matrix(operator, picture)

    def apply(
        self,
        prepared: SymmetricMatrix | GeneralMatrix | RelaxingDensity,
        field: Array,
        lengths: Array,
        tol: Array,
        wick: float,
    ) -> Step:
        """Every length from one decomposition, or from one exponential each."""
        if isinstance(prepared, GeneralMatrix):
            return by_exponentials(prepared, field, lengths)
        if isinstance(prepared, RelaxingDensity):
            return by_relaxation(prepared, field, lengths, tol)
        return by_decomposition(prepared, field, lengths, wick)

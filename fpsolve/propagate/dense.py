"""`fp.Dense`: the exponential of the whole matrix, for small grids: the reference of all other methods.

symmetric H = Q diag(E) Q^T:   exp(-s e^{iw} H) = Q diag(exp(-s e^{iw} E)) Q^T
otherwise:                     exp(sL) by scaling and squaring (`jax.scipy.linalg.expm`)
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.machine import machine
from ..core.memory import check_memory
from ..operator import Operator
from ..operator.base import dense
from .base import (
    Keeps,
    Picture,
    ProblemKind,
    Propagator,
    Reason,
    Step,
    WorkEstimate,
    in_turn,
    node_weights,
    split_stationary,
)
from .constants import CONSTANTS


class _Symmetric(eqx.Module):
    """A symmetric problem.

    - `matrix` `(n, n)`: H in the orthonormal basis sqrt(w) u
    - `scale` `(n,)`: field = scale * vector; sqrt(pi / w) for densities, 1 / sqrt(w) for waves
    """

    operator: Operator
    matrix: Array
    scale: Array
    picture: Picture = eqx.field(static=True)


class _General(eqx.Module):
    """A problem whose generator is not symmetric: its `matrix` `(n, n)`."""

    matrix: Array


class Dense(Propagator):
    """exp of the full matrix, by eigendecomposition (symmetric) or scaling and squaring (any drift).

    **Cost**: size^3 operations and size^2 numbers, once for a symmetric operator, once a step otherwise. **Raises**:
    `ValueError` if the matrix would not fit in memory.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Legendre(0.0, 1.0, 24))
    equation = fp.FokkerPlanck(force=lambda x: 1.0 + 0 * x)
    solution = fp.evolve(equation, lambda x: 1.0, [0.1], grid=grid, method=fp.Dense())
    ```
    """

    def check_size(self, size: int) -> None:
        """Raise `ValueError` for so many points that the matrix would not fit in memory."""
        check_memory("Dense on a grid", (size, size), 4, "Use fp.Chebyshev() or fp.Uniformization(): no matrix.")

    def unsupported(self, kind: ProblemKind) -> Reason | None:
        """Nothing. **Raises** `ValueError` for a grid whose matrix would not fit in memory."""
        self.check_size(kind.grid.size)
        return None

    def cost(self, kind: ProblemKind, work: WorkEstimate) -> float:
        """One decomposition of a symmetric matrix, or an exponential for each time of one that is not."""
        # In float32 an eigendecomposition loses half of the digits of a wave's tails.
        if jnp.finfo(kind.dtype).bits == 32:
            return math.inf
        # A symmetric matrix is decomposed once for all output times.
        size = kind.grid.size
        if kind.symmetric:
            row, cube = machine().decomposition
            return row * size + cube * size**3
        return CONSTANTS.exponential_products * machine().operation * size**3 * max(work.times, 1)

    def keeps(self, spectral: bool) -> Keeps:
        """Mass and the Gibbs density to rounding, positivity to its error."""
        return Keeps("rounding", "error", "rounding", "rounding", "tol", "1")

    def prepare(self, operator: Operator, picture: Picture) -> _Symmetric | _General:
        """The matrix."""
        grid = operator.grid
        self.check_size(grid.size)
        weights = node_weights(operator)
        dtype = weights.dtype
        log_sqrt_pi = operator.log_sqrt_pi
        if picture == Picture.DENSITY and log_sqrt_pi is None:
            return _General(dense(operator.generator, grid, dtype))
        sqrt_weights = jnp.sqrt(weights).ravel()
        matrix = sqrt_weights[:, None] * dense(operator.hamiltonian, grid, dtype) / sqrt_weights
        if log_sqrt_pi is None or picture != Picture.DENSITY:
            scale = 1 / sqrt_weights
        else:
            scale = jnp.exp(log_sqrt_pi).ravel() / sqrt_weights
        return _Symmetric(operator, (matrix + matrix.T) / 2, scale, picture)

    def apply(self, prepared: Any, field: Array, lengths: Array, tol: Array, wick: float) -> Step:
        """Every length from one decomposition, or from one exponential each."""
        if isinstance(prepared, _General):
            return _by_exponentials(prepared, field, lengths)
        return _by_decomposition(prepared, field, lengths, wick)


def _by_exponentials(prepared: _General, field: Array, lengths: Array) -> Step:
    """One exponential of the matrix for each length, from the one before."""
    epsilon = jnp.finfo(field.real.dtype).eps
    calls = jnp.asarray(field.size, field.real.dtype)

    def step(u: Array, length: Array) -> Step:
        # 64 squarings are enough for any length in float64.
        exponential = jax.scipy.linalg.expm(length * prepared.matrix, max_squarings=64)
        # Scaling and squaring loses digits in proportion to the norm of the matrix.
        norm = jnp.maximum(1, length * jnp.max(jnp.sum(jnp.abs(prepared.matrix), axis=0)))
        return Step((exponential @ u.ravel()).reshape(u.shape), calls, epsilon * norm)

    return in_turn(step, field, lengths)


def _by_decomposition(prepared: _Symmetric, field: Array, lengths: Array, wick: float) -> Step:
    """All lengths from the eigenvectors of H."""
    epsilon = jnp.finfo(field.real.dtype).eps
    calls = jnp.asarray(field.size, field.real.dtype)
    stationary, rest = split_stationary(prepared.operator, prepared.picture, field)
    vector = rest.ravel()
    # Where sqrt(pi) underflows to 0, the density is 0 as well.
    wave = jnp.where(vector == 0, 0, vector / jnp.where(vector == 0, 1, prepared.scale))
    rotation = 1.0 if wick == 0 else jnp.exp(1j * wick)
    after = symmetric_exponential(prepared.matrix, rotation * lengths, wave)
    rest = (prepared.scale * after).reshape(-1, *field.shape)
    # Rounding puts a little of the stationary part back into the rest.
    rest = jax.vmap(lambda u: split_stationary(prepared.operator, prepared.picture, u)[1])(rest)
    # Eight roundings of the wave: a free choice.
    return Step(stationary + rest, calls, 8 * epsilon * jnp.linalg.norm(wave) * jnp.ones_like(lengths))


@jax.custom_jvp
def symmetric_exponential(matrix: Array, times: Array, vector: Array) -> Array:
    """exp(-t matrix) vector for each of `times` `(T,)`, `(T, n)`; its derivative is finite at equal eigenvalues too."""
    values, vectors = jnp.linalg.eigh(matrix)
    return (jnp.exp(-times[:, None] * values) * (vectors.T @ vector)) @ vectors.T


@symmetric_exponential.defjvp
def _(primals: Any, tangents: Any) -> Any:
    # Daleckii-Krein: the derivative is the Hadamard product with divided differences of the exponential.
    matrix, times, vector = primals
    values, vectors = jnp.linalg.eigh(matrix)
    inside = vectors.T @ vector
    turned = vectors.T @ tangents[0] @ vectors
    gap = values[:, None] - values

    def one(time: Array, change: Array) -> tuple[Array, Array]:
        decay = jnp.exp(-time * values)
        # At equal levels the difference quotient is 0 / 0: there it is the derivative.
        near = jnp.abs(time * gap) < CONSTANTS.equal_levels
        slope = (decay[:, None] - decay) / jnp.where(near, 1, gap)
        divided = jnp.where(near, -time * jnp.exp(-time * (values[:, None] + values) / 2), slope)
        by_matrix = (divided * turned) @ inside
        moved = by_matrix - change * values * decay * inside + decay * (vectors.T @ tangents[2])
        return decay * inside, moved

    after, moved = jax.vmap(one)(times, tangents[1])
    return after @ vectors.T, moved @ vectors.T

"""The exponential of the whole matrix: the reference that everything else is measured against, for small grids.

symmetric H = Q diag(E) Q^T:   exp(-s e^{iw} H) = Q diag(exp(-s e^{iw} E)) Q^T
otherwise:                     exp(sL) by scaling and squaring (jax.scipy.linalg.expm)
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

EXPONENTIAL = 50  # products of matrices that an exponential takes, some 25 of them for the squarings (an estimate)
SMALL = 256  # points, up to which the exponential of a matrix that is not symmetric is the quickest (measured)


class _Symmetric(eqx.Module):
    operator: Operator
    matrix: Array  # of H in the orthonormal basis sqrt(w) u
    scale: Array  # field = scale * vector: sqrt(pi / w) for densities, 1 / sqrt(w) for waves
    picture: Picture = eqx.field(static=True)


class _General(eqx.Module):
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
        """Refuse a grid of so many points that the matrix would not fit in memory."""
        check_memory("Dense on a grid", (size, size), 4, "Use fp.Chebyshev() or fp.Uniformization(): no matrix.")

    def unsupported(self, kind: ProblemKind) -> Reason | None:
        """A grid whose matrix would not fit in memory is refused here."""
        self.check_size(kind.grid.size)
        return None

    def cost(self, kind: ProblemKind, work: WorkEstimate) -> float:
        """One decomposition of a symmetric matrix, or an exponential for each time of one that is not."""
        if jnp.finfo(kind.dtype).bits == 32:  # an eigendecomposition loses half of the digits of a wave's tails
            return math.inf
        size = kind.grid.size
        if kind.symmetric:
            row, cube = machine().decomposition
            return row * size + cube * size**3
        return EXPONENTIAL * machine().operation * size**3 * max(work.times, 1)

    def keeps(self, spectral: bool) -> Keeps:
        """Mass and the Gibbs density to rounding, signs to its error."""
        return Keeps("rounding", "error", "rounding", "rounding", "tol", "1")

    def prepare(self, operator: Operator, picture: Picture) -> Any:
        """The matrix."""
        grid = operator.grid
        self.check_size(grid.size)
        weights = node_weights(operator)
        dtype = weights.dtype
        log_sqrt_pi = operator.log_sqrt_pi
        if picture == Picture.DENSITY and log_sqrt_pi is None:
            return _General(dense(operator.generator, grid, dtype))
        root = jnp.sqrt(weights).ravel()
        matrix = root[:, None] * dense(operator.hamiltonian, grid, dtype) / root
        scale = 1 / root if log_sqrt_pi is None or picture != Picture.DENSITY else jnp.exp(log_sqrt_pi).ravel() / root
        return _Symmetric(operator, (matrix + matrix.T) / 2, scale, picture)

    def apply(self, prepared: Any, field: Array, lengths: Array, tol: Array, wick: float) -> Step:
        """Every length from one decomposition, or from one exponential each."""
        epsilon, calls = jnp.finfo(field.real.dtype).eps, jnp.asarray(field.size, field.real.dtype)
        if isinstance(prepared, _General):

            def step(u: Array, length: Array) -> Step:
                exponential = jax.scipy.linalg.expm(length * prepared.matrix, max_squarings=64)
                norm = jnp.maximum(1, length * jnp.max(jnp.sum(jnp.abs(prepared.matrix), axis=0)))
                return Step((exponential @ u.ravel()).reshape(u.shape), calls, epsilon * norm)

            return in_turn(step, field, lengths)
        still, rest = split_stationary(prepared.operator, prepared.picture, field)
        vector = rest.ravel()
        wave = jnp.where(vector == 0, 0, vector / jnp.where(vector == 0, 1, prepared.scale))
        rotation = 1.0 if wick == 0 else jnp.exp(1j * wick)
        after = symmetric_exponential(prepared.matrix, rotation * lengths, wave)
        rest = (prepared.scale * after).reshape(-1, *field.shape)
        rest = jax.vmap(lambda u: split_stationary(prepared.operator, prepared.picture, u)[1])(rest)
        return Step(still + rest, calls, 8 * epsilon * jnp.linalg.norm(wave) * jnp.ones_like(lengths))


@jax.custom_jvp
def symmetric_exponential(matrix: Array, times: Array, vector: Array) -> Array:
    """exp(-t matrix) vector for each of `times` `(T,)`: `(T, n)`; its derivative is finite at equal eigenvalues."""
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
        near = jnp.abs(time * gap) < 1e-8
        slope = (decay[:, None] - decay) / jnp.where(near, 1, gap)
        divided = jnp.where(near, -time * jnp.exp(-time * (values[:, None] + values) / 2), slope)
        inner = (divided * turned) @ inside
        moved = inner - change * values * decay * inside + decay * (vectors.T @ tangents[2])
        return decay * inside, moved

    after, moved = jax.vmap(one)(times, tangents[1])
    return after @ vectors.T, moved @ vectors.T

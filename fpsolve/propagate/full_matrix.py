"""The whole matrix of a problem, and what its exponential does to a field.

    symmetric H = Q diag(E) Q^T:   exp(-s e^{iw} H) = Q diag(exp(-s e^{iw} E)) Q^T
    otherwise:                     exp(sL) by scaling and squaring
                                   (`jax.scipy.linalg.expm`)

H stands in the orthonormal basis sqrt(w) u, in which it is a symmetric matrix.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..operator import Operator
from ..operator.amplitudes import amplitudes
from ..operator.base import dense, has_stationary_state
from ..operator.tensor import TensorOperator
from .base import Picture, Step, in_turn, node_weights, sizes, split_stationary
from .constants import CONSTANTS
from .symmetric_exponential import symmetric_exponential


class SymmetricMatrix(eqx.Module):
    """A symmetric problem.

    - `matrix` `(n, n)`: H in the orthonormal basis sqrt(w) u
    - `factor` `(faces, n)`: A of H = A^T A in this basis, or None where it is not known
    - `scale` `(n,)`: field = scale * vector; sqrt(pi / w) for densities, 1 / sqrt(w)
      for waves
    """

    operator: Operator
    matrix: Array
    factor: Array | None
    scale: Array
    picture: Picture = eqx.field(static=True)


class GeneralMatrix(eqx.Module):
    """A problem whose generator is not symmetric: its `matrix` `(n, n)`, and the
    `weights` of the nodes `(*shape)`.
    """

    matrix: Array
    weights: Array


def symmetric_matrix(operator: Operator, picture: Picture) -> SymmetricMatrix:
    """H in the orthonormal basis, with its factor where that is known."""
    sqrt_weights = jnp.sqrt(node_weights(operator)).ravel()
    log_sqrt_pi = operator.log_sqrt_pi
    hamiltonian = dense(operator.hamiltonian, operator.grid, sqrt_weights.dtype)
    matrix = sqrt_weights[:, None] * hamiltonian / sqrt_weights
    if log_sqrt_pi is None or picture != Picture.DENSITY:
        scale = 1 / sqrt_weights
    else:
        scale = jnp.exp(log_sqrt_pi).ravel() / sqrt_weights
    # Rounding makes the matrix a little asymmetric.
    return SymmetricMatrix(
        operator=operator,
        matrix=(matrix + matrix.T) / 2,
        factor=_factor(operator, sqrt_weights),
        scale=scale,
        picture=picture,
    )


def _factor(operator: Operator, sqrt_weights: Array) -> Array | None:
    """A of H = A^T A `(faces, n)` in the orthonormal basis, where A is known and no
    potential term is beside it.
    """
    factored: Any = operator
    if isinstance(operator, TensorOperator) and not operator.is_factored:
        factored = operator.counterpart
    if factored is None or factored.potential_term is not None:
        return None
    # The fields of the orthonormal basis.
    identity = jnp.diag(1 / sqrt_weights)
    identity = identity.reshape(-1, *operator.grid.shape)
    return amplitudes(factored, identity).T


def by_exponentials(prepared: GeneralMatrix, field: Array, lengths: Array) -> Step:
    """One exponential of the matrix for each length, from the one before."""
    epsilon = jnp.finfo(field.real.dtype).eps
    calls = jnp.asarray(field.size, field.real.dtype)

    def mass(u: Array) -> Array:
        return jnp.sum(prepared.weights * jnp.abs(u))

    def step(u: Array, length: Array) -> Step:
        # 64 squarings are enough for any length in float64.
        exponential = jax.scipy.linalg.expm(length * prepared.matrix, max_squarings=64)
        # Scaling and squaring loses digits in proportion to the norm of the matrix.
        column_sums = jnp.sum(jnp.abs(prepared.matrix), axis=0)
        norm = jnp.maximum(1, length * jnp.max(column_sums))
        after = (exponential @ u.ravel()).reshape(u.shape)
        # No process makes int |p| dx grow. A basis that does not resolve the drift may,
        # without bound in a long time.
        growth = mass(after) / mass(u) - 1
        unstable = jnp.where(growth > CONSTANTS.unstable_growth, growth, 0)
        return Step(after, calls, epsilon * norm + unstable)

    return in_turn(step, field, lengths)


def by_decomposition(
    prepared: SymmetricMatrix, field: Array, lengths: Array, wick: float
) -> Step:
    """All lengths from the eigenvectors of H."""
    calls = jnp.asarray(field.size, field.real.dtype)
    stationary, rest = split_stationary(prepared.operator, prepared.picture, field)
    vector = rest.ravel()
    # Where sqrt(pi) underflows to 0, the density is 0 as well.
    is_zero = vector == 0
    wave = jnp.where(is_zero, 0, vector / jnp.where(is_zero, 1, prepared.scale))
    rotation = 1.0 if wick == 0 else jnp.exp(1j * wick)
    log_sqrt_pi = prepared.operator.log_sqrt_pi
    ground = None
    if log_sqrt_pi is not None and has_stationary_state(prepared.operator):
        sqrt_weights = jnp.sqrt(node_weights(prepared.operator)).ravel()
        ground = jnp.exp(log_sqrt_pi).ravel() * sqrt_weights
    after, lost = symmetric_exponential(
        prepared.matrix, prepared.factor, ground, rotation * lengths, wave
    )
    rest = (prepared.scale * after).reshape(-1, *field.shape)

    # Rounding puts a little of the stationary part back into the rest.
    def without_stationary(u: Array) -> Array:
        return split_stationary(prepared.operator, prepared.picture, u)[1]

    rest = jax.vmap(without_stationary)(rest)
    # Without a stationary state the field itself decays: the error is relative to what
    # is left of it.
    if ground is None:
        left = sizes(prepared.operator, prepared.picture, rest)
        lost = jnp.where(left > 0, lost / jnp.where(left > 0, left, 1), lost)
    return Step(stationary + rest, calls, lost)

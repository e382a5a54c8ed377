"""The separable part of a moving Hamiltonian: its eigenvectors on each axis, and
transforms to and from them.

    E = sum_i h_i,      h_i = K_i + v_i(x_i),      h_i q_a = e_a q_a

K_i is the kinetic matrix of axis i, `(n_i, n_i)`. v_i is the potential term averaged
over the other axes, with the marginals of sqrt(pi) as weights, or those of |psi| where
there is no sqrt(pi). A field `(*shape)` is transformed to its coefficients in the
products of eigenvectors by one matrix product an axis, in which exp(-t E) is a
multiplication.

Reference: Bacic and Light, Annu. Rev. Phys. Chem. 40 (1989) 469.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.types import DType, Scalar
from ..operator.tensor import Kinetic, TensorOperator
from ..propagate.base import Picture
from .problem import Problem


class Frame(NamedTuple):
    """The eigenvectors of every h_i, and the eigenvalues of their sum.

    - `vectors`: for each axis, eigenvectors in columns `(n_i, n_i)`, or the lowest of
      them `(n_i, k_i)`
    - `energies`: the sums of one eigenvalue an axis, above the lowest sum, `(*shape)`
      or `(*ranks)`
    - `lowest`: the lowest sum
    - `separable_potential`: sum_i v_i, `(*shape)`
    """

    vectors: tuple[Array, ...]
    energies: Array
    lowest: Array
    separable_potential: Array


def separable_frame(
    problem: Problem,
    kinetic: list[Array],
    potential_term: Array,
    field: Array,
    t: Array,
) -> Frame:
    """The frame of a potential term `(*shape)` at time t; `field` is the state. It is a
    constant to derivatives.
    """
    if problem.picture is Picture.GIBBS_WAVE:
        sqrt_pi = jnp.exp(problem.log_sqrt_pi(t, potential_term.dtype))
        weight = sqrt_pi * jnp.ones_like(potential_term)
    else:
        weight = jnp.abs(field)
    d = potential_term.ndim
    # Averages are weighted by where the wave is, so that a wall that it does not reach
    # has no effect on E.
    marginals = [_marginal(weight, i) for i in range(d)]
    # The mean over all axes.
    mean = functools.reduce(
        lambda u, marginal: jnp.tensordot(marginal, u, 1), marginals, potential_term
    )
    levels, vectors = [], []
    separable_potential = jnp.zeros_like(potential_term)
    energies = jnp.zeros_like(potential_term)
    for i, matrix in enumerate(kinetic):
        average = jnp.moveaxis(potential_term, i, -1)
        for marginal in marginals[:i] + marginals[i + 1 :]:
            average = jnp.tensordot(marginal, average, 1)
        # Every average contains the mean once, so that their sum would contain it d
        # times instead of once.
        average = average - mean * (d - 1) / d
        small = (matrix + matrix.T) / 2 + jnp.diag(average)
        # This makes each decomposition depend on the one before it. Under `vmap` XLA
        # would run the batches of two axes at once, and they would wait for each other
        # on a pool of two threads.
        small = small + 0 * sum(levels)
        small = jax.lax.stop_gradient(small)
        values, columns = jnp.linalg.eigh(small, symmetrize_input=False)
        levels.append(values[0])
        vectors.append(columns)
        energies = energies + along_axis(values - values[0], i, d)
        separable_potential = separable_potential + along_axis(average, i, d)
    lowest = sum(levels, jnp.zeros((), potential_term.dtype))
    frame = Frame(tuple(vectors), energies, lowest, separable_potential)
    return jax.lax.stop_gradient(frame)


def kinetic_matrices(problem: Problem, t: Scalar, dtype: DType) -> list[Array]:
    """K_i `(n_i, n_i)` of every axis, for a problem that is `collocated`."""
    operator = problem.at(t, dtype)
    assert isinstance(operator, TensorOperator)
    matrices = []
    for term in operator.terms:
        assert isinstance(term, Kinetic)
        matrices.append(term.matrix)
    return matrices


def _marginal(weight: Array, i: int) -> Array:
    """The sum of a weight over all axes but i, of sum 1, `(n_i,)`."""
    # The weights of the grid are left out: `collocated` problems have equal cells.
    others = tuple(j for j in range(weight.ndim) if j != i)
    marginal = jnp.sum(weight, others)
    return marginal / jnp.sum(marginal)


def keep_lowest(frame: Frame, ranks: tuple[int, ...]) -> Frame:
    """The frame with the lowest `ranks` functions of the axes only; () keeps all."""
    if not ranks:
        return frame
    vectors = []
    for columns, rank in zip(frame.vectors, ranks, strict=True):
        # `eigh` returns the eigenvalues in ascending order.
        vectors.append(columns[:, :rank])
    energies = frame.energies[tuple(slice(k) for k in ranks)]
    return frame._replace(vectors=tuple(vectors), energies=energies)


def to_frame(frame: Frame, fields: Array) -> Array:
    """The coefficients of fields, whose axes are counted as in `apply_matrix`."""
    for i, vectors in enumerate(frame.vectors):
        fields = apply_matrix(vectors.T, fields, i, len(frame.vectors))
    return fields


def from_frame(frame: Frame, coefficients: Array) -> Array:
    """The fields of coefficients."""
    for i, vectors in enumerate(frame.vectors):
        coefficients = apply_matrix(vectors, coefficients, i, len(frame.vectors))
    return coefficients


def apply_matrix(matrix: Array, u: Array, axis: int, ndim: int) -> Array:
    """A matrix times `u` along an axis of the grid, for fields `(n_1, ..., n_d)` or
    `(n_1, points, n_2, ..., n_d)`.
    """
    position = axis if axis == 0 else axis + u.ndim - ndim
    # Along the last axis the fields are rows of a matrix already, and no transposition
    # is needed.
    if position == u.ndim - 1 and position > 0:
        return u @ matrix.T
    image = jnp.tensordot(matrix, u, (1, position))
    return jnp.moveaxis(image, 0, position)


def along_axis(values: Array, i: int, d: int) -> Array:
    """`values` `(n_i,)` shaped to multiply or add to fields of d axes along axis i."""
    return values.reshape(-1, *(1,) * (d - 1 - i))

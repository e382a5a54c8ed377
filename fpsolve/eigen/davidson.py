"""A look for levels that a set of eigenvectors has missed: the method of Davidson from
a few random vectors.

    V <- V, T (H x - x E) made orthonormal to V and to the known vectors,
    x, E <- the lowest Ritz pairs of V

The basis keeps every direction, so that a dozen rounds of two vectors show a missed
level. A round costs the products of these two vectors, where a round of `lobpcg` costs
those of all wanted ones, and the program of a round is a third as long, since nothing
is restarted or combined.

Reference: Davidson, J. Comput. Phys. 17 (1975) 87; Saad, Numerical Methods for Large
Eigenvalue Problems, chapter 8.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .lobpcg import ritz_rows
from .orthonormal_blocks import orthonormal, product


class _State(NamedTuple):
    """The state between two rounds; m is the number of vectors."""

    basis: Array  # orthonormal rows, those of later rounds still zero, (rounds m, size)
    images: Array  # H times the basis
    new_rows: Array  # the next rows of the basis, (m, size)
    vectors: Array  # the lowest Ritz vectors, (m, size)


def davidson(
    action: Callable[[Array], Array],
    precondition: Callable[[Array], Array],
    start: Array,
    known: Array,
    rounds: int,
) -> Array:
    """The lowest Ritz vectors `(m, size)` that are orthogonal to `known`, after some
    rounds from the rows of `start`.

    **Arguments**: `action`, H on rows, symmetric in the plain dot product;
    `precondition`, T on rows; `start` `(m, size)`; `known` `(j, size)`, orthonormal.
    **Cost**: a round takes a product and a preconditioning of m vectors; the basis
    takes `2 rounds m size` numbers of memory.
    """
    m, size = start.shape
    zeros = jnp.zeros((rounds * m, size), start.dtype)

    def one_round(i: Array, state: _State) -> _State:
        put = jax.lax.dynamic_update_slice_in_dim
        first_row = i * m
        basis = put(state.basis, state.new_rows, first_row, 0)
        images = put(state.images, action(state.new_rows), first_row, 0)
        # Rows of later rounds are still zero, and take no part.
        filled = jnp.any(basis != 0, axis=1)
        mix = ritz_rows(product(basis, images.T), filled)[:m]
        vectors = product(mix, basis)
        images_of_vectors = product(mix, images)
        values = jnp.sum(vectors * images_of_vectors, axis=1)
        residuals = images_of_vectors - values[:, None] * vectors
        new_rows = orthonormal(precondition(residuals), (basis, known))
        return _State(basis, images, new_rows, vectors)

    first = _State(zeros, zeros, orthonormal(start, (known,)), start)
    return jax.lax.fori_loop(0, rounds, one_round, first).vectors

"""The lowest modes from the whole matrix: the reference, for small grids."""

import jax.numpy as jnp
from jaxtyping import Array

from ..core.types import DType
from ..operator import Operator
from ..operator.base import dense


def dense_modes(operator: Operator, k: int, dtype: DType) -> Array:
    """The k lowest modes of H, `(k, *shape)`, orthonormal in the grid's weights.
    **Cost**: size^3.
    """
    grid = operator.grid
    # H is symmetric in the weights; between their roots it is symmetric in the plain
    # dot product, as eigh needs it.
    sqrt_weights = jnp.sqrt(grid.weights.astype(dtype)).ravel()
    hamiltonian = dense(operator.hamiltonian, grid, dtype)
    matrix = sqrt_weights[:, None] * hamiltonian / sqrt_weights

    _, vectors = jnp.linalg.eigh((matrix + matrix.T) / 2)
    columns = vectors[:, :k] / sqrt_weights[:, None]
    return columns.T.reshape(k, *grid.shape)

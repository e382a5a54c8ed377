"""A psi on all faces in one row, in whose plain dot product <psi, A^T A psi> = |A
psi|^2.
"""

import jax.numpy as jnp
from jaxtyping import Array

from .edges import EdgeOperator
from .tensor import TensorOperator


def amplitudes(factored: EdgeOperator | TensorOperator, waves: Array) -> Array:
    """A psi on all faces of waves `(m, *shape)`, times the roots of the weights of the
    faces, `(m, faces)`.
    """
    rows = []
    for i, values in enumerate(factored.factor(waves)):
        weights = jnp.ones(())
        for j, axis in enumerate(factored.grid.axes):
            axis_weights = (
                factored.face_weights(i) if j == i else jnp.asarray(axis.weights)
            )
            weights = weights[..., None] * axis_weights
        rows.append(
            (values * jnp.sqrt(weights).astype(values.dtype)).reshape(len(waves), -1)
        )
    return jnp.concatenate(rows, axis=1)

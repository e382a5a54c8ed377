"""A psi on all faces in one row: its plain square is <psi, A^T A psi>."""

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
        # The weights of faces along axis i, and of nodes along the others.
        weights = jnp.ones(())
        for j, axis in enumerate(factored.grid.axes):
            axis_weights = jnp.asarray(axis.weights)
            if j == i:
                axis_weights = factored.face_weights(i)
            weights = weights[..., None] * axis_weights
        # The root: the weights are to appear in the square of the row.
        weighted = values * jnp.sqrt(weights).astype(values.dtype)
        rows.append(weighted.reshape(len(waves), -1))
    return jnp.concatenate(rows, axis=1)

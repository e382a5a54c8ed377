"""Local polynomials along one axis: interpolation and differentiation of log f from the
nearest nodes.

Polynomials of low degree represent log f well, which is a parabola for a normal
density, where f itself may fall by a hundred orders of magnitude across the box. What
happens at one place does not reach another.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..grid import Axis


def interpolation(axis: Axis, targets: Array, width: int) -> Array:
    """The matrix `(m, n)` from the nodes of an axis to `targets` `(m,)`, which may be
    traced, by the polynomials through the `width` nodes about each.
    """
    n = axis.n
    width = min(width, n)
    nodes = jnp.asarray(axis.nodes, targets.dtype)
    first = jnp.searchsorted(nodes, targets) - width // 2
    # On a ring a stencil goes on across the seam, with nodes shifted by the length.
    columns = first[:, None] + jnp.arange(width)
    points = nodes[columns % n] + axis.length * (columns // n)
    if axis.boundary != "periodic":
        # Near an end the stencil stays inside and becomes one-sided.
        first = jnp.clip(first, 0, n - width)
        columns = first[:, None] + jnp.arange(width)
        points = nodes[columns]
    # Lagrange's weights: the product over k != j of (x - x_k) / (x_j - x_k).
    own = np.eye(width, dtype=bool)
    above = targets[:, None, None] - points[:, None, :]
    below = points[:, :, None] - points[:, None, :]
    factors = jnp.where(own, 1, above) / jnp.where(own, 1, below)
    weights = jnp.prod(factors, axis=-1)
    rows = jnp.arange(len(targets))[:, None]
    matrix = jnp.zeros((len(targets), n), targets.dtype)
    return matrix.at[rows, columns % n].add(weights)


@functools.lru_cache(maxsize=64)
def differentiation(axis: Axis, width: int) -> np.ndarray:
    """The matrix `(n, n)` of d/dx, by polynomials through `width` nodes about each."""
    n = axis.n
    nodes = axis.nodes
    width = min(width, n)
    # On a ring an even number of nodes lies to one side more than to the other.
    first = np.arange(n) - width // 2
    if axis.boundary != "periodic":
        first = np.clip(first, 0, n - width)
    columns = first[:, None] + np.arange(width)
    points = nodes[columns % n] + axis.length * (columns // n)
    matrix = np.zeros((n, n))
    for i in range(n):
        x = points[i] - nodes[i]
        # Weights c with sum_j c_j x_j^k = (1 if k = 1 else 0), in units of the widest
        # distance.
        unit = np.max(np.abs(x))
        powers = np.vander(x / unit, increasing=True).T
        weights = np.linalg.solve(powers, np.eye(width)[1]) / unit
        np.add.at(matrix[i], columns[i] % n, weights)
    return matrix

"""`Places`: the nodes of a grid as arrays. One program that samples functions there
serves boxes of all sizes.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.types import Formula
from .axis import Axis
from .grid import Grid
from .sampling import sample_product


class Places(eqx.Module):
    """The nodes of a grid, with what sampling at the nodes needs of a `Grid`; the box
    itself is not known.

    - `nodes`: d arrays `(n_i,)`
    - `axes`: the axes in units of their cells
    """

    nodes: tuple[Array | np.ndarray, ...]
    axes: tuple[Axis, ...] = eqx.field(static=True)

    def __init__(self, grid: Grid):
        # Arrays of numpy, which compile nothing, in the precision of JAX.
        dtype = jnp.result_type(float)
        self.nodes = tuple(np.asarray(axis.nodes, dtype) for axis in grid.axes)
        self.axes = grid.in_cells.axes

    @property
    def ndim(self) -> int:
        """Number of dimensions d."""
        return len(self.axes)

    @property
    def origin(self) -> Array:
        """The first node of every axis, `(d,)`."""
        return jnp.stack([nodes[0] for nodes in self.nodes])

    def sample(self, f: Formula) -> Array:
        """`f(x)`, x of shape `(d,)`, at every point, as by `Grid.sample`."""
        positions = tuple(jnp.asarray(nodes) for nodes in self.nodes)
        return sample_product(f, positions)

"""The lowest modes of finite volumes on one axis by LAPACK's tridiagonal solver, on the host.

    T = W^{1/2} H W^{-1/2},     T_jj = r_j,     T_{j,j+1} = -c_j / sqrt(w_j w_{j+1})

r the exit rates, c the couplings, w the weights. Bisection finds each level and inverse iteration its mode: O(n) a
level, to rounding of |H|; what a small level needs beyond that, `levels` takes from the factor A.

Reference: Anderson et al., LAPACK Users' Guide (1999), routines dstebz and dstein.
"""

import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.machine import on_processor
from ..grid import Grid
from ..operator import EdgeOperator


def on_host(grid: Grid, *values: object) -> bool:
    """Whether LAPACK may take the place of a compiled program: one axis that is no ring, concrete values, a CPU."""
    return grid.ndim == 1 and grid.axes[0].boundary != "periodic" and on_processor() and is_concrete(*values)


def tridiagonal_modes(operator: EdgeOperator, k: int) -> Array:
    """The k lowest modes of H `(k, n)`, orthonormal in the grid's weights, from concrete rates. **Cost**: O(k n)."""
    from scipy.linalg import eigh_tridiagonal  # imported here, because few calls need it

    axis = operator.grid.axes[0]
    root = np.sqrt(axis.weights)
    couplings = np.asarray(operator.couplings[0], float)
    inner = couplings[1:-1] if axis.boundary == "absorbing" else couplings  # the others join a node to a wall
    diagonal = np.asarray(operator.exit_rates, float)
    _, vectors = eigh_tridiagonal(diagonal, -inner / (root[:-1] * root[1:]), select="i", select_range=(0, k - 1))
    return as_array(vectors.T / root, operator.couplings[0].dtype)

"""`Legendre`: an axis of Gauss-Lobatto nodes with no-flux boundaries.

The nodes are -1, 1 and the zeros of P'_{n-1}, mapped to [lower, upper]; the weights are

    w_j = 2 / (n (n-1) P_{n-1}(x_j)^2),

so that polynomials up to degree 2n - 3 are integrated exactly. The cells [sum_{i<j}
w_i, sum_{i<=j} w_i] contain one node each (Chebyshev-Markov-Stieltjes inequalities), so
finite volumes can use this axis too.

Reference: Abramowitz and Stegun, Handbook of Mathematical Functions, 25.4.32.
"""

import dataclasses
import functools
from typing import ClassVar

import numpy as np
from numpy.polynomial import legendre

from .axis import Axis, Boundary, Modes, register
from .constants import CONSTANTS


@register
@dataclasses.dataclass(frozen=True, repr=False)
class Legendre(Axis):
    """Gauss-Lobatto nodes between two no-flux boundaries, with spectral accuracy up to
    the boundaries.

    Arguments and errors are those of `Line`. With `Spectral` the no-flux condition is
    the natural boundary condition of the weak form, so no row of the matrix is
    replaced. The largest eigenvalue grows as n^4.

    ```python
    import fpsolve as fp

    axis = fp.Legendre(0.0, 1.0, 24)
    ```
    """

    boundary: ClassVar[Boundary] = "no_flux"
    modes: ClassVar[Modes | None] = "polynomials"
    uniform: ClassVar[bool] = False
    unbounded: ClassVar[bool] = False

    @property
    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Gauss-Lobatto nodes and weights."""
        x, w = lobatto(self.n)
        return self.lower + self.length * (x + 1) / 2, w * self.length / 2


# The size of the cache is a free choice.
@functools.lru_cache(maxsize=64)
def lobatto(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes `(n,)` and weights `(n,)` of Gauss-Lobatto quadrature on [-1, 1], polished
    by Newton's method.
    """
    # The inner nodes are the zeros of P'_{n-1}. Coefficients of P_{n-1} in the Legendre
    # basis, and of two derivatives:
    highest = np.zeros(n)
    highest[-1] = 1.0
    slope = legendre.legder(highest)
    curvature = legendre.legder(slope)
    # Newton's method from the Chebyshev-Lobatto nodes, which are close to them.
    inner = np.cos(np.pi * np.arange(n - 2, 0, -1) / (n - 1))
    for _ in range(CONSTANTS.newton_steps):
        step = legendre.legval(inner, slope) / legendre.legval(inner, curvature)
        inner = inner - step
        if np.max(np.abs(step)) < CONSTANTS.newton_tolerance:
            break
    # The nodes are symmetric about 0; the average removes the asymmetry of rounding.
    inner = (inner - inner[::-1]) / 2
    x = np.concatenate([[-1.0], inner, [1.0]])
    weights = 2 / (n * (n - 1) * legendre.legval(x, highest) ** 2)
    return x, weights

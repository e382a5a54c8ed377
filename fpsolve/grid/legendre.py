"""`Legendre`: Gauss-Lobatto nodes between two walls, with no flux through them.

The nodes are -1, 1 and the zeros of P'_{n-1}, mapped to [lower, upper]; the weights are

    w_j = 2 / (n (n-1) P_{n-1}(x_j)^2),

so that polynomials up to degree 2n - 3 are integrated exactly. The cells [sum_{i<j} w_i, sum_{i<=j} w_i] contain one
node each (Chebyshev-Markov-Stieltjes), hence finite volumes run on this axis too.

Reference: Abramowitz and Stegun, Handbook of Mathematical Functions, 25.4.32.
"""

import dataclasses
import functools
from typing import ClassVar

import numpy as np
from numpy.polynomial import legendre

from .axis import Axis, Boundary, Modes, register


@register
@dataclasses.dataclass(frozen=True, repr=False)
class Legendre(Axis):
    """Gauss-Lobatto nodes between two walls; no flux through them; spectral accuracy up to the walls.

    Arguments and errors as for `Line`. With `Spectral` the no-flux ends are natural: they hold in the weak form and
    no row is replaced. The largest eigenvalue grows as n^4.

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


@functools.lru_cache(maxsize=64)
def lobatto(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes `(n,)` and weights `(n,)` of Gauss-Lobatto quadrature on [-1, 1], polished by Newton's method."""
    highest = np.zeros(n)
    highest[-1] = 1.0
    slope = legendre.legder(highest)
    curvature = legendre.legder(slope)
    inner = np.cos(np.pi * np.arange(n - 2, 0, -1) / (n - 1))
    for _ in range(100):
        step = legendre.legval(inner, slope) / legendre.legval(inner, curvature)
        inner = inner - step
        if np.max(np.abs(step)) < 4e-16:
            break
    x = np.concatenate([[-1.0], (inner - inner[::-1]) / 2, [1.0]])
    return x, 2 / (n * (n - 1) * legendre.legval(x, highest) ** 2)

"""T28, the Schrödinger bridge of Brownian motion between two normal densities.

    p_t = f f^,   d_t f^ = -H f^,  d_t f = H f        mean linear in u = t/T, and with tau = 2 D T

    c = (sqrt(tau^2 + 4 s_0^2 s_1^2) - tau) / 2,    var(u) = (1-u)^2 s_0^2 + u^2 s_1^2 + 2 u (1-u) c + tau u (1-u)

Each sweep of Sinkhorn's iteration leaves (c / (s_0 s_1))^2 of the distance to the bridge. Control: half of tau.

Reference: Léonard, Discrete Contin. Dyn. Syst. 34 (2014) 1533; Bunne et al., arXiv 2202.05722, theorem 3.
"""

from typing import ClassVar

import numpy as np

from ..bridge import Bridge, bridge
from ..equation import FokkerPlanck
from ..grid import Gaussian, Grid, Line
from .base import Kind, Sides, Theorem, identity
from .problems import refined


class NormalBridge(Theorem):
    """The density of the bridge a third of the way, to 1e-7 of its peak.

    **Arguments**: the `means` and `variances` at both ends; `diffusion` D of the reference; `total` time; `upper` end
    and `nodes` of a box about zero.
    """

    name: ClassVar[str] = "T28"
    statement: ClassVar[str] = "p = f g of two waves is normal, with var = (1-u)²s₀² + u²s₁² + 2u(1-u)c + τu(1-u)"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "T28.control"
    control_statement: ClassVar[str] = "the same variance with τ = D T in the place of 2 D T"

    means: tuple[float, float] = (-1.0, 1.0)
    variances: tuple[float, float] = (0.36, 0.8)
    diffusion: float = 0.5
    total: float = 1.0
    upper: float = 6.0
    nodes: int = 64

    def measure(self, refine: bool) -> Sides:
        """Both densities at the node where they differ most."""
        found = self._bridge(refine)
        return identity(found.values[0], self._exact(found.grid, 1.0), 1e-7)

    def control(self, refine: bool) -> Sides:
        """The density with half of tau."""
        found = self._bridge(refine)
        return identity(found.values[0], self._exact(found.grid, 0.5), 1e-7)

    def _bridge(self, refine: bool) -> Bridge:
        grid = refined(Grid(Line(-self.upper, self.upper, self.nodes)), refine)
        start, end = (Gaussian(m, v) for m, v in zip(self.means, self.variances, strict=True))
        reference = FokkerPlanck(None, self.diffusion)
        return bridge(reference, start, end, self.total, grid=grid, times=[self.total / 3], tol=1e-9, check=False)

    def _exact(self, grid: Grid, factor: float) -> np.ndarray:
        """The normal density, with tau times a factor."""
        u = 1 / 3
        tau = 2 * factor * self.diffusion * self.total
        first, last = self.variances
        c = (np.sqrt(tau**2 + 4 * first * last) - tau) / 2
        mean = (1 - u) * self.means[0] + u * self.means[1]
        variance = (1 - u) ** 2 * first + u**2 * last + 2 * u * (1 - u) * c + tau * u * (1 - u)
        distance = np.asarray(grid.nodes[0]) - mean
        return np.exp(-(distance**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)

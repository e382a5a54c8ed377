"""T28, the Schrödinger bridge of Brownian motion between two normal densities.

    p_t = f f^,    d_t f^ = -H f^,    d_t f = H f

The mean is linear in u = t/T, and with tau = 2 D T

    c = (sqrt(tau^2 + 4 s_0^2 s_1^2) - tau) / 2
    var(u) = (1-u)^2 s_0^2 + u^2 s_1^2 + 2 u (1-u) c + tau u (1-u)

Each sweep of Sinkhorn's iteration leaves (c / (s_0 s_1))^2 of the distance to the
bridge. Control: half of tau.

Reference: Léonard, Discrete Contin. Dyn. Syst. 34 (2014) 1533; Bunne et al., arXiv
2202.05722, theorem 3.
"""

import numpy as np

from ..bridge import bridge
from ..equation import FokkerPlanck
from ..grid import Axis, Gaussian, Line
from .base import Case, Measured, claim


@claim(
    "T28",
    "p = f g of two waves is normal, with var = (1-u)²s₀² + u²s₁² + 2u(1-u)c + τu(1-u)",
    kind="identity",
    allowed=1e-7,
    control=("T28.control", "the same variance with τ = D T in the place of 2 D T"),
    hypotheses="the reference is Brownian; both ends are normal",
    source="Bunne et al., arXiv 2202.05722, theorem 3",
)
def normal_bridge(
    case: Case,
    *,
    means: tuple[float, float] = (-1.0, 1.0),
    variances: tuple[float, float] = (0.36, 0.8),
    diffusion: float = 0.5,
    total: float = 1.0,
    axis: Axis = Line(-6.0, 6.0, 64),
) -> Measured:
    """The density of the bridge a third of the way, and the normal one."""
    grid = case.grid(axis)
    start = Gaussian(means[0], variances[0])
    end = Gaussian(means[1], variances[1])
    reference = FokkerPlanck(None, diffusion)
    u = 1 / 3
    options = {
        "grid": grid,
        "times": [u * total],
        "tol": 1e-9,
        "check": False,
    }
    found = bridge(reference, start, end, total, **options)
    # The variance of Brownian motion grows by 2 D in a unit of time.
    tau = (1 if case.control else 2) * diffusion * total
    first, last = variances
    c = (np.sqrt(tau**2 + 4 * first * last) - tau) / 2
    mean = (1 - u) * means[0] + u * means[1]
    # Both ends, their covariance c, and the spread of a Brownian bridge.
    ends = (1 - u) ** 2 * first + u**2 * last
    variance = ends + 2 * u * (1 - u) * c + tau * u * (1 - u)
    distance = np.asarray(grid.nodes[0]) - mean
    exponential = np.exp(-(distance**2) / (2 * variance))
    exact = exponential / np.sqrt(2 * np.pi * variance)
    return np.asarray(found.values[0]), exact

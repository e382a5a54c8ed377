"""T22: the reverse process of a diffusion model keeps the marginals p_λ for every level
of noise.

    dY = [ s - f/(g^2/2) + e s ] dt + sqrt(2e) dW
    dt = (g^2/2) |dλ|,     s = grad log p_λ,     e >= 0

b the drift, d_t q = -div(b q) + e Lap q has the solution q = p_λ(t): e = 1 is the
reverse process of Anderson, e = 0 the probability flow. Control: annealed Langevin
dynamics, of drift e s, leaves p_λ where it is.

References: Anderson, Stoch. Process. Appl. 12 (1982) 313; Song et al., ICLR 2021,
appendix D.
"""

import numpy as np

from ..grid import Axis, Grid, Line
from .base import Case, Measured, claim
from .mixtures import (
    BETA,
    NO_ERROR,
    Mixture,
    drifts,
    exponent,
    generated,
    random_mixture,
)

# holds mixture and noise so well that they count as periodic
BOX = Line(-8.0, 8.0, 128)


@claim(
    "T22",
    "the reverse process keeps d_t p_λ = -(b p_λ)' + e p_λ'' at every noise e ≥ 0",
    kind="identity",
    # rounding of second derivatives by Fourier sums, some 1e5 times that of p and more
    # on finer grids
    allowed=1e-8,
    control=(
        "no flow",
        "annealed Langevin dynamics, without the flow, does not move p_λ",
    ),
    hypotheses=(
        "a Gaussian mixture under variance-preserving noise, and its exact score"
    ),
    source=(
        "Anderson, Stoch. Process. Appl. 12 (1982) 313; Song et al., ICLR 2021, "
        "appendix D"
    ),
    sweep=(0.0, 0.3, 1.0, 5.0),  # levels of noise; 0 is the probability flow
)
def marginals(
    case: Case, *, axis: Axis = BOX, times: tuple[float, ...] = (4.0, 4.6, 4.9)
) -> Measured:
    """The right side with the library's drift, and d_t p by numpy; late in the clock,
    where the data take shape.
    """
    mixture = random_mixture(case)
    grid = case.grid(axis)
    x = grid.axes[0].nodes
    # without flow and without noise nothing moves
    noise = max(case.value, 1e-3) if case.control else case.value
    flow = not case.control
    drift = drifts(mixture.path(), noise, NO_ERROR, flow, x, np.asarray(times))
    # Times i: the symbol of the derivative.
    wavenumbers = 2j * np.pi * np.fft.fftfreq(grid.size, x[1] - x[0])
    total = exponent(1.0) / 2
    growth = BETA[1] - BETA[0]
    changes: list[np.ndarray] = []
    moved: list[np.ndarray] = []
    for t, b in zip(times, drift, strict=True):
        # B(λ) = 2 (T - t), a quadratic equation.
        root = np.sqrt(BETA[0] ** 2 + 4 * growth * (total - t))
        lam = (root - BETA[0]) / growth
        rate = (BETA[0] + growth * lam) / 2
        # A complex step has the derivative to rounding. The clock runs against λ.
        changes.append(-np.imag(mixture.density(x, lam + 1e-30j)) / 1e-30 / rate)
        p = mixture.density(x, lam)
        diffused = wavenumbers**2 * noise * np.fft.fft(p)
        carried = wavenumbers * np.fft.fft(b * p)
        spectrum = diffused - carried
        moved.append(np.real(np.fft.ifft(spectrum)))
    return np.stack(moved), np.stack(changes)


@claim(
    "T22.law",
    "from noise the reverse process with e = 1/2 arrives at the data, at the order 2 "
    "of the cells",
    kind="order",
    claimed=2,
    sizes=(48, 64, 96, 128),
    control=(
        "no flow",
        "annealed Langevin dynamics lags behind at every number of cells",
    ),
    hypotheses="as for T22",
    source="as for T22",
)
def law(
    case: Case, *, noise: float = 0.5, bounds: tuple[float, float] = (-5.0, 5.0)
) -> Measured:
    """The density at the end, and that of the data."""
    means = np.asarray([-0.8, 1.0])
    variances = np.asarray([0.4, 0.3])
    mixture = Mixture(means, variances, np.asarray([0.4, 0.6]))
    grid = Grid(Line(*bounds, case.size))
    x = grid.axes[0].nodes
    flow = not case.control
    # Steps in proportion to the cells: both errors are of order 2.
    found = generated(mixture, noise, NO_ERROR, flow, grid, 4 * case.size)
    return found, mixture.density(x, 0.0)

"""T24: the gap along the path from data to noise is at least that of a mean of both.

    X_t = alpha X_0 + sigma N,    alpha^2 + sigma^2 = 1
    ==>    1/gap_t <= alpha^2 / gap_0 + sigma^2

because Poincare constants of independent summands add up at most, C(X + Y) <= C(X) +
C(Y), and C(aX) = a^2 C(X). It is an equality for normal data. Control: noise that goes
with the data. In a normal component of standard deviation s the sum then has alpha s +
sigma and not the root of the sum of squares.

Reference: Courtade, Bounds on the Poincaré constant for convolution measures, arXiv
1807.00027.
"""

import numpy as np

from ..equation import FokkerPlanck
from ..grid import Axis
from ..operator import Spectral
from ..path import Noising
from ..potential import GaussianMixture
from ..solve.spectrum import spectrum
from .base import Case, Measured, claim
from .families import BOX, fourier_kinetic, normals

# of the noise at both ends of the path, those of Song et al. (ICLR 2021)
BETA = (0.1, 20.0)


def _mixture_gap(
    axis: Axis, weights: np.ndarray, means: np.ndarray, variances: np.ndarray
) -> float:
    """The gap of a mixture at D = 1 by numpy: that of -d^2/dx^2 + s'/2 + s^2/4, s =
    (log p)'.
    """
    offsets = (axis.nodes[:, None] - means) / variances
    rows = zip(weights, means, variances, strict=True)
    components = [normals(axis.nodes, [w], [m], [v]) for w, m, v in rows]
    parts = np.stack(components)
    # The probability of each component at each node.
    shares = (parts / parts.sum(axis=0)).T
    score = -np.sum(shares * offsets, axis=1)
    # p''/p = s' + s^2.
    second = np.sum(shares * (offsets**2 - 1 / variances), axis=1)
    potential = second / 2 - score**2 / 4
    levels = np.linalg.eigvalsh(fourier_kinetic(axis) + np.diag(potential))
    return float(levels[1])  # the first is zero, of sqrt(p)


@claim(
    "T24",
    "1/gap_t ≤ α²/gap₀ + σ² along X_t = αX₀ + σN, α² + σ² = 1; an equality for normal "
    "data",
    kind="inequality",
    allowed=1e-8,  # the error of the basis: normal data attain the bound
    control=(
        "correlated noise",
        "it is false for noise that is not independent of the data",
    ),
    hypotheses="N standard normal and independent of the data X_0; D = 1",
    source=(
        "Courtade, Bounds on the Poincaré constant for convolution measures, arXiv "
        "1807.00027; T24 of this library"
    ),
    sweep=("normal", *range(10)),
)
def noising(
    case: Case, *, axis: Axis = BOX, lambdas: tuple[float, ...] = (0.05, 0.2, 0.5)
) -> Measured:
    """1/gap at each place of the path, and its bound, for random mixtures of two normal
    densities.
    """
    random = case.random()
    grid = case.grid(axis)
    share = random.uniform(0.2, 0.8)
    weights = np.array([share, 1 - share])
    means = random.uniform(-2, 2, 2)
    variances = random.uniform(0.3, 1.0, 2)
    if case.value == "normal":
        means = np.array([0.5, 0.5])
        variances = np.array([0.4, 0.4])
    data = GaussianMixture(means[:, None], variances, weights)
    path = Noising(data, "vp", beta_min=BETA[0], beta_max=BETA[1])
    place = np.asarray(lambdas)
    # alpha^2 = e^{-B}, with B the integral of the linear rate beta.
    growth = BETA[1] - BETA[0]
    squared_alpha = np.exp(-BETA[0] * place - growth * place**2 / 2)
    gaps = []
    for lam, square in zip(lambdas, squared_alpha, strict=True):
        noisy = path(lam)
        if case.control:
            # Standard deviations add up where the noise goes with the data.
            widths = np.sqrt(square * variances) + np.sqrt(1 - square)
            centres = np.sqrt(square) * means[:, None]
            noisy = GaussianMixture(centres, widths**2, weights)
        equation = FokkerPlanck(noisy, 1.0)
        modes = spectrum(
            equation,
            grid,
            2,
            scheme=Spectral(),
            check=False,
        )
        gaps.append(float(modes.gap))
    data_gap = _mixture_gap(grid.axes[0], weights, means, variances)
    return 1 / np.array(gaps), squared_alpha / data_gap + 1 - squared_alpha

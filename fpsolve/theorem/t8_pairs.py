"""T8: how far the density of a score may be from the data, over many pairs of data and
score error.

    1 - F(p, rho) <= (eps^2 / 4 - lambda) / gap
    eps^2 = E_p |s - grad log p|^2,    F = (int sqrt(p rho))^2

rho is the square of the lowest mode of the Score Hamiltonian of s, lambda its level,
and gap the distance to the next one. Equality on a ring for s = 0 and sqrt(p) = 1 + d
cos x, a sum of the two lowest modes. Data and errors are random sums of waves; errors
have curl. Control: the bound over 1.05^2, as if errors were 1.05 times smaller.

References: arXiv 2606.05217; theorems T7 and T8 of this library.
"""

from collections.abc import Sequence

import numpy as np

from ..grid import Axis
from ..score import reconstruct
from .base import Case, Measured, claim
from .constants import CONSTANTS
from .families import RING, TORUS, TURN, Waves
from .problems import weights_on

WAVEVECTORS = ((0, 0), (1, 0), (0, 1), (1, 1), (1, -1))  # wavevectors on the torus
STEEP = 0.9  # d of the equality: a free choice below 1


def _sides(
    case: Case, axes: tuple[Axis, ...], wavevectors: Sequence[Sequence[int]]
) -> Measured:
    """1 - F, and its bound, for a random pair on a ring or a torus; in the tight case
    for s = 0.
    """
    grid = case.grid(*axes)
    weights = weights_on(grid)
    coordinates = np.meshgrid(*(axis.nodes for axis in grid.axes), indexing="ij")
    points = np.stack(coordinates, axis=-1)
    random = case.random()
    waves = np.asarray(wavevectors, float)
    heights, phases, errors = _random_pair(random, waves)
    angles = points @ waves.T + phases
    if case.value == "tight":
        # sqrt(p) = 1 + d cos x, and grad log p from it.
        wave = 1 + STEEP * np.cos(points[..., 0])
        slopes = np.zeros_like(points)
        slopes[..., 0] = -2 * STEEP * np.sin(points[..., 0]) / wave
        density = wave**2
        heights = np.zeros_like(heights)
        errors = Waves(0 * errors.amplitudes, errors.wavevectors, errors.phases)
        error = -slopes
    else:
        density = np.exp(np.cos(angles) @ heights)
        error_angles = points @ waves.T + np.asarray(errors.phases)
        error = np.cos(error_angles) @ np.asarray(errors.amplitudes)
    density /= np.sum(weights * density)
    # The gradient of log p, whose cosines become sines by a quarter of a turn, and its
    # error.
    score = Waves(heights[:, None] * waves, waves, phases + TURN / 4) + errors
    found = reconstruct(score, grid, check=False)
    # With h = (1/2) int (sqrt p - sqrt rho)^2 this is h (2 - h), where nothing cancels.
    difference = np.sqrt(density) - np.sqrt(np.asarray(found.density))
    half = np.sum(weights * difference**2) / 2
    squared = np.sum(weights[..., None] * density[..., None] * error**2)
    bound = (squared / 4 - float(found.ground_energy)) / float(found.gap)
    divisor = CONSTANTS.wrong_error**2 if case.control else 1.0
    return half * (2 - half), bound / divisor


def _random_pair(
    random: np.random.Generator, waves: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Waves]:
    """Heights and phases `(m,)` of the waves in the logarithm of the data, and the
    error of a score.
    """
    count, dimension = waves.shape
    # Data from nearly flat to a density ratio of some hundred, errors from a hundredth
    # to a few.
    height = 10 ** random.uniform(-1, 0.4)
    smoothness = 1 + np.sum(waves**2, axis=1)
    heights = height * random.normal(size=count) / smoothness
    amplitude = 10 ** random.uniform(-2, 0.3)
    amplitudes = amplitude * random.normal(size=(count, dimension))
    phases, others = random.uniform(0, TURN, (2, count))
    return heights, phases, Waves(amplitudes, waves, others)


@claim(
    "T8.pairs",
    "1 - F(p, ρ) ≤ (E_p|s - ∇ log p|²/4 - λ)/gap for random data p and scores s on a "
    "ring",
    kind="inequality",
    allowed=1e-9,  # rounding, and the error of the basis: s = 0 attains the bound
    control=("bound/1.05²", "with errors as if 1.05 times smaller it is no bound"),
    hypotheses=(
        "p > 0 with a score; s any field, with a drive around the ring; rho, lambda "
        "and gap those of s"
    ),
    source="arXiv 2606.05217; T8 of this library: Eckart's inequality",
    sweep=(*range(200), "tight"),
)
def ring_pairs(case: Case, *, axis: Axis = RING) -> Measured:
    """1 - F, and its bound, on a ring; the wavevector zero is the drive."""
    return _sides(case, (axis,), [[0], [1], [2], [3]])


@claim(
    "T8.torus",
    "1 - F(p, ρ) ≤ (E_p|s - ∇ log p|²/4 - λ)/gap for random data and scores with curl "
    "on a torus",
    kind="inequality",
    allowed=1e-8,  # rounding, and the error of the basis: s = 0 attains the bound
    control=("bound/1.05²", "with errors as if 1.05 times smaller it is no bound"),
    hypotheses=(
        "p > 0 with a score; s any field, with curl; rho, lambda and gap those of s"
    ),
    source="arXiv 2606.05217; T8 of this library: Eckart's inequality",
    sweep=(*range(40), "tight"),
)
def torus_pairs(case: Case, *, axes: tuple[Axis, ...] = TORUS) -> Measured:
    """1 - F, and its bound, on a torus."""
    return _sides(case, axes, WAVEVECTORS)

"""T11: a score with curl has two densities, that of its ground state and that of its
sampler. How far are they apart?

With rho = psi^2 the density of the ground state at the level lambda, r = s - grad log
rho, mu the law of the sampler, and D = 1:

    E_rho |r|^2 = 4 lambda,    div(rho r) = rho (2 lambda - |r|^2/2)  at every point
    I(mu|rho) = E_mu |r|^2 / 2 - 2 lambda
    1 - F(mu, rho) <= I(mu|rho) / (4 gap of rho)

The last line follows from that before, since I(mu|rho) = E_mu r . grad log(mu/rho) =
-int (mu/rho) div(rho r); it is sharp as r vanishes, if |r|^2 varies like the slowest
mode. For the score -x/v + c (-y, x), in closed form,

    rho normal of variance 1/w,    w = sqrt(1/v^2 + c^2),    lambda = w - 1/v
    mu normal of variance v

Controls: rho stationary for the sampler; the gap in the units of H/2 (N11); rho with
the variance of mu (N4).

References: arXiv 2606.05217, proposition B.16; theorem T11 of this library.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..grid import Axis, Grid
from ..score import reconstruct
from .base import Case, Measured, claim
from .families import PLANE, RING, TURN, Waves
from .problems import values_on, weights_on

# Wavevectors of the score in one dimension and in two.
WAVEVECTORS = (
    ((0,), (1,), (2,)),
    ((0, 0), (1, 0), (0, 1), (1, 1), (1, -1)),
)


def _random_score(
    random: np.random.Generator, dimension: int, amplitude: float
) -> Waves:
    """A random field with a drive, and in two dimensions with curl."""
    waves = np.asarray(WAVEVECTORS[dimension - 1], float)
    amplitudes = amplitude * random.uniform(-1, 1, waves.shape)
    phases = random.uniform(0, TURN, len(waves))
    # Without a drive r may be nearly zero, and an identity of its square has no digits.
    amplitudes[0] = amplitude * random.uniform(1, 2, dimension)
    phases[0] = 0
    return Waves(amplitudes, waves, phases)


def _derivatives(grid: Grid, order: int) -> list[np.ndarray]:
    """The derivative of this order along each axis of a torus, in Fourier bases,
    `(size, size)`.
    """
    matrices = []
    for i, axis in enumerate(grid.axes):
        frequencies = np.fft.fftfreq(axis.n, axis.length / axis.n)
        symbol = (2j * np.pi * frequencies) ** order
        # The transform of each unit vector gives a column of the matrix.
        units = np.fft.fft(np.eye(axis.n), axis=0)
        waves = symbol[:, None] * units
        # The highest cosine of an even number of nodes has an odd derivative of zero at
        # all nodes: the imaginary part.
        matrix = np.fft.ifft(waves, axis=0).real
        # The identity on the axes before and after.
        before = np.eye(int(np.prod(grid.shape[:i])))
        after = np.eye(int(np.prod(grid.shape[i + 1 :])))
        matrices.append(np.kron(np.kron(before, matrix), after))
    return matrices


def _rest(
    grid: Grid, score: Waves, density: np.ndarray, derivatives: list[np.ndarray]
) -> np.ndarray:
    """r = s - grad log rho at the nodes, `(d, size)`."""
    slopes = np.stack([derivative @ np.log(density) for derivative in derivatives])
    return values_on(grid, score).reshape(grid.size, grid.ndim).T - slopes


@claim(
    "T11",
    "div(ρ r) + ρ |r|²/2 = 2λ ρ at every point, r = s - ∇ log ρ, for scores with a "
    "drive or curl",
    kind="identity",
    # rounding of the lowest mode in its second derivative, eps k^3 at the highest
    # wavenumber k = 74
    allowed=3e-8,
    control=("N4", "div(ρ r) is not zero: ρ is not stationary for the sampler"),
    hypotheses=(
        "s any field on a ring or a torus; rho and lambda of the ground state of its "
        "Score Hamiltonian; D = 1"
    ),
    source="T11 of this library; compare arXiv 2606.05217, proposition B.16",
    sweep=4,
)
def divergence(
    case: Case, *, axes: tuple[Axis, ...] = (RING,), amplitude: float = 0.6
) -> Measured:
    """div(rho r), which is dropped in the control, plus rho |r|^2 / 2; and 2 lambda
    rho.
    """
    grid = case.grid(*axes)
    score = _random_score(case.random(), len(axes), amplitude)
    found = reconstruct(score, grid, check=False)
    density = np.asarray(found.density).ravel()
    derivatives = _derivatives(grid, 1)
    rest = _rest(grid, score, density, derivatives)
    pairs = zip(derivatives, rest, strict=True)
    flow = sum(derivative @ (density * component) for derivative, component in pairs)
    if case.control:
        flow = 0
    square = density * np.sum(rest**2, axis=0) / 2
    return flow + square, 2 * float(found.ground_energy) * density


@claim(
    "T11.distance",
    "1 - F(μ, ρ) ≤ (E_μ|r|² - 4λ)/(8 gap of ρ), μ the law of the sampler; sharp as r "
    "vanishes",
    kind="inequality",
    control=("N11", "with twice the gap, that of other units, it is no bound"),
    hypotheses="as for T11; gap of rho: that of -Lap + Lap √ρ/√ρ",
    source="T11 of this library, sharpened: I(μ|ρ) = E_μ|r|²/2 - 2λ",
    sweep=("weak", *range(8)),
)
def distance(
    case: Case,
    *,
    axes: tuple[Axis, ...] = (RING,),
    amplitude: float = 0.6,
    weak: float = 0.3,
) -> Measured:
    """1 - F, and its bound, for random fields, and for a weak one whose square varies
    like the slowest mode.
    """
    grid = Grid(*axes).refine(case.refinement**0.5)  # the cost is the cube of the size
    score = _random_score(case.random(), len(axes), amplitude)
    if case.value == "weak":
        # d (1 + cos x), on a torus (0, d (1 + cos x)): its part without divergence has
        # a square like d^2 (1 + 2 cos x).
        amplitudes = np.zeros_like(score.amplitudes)
        amplitudes[:2, -1] = weak
        score = Waves(amplitudes, score.wavevectors, np.zeros_like(score.phases))
    found = reconstruct(score, grid, check=False)
    density = np.asarray(found.density).ravel()
    sampled = np.asarray(found.stationary).ravel()
    derivatives = _derivatives(grid, 1)
    rest = _rest(grid, score, density, derivatives)
    weights = weights_on(grid).ravel()
    mean_square = np.sum(weights * sampled * np.sum(rest**2, axis=0))
    excess = mean_square - 4 * float(found.ground_energy)
    # The Hamiltonian of rho: its lowest level is zero, its second the gap.
    laplacian = sum(_derivatives(grid, 2))
    wave = np.sqrt(density)
    hamiltonian = np.diag(laplacian @ wave / wave) - laplacian
    gap = np.linalg.eigvalsh(hamiltonian)[1]
    # With h = int (sqrt mu - sqrt rho)^2 / 2 this is h (2 - h), where nothing cancels.
    difference = np.sqrt(sampled) - np.sqrt(density)
    half = np.sum(weights * difference**2) / 2
    factor = 2 if case.control else 1
    return half * (2 - half), excess / (8 * gap * factor)


class Rotation(eqx.Module):
    """The score -x/v + c (-y, x)."""

    variance: Array
    curl: Array

    def __call__(self, x: Array) -> Array:
        """`(2,)`."""
        turned = jnp.stack([-x[1], x[0]])
        return -x / self.variance + self.curl * turned


@claim(
    "T11.rotation",
    "s = -x/v + c(-y, x): ρ has the variance 1/w, λ = w - 1/v, gap = w, w² = 1/v² + "
    "c²; μ has v",
    kind="identity",
    allowed=1e-6,  # the error of the basis: psi^2 is 6e-9 at the ends of the box
    control=("N4", "the variance of ρ is not v, that of the sampler's law"),
    hypotheses="two dimensions; D = 1",
    source="N4 of this library; compare arXiv 2606.05217, proposition B.16",
    sweep=(0.3, 0.6, 1.0),
)
def rotation(case: Case, *, variance: float = 0.8, axis: Axis = PLANE) -> Measured:
    """lambda, gap, and the variances of rho and mu, for the curl c = `case.value`; the
    same in closed form.
    """
    # the cost is the cube of the size
    grid = Grid(axis, axis).refine(case.refinement**0.5)
    score = Rotation(jnp.asarray(variance), jnp.asarray(case.value))
    found = reconstruct(score, grid, check=False)
    weights = weights_on(grid)
    # Both densities are round: the mean of x^2 and y^2 is the variance of either.
    first, second = (axis.nodes for axis in grid.axes)
    square = np.add.outer(first**2, second**2) / 2
    densities = (found.density, found.stationary)
    variances = [np.sum(weights * square * np.asarray(p)) for p in densities]
    frequency = np.sqrt(1 / variance**2 + case.value**2)
    ground_variance = variance if case.control else 1 / frequency
    exact = [frequency - 1 / variance, frequency, ground_variance, variance]
    measured = [float(found.ground_energy), float(found.gap), *variances]
    return np.array(measured), np.array(exact)

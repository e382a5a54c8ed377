"""T22: the reverse process of a diffusion model keeps the marginals p_λ for every level of noise. T23: what a wrong score
costs (Girsanov).

    dY = [ s - f/(g^2/2) + e s ] dt + sqrt(2e) dW,     dt = (g^2/2) |dλ|,     s = grad log p_λ,  e >= 0
    d_t q = -div(b q) + e Lap q   has the solution q = p_λ(t)

A score s + err changes the drift by (1 + e) err, and

    KL(p_0|q_0) <= KL(p_1|q_1) + (1 + e)^2/(4e) int (g^2/2) E_p|err|^2 dλ.

For normal data of variance 1 and an error proportional to α(λ)^e the end point knows the whole path, and this is an
equality but for exp(-2eT).

References: Anderson, Stoch. Process. Appl. 12 (1982) 313; Song et al., ICLR 2021, appendix D.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.linalg import solve_banded

from ..diffusion.generation import ReverseProcess, score_error_bound
from ..grid import Axis, Gaussian, Grid, Line
from ..path import Noising
from ..potential import GaussianMixture
from .base import Case, claim

BETA = (0.1, 20.0)  # rates of noise at λ = 0 and 1 of the path: the values of Song et al.


class Mixture(eqx.Module):
    """Two normal densities as numpy arrays `(2,)`, and their marginals under noise, without the library."""

    means: Any
    variances: Any
    weights: Any

    def path(self) -> Noising:
        """The same in the library."""
        arrays = (jnp.asarray(self.means)[:, None], jnp.asarray(self.variances)[:, None, None], jnp.asarray(self.weights))
        return Noising(GaussianMixture(*arrays), beta_min=BETA[0], beta_max=BETA[1])

    def density(self, x: Any, lam: Any) -> Any:
        """p_λ at x `(n,)`; λ may be complex."""
        square = np.exp(-exponent(lam))
        variances = square * self.variances + 1 - square
        away = x[:, None] - np.sqrt(square) * self.means
        return np.exp(-(away**2) / (2 * variances)) / np.sqrt(2 * np.pi * variances) @ self.weights


def random_mixture(case: Case) -> Mixture:
    """Two normal densities of random place, width and weight."""
    random = case.random("mixture")
    first = random.uniform(0.2, 0.8)
    return Mixture(random.uniform(-1.5, 1.5, 2), random.uniform(0.15, 0.8, 2), np.asarray([first, 1 - first]))


def exponent(lam: Any) -> Any:
    """B(λ) = int_0^λ β, -log of the square of α."""
    return BETA[0] * lam + (BETA[1] - BETA[0]) * lam**2 / 2


class Wrong(eqx.Module):
    """The error of a score: size α(λ)^power + wave cos(wavenumber x + phase)."""

    size: Array
    power: Array
    wave: Array
    wavenumber: Array
    phase: Array

    def __call__(self, x: Array, lam: Any) -> Array:
        """err `(1,)`."""
        steady = self.size * jnp.exp(-exponent(lam) * self.power / 2)
        return steady + self.wave * jnp.cos(self.wavenumber * x + self.phase)


NO_ERROR = Wrong(*(jnp.asarray(0.0) for _ in range(5)))


@eqx.filter_jit
def drifts(path: Noising, noise: Any, error: Wrong, flow: bool, points: Any, times: Any) -> tuple[Array, Array]:
    """The drift of the library's reverse process `(M, n)` and the length of its clock."""
    # A level of noise that is traced serves all levels with one program.
    process = ReverseProcess(path, jnp.where(flow, noise, noise), flow=flow, error=error)
    at = lambda t: jax.vmap(lambda x: process.drift(x[None], t)[0])(points)
    return jax.lax.map(at, times), process.total


@claim(
    "T22",
    "the reverse process keeps d_t p_λ = -(b p_λ)' + e p_λ'' at every noise e ≥ 0",
    kind="identity",
    allowed=1e-9,  # rounding of second derivatives by Fourier sums, some 1e4 times that of p
    control=("no flow", "annealed Langevin dynamics, without the flow, does not move p_λ"),
    hypotheses="a Gaussian mixture under variance-preserving noise, and its exact score",
    source="Anderson, Stoch. Process. Appl. 12 (1982) 313; Song et al., ICLR 2021, appendix D",
    sweep=(0.0, 0.3, 1.0, 5.0),  # levels of noise; 0 is the probability flow
)
def marginals(case: Case, *, axis: Axis = Line(-8.0, 8.0, 128), times: tuple[float, ...] = (4.0, 4.6, 4.9)) -> tuple[Any, ...]:
    """The right side with the library's drift, and d_t p by numpy; late in the clock, where the data take shape."""
    mixture = random_mixture(case)
    grid = case.grid(axis)
    x = grid.axes[0].nodes
    noise = max(case.value, 1e-3) if case.control else case.value  # without flow and without noise nothing moves
    drift = np.asarray(drifts(mixture.path(), noise, NO_ERROR, not case.control, x, jnp.asarray(times))[0])
    wavenumbers = 2j * np.pi * np.fft.fftfreq(grid.size, x[1] - x[0])
    total = exponent(1.0) / 2
    changes: list[Any] = []
    moved: list[Any] = []
    for t, b in zip(times, drift, strict=True):
        # B(λ) = 2 (T - t), a quadratic equation.
        lam = (np.sqrt(BETA[0] ** 2 + 4 * (BETA[1] - BETA[0]) * (total - t)) - BETA[0]) / (BETA[1] - BETA[0])
        rate = (BETA[0] + (BETA[1] - BETA[0]) * lam) / 2
        # A complex step has the derivative to rounding.
        changes.append(-np.imag(mixture.density(x, lam + 1e-30j)) / 1e-30 / rate)
        p = mixture.density(x, lam)
        spectrum = wavenumbers**2 * noise * np.fft.fft(p) - wavenumbers * np.fft.fft(b * p)
        moved.append(np.real(np.fft.ifft(spectrum)))
    return np.stack(moved), np.stack(changes)


def generated(mixture: Mixture, noise: float, error: Wrong, flow: bool, grid: Grid, steps: int) -> Any:
    """q_0 `(n,)` of the library's reverse process from p_1, on fitted volumes in implicit steps of order 2, by numpy."""
    x = grid.axes[0].nodes
    spacing = x[1] - x[0]
    faces = (x[1:] + x[:-1]) / 2
    total = exponent(1.0) / 2
    times = (np.arange(steps) + 0.5) * total / steps
    drift = np.asarray(drifts(mixture.path(), noise, error, flow, faces, jnp.asarray(times))[0])
    q = mixture.density(x, 1.0)
    half = total / steps / 2
    for b in drift:
        # Rates of Chang and Cooper: up = (e/h^2) z/(1 - exp(-z)), z = b h/e.
        z = b * spacing / noise
        z = np.where(np.abs(z) < 1e-8, 1e-8, z)
        up = noise / spacing**2 * z / -np.expm1(-z)
        down = up * np.exp(-z)
        out = np.append(up, 0.0) + np.append(0.0, down)
        right = q - half * out * q
        right[1:] += half * up * q[:-1]
        right[:-1] += half * down * q[1:]
        bands = np.stack([np.append(0.0, -half * down), 1 + half * out, np.append(-half * up, 0.0)])
        q = solve_banded((1, 1), bands, right)
    return q


@claim(
    "T22.law",
    "from noise the reverse process with e = 1/2 arrives at the data, at the order 2 of the cells",
    kind="order",
    claimed=2,
    sizes=(48, 64, 96, 128),
    control=("no flow", "annealed Langevin dynamics lags behind at every number of cells"),
    hypotheses="as for T22",
    source="as for T22",
)
def law(case: Case, *, noise: float = 0.5, bounds: tuple[float, float] = (-5.0, 5.0)) -> tuple[Any, ...]:
    """The density at the end, and that of the data."""
    mixture = Mixture(np.asarray([-0.8, 1.0]), np.asarray([0.4, 0.3]), np.asarray([0.4, 0.6]))
    grid = Grid(Line(*bounds, case.size))
    x = grid.axes[0].nodes
    return generated(mixture, noise, NO_ERROR, not case.control, grid, 4 * case.size), mixture.density(x, 0.0)


@eqx.filter_jit
def girsanov(path: Noising, noise: Any, error: Wrong, grid: Grid) -> Array:
    """The library's bound for a start at the marginal of noise, which is normal here but for 1e-5."""
    return score_error_bound(ReverseProcess(path, noise, error=error), Gaussian(0.0, 1.0), grid)


@claim(
    "T23",
    "KL(p_0|q_0) ≤ KL(p_1|q_1) + (1+e)²/(4e) ∫ (g²/2) E|err|² dλ for a score wrong by err",
    kind="inequality",
    allowed=0.01,  # of the cells and steps of q_0, by order 2; the first case is an equality
    control=("1 for (1+e)²/(4e)", "without the factor of the noise the bound is false"),
    hypotheses="as for T22; the error is averaged over the true path",
    source="Girsanov's theorem; Song et al., Maximum likelihood training (NeurIPS 2021)",
    sweep=("normal", 0, 1, 2, 3, 4),
)
def wrong_score(case: Case, *, noise: float = 3.0, size: float = 0.4, axis: Axis = Line(-6.0, 6.0, 96)) -> tuple[Any, ...]:
    """KL of the data from the law of the sampler, and the library's bound."""
    grid = case.grid(axis)
    mixture = Mixture(np.zeros(2), np.ones(2), np.full(2, 0.5))
    numbers = np.asarray([size, noise, 0.0, 1.0, 0.0])
    if case.value != "normal":
        random = case.random()
        mixture = random_mixture(case)
        noise = np.exp(random.uniform(np.log(0.4), np.log(4.0)))
        numbers = random.uniform([-0.4, 0.0, -0.3, 0.3, 0.0], [0.4, 2.0, 0.3, 2.0, 6.0])
    error = Wrong(*(jnp.asarray(number) for number in numbers))
    x, weights = grid.axes[0].nodes, grid.axes[0].weights
    q = generated(mixture, noise, error, True, grid, 4 * grid.size)
    p = mixture.density(x, 0.0)
    entropy = (p * np.log(p / np.maximum(q, np.finfo(float).tiny)) - p + q) @ weights
    bound = float(girsanov(mixture.path(), noise, error, grid))
    if case.control:
        bound = bound / ((1 + noise) ** 2 / (4 * noise))
    return entropy, bound

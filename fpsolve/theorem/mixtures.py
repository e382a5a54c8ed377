"""Mixtures of two normal densities under noise: their marginals by numpy, and the
library's reverse process of them.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.linalg import solve_banded

from ..core.program import sampling_program
from ..core.types import AnyArray, Scalar
from ..diffusion.reverse_process import ReverseProcess
from ..grid import Grid
from ..path import Noising
from ..potential import GaussianMixture
from .base import Case
from .constants import CONSTANTS

# rates of noise at λ = 0 and 1 of the path: the values of Song et al.
BETA = (0.1, 20.0)


class Mixture(eqx.Module):
    """Two normal densities as numpy arrays `(2,)`, and their marginals under noise,
    without the library.
    """

    means: np.ndarray
    variances: np.ndarray
    weights: np.ndarray

    def path(self) -> Noising:
        """The same in the library."""
        # With the axes of dimension d = 1.
        means = jnp.asarray(self.means)[:, None]
        covariances = jnp.asarray(self.variances)[:, None, None]
        data = GaussianMixture(means, covariances, jnp.asarray(self.weights))
        return Noising(data, beta_min=BETA[0], beta_max=BETA[1])

    def density(self, x: np.ndarray, lam: Scalar | complex) -> np.ndarray:
        """p_λ at x `(n,)`; λ may be complex."""
        # alpha^2: the noise keeps this part of the variance, and adds 1 - alpha^2.
        square = np.exp(-exponent(lam))
        variances = square * self.variances + 1 - square
        away = x[:, None] - np.sqrt(square) * self.means
        exponential = np.exp(-(away**2) / (2 * variances))
        return exponential / np.sqrt(2 * np.pi * variances) @ self.weights


def random_mixture(case: Case) -> Mixture:
    """Two normal densities of random place, width and weight."""
    random = case.random("mixture")
    # The order of the draws decides what a seed gives.
    first = random.uniform(0.2, 0.8)
    means = random.uniform(-1.5, 1.5, 2)
    variances = random.uniform(0.15, 0.8, 2)
    return Mixture(means, variances, np.asarray([first, 1 - first]))


def exponent(lam: Scalar | complex) -> Scalar | complex:
    """B(λ) = int_0^λ β, -log of the square of α."""
    return BETA[0] * lam + (BETA[1] - BETA[0]) * lam**2 / 2


class Wrong(eqx.Module):
    """The error of a score: size α(λ)^power + wave cos(wavenumber x + phase)."""

    size: Array
    power: Array
    wave: Array
    wavenumber: Array
    phase: Array

    def __call__(self, x: Array, lam: Scalar) -> Array:
        """err `(1,)`."""
        steady = self.size * jnp.exp(-exponent(lam) * self.power / 2)
        return steady + self.wave * jnp.cos(self.wavenumber * x + self.phase)


NO_ERROR = Wrong(*(jnp.asarray(0.0) for _ in range(5)))


def drifts(
    path: Noising,
    noise: float,
    error: Wrong,
    flow: bool,
    points: np.ndarray,
    times: np.ndarray,
) -> np.ndarray:
    """The drift `(M, n)` of the library's reverse process at `points` `(n,)` and clock
    times `(M,)`.
    """
    # Both are padded to the multiples of two numbers, so that one compiled program
    # serves all grids.
    padded = [
        np.pad(values, (0, -len(values) % size), mode="edge")
        for values, size in ((points, 128), (times, 512))
    ]
    found = _drifts(path, jnp.asarray(noise), error, flow, *padded)
    return np.asarray(found)[: len(times), : len(points)]


@sampling_program
def _drifts(
    path: Noising,
    noise: Array,
    error: Wrong,
    flow: bool,
    points: AnyArray,
    times: AnyArray,
) -> Array:
    # A level of noise that is traced serves all levels.
    process = ReverseProcess(path, noise, flow=flow, error=error)

    def at_time(t: Scalar) -> Array:
        """The drift `(n,)` at all points."""
        return jax.vmap(lambda x: process.drift(x[None], t)[0])(points)

    # One time after another: all at once would take memory for every pair.
    return jax.lax.map(at_time, times)


def generated(
    mixture: Mixture, noise: float, error: Wrong, flow: bool, grid: Grid, steps: int
) -> np.ndarray:
    """q_0 `(n,)` of the library's drift from p_1, by numpy: fitted volumes and implicit
    steps, both of order 2.
    """
    x = grid.axes[0].nodes
    spacing = x[1] - x[0]
    faces = (x[1:] + x[:-1]) / 2
    # The clock B/2 of the process, at the middle of each step.
    total = exponent(1.0) / 2
    times = (np.arange(steps) + 0.5) * total / steps
    drift = drifts(mixture.path(), noise, error, flow, faces, times)
    q = mixture.density(x, 1.0)
    half = total / steps / 2
    for b in drift:
        # Rates of Chang and Cooper: up = (e/h^2) z/(1 - exp(-z)), z = b h/e.
        z = b * spacing / noise
        # At z = 0 the quotient is 0 / 0.
        small = CONSTANTS.small_exponent
        z = np.where(np.abs(z) < small, small, z)
        up = noise / spacing**2 * z / -np.expm1(-z)
        down = up * np.exp(-z)
        out = np.append(up, 0.0) + np.append(0.0, down)
        # Crank and Nicolson: half a step forwards, and half a step backwards.
        right = q - half * out * q
        right[1:] += half * up * q[:-1]
        right[:-1] += half * down * q[1:]
        # The first entry of the upper band and the last of the lower are not used.
        upper = np.append(0.0, -half * down)
        lower = np.append(-half * up, 0.0)
        bands = np.stack([upper, 1 + half * out, lower])
        q = solve_banded((1, 1), bands, right)
    return q

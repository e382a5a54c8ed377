"""The chain of cells that a run by finite volumes in one dimension is exact for, by
numpy, and distances on it.
"""

from typing import Any

import numpy as np

from ..grid import Grid
from .constants import CONSTANTS


def gibbs(energy: np.ndarray, diffusion: float, grid: Grid) -> np.ndarray:
    """exp(-U/D)/Z `(..., n)` by numpy from U `(..., n)`."""
    # The largest value is 1, so that a high energy does not overflow.
    lowest = energy.min(axis=-1, keepdims=True)
    density = np.exp(-(energy - lowest) / diffusion)
    mass = density @ grid.axes[0].weights
    return density / mass[..., None]


def chi(density: np.ndarray, steady: np.ndarray, grid: Grid) -> Any:
    """sqrt(chi2(p | pi)) `(...)` of densities `(..., n)`."""
    weights = grid.axes[0].weights
    return np.sqrt((density - steady) ** 2 / steady @ weights)


def relative_entropy(density: np.ndarray, steady: np.ndarray, grid: Grid) -> np.ndarray:
    """KL(p | pi) `(...)` of densities `(..., n)`; p log(p/pi) - p + pi is never
    negative.
    """
    # Rounding may leave a tail without mass or with a negative one: it counts as none.
    p = np.maximum(density, np.finfo(float).tiny)
    integrand = p * np.log(p / steady) - p + steady
    return integrand @ grid.axes[0].weights


def chain_hamiltonian(
    energy: np.ndarray, diffusion: float, spacing: float
) -> np.ndarray:
    """H `(..., n, n)` of the chain with energies `(..., n)`, in the orthonormal basis
    of equal cells.

    H_ij = -c with c = (D/h^2) z/sinh z between neighbours, z = (U_j - U_i)/(2D); the
    diagonal lets sqrt(pi) be a ground state of energy 0.
    """
    n = energy.shape[-1]
    z = np.diff(energy, axis=-1) / (2 * diffusion)
    # z / sinh z is 0 / 0 at z = 0, where its limit is 1.
    small = np.abs(z) < CONSTANTS.small_exponent
    divisor = np.sinh(np.where(small, 1.0, z))
    coupling = diffusion / spacing**2 * np.where(small, 1.0, z / divisor)
    matrix = np.zeros((*energy.shape, n))
    # Each face couples the cell below it with the one above it.
    below = np.arange(n - 1)
    above = below + 1
    matrix[..., below, above] = -coupling
    matrix[..., above, below] = -coupling
    # A cell between two faces gets a part from each: `+=`.
    matrix[..., below, below] += coupling * np.exp(-z)
    matrix[..., above, above] += coupling * np.exp(z)
    return matrix


def integrate(times: np.ndarray, decay: np.ndarray, source: np.ndarray) -> np.ndarray:
    """x `(M,)` of x' = -decay x + source on a fine mesh `(M,)`, from x = 0."""
    # Exact for constant coefficients between two times, here those of the middle.
    h = np.diff(times)
    rate = (decay[1:] + decay[:-1]) / 2
    gain = (source[1:] + source[:-1]) / 2 * h
    # (1 - e^{-r h}) / (r h), whose limit at r = 0 is 1.
    constant = rate == 0
    divisor = np.where(constant, 1.0, rate * h)
    with np.errstate(invalid="ignore"):
        factor = np.where(constant, 1.0, -np.expm1(-rate * h) / divisor)
    x = np.zeros(len(times))
    decayed = np.exp(-rate * h)
    added = factor * gain
    for k in range(len(h)):
        x[k + 1] = decayed[k] * x[k] + added[k]
    return x

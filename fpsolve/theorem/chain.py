"""The chain of cells that a run by finite volumes in one dimension is exact for, by
numpy, and distances on it.
"""

from typing import Any

import numpy as np

from ..grid import Grid
from .constants import CONSTANTS


def gibbs(energy: np.ndarray, diffusion: float, grid: Grid) -> np.ndarray:
    """exp(-U/D)/Z `(..., n)` by numpy from U `(..., n)`."""
    density = np.exp(-(energy - energy.min(axis=-1, keepdims=True)) / diffusion)
    return density / (density @ grid.axes[0].weights)[..., None]


def chi(density: np.ndarray, steady: np.ndarray, grid: Grid) -> Any:
    """sqrt(chi2(p | pi)) `(...)` of densities `(..., n)`."""
    return np.sqrt((density - steady) ** 2 / steady @ grid.axes[0].weights)


def relative_entropy(density: np.ndarray, steady: np.ndarray, grid: Grid) -> np.ndarray:
    """KL(p | pi) `(...)` of densities `(..., n)`; p log(p/pi) - p + pi is never
    negative.
    """
    # Rounding may leave a tail without mass or with a negative one: it counts as none.
    p = np.maximum(density, np.finfo(float).tiny)
    return (p * np.log(p / steady) - p + steady) @ grid.axes[0].weights


def chain_hamiltonian(
    energy: np.ndarray, diffusion: float, spacing: float
) -> np.ndarray:
    """H `(..., n, n)` of the chain with energies `(..., n)`, in the orthonormal basis
    of equal cells.

    H_ij = -c with c = (D/h^2) z/sinh z between neighbours, z = (U_j - U_i)/(2D); the
    diagonal lets sqrt(pi) be a ground state of energy 0.
    """
    z = np.diff(energy, axis=-1) / (2 * diffusion)
    small = np.abs(z) < CONSTANTS.small_exponent
    coupling = (
        diffusion
        / spacing**2
        * np.where(small, 1.0, z / np.sinh(np.where(small, 1.0, z)))
    )
    matrix = np.zeros((*energy.shape, energy.shape[-1]))
    lower = np.arange(energy.shape[-1] - 1)
    matrix[..., lower, lower + 1] = -coupling
    matrix[..., lower + 1, lower] = -coupling
    matrix[..., lower, lower] += coupling * np.exp(-z)
    matrix[..., lower + 1, lower + 1] += coupling * np.exp(z)
    return matrix


def integrate(times: np.ndarray, decay: np.ndarray, source: np.ndarray) -> np.ndarray:
    """x `(M,)` of x' = -decay x + source on a fine mesh `(M,)`, from x = 0."""
    # Exact for constant coefficients between two times, here those of the middle.
    h = np.diff(times)
    rate = (decay[1:] + decay[:-1]) / 2
    gain = (source[1:] + source[:-1]) / 2 * h
    with np.errstate(invalid="ignore"):
        factor = np.where(
            rate == 0, 1.0, -np.expm1(-rate * h) / np.where(rate == 0, 1.0, rate * h)
        )
    x = np.zeros(len(times))
    for k in range(len(h)):
        x[k + 1] = np.exp(-rate[k] * h[k]) * x[k] + factor[k] * gain[k]
    return x

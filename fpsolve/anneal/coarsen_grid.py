"""The nodes that a path needs on a box: as many as the waves sqrt(pi) and sqrt(pi) ell
on it have.

A grid to report on is often much finer than one that resolves the waves. A smooth wave
is computed on few nodes and interpolated to the many without loss.
"""

import numpy as np
from jaxtyping import Array

from ..equation import FokkerPlanck
from ..grid import Axis, Grid
from .constants import CONSTANTS
from .costs import motion_on


def coarsen_grid(
    equation: FokkerPlanck, grid: Grid, lambdas: np.ndarray, wave_tol: float
) -> Grid:
    """The same box with the nodes that sqrt(pi) and sqrt(pi) ell need at `lambdas`
    `(M,)`.

    **Arguments**: `equation`, with λ for its time; `wave_tol`, the relative amplitude
    below which the waves may be cut.
    """
    # All lambdas at once if they fit in memory, else one by one: two sizes, so at most
    # two compiled programs.
    batch = 1
    if len(lambdas) * grid.size <= CONSTANTS.max_samples:
        batch = len(lambdas)
    largest = [np.zeros(axis.n // 2 + 1) for axis in grid.axes]
    for part in lambdas.reshape(-1, batch):
        motion = motion_on(equation, grid, part)
        log_gibbs = np.asarray(motion.log_gibbs)
        ell = np.asarray(motion.ell)
        for fields in zip(log_gibbs, ell, strict=True):
            amplitudes = _amplitudes(grid, *fields)
            pairs = zip(largest, amplitudes, strict=True)
            largest = [np.maximum(*pair) for pair in pairs]
    axes = []
    for axis, amplitude in zip(grid.axes, largest, strict=True):
        # The amplitudes are those of a Fourier basis and say nothing about another.
        if axis.modes == "fourier":
            axis = _coarsen_axis(axis, amplitude, wave_tol)
        axes.append(axis)
    return Grid(*axes)


def _coarsen_axis(axis: Axis, amplitude: np.ndarray, wave_tol: float) -> Axis:
    """The axis with the nodes that resolve all frequencies of a relevant amplitude
    `(n // 2 + 1,)`.
    """
    peak = np.max(amplitude)
    # A density that is cut off at the ends of its box has a slowly decaying spectrum,
    # which more nodes do not improve: amplitudes that are comparable with those of the
    # shortest waves are ignored.
    count = len(amplitude) // CONSTANTS.noise_fraction
    shortest_waves = amplitude[-count:]
    noise = CONSTANTS.noise_factor * np.max(shortest_waves)
    # The peak itself always counts.
    threshold = max(wave_tol * peak, min(noise, peak))
    highest = int(np.max(np.flatnonzero(amplitude >= threshold)))
    # Two nodes a wave; 4 more, so that a grid is never empty.
    needed = 2 * CONSTANTS.node_margin * highest + 4
    return axis.refine(min(1.0, needed / axis.n))


def _amplitudes(
    grid: Grid, log_gibbs: Array | np.ndarray, ell: Array | np.ndarray
) -> list[np.ndarray]:
    """For each axis the largest amplitude of each frequency `(n_i // 2 + 1,)` in
    sqrt(pi) and in sqrt(pi) ell.
    """
    # Relative to the peak, so that exp does not overflow.
    root = np.exp((log_gibbs - np.max(log_gibbs)) / 2)
    weights = np.ones(())
    for axis in grid.axes:
        weights = weights[..., None] * axis.weights
    mass = root**2 * weights
    # Where the mass is 0, ell may be infinite.
    weighted = np.where(mass > 0, mass * ell, 0)
    mean = np.sum(weighted) / np.sum(mass)
    wave = np.where(root > 0, root * (ell - mean), 0)
    amplitudes = []
    for i in range(grid.ndim):
        others = tuple(j for j in range(grid.ndim) if j != i)
        root_spectrum = np.abs(np.fft.rfft(root, axis=i))
        wave_spectrum = np.abs(np.fft.rfft(wave, axis=i))
        of_root = np.max(root_spectrum, axis=others)
        of_wave = np.max(wave_spectrum, axis=others)
        relative_root = of_root / np.max(of_root)
        # Where a path is constant the second wave is 0.
        relative_wave = of_wave / (np.max(of_wave) + CONSTANTS.min_amplitude)
        amplitudes.append(np.maximum(relative_root, relative_wave))
    return amplitudes

"""The nodes that a path needs on a box: as many as the waves sqrt(pi) and sqrt(pi) ell on it have.

A grid to report on is often much finer than one that resolves; what is smooth is computed on few nodes and evaluated on
the many, to all its digits.
"""

import numpy as np
from jaxtyping import Array

from ..equation import FokkerPlanck
from ..grid import Grid
from .costs import motion_on

MARGIN = 1.3  # more nodes than would do (a free choice)
TIMES = 20.0  # the shortest waves, below which no wave counts (a free choice)
LEAST = 1e-300  # of an amplitude: a path may rest, and nothing is divided by zero
MOST = 2**20  # numbers that are sampled at once: 8 MiB an array


def coarsen_grid(equation: FokkerPlanck, grid: Grid, lambdas: np.ndarray, enough: float) -> Grid:
    """The same box with the nodes that sqrt(pi) and sqrt(pi) ell need at the λ given; `enough` is the part of a
    wave that may be left out. `equation` has λ for its time."""
    batch = len(lambdas) if len(lambdas) * grid.size <= MOST else 1
    tails = [np.zeros(axis.n // 2 + 1) for axis in grid.axes]
    for part in lambdas.reshape(-1, batch):
        moving = motion_on(equation, grid, part)
        for log_gibbs, ell in zip(np.asarray(moving.log_gibbs), np.asarray(moving.ell), strict=True):
            tails = [np.maximum(*pair) for pair in zip(tails, _amplitudes(grid, log_gibbs, ell), strict=True)]
    axes = []
    for axis, size in zip(grid.axes, tails, strict=True):
        if axis.modes == "fourier":
            cut = TIMES * np.max(size[-(len(size) // 8) :])  # what a box cuts off has a long tail, and is not mended
            highest = int(np.max(np.flatnonzero(size >= max(enough * np.max(size), min(cut, np.max(size))))))
            axis = axis.refine(min(1.0, (2 * MARGIN * highest + 4) / axis.n))
        axes.append(axis)
    return Grid(*axes)


def _amplitudes(grid: Grid, log_gibbs: Array | np.ndarray, ell: Array | np.ndarray) -> list[np.ndarray]:
    """For each axis the largest amplitude of each frequency `(n_i // 2 + 1,)` in sqrt(pi) and in sqrt(pi) ell."""
    root = np.exp((log_gibbs - np.max(log_gibbs)) / 2)
    weights = np.ones(())
    for axis in grid.axes:
        weights = weights[..., None] * axis.weights
    mass = root**2 * weights
    mean = np.sum(np.where(mass > 0, mass * ell, 0)) / np.sum(mass)
    wave = np.where(root > 0, root * (ell - mean), 0)
    amplitudes = []
    for i in range(grid.ndim):
        others = tuple(j for j in range(grid.ndim) if j != i)
        first, second = (np.max(np.abs(np.fft.rfft(field, axis=i)), axis=others) for field in (root, wave))
        amplitudes.append(np.maximum(first / np.max(first), second / (np.max(second) + LEAST)))
    return amplitudes

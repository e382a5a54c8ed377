"""The nodes that a path needs on a box: as many as the waves sqrt(pi) and sqrt(pi) ell on it have.

A grid to report on is often much finer than one that resolves; what is smooth is carried on few nodes and evaluated on
the many, to all its digits.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..equation import FokkerPlanck
from ..grid import Grid, Line, Periodic
from .costs import motion

MARGIN = 1.3  # more nodes than would do
TIMES = 20.0  # the shortest waves, below which no wave counts
LEAST = 1e-300  # of an amplitude: a path may rest, and nothing is divided by zero


def fewer(equation: FokkerPlanck, grid: Grid, lams: np.ndarray, enough: float) -> Grid:
    """The same box with the nodes that sqrt(pi) and sqrt(pi) ell need at the places given; `enough` is the part of a
    wave that may be left out."""
    tails = np.max([np.concatenate(_spectra(equation, grid, jnp.asarray(lam))) for lam in lams], axis=0)
    axes, first = [], 0
    for axis in grid.axes:
        size = tails[first : first + axis.n // 2 + 1]
        first += len(size)
        if isinstance(axis, Line | Periodic):
            cut = TIMES * np.max(size[-(len(size) // 8) :])  # what a box cuts off has a long tail, and is not mended
            highest = int(np.max(np.flatnonzero(size >= max(enough * np.max(size), min(cut, np.max(size))))))
            axis = axis.refine(min(1.0, (2 * MARGIN * highest + 4) / axis.n))
        axes.append(axis)
    return Grid(*axes)


@eqx.filter_jit
def _spectra(equation: FokkerPlanck, grid: Grid, lam: Array) -> list[Array]:
    """For each axis the largest amplitude of each frequency `(n_i // 2 + 1,)` in sqrt(pi) and in sqrt(pi) ell."""
    moving = motion(equation, grid, lam)
    root = jnp.exp(moving.log_gibbs / 2)
    amplitudes = []
    for i in range(grid.ndim):
        waves = [jnp.abs(jnp.fft.rfft(wave, axis=i)) for wave in (root, root * moving.ell)]
        sizes = [jnp.max(wave, [j for j in range(grid.ndim) if j != i]) for wave in waves]
        amplitudes.append(jnp.maximum(sizes[0] / jnp.max(sizes[0]), sizes[1] / (jnp.max(sizes[1]) + LEAST)))
    return amplitudes

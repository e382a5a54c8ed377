"""Particles of a reverse process, and tests of a density on a grid against them.

    dY = b(Y, t) dt + √(2ε) dW        solved by diffrax: additive noise,
                                      so strong order 3/2 (Foster, 2024)

    mean of f        (1/n) Σ f(Y_i) ± sd(f)/√n
    chi-square       X² = Σ_b (n_b - n P_b)² / (n P_b) over B bins: χ² of B - 1 degrees,
                     n_b counts, P_b bins' mass

Particles and densities share nothing but the drift, so that each is a check of the
other.

References: theorem T22; Foster, dos Reis and Strange, SIAM J. Numer. Anal. 62 (2024),
for the method; Pearson, Phil. Mag. 50 (1900) 157.
"""

from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jax.scipy.special import gammaincc
from jaxtyping import Array

from ..core.checks import check_integer, raise_value_error
from ..core.program import compiled
from ..core.types import Count, Scalar
from ..grid import Grid
from ..potential import GaussianMixture
from .constants import CONSTANTS
from .reverse_process import ReverseProcess, read_process


class Estimate(NamedTuple):
    """A mean over particles and its standard error, of the shape of the quantity."""

    value: Array
    error: Array


class Agreement(NamedTuple):
    """Pearson's chi-square, its degrees of freedom, and `chance`, the p-value."""

    statistic: Array
    degrees: int
    chance: Array


def draw(mixture: GaussianMixture, count: Count, key: Array) -> Array:
    """`count` independent samples of a Gaussian mixture, `(count, d)`.

    ```python
    import jax
    import fpsolve as fp
    from fpsolve.diffusion.particles import draw

    draw(fp.GaussianMixture([[-1.0], [1.0]], 0.25), 100, jax.random.key(0))
    ```
    """
    check_integer("count", count, 1, "Give how many samples to draw.")
    m, d = mixture.means.shape
    # A component for each sample, then a normal variable of its covariance.
    first, second = jax.random.split(key)
    weights = mixture.weights / jnp.sum(mixture.weights)
    chosen = jax.random.choice(first, m, (count,), p=weights)
    normal = jax.random.normal(second, (count, d))
    means = mixture.means[chosen]
    covariances = mixture.covariances
    if covariances.ndim == 3:
        factors = jnp.linalg.cholesky(covariances)[chosen]
        return means + jnp.einsum("nij,nj->ni", factors, normal)
    # One variance a component, or one a component and axis.
    variances = covariances[:, None] if covariances.ndim == 1 else covariances
    deviations = jnp.sqrt(jnp.broadcast_to(variances, (m, d)))
    return means + deviations[chosen] * normal


def particles(
    process: ReverseProcess, start: Array, *, steps: Count = 400, key: Array
) -> Array:
    """Samples at the data end of a reverse process, from samples `start` at the noise
    end.

    **Arguments**: `process`; `start` `(n, d)`, by `draw(path(1.0), n, key)` for one;
    `steps`, equal in λ; `key`.

    **Returns** `(n, d)`. With noise each step is `diffrax.ShARK`, of strong order 3/2
    where the noise is additive; without, `diffrax.Heun`, of order 2. **Raises**
    `ImportError` without diffrax (the extra `sde`); `ValueError` for samples that are
    not `(n, d)`, or fewer than 1 step. **Cost**: 2 n steps scores; the path of the
    noise is not kept, so derivatives are taken forwards only.

    **Reference**: Foster, dos Reis and Strange, SIAM J. Numer. Anal. 62 (2024).

    ```python
    import jax
    import fpsolve as fp
    from fpsolve.diffusion.reverse_process import ReverseProcess
    from fpsolve.diffusion.particles import draw, particles
    from fpsolve.path.noising import Noising

    path = Noising(fp.GaussianMixture([[-1.0], [1.0]], 0.25))
    first, second = jax.random.split(jax.random.key(0))
    samples = particles(
        ReverseProcess(path), draw(path(1.0), 100, first), steps=50, key=second
    )
    ```
    """
    try:
        # Imported late: diffrax is an optional dependency.
        import diffrax
    except ImportError as missing:
        raise ImportError(
            f'Particles need {missing.name}: pip install "fpsolve[sde]"',
            name=missing.name,
        ) from missing
    check_integer("steps", steps, 1, "Give the number of steps, at least 1.")
    if jnp.ndim(start) != 2:
        raise_value_error(
            "start.shape",
            jnp.shape(start),
            "it must be (n, d), one sample a row",
            "Give draw(path(1.0), n, key).",
        )
    start = jnp.asarray(start)
    process = read_process(process, start.shape[1])
    return _solve(diffrax, process, start, int(steps), key, bool(process.noise > 0))


def expectation(samples: Array, f: Callable[[Array], Scalar]) -> Estimate:
    """The mean of f(x) over independent samples `(n, d)`, n > 1, with its standard
    error sd(f)/√n.

    ```python
    import jax
    from fpsolve.diffusion.particles import expectation

    expectation(jax.random.normal(jax.random.key(0), (100, 1)), lambda x: x[0] ** 2)
    ```
    """
    values = jax.vmap(lambda x: jnp.asarray(f(x)))(samples)
    # ddof=1: the unbiased estimate of the variance.
    deviation = jnp.std(values, axis=0, ddof=1)
    return Estimate(jnp.mean(values, axis=0), deviation / jnp.sqrt(len(values)))


def histogram(samples: Array, grid: Grid) -> Array:
    """The number of samples `(n, d)` in each cell of `grid`, `(*shape)`; samples
    outside of it are not counted.
    """
    edges = [axis.edges for axis in grid.axes]
    counts, _ = np.histogramdd(np.asarray(samples), edges)
    return jnp.asarray(counts)


def pearson(samples: Array, density: Array, grid: Grid) -> Agreement:
    """Pearson's test whether samples `(n, d)` are drawn from a density on a grid of
    `Line`s, by counts in its cells.

    The mass of a cell is taken as the density at its node times its weight, whose error
    is h²/24 p'' relative to the mean of a smooth density over a cell of width h.
    Neighbouring cells with fewer than 10 expected samples are joined, and the samples
    outside of the box are joined to the last of them. **Returns** an `Agreement`: a
    `chance` below 1e-4 speaks against the density.

    **Reference**: Pearson, Phil. Mag. 50 (1900) 157.

    ```python
    import jax
    import fpsolve as fp
    from fpsolve.diffusion.particles import pearson

    grid = fp.Grid(fp.Line(-6.0, 6.0, 64))
    samples = jax.random.normal(jax.random.key(0), (1000, 1))
    pearson(samples, grid.density(fp.Gaussian(0.0, 1.0)), grid).chance
    ```
    """
    if not all(axis.unbounded for axis in grid.axes):
        raise_value_error(
            "grid",
            grid,
            "cells are counted on axes of fp.Line",
            "Give fp.Grid(fp.Line(-6, 6, 64)), say.",
        )
    # Expected and observed numbers in the cells; the last entry is for the outside of
    # the box.
    number = len(samples)
    masses = np.ravel(np.asarray(density * grid.weights))
    expected = np.append(masses, 0.0) * number
    expected[-1] = max(number - np.sum(expected), 0.0)
    counts = np.ravel(np.asarray(histogram(samples, grid)))
    counts = np.append(counts, number - np.sum(counts))

    bins = _join_cells(expected)
    expected, counts = np.bincount(bins, expected), np.bincount(bins, counts)
    statistic = np.sum((counts - expected) ** 2 / expected)
    # The total number of samples is given, which takes one degree of freedom.
    degrees = len(expected) - 1
    chance = gammaincc(degrees / 2, jnp.asarray(statistic) / 2)
    return Agreement(jnp.asarray(statistic), degrees, chance)


@compiled
def _solve(
    diffrax: ModuleType,
    process: ReverseProcess,
    start: Array,
    steps: int,
    key: Array,
    noisy: bool,
) -> Array:
    """The samples after `steps` steps of diffrax, `(n, d)`."""
    times = jax.vmap(process.elapsed)(jnp.linspace(1, 0, steps + 1))

    def drift(t: Array, y: Array, process: ReverseProcess) -> Array:
        return jax.vmap(lambda x: process.drift(x, t))(y)

    def noise(t: Array, y: Array, process: ReverseProcess) -> lx.DiagonalLinearOperator:
        deviation = jnp.sqrt(2 * process.noise)
        return lx.DiagonalLinearOperator(jnp.broadcast_to(deviation, y.shape))

    terms = diffrax.ODETerm(drift)
    solver = diffrax.Heun()
    if noisy:
        # Steps are fixed and never rejected, so that the Brownian path need not be
        # stored.
        shape = jax.ShapeDtypeStruct(start.shape, start.dtype)
        area = diffrax.SpaceTimeLevyArea
        brownian = diffrax.UnsafeBrownianPath(shape, key, levy_area=area)
        terms = diffrax.MultiTerm(terms, diffrax.ControlTerm(noise, brownian))
        solver = diffrax.ShARK()
    solution = diffrax.diffeqsolve(
        terms,
        solver,
        times[0],
        times[-1],
        None,
        start,
        process,
        stepsize_controller=diffrax.StepTo(times),
        adjoint=diffrax.ForwardMode(),
        max_steps=steps + 1,
    )
    return solution.ys[-1]


def _join_cells(expected: np.ndarray) -> np.ndarray:
    """The bin of each cell, from the expected numbers `(cells,)`: cells in a row are
    joined until a bin has enough.
    """
    bins = np.zeros(len(expected), dtype=int)
    filled = 0.0
    number = 0
    for i, count in enumerate(expected):
        if filled >= CONSTANTS.min_bin_count:
            number += 1
            filled = 0.0
        bins[i] = number
        filled += count
    # The last bin may have too few: it is joined to the one before.
    if filled < CONSTANTS.min_bin_count:
        return np.where(bins == number, max(number - 1, 0), bins)
    return bins

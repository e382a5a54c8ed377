"""Particles beside densities: samples of a reverse process, and whether a density on the grid is theirs.

    dY = b(Y, t) dt + √(2ε) dW        solved by diffrax: additive noise, so strong order 3/2 (Foster, 2024)

    mean of f        (1/n) Σ f(Y_i) ± sd(f)/√n
    chi-square       X² = Σ_b (n_b - n P_b)² / (n P_b) over B bins: χ² of B - 1 degrees, n_b counts, P_b bins' mass

The two sides share the drift and nothing else, so each is a check of the other. References: theorem T22; Foster, dos
Reis and Strange, SIAM J. Numer. Anal. 62 (2024), for the method; Pearson, Phil. Mag. 50 (1900) 157.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jax.scipy.special import gammaincc
from jaxtyping import Array

from ..core.checks import check_integer, raise_value_error
from ..core.program import compiled
from ..core.types import Count
from ..grid import Grid
from ..potential import GaussianMixture
from .generation import ReverseProcess, read_process

FEWEST = 10  # expected in a bin; bins with fewer are joined to their neighbours


class Estimate(NamedTuple):
    """A mean over particles and its standard error, each of the shape of what was averaged."""

    value: Array
    error: Array


class Agreement(NamedTuple):
    """Pearson's chi-square of counts against a density, its degrees of freedom, and the chance of one as large."""

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
    first, second = jax.random.split(key)
    chosen = jax.random.choice(first, m, (count,), p=mixture.weights / jnp.sum(mixture.weights))
    normal = jax.random.normal(second, (count, d))
    if mixture.covariances.ndim == 3:
        return mixture.means[chosen] + jnp.einsum(
            "nij,nj->ni", jnp.linalg.cholesky(mixture.covariances)[chosen], normal
        )
    columns = mixture.covariances[:, None] if mixture.covariances.ndim == 1 else mixture.covariances
    return mixture.means[chosen] + jnp.sqrt(jnp.broadcast_to(columns, (m, d)))[chosen] * normal


def particles(process: ReverseProcess, start: Array, *, steps: Count = 400, key: Array) -> Array:
    """Samples at the data end of a reverse process, from samples `start` at the noise end.

    **Arguments**: `process`; `start` `(n, d)`, by `draw(path(1.0), n, key)` for one; `steps`, equal in λ; `key`.

    **Returns** `(n, d)`. With noise each step is `diffrax.ShARK`, of strong order 3/2 where the noise is additive;
    without, `diffrax.Heun`, of order 2. **Raises** `ImportError` without diffrax (the extra `sde`); `ValueError` for
    samples that are not `(n, d)`, or fewer than 1 step. **Cost**: 2 n steps scores; the path of the noise is not
    kept, so derivatives are taken forwards only.

    **Reference**: Foster, dos Reis and Strange, SIAM J. Numer. Anal. 62 (2024).

    ```python
    import jax
    import fpsolve as fp
    from fpsolve.diffusion.generation import ReverseProcess
    from fpsolve.diffusion.particles import draw, particles
    from fpsolve.path.noising import Noising

    path = Noising(fp.GaussianMixture([[-1.0], [1.0]], 0.25))
    first, second = jax.random.split(jax.random.key(0))
    samples = particles(ReverseProcess(path), draw(path(1.0), 100, first), steps=50, key=second)
    ```
    """
    try:
        import diffrax
    except ImportError as missing:
        raise ImportError(f'Particles need {missing.name}: pip install "fpsolve[sde]"', name=missing.name) from missing
    check_integer("steps", steps, 1, "Give the number of steps, at least 1.")
    if jnp.ndim(start) != 2:
        raise_value_error(
            "start.shape", jnp.shape(start), "it must be (n, d), one sample a row", "Give draw(path(1.0), n, key)."
        )
    start = jnp.asarray(start)
    process = read_process(process, start.shape[1])
    return _solve(diffrax, process, start, int(steps), key, bool(process.noise > 0))


def expectation(samples: Array, f: Callable[[Array], Any]) -> Estimate:
    """The mean of f(x) over independent samples `(n, d)`, n > 1, with its standard error sd(f)/√n.

    ```python
    import jax
    from fpsolve.diffusion.particles import expectation

    expectation(jax.random.normal(jax.random.key(0), (100, 1)), lambda x: x[0] ** 2)
    ```
    """
    values = jax.vmap(lambda x: jnp.asarray(f(x)))(samples)
    return Estimate(jnp.mean(values, axis=0), jnp.std(values, axis=0, ddof=1) / jnp.sqrt(len(values)))


def histogram(samples: Array, grid: Grid) -> Array:
    """How many samples `(n, d)` fall into each cell of `grid`, `(*shape)`; those outside of it are left out."""
    edges = [axis.edges for axis in grid.axes]
    counts, _ = np.histogramdd(np.asarray(samples), edges)
    return jnp.asarray(counts)


def pearson(samples: Array, density: Array, grid: Grid) -> Agreement:
    """Whether samples `(n, d)` are of a density on a grid of `Line`s: Pearson's test of the counts of its cells.

    The mass of a cell is its node's density times its weight, which for the mean of a smooth density over a cell of
    width h errs by h²/24 p''; cells in a row that expect fewer than 10 samples are counted together, and what falls
    outside of the box with the last of them. **Returns** an `Agreement`: a `chance` below 1e-4 speaks against it.

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
            "grid", grid, "cells are counted on axes of fp.Line", "Give fp.Grid(fp.Line(-6, 6, 64)), say."
        )
    expected = np.append(np.ravel(np.asarray(density * grid.weights)), 0.0) * len(samples)
    counts = np.ravel(np.asarray(histogram(samples, grid)))
    counts = np.append(counts, len(samples) - np.sum(counts))
    expected[-1] = max(len(samples) - np.sum(expected), 0.0)
    bins = _join(expected)
    expected, counts = np.bincount(bins, expected), np.bincount(bins, counts)
    statistic, degrees = np.sum((counts - expected) ** 2 / expected), len(expected) - 1
    return Agreement(jnp.asarray(statistic), degrees, gammaincc(degrees / 2, jnp.asarray(statistic) / 2))


@compiled
def _solve(diffrax: Any, process: ReverseProcess, start: Array, steps: int, key: Array, noisy: bool) -> Array:
    times = jax.vmap(process.elapsed)(jnp.linspace(1, 0, steps + 1))
    drift = diffrax.ODETerm(lambda t, y, process: jax.vmap(lambda x: process.drift(x, t))(y))
    terms, solver = drift, diffrax.Heun()
    if noisy:
        noise = diffrax.UnsafeBrownianPath(
            jax.ShapeDtypeStruct(start.shape, start.dtype), key, levy_area=diffrax.SpaceTimeLevyArea
        )
        wide = lambda t, y, process: lx.DiagonalLinearOperator(jnp.broadcast_to(jnp.sqrt(2 * process.noise), y.shape))
        terms, solver = diffrax.MultiTerm(drift, diffrax.ControlTerm(wide, noise)), diffrax.ShARK()
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


def _join(expected: np.ndarray) -> np.ndarray:
    """The bin of each cell: a new one begins where the one before has its fill, and the last joins the one before."""
    bins, filled, number = np.zeros(len(expected), dtype=int), 0.0, 0
    for i, count in enumerate(expected):
        if filled >= FEWEST:
            number, filled = number + 1, 0.0
        bins[i], filled = number, filled + count
    return np.where(bins == number, max(number - 1, 0), bins) if filled < FEWEST else bins

"""The exact law of a sampler with few steps on a line, and its distance from the data.

One step from λ to λ' is (`ddim`)

    Y' = m(Y) + √w N,            m(Y) = (α'/α) (Y + σ² s) - √(σ'² - w) σ s,
    w = ε σ'² (1 - κ'²/κ²),      s = ∇log p_λ(Y),      κ = σ/α.

On a line m increases, so that the law of a sampler can be computed without sampling: by
a quadrature of Gaussian kernels around m(x) where there is noise, and as q_1(x) =
q_0(y) dy/dx where there is none, as in the last step, where σ' = 0.

References: Song, Meng and Ermon, DDIM (ICLR 2021), eq. 12 and 16; Karras et al., EDM
(NeurIPS 2022), eq. 5.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..anneal.read import read_noising
from ..core.checks import check_finite_number, check_integer, raise_value_error
from ..core.program import compiled
from ..core.types import Count, Formula, Numbers, Real
from ..grid import Grid, Line
from .bisection import invert
from .constants import CONSTANTS
from .ddim import step_mean, step_variance
from .steps import check_lambdas
from .types import NoisingPath


class Law(NamedTuple):
    """A law on a line: `masses` of cells of `lengths` at `points`; all `(nodes,)`."""

    points: Array
    masses: Array
    lengths: Array


def sampler_law(
    path: NoisingPath,
    lambdas: Numbers,
    grid: Grid,
    *,
    noise: Real = 0.0,
    initial: Formula | None = None,
    nodes: Count = 2048,
) -> Law:
    """The exact law of a sampler with few steps, on a line; `masses / lengths` is its
    density.

    **Arguments**

    - `path`: a noising path on the line, with `alpha`, `sigma` and `score`: an
      `fp.Noising`
    - `lambdas`: `(N + 1,)`, between which the sampler steps, descending from 1 to 0
    - `grid`: one `fp.Line` outside of which there is no data; its number of nodes is
      not used
    - `noise`: ε in [0, 1]; 0 is DDIM, 1 is DDPM
    - `initial`: the density at λ = 1, a function of x; None starts from p_1, so that
      only the steps cause errors
    - `nodes`: of the quadrature; the noise of every step must be wider than their
      spacing

    **Returns** a `Law`. **Raises** `ValueError` for steps that do not descend from 1 to
    0, a noise outside [0, 1], a grid of more axes or another kind, too few nodes.
    **Cost**: N nodes scores, and N nodes² kernels if ε > 0.

    ```python
    import fpsolve as fp
    from fpsolve.diffusion.line_law import sampler_law
    from fpsolve.diffusion.steps import linear_steps
    from fpsolve.path.noising import Noising

    path = Noising(fp.GaussianMixture([[-1.0], [1.0]], 0.25))
    law = sampler_law(path, linear_steps(path, 8), fp.Grid(fp.Line(-4.0, 4.0, 64)))
    ```
    """
    lambdas = check_lambdas(lambdas)
    if not 0 <= check_finite_number("noise", noise) <= 1:
        raise_value_error(
            "noise",
            noise,
            "it must lie between 0 and 1",
            "Give 0 for DDIM, 1 for DDPM.",
        )
    if len(grid.axes) != 1 or not isinstance(grid.axes[0], Line):
        raise_value_error(
            "grid",
            grid,
            "laws of samplers are computed on one fp.Line",
            "Give fp.Grid(fp.Line(-5, 5, 64)).",
        )
    check_integer("nodes", nodes, 16, "Give 2048.")

    # At each λ: the box that holds the data and the noise, and the standard deviation
    # of the noise of the step from it.
    axis = grid.axes[0]
    lambdas = jnp.asarray(lambdas, dtype=float)
    alphas = np.asarray(path.alpha(lambdas))
    sigmas = np.asarray(path.sigma(lambdas))
    radius = CONSTANTS.noise_radius * sigmas
    lower = alphas * axis.lower - radius
    upper = alphas * axis.upper + radius
    boxes = np.stack([lower, upper], axis=1)
    alpha_pairs = (alphas[:-1], alphas[1:])
    sigma_pairs = (sigmas[:-1], sigmas[1:])
    widths = np.sqrt(step_variance(alpha_pairs, sigma_pairs, noise))
    # A quadrature that is coarser than the kernels would be wrong without any sign of
    # it.
    _check_resolved(nodes, widths, boxes[:, 1] - boxes[:, 0])
    read = read_noising(path, 1)

    def quadrature(k: int) -> tuple[Array, Array]:
        pair = slice(k, k + 2)
        width = jnp.asarray(widths[k])
        return _quadrature(read, lambdas[pair], width, jnp.asarray(boxes[pair]), nodes)

    # The law at λ = 1.
    x, lengths = quadrature(0)
    if initial is None:
        initial = lambda x: jnp.exp(-path(1.0)(x))
    masses = lengths * jax.vmap(initial)(x[:, None])
    # The quadrature and the truncated tails leave a mass slightly different from 1.
    masses = masses / jnp.sum(masses)

    # Step by step. The last step has no noise, since σ' is 0, and needs no further
    # quadrature.
    for k, width in enumerate(jnp.asarray(widths)):
        means, slopes = _means(read, lambdas[k : k + 2], width, x)
        if widths[k] > 0:
            x, lengths = quadrature(k + 1)
            masses = lengths * _convolve(means, masses, width, x)
        else:
            # Without noise a cell keeps its mass and changes its length.
            x = means
            lengths = lengths * slopes
    return Law(x, masses, lengths)


class Shortfall(NamedTuple):
    """Distances of the law q from the data p: `tv` ½ ∫|q - p|, `kl` KL(q|p)."""

    tv: Array
    kl: Array


def shortfall(path: NoisingPath, law: Law) -> Shortfall:
    """The distances of a law from the data, p_0 of the path.

    ```python
    import fpsolve as fp
    from fpsolve.diffusion.line_law import sampler_law, shortfall
    from fpsolve.diffusion.steps import linear_steps
    from fpsolve.path.noising import Noising

    path = Noising(fp.GaussianMixture([[-1.0], [1.0]], 0.25))
    shortfall(
        path, sampler_law(path, linear_steps(path, 8), fp.Grid(fp.Line(-4.0, 4.0, 64)))
    ).tv
    ```
    """
    return _shortfall(read_noising(path, 1), law)


@compiled
def _shortfall(path: NoisingPath, law: Law) -> Shortfall:
    energies = jax.vmap(path(0.0))(law.points[:, None])
    data = jnp.exp(-energies) * law.lengths
    outside = 1 - jnp.sum(data)  # the mass of the data where the sampler has none
    # log(q / p), 0 where q is 0; the energy is used, since p may underflow.
    positive = law.masses > 0
    log_masses = jnp.log(jnp.where(positive, law.masses, 1))
    log_ratio = log_masses + energies - jnp.log(law.lengths)
    log_ratio = jnp.where(positive, log_ratio, 0)
    return Shortfall(
        tv=(jnp.sum(jnp.abs(law.masses - data)) + outside) / 2,
        kl=jnp.sum(law.masses * log_ratio),
    )


class Comparison(NamedTuple):
    """Distances to the data for S numbers of steps and K schedules; prints a table."""

    steps: tuple[int, ...]
    names: tuple[str, ...]
    tv: np.ndarray  # (S, K)
    kl: np.ndarray  # (S, K)

    def __str__(self) -> str:
        lines = ["steps " + " ".join(f"{name:>12}" for name in self.names)]
        for n, row in zip(self.steps, self.tv, strict=True):
            lines.append(f"{n:5d} " + " ".join(f"{tv:12.4e}" for tv in row))
        return "\n".join(lines)


def compare_steps(
    path: NoisingPath,
    schedules: Mapping[str, Callable[[NoisingPath, Count], Numbers]],
    steps: Sequence[Count],
    grid: Grid,
    *,
    noise: Real = 0.0,
    initial: Formula | None = None,
    nodes: Count = 2048,
) -> Comparison:
    """A comparison of schedules at equal numbers of steps, by the distance of the exact
    laws from the data.

    **Arguments**: `schedules`, `{name: f(path, steps) -> lambdas}`: `linear_steps`,
    `schedule_steps(...)`, ...; the rest as for `sampler_law`. **Returns** a
    `Comparison`, which prints as a table of TV.

    ```python
    import fpsolve as fp
    from fpsolve.diffusion.line_law import compare_steps
    from fpsolve.diffusion.steps import cosine_steps, linear_steps
    from fpsolve.path.noising import Noising

    path = Noising(fp.GaussianMixture([[-1.0], [1.0]], 0.25))
    grid = fp.Grid(fp.Line(-4.0, 4.0, 64))
    print(
        compare_steps(
            path, {"linear": linear_steps, "cosine": cosine_steps}, [2, 4], grid
        )
    )
    ```
    """

    def distances(name: str, n: Count) -> list[float]:
        lambdas = schedules[name](path, n)
        law = sampler_law(
            path, lambdas, grid, noise=noise, initial=initial, nodes=nodes
        )
        return [float(distance) for distance in shortfall(path, law)]

    rows = [[distances(name, n) for name in schedules] for n in steps]
    found = np.array(rows)
    return Comparison(
        steps=tuple(steps),
        names=tuple(schedules),
        tv=found[..., 0],
        kl=found[..., 1],
    )


@compiled
def _means(
    path: NoisingPath, lambdas: Array, width: Array, x: Array
) -> tuple[Array, Array]:
    """m(x) and its slope at points x `(n,)`, for the step between two `lambdas` with
    noise of deviation `width`.
    """

    def mean(x: Array) -> Array:
        return _mean(path, lambdas, width, x)

    def with_slope(x: Array) -> tuple[Array, Array]:
        return jax.jvp(mean, (x,), (jnp.ones_like(x),))

    return jax.vmap(with_slope)(x)


def _mean(path: NoisingPath, lambdas: Array, width: Array, x: Array) -> Array:
    """m(x), a scalar."""
    score = path.score(x[None], lambdas[0])[0]
    alphas = path.alpha(lambdas)
    sigmas = path.sigma(lambdas)
    return step_mean(alphas, sigmas, width**2, x, score)


@compiled
def _quadrature(
    path: NoisingPath, lambdas: Array, width: Array, boxes: Array, nodes: int
) -> tuple[Array, Array]:
    """Nodes x and weights, `(nodes,)`, in the boxes `(2, 2)` before and after a step.

    The nodes are even in x/a + m(x)/b, where a and b are the lengths of the boxes:
    neither x nor m(x) is then coarse anywhere, though m may be steep.
    """
    lower, upper = boxes[0]
    lengths = boxes[:, 1] - boxes[:, 0]

    def coordinate(x: Array) -> Array:
        return x / lengths[0] + _mean(path, lambdas, width, x) / lengths[1]

    def coordinate_at(fraction: Array) -> Array:
        return jax.vmap(coordinate)(lower + lengths[0] * fraction)

    first, last = coordinate(lower), coordinate(upper)
    # Midpoints of cells that are equal in the coordinate.
    even = first + (last - first) * (jnp.arange(nodes) + 0.5) / nodes
    x = lower + lengths[0] * invert(coordinate_at, even)
    slopes = jax.vmap(jax.grad(coordinate))(x)
    return x, (last - first) / nodes / slopes


@jax.jit
def _convolve(centers: Array, masses: Array, width: Array, points: Array) -> Array:
    """Σ_i masses_i N(y; centers_i, width²) at points y."""

    def row(y: Array) -> Array:
        distances = (y - centers) / width
        return jnp.exp(-(distances**2) / 2) @ masses

    # In batches, so that the whole matrix of kernels is never in memory.
    rows = jax.lax.map(row, points, batch_size=CONSTANTS.kernel_batch)
    return rows / (width * jnp.sqrt(2 * jnp.pi))


def _check_resolved(nodes: int, widths: np.ndarray, lengths: np.ndarray) -> None:
    """A `ValueError` where the kernels, of standard deviations `widths`, are narrower
    than the distances of their centers in boxes of `lengths`.
    """
    pairs = zip(lengths[1:], widths, strict=True)
    # The coordinate of `_quadrature` has a range of about 2, so that nodes are at most
    # 2 b / nodes apart in m(x).
    ratios = [2 * length / nodes / width for length, width in pairs if width]
    coarse = max(ratios, default=0)
    if coarse > 1:
        allowed = (
            f"the noise of a step is narrower than their spacing, {coarse:.1f} times"
        )
        enough = int(np.ceil(nodes * coarse))
        cure = f"Give nodes={enough}, or steps that end less near to 0."
        raise_value_error("nodes", nodes, allowed, cure)

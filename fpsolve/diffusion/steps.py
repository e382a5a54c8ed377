"""Step sequences of samplers from noise to data, and the exact law of a sampler with
few steps on a line.

The steps are given by 1 = λ_0 > λ_1 > ... > λ_N = 0. With κ = σ/α (1/κ² the
signal-to-noise ratio),

    linear     even in λ                         log_snr    even in log κ from κ(1) to κ_min, then 0
    cosine     even in arctan κ                  edm        even in κ^(1/7) from κ(1) to κ_min, then 0
    cost       even in ∫ √g dλ, λ̇ ∝ g^(-1/2): the optimal schedules of theorem T21, g a cost of moving along the path

One step from λ to λ' is the exponential Euler step of the reverse process of relative
noise level ε (`ddim`),

    Y' = m(Y) + √w N,      m(Y) = (α'/α) (Y + σ² s) - √(σ'² - w) σ s,      w = ε σ'² (1 - κ'²/κ²),      s = ∇log p_λ(Y);

ε = 0 is DDIM, which is the Euler step of EDM in the variables Y/α and κ; ε = 1 is the
ancestral sampler of DDPM. On a line m increases, so that the law of a sampler can be
computed without sampling: by a quadrature of Gaussian kernels around m(x) where there
is noise, and as q_1(x) = q_0(y) dy/dx where there is none, as in the last step, where
σ' = 0.

References: Song, Meng and Ermon, DDIM (ICLR 2021), eq. 12 and 16; Nichol and Dhariwal
(ICML 2021), eq. 17; Karras et al., EDM (NeurIPS 2022), eq. 5; Lu et al., DPM-Solver
(NeurIPS 2022), for even steps in log κ.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..anneal.read import read_noising
from ..core.checks import (
    check_finite_number,
    check_integer,
    check_numbers,
    check_positive,
    raise_value_error,
)
from ..core.content import is_plain
from ..core.program import compiled, sampling_program
from ..core.types import AnyArray, Count, Formula, Numbers, Real, Scalar
from ..grid import Grid, Line
from .constants import CONSTANTS
from .ddim import step_mean, step_variance
from .generation import invert
from .types import Amplitudes, NoisingPath


def linear_steps(path: Amplitudes, steps: Count) -> Array:
    """λ_i = 1 - i/N: `(N + 1,)`, descending from 1 to 0."""
    return (1 - jnp.arange(_check_steps(steps) + 1) / steps).at[-1].set(0.0)


def cosine_steps(path: Amplitudes, steps: Count) -> Array:
    """Even in arctan(σ/α), so that α² = cos² for paths that preserve the variance:
    `(N + 1,)`, from 1 to 0.

    **Reference**: Nichol and Dhariwal (ICML 2021), eq. 17, without its offset.
    """
    angles = jnp.arctan(noise_ratio(path, jnp.ones(()))) * linear_steps(path, steps)
    return lambdas_at(path, jnp.tan(angles))


def log_snr_steps(path: Amplitudes, steps: Count, smallest: Real = 0.002) -> Array:
    """Even in log(σ/α) down to `smallest`, then 0: `(N + 1,)`, from 1 to 0. For N = 1
    there is only the last step.
    """
    return lambdas_at(path, _even_ratios(path, steps, smallest, jnp.log, jnp.exp))


def edm_steps(
    path: Amplitudes, steps: Count, rho: Real = 7.0, smallest: Real = 0.002
) -> Array:
    """Even in (σ/α)^(1/ρ) down to `smallest`, then 0: `(N + 1,)`, from 1 to 0.

    **Arguments**: `path`, with `alpha` and `sigma`; `steps`, N; `rho`; `smallest`, the
    last σ/α above 0, in the units of the data. **Raises** `ValueError` for numbers that
    are not positive, or a `smallest` above σ/α at λ = 1.

    **Reference**: Karras et al. (NeurIPS 2022), eq. 5.

    ```python
    import fpsolve as fp
    from fpsolve.diffusion.steps import edm_steps
    from fpsolve.path.noising import Noising

    lambdas = edm_steps(Noising(fp.GaussianMixture([[-1.0], [1.0]], 0.25)), 8)
    ```
    """
    check_positive("rho", rho, "Give 7, the choice of EDM.")
    return lambdas_at(
        path,
        _even_ratios(path, steps, smallest, lambda u: u ** (1 / rho), lambda u: u**rho),
    )


def schedule_steps(
    schedule: Callable[[Array], Array],
) -> Callable[[Amplitudes, Count], Array]:
    """The steps of a schedule t -> λ increasing from 0 to 1 on [0, `schedule.total`],
    in reverse and at equal times.

    The costs of theorem T21 do not depend on the direction, so that a schedule that is
    optimal towards noise is also optimal in reverse. **Returns** a function of path and
    number of steps, as `linear_steps` is.
    """
    total = getattr(schedule, "total", None)
    if not callable(schedule) or total is None:
        raise_value_error(
            "schedule",
            schedule,
            "it must be callable and have a total",
            "Give fp.schedule.optimal(path, total).",
        )

    def steps_of(path: Amplitudes, steps: Count) -> Array:
        lambdas = jax.vmap(schedule)(total * linear_steps(path, steps))
        # A schedule may miss its ends by rounding.
        return jnp.clip(lambdas.at[0].set(1.0).at[-1].set(0.0), 0, 1)

    return steps_of


def cost_steps(
    cost: Callable[[Array], AnyArray],
) -> Callable[[Amplitudes, Count], Array]:
    """Steps of equal ∫ √g dλ, for `cost` = √g at λ `(L,)`, positive inside (0, 1):
    `(L,)`.

    **Returns** a function of path and number of steps, as `linear_steps` is.
    **Reference**: theorem T21.
    """
    # The midpoint rule, which does not evaluate the cost at the ends, where it may
    # vanish.
    lambdas = jnp.linspace(0, 1, CONSTANTS.cost_samples)
    middles = (lambdas[1:] + lambdas[:-1]) / 2
    values = jnp.asarray(cost(middles))
    check_positive(
        "cost",
        values,
        "Give the square root of a cost that is positive along the path.",
    )
    integral = jnp.concatenate([jnp.zeros(1), jnp.cumsum(values)])

    def steps_of(path: Amplitudes, steps: Count) -> Array:
        inside = jnp.interp(integral[-1] * linear_steps(path, steps), integral, lambdas)
        return inside.at[0].set(1.0).at[-1].set(0.0)

    return steps_of


class Law(NamedTuple):
    """The law of a sampler on a line: `masses` of cells of `lengths` around ascending
    `points`; all `(nodes,)`.
    """

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
    from fpsolve.diffusion.steps import linear_steps, sampler_law
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
    axis, lambdas = grid.axes[0], jnp.asarray(lambdas, dtype=float)
    alphas, sigmas = np.asarray(path.alpha(lambdas)), np.asarray(path.sigma(lambdas))
    radius = CONSTANTS.noise_radius * sigmas
    boxes = np.stack(
        [alphas * axis.lower - radius, alphas * axis.upper + radius], axis=1
    )
    widths = np.sqrt(
        step_variance((alphas[:-1], alphas[1:]), (sigmas[:-1], sigmas[1:]), noise)
    )
    # A quadrature that is coarser than the kernels would be wrong without any sign of
    # it.
    _check_resolved(nodes, widths, boxes[:, 1] - boxes[:, 0])
    read = read_noising(path, 1)

    def quadrature(k: int) -> tuple[Array, Array]:
        pair = slice(k, k + 2)
        return _quadrature(
            read, lambdas[pair], jnp.asarray(widths[k]), jnp.asarray(boxes[pair]), nodes
        )

    # The law at λ = 1.
    x, lengths = quadrature(0)
    density = (lambda x: jnp.exp(-path(1.0)(x))) if initial is None else initial
    masses = lengths * jax.vmap(density)(x[:, None])
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
            x, lengths = means, lengths * slopes
    return Law(x, masses, lengths)


class Shortfall(NamedTuple):
    """The distances of the law q of a sampler from the data p: `tv` ½ ∫|q - p|, and
    `kl` KL(q|p); scalars.
    """

    tv: Array
    kl: Array


def shortfall(path: NoisingPath, law: Law) -> Shortfall:
    """The distances of a law from the data, p_0 of the path.

    ```python
    import fpsolve as fp
    from fpsolve.diffusion.steps import linear_steps, sampler_law, shortfall
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
    log_ratio = jnp.where(
        positive,
        jnp.log(jnp.where(positive, law.masses, 1)) + energies - jnp.log(law.lengths),
        0,
    )
    return Shortfall(
        (jnp.sum(jnp.abs(law.masses - data)) + outside) / 2,
        jnp.sum(law.masses * log_ratio),
    )


class Comparison(NamedTuple):
    """Distances to the data for S numbers of steps and K schedules; it prints as a
    table of TV.
    """

    steps: tuple[int, ...]
    names: tuple[str, ...]
    tv: np.ndarray  # (S, K)
    kl: np.ndarray  # (S, K)

    def __str__(self) -> str:
        rows = [
            f"{n:5d} " + " ".join(f"{tv:12.4e}" for tv in row)
            for n, row in zip(self.steps, self.tv, strict=True)
        ]
        return "\n".join(
            ["steps " + " ".join(f"{name:>12}" for name in self.names), *rows]
        )


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
    from fpsolve.diffusion.steps import compare_steps, cosine_steps, linear_steps
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

    found = np.array([[distances(name, n) for name in schedules] for n in steps])
    return Comparison(
        tuple(steps), tuple(schedules), tv=found[..., 0], kl=found[..., 1]
    )


@compiled
def _means(
    path: NoisingPath, lambdas: Array, width: Array, x: Array
) -> tuple[Array, Array]:
    """m(x) and its slope at points x `(n,)`, for the step between two `lambdas` with
    noise of deviation `width`.
    """

    def with_slope(x: Array) -> tuple[Array, Array]:
        return jax.jvp(
            lambda x: _mean(path, lambdas, width, x), (x,), (jnp.ones_like(x),)
        )

    return jax.vmap(with_slope)(x)


def _mean(path: NoisingPath, lambdas: Array, width: Array, x: Array) -> Array:
    """m(x), a scalar."""
    score = path.score(x[None], lambdas[0])[0]
    return step_mean(path.alpha(lambdas), path.sigma(lambdas), width**2, x, score)


@compiled
def _quadrature(
    path: NoisingPath, lambdas: Array, width: Array, boxes: Array, nodes: int
) -> tuple[Array, Array]:
    """Nodes x and weights, `(nodes,)`, in the boxes `(2, 2)` before and after a step.

    The nodes are even in x/a + m(x)/b, where a and b are the lengths of the boxes:
    neither x nor m(x) is then coarse anywhere, though m may be steep.
    """
    lower, lengths = boxes[0, 0], boxes[:, 1] - boxes[:, 0]
    coordinate = lambda x: x / lengths[0] + _mean(path, lambdas, width, x) / lengths[1]
    first, last = coordinate(lower), coordinate(boxes[0, 1])
    coordinate_at = lambda fraction: jax.vmap(coordinate)(lower + lengths[0] * fraction)
    even = first + (last - first) * (jnp.arange(nodes) + 0.5) / nodes
    x = lower + lengths[0] * invert(coordinate_at, even)
    return x, (last - first) / nodes / jax.vmap(jax.grad(coordinate))(x)


@jax.jit
def _convolve(centers: Array, masses: Array, width: Array, points: Array) -> Array:
    """Σ_i masses_i N(y; centers_i, width²) at points y."""
    row = lambda y: jnp.exp(-(((y - centers) / width) ** 2) / 2) @ masses
    # In batches, so that the whole matrix of kernels is never in memory.
    rows = jax.lax.map(row, points, batch_size=CONSTANTS.kernel_batch)
    return rows / (width * jnp.sqrt(2 * jnp.pi))


def noise_ratio(path: Amplitudes, lam: Array) -> Array:
    """κ = σ/α."""
    return path.sigma(lam) / path.alpha(lam)


def lambdas_at(path: Amplitudes, ratios: Array) -> Array:
    """The λ with given κ `(N + 1,)`; the ends are 1 and 0 exactly."""
    levels = (
        path if is_plain(path) else read_noising(_Levels(path.alpha, path.sigma), 1)
    )
    return _invert_ratio(levels, ratios)


class _Levels(NamedTuple):
    """The amplitudes of a path, without its density."""

    alpha: Callable[[Scalar], Array]
    sigma: Callable[[Scalar], Array]


@sampling_program
def _invert_ratio(levels: Amplitudes, ratios: Array) -> Array:
    return (
        invert(lambda lam: noise_ratio(levels, lam), ratios)
        .at[0]
        .set(1.0)
        .at[-1]
        .set(0.0)
    )


def _even_ratios(
    path: Amplitudes,
    steps: Count,
    smallest: Real,
    forward: Callable[[Array], Array],
    inverse: Callable[[Array], Array],
) -> Array:
    """N values of κ from κ(1) to `smallest`, even in the coordinate `forward`(κ), and
    0, `(N + 1,)`.
    """
    check_positive("smallest", smallest, "Give 0.002, the choice of EDM.")
    largest = noise_ratio(path, jnp.ones(()))
    if not smallest < float(largest):
        raise_value_error(
            "smallest",
            smallest,
            f"it must be below sigma/alpha at the end, {float(largest):.3g}",
            "Give 0.002.",
        )
    # Even in the coordinate, then back to κ.
    ends = forward(largest), forward(jnp.asarray(smallest, dtype=float))
    ratios = inverse(jnp.linspace(*ends, _check_steps(steps)))
    return jnp.concatenate([ratios, jnp.zeros(1)])


def _check_steps(steps: Count) -> int:
    return check_integer("steps", steps, 1, "Give the number of steps, at least 1.")


def check_lambdas(lambdas: Numbers) -> np.ndarray:
    """`lambdas` as an array `(N + 1,)`; a `ValueError` unless they descend from 1 to 0."""
    cure = "Give linear_steps(path, 10), say."
    values = check_numbers("lambdas", lambdas, "they must be numbers", cure)
    if (
        values.ndim != 1
        or len(values) < 2
        or values[0] != 1
        or values[-1] != 0
        or not np.all(np.diff(values) < 0)
    ):
        raise_value_error("lambdas", lambdas, "they must descend from 1 to 0", cure)
    return values


def _check_resolved(nodes: int, widths: np.ndarray, lengths: np.ndarray) -> None:
    """A `ValueError` where the kernels, of standard deviations `widths`, are narrower
    than the distances of their centers in boxes of `lengths`.
    """
    pairs = zip(lengths[1:], widths, strict=True)
    # The coordinate of `_quadrature` has a range of about 2, so that nodes are at most
    # 2 b / nodes apart in m(x).
    coarse = max(
        (2 * length / nodes / width for length, width in pairs if width), default=0
    )
    if coarse > 1:
        allowed = (
            f"the noise of a step is narrower than their spacing, {coarse:.1f} times"
        )
        cure = (
            f"Give nodes={int(np.ceil(nodes * coarse))}, or steps that end less near to "
            "0."
        )
        raise_value_error("nodes", nodes, allowed, cure)

"""Where a sampler of few steps should stop on its way from noise to data, and exactly how far off it ends.

A schedule of steps is 1 = λ_0 > λ_1 > ... > λ_N = 0. With κ = σ/α (1/κ² the signal-to-noise ratio),

    linear     λ evenly                          log_snr    log κ evenly from κ(1) to κ_min, then 0
    cosine     arctan κ evenly                   edm        κ^(1/7) evenly from κ(1) to κ_min, then 0
    cost       ∫ √g dλ evenly, λ̇ ∝ g^(-1/2): the optimal schedules of theorem T21, g a cost of moving along the path

One step from λ to λ' is the exponential Euler step of the reverse process of relative noise level ε,

    Y' = (α'/α) (Y + σ² s) - √(σ'² - w) σ s + √w N,      w = ε σ'² (1 - κ'²/κ²),      s = ∇log p_λ(Y);

ε = 0 is DDIM, which is the Euler step of EDM in the variables Y/α and κ; ε = 1 is the ancestral sampler of DDPM. On a
line Y -> Y' - √w N =: m(Y) increases, so the law of a sampler has no sampling error: Gaussian kernels around m(x) by
quadrature where there is noise, and q_1(x) = q_0(y) dy/dx where there is none, as in the last step, whose σ' is 0.

References: Song, Meng and Ermon, DDIM (ICLR 2021), eq. 12 and 16; Nichol and Dhariwal (ICML 2021), eq. 17; Karras et
al., EDM (NeurIPS 2022), eq. 5; Lu et al., DPM-Solver (NeurIPS 2022), for even steps in log κ.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..anneal.read import read_noising
from ..core.checks import check_finite_number, check_integer, check_numbers, check_positive, raise_value_error
from ..core.program import compiled
from ..core.types import Count, Real
from ..grid import Grid, Line
from .generation import invert

REACH = 8.5  # standard deviations of the noise that a box holds
ROWS = 128  # of a matrix of kernels that are formed at once
SAMPLES = 2049  # of a cost along the path


def linear_steps(path: Any, steps: Count) -> Array:
    """λ_i = 1 - i/N: `(N + 1,)`, descending from 1 to 0."""
    return (1 - jnp.arange(_count(steps) + 1) / steps).at[-1].set(0.0)


def cosine_steps(path: Any, steps: Count) -> Array:
    """arctan(σ/α) evenly, so that α² = cos² for paths that preserve the variance: `(N + 1,)`, from 1 to 0.

    **Reference**: Nichol and Dhariwal (ICML 2021), eq. 17, without its offset.
    """
    angles = jnp.arctan(_ratio(path, jnp.ones(()))) * linear_steps(path, steps)
    return _places(path, jnp.tan(angles))


def log_snr_steps(path: Any, steps: Count, smallest: Real = 0.002) -> Array:
    """log(σ/α) evenly down to `smallest`, then 0: `(N + 1,)`, from 1 to 0. Of N = 1 there is only the last step."""
    return _places(path, _down_to(path, steps, smallest, jnp.log, jnp.exp))


def edm_steps(path: Any, steps: Count, rho: Real = 7.0, smallest: Real = 0.002) -> Array:
    """(σ/α)^(1/ρ) evenly down to `smallest`, then 0: `(N + 1,)`, from 1 to 0.

    **Arguments**: `path`, with `alpha` and `sigma`; `steps`, N; `rho`; `smallest`, the last σ/α above 0, in the units
    of the data. **Raises** `ValueError` for numbers that are not positive, or a `smallest` above σ/α at λ = 1.

    **Reference**: Karras et al. (NeurIPS 2022), eq. 5.

    ```python
    import fpsolve as fp
    from fpsolve.diffusion.steps import edm_steps
    from fpsolve.path.noising import Noising

    lambdas = edm_steps(Noising(fp.GaussianMixture([[-1.0], [1.0]], 0.25)), 8)
    ```
    """
    check_positive("rho", rho, "Give 7, the choice of EDM.")
    return _places(path, _down_to(path, steps, smallest, lambda u: u ** (1 / rho), lambda u: u**rho))


def schedule_steps(schedule: Callable[[Any], Any]) -> Callable[[Any, Count], Array]:
    """The steps of a schedule t -> λ rising from 0 to 1 on [0, `schedule.total`], walked back in equal times.

    The cost of a schedule of theorem T21 does not see the direction, so one that is optimal towards noise is optimal
    back. **Returns** a function of path and number of steps, as `linear_steps` is.
    """
    total = getattr(schedule, "total", None)
    if not callable(schedule) or total is None:
        raise_value_error(
            "schedule", schedule, "it must be callable and have a total", "Give fp.schedule.optimal(path, total)."
        )

    def steps_of(path: Any, steps: Count) -> Array:
        lambdas = jax.vmap(schedule)(total * linear_steps(path, steps))
        return jnp.clip(lambdas.at[0].set(1.0).at[-1].set(0.0), 0, 1)

    return steps_of


def cost_steps(cost: Callable[[Array], Any]) -> Callable[[Any, Count], Array]:
    """Steps of equal ∫ √g dλ, for `cost` = √g at λ `(L,)`, positive inside (0, 1): `(L,)`.

    **Returns** a function of path and number of steps, as `linear_steps` is. **Reference**: theorem T21.
    """
    lambdas = jnp.linspace(0, 1, SAMPLES)
    middles = (lambdas[1:] + lambdas[:-1]) / 2
    values = jnp.asarray(cost(middles))
    check_positive("cost", values, "Give the square root of a cost that is positive along the path.")
    whole = jnp.concatenate([jnp.zeros(1), jnp.cumsum(values)])

    def steps_of(path: Any, steps: Count) -> Array:
        inside = jnp.interp(whole[-1] * linear_steps(path, steps), whole, lambdas)
        return inside.at[0].set(1.0).at[-1].set(0.0)

    return steps_of


class Law(NamedTuple):
    """The law of a sampler on a line: `masses` at `points`, ascending, of cells of `lengths`; all `(nodes,)`."""

    points: Array
    masses: Array
    lengths: Array


def sampler_law(
    path: Any, lambdas: Any, grid: Grid, *, noise: Real = 0.0, initial: Any = None, nodes: Count = 2048
) -> Law:
    """The exact law of a sampler of few steps, on a line; `masses / lengths` is its density.

    **Arguments**

    - `path`: a noising path on the line, with `alpha`, `sigma` and `score`: an `fp.Noising`
    - `lambdas`: `(N + 1,)`, where the sampler stops, descending from 1 to 0
    - `grid`: one `fp.Line` outside of which there is no data; its number of nodes is of no matter
    - `noise`: ε in [0, 1]; 0 is DDIM, 1 is DDPM
    - `initial`: the density at λ = 1, a function of x; None starts from p_1, so that nothing but steps errs
    - `nodes`: of the quadrature; the noise of every step must be wider than their spacing

    **Returns** a `Law`. **Raises** `ValueError` for steps that do not descend from 1 to 0, a noise outside [0, 1], a
    grid of more axes or another kind, too few nodes. **Cost**: N nodes scores, and N nodes² kernels if ε > 0.

    ```python
    import fpsolve as fp
    from fpsolve.diffusion.steps import linear_steps, sampler_law
    from fpsolve.path.noising import Noising

    path = Noising(fp.GaussianMixture([[-1.0], [1.0]], 0.25))
    law = sampler_law(path, linear_steps(path, 8), fp.Grid(fp.Line(-4.0, 4.0, 64)))
    ```
    """
    places = check_places(lambdas)
    if not 0 <= check_finite_number("noise", noise) <= 1:
        raise_value_error("noise", noise, "it must lie between 0 and 1", "Give 0 for DDIM, 1 for DDPM.")
    if len(grid.axes) != 1 or not isinstance(grid.axes[0], Line):
        raise_value_error(
            "grid", grid, "laws of samplers are computed on one fp.Line", "Give fp.Grid(fp.Line(-5, 5, 64))."
        )
    check_integer("nodes", nodes, 16, "Give 2048.")
    axis, places = grid.axes[0], jnp.asarray(places, dtype=float)
    alphas, sigmas = np.asarray(path.alpha(places)), np.asarray(path.sigma(places))
    bounds = np.stack([alphas * axis.lower - REACH * sigmas, alphas * axis.upper + REACH * sigmas], axis=1)
    shrinking = (sigmas[1:] / alphas[1:] * alphas[:-1] / sigmas[:-1]) ** 2
    widths = np.sqrt(noise * sigmas[1:] ** 2 * (1 - shrinking))
    _check_resolved(nodes, widths, bounds[:, 1] - bounds[:, 0])
    read = read_noising(path, 1)
    spots = lambda k: _spots(read, places[k : k + 2], jnp.asarray(widths[k]), jnp.asarray(bounds[k : k + 2]), nodes)
    x, lengths = spots(0)
    given = (lambda x: jnp.exp(-path(1.0)(x))) if initial is None else initial
    masses = lengths * jax.vmap(given)(x[:, None])
    masses = masses / jnp.sum(masses)
    for k, width in enumerate(jnp.asarray(widths)):
        y, slope = _step(read, places[k : k + 2], width, x)
        if widths[k] > 0:
            x, lengths = spots(k + 1)
            masses = lengths * _spread(y, masses, width, x)
        else:
            x, lengths = y, lengths * slope
    return Law(x, masses, lengths)


class Shortfall(NamedTuple):
    """How far the law q of a sampler ends from the data p: `tv` ½ ∫|q - p|, and `kl` KL(q|p); scalars."""

    tv: Array
    kl: Array


def shortfall(path: Any, law: Law) -> Shortfall:
    """The distances of a law from the data, p_0 of the path.

    ```python
    import fpsolve as fp
    from fpsolve.diffusion.steps import linear_steps, sampler_law, shortfall
    from fpsolve.path.noising import Noising

    path = Noising(fp.GaussianMixture([[-1.0], [1.0]], 0.25))
    shortfall(path, sampler_law(path, linear_steps(path, 8), fp.Grid(fp.Line(-4.0, 4.0, 64)))).tv
    ```
    """
    return _shortfall(read_noising(path, 1), law)


@compiled
def _shortfall(path: Any, law: Law) -> Shortfall:
    energies = jax.vmap(path(0.0))(law.points[:, None])
    data = jnp.exp(-energies) * law.lengths
    missed = 1 - jnp.sum(data)  # of the data, where no sample comes
    there = law.masses > 0
    ratio = jnp.where(there, jnp.log(jnp.where(there, law.masses, 1)) + energies - jnp.log(law.lengths), 0)
    return Shortfall((jnp.sum(jnp.abs(law.masses - data)) + missed) / 2, jnp.sum(law.masses * ratio))


class Comparison(NamedTuple):
    """Distances to the data for every number of steps (S) and schedule (K)."""

    steps: tuple[int, ...]
    names: tuple[str, ...]
    tv: np.ndarray  # (S, K)
    kl: np.ndarray  # (S, K)

    def __str__(self) -> str:
        rows = [f"{n:5d} " + " ".join(f"{tv:12.4e}" for tv in row) for n, row in zip(self.steps, self.tv, strict=True)]
        return "\n".join(["steps " + " ".join(f"{name:>12}" for name in self.names), *rows])


def compare_steps(
    path: Any,
    schedules: Mapping[str, Callable[[Any, Count], Any]],
    steps: Sequence[Count],
    grid: Grid,
    *,
    noise: Real = 0.0,
    initial: Any = None,
    nodes: Count = 2048,
) -> Comparison:
    """The table of schedules at equal budgets: how far the exact law of every sampler ends from the data.

    **Arguments**: `schedules`, `{name: f(path, steps) -> lambdas}`: `linear_steps`, `schedule_steps(...)`, ...; the
    rest as for `sampler_law`. **Returns** a `Comparison`, which prints as a table of TV.

    ```python
    import fpsolve as fp
    from fpsolve.diffusion.steps import compare_steps, cosine_steps, linear_steps
    from fpsolve.path.noising import Noising

    path = Noising(fp.GaussianMixture([[-1.0], [1.0]], 0.25))
    grid = fp.Grid(fp.Line(-4.0, 4.0, 64))
    print(compare_steps(path, {"linear": linear_steps, "cosine": cosine_steps}, [2, 4], grid))
    ```
    """
    law = lambda name, n: sampler_law(path, schedules[name](path, n), grid, noise=noise, initial=initial, nodes=nodes)
    found = np.array([[[float(d) for d in shortfall(path, law(name, n))] for name in schedules] for n in steps])
    return Comparison(tuple(steps), tuple(schedules), found[..., 0], found[..., 1])


@compiled
def _step(path: Any, places: Array, width: Array, x: Array) -> tuple[Array, Array]:
    """m(x) and its slope at points x `(n,)`, between two `places` λ, with noise of standard deviation `width`."""
    return jax.vmap(lambda x: jax.jvp(lambda x: _move(path, places, width, x), (x,), (jnp.ones_like(x),)))(x)


def _move(path: Any, places: Array, width: Array, x: Array) -> Array:
    """m(x), a scalar."""
    alphas, sigmas = path.alpha(places), path.sigma(places)
    kept = jnp.sqrt(jnp.maximum(sigmas[1] ** 2 - width**2, 0))
    score = path.score(x[None], places[0])[0]
    return alphas[1] / alphas[0] * (x + sigmas[0] ** 2 * score) - kept * sigmas[0] * score


@compiled
def _spots(path: Any, places: Array, width: Array, bounds: Array, nodes: int) -> tuple[Array, Array]:
    """Nodes x and weights of a quadrature, even in x/a + m(x)/b, so that neither x nor m(x) is anywhere coarse; a and b
    are the lengths of the boxes `bounds` `(2, 2)` before and after the step."""
    (lower, upper), lengths = bounds[0], bounds[:, 1] - bounds[:, 0]
    spread = lambda x: x / lengths[0] + _move(path, places, width, x) / lengths[1]
    first, last = spread(lower), spread(upper)
    inside = lambda part: jax.vmap(spread)(lower + lengths[0] * part)
    x = lower + lengths[0] * invert(inside, first + (last - first) * (jnp.arange(nodes) + 0.5) / nodes)
    return x, (last - first) / nodes / jax.vmap(jax.grad(spread))(x)


@jax.jit
def _spread(centers: Array, masses: Array, width: Array, points: Array) -> Array:
    """Σ_i masses_i N(y; centers_i, width²) at points y."""
    row = lambda y: jnp.exp(-(((y - centers) / width) ** 2) / 2) @ masses
    return jax.lax.map(row, points, batch_size=ROWS) / (width * jnp.sqrt(2 * jnp.pi))


def _ratio(path: Any, lam: Array) -> Array:
    return path.sigma(lam) / path.alpha(lam)


def _places(path: Any, ratios: Array) -> Array:
    return invert(lambda lam: _ratio(path, lam), ratios).at[0].set(1.0).at[-1].set(0.0)


def _down_to(path: Any, steps: Count, smallest: Real, there: Callable, back: Callable) -> Array:
    """κ from κ(1) to `smallest`, even in the coordinate `there`, N of them, and 0."""
    check_positive("smallest", smallest, "Give 0.002, the choice of EDM.")
    largest = _ratio(path, jnp.ones(()))
    if not smallest < float(largest):
        raise_value_error(
            "smallest", smallest, f"it must be below sigma/alpha at the end, {float(largest):.3g}", "Give 0.002."
        )
    ratios = back(jnp.linspace(there(largest), there(jnp.asarray(smallest, dtype=float)), _count(steps)))
    return jnp.concatenate([ratios, jnp.zeros(1)])


def _count(steps: Count) -> int:
    return check_integer("steps", steps, 1, "Give the number of steps, at least 1.")


def check_places(lambdas: Any) -> np.ndarray:
    """Places that descend from 1 to 0, as an array `(N + 1,)`, or a refusal."""
    cure = "Give linear_steps(path, 10), say."
    places = check_numbers("lambdas", lambdas, "they must be numbers", cure)
    if places.ndim != 1 or len(places) < 2 or places[0] != 1 or places[-1] != 0 or not np.all(np.diff(places) < 0):
        raise_value_error("lambdas", lambdas, "they must descend from 1 to 0", cure)
    return places


def _check_resolved(nodes: int, widths: np.ndarray, lengths: np.ndarray) -> None:
    """Refuse kernels of standard deviations `widths` that are narrower than the distances of their centers."""
    pairs = zip(lengths[1:], widths, strict=True)
    coarse = max((2 * length / nodes / width for length, width in pairs if width), default=0)
    if coarse > 1:
        allowed = f"the noise of a step is narrower than their spacing, {coarse:.1f} times"
        cure = f"Give nodes={int(np.ceil(nodes * coarse))}, or steps that end less near to 0."
        raise_value_error("nodes", nodes, allowed, cure)

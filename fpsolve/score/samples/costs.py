"""The cost of a step along a noising path, measured on samples, and the schedule of a
sampler that follows from it.

At places λ in (0, 1], on x = α x₀ + σ N with x₀ the data and N standard normal, with
the score s(x, λ):

    gap         of the Langevin process of p_λ at D = 1: an upper bound (`sampled_gap`)
    score       E|∂_λ s|²
    velocity    E|v|²,  v = (α'/α) x - (g²/2) s,  g² = (σ²)' - 2 (α'/α) σ²,
                of the probability flow
    bending     E|dε/dλ|²,  ε = -σ s,  along the flow dx = v dλ

and √g of theorem T21, the cost of a step of λ. Steps of equal ∫ √g dλ are optimal for
the quantity that it measures:

    "score"        (E|∂_λ s|²)^½ / gap^(3/2)   the lag of Langevin dynamics behind p_λ
    "lag"          (E|v|²/gap)^½               the same from above,
                                               but never above "score"
    "wasserstein"  (E|v|²)^½                   the length of the path, least work
    "bending"      (κ' (E|dε/dλ|²)^½)^½        the error of DDIM: Euler steps of
                   κ = σ/α                     dy/dκ = ε, y = x/α
    "work"         σ (E|∂_λ s|²)^½             the work of a Langevin corrector
                                               of velocity σ

E|.|² is a sum over the d coordinates. References: theorem T21; Song, Meng and Ermon
(ICLR 2021), eq. 14; Williams et al., arXiv 2412.07877 (work).
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...core.checks import check_choice, check_integer, check_numbers, raise_value_error
from ...core.program import compiled, public_function
from ...core.types import Count, Formula, Key, Numbers
from ...diffusion.steps import cost_steps
from ...diffusion.types import Amplitudes
from ..fields import TimeDependentScore
from ..noise_path import as_path
from ..sample import time_dependent_score
from ..types import ScoreModel
from .gap import sampled_gap
from .validation import check_key, check_output, check_samples

COSTS = ("score", "lag", "wasserstein", "bending", "work")
BATCH = 512  # samples at a time through the derivatives of a score: bounds the memory


class SampledCosts(eqx.Module):
    """Gap and speeds at places of a path, all `(L,)`: `lambdas`, ascending; `gap` and
    its standard error `gap_error`; `score`, `velocity`, `bending`, means of squares as
    above; `ratio`, κ'; `sigma`, σ.
    """

    lambdas: Array
    gap: Array
    gap_error: Array
    score: Array
    velocity: Array
    bending: Array
    ratio: Array
    sigma: Array

    def cost(self, kind: str = "score") -> Array:
        """√g at the places, `(L,)`, of one of the five kinds."""
        check_choice("kind", kind, COSTS)
        if kind == "score":
            return jnp.sqrt(self.score) / self.gap**1.5
        if kind == "work":
            return self.sigma * jnp.sqrt(self.score)
        if kind == "lag":
            return jnp.sqrt(self.velocity / self.gap)
        if kind == "wasserstein":
            return jnp.sqrt(self.velocity)
        return jnp.sqrt(self.ratio * jnp.sqrt(self.bending))

    def steps(self, kind: str = "score") -> Callable[[Amplitudes, Count], Array]:
        """A function of path and number of steps, as `linear_steps` is, whose steps
        have equal ∫ √g dλ. Between the places log √g is interpolated linearly, beyond
        them √g is constant.
        """
        # The logarithm: √g spans orders of magnitude along a path, and stays positive.
        log_costs = jnp.log(self.cost(kind))

        def cost(lam: Array) -> Array:
            return jnp.exp(jnp.interp(lam, self.lambdas, log_costs))

        return cost_steps(cost)


class Speeds(NamedTuple):
    """At one place of a path: E|∂_λ s|², E|v|², E|dε/dλ|², κ' and σ, scalars."""

    score: Array
    velocity: Array
    bending: Array
    ratio: Array
    sigma: Array


@public_function
def sampled_costs(
    score: ScoreModel,
    path: Amplitudes | str,
    samples: Numbers,
    lambdas: Numbers,
    *,
    key: Key,
    copies: Count = 1,
    features: str | Formula | None = "linear",
) -> SampledCosts:
    """Gap and speeds along a noising path, from samples of the data and a score.

    **Arguments**

    - `score`: of x `(d,)` and λ, `(d,)`: a timed network of `fit`, or any function
    - `path`: with `alpha` and `sigma`, or "vp" or "ve"
    - `samples`: `(n, d)` of the data; `lambdas`: `(L,)`, where to measure, ascending in
      (0, 1]
    - `key`: of `jax.random`; `copies`: how many noisy copies of each sample;
      `features`: as `sampled_gap` takes them

    **Returns** `SampledCosts`; its `.steps("score")` can be used in place of
    `linear_steps`. **Raises** `ValueError` for what `sampled_gap` rejects, places
    outside (0, 1] or out of order, a score whose output is not `(d,)`. **Cost**: at
    each place one `sampled_gap` and some five scores a copy.

    **Reference**: theorem T21 of this library.

    ```python
    import jax
    import fpsolve as fp
    from fpsolve.diffusion.particles import draw
    from fpsolve.score.samples.costs import sampled_costs

    path = fp.Noising(fp.GaussianMixture([[-1.0], [1.0]], 0.25))
    data = draw(path.mixture, 500, jax.random.key(0))
    costs = sampled_costs(
        path.score, path, data, [0.1, 0.5, 1.0], key=jax.random.key(1)
    )
    costs.steps("wasserstein")(path, 8)
    ```
    """
    path = as_path(path)
    field = time_dependent_score(score)
    array = check_samples(samples)
    check_key(key)
    places = _check_lambdas(lambdas)
    cure = "Give how many noisy copies of each sample to make."
    copies = check_integer("copies", copies, 1, cure)
    data = jnp.repeat(jnp.asarray(array, dtype=float), copies, axis=0)
    # Copies of one datum are not independent draws: they are one group of
    # `sampled_gap`.
    groups = np.repeat(np.arange(len(array)), copies) if copies > 1 else None
    # A few samples find a wrong score before the long computation.
    check_output("score", field, data[:16], 1.0)
    rows = []
    for k, lam in enumerate(jnp.asarray(places, dtype=float)):
        noise_key, gap_key = jax.random.split(jax.random.fold_in(key, k))
        # The same data at every place, with new noise.
        noise = jax.random.normal(noise_key, data.shape)
        x = path.alpha(lam) * data + path.sigma(lam) * noise
        gap = sampled_gap(x, key=gap_key, features=features, groups=groups)
        speeds = _speeds(field, path, x, lam)
        rows.append((lam, gap.value, gap.error, *speeds))
    return SampledCosts(*jnp.asarray(rows).T)


def _check_lambdas(lambdas: Numbers) -> np.ndarray:
    """The places `(L,)`. **Raises** `ValueError` unless they ascend in (0, 1]."""
    cure = "Give jnp.linspace(0.05, 1, 12), say."
    places = check_numbers("lambdas", lambdas, "they must be numbers", cure)
    is_list = places.ndim == 1 and len(places) > 0
    # Written so that places that are not numbers are refused, too.
    in_range = is_list and np.all(places > 0) and np.all(places <= 1)
    if not in_range or not np.all(np.diff(places) > 0):
        raise_value_error("lambdas", lambdas, "they must ascend in (0, 1]", cure)
    return places


@compiled
def _speeds(
    score: TimeDependentScore, path: Amplitudes, samples: Array, lam: Array
) -> Speeds:
    """The speeds at λ, over samples `(n, d)` of p_λ."""

    def with_rate(f: Callable[[Array], Array]) -> tuple[Array, Array]:
        """f(λ) and its derivative."""
        return jax.jvp(f, (lam,), (jnp.ones_like(lam),))

    alpha, alpha_rate = with_rate(path.alpha)
    sigma, sigma_rate = with_rate(path.sigma)
    # g²/2 and κ', without a derivative of σ² or of σ/α.
    half_variance_rate = sigma * sigma_rate - alpha_rate / alpha * sigma**2
    ratio = (sigma_rate - sigma * alpha_rate / alpha) / alpha

    def squares(x: Array) -> Array:
        """|∂_λ s|², |v|² and |dε/dλ|² at one sample."""
        s, s_rate = with_rate(lambda lam: score(x, lam))
        v = alpha_rate / alpha * x - half_variance_rate * s
        # The derivative along the flow: at fixed x, and by the motion of x.
        transported = jax.jvp(lambda x: score(x, lam), (x,), (v,))[1]
        bend = sigma_rate * s + sigma * (s_rate + transported)
        parts = (s_rate, v, bend)
        return jnp.stack([jnp.sum(part**2) for part in parts])

    # In batches: the derivatives of a network need much memory.
    all_squares = jax.lax.map(squares, samples, batch_size=BATCH)
    means = jnp.mean(all_squares, axis=0)
    return Speeds(means[0], means[1], means[2], ratio, sigma)

"""Samples of a learned score in few steps, in any dimension.

The sampler starts from x ~ N(0, σ(1)²) at λ = 1 and visits 1 = λ_0 > ... > λ_N = 0. One
step from λ to λ' is

    x' = (α'/α) (x + σ² s) - √(σ'² - w) σ s + √w N
    w = ε σ'² (1 - κ'²/κ²),    κ = σ/α,    s = s(x, λ)

x and the score s are (d,), N is standard normal, ε the noise level: 0 is DDIM, 1 the
ancestral sampler of DDPM. On a line, with the exact score, `sampler_law` of
fpsolve.diffusion.steps computes the density of the result.

References: Song, Meng and Ermon, DDIM (ICLR 2021), eq. 12 and 16; Ho, Jain and Abbeel,
DDPM (NeurIPS 2020).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.checks import check_finite_number, check_integer, raise_value_error
from ..core.program import compiled
from ..core.types import AnyArray, Count, Key, Numbers, Real
from ..diffusion.ddim import step_mean, step_variance
from ..diffusion.steps import check_lambdas
from ..diffusion.types import Amplitudes
from .constants import CONSTANTS
from .fields import TimeDependentScore, as_score
from .noise_path import as_path
from .samples.validation import check_key, check_output
from .types import ScoreModel


def sample(
    score: ScoreModel,
    path: Amplitudes | str,
    lambdas: Numbers,
    *,
    key: Key,
    count: Count,
    dim: Count,
    noise: Real = 0.0,
    initial: AnyArray | None = None,
) -> Array:
    """Samples of the data, made from noise by a score, in N steps given by `lambdas`.

    **Arguments**

    - `score`: of x `(d,)` and λ, `(d,)`: a timed network of `fit`, an `fp.Noising`, or
      any function
    - `path`: with `alpha` and `sigma`, or "vp" or "ve"
    - `lambdas`: `(N + 1,)`, descending from 1 to 0, as `linear_steps`, `edm_steps` or
      `cost_steps` give
    - `key`: of `jax.random`; `count`: how many samples; `dim`: d
    - `noise`: ε in [0, 1]; 0 is DDIM, 1 is DDPM
    - `initial`: `(count, d)` at λ = 1; None draws from N(0, σ(1)²)

    **Returns** `(count, d)`. **Raises** `ValueError` for steps that do not descend from
    1 to 0, a noise outside [0, 1], an initial of another shape, a score whose output is
    not `(d,)` or not finite. **Keeps**: the same key gives the same result; the score
    is never evaluated at λ = 0. **Cost**: N `count` scores; one program for every N.

    **Reference**: Song, Meng and Ermon (ICLR 2021), eq. 12.

    ```python
    import jax
    import fpsolve as fp
    from fpsolve.diffusion.steps import linear_steps
    from fpsolve.score.sample import sample

    path = fp.Noising(fp.GaussianMixture([[-1.0, 0.0], [1.0, 0.0]], 0.25))
    sample(
        path.score, path, linear_steps(path, 8), key=jax.random.key(0), count=100, dim=2
    ).shape
    ```
    """
    path = as_path(path)
    lambdas = check_lambdas(lambdas)
    check_key(key)
    count = check_integer("count", count, 1, "Give how many samples to draw.")
    dim = check_integer("dim", dim, 1, "Give the number of coordinates.")
    if not 0 <= check_finite_number("noise", noise) <= 1:
        cure = "Give 0 for DDIM, 1 for DDPM."
        raise_value_error("noise", noise, "it must lie between 0 and 1", cure)
    initial_key, noise_key = jax.random.split(key)
    lambdas = jnp.asarray(lambdas, dtype=float)
    # The start of the sampler: noise of the width that the path has at λ = 1.
    if initial is None:
        normal = jax.random.normal(initial_key, (count, dim))
        initial = path.sigma(lambdas[0]) * normal
    elif jnp.shape(initial) != (count, dim):
        allowed = f"it must be {(count, dim)}"
        shape = jnp.shape(initial)
        raise_value_error("initial.shape", shape, allowed, "Give one row a sample.")
    start = jnp.asarray(initial, dtype=lambdas.dtype)
    # A score that is not finite would show only in the last samples.
    field = time_dependent_score(score)
    check_output("score", field, start[: CONSTANTS.checked_points], lambdas[0])
    # An array: another noise level is no new program.
    level = jnp.asarray(noise, lambdas.dtype)
    return _walk(field, path, lambdas, start, level, noise_key)


def time_dependent_score(score: ScoreModel) -> TimeDependentScore:
    """`score` as a function of x and λ. **Raises** `ValueError` if it takes no λ."""
    field = as_score(score)
    if not isinstance(field, TimeDependentScore):
        cure = "Give lambda x, lam: ..., or a timed network."
        raise_value_error("score", score, "it must be a function of x and λ", cure)
    return field


@compiled
def _walk(
    score: TimeDependentScore,
    path: Amplitudes,
    lambdas: Array,
    start: Array,
    noise: Array,
    key: Array,
) -> Array:
    """The samples `(count, d)` after all steps from `start`."""

    def step(x: Array, values: tuple[Array, Array, Array]) -> tuple[Array, None]:
        before, after, key = values
        alphas = path.alpha(before), path.alpha(after)
        sigmas = path.sigma(before), path.sigma(after)
        variance = step_variance(alphas, sigmas, noise)
        scores = jax.vmap(lambda x: score(x, before))(x)
        mean = step_mean(alphas, sigmas, variance, x, scores)
        # The maximum keeps the root real where rounding makes the variance negative.
        deviation = jnp.sqrt(jnp.maximum(variance, 0))
        return mean + deviation * jax.random.normal(key, x.shape, x.dtype), None

    keys = jax.random.split(key, len(lambdas) - 1)
    steps = (lambdas[:-1], lambdas[1:], keys)
    samples, _ = jax.lax.scan(step, start, steps)
    return samples

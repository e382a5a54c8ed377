"""Samples of a learned score in few steps, in any dimension.

From x ~ N(0, σ(1)²) at λ = 1 down the places 1 = λ_0 > ... > λ_N = 0, one step from λ to λ' being

    x' = (α'/α) (x + σ² s) - √(σ'² - w) σ s + √w N,      w = ε σ'² (1 - κ'²/κ²),    κ = σ/α,    s = s(x, λ)

x and the score s are (d,), N is standard normal, ε the noise level: 0 is DDIM, 1 the ancestral sampler of DDPM. On a
line, with the exact score, `sampler_law` of fpsolve.diffusion.steps computes the law of what comes out.

References: Song, Meng and Ermon, DDIM (ICLR 2021), eq. 12 and 16; Ho, Jain and Abbeel, DDPM (NeurIPS 2020).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.checks import check_finite_number, check_integer, raise_value_error
from ..core.program import compiled
from ..core.types import Count, Real
from ..diffusion.steps import check_places
from .fields import MovingScore, as_score
from .noise_path import as_path
from .samples.validation import check_key, check_output

TRIED = 16  # samples at which a score is looked at before it is used


def sample(
    score: Any,
    path: Any,
    lambdas: Any,
    *,
    key: Any,
    count: Count,
    dim: Count,
    noise: Real = 0.0,
    initial: Any = None,
) -> Array:
    """Samples from noise to data along a score, in as many steps as `lambdas` says.

    **Arguments**

    - `score`: of x `(d,)` and λ, `(d,)`: a timed network of `fit`, an `fp.Noising`, or any function
    - `path`: with `alpha` and `sigma`, or "vp" or "ve"
    - `lambdas`: `(N + 1,)`, descending from 1 to 0, as `linear_steps`, `edm_steps` or `cost_steps` give
    - `key`: of `jax.random`; `count`: how many samples; `dim`: d
    - `noise`: ε in [0, 1]; 0 is DDIM, 1 is DDPM
    - `initial`: `(count, d)` at λ = 1; None draws from N(0, σ(1)²)

    **Returns** `(count, d)`. **Raises** `ValueError` for steps that do not descend from 1 to 0, a noise outside [0, 1],
    an initial of another shape, a score whose output is not `(d,)` or not finite. **Keeps**: one key, one
    result; the score is never asked for at λ = 0. **Cost**: N `count` scores; one program for every N.

    **Reference**: Song, Meng and Ermon (ICLR 2021), eq. 12.

    ```python
    import jax
    import fpsolve as fp
    from fpsolve.diffusion.steps import linear_steps
    from fpsolve.score.sample import sample

    path = fp.Noising(fp.GaussianMixture([[-1.0, 0.0], [1.0, 0.0]], 0.25))
    sample(path.score, path, linear_steps(path, 8), key=jax.random.key(0), count=100, dim=2).shape
    ```
    """
    path, places = as_path(path), check_places(lambdas)
    check_key(key)
    count = check_integer("count", count, 1, "Give how many samples to draw.")
    dim = check_integer("dim", dim, 1, "Give the number of coordinates.")
    if not 0 <= check_finite_number("noise", noise) <= 1:
        raise_value_error("noise", noise, "it must lie between 0 and 1", "Give 0 for DDIM, 1 for DDPM.")
    first, second = jax.random.split(key)
    places = jnp.asarray(places, dtype=float)
    if initial is None:
        initial = path.sigma(places[0]) * jax.random.normal(first, (count, dim))
    elif jnp.shape(initial) != (count, dim):
        raise_value_error("initial.shape", jnp.shape(initial), f"it must be {(count, dim)}", "Give one row a sample.")
    start = jnp.asarray(initial, dtype=places.dtype)
    field = moving_score(score)
    check_output("score", field, start[:TRIED], places[0])
    return _walk(field, path, places, start, jnp.asarray(noise, places.dtype), second)


def moving_score(score: Any) -> MovingScore:
    """`score` as a function of x and λ, or a refusal."""
    field = as_score(score)
    if not isinstance(field, MovingScore):
        raise_value_error(
            "score", score, "it must be a function of x and λ", "Give lambda x, lam: ..., or a timed network."
        )
    return field


@compiled
def _walk(score: Any, path: Any, places: Array, start: Array, noise: Array, key: Array) -> Array:
    def step(x: Array, pair: tuple[Array, Array, Array]) -> tuple[Array, None]:
        here, there, key = pair
        alphas, sigmas = (path.alpha(here), path.alpha(there)), (path.sigma(here), path.sigma(there))
        width = noise * sigmas[1] ** 2 * (1 - (sigmas[1] * alphas[0] / (alphas[1] * sigmas[0])) ** 2)
        slopes = jax.vmap(lambda x: score(x, here))(x)
        kept = jnp.sqrt(jnp.maximum(sigmas[1] ** 2 - width, 0)) * sigmas[0]
        moved = alphas[1] / alphas[0] * (x + sigmas[0] ** 2 * slopes) - kept * slopes
        return moved + jnp.sqrt(jnp.maximum(width, 0)) * jax.random.normal(key, x.shape, x.dtype), None

    keys = jax.random.split(key, len(places) - 1)
    return jax.lax.scan(step, start, (places[:-1], places[1:], keys))[0]

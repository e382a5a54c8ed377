"""How far a score is from that of the samples, E_p|s - s_p|², when s_p is not known.
For every field g

    E_p|s - s_p|²  >=  -E_p[ |g|² + 2 g·s + 2 div g ],      with equality at g = s_p - s

`score_error` evaluates the right side with a g that is fitted to samples, by
`regression`, and tested on others.

References: Hyvärinen, JMLR 6 (2005) 695; Liu, Lee and Jordan, ICML 2016 (Stein
discrepancy).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...core.checks import check_finite_number, check_integer, raise_value_error
from ...core.program import compiled, public_function
from ...core.types import Count, DType, Key, Numbers, Real
from ...diffusion.types import Amplitudes
from ..constants import CONSTANTS
from ..fields import StaticScore, TimeDependentScore, as_score
from ..noise_path import as_path
from ..samples.validation import check_key, check_output, check_samples
from ..types import ScoreModel
from .losses import denoising, implicit, noising
from .regression import Residuals, explained_error

BATCH = 256  # samples at a time through the divergence of a score: bounds the memory


class ScoreError(NamedTuple):
    """The error of a score. `value` is E|s - s_p|² and `error` its standard error;
    `irreducible` is E|s_p|², so that a loss J of this library plus `irreducible` is E|s
    - s_p|²; `bound` says whether they are "exact" or "lower" bounds, up to sampling.
    """

    value: float
    error: float
    irreducible: float
    bound: str


@public_function
def score_error(
    model: ScoreModel,
    samples: Numbers,
    *,
    key: Key,
    exact: ScoreModel | None = None,
    sigma: Real | None = None,
    path: Amplitudes | str | None = None,
    features: Count = 200,
) -> ScoreError:
    """E|s - s_p|² of a score by samples that it was not trained on.

    **Arguments**

    - `model`: as `as_score` takes it; `samples` of p `(n, d)`; `key`
    - `exact`: the score s_p, if it is known, a function of x, or of x and λ with a path
    - `sigma`: None for p itself; else p is noised by this, and s_p means the score of
      the noised density
    - `path`: for scores of x and λ: the mean over λ in [0.001, 1] of σ² E|s - s_λ|²
    - `features`: the number of cosines

    **Returns** a `ScoreError`: exact up to sampling if `exact` is given, else an
    estimate that errs downwards. **Raises** `ValueError` for samples, a score or
    numbers that cannot be right. **Cost**: n features², and without noise or `exact`
    the divergence of the score.

    **Reference**: theorems T7 and T8 of this library, whose ε² this is.

    ```python
    import jax
    from fpsolve.score.learn.error import score_error

    samples = jax.random.normal(jax.random.key(0), (400, 2))
    found = score_error(
        lambda x: -1.5 * x, samples, key=jax.random.key(1), features=20
    )
    found.value  # about 0.25 E|x|² = 0.5
    ```
    """
    points = jnp.asarray(check_samples(samples), dtype=float)
    check_key(key)
    check_integer("features", features, 1, "Give 200.")
    # The two scores, the kind of noise, and a first evaluation of both.
    score = as_score(model)
    exact_score = None if exact is None else as_score(exact)
    path = _check_noise(sigma, path)
    _check_score("model", score, path, points)
    if exact_score is not None:
        _check_score("exact", exact_score, path, points)
    width = None if sigma is None else jnp.asarray(sigma, points.dtype)
    if exact_score is not None:
        # s_p is known: an average over the samples is all that is needed.
        values, squares = _exact_errors(score, exact_score, points, key, width, path)
        irreducible = float(jnp.mean(squares))
        deviation = jnp.std(values)
        kind = "exact"
    else:
        # s_p is not known: g is fitted to the residual, which gives a lower estimate.
        sample_key, fit_key = jax.random.split(key)
        residuals = _residuals(score, points, sample_key, width, path)
        values, deviation = explained_error(residuals, fit_key, features)
        irreducible = float(jnp.mean(values) - jnp.mean(residuals.losses))
        kind = "lower"
    standard_error = float(deviation) / len(values) ** 0.5
    return ScoreError(float(jnp.mean(values)), standard_error, irreducible, kind)


def _check_noise(
    sigma: Real | None, path: Amplitudes | str | None
) -> Amplitudes | None:
    """The path, if there is one. **Raises** `ValueError` for a sigma that is not
    positive, and for both.
    """
    if sigma is not None:
        width = check_finite_number("sigma", sigma, "Give a positive number.")
        if width <= 0:
            cure = "Give None for the density itself."
            raise_value_error("sigma", sigma, "it must be positive", cure)
        if path is not None:
            allowed = "the path says how much noise there is"
            cure = "Give one of sigma and path."
            raise_value_error("sigma", sigma, allowed, cure)
    return None if path is None else as_path(path)


def _check_score(
    name: str,
    score: StaticScore | TimeDependentScore,
    path: Amplitudes | None,
    points: Array,
) -> None:
    """Raise `ValueError` unless the score takes a λ exactly where there is a path, and
    has an output `(d,)`.
    """
    if score.time_dependent != (path is not None):
        takes = "a time" if path is None else "no time"
        allowed = f"it takes {takes}, and path is {path}"
        cure = "Give a score of x and λ with a path, and one of x without."
        raise_value_error(name, score.model, allowed, cure)
    check_output(name, score, points[:256], None if path is None else 0.5)


def stratified_lambdas(key: Array, count: int, dtype: DType | None = None) -> Array:
    """λ `(count,)` in [0.001, 1], one in each of `count` equal parts, in no order:
    their mean has less variance than that of independent draws.
    """
    offset_key, order_key = jax.random.split(key)
    offsets = jax.random.uniform(offset_key, (count,), dtype or float)
    even = (jnp.arange(count) + offsets) / count
    lowest = CONSTANTS.lambda_min
    return lowest + (1 - lowest) * jax.random.permutation(order_key, even)


@compiled
def _exact_errors(
    score: Callable[..., Array],
    exact: Callable[..., Array],
    x: Array,
    key: Array,
    sigma: Array | None,
    path: Amplitudes | None,
) -> tuple[Array, Array]:
    """σ²|s - s_p|² and σ²|s_p|², `(n,)`; σ is 1 without a path."""
    noise_key, lambda_key = jax.random.split(key)
    noise = jax.random.normal(noise_key, x.shape, x.dtype)
    lam = stratified_lambdas(lambda_key, len(x), x.dtype)
    if path is None:
        x = x if sigma is None else x + sigma * noise
        truth = jax.vmap(exact)(x)
        difference = jax.vmap(score)(x) - truth
        return jnp.sum(difference**2, axis=1), jnp.sum(truth**2, axis=1)
    alpha = path.alpha(lam)[:, None]
    # Along a path the error has the weight σ², as the loss has.
    width = path.sigma(lam)[:, None]
    y = alpha * x + width * noise
    truth = width * jax.vmap(exact)(y, lam)
    difference = width * jax.vmap(score)(y, lam) - truth
    return jnp.sum(difference**2, axis=1), jnp.sum(truth**2, axis=1)


@compiled
def _residuals(
    score: Callable[..., Array],
    x: Array,
    key: Array,
    sigma: Array | None,
    path: Amplitudes | None,
) -> Residuals:
    """What the regression is given, in the three cases: along a path, under one noise,
    and without noise.

    Under noise, the noise z and -z are taken together. Their mean cancels the part of s
    + z/σ that grows as 1/σ.
    """
    noise_key, lambda_key = jax.random.split(key)
    noise = jax.random.normal(noise_key, x.shape, x.dtype)
    center = jnp.mean(x, axis=0)
    scale = jnp.std(x, axis=0)
    # a coordinate that is constant is not divided by zero
    scale = jnp.where(scale > 0, scale, 1.0)
    no_extras = jnp.zeros((len(x), 2, 0), x.dtype)

    def plus_and_minus(x: Array, noise: Array) -> Array:
        return jnp.stack([x + noise, x - noise], axis=1)

    if path is not None:
        lam = stratified_lambdas(lambda_key, len(x), x.dtype)
        alpha = path.alpha(lam)
        width = path.sigma(lam)
        y = plus_and_minus(alpha[:, None] * x, width[:, None] * noise)
        # σ s + z instead of s + z/σ: bounded for every λ. The last term is z and -z.
        scores = jax.vmap(jax.vmap(score, (0, None)))(y, lam)
        s = width[:, None, None] * scores + plus_and_minus(0 * noise, noise)
        spread = jnp.sqrt((alpha[:, None] * scale) ** 2 + width[:, None] ** 2)
        offsets = y - (alpha[:, None] * center)[:, None]
        # g may depend on λ, which enters the cosines as one more coordinate.
        scaled_lambda = CONSTANTS.lambda_scale * lam[:, None, None]
        each_loss = jax.vmap(lambda *each: noising(score, *each))
        return Residuals(
            points=offsets / spread[:, None],
            scores=s,
            slopes=0 * scale,
            extras=jnp.broadcast_to(scaled_lambda, (len(x), 2, 1)),
            losses=each_loss(x, noise, lam, alpha, width),
        )
    if sigma is not None:
        y = plus_and_minus(x, sigma * noise)
        scores = jax.vmap(jax.vmap(score))(y)
        each_loss = jax.vmap(lambda x, z: denoising(score, x, z, sigma))
        return Residuals(
            points=(y - center) / scale,
            scores=scores + plus_and_minus(0 * noise, noise / sigma),
            slopes=0 * scale,
            extras=no_extras,
            losses=each_loss(x, noise),
        )
    # Without noise there is one point a sample instead of two.
    s = jax.vmap(score)(x)
    losses = jax.lax.map(lambda x: implicit(score, x), x, batch_size=BATCH)
    return Residuals(
        points=((x - center) / scale)[:, None],
        scores=s[:, None],
        slopes=1 / scale,
        extras=no_extras[:, :1],
        losses=losses,
    )

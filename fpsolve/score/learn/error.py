"""How far a score is from that of the samples, E_p|s - s_p|², when s_p is not known. For every field g

    E_p|s - s_p|²  >=  -E_p[ |g|² + 2 g·s + 2 div g ],      with equality at g = s_p - s

What is left of s is looked for among g = Σ_k c_k φ_k, φ = 1, x and random cosines: c solves

    (E[φφᵀ] + ridge) c = -E[φ s + ∇φ]

on a third of the samples, the ridge is chosen on another, where the right side less its standard error is largest, and
the right side taken on the last, in turn. So the estimate errs downwards, by what of the error no such g can say and
what of g is noise; where nothing is found it is about zero, and the standard error, then that of a g hardly held back,
says how much could have been. Under noise, x + σz, div g is g·z/σ: what of the residual s + z/σ can be foretold from
where it is found.

References: Hyvärinen, JMLR 6 (2005) 695; Liu, Lee and Jordan, ICML 2016 (Stein discrepancy); Rahimi and Recht, NIPS
2007 (random cosines).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...core.checks import check_finite_number, check_integer, raise_value_error
from ...core.program import compiled, full_precision
from ...core.types import Count, Real
from ..fields import MovingScore, as_score
from ..noise_path import FIRST, as_path
from ..samples.validation import check_key, check_output, check_samples
from .losses import denoising, implicit, noising

RIDGES = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4)
SEEN = 0.1  # the ridge at which an error is seen that samples of this number can show at all
LENGTHS = (0.4, 0.8, 1.6, 3.2)  # of the cosines, in standard deviations times √d


class ScoreError(NamedTuple):
    """What a score errs by. `value` is E|s - s_p|² and `error` its standard error; `irreducible` is E|s_p|², so that a
    loss J of this library plus `irreducible` is E|s - s_p|²; `bound` is "exact" or "lower": of which kind they are."""

    value: float
    error: float
    irreducible: float
    bound: str


class Residuals(NamedTuple):
    """At points y, m a sample: `points` standardised, `scores` `(n, m, d)`, `slopes` `(d,)` of y's standardisation (0
    under noise, where there is no divergence), `extras` `(n, m, e)` that g may depend on too, `losses` J `(n,)`."""

    points: Array
    scores: Array
    slopes: Array
    extras: Array
    losses: Array


@full_precision
def score_error(
    model: Any,
    samples: Any,
    *,
    key: Any,
    exact: Callable[..., Any] | None = None,
    sigma: Real | None = None,
    path: Any = None,
    features: Count = 200,
) -> ScoreError:
    """E|s - s_p|² of a score by samples that it was not trained on.

    **Arguments**

    - `model`: as `as_score` takes it; `samples` of p `(n, d)`; `key`
    - `exact`: the score s_p, if it is known, a function of x, or of x and λ with a path
    - `sigma`: None for p itself; else p is noised by this, and s_p means the score of the noised density
    - `path`: for scores of x and λ: the mean over λ in [0.001, 1] of σ² E|s - s_λ|²
    - `features`: the number of cosines

    **Returns** a `ScoreError`: exact up to sampling if `exact` is given, else an estimate that errs downwards.
    **Raises** `ValueError` for samples, a score or numbers that cannot be right. **Cost**: n features², and without
    noise or `exact` the divergence of the score.

    **Reference**: theorems T7 and T8 of this library, whose ε² this is.

    ```python
    import jax
    from fpsolve.score.learn.error import score_error

    samples = jax.random.normal(jax.random.key(0), (400, 2))
    score_error(lambda x: -1.5 * x, samples, key=jax.random.key(1), features=20)  # 0.25 E|x|² = 0.5
    ```
    """
    points = jnp.asarray(check_samples(samples), dtype=float)
    check_key(key)
    check_integer("features", features, 1, "Give 200.")
    score, known = as_score(model), None if exact is None else as_score(exact)
    if sigma is not None and check_finite_number("sigma", sigma, "Give a positive number.") <= 0:
        raise_value_error("sigma", sigma, "it must be positive", "Give None for the density itself.")
    if sigma is not None and path is not None:
        raise_value_error("sigma", sigma, "the path says how much noise there is", "Give one of sigma and path.")
    path = None if path is None else as_path(path)
    for name, one in (("model", score), ("exact", known)):
        if one is not None and isinstance(one, MovingScore) != (path is not None):
            cure = "Give a score of x and λ with a path, and one of x without."
            raise_value_error(
                name, one.model, f"it takes {'a time' if path is None else 'no time'}, and path is {path}", cure
            )
        if one is not None:
            check_output(name, one, points[:256], None if path is None else 0.5)
    width = None if sigma is None else jnp.asarray(sigma, points.dtype)
    if known is not None:
        values, squares = _exactly(score, known, points, key, width, path)
        irreducible, kind, deviation = float(jnp.mean(squares)), "exact", jnp.std(values)
    else:
        first, second = jax.random.split(key)
        residuals = _residuals(score, points, first, width, path)
        values, deviation = _explained(residuals, second, features)
        irreducible, kind = float(jnp.mean(values) - jnp.mean(residuals.losses)), "lower"
    return ScoreError(float(jnp.mean(values)), float(deviation) / len(values) ** 0.5, irreducible, kind)


def places(key: Array, count: int, dtype: Any = None) -> Array:
    """λ `(count,)` in [0.001, 1], one in each of `count` equal parts, in no order."""
    first, second = jax.random.split(key)
    even = (jnp.arange(count) + jax.random.uniform(first, (count,), dtype or float)) / count
    return FIRST + (1 - FIRST) * jax.random.permutation(second, even)


@compiled
def _exactly(score: Any, exact: Any, x: Array, key: Array, sigma: Any, path: Any) -> tuple[Array, Array]:
    """σ²|s - s_p|² and σ²|s_p|², `(n,)`; σ is 1 without a path."""
    first, second = jax.random.split(key)
    noise, lam = jax.random.normal(first, x.shape, x.dtype), places(second, len(x), x.dtype)
    if path is None:
        x = x if sigma is None else x + sigma * noise
        true = jax.vmap(exact)(x)
        return jnp.sum((jax.vmap(score)(x) - true) ** 2, axis=1), jnp.sum(true**2, axis=1)
    alpha, width = path.alpha(lam)[:, None], path.sigma(lam)[:, None]
    y = alpha * x + width * noise
    true = width * jax.vmap(exact)(y, lam)
    return jnp.sum((width * jax.vmap(score)(y, lam) - true) ** 2, axis=1), jnp.sum(true**2, axis=1)


@compiled
def _residuals(score: Any, x: Array, key: Array, sigma: Any, path: Any) -> Residuals:
    first, second = jax.random.split(key)
    noise = jax.random.normal(first, x.shape, x.dtype)
    center, scale = jnp.mean(x, axis=0), jnp.std(x, axis=0)
    scale = jnp.where(scale > 0, scale, 1.0)
    both = lambda x, noise: jnp.stack([x + noise, x - noise], axis=1)
    none = jnp.zeros((len(x), 2, 0), x.dtype)
    if path is not None:
        lam = places(second, len(x), x.dtype)
        alpha, width = path.alpha(lam), path.sigma(lam)
        y = both(alpha[:, None] * x, width[:, None] * noise)
        s = width[:, None, None] * jax.vmap(jax.vmap(score, (0, None)))(y, lam) + both(0 * noise, noise)
        spread = jnp.sqrt((alpha[:, None] * scale) ** 2 + width[:, None] ** 2)[:, None]
        extras = jnp.broadcast_to(4 * lam[:, None, None], (len(x), 2, 1))
        losses = jax.vmap(lambda *each: noising(score, *each))(x, noise, lam, alpha, width)
        return Residuals((y - (alpha[:, None] * center)[:, None]) / spread, s, 0 * scale, extras, losses)
    if sigma is not None:
        y = both(x, sigma * noise)
        s = jax.vmap(jax.vmap(score))(y) + both(0 * noise, noise / sigma)
        losses = jax.vmap(lambda x, z: denoising(score, x, z, sigma))(x, noise)
        return Residuals((y - center) / scale, s, 0 * scale, none, losses)
    s, losses = jax.vmap(score)(x), jax.lax.map(lambda x: implicit(score, x), x, batch_size=256)
    return Residuals(((x - center) / scale)[:, None], s[:, None], 1 / scale, none[:, :1], losses)


@compiled
def _explained(found: Residuals, key: Array, features: int) -> tuple[Array, Array]:
    """-(|g|² + 2 g·s + 2 div g) of the g that other samples chose, `(n,)` of a whole number of thirds, and its standard
    deviation, or that of a g which is hardly held back, if more."""
    dim, inputs = found.points.shape[-1], jnp.concatenate([found.points, found.extras], axis=-1)
    first, second, third = jax.random.split(key, 3)
    lengths = jnp.sqrt(dim) * jnp.resize(jnp.asarray(LENGTHS, inputs.dtype), (features, 1))
    waves = jax.random.normal(first, (features, inputs.shape[-1]), inputs.dtype) / lengths
    shifts = jax.random.uniform(second, (features,), inputs.dtype, maxval=2 * jnp.pi)
    thirds = jax.random.permutation(third, len(inputs))[: len(inputs) // 3 * 3].reshape(3, -1)

    def seen(rows: Array) -> tuple[Array, Array, Array]:
        y, phases = inputs[rows], inputs[rows] @ waves.T + shifts
        return jnp.concatenate([jnp.ones_like(y[..., :1]), y, jnp.sqrt(2) * jnp.cos(phases)], -1), jnp.sin(phases), rows

    def pairing(part: tuple[Array, Array, Array], c: Array) -> Array:
        phi, sines, rows = part
        linear = jnp.sum(jnp.diagonal(c[1 : dim + 1]) * found.slopes)
        waving = jnp.sum(waves[:, :dim] * found.slopes * c[-features:], axis=1)
        divergence = linear - jnp.sqrt(2) * sines @ waving
        return jnp.mean(jnp.sum((phi @ c) * found.scores[rows], axis=-1) + divergence, axis=-1)

    def gained(part: tuple[Array, Array, Array], c: Array) -> Array:
        return -jnp.mean(jnp.sum((part[0] @ c) ** 2, axis=-1), axis=-1) - 2 * pairing(part, c)

    def turn(thirds: Array) -> Array:
        solved, chosen, judged = (seen(rows) for rows in thirds)
        phi = solved[0].reshape(-1, solved[0].shape[-1])
        slope = jax.grad(lambda c: jnp.mean(pairing(solved, c)))(jnp.zeros((phi.shape[-1], dim), phi.dtype))
        levels, turned = jnp.linalg.eigh(phi.T @ phi / len(phi))
        with_ridge = lambda ridge: -turned @ ((turned.T @ slope) / (jnp.maximum(levels, 0) + ridge)[:, None])
        tried = jax.lax.map(with_ridge, jnp.asarray(RIDGES, phi.dtype))
        worth = jax.lax.map(lambda c: _surely(gained(chosen, c)), tried)
        best = tried[jnp.argmax(worth)]
        return jnp.stack([gained(judged, best), gained(judged, tried[RIDGES.index(SEEN)])])

    turns = jnp.stack([jnp.roll(thirds, -k, axis=0) for k in range(3)])
    values, others = jnp.moveaxis(jax.lax.map(turn, turns), 1, 0).reshape(2, -1)
    return values, jnp.maximum(jnp.std(values), jnp.std(others))


def _surely(values: Array) -> Array:
    return jnp.mean(values) - jnp.std(values) / np.sqrt(len(values))

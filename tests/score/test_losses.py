"""The three losses are E|s - s_p|² less E|s_p|²; on Gaussian samples, for fields
-K x + b, everything is known.

    s_p = -C⁻¹(x - m),
    E|s - s_p|² = tr[(K - C⁻¹) C (K - C⁻¹)ᵀ] + |b - K m|²,   E|s_p|² = tr C⁻¹

Under noise σ the same with C + σ². The best K on given samples is the inverse of their
covariance, by least squares.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import fpsolve as fp
from fpsolve.diffusion.particles import draw
from fpsolve.score.learn.error import score_error
from fpsolve.score.learn.losses import denoising, implicit, noising, sliced
from fpsolve.score.noise_path import NoisePath
from refusals import refused

MEAN = jnp.asarray([0.5, -1.0, 2.0])
MIX = jnp.asarray([[1.0, 0.3, 0.0], [0.0, 0.7, -0.4], [0.2, 0.0, 1.3]])
COVARIANCE = MIX @ MIX.T
# with curl
FIELD = (
    jnp.asarray([[1.2, -0.5, 0.1], [0.4, 0.9, 0.0], [0.3, -0.2, 0.6]]),
    jnp.asarray([0.1, 0.7, -0.3]),
)
COUNT = 40_000


def exactly(
    covariance: Array, field: tuple[Array, Array] = FIELD
) -> tuple[float, float]:
    """E|s - s_p|² and E|s_p|² of the Gaussian of this covariance."""
    stiffness, shift = field
    inverse = jnp.linalg.inv(covariance)
    difference = stiffness - inverse
    error = jnp.trace(difference @ covariance @ difference.T) + jnp.sum(
        (shift - stiffness @ MEAN) ** 2
    )
    return float(error), float(jnp.trace(inverse))


def linear(field: tuple[Array, Array]) -> Callable[[Array], Array]:
    """x -> -K x + b."""
    return lambda x: field[1] - field[0] @ x


@pytest.fixture(scope="module")
def samples() -> Array:
    return MEAN + jax.random.normal(jax.random.key(3), (COUNT, 3)) @ MIX.T


def mean_of(
    loss: str, field: tuple[Array, Array], x: Array, sigma: float, turn: float = 1.0
) -> Array:
    """Every sample's J, with the factor of the divergence off by the factor `turn`."""
    noise = jax.random.normal(jax.random.key(5), x.shape)
    score = linear(field)
    if loss == "implicit":
        value = lambda x, z: implicit(score, x)
    elif loss == "sliced":
        value = lambda x, z: sliced(score, x, z)
    else:
        value = lambda x, z: denoising(score, x, z, jnp.asarray(sigma))
    values = jax.vmap(value)(x, noise)
    return values + 2 * (turn - 1) * -jnp.trace(field[0])


CASES = [("implicit", 0.0), ("sliced", 0.0), ("denoising", 0.01), ("denoising", 0.7)]


@pytest.mark.parametrize(("loss", "sigma"), CASES)
def test_a_loss_plus_the_irreducible_part_is_the_error(
    loss: str, sigma: float, samples: Array
) -> None:
    """Truth, within four standard errors; a divergence of the wrong sign, or 10 % off,
    is far outside.
    """
    error, irreducible = exactly(COVARIANCE + sigma**2 * jnp.eye(3))

    def off(turn: float) -> float:
        values = mean_of(loss, FIELD, samples, sigma, turn) + irreducible
        return float((jnp.mean(values) - error) / (jnp.std(values) / np.sqrt(COUNT)))

    assert abs(off(1.0)) < 4
    assert abs(off(-1.0)) > 100
    assert abs(off(1.1)) > 8


@pytest.mark.parametrize("loss", ["implicit", "sliced"])
def test_the_best_linear_score_is_the_inverse_covariance(
    loss: str, samples: Array
) -> None:
    """Truth: the gradient of the mean loss vanishes at K = C⁻¹, b = K m of these very
    samples.
    """
    x = samples[:500]
    mean = jnp.mean(x, axis=0)
    signs = jax.random.rademacher(jax.random.key(0), x.shape, float)
    best = jnp.linalg.inv((x - mean).T @ (x - mean) / len(x))

    def total(field: Any) -> Array:
        if loss == "implicit":
            return jnp.mean(jax.vmap(lambda x: implicit(linear(field), x))(x))
        return jnp.mean(jax.vmap(lambda x, v: sliced(linear(field), x, v))(x, signs))

    slope = jax.grad(total)((best, best @ mean))
    # what random directions leave of the identity
    crossed = 2 * (jnp.eye(3) - signs.T @ signs / len(x))
    np.testing.assert_allclose(
        slope[0], crossed if loss == "sliced" else 0 * best, atol=1e-11
    )
    np.testing.assert_allclose(slope[1], 0, atol=1e-11)
    # + div for - div
    wrong = jax.grad(lambda field: total(field) + 4 * jnp.trace(field[0]))(
        (best, best @ mean)
    )
    assert float(jnp.max(jnp.abs(wrong[0]))) > 1


def test_denoising_on_given_noise_is_least_squares(samples: Array) -> None:
    """Truth: its minimum over K, b is the linear regression of -z/σ on x ± σz."""
    x, sigma = samples[:300], jnp.asarray(0.4)
    noise = jax.random.normal(jax.random.key(1), x.shape)
    points = jnp.concatenate([x + sigma * noise, x - sigma * noise])
    wanted = jnp.concatenate([-noise, noise]) / sigma
    solved = jnp.linalg.lstsq(
        jnp.concatenate([-points, jnp.ones((600, 1))], axis=1), wanted
    )[0]
    field = (solved[:3].T, solved[3])
    total = lambda field: jnp.mean(
        jax.vmap(lambda x, z: denoising(linear(field), x, z, sigma))(x, noise)
    )
    for slope in jax.grad(total)(field):
        np.testing.assert_allclose(slope, 0, atol=1e-10)
    left = jnp.mean(jnp.sum((jax.vmap(linear(field))(points) - wanted) ** 2, axis=1))
    assert float(total(field)) == pytest.approx(
        float(left - jnp.mean(jnp.sum(wanted**2, axis=1))), rel=1e-10
    )


def test_denoising_becomes_sliced_as_the_noise_vanishes() -> None:
    """Agreement: z and -z together leave no 1/σ."""
    score = lambda x: jnp.sin(x[::-1]) - x**3
    x = jnp.asarray([0.3, -0.8])
    z = jnp.asarray([1.3, 0.4])
    expected = float(sliced(score, x, z))
    errors = [
        abs(float(denoising(score, x, z, jnp.asarray(sigma))) - expected)
        for sigma in (0.04, 0.02, 0.01)
    ]
    np.testing.assert_allclose(
        np.log2(np.divide(errors[:-1], errors[1:])), 2, atol=0.02
    )


def test_along_a_path_the_loss_is_weighted_by_the_noise() -> None:
    score = lambda x, lam: -x * (1 + lam)
    x = jnp.asarray([0.3, -0.8])
    z = jnp.asarray([1.3, 0.4])
    lam, path = jnp.asarray(0.3), NoisePath("vp")
    alpha = path.alpha(lam)
    sigma = path.sigma(lam)
    found = noising(score, x, z, lam, alpha, sigma)
    pairs = [alpha * x + sign * sigma * z for sign in (1, -1)]
    squares = [
        jnp.sum((sigma * score(y, lam) + sign * z) ** 2)
        for y, sign in zip(pairs, (1, -1), strict=True)
    ]
    assert float(found) == pytest.approx(
        float(sum(squares) / 2 - jnp.sum(z**2)), rel=1e-12
    )


def test_the_error_of_a_score_is_found_without_the_exact_one(samples: Array) -> None:
    """Truth: a linear error is among the fields that are looked for; and with the exact
    score given.
    """
    error, irreducible = exactly(COVARIANCE)
    score, key = linear(FIELD), jax.random.key(8)
    inverse = jnp.linalg.inv(COVARIANCE)
    known = score_error(
        score, samples, key=key, exact=linear((inverse, inverse @ MEAN))
    )
    assert known.bound == "exact"
    assert abs(known.value - error) < 4 * known.error
    assert known.irreducible == pytest.approx(irreducible, rel=0.03)
    found = score_error(score, samples[:6000], key=key, features=20)
    assert found.bound == "lower"
    assert abs(found.value - error) < 4 * found.error
    assert found.irreducible == pytest.approx(irreducible, rel=0.1)
    assert score_error(score, samples[:6000], key=key, features=20) == found
    noisy = score_error(score, samples[:6000], key=key, sigma=0.5, features=20)
    assert (
        abs(noisy.value - exactly(COVARIANCE + 0.25 * jnp.eye(3))[0]) < 4 * noisy.error
    )


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    """Truth: an exact score leaves nothing, and what is found stays below what there
    is, on a mixture.
    """
    mixture = fp.GaussianMixture([[-1.5, 0.0], [1.0, 0.5]], 0.6, [0.3, 0.7])
    x = draw(mixture, 3000, jax.random.key(2))
    key = jax.random.key(4)
    exact = lambda x: -jax.grad(mixture)(x)
    nothing = score_error(exact, x, key=key, features=50)
    assert abs(nothing.value) < 4 * nothing.error + 1e-3
    bent = lambda x: exact(x) + 0.6 * jnp.sin(1.5 * x[::-1])
    found = score_error(bent, x, key=key, features=50)
    truth = float(jnp.mean(jnp.sum((0.6 * jnp.sin(1.5 * x)) ** 2, axis=1)))
    assert 0.6 * truth < found.value < truth + 3 * found.error


def test_the_error_along_a_path() -> None:
    """Truth: of standard normal data under "vp", every p_λ is standard normal."""
    x = jax.random.normal(jax.random.key(0), (3000, 2))
    key = jax.random.key(1)
    score = lambda x, lam: -1.3 * x
    truth = score_error(score, x, key=key, path="vp", exact=lambda x, lam: -x)
    lam = jnp.linspace(0.001, 1, 1001)
    assert truth.value == pytest.approx(
        float(2 * 0.09 * jnp.mean(NoisePath("vp").sigma(lam) ** 2)), rel=0.05
    )
    found = score_error(score, x, key=key, path="vp", features=20)
    assert abs(found.value - truth.value) < 4 * found.error


def test_bad_questions_are_refused(samples: Array) -> None:
    key, score = jax.random.key(0), linear(FIELD)
    ask: Callable[..., Any] = lambda model=score, x=samples[:100], **given: score_error(
        model, x, **{"key": key, "features": 5, **given}
    )
    refused(lambda: ask(x=samples[:5]), "too few", "16")
    refused(
        lambda: ask(x=samples[:100].at[7, 1].set(jnp.nan)), "samples[7, 1]", "1 of 100"
    )
    refused(lambda: ask(x=samples[:100, 0]), "(n, d)")
    refused(lambda: ask(lambda x: jnp.sum(x)), "shape", "(3,)")
    refused(lambda: ask(lambda x: x / (x[0] > 0)), "finite", "100 points")
    refused(lambda: ask(sigma=-1.0), "sigma", "positive")
    refused(lambda: ask(path="vp"), "no time")
    refused(lambda: ask(lambda x, t: -x), "a time")
    refused(lambda: ask(lambda x, t: -x, path="vp", sigma=1.0), "sigma")
    refused(lambda: ask(lambda x, t: -x, path="vq"), "vp")
    refused(lambda: ask(lambda x, t: -x, path=3.0), "alpha")
    refused(lambda: ask(key=3.0), "key")
    refused(lambda: ask(features=0), "features")

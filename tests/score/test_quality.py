"""Distances of samples against closed forms for Gaussians, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fpsolve.score.samples.quality import frechet_distance, median_distance, mmd

KEY = jax.random.key(5)


def normal(key, count, mean, deviation):
    return jnp.asarray(mean) + deviation * jax.random.normal(key, (count, len(mean)))


def test_mmd_is_unbiased_against_the_closed_form():
    """E k of two Gaussians with variance v = s² + r² of the difference:
    (h²/(h² + v))^(d/2) e^(-|m|²/(2 (h² + v))).
    """
    h = 1.3
    s = 1.0
    r = 0.6
    mean = jnp.array([0.7, -0.4, 0.0])
    kernel = lambda v, m: (
        (h**2 / (h**2 + v)) ** 1.5 * jnp.exp(-m @ m / (2 * (h**2 + v)))
    )
    truth = (
        kernel(2 * s**2, 0 * mean)
        + kernel(2 * r**2, 0 * mean)
        - 2 * kernel(s**2 + r**2, mean)
    )
    found = []
    for key in jax.random.split(KEY, 60):
        first, second = jax.random.split(key)
        found.append(
            mmd(
                normal(first, 100, jnp.zeros(3), s),
                normal(second, 80, mean, r),
                bandwidth=h,
            )
        )
    error = np.std(found) / np.sqrt(60)
    assert abs(np.mean(found) - truth) < 3 * error and error < 0.05 * truth


def test_mmd_of_the_same_law_is_nought_on_average_and_of_another_is_not():
    keys = jax.random.split(KEY, 40)
    same = [mmd(*jax.random.normal(key, (2, 60, 2)), bandwidth=1.0) for key in keys]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(40) and min(same) < 0
    x, y = jax.random.normal(KEY, (2, 300, 2))
    assert mmd(x, y + 0.7) > 10 * np.std(same)
    assert np.isclose(mmd(x, y + 0.7), mmd(y + 0.7, x), rtol=1e-12)


def test_mmd_by_hand_and_the_median():
    x, y = jax.random.normal(KEY, (2, 16, 2))
    kernel = lambda a, b: np.exp(
        -np.sum((np.asarray(a)[:, None] - np.asarray(b)) ** 2, -1) / 2 / 0.8**2
    )
    off = lambda k: (k.sum() - 16) / (16 * 15)
    assert np.isclose(
        mmd(x, y, bandwidth=0.8),
        off(kernel(x, x)) + off(kernel(y, y)) - 2 * kernel(x, y).mean(),
    )
    both = np.concatenate([x, y])
    distances = np.linalg.norm(both[:, None] - both, axis=-1)[np.triu_indices(32, 1)]
    assert np.isclose(median_distance(x, y), np.median(distances))
    assert np.isclose(mmd(x, y), mmd(x, y, bandwidth=np.median(distances)))


def exact_gaussian(key, mean, matrix, count=400):
    """Samples whose mean and covariance are exactly these."""
    x = jax.random.normal(key, (count, len(mean)))
    x = x - x.mean(axis=0)
    x = x @ jnp.linalg.inv(jnp.linalg.cholesky(x.T @ x / (count - 1))).T
    return x @ jnp.linalg.cholesky(matrix).T + mean


def test_frechet_distance_of_gaussians():
    first, second = jax.random.split(KEY)
    one, other = jnp.array([1.0, 2.0, 0.5]), jnp.array([4.0, 1.0, 2.0])
    a = exact_gaussian(first, jnp.zeros(3), jnp.diag(one))
    b = exact_gaussian(second, jnp.array([1.0, -1.0, 0.0]), jnp.diag(other), 300)
    truth = 2 + jnp.sum((jnp.sqrt(one) - jnp.sqrt(other)) ** 2)
    assert np.isclose(frechet_distance(a, b), truth, rtol=1e-10)
    assert np.isclose(frechet_distance(b, a), truth, rtol=1e-10)
    turn = jnp.linalg.qr(jax.random.normal(KEY, (3, 3)))[0]
    assert np.isclose(frechet_distance(a @ turn + 5, b @ turn + 5), truth, rtol=1e-9)
    assert frechet_distance(a, a) < 1e-10


def test_frechet_distance_of_matrices_that_do_not_commute():
    """In two dimensions tr M^½ = (tr M + 2 √det M)^½, M = C_a C_b."""
    first, second = jax.random.split(KEY)
    one = jnp.array([[2.0, 0.8], [0.8, 1.0]])
    other = jnp.array([[1.0, -0.6], [-0.6, 3.0]])
    a = exact_gaussian(first, jnp.zeros(2), one)
    b = exact_gaussian(second, jnp.zeros(2), other)
    product = one @ other
    truth = jnp.trace(one + other) - 2 * jnp.sqrt(
        jnp.trace(product) + 2 * jnp.sqrt(jnp.linalg.det(product))
    )
    assert np.isclose(frechet_distance(a, b), truth, rtol=1e-10)


def test_single_precision_and_integers():
    x = jax.random.normal(KEY, (100, 2), jnp.float32)
    assert mmd(x, x + 1).dtype == jnp.float32
    assert frechet_distance(x, x + 1).dtype == jnp.float32
    assert np.isclose(frechet_distance(x, x + 1), 2, rtol=1e-3)
    assert np.isfinite(
        frechet_distance(np.arange(40).reshape(20, 2), np.arange(40).reshape(20, 2))
    )


def test_integers_without_double_precision_are_floats():
    jax.config.update("jax_enable_x64", False)
    one = np.arange(40).reshape(20, 2) % 7
    other = np.arange(60).reshape(30, 2) % 5
    # A bandwidth below 1, and a median that is no integer.
    for bandwidth in (0.5, None):
        floats = (samples.astype(np.float32) for samples in (one, other))
        found = mmd(one, other, bandwidth=bandwidth)
        expected = mmd(*floats, bandwidth=bandwidth)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("distance", [mmd, frechet_distance])
def test_bad_samples_are_refused(distance):
    good = np.asarray(jax.random.normal(KEY, (50, 2)))
    bad = good.copy()
    bad[3, 1] = np.inf
    with pytest.raises(ValueError, match=r"\[3, 1\] = inf"):
        distance(good, bad)
    with pytest.raises(ValueError, match="2 columns"):
        distance(good, good[:, :1])
    with pytest.raises(ValueError, match="too few"):
        distance(good[:5], good)
    with pytest.raises(ValueError, match=r"bandwidth = 0\.0"):
        mmd(good, good, bandwidth=0.0)

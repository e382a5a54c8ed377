"""The gap from samples: exact truths in ten dimensions, honest errors, what is found,
and what is refused.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.score.samples.features import CustomFeatures, RidgeFunctions, line_splines
from fpsolve.score.samples.gap import sampled_gap
from fpsolve.score.samples.rayleigh import minimise_rayleigh, rayleigh_quotient

KEY = jax.random.key(3)
VARIANCES = np.array([0.3, 0.5, 0.7, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0])
SEEDS = 1  # benchmarks/scores.py takes ten


def product(seed, barrier, variances, tilt=0.0, count=60_000):
    """Samples of a double well (x² - 1)² `barrier` + `tilt` x and of Gaussians,
    rotated; their gap; the rotation.
    """
    energy = lambda x: barrier * (x[0] ** 2 - 1) ** 2 + tilt * x[0]
    rate = float(fp.spectral_gap(fp.FokkerPlanck(energy)))
    points = np.linspace(-3.5, 3.5, 100_001)
    density = np.exp(-(barrier * (points**2 - 1) ** 2 + tilt * points))
    below = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    random = np.random.default_rng(seed)
    well = np.interp(random.random(count), below / below[-1], points)
    normal = random.normal(size=(count, len(variances))) * np.sqrt(variances)
    rotation = np.linalg.qr(random.normal(size=(len(variances) + 1,) * 2))[0]
    samples = np.concatenate([well[:, None], normal], axis=1) @ rotation.T
    return jnp.asarray(samples), min(rate, 1 / max(variances, default=0.01)), rotation


def gaussian(seed, variances, count):
    return jnp.asarray(
        np.random.default_rng(seed).normal(size=(count, len(variances)))
        * np.sqrt(variances)
    )


# truth


def test_of_a_gaussian_is_the_rate_of_its_widest_direction_times_the_diffusion():
    samples = gaussian(0, [1.0, 4.0, 0.5], 8000)
    found = sampled_gap(samples, key=KEY, features="linear")
    assert abs(found.value - 0.25) < 3 * found.error
    assert found.error < 0.01
    assert found.family == "linear"
    assert np.isclose(abs(jax.grad(found.observable)(samples[0]))[1], 0.5, rtol=0.05)
    twice = sampled_gap(samples, key=KEY, features="linear", diffusion=2.0)
    assert np.allclose(
        [twice.value, twice.error], [2 * found.value, 2 * found.error], rtol=1e-12
    )
    assert found.ends.shape == (2, 16, 3)
    assert abs(jnp.mean(found.ends[0, :, 1]) - jnp.mean(found.ends[1, :, 1])) > 6


def test_own_features_reach_the_gap_of_a_double_well():
    samples, gap, _ = product(1, 2.0, np.zeros(0), count=20_000)
    features = lambda x: jnp.concatenate(
        [x, jnp.tanh(2 * x), jnp.tanh(x), jnp.tanh(4 * x)]
    )
    found = sampled_gap(samples, key=KEY, features=features)
    assert abs(found.value - gap) < 3 * found.error and found.family == "given"
    assert found.error < 0.03 * gap
    assert (
        found.observable(jnp.array([-1.0])) * found.observable(jnp.array([1.0])) < -0.5
    )


def test_error_is_that_of_the_scatter():
    scores = []
    for seed in range(40):
        found = sampled_gap(
            gaussian(seed, [1.0, 4.0], 1000), key=KEY, features="linear"
        )
        scores.append(float((found.value - 0.25) / found.error))
    assert abs(np.mean(scores)) < 0.6 and 0.75 < np.std(scores) < 1.3


def test_samples_that_judge_their_own_function_flatter_it():
    variances = np.ones(20)
    inside, outside = [], []
    for seed in range(6):
        samples = gaussian(seed, variances, 600)
        one = minimise_rayleigh(
            RidgeFunctions(jnp.zeros((0, 20)), jnp.zeros(0), jnp.eye(20)), samples
        )
        value, error = rayleigh_quotient(one, samples, jnp.arange(600))
        inside.append((value - 1) / error)
        found = sampled_gap(samples, key=KEY, features="linear")
        outside.append((found.value - 1) / found.error)
    assert np.max(inside) < -2
    assert np.min(outside) > -2.5


def test_copies_of_a_sample_count_once():
    few = gaussian(5, [1.0, 4.0], 500)
    copies = jnp.repeat(few, 20, axis=0)
    groups = np.repeat(np.arange(500), 20)
    found = sampled_gap(copies, key=KEY, features="linear", groups=groups)
    once = sampled_gap(few, key=KEY, features="linear")
    blind = sampled_gap(copies, key=KEY, features="linear")
    assert np.isclose(found.error, once.error, rtol=0.15)
    assert blind.error < once.error / 3


def test_a_line_and_what_is_written_out_are_the_same_functions():
    samples = gaussian(2, [1.0, 2.0, 3.0], 500)
    ridges = line_splines(jnp.array([[1.0, 2.0, 0.0]]), samples, 5).as_ridges()
    given = CustomFeatures(lambda x: ridges(x))
    assert np.allclose(ridges.values(samples), given.values(samples), atol=1e-13)
    assert np.allclose(
        ridges.gradient_products(samples), given.gradient_products(samples), atol=1e-12
    )
    a = jnp.arange(6.0)
    assert np.allclose(
        ridges.squared_gradients(samples, a),
        given.squared_gradients(samples, a),
        atol=1e-10,
    )
    wave = RidgeFunctions(ridges.weights, ridges.offsets, ridges.directions, "cos")
    assert np.allclose(
        wave.gradient_products(samples),
        CustomFeatures(lambda x: wave(x)).gradient_products(samples),
        atol=1e-12,
    )


def test_float32_and_coordinates_that_never_change():
    samples = gaussian(4, [1.0, 4.0], 2000).astype(jnp.float32)
    still = jnp.concatenate([samples, jnp.ones((2000, 1), jnp.float32)], axis=1)
    for given in (samples, still):
        found = sampled_gap(given, key=KEY, features="linear")
        assert found.value.dtype == jnp.float32
        assert abs(found.value - 0.25) < 3 * found.error


@pytest.mark.parametrize(
    ("barrier", "tilt", "variances"),
    [(3.0, 0.0, VARIANCES), (1.0, 0.0, 2 * VARIANCES), (2.5, 0.3, np.full(9, 0.9))],
    ids=["well slowest", "gaussian slowest", "equal variances, tilted"],
)
def test_ten_dimensions(barrier, tilt, variances):
    for seed in range(SEEDS):
        samples, gap, rotation = product(seed, barrier, variances, tilt)
        found = sampled_gap(samples, key=jax.random.key(seed))
        assert gap - 2 * found.error < found.value < 1.1 * gap, seed
        slow = (
            samples
            @ rotation[:, 0 if gap < 1 / max(variances) else 1 + np.argmax(variances)]
        )
        f = found.observable.over(samples)
        assert abs(jnp.corrcoef(f, slow)[0, 1]) > 0.9, "this is another mode"


# what is refused


def test_bad_samples_are_refused():
    good = np.asarray(gaussian(0, [1.0, 2.0], 300))
    bad = good.copy()
    bad[7, 1] = np.nan
    for samples, words in [
        (bad, r"samples\[7, 1\] = nan"),
        (good[:100], r"too few .* 140"),
        (good[:, 0], r"samples.shape = \(300,\)"),
        (np.ones((300, 2)), "all the same"),
        (np.array(["a"]), "samples"),
    ]:
        with pytest.raises(ValueError, match=words):
            sampled_gap(samples, key=KEY)


def test_bad_features_are_refused():
    samples = gaussian(0, [1.0, 2.0], 300)
    for features, words in [
        (lambda x: jnp.ones(2), "every feature is constant"),
        (lambda x: x[0], r"of shape \(\)"),
        (lambda x: jnp.log(x), r"feature \d is nan at x = "),
        (lambda x: jnp.arange(30.0) * x[0], "too few to fit 30 .* 700"),
        ("lines", "linear, line, kernel, network"),
        (3, "features = 3"),
    ]:
        with pytest.raises(ValueError, match=words):
            sampled_gap(samples, key=KEY, features=features)


def test_other_bad_arguments_are_refused():
    samples = gaussian(0, [1.0, 2.0], 300)
    for arguments, words in [
        ({"diffusion": 0.0}, "diffusion = 0.0"),
        ({"groups": np.zeros(300, int)}, "there are 1, and at least 100"),
        ({"groups": np.arange(299)}, "300 integers"),
        ({"groups": np.maximum(np.arange(300), 50)}, "one of them has 51 of 300"),
        ({"key": 3.5}, "key = 3.5"),
    ]:
        with pytest.raises(ValueError, match=words):
            sampled_gap(samples, **{"key": KEY, **arguments})

"""Samplers of few steps: against their exact law on a line, in more dimensions, and the
costs that make their steps.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.diffusion.line_law import sampler_law
from fpsolve.diffusion.particles import draw, pearson
from fpsolve.diffusion.steps import edm_steps, linear_steps
from fpsolve.path.noising import Noising
from fpsolve.score.sample import sample
from fpsolve.score.samples.costs import sampled_costs

KEY = jax.random.key(11)
DATA = fp.GaussianMixture([[-1.5], [1.5]], 0.25, weights=[0.3, 0.7])
PATH = Noising(DATA)
GRID = fp.Grid(fp.Line(-5.0, 5.0, 48))


def chance(samples, law):
    """Of counts as unlike the law as those of the samples."""
    points = np.asarray(law.points)
    order = np.argsort(np.asarray(law.points))
    density = np.interp(
        GRID.axes[0].nodes,
        points[order],
        np.asarray(law.masses / law.lengths)[order],
        0,
        0,
    )
    return float(pearson(samples, jnp.asarray(density), GRID).chance)


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_samples_are_of_the_exact_law_of_the_sampler(noise):
    lambdas = linear_steps(PATH, 5)
    start = lambda x: jnp.exp(-(x[0] ** 2) / 2)
    law = sampler_law(
        PATH, lambdas, fp.Grid(fp.Line(-6.0, 6.0, 64)), noise=noise, initial=start
    )
    found = sample(PATH.score, PATH, lambdas, key=KEY, count=20_000, dim=1, noise=noise)
    assert chance(found, law) > 1e-3
    other = sample(PATH.score, PATH, lambdas, key=KEY, count=20_000, dim=1, noise=0.5)
    assert chance(other, law) < 1e-3


def test_many_steps_reach_the_data_in_more_dimensions():
    path = Noising(
        fp.GaussianMixture(
            [[-1.0, 0.0, 1.0], [1.0, 0.5, 0.0]], 0.2, weights=[0.25, 0.75]
        )
    )
    found = sample(path.score, path, edm_steps(path, 40), key=KEY, count=4000, dim=3)
    assert np.allclose(
        found.mean(axis=0),
        0.25 * path.mixture.means[0] + 0.75 * path.mixture.means[1],
        atol=0.06,
    )
    assert abs(jnp.mean(found[:, 0] > 0) - 0.75) < 0.03


def test_given_samples_at_the_noise_end_are_carried_exactly_by_a_gaussian_score():
    """DDIM scales a Gaussian, step by step: m = α'/α (1 - σ²/v) + σ' σ/v, v = α² + σ²:
    1 for "vp" and unit variance.
    """
    start = jax.random.normal(KEY, (7, 4))
    lambdas = linear_steps(None, 3)
    found = sample(
        lambda x, lam: -x, "vp", lambdas, key=KEY, count=7, dim=4, initial=start
    )
    path = Noising(DATA)
    alpha, sigma = np.asarray(path.alpha(lambdas)), np.asarray(path.sigma(lambdas))
    factor = np.prod(alpha[1:] * alpha[:-1] + sigma[1:] * sigma[:-1])
    assert np.allclose(found, factor * start, atol=1e-12)


def test_one_key_one_result():
    draw_one = lambda key: sample(
        PATH.score, PATH, linear_steps(PATH, 3), key=key, count=5, dim=1, noise=1.0
    )
    assert np.array_equal(draw_one(KEY), draw_one(KEY))
    assert not np.array_equal(draw_one(KEY), draw_one(jax.random.key(1)))


def test_costs_along_a_gaussian_path_are_known():
    """Data N(0, c²) in two dimensions: v_λ = α²c² + σ², gap 1/v, s = -x/v, so
    E|∂s|² = 2 v'²/v³, velocity x v'/(2v).
    """
    c = 0.5
    path = Noising(fp.GaussianMixture([[0.0, 0.0]], c**2))
    data = draw(path.mixture, 3000, KEY)
    lambdas = jnp.array([0.1, 0.3, 0.7])
    costs = sampled_costs(path.score, path, data, lambdas, key=KEY, copies=2)
    variance = lambda lam: path.alpha(lam) ** 2 * c**2 + path.sigma(lam) ** 2
    v, slope = jax.vmap(jax.value_and_grad(variance))(lambdas)
    assert np.all(abs(costs.gap - 1 / v) < 4 * costs.gap_error)
    assert np.allclose(costs.score, 2 * slope**2 / v**3, rtol=0.08)
    assert np.allclose(costs.velocity, slope**2 / (2 * v), rtol=0.08)
    # ε = σ x/v, and x/√v stays
    along = lambda lam: path.sigma(lam) / jnp.sqrt(variance(lam))
    assert np.allclose(
        costs.bending, 2 * jax.vmap(jax.grad(along))(lambdas) ** 2, rtol=0.08
    )
    assert np.allclose(
        costs.ratio,
        jax.vmap(jax.grad(lambda lam: path.sigma(lam) / path.alpha(lam)))(lambdas),
    )
    for kind in ("score", "lag", "wasserstein", "bending"):
        steps = costs.steps(kind)(path, 6)
        assert steps.shape == (7,)
        assert np.all(np.diff(steps) < 0)
        assert steps[0] == 1
        assert steps[-1] == 0


def test_bad_arguments_are_refused():
    good = {
        "score": PATH.score,
        "path": PATH,
        "lambdas": [1.0, 0.5, 0.0],
        "key": KEY,
        "count": 5,
        "dim": 1,
    }
    for change, words in [
        ({"lambdas": [0.0, 1.0]}, "descend from 1 to 0"),
        ({"noise": 1.5}, "between 0 and 1"),
        ({"count": 0}, "count = 0"),
        ({"dim": 2.0}, "dim = 2.0"),
        ({"initial": jnp.zeros((4, 1))}, r"\(5, 1\)"),
        ({"score": lambda x: -x}, "x and λ"),
        ({"score": lambda x, lam: x[0]}, "shape of x"),
        ({"score": lambda x, lam: x / 0.0}, "finite"),
        ({"path": 3}, "alpha"),
        ({"key": 0.5}, "key = 0.5"),
    ]:
        arguments = {**good, **change}
        with pytest.raises(ValueError, match=words):
            sample(
                arguments.pop("score"),
                arguments.pop("path"),
                arguments.pop("lambdas"),
                **arguments,
            )
    data = jnp.zeros((300, 1))
    for lambdas in ([0.0, 1.0], [0.5, 0.2], [0.5, 1.5], []):
        with pytest.raises(ValueError, match="ascend"):
            sampled_costs(PATH.score, PATH, data, lambdas, key=KEY)

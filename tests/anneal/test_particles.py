"""Particles against densities, and the exact laws of samplers of few steps against
closed forms and particles.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.anneal.schedule import linear
from fpsolve.diffusion.line_law import sampler_law, shortfall
from fpsolve.diffusion.particles import draw, expectation, histogram, particles, pearson
from fpsolve.diffusion.reverse_process import ReverseProcess
from fpsolve.diffusion.steps import (
    cosine_steps,
    cost_steps,
    edm_steps,
    linear_steps,
    log_snr_steps,
    schedule_steps,
)
from fpsolve.path.noising import Noising

DATA = fp.GaussianMixture([[-2.0], [2.0]], 0.25, weights=[0.3, 0.7])
PATH = Noising(DATA)
GRID = fp.Grid(fp.Line(-6.0, 6.0, 96))
KEY = jax.random.key(7)
LAW = fp.Grid(fp.Line(-7.0, 7.0, 64))


def kappa(path, lam):
    return np.asarray(path.sigma(lam) / path.alpha(lam))


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_particles_are_of_the_density_on_the_grid(noise):
    pytest.importorskip("diffrax")
    first, second = jax.random.split(KEY)
    samples = particles(
        ReverseProcess(PATH, noise),
        draw(PATH(1.0), 20000, first),
        steps=100,
        key=second,
    )
    assert pearson(samples, GRID.density(DATA.density), GRID).chance > 1e-4
    found = expectation(samples, lambda x: jnp.concatenate([x, x**2]))
    assert np.all(np.abs(found.value - np.array([0.8, 4.25])) < 4 * found.error)
    moved = GRID.density(
        fp.GaussianMixture([[-2.0], [2.0]], 0.25, weights=[0.33, 0.67]).density
    )
    assert pearson(samples, moved, GRID).chance < 1e-4


def test_drawing_and_counting():
    matrix = jnp.array([[1.0, 0.5], [0.5, 2.0]])
    mixture = fp.GaussianMixture([[1.0, -1.0]], matrix[None])
    samples = draw(mixture, 20000, KEY)
    found = expectation(
        samples, lambda x: jnp.outer(x - mixture.means[0], x - mixture.means[0])
    )
    assert np.all(np.abs(found.value - matrix) < 4 * found.error)
    grid = fp.Grid(fp.Line(0.0, 2.0, 4), fp.Line(0.0, 2.0, 4))
    counts = histogram(jnp.array([[0.1, 1.9], [0.2, 1.6], [5.0, 0.0]]), grid)
    assert counts[0, 3] == 2 and float(counts.sum()) == 2


def test_chance_is_uniform_under_the_truth():
    chances = [
        float(pearson(draw(DATA, 2000, key), GRID.density(DATA.density), GRID).chance)
        for key in jax.random.split(KEY, 20)
    ]
    assert 0.3 < np.mean(chances) < 0.7


def test_a_missing_diffrax_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(ImportError, match=r"fpsolve\[sde\]"):
        particles(ReverseProcess(PATH), jnp.zeros((2, 1)), steps=2, key=KEY)


@pytest.mark.parametrize("kind", ["vp", "ve"])
def test_schedules_of_steps(kind):
    path = Noising(DATA, kind)
    end = float(kappa(path, 1.0))
    for steps_of in (linear_steps, cosine_steps, edm_steps, log_snr_steps):
        lambdas = np.asarray(steps_of(path, 6))
        assert lambdas.shape == (7,)
        assert lambdas[0] == 1
        assert lambdas[-1] == 0
        assert np.all(np.diff(lambdas) < 0)
    assert kappa(path, cosine_steps(path, 4)[2]) == pytest.approx(
        np.tan(np.arctan(end) / 2), rel=1e-9
    )
    i = np.arange(5) / 4
    karras = (end ** (1 / 7) + i * (0.002 ** (1 / 7) - end ** (1 / 7))) ** 7
    assert kappa(path, edm_steps(path, 5)[:-1]) == pytest.approx(karras, rel=1e-8)
    assert kappa(path, log_snr_steps(path, 5)[:-1]) == pytest.approx(
        end * (0.002 / end) ** i, rel=1e-8
    )
    assert np.asarray(schedule_steps(linear(3.0))(path, 4)) == pytest.approx(
        np.linspace(1, 0, 5), abs=1e-6
    )
    even = cost_steps(lambda lam: 1 + 2 * lam)(path, 4)  # λ + λ² evenly
    assert np.asarray(even + even**2) == pytest.approx(np.linspace(2, 0, 5), abs=1e-6)


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
def test_of_gaussian_data_the_law_is_gaussian_in_closed_form(noise):
    """Every step is linear: m(x) = r x, and v' = r² v + w."""
    spread = 0.25
    path = Noising(fp.GaussianMixture([[0.0]], spread))
    lambdas = np.asarray(linear_steps(path, 4))
    alpha, sigma = np.asarray(path.alpha(lambdas)), np.asarray(path.sigma(lambdas))
    variance = alpha[0] ** 2 * spread + sigma[0] ** 2
    for k in range(4):
        there = alpha[k] ** 2 * spread + sigma[k] ** 2
        fresh = (
            noise
            * sigma[k + 1] ** 2
            * (1 - (sigma[k + 1] * alpha[k] / (alpha[k + 1] * sigma[k])) ** 2)
        )
        rate = alpha[k + 1] / alpha[k] * (1 - sigma[k] ** 2 / there)
        rate += np.sqrt(sigma[k + 1] ** 2 - fresh) * sigma[k] / there
        variance = rate**2 * variance + fresh
    law = sampler_law(path, lambdas, LAW, noise=noise, nodes=1024)
    assert float(law.masses.sum()) == pytest.approx(1, abs=1e-12)
    assert float(law.masses @ law.points**2) == pytest.approx(variance, rel=1e-10)
    ratio = variance / spread
    assert float(shortfall(path, law).kl) == pytest.approx(
        (ratio - 1 - np.log(ratio)) / 2, rel=1e-8
    )


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_the_law_is_that_of_particles(noise):
    lambdas = np.asarray(cosine_steps(PATH, 4))
    law = sampler_law(PATH, lambdas, LAW, noise=noise, nodes=1024)
    x = np.asarray(draw(PATH(1.0), 40000, KEY))[:, 0]
    generator = np.random.default_rng(3)
    alpha, sigma = np.asarray(PATH.alpha(lambdas)), np.asarray(PATH.sigma(lambdas))
    for k in range(4):
        score = np.asarray(
            jax.vmap(lambda x, k=k: PATH.score(x, lambdas[k]))(x[:, None])
        )[:, 0]
        clean, noisy = (x + sigma[k] ** 2 * score) / alpha[k], -sigma[k] * score
        # DDIM, equation 16, with η² = noise
        fresh = (
            noise
            * (sigma[k + 1] / sigma[k]) ** 2
            * (1 - (alpha[k] / alpha[k + 1]) ** 2)
            if k < 3
            else 0.0
        )
        x = alpha[k + 1] * clean + np.sqrt(sigma[k + 1] ** 2 - fresh) * noisy
        x = x + np.sqrt(fresh) * generator.standard_normal(x.shape)
    order = np.argsort(law.points)
    edges = np.linspace(-3, 3, 25)
    below = np.interp(
        edges, np.asarray(law.points)[order], np.cumsum(np.asarray(law.masses)[order])
    )
    found = np.mean(x[:, None] < edges, axis=0)
    error = np.sqrt(below * (1 - below) / len(x)) + 1 / len(x)
    assert np.max(np.abs(found - below) / error) < 4
    assert np.max(np.abs(found - np.interp(edges - 0.03, edges, below)) / error) > 4


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: linear_steps(PATH, 0), "steps"),
        (lambda: edm_steps(PATH, 4, smallest=1e3), "smallest"),
        (lambda: cost_steps(lambda lam: -lam), "cost"),
        (lambda: schedule_steps(lambda t: t), "schedule"),
        (lambda: sampler_law(PATH, [1.0, 0.5], LAW), "lambdas"),
        (lambda: sampler_law(PATH, [1.0, 0.0], LAW, noise=2.0), "noise"),
        (
            lambda: sampler_law(PATH, [1.0, 0.0], fp.Grid(fp.Periodic(0.0, 1.0, 8))),
            "grid",
        ),
        (
            lambda: sampler_law(PATH, edm_steps(PATH, 4), LAW, noise=1.0, nodes=64),
            "nodes",
        ),
        (lambda: particles(ReverseProcess(PATH), jnp.zeros(3), key=KEY), "start.shape"),
        (
            lambda: pearson(
                jnp.zeros((3, 1)), jnp.ones(8), fp.Grid(fp.Periodic(0.0, 1.0, 8))
            ),
            "grid",
        ),
    ],
)
def test_refusals(make, name):
    with pytest.raises(ValueError, match=f"^{name} = "):
        make()

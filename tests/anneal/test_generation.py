"""Ways back from noise to data (theorems T22, T23): truth from the path's own densities
and from closed forms.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.anneal.distances import relative_entropy, total_variation
from fpsolve.diffusion.bisection import invert
from fpsolve.diffusion.generation import generate, score_error_bound
from fpsolve.diffusion.reverse_process import ReverseProcess
from fpsolve.path.noising import Noising

DATA = fp.GaussianMixture([[-2.0], [2.0]], 0.25, weights=[0.3, 0.7])
PATH = Noising(DATA)
GRID = fp.Grid(fp.Line(-8.0, 8.0, 80))
WHITE = fp.Gaussian(0.0, 1.0)


def log_density(path, lam, grid):
    return -grid.sample(path(lam))


def distance(path, density, grid):
    return float(total_variation(density, log_density(path, 0.0, grid), grid))


def divergence(path, lam, log_density_other, grid):
    return float(
        relative_entropy(jnp.exp(log_density(path, lam, grid)), log_density_other, grid)
    )


@pytest.mark.parametrize(("kind", "total"), [("vp", 5.025), ("ve", 50.0)])
def test_the_clock_is_the_integral_of_half_the_squared_diffusion(kind, total):
    back = ReverseProcess(Noising(DATA, kind))
    assert float(back.total) == pytest.approx(total, rel=1e-12)
    times = np.array([0.0, 0.3, 0.9]) * total
    lambdas = np.array([float(back.place(t)) for t in times])
    exact = 1 - times / total  # of B and of σ²
    found = (
        -2 * np.log(back.path.alpha(lambdas)) / 10.05 if kind == "vp" else lambdas**2
    )
    assert found == pytest.approx(exact, abs=1e-12)
    rate = float(back.path.squared_diffusion(lambdas[1])) / 2
    assert float(jax.grad(back.place)(times[1])) == pytest.approx(-1 / rate, rel=1e-9)


def test_inversion_finds_every_entry():
    assert np.asarray(
        invert(lambda x: x**3, jnp.array([0.001, 0.125, 0.9]))
    ) == pytest.approx([0.1, 0.5, 0.9 ** (1 / 3)])


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("kind", ["vp", "ve"])
def test_the_equation_has_the_drift_of_the_reverse_process(kind, noise):
    back = ReverseProcess(Noising(DATA, kind), noise)
    x, t = jnp.array([0.7]), 0.6 * back.total
    lam = back.place(t)
    half = back.path.squared_diffusion(lam) / 2
    reverse = (
        (1 + noise) * half * back.path.score(x, lam) - back.path.drift(x, lam)
    ) / half
    assert np.asarray(back.equation.drift(x, t)) == pytest.approx(
        np.asarray(reverse), rel=1e-10
    )
    assert float(back.equation.diffusion) == noise
    langevin = ReverseProcess(back.path, noise, flow=False).equation
    assert np.asarray(langevin.drift(x, t)) == pytest.approx(
        noise * np.asarray(back.path.score(x, lam)), rel=1e-10
    )


def test_the_flow_carries_the_path_and_conserves_divergences():
    assert (
        distance(
            PATH, generate(ReverseProcess(PATH, 0.0), PATH(1.0).density, GRID), GRID
        )
        < 1e-8
    )
    there = divergence(PATH, 1.0, GRID.sample(WHITE.log_density), GRID)
    here = generate(ReverseProcess(PATH, 0.0), WHITE, GRID)
    assert divergence(PATH, 0.0, jnp.log(here), GRID) == pytest.approx(there, rel=1e-5)
    fault = ReverseProcess(PATH, 0.0, error=lambda x, lam: 0.1 * PATH.score(x, lam))
    assert distance(PATH, generate(fault, PATH(1.0).density, GRID), GRID) > 0.01


def test_noise_forgets_the_start_as_the_forward_process_mixes():
    """At ε = 1 the ratio q/p is a martingale of the forward process:
    (q/p)(x, 0) = E[(q/p)(X_1, 1) | X_0 = x].
    """
    start = fp.Gaussian(0.5, 0.8)
    found = generate(ReverseProcess(PATH), start, GRID)
    alpha = PATH.alpha(1.0)
    sigma = PATH.sigma(1.0)
    x = GRID.nodes[0]
    kernel = jnp.exp(-((x - alpha * x[:, None]) ** 2) / (2 * sigma**2)) / jnp.sqrt(
        2 * jnp.pi * sigma**2
    )
    ratio = jnp.exp(GRID.sample(start.log_density) - log_density(PATH, 1.0, GRID))
    truth = jnp.exp(log_density(PATH, 0.0, GRID)) * (kernel @ (ratio * GRID.weights))
    assert float(GRID.integrate(jnp.abs(found - truth))) < 1e-7
    assert distance(PATH, found, GRID) < 0.02 * float(
        total_variation(GRID.sample(start), log_density(PATH, 1.0, GRID), GRID)
    )


def test_langevin_dynamics_alone_lag_as_one_over_the_noise():
    grid = fp.Grid(fp.Line(-6.0, 6.0, 320))
    langevin = lambda noise: ReverseProcess(PATH, noise, flow=False)
    lags = [
        distance(PATH, generate(langevin(e), PATH(1.0).density, grid, tol=1e-4), grid)
        for e in (10.0, 40.0)
    ]
    assert lags[0] > 0.04 and 3.6 < lags[0] / lags[1] < 4.6


def gaussian_with_error(noise, size):
    """N(0, 1/4) as data and the constant error `size`: q_0 is normal, of the right
    variance and a mean in closed form.

    The mean obeys m' = (1 - (1 + ε)/v) m + (1 + ε) e, v = 1 - (3/4) exp(-2 (T - t));
    returns KL(p_0|q_0).
    """
    total = 5.025
    nodes, weights = np.polynomial.legendre.leggauss(400)
    left = total * (nodes + 1) / 2  # T - t
    # ∫ dt / v over the last `left` = log((e^{2 left} - 3/4) / (1/4)) / 2
    decay = np.exp(left - (1 + noise) * np.log((np.exp(2 * left) - 0.75) / 0.25) / 2)
    mean = (1 + noise) * size * np.sum(weights * decay) * total / 2
    return mean**2 / (2 * 0.25)


def test_the_bound_on_a_wrong_score_is_least_at_the_reverse_process():
    error = lambda x, lam: jnp.array([0.3]) * (1 + lam)
    bound = lambda noise: float(
        score_error_bound(ReverseProcess(PATH, noise, error=error), WHITE, GRID)
    )
    start = float(score_error_bound(ReverseProcess(PATH), WHITE, GRID))
    assert start == pytest.approx(
        divergence(PATH, 1.0, GRID.sample(WHITE.log_density), GRID), rel=1e-6
    )
    # ∫ (β/2) 0.09 (1 + λ)² dλ, β = 0.1 + 19.9 λ
    whole = 0.045 * (0.1 * 7 / 3 + 19.9 * (1 / 2 + 2 / 3 + 1 / 4))
    assert bound(1.0) - start == pytest.approx(whole, rel=1e-6)
    assert bound(0.5) - start == pytest.approx(whole * 2.25 / 2, rel=1e-6)
    assert bound(2.0) - start == pytest.approx(whole * 9 / 8, rel=1e-6)
    assert bound(0.0) == np.inf


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: ReverseProcess(fp.Mix(DATA, DATA)), "path"),
        (lambda: ReverseProcess(PATH, -1.0), "noise"),
        (lambda: ReverseProcess(PATH, 0.0, flow=False), "noise"),
        (lambda: ReverseProcess(PATH, error=0.1), "error"),
        (lambda: ReverseProcess(PATH, 0.0).equation, "noise"),
        (lambda: generate(ReverseProcess(PATH, 0.0), jnp.ones(80), GRID), "initial"),
        (
            lambda: score_error_bound(ReverseProcess(PATH, flow=False), WHITE, GRID),
            "process.flow",
        ),
    ],
)
def test_refusals(make, name):
    with pytest.raises(ValueError, match=f"^{name} = "):
        make()

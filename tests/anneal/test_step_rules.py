"""Step rules that know the data, and the exact law of DDIM in any dimension, against
closed forms for Gaussian data and against the law on a line by other means.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.anneal.along import along
from fpsolve.anneal.schedule import optimal
from fpsolve.diffusion.flow_law import sampler_divergence
from fpsolve.diffusion.line_law import sampler_law, shortfall
from fpsolve.diffusion.particles import draw
from fpsolve.diffusion.step_rules import (
    Errors,
    aligned_steps,
    bridge_ratio,
    denoising_errors,
    harmonic_steps,
    least_path_kl,
    path_kl_bound,
    tangent_steps,
    work_steps,
)
from fpsolve.diffusion.steps import (
    edm_steps,
    linear_steps,
    log_snr_steps,
    schedule_steps,
)
from refusals import refused

GAUSSIAN = fp.Noising(fp.GaussianMixture([[0.0]], 0.49))
PAIR = fp.Noising(fp.GaussianMixture([[-1.5], [1.5]], 0.16, [0.3, 0.7]))
TRAP = fp.path.Moved(fp.Harmonic(), 1.0)
LINE = fp.Grid(fp.Line(-4.5, 4.5, 96))
NOISE = fp.Grid(fp.Line(-8.0, 8.0, 400))


def ratios(path: fp.Noising, lambdas: jax.Array) -> np.ndarray:
    return np.asarray(path.sigma(lambdas) / path.alpha(lambdas))


def test_the_law_of_ddim_for_gaussian_data_in_closed_form() -> None:
    """A step multiplies y by (κ κ' + c^2) / (κ^2 + c^2): the law is Gaussian, and KL
    known. In the plane, twice.
    """
    deviation = 0.7
    lambdas = linear_steps(GAUSSIAN, 5)
    k = ratios(GAUSSIAN, lambdas)
    factor = np.prod((k[:-1] * k[1:] + deviation**2) / (k[:-1] ** 2 + deviation**2))
    variance = factor**2 * (deviation**2 + k[0] ** 2) / deviation**2
    truth = (variance - 1 - np.log(variance)) / 2
    found = sampler_divergence(GAUSSIAN, lambdas, NOISE)
    assert float(found.kl) == pytest.approx(truth, rel=1e-8)
    assert float(found.kl_error) < 1e-8
    plane = fp.Noising(fp.GaussianMixture([[0.0, 0.0]], 0.49))
    both = sampler_divergence(
        plane, lambdas, fp.Grid(fp.Line(-7.0, 7.0, 40), fp.Line(-7.0, 7.0, 41))
    )
    assert float(both.kl) == pytest.approx(2 * truth, rel=1e-6)


def test_the_law_of_ddim_agrees_with_that_on_a_line() -> None:
    lambdas = edm_steps(PAIR, 6, smallest=0.05)
    found = sampler_divergence(PAIR, lambdas, NOISE)
    other = shortfall(PAIR, sampler_law(PAIR, lambdas, LINE))
    assert float(found.kl) == pytest.approx(float(other.kl), rel=2e-3)
    assert float(found.tv) == pytest.approx(float(other.tv), rel=2e-3)
    start = sampler_divergence(PAIR, lambdas, NOISE, initial=fp.Gaussian(0.0, 1.0))
    assert abs(float(start.kl) - float(found.kl)) < 0.1


def test_the_denoising_error_of_gaussian_data() -> None:
    """M = c^2 κ^2 / (c^2 + κ^2)."""
    ratio, error = denoising_errors(GAUSSIAN, LINE, 0.01)
    np.testing.assert_allclose(error, 0.49 * ratio**2 / (0.49 + ratio**2), rtol=1e-6)


def test_the_bound_of_the_ancestral_sampler_by_brute_force() -> None:
    """KLUB of Gaussian data as a double integral, and the least of all sequences
    against a search over pairs.
    """
    errors = denoising_errors(GAUSSIAN, LINE, 0.05)
    levels = np.asarray([0.05, 0.2, 0.8, 3.0, float(errors.ratios[-1])])
    denoise = lambda k: 0.49 * k**2 / (0.49 + k**2)
    total = 0.0
    for low, high in itertools.pairwise(levels):
        k = np.geomspace(low, high, 4001)
        total += np.trapezoid((denoise(high) - denoise(k)) / k**2, np.log(k))
    assert path_kl_bound(errors, levels) == pytest.approx(total, rel=1e-4)

    few = Errors(errors.ratios[::40], errors.error[::40])
    cost = lambda a, b: (
        (1 / few.ratios[a] ** 2 - 1 / few.ratios[b] ** 2) * few.error[b] / 2
    )
    last = len(few.ratios) - 1
    options = [(i, j) for i in range(1, last) for j in range(i + 1, last)]
    best = min(
        options,
        key=lambda pair: (
            cost(0, pair[0]) + cost(pair[0], pair[1]) + cost(pair[1], last)
        ),
    )
    np.testing.assert_allclose(least_path_kl(few, 3), few.ratios[[0, *best, last]])


def test_aligned_steps_have_the_least_bound() -> None:
    errors = denoising_errors(PAIR, LINE, 0.02)
    bound = lambda lambdas: path_kl_bound(errors, ratios(PAIR, lambdas)[:-1][::-1])
    least = bound(aligned_steps(PAIR, LINE, 0.02)(PAIR, 8))
    others = [
        bound(rule(PAIR, 8, smallest=0.02)) for rule in (edm_steps, log_snr_steps)
    ]
    assert 0 < least < 0.8 * min(others)


def test_tangent_steps_are_best_for_gaussian_data() -> None:
    """Truth: among all tangents the one with the deviation of the data has the least
    KL.
    """
    kl = lambda scale: float(
        sampler_divergence(GAUSSIAN, tangent_steps(scale)(GAUSSIAN, 6), NOISE).kl
    )
    assert kl(0.7) < min(kl(0.45), kl(1.1))
    assert (
        kl(0.7)
        < float(sampler_divergence(GAUSSIAN, edm_steps(GAUSSIAN, 6), NOISE).kl) / 2
    )


def test_the_bridge_without_stiffness_is_brownian() -> None:
    t = np.asarray([0.1, 0.35, 0.5, 0.9, 1.0])
    np.testing.assert_allclose(
        bridge_ratio(np.zeros(3), t), np.sqrt((1 - t) / t), rtol=1e-12
    )


def test_the_bridge_with_stiffness_solves_its_equations() -> None:
    """κ^-2 = ∫_0^t ds / φ(s)^2, φ'' = β φ, by an integration of the equations; one
    stiffness by coth.
    """
    r = np.sqrt(5.0)
    t = np.asarray([0.2, 0.5, 0.8])
    inverse = r / np.tanh(r * (1 - t)) - r / np.tanh(r)
    np.testing.assert_allclose(
        bridge_ratio(np.asarray([5.0]), t) ** -2.0, inverse, rtol=1e-10
    )
    from scipy.integrate import solve_ivp

    beta = np.asarray([1.0, 9.0, -4.0])
    at = lambda s: beta[min(int(3 * s), 2)]
    back = solve_ivp(
        lambda s, y: [-y[1], -at(1 - s) * y[0]],
        (0, 1),
        [0.0, -1.0],
        rtol=1e-10,
        max_step=1e-3,
        dense_output=True,
    )
    found = []
    for end in t:
        s = np.linspace(0, end, 4001)
        found.append(np.trapezoid(1 / back.sol(1 - s)[0] ** 2, s))
    np.testing.assert_allclose(bridge_ratio(beta, t) ** -2.0, found, rtol=1e-4)


def test_steps_descend_from_one_to_zero() -> None:
    rules = {
        "work": work_steps(PAIR, LINE),
        "aligned": aligned_steps(PAIR, LINE, 0.02),
        "tangent": tangent_steps(1.5),
        "harmonic": harmonic_steps((0.0, 3.0, 1.0)),
    }
    for name, rule in rules.items():
        for steps in (1, 2, 7):
            lambdas = np.asarray(rule(PAIR, steps))
            assert lambdas.shape == (steps + 1,), name
            assert (
                lambdas[0] == 1 and lambdas[-1] == 0 and np.all(np.diff(lambdas) < 0)
            ), name


def test_the_schedule_of_least_work_is_the_steps_of_equal_work() -> None:
    """Two ways: the panels of `optimal`, and the midpoint rule; and its cost against
    Gaussian data in closed form.
    """
    schedule = optimal(PAIR, 1.0, grid=fp.Grid(fp.Line(-9.0, 9.0, 128)), cost="work")
    np.testing.assert_allclose(
        schedule_steps(schedule)(PAIR, 6), work_steps(PAIR, LINE)(PAIR, 6), atol=2e-3
    )
    one = optimal(GAUSSIAN, 1.0, grid=fp.Grid(fp.Line(-9.0, 9.0, 128)), cost="work")
    # s = -x / V with V = 0.49 α^2 + σ^2: E|d_λ s|^2 = (V' / V)^2 / V.
    lam = np.linspace(0, 1, 20001)
    variance = np.asarray(0.49 * GAUSSIAN.alpha(lam) ** 2 + GAUSSIAN.sigma(lam) ** 2)
    rate = (
        np.abs(np.gradient(variance, lam, edge_order=2))
        / variance**1.5
        * np.asarray(GAUSSIAN.sigma(lam))
    )
    assert float(one.cost_integral) == pytest.approx(np.trapezoid(rate, lam), rel=1e-3)
    assert float(one.gain) > 1
    # Control: it is far from even steps.
    assert (
        float(np.max(np.abs(np.asarray(schedule.table(10)[1]) - np.linspace(0, 1, 11))))
        > 0.05
    )


def test_the_work_from_samples() -> None:
    """Within the sampling error of 4000 samples, for exact scores."""
    from fpsolve.score.samples.costs import sampled_costs

    data = draw(PAIR.mixture, 4000, jax.random.key(1))
    places = jnp.linspace(0.02, 1.0, 24)
    costs = sampled_costs(PAIR.score, PAIR, data, places, key=jax.random.key(2))
    found = np.asarray(costs.steps("work")(PAIR, 6))
    np.testing.assert_allclose(found, work_steps(PAIR, LINE)(PAIR, 6), atol=0.03)


def test_refusals() -> None:
    refused(lambda: tangent_steps(-1.0), "scale")
    refused(lambda: harmonic_steps((-10.0,)), "stiffness")
    refused(lambda: aligned_steps(PAIR, LINE, 1e9), "smallest")
    found = along(
        TRAP, grid=fp.Grid(fp.Line(-7.0, 7.0, 64)), tol=1e-3, costs=False, check=False
    )
    refused(lambda: optimal(found, 1.0, cost="work"), "path", "Along")
    refused(lambda: optimal(TRAP, 1.0, grid=LINE, cost="works"), "cost", "work")
    refused(lambda: sampler_divergence(PAIR, [0.0, 1.0], NOISE), "lambdas")
    refused(
        lambda: sampler_divergence(
            PAIR, [1.0, 0.0], fp.Grid(fp.Reflecting(-1.0, 1.0, 16))
        ),
        "grid",
    )

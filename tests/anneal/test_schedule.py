"""Schedules: their shapes, what is optimal about the optimal ones, and how they leave
the house.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.anneal import schedule
from fpsolve.anneal.along import Along, along
from fpsolve.anneal.schedule.learn import final_kl
from fpsolve.path.noising import Noising
from refusals import refused

D = 0.5
BOX = fp.Grid(fp.Line(-8.0, 9.0, 64))
GEOMETRIC = fp.Mix(fp.Harmonic(1.0, 0.0), fp.Harmonic(2.0, 2.0))
HARD = fp.Mix(
    lambda x: 2 * (x[0] + 1) ** 2, lambda x: 3 * (x[0] ** 2 - 1) ** 2 - x[0] / 2
)
HARD_BOX = fp.Grid(fp.Line(-3.6, 3.0, 100))


@pytest.fixture(scope="module")
def found() -> Along:
    return along(GEOMETRIC, grid=BOX, diffusion=D)


def action(one: schedule.Schedule, found: Along, cost: str) -> float:
    """int g (dλ/dt)^2 dt, by quadrature."""
    x, weights = np.polynomial.legendre.leggauss(10)
    t = float(one.total) * (np.arange(100)[:, None] + (1 + x) / 2) / 100
    return float(
        jnp.sum(weights / 200 * (getattr(found.at(one(t)), cost) * one.rate(t)) ** 2)
        * one.total
    )


def orders(sizes: list[float]) -> np.ndarray:
    """Of a series at times that double."""
    return np.log2(np.asarray(sizes[:-1]) / np.asarray(sizes[1:]))


def test_smooth_is_the_regularised_beta_function() -> None:
    t = jnp.linspace(0, 3.0, 31)
    for order in range(4):
        one = schedule.smooth(3.0, order)
        truth = jax.scipy.special.betainc(order + 1.0, order + 1.0, t / 3)
        np.testing.assert_allclose(one(t), truth, atol=1e-14)
        np.testing.assert_allclose(jnp.sum(one.rate(t[1:] - 0.05)) * 0.1, 1, atol=2e-3)
    np.testing.assert_allclose(schedule.linear(3.0)(t), t / 3, atol=1e-15)
    derivative = schedule.smooth(3.0, 2).place
    for _ in range(2):
        derivative = jax.grad(derivative)
        assert abs(float(derivative(0.0))) < 1e-12
        assert abs(float(derivative(1.0))) < 1e-12
    assert abs(float(jax.grad(derivative)(1.0))) > 1


def test_a_schedule_rests_outside_its_time() -> None:
    one = schedule.smooth(2.0, 1)
    np.testing.assert_allclose(one(jnp.asarray([-1.0, 0.0, 2.0, 5.0])), [0, 0, 1, 1])
    np.testing.assert_allclose(one.rate(jnp.asarray([-1.0, 5.0])), 0)
    assert one(jnp.zeros((2, 3))).shape == (2, 3)
    assert float(jax.jit(jax.grad(one))(1.0)) == pytest.approx(0.75)


def test_end_errors_fall_by_the_order_of_the_end() -> None:
    """T18 where all is closed: a well of rate 1 dragged over a unit has the lag
    int e^(t - T) dλ.
    """
    x, weights = np.polynomial.legendre.leggauss(20)
    for n in range(3):
        lags = []
        for total in (100.0, 200.0, 400.0, 800.0):
            # Earlier times have decayed to e^-40 at the end.
            late = min(40.0, total)
            edges = total - late + np.linspace(0, late, 41)
            t = edges[:-1, None] + (1 + x) / 2
            rate = schedule.smooth(total, n).rate(t)
            lags.append(float(np.sum(weights / 2 * np.exp(t - total) * rate)))
        assert abs(orders(lags)[-1] - (n + 1)) < 0.05


def test_optimal_schedules_solve_their_equation(found: Along) -> None:
    """Truth: dλ/dt = C / (T sqrt g), λ = 1 at T, J = C^2 / T; agreement of J with
    quadrature.
    """
    t = np.linspace(0, 10.0, 1001)
    for cost in schedule.COSTS:
        one = schedule.optimal(found, 10.0, cost=cost)
        root = getattr(found.at(one(t)), cost)
        np.testing.assert_allclose(
            one.rate(t) * root * 10 / one.cost_integral, 1, rtol=1e-7
        )
        assert action(one, found, cost) == pytest.approx(float(one.action), rel=1e-8)
        linear = action(schedule.linear(10.0), found, cost)
        assert linear == pytest.approx(float(one.gain * one.action), rel=1e-8)
        assert float(one.gain) > 1
        others = [
            schedule.optimal(found, 10.0, cost=c) for c in schedule.COSTS if c != cost
        ]
        assert min(action(other, found, cost) for other in others) > float(
            one.action
        ) * (1 + 1e-6)


def test_an_optimal_schedule_in_closed_form(found: Along) -> None:
    """Truth: for the bound between these Gaussians sqrt(g) = sqrt(32 / k^5 + 1 / (2
    k^4)), k = 1 + λ; the table inverts t(λ) to 1e-8.
    """
    one = schedule.optimal(found, 10.0)
    x, weights = np.polynomial.legendre.leggauss(60)
    cost = lambda lam: np.sqrt(32 / (1 + lam) ** 5 + 0.5 / (1 + lam) ** 4)
    integral = lambda lam: lam * np.sum(weights / 2 * cost(lam * (1 + x) / 2))
    whole = integral(1.0)
    assert float(one.cost_integral) == pytest.approx(whole, rel=1e-9)
    places = np.linspace(0, 1, 40)
    times = 10 * np.asarray([integral(lam) for lam in places]) / whole
    np.testing.assert_allclose(one(times), places, atol=1e-8)


def test_on_a_path_of_uniform_cost_all_schedules_are_linear() -> None:
    """Control: a moving Gaussian gains nothing."""
    found = along(
        fp.Mix(fp.Harmonic(2.0, -1.0), fp.Harmonic(2.0, 1.0)), grid=BOX, diffusion=D
    )
    t = np.linspace(0, 4, 101)
    for cost in schedule.COSTS:
        one = schedule.optimal(found, 4.0, cost=cost)
        np.testing.assert_allclose(one(t), t / 4, atol=1e-9)
        assert float(one.gain) == pytest.approx(1, abs=1e-9)


def test_a_symmetric_path_makes_the_gap_bound_loose() -> None:
    """Control of T19: parity hides the slow mode from ell, so that (d) is far below
    (a).
    """
    path = fp.Mix(fp.DoubleWell(3.0), fp.DoubleWell(5.0))
    rates = along(path, grid=fp.Grid(fp.Line(-3.0, 3.0, 64)), tol=1e-4).at(
        jnp.linspace(0, 1, 11)
    )
    assert float(jnp.max(rates.exact / rates.bound)) < 0.1


def test_a_path_that_starts_at_rest_is_no_trouble() -> None:
    """λ^2 for λ: the same states, so the same integral and the square root of the
    places.
    """
    slow = lambda lam: GEOMETRIC(lam**2)
    one = schedule.optimal(along(slow, grid=BOX, diffusion=D, tol=1e-6), 10.0)
    straight = schedule.optimal(along(GEOMETRIC, grid=BOX, diffusion=D, tol=1e-6), 10.0)
    t = np.linspace(0.5, 10, 50)
    assert float(one.cost_integral) == pytest.approx(
        float(straight.cost_integral), rel=1e-5
    )
    np.testing.assert_allclose(one(t) ** 2, straight(t), atol=1e-4)


def test_tables_and_back() -> None:
    times, lambdas = schedule.smooth(3.0, 1).table(60)
    back = schedule.tabulated(times, lambdas)
    t = jnp.linspace(0, 3, 301)
    np.testing.assert_allclose(back(t), schedule.smooth(3.0, 1)(t), atol=5e-4)
    assert bool(
        jnp.all(jnp.diff(schedule.tabulated([0, 1, 2, 3], [0, 0.9, 0.9, 1])(t)) >= 0)
    )
    assert float(back.total) == 3.0


def test_noise_schedules_are_consistent_step_by_step() -> None:
    path = Noising(fp.GaussianMixture([[-2.0], [2.0]], 0.25))
    one = schedule.smooth(5.0, 1)
    lambdas = one.table(50)[1][1:]
    squares = path.alpha(lambdas) ** 2
    beta = schedule.beta(one, path, 50)
    np.testing.assert_allclose(jnp.cumprod(1 - beta), squares, rtol=1e-12)
    snr = schedule.log_snr(one, path, 50)
    np.testing.assert_allclose(snr, jnp.log(squares / (1 - squares)), atol=1e-6)
    sigma = schedule.sigma(one, path, 50)
    np.testing.assert_allclose(2 * jnp.log(sigma), -snr[::-1], atol=1e-9)
    assert bool(jnp.all(jnp.diff(sigma) < 0))


class Reversed:
    """From noise to data."""

    def alpha(self, lam):
        return lam

    def sigma(self, lam):
        return jnp.sqrt(1 - lam**2)


def test_noise_schedules_count_from_the_clean_end() -> None:
    beta = schedule.beta(schedule.linear(1.0), Reversed(), 4)
    np.testing.assert_allclose(
        jnp.cumprod(1 - beta), np.asarray([0.75, 0.5, 0.25, 0]) ** 2, atol=1e-15
    )
    assert float(schedule.log_snr(schedule.linear(1.0), Reversed(), 4)[-1]) == -np.inf
    refused(
        lambda: schedule.sigma(schedule.linear(1.0), Reversed(), 4), "alpha vanishes"
    )


def test_refusals() -> None:
    for total in (0.0, -1.0, np.inf, np.nan, "long"):
        refused(lambda total=total: schedule.linear(total), "total")
    refused(lambda: schedule.optimal(GEOMETRIC, 0.0, grid=BOX), "total")
    refused(
        lambda: schedule.optimal(GEOMETRIC, 1.0, grid=BOX, cost="wasserstien"),
        "cost",
        "wasserstein",
    )
    refused(lambda: schedule.smooth(1.0, -1), "order")
    refused(lambda: schedule.tabulated([0, 1, 2], [0, 0.6, 0.5]), "lambdas")
    refused(lambda: schedule.tabulated([0, 1, 2], [0, 0.6, 0.4]), "lambdas")
    refused(lambda: schedule.tabulated([0, 1, 2], [0, 0.6, 0.9]), "end at 1")
    refused(lambda: schedule.tabulated([0, 1, 2], [0.1, 0.6, 1]), "start at 0")
    refused(lambda: schedule.tabulated([0, 2, 1], [0, 0.5, 1]), "times")
    refused(lambda: schedule.tabulated([0, 1], [0, 0.5, 1]), "lambdas")
    refused(lambda: schedule.tabulated([0, 1, 2], [0, 1.2, 1]), "lambdas", "descend")
    refused(lambda: schedule.beta(schedule.linear(1.0), GEOMETRIC, 10), "path", "alpha")


def test_every_optimal_schedule_beats_linear_on_the_hard_path() -> None:
    found = along(HARD, grid=fp.Grid(fp.Line(-4.6, 4.0, 64)), tol=1e-6)
    for total, most in ((20.0, 8.0), (80.0, 20.0)):
        linear = float(final_kl(HARD, HARD_BOX, 1.0, schedule.linear(total)))
        optimal = {
            cost: schedule.optimal(found, total, cost=cost) for cost in schedule.COSTS
        }
        gains = {
            cost: linear / float(final_kl(HARD, HARD_BOX, 1.0, one))
            for cost, one in optimal.items()
        }
        assert min(gains.values()) > 1, gains
        assert max(gains.values()) > most, gains


def test_a_table_that_is_filled_up_is_the_same_schedule_with_its_slopes() -> None:
    path = fp.Mix(fp.Harmonic(2.0, center=-1.0), fp.Harmonic(0.5, center=1.0))
    table = fp.schedule.optimal(
        path, 5.0, grid=fp.Grid(fp.Line(-8.0, 10.0, 72)), cost="exact"
    ).motion
    filled = table.padded(128)
    times = np.concatenate([[0.0, 5.0], np.linspace(0.0, 5.0, 37)])
    assert len(filled.pieces) % 128 == 0 and len(filled.pieces) > len(table.pieces)
    assert np.max(np.abs(np.asarray(filled(times)) - np.asarray(table(times)))) < 1e-14
    error = np.max(
        np.abs(np.asarray(filled.rate(times)) - np.asarray(table.rate(times)))
    )
    assert error < 1e-12

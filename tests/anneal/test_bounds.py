"""Bounds on the lag (theorems T15 to T18): equalities in closed form, tight families,
forms that are false.
"""

from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.anneal.bounds import Start, _integrate, bound_transport
from fpsolve.anneal.distances import chi_square

STIFFNESS, D = 1.3, 0.7
ACTION = "the action (T16)"
TILTED = lambda lam: lambda x: (x[0] ** 2 - 1) ** 2 - lam / 2 * jnp.tanh(2 * x[0])
WELLS = fp.Grid(fp.Line(-2.9, 2.9, 80))
HARD = fp.Mix(
    lambda x: 2 * (x[0] + 1) ** 2, lambda x: 3 * (x[0] ** 2 - 1) ** 2 - x[0] / 2
)
HARD_BOX = fp.Grid(fp.Line(-3.6, 3.0, 100))


class AtRestFirst(eqx.Module):
    total: float

    def __call__(self, t: Any) -> Any:
        return (t / self.total) ** 2


def dragged(speed: float, total: float) -> Any:
    """A Gaussian of variance D / STIFFNESS that moves by speed * total."""
    return lambda lam: fp.Harmonic(STIFFNESS, center=speed * total * lam)


def lag(found: fp.Transport) -> np.ndarray:
    """sqrt(chi2) at every time."""
    log_gibbs = jnp.stack(
        [2 * found.equation.log_sqrt_pi(found.grid, t) for t in found.times]
    )
    return np.sqrt(np.asarray(chi_square(found.values, log_gibbs, found.grid)))


@pytest.mark.parametrize("score_error", [0.0, 0.3])
def test_bounds_of_a_dragged_gaussian_in_closed_form(score_error: float) -> None:
    """Everything is known: |v| = c, rho = k / D, |grad ell| = |c| k / D; the error of
    the score adds D eps to |v|.
    """
    speed = 0.8
    total = 4.0
    grid = fp.Grid(fp.Line(-4.0, 8.0, 32))
    times = np.asarray([0.5, 2.0, 4.0])
    along = lambda lam: SimpleNamespace(
        gap=np.full(np.shape(lam), STIFFNESS),
        drive=np.full(np.shape(lam), speed * total * (STIFFNESS / D) ** 0.5),
        wasserstein=np.full(np.shape(lam), speed * total / D**0.5),
    )
    path = dragged(speed, total)
    schedule = fp.schedule.linear(total)
    found = bound_transport(
        path, schedule, D, grid, times, along, Start(0.0, 0.0, 0.0), score_error
    )
    action = (speed + D * score_error) ** 2 * times / (4 * D)
    expected = np.minimum(np.sqrt(action / 2), np.sqrt(-np.expm1(-action)))
    np.testing.assert_allclose(found.total_variation[ACTION], expected, rtol=1e-9)
    assert not np.isfinite(found.total_variation["T15"]).any() and "T15" in found.why
    if not score_error:
        entropy = (
            (speed / STIFFNESS * -np.expm1(-STIFFNESS * times)) ** 2
            * STIFFNESS
            / (2 * D)
        )
        np.testing.assert_allclose(found.relative_entropy, entropy, rtol=1e-9)


def test_a_score_error_bounds_nothing_below_its_own_floor() -> None:
    """y' <= -D rho y + ... holds for y >= eps / sqrt(8 rho) alone, which grows where
    rho falls at the end.
    """
    decay = np.asarray([0.0, 3.0, 3.0, 3.0, 3.0])
    least = np.asarray([0.2, 0.2, 0.2, 0.6, 0.6])
    found = _integrate(np.arange(5.0), decay, np.zeros(5), 0.5, least)
    assert found[2] == pytest.approx(max(0.5 * np.exp(-(0 + 4 * 3 + 3) / 3), 0.2))
    assert found[4] == 0.6
    without = _integrate(np.arange(5.0), decay, np.zeros(5), 0.5)
    assert without[4] < 1e-3


def test_no_bound_where_none_holds() -> None:
    """A start that the Gibbs density does not see, driven without bound, in a well with
    no known constant.
    """
    nothing = lambda lam: SimpleNamespace(
        gap=np.ones(np.shape(lam)),
        drive=np.ones(np.shape(lam)),
        wasserstein=np.ones(np.shape(lam)),
    )
    path = lambda lam: lambda x: x[0] ** 2 / 2 - lam * jnp.cos(x[0]) * x[0] ** 2 / 4
    start = Start(np.inf, np.inf, np.inf)
    found = bound_transport(
        path, fp.schedule.linear(1.0), 1.0, WELLS, np.ones(1), nothing, start, 0.0
    )
    bound, words = found.best
    assert np.isinf(bound[0])
    assert words.startswith("none: ")
    assert "T15" in words
    assert "action" in words


def test_the_action_bounds_a_path_that_has_no_other_bound() -> None:
    for total in (5.0, 20.0):
        found = fp.transport(
            HARD,
            fp.schedule.linear(total),
            grid=HARD_BOX,
            times=np.linspace(0, total, 9),
        )
        assert found.bound_by == ACTION and np.all(np.isfinite(found.bound))
        assert np.all(found.bound >= found.tv) and float(found.bound[-1]) < 1


def test_the_chi_square_bound_tightens_with_time_on_its_family() -> None:
    ratios = []
    for total in (5.0, 20.0, 80.0, 320.0):
        found = fp.transport(
            TILTED,
            fp.schedule.linear(total),
            grid=WELLS,
            diffusion=0.5,
            times=[total / 2, total],
        )
        ratios.append((lag(found) / (2 * found.bounds.total_variation["T15"]))[-1])
        assert np.all(found.bound >= found.tv)
    assert found.bound_by == "T15"
    assert 0.88 <= ratios[0] < ratios[1] < ratios[2] < ratios[3] <= 0.99, ratios


def test_the_bound_without_its_second_order_is_false() -> None:
    """Control N5: a dragged Gaussian lags by sqrt(exp(r^2) - 1) in the end, more than
    r = |a| / Delta.
    """
    total, r = 4.0, 1.054
    speed = r * (STIFFNESS * D) ** 0.5
    grid = fp.Grid(fp.Line(-6.0, 10.0, 96))
    found = fp.transport(
        dragged(speed, total),
        fp.schedule.linear(total),
        grid=grid,
        diffusion=D,
        times=[total],
    )
    x = np.sqrt(np.expm1(2 * float(found.kl[0])))  # between Gaussians of one variance
    built_up = r * -np.expm1(-STIFFNESS * total)
    assert x == pytest.approx(np.sqrt(np.expm1(built_up**2)), rel=1e-5) and x > 1.3 * r
    assert not np.isfinite(found.bounds.total_variation["T15"][0])


def test_end_errors_fall_by_the_order_of_the_end_of_a_schedule() -> None:
    """Theorem T18, and its control: rest at the start is forgotten."""

    def order(make: Any) -> float:
        """Of the two last, extrapolated in 1/T."""
        lags = np.asarray(
            [
                fp.transport(
                    TILTED,
                    make(total),
                    grid=WELLS,
                    diffusion=0.5,
                    times=[total],
                    tol=1e-10,
                ).kl[0]
                for total in (80.0, 160.0, 320.0)
            ]
        )
        before, after = np.log2(lags[:-1] / lags[1:]) / 2
        return 2 * after - before

    for n in range(3):
        assert (
            abs(order(lambda total, n=n: fp.schedule.smooth(total, n)) - (n + 1)) < 0.05
        )
    assert abs(order(AtRestFirst) - 1) < 0.05

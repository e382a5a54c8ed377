"""Learned schedules: what descent finds where the best is known, and on transport
itself.
"""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fpsolve as fp
from fpsolve.anneal.along import Along, along
from fpsolve.anneal.schedule import COSTS, learn, linear, optimal, smooth
from fpsolve.anneal.schedule.learn import final_kl, warped
from refusals import refused

GEOMETRIC = fp.Mix(fp.Harmonic(1.0, 0.0), fp.Harmonic(2.0, 2.0))
HARD = fp.Mix(
    lambda x: 2 * (x[0] + 1) ** 2, lambda x: 3 * (x[0] ** 2 - 1) ** 2 - x[0] / 2
)
TOTAL = 10.0


@pytest.fixture(scope="module")
def found() -> Along:
    return along(
        GEOMETRIC, grid=fp.Grid(fp.Line(-8.0, 9.0, 64)), diffusion=0.5, tol=1e-6
    )


def action(found: Along):
    """int g (dλ/dt)^2 dt of the bound, whose least value theory knows."""
    x, weights = np.polynomial.legendre.leggauss(40)
    times, weights = jnp.asarray(TOTAL * (1 + x) / 2), jnp.asarray(TOTAL * weights / 2)
    return lambda one: jnp.sum(
        weights * (found.at(one(times)).bound * one.rate(times)) ** 2
    )


def test_descent_from_linear_finds_the_optimal_schedule(found: Along) -> None:
    """Truth: the least action is C^2 / T."""
    objective = action(found)
    least = float(optimal(found, TOTAL).action)
    one, history = learn(
        GEOMETRIC,
        TOTAL,
        objective,
        optax.adam(0.1),
        start=linear(TOTAL),
        steps=150,
        knots=8,
    )
    assert history.shape == (151,)
    assert float(objective(linear(TOTAL))) == pytest.approx(history[0], rel=1e-9)
    assert float(objective(one)) == pytest.approx(min(history), rel=1e-9)
    assert history[0] > 1.2 * least
    assert least * (1 - 1e-6) < min(history) < 1.01 * least
    t = jnp.linspace(0, TOTAL, 200)
    assert bool(jnp.all(one.rate(t) >= 0))
    np.testing.assert_allclose(one(jnp.asarray([0.0, TOTAL])), [0, 1], atol=1e-12)


def test_it_is_never_worse_than_the_start(found: Along) -> None:
    """A descent that only climbs returns its start."""
    start = optimal(found, TOTAL)
    one, history = learn(
        GEOMETRIC, TOTAL, action(found), optax.sgd(-5.0), start=start, steps=3
    )
    assert one is start
    assert history[-1] > history[0]


def test_the_learned_schedule_beats_every_optimal_one_on_the_hard_path() -> None:
    grid = fp.Grid(fp.Line(-3.6, 3.0, 100))
    along_it = along(HARD, grid=grid)
    best = min(
        float(final_kl(HARD, grid, 1.0, optimal(along_it, 20.0, cost=cost)))
        for cost in COSTS
    )
    one, history = learn(HARD, 20.0, grid=grid, steps=8)
    reached = float(final_kl(HARD, grid, 1.0, one))
    # it starts from the best of them
    assert history[0] == pytest.approx(best, rel=1e-2)
    assert reached == pytest.approx(min(history), rel=1e-2)
    assert reached < best / 2


def test_no_bend_is_the_start_itself() -> None:
    t = jnp.linspace(0, 3.0, 50)
    np.testing.assert_allclose(
        warped(smooth(3.0, 2), jnp.zeros(16))(t), smooth(3.0, 2)(t), atol=1e-14
    )


def test_refusals() -> None:
    ask = lambda **options: learn(
        GEOMETRIC, TOTAL, lambda one: one(1.0), **({"start": linear(TOTAL)} | options)
    )
    refused(lambda: learn(GEOMETRIC, -1.0), "total")
    refused(lambda: ask(steps=0), "steps")
    refused(lambda: ask(knots=1), "knots")
    refused(lambda: ask(optimiser=0.1), "optimiser")
    refused(lambda: ask(start=linear(3.0)), "start")
    refused(lambda: ask(start=lambda t: t), "start")
    refused(
        lambda: learn(
            GEOMETRIC, TOTAL, lambda one: jnp.nan * one(1.0), start=linear(TOTAL)
        ),
        "objective",
    )

"""Weights of samplers with a drift of their own: none, the exact one, parts of it and a
wrong one, and closed forms.
"""

import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.anneal import importance_weights
from fpsolve.anneal.schedule import jumping, linear
from refusals import refused

GRID = fp.Grid(fp.Line(-6.0, 7.0, 64))
TRAP = fp.path.Moved(fp.Harmonic(), 1.0)
TOTAL = 1.0


def spread_of_weights(strength: float) -> float:
    """log(1 / ESS) of a trap of stiffness 1 moved by 1 in a time 1 with the drift γ c',
    D = 1. The weights are those of (1 - γ) times the work, a Gaussian of variance
    2 (1 - γ)^2 w, w = ∫∫ exp(-|t - s|) c'^2 / 2.
    """
    return (1 - strength) ** 2 * 2 * (TOTAL - 1 + np.exp(-TOTAL))


@pytest.mark.parametrize("strength", [0.0, 0.6])
def test_a_moved_trap_has_lognormal_weights(strength: float) -> None:
    """Truth: ESS = exp(-variance), and the lag of the mean is (1 - γ)(1 - exp(-1))."""
    found = importance_weights(
        TRAP,
        linear(TOTAL),
        drift=lambda x, t: jnp.ones(1),
        strength=strength,
        grid=GRID,
        tol=1e-4,
    )
    assert found.result == "successful"
    truth = np.exp(-spread_of_weights(strength))
    assert (
        abs(float(found.effective) - truth)
        < 3 * float(found.errors["effective"])
        < 0.05
    )
    lag = (1 - strength) * (1 - np.exp(-TOTAL))
    assert abs(float(found.kl) - lag**2 / 2) < 3 * float(found.errors["kl"]) < 0.05
    assert float(found.mean) == pytest.approx(1, abs=1e-3)


def test_the_exact_drift_leaves_no_variance() -> None:
    """Between a harmonic trap and two wells. Control: 1.2 times the drift."""
    path = fp.Mix(fp.Harmonic(), lambda x: 2 * (x[0] ** 2 - 1) ** 2)
    grid = fp.Grid(fp.Line(-5.0, 5.0, 64))
    ask = lambda **options: importance_weights(
        path, linear(0.5), grid=grid, tol=1e-3, **options
    )
    exact, plain, strong = ask(drift="exact"), ask(), ask(drift="exact", strength=1.2)
    assert abs(float(exact.variance)) < 1e-12
    assert float(exact.kl) < 1e-5
    assert float(plain.variance) > 0.05
    assert float(strong.variance) > 1e-3
    assert float(plain.mean) == pytest.approx(1, abs=1e-12)
    for found in (exact, strong):
        assert float(found.mean) == pytest.approx(1, abs=1e-3)


def test_without_a_drift_the_variance_is_that_of_the_work() -> None:
    """E exp(-2 (W - ΔF) / D) by tilted staircases, which share the heat kernel only."""
    from fpsolve.anneal.staircase import make_staircase, step_lambdas
    from fpsolve.anneal.tilted_work import tilted_fields
    from fpsolve.path.mix import Driven, Identity

    path = fp.Mix(fp.Harmonic(), fp.Harmonic(3.0))
    grid = fp.Grid(fp.Line(-6.5, 6.5, 64))
    found = importance_weights(path, linear(1.0), grid=grid, tol=1e-4)
    values = []
    for count in (32, 64):
        by_lambda = fp.FokkerPlanck(Driven(path, Identity()), 1.0)
        stairs = make_staircase(
            by_lambda, grid, step_lambdas(linear(1.0), 1.0, count), 1.0
        )
        fields = tilted_fields(stairs, np.asarray([-2.0 + 0j]), stairs.free_energy)
        values.append(float(np.sum(fields[0].real * np.asarray(grid.weights))))
    assert 1 / float(found.effective) == pytest.approx(
        values[1] + (values[1] - values[0]) / 3, rel=1e-4
    )


def test_two_dimensions() -> None:
    """A trap moved along the diagonal by 1 in a time 1, with 0.6 of its velocity: as on
    a line.
    """
    path = fp.path.Moved(fp.Harmonic(), jnp.full(2, np.sqrt(0.5)))
    grid = fp.Grid(fp.Line(-5.0, 6.0, 24), fp.Line(-5.0, 6.0, 25))
    velocity = lambda x, t: jnp.full(2, np.sqrt(0.5))
    found = importance_weights(
        path, linear(TOTAL), drift=velocity, strength=0.6, grid=grid, tol=1e-2
    )
    truth = np.exp(-spread_of_weights(0.6))
    assert (
        abs(float(found.effective) - truth) < 3 * float(found.errors["effective"]) < 0.1
    )
    assert float(found.mean) == pytest.approx(1, abs=1e-3)


def test_refusals() -> None:
    ask = lambda **options: importance_weights(
        **({"path": TRAP, "schedule": linear(1.0), "grid": GRID} | options)
    )
    refused(lambda: ask(drift="learned"), "drift")
    refused(lambda: ask(strength=np.inf), "strength")
    refused(lambda: ask(tol=0.0), "tol")
    refused(lambda: ask(schedule=jumping(1.0, 0.2, 0.2)), "schedule", "jumps")
    refused(lambda: ask(path=1.0), "path")

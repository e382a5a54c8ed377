"""Finite states (theorem T29): softmax, sigmoid, the replicator flow and annealing,
against closed forms.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from refusals import refused

ENERGIES = np.random.default_rng(5).normal(size=6)
RING = jnp.roll(jnp.eye(6), 1, 0) + jnp.roll(jnp.eye(6), -1, 0)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - np.max(x))
    return e / np.sum(e)


def test_born_weights_are_a_softmax() -> None:
    state = fp.learning.softmax_state(ENERGIES, [0.0, 0.7, 3.0])
    for tau, wave, weights in zip(
        [0.0, 0.7, 3.0], state.wave, state.weights, strict=True
    ):
        assert np.max(np.abs(weights - softmax(-2 * tau * ENERGIES))) < 1e-15
        assert np.max(np.abs(wave**2 - weights)) < 1e-15
    # The imaginary-time state itself: exp(-tau H) on equal amplitudes.
    direct = np.exp(-0.7 * ENERGIES)
    assert abs(float(state.log_norm[1]) - math.log(np.linalg.norm(direct))) < 1e-14
    assert np.max(np.abs(state.wave[1] - direct / np.linalg.norm(direct))) < 1e-15
    # Control: half the exponent, tau for beta, is another state.
    assert (
        np.max(np.abs(np.asarray(state.weights[1]) - softmax(-0.7 * ENERGIES))) > 0.05
    )


def test_two_states_are_a_sigmoid() -> None:
    state = fp.learning.softmax_state([0.4, 1.1], 1.5)
    error = abs(
        float(state.weights[0, 0]) - 1 / (1 + math.exp(-float(state.beta[0]) * 0.7))
    )
    assert error < 1e-15


def test_no_time_overflows_and_signs_are_kept() -> None:
    state = fp.learning.softmax_state([1e5, -1e5, 0.0], [1e4], initial=[1.0, -2.0, 0.0])
    assert state.weights.tolist() == [[0.0, 1.0, 0.0]]
    assert state.wave.tolist() == [[0.0, -1.0, 0.0]]
    assert np.all(np.isfinite(np.asarray(state.log_norm)))


def test_the_mean_energy_falls_by_twice_the_variance() -> None:
    mean = lambda tau: fp.learning.softmax_state(ENERGIES, tau).mean[0]
    state = fp.learning.softmax_state(ENERGIES, 0.8)
    assert abs(float(jax.grad(mean)(0.8)) + 2 * float(state.variance[0])) < 1e-12


def test_a_constant_replicator_flow_is_the_imaginary_time_state() -> None:
    start = softmax(np.random.default_rng(6).normal(size=6))
    times = [0.5, 2.0]
    flow = fp.learning.replicator(ENERGIES, start, times)
    state = fp.learning.softmax_state(ENERGIES, times, initial=np.sqrt(start))
    assert np.max(np.abs(flow.values - state.weights)) < 1e-15
    # The same flow integrated as a function.
    found = fp.learning.replicator(
        lambda p, tau: jnp.asarray(ENERGIES) + 0 * p, start, times, tol=1e-9
    )
    difference = np.sum(np.abs(found.values - flow.values), axis=1)
    assert np.all(difference <= np.asarray(found.error) + 1e-12)
    assert np.max(difference) < 1e-8


def test_a_cyclic_game_keeps_the_product_of_its_weights() -> None:
    game = jnp.asarray([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]])
    start = np.asarray([0.5, 0.3, 0.2])
    flow = fp.learning.replicator(lambda p, tau: game @ p, start, [1.0, 6.0], tol=1e-9)
    product = np.prod(np.asarray(flow.values), axis=1)
    assert np.max(np.abs(product / np.prod(start) - 1)) < 1e-7
    assert np.max(np.abs(np.asarray(flow.values)[1] - start)) > 0.05
    assert np.max(np.abs(np.sum(flow.values, axis=1) - 1)) < 1e-14


def test_two_states_that_are_cooled() -> None:
    # d p_1 / dt = k (s(beta) - p_1), s = 1 / (1 + e^{-beta (E_2 - E_1)}): an integral
    # in closed form up to quadrature.
    beta = lambda t: 2.0 * t
    rate = 1.5
    times = [0.5, 2.0]
    found = fp.learning.anneal(
        [0.0, 1.0], rate * (1 - jnp.eye(2)), beta, times, tol=1e-7
    )
    nodes, weights = np.polynomial.legendre.leggauss(60)
    for t, values in zip(times, np.asarray(found.values), strict=True):
        s = t * (nodes + 1) / 2
        source = rate / (1 + np.exp(-2 * s))
        exact = 0.5 * math.exp(-rate * t) + t / 2 * np.sum(
            weights * np.exp(-rate * (t - s)) * source
        )
        assert abs(values[0] - exact) <= float(found.error.max()) < 1e-7
    # Heat-bath rates of two states add up to k at any temperature.
    assert np.max(np.abs(np.asarray(found.gap) - rate)) < 1e-12


def test_at_a_constant_temperature_the_gibbs_weights_stay_and_others_come_to_them() -> (
    None
):
    options = {"rates": RING, "schedule": lambda t: 1.7 + 0 * t, "times": [0.1, 60.0]}
    still = fp.learning.anneal(ENERGIES, **options)
    assert np.max(np.asarray(still.tv)) < 1e-13
    # They are the Born weights of the imaginary-time state at tau = beta / 2.
    state = fp.learning.softmax_state(ENERGIES, 1.7 / 2)
    assert np.max(np.abs(still.values[1] - state.weights[0])) < 1e-13
    moved = fp.learning.anneal(ENERGIES, **options, initial=np.eye(6)[3])
    assert float(moved.tv[0]) > 0.3 and float(moved.tv[1]) < 0.05


def test_slow_cooling_ends_in_the_ground_state_and_quick_cooling_does_not() -> None:
    energies = jnp.asarray([0.0, 1.0, 0.3, 1.2, 0.1, 0.8])
    ends = []
    for total in (10.0, 300.0):
        found = fp.learning.anneal(
            energies, RING, lambda t, total=total: 6 * t / total, [total], tol=1e-4
        )
        ends.append(float(found.tv[0]))
    assert ends[1] < ends[0] / 3


def test_what_is_no_finite_system_is_refused() -> None:
    refused(lambda: fp.learning.softmax_state([1.0], 1.0), "energies", "at least 2")
    refused(
        lambda: fp.learning.softmax_state([1.0, math.nan], 1.0), "energies", "finite"
    )
    refused(lambda: fp.learning.softmax_state(ENERGIES, -1.0), "times", "-1.0")
    refused(
        lambda: fp.learning.softmax_state(ENERGIES, 1.0, initial=[0.0] * 6),
        "initial",
        "zero",
    )
    refused(
        lambda: fp.learning.softmax_state(ENERGIES, 1.0, initial=[1.0] * 5),
        "initial",
        "(5,)",
        "(6,)",
    )
    refused(
        lambda: fp.learning.replicator(ENERGIES, [0.0] + [0.2] * 5, [1.0]),
        "initial",
        "above zero",
    )
    refused(
        lambda: fp.learning.replicator(lambda p, t: p[0], [0.5, 0.5], [1.0]),
        "energies",
        "shape",
    )
    cool = lambda rates=RING, schedule=lambda t: t, **options: fp.learning.anneal(
        ENERGIES, rates, schedule, [1.0], **options
    )
    refused(lambda: cool(rates=jnp.triu(RING)), "rates", "symmetric")
    refused(lambda: cool(rates=-RING), "rates", "zero")
    refused(lambda: cool(rates=0 * RING), "rates", "no jump")
    refused(lambda: cool(schedule=lambda t: -t), "schedule", "zero")
    refused(lambda: cool(initial=[1.0, -1.0, 0.0, 0.0, 0.0, 0.0]), "initial", "zero")


def test_too_fast_a_schedule_for_the_steps() -> None:
    wild = lambda t: 5 * (1 + jnp.sin(3e6 * t))
    with pytest.raises(fp.NumericalFailure, match="tolerance_not_reached"):
        fp.learning.anneal([0.0, 1.0], 50 * (1 - jnp.eye(2)), wild, [1.0], tol=1e-10)


def test_states_are_compiled_and_mapped() -> None:
    mapped: Any = jax.jit(
        jax.vmap(lambda e: fp.learning.softmax_state(e, 1.0).weights[0])
    )
    rows = np.random.default_rng(1).normal(size=(4, 3))
    error = np.max(np.abs(mapped(rows) - np.stack([softmax(-2 * row) for row in rows])))
    assert error < 1e-15

"""Fields: values with errors, used as arrays; the errors of passage times and
committors against quadrature.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import cumulative_trapezoid, quad

import fpsolve as fp


def exact_passage(x: np.ndarray, energy, target: float, lower: float) -> np.ndarray:
    """int_x^target e^U(y) int_lower^y e^-U(z) dz dy, by the trapezoidal rule on 2e5
    points.
    """
    y = np.linspace(lower, target, 200_001)
    below = cumulative_trapezoid(np.exp(-energy(y)), y, initial=0)
    whole = cumulative_trapezoid(np.exp(energy(y)) * below, y, initial=0)
    return np.where(x < target, whole[-1] - np.interp(x, y, whole), 0.0)


@pytest.mark.parametrize("height", [1.0, 4.0, 8.0])
def test_a_passage_over_a_barrier_tells_its_error(height):
    energy = lambda x: height * (x**2 - 1) ** 2
    grid = fp.Grid(fp.Line(-2.2, 2.2, 48))
    tau = fp.mean_first_passage_time(
        fp.FokkerPlanck(lambda x: energy(x[0])), grid, lambda x: x[0] > 0.9
    )
    x = grid.axes[0].nodes
    true = np.abs(np.asarray(tau) - exact_passage(x, energy, 0.9, -3.0))
    told = np.asarray(tau.error)
    assert np.all(true <= 3 * told + 1e-9 * np.max(tau))
    outside = x < 0.85
    assert np.median(told[outside] / true[outside]) < 10


@pytest.mark.parametrize("array", [False, True])
def test_a_committor_tells_its_error(array):
    grid = fp.Grid(fp.Line(-2.0, 2.0, 80))
    energy = lambda x: 3 * (x**2 - 1) ** 2 + 0.4 * x
    x = grid.axes[0].nodes
    left, right = (lambda x: x[0] < -0.9), (lambda x: x[0] > 0.8)
    lower, upper = -0.9, 0.8
    if array:
        # An array ends at its outermost nodes.
        left, right = x < -0.9, x > 0.8
        lower, upper = x[left][-1], x[right][0]
    q = fp.committor(fp.FokkerPlanck(lambda x: energy(x[0])), grid, left, right)
    rise = lambda a, b: quad(lambda y: np.exp(energy(y)), a, b, epsabs=1e-12)[0]
    exact = np.array(
        [rise(lower, min(max(y, lower), upper)) / rise(lower, upper) for y in x]
    )
    assert np.all(np.abs(np.asarray(q) - exact) <= 3 * np.asarray(q.error) + 1e-10)


def test_a_field_is_used_as_an_array():
    grid = fp.Grid(fp.Reflecting(0.0, 1.0, 24))
    passage = lambda d: fp.mean_first_passage_time(
        fp.FokkerPlanck(None, d), grid, lambda x: x[0] > 0.8
    )
    tau = passage(0.5)
    assert tau.shape == (24,) and len(tau) == 24 and tau.dtype == float
    for same in (
        tau * 1,
        1 * tau,
        jnp.asarray(tau),
        np.asarray(tau),
        tau + np.zeros(24),
        jnp.zeros(24) + tau,
    ):
        assert np.array_equal(same, tau.values)
    assert jnp.max(tau) == np.max(tau) == tau.max() == tau[0]
    assert np.allclose(np.log(tau[:5]), jnp.log(tau.values[:5]))
    assert bool(jnp.all(tau >= 0))
    # tau is proportional to 1 / D; a transformed field is a field, whose error is not
    # known.
    assert jax.grad(lambda d: jnp.log(passage(d)[3]))(0.5) == pytest.approx(-2.0)
    traced = jax.jit(passage)(0.5)
    assert isinstance(traced, fp.Field) and np.all(np.isnan(traced.error))
    assert traced.values == pytest.approx(tau.values)
    assert jax.vmap(passage)(jnp.array([0.5, 1.0])).shape == (2, 24)


def test_a_field_is_drawn_and_becomes_a_dataset():
    grid = fp.Grid(fp.Reflecting(0.0, 1.0, 24))
    tau = fp.mean_first_passage_time(
        fp.FokkerPlanck(None, 0.5), grid, lambda x: x[0] > 0.8
    )
    assert tau.plot().axes[0].get_ylabel() == "mean first passage time"
    data = tau.to_xarray()
    assert data["values"].dims == ("x0",) and data["error"].shape == (24,)

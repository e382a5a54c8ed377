"""Diffusions that vanish, at the ends, inside or along an axis: finite volumes against
exact answers.

Wright-Fisher, D = x (1 - x) / 2 levels k (k + 1) / 2 and, between absorbing ends,
                                 tau = -2 (x ln x + (1 - x) ln(1 - x))
    with mutation (Jacobi)       levels k (theta + (k - 1) / 2), a beta density
D = x, drift a - x (Feller)      levels k, a gamma density
D = (0, 1), linear drift         a normal density, moments by the matrix exponential
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, special, stats

import fpsolve as fp
from fpsolve.plan.resolution import numerical_diffusion
from measure import check_order

WRIGHT_FISHER = fp.FokkerPlanck.ito(lambda x: 0 * x, lambda x: x * (1 - x) / 2)


def test_wright_fisher_between_absorbing_ends() -> None:
    levels = fp.spectrum(WRIGHT_FISHER, fp.Grid(fp.Absorbing(0.0, 1.0, 200)), 4).values
    np.testing.assert_allclose(levels.real, [1, 3, 6, 10], rtol=3e-3)
    errors = []
    sizes = [51, 101, 201, 401]
    for n in sizes:
        grid = fp.Grid(fp.Absorbing(0.0, 1.0, n))
        tau = fp.mean_first_passage_time(WRIGHT_FISHER, grid, lambda x: False)
        errors.append(abs(float(tau[n // 2]) - 2 * np.log(2)))
    assert errors[-1] < 1e-5
    check_order(errors, sizes)
    x = np.asarray(grid.nodes[0])
    inner = (x > 0.05) & (x < 0.95)
    exact = -2 * (special.xlogy(x, x) + special.xlogy(1 - x, 1 - x))
    np.testing.assert_allclose(np.asarray(tau)[inner], exact[inner], rtol=2e-4)


def test_wright_fisher_between_reflecting_ends_is_a_martingale() -> None:
    grid = fp.Grid(fp.Reflecting(0.0, 1.0, 100))
    start = grid.density(fp.Gaussian(0.3, 0.003))
    solution = fp.evolve(
        WRIGHT_FISHER, start, [0.5, 5.0], grid=grid, observables={"x": lambda x: x[0]}
    )
    mean = float(grid.integrate(start * grid.nodes[0]))
    np.testing.assert_allclose(solution.observables["x"], mean, rtol=1e-7)
    assert abs(mean - 0.3) < 1e-6
    # At late times the mass is in the cells at both ends, in the ratio that keeps the
    # mean.
    assert float(solution.values[1][-1]) / 100 == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("rate", [0.3, 1.0, 2.5])
def test_a_diffusion_proportional_to_x(rate: float) -> None:
    """dX = (a - X) dt + sqrt(2 X) dW: for a < 1 the density is infinite at the end,
    which is reached.
    """
    grid = fp.Grid(fp.Reflecting(0.0, 25.0, 400))
    modes = fp.spectrum(fp.FokkerPlanck.ito(lambda x: rate - x, lambda x: x), grid, 3)
    exact = np.diff(stats.gamma.cdf(grid.axes[0].edges, rate))
    assert np.sum(np.abs(np.asarray(modes.stationary) * 25 / 400 - exact)) < 6e-4
    np.testing.assert_allclose(modes.values.real, [0, 1, 2], atol=0.02)


def test_mutation_and_drift() -> None:
    """Wright-Fisher with mutation: a beta density that is infinite at both ends."""
    theta = 0.4
    equation = fp.FokkerPlanck.ito(
        lambda x: theta * (0.3 - x), lambda x: x * (1 - x) / 2
    )
    grid = fp.Grid(fp.Reflecting(0.0, 1.0, 100))
    modes = fp.spectrum(equation, grid, 3)
    exact = np.diff(
        stats.beta.cdf(grid.axes[0].edges, 2 * theta * 0.3, 2 * theta * 0.7)
    )
    assert np.sum(np.abs(np.asarray(modes.stationary) / 100 - exact)) < 1e-4
    np.testing.assert_allclose(modes.values.real, [0, 0.4, 1.8], atol=0.015)


@pytest.mark.parametrize("n", [50, 51])
def test_a_zero_inside_holds_what_enters(n: int) -> None:
    """Ito D = x^2, b = 0: nothing crosses zero, at a face and at a node; the mean stays
    on either side.
    """
    grid = fp.Grid(fp.Reflecting(-1.0, 1.0, n))
    equation = fp.FokkerPlanck.ito(lambda x: 0 * x, lambda x: x**2)
    solution = fp.evolve(
        equation,
        grid.density(lambda x: jnp.exp(-100 * (x[0] - 0.5) ** 2) * (x[0] > 0)),
        [2.0],
        grid=grid,
    )
    left = jnp.where(grid.nodes[0] < -1e-9, solution.values[0], 0)
    assert float(grid.integrate(left)) < 1e-10
    assert np.all(np.isfinite(solution.values))


MATRIX = np.array([[0.0, 1.0], [-1.0, -1.0]])
UNDERDAMPED = fp.FokkerPlanck(
    diffusion=[0.0, 1.0], force=lambda x: jnp.asarray(MATRIX) @ x
)


def test_underdamped_motion_is_of_order_one_and_says_so() -> None:
    """<x^2> at t = 1 from the covariance 0.3, of a noisy oscillator: its error is that
    of the diffusion reported.
    """
    flow = linalg.expm(MATRIX)
    exact = (flow @ (0.3 * np.eye(2) - np.eye(2)) @ flow.T + np.eye(2))[0, 0]
    errors, added = [], []
    sizes = [24, 36, 48, 72]
    for n in sizes:
        grid = fp.Grid(fp.Line(-5.0, 5.0, n), fp.Line(-5.0, 5.0, n))
        solution = fp.evolve(
            UNDERDAMPED,
            fp.Gaussian([0.0, 0.0], 0.3),
            [1.0],
            grid=grid,
            tol=1e-6,
            observables={"x": lambda x: x[0] ** 2},
        )
        assert float(jnp.min(solution.values)) > -1e-12
        errors.append(abs(float(solution.observables["x"][0]) - exact))
        extra = numerical_diffusion(UNDERDAMPED, grid)[..., 0]
        added.append(float(grid.integrate(extra * solution.values[0])))
    check_order(errors, sizes, 1)
    # In a time of one the added diffusion D' widens x by about 2 D' t.
    assert all(
        0.3 < error / (2 * d) < 3 for error, d in zip(errors, added, strict=True)
    )


def test_the_added_diffusion_has_its_two_limits() -> None:
    grid = fp.Grid(fp.Line(0.0, 1.0, 10))
    push = lambda diffusion: fp.FokkerPlanck(
        diffusion=diffusion, force=lambda x: 2.0 + 0 * x
    )
    small = jax.jit(lambda d: numerical_diffusion(push(d), grid))(50.0)
    np.testing.assert_allclose(small, 2.0**2 * 0.1**2 / (12 * 50.0), rtol=1e-5)
    np.testing.assert_allclose(numerical_diffusion(push(1e-6), grid), 0.1, rtol=1e-4)
    plane = fp.Grid(fp.Line(0.0, 1.0, 10), fp.Line(0.0, 1.0, 10))
    still = fp.FokkerPlanck(
        diffusion=[0.0, 1.0], force=lambda x: jnp.stack([2.0 + 0 * x[0], 0 * x[1]])
    )
    np.testing.assert_allclose(
        numerical_diffusion(still, plane)[..., 0], 0.1, rtol=1e-12
    )

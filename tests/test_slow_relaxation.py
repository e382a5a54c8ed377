"""Relaxation over barriers in long times: the rate keeps its digits, and a run says
what it does not know.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

import fpsolve as fp

WIDTH = 1e-3  # of the step that counts the two sides


def double_well(x: Any) -> Any:
    return (x[0] ** 2 - 1) ** 2


def rate(diffusion: float) -> float:
    """The slow rate of the symmetric well, by quadrature: the inverse of the mean first
    passage time from the bottom of one well to the top of the barrier.

    tau = (1 / D) int_{-1}^0 e^{U(y) / D} int_{-inf}^y e^{-U(z) / D} dz dy; half of the
    paths at the top return, and both wells exchange, so that the rate is 1 / tau up to
    e^{-barrier / D}.
    """
    energy = lambda x: (x**2 - 1) ** 2
    barrier = 1 / diffusion
    inner = lambda y: quad(
        lambda z: np.exp(-energy(z) / diffusion),
        -3,
        y,
        points=[-1.0] if y > -1 else None,
    )[0]
    outer = quad(
        lambda y: np.exp(energy(y) / diffusion - barrier) * inner(y), -1, 0, epsrel=1e-9
    )[0]
    return diffusion * np.exp(-barrier) / outer


def balance(solution: fp.Solution) -> float:
    """The mass on the right minus that on the left, at the last time."""
    x, weights = np.asarray(solution.grid.nodes[0]), np.asarray(solution.grid.weights)
    return float(weights @ (np.tanh(x / WIDTH) * np.asarray(solution.values[-1])))


def evolve(diffusion: float, variance: float, t: float, **options: Any) -> fp.Solution:
    equation = fp.FokkerPlanck(double_well, diffusion)
    return fp.evolve(equation, fp.Gaussian(-1.0, variance), [t], throw=False, **options)


LINE = fp.Grid(fp.Line(-1.65, 1.65, 200))


@pytest.mark.parametrize(("diffusion", "t"), [(0.05, 1e8), (0.03, 1e14), (0.02, 1e6)])
def test_the_rate_over_a_barrier_keeps_its_digits(diffusion: float, t: float) -> None:
    run = evolve(diffusion, diffusion / 10, t, grid=LINE, tol=1e-5)
    assert run.result == "successful"
    expected = -np.exp(-rate(diffusion) * t)
    # The reference leaves e^{-barrier / D} of the amplitude out.
    assert abs(balance(run) - expected) < float(run.error[0]) + 20 * np.exp(
        -1 / diffusion
    )


@pytest.mark.parametrize(("diffusion", "t", "n"), [(0.03, 1e14, 96), (0.02, 1e21, 128)])
def test_a_grid_that_does_not_know_the_rate_says_so(
    diffusion: float, t: float, n: int
) -> None:
    # Both the run and its companion lose the slow mode, and agree.
    grid = fp.Grid(fp.Line(-2.3, 2.3, n))
    run = evolve(diffusion, diffusion / 10, t, grid=grid, tol=1e-4)
    true = abs(balance(run) + np.exp(-rate(diffusion) * t))
    assert run.result != "successful" and float(run.error[0]) > true / 3


@pytest.mark.parametrize(
    ("diffusion", "t", "tol"), [(0.05, 1e8, 1e-4), (0.02, 1e6, 1e-6), (0.1, 1e3, 1e-6)]
)
def test_a_fit_resolves_a_long_run_over_a_barrier(
    diffusion: float, t: float, tol: float
) -> None:
    run = evolve(diffusion, diffusion / 10, t, tol=tol)
    assert run.result == "successful" and run.grid.size < 150
    if diffusion < 0.1:
        assert abs(balance(run) + np.exp(-rate(diffusion) * t)) < max(
            tol, 20 * np.exp(-1 / diffusion)
        )


def test_a_start_wider_than_its_wave_relaxes_to_it() -> None:
    # The balance of what starts on each side stays where it is, until the barrier is
    # crossed.
    run = evolve(0.05, 0.05, 1e8, tol=1e-4)
    fine = fp.Grid(fp.Line(-3.0, 3.0, 700))
    early = evolve(
        0.05, 0.05, 30.0, grid=fine, scheme=fp.ScharfetterGummel(), check=False
    )
    expected = balance(early) * np.exp(-rate(0.05) * 1e8)
    # The density grows without bound in the basis of so narrow a box: the run fails by
    # name, or is right.
    assert run.result != "successful" or abs(balance(run) - expected) < 1e-4


def test_a_derivative_of_a_slow_rate_is_relative() -> None:
    """d/dD of e^{-lambda t}, where lambda itself is below the rounding of H."""
    import jax

    grid = fp.Grid(fp.Line(-1.65, 1.65, 160))
    t = 1e14

    def left(diffusion: Any) -> Any:
        equation = fp.FokkerPlanck(double_well, diffusion)
        start = jnp.exp(-((grid.points[..., 0] + 1) ** 2) / 0.006)
        start = start / grid.integrate(start)
        run = fp.evolve(
            equation,
            start,
            [t],
            grid=grid,
            scheme=fp.Spectral(),
            method=fp.Dense(),
            throw=False,
            check=False,
        )
        return grid.integrate(run.values[0] * jnp.tanh(grid.points[..., 0] / WIDTH))

    step = 1e-6
    rates = [rate(0.03 + s) for s in (-step, step)]
    expected = -(np.exp(-rates[1] * t) - np.exp(-rates[0] * t)) / (2 * step)
    np.testing.assert_allclose(float(jax.grad(left)(0.03)), expected, rtol=1e-3)

"""`fp.transport` against closed forms: Gaussians that move and change, theorems T13 to
T20 on paths of other shapes.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.anneal.distances import (
    infidelity,
    relative_entropy,
    total_variation,
    total_variation_error,
)
from refusals import refused

STIFFNESS, SPEED, DIFFUSION, TOTAL = 1.3, 0.8, 0.7, 5.0
GRID = fp.Grid(fp.Line(-6.0, 10.0, 96))
TILTED = lambda lam: lambda x: (x[0] ** 2 - 1) ** 2 - lam / 2 * jnp.tanh(2 * x[0])
WELLS = fp.Grid(fp.Line(-2.9, 2.9, 80))


def dragged(lam: Any) -> Any:
    return fp.Harmonic(STIFFNESS, center=SPEED * TOTAL * lam)


def test_a_dragged_gaussian_lags_as_it_must_and_its_bound_is_tight() -> None:
    found = fp.transport(
        dragged, fp.schedule.linear(TOTAL), grid=GRID, diffusion=DIFFUSION
    )
    t = np.asarray(found.times)
    variance = DIFFUSION / STIFFNESS
    lag = SPEED / STIFFNESS * (1 - np.exp(-STIFFNESS * t))
    kl = lag**2 / (2 * variance)
    np.testing.assert_allclose(found.kl[1:], kl[1:], rtol=1e-6)
    np.testing.assert_allclose(found.kl_bound[1:], kl[1:], rtol=1e-6)
    np.testing.assert_allclose(
        found.infidelity[1:], 1 - np.exp(-(lag[1:] ** 2) / (4 * variance)), rtol=1e-6
    )
    assert found.bound_by.startswith("T16") and np.all(found.bound[1:] >= found.tv[1:])
    assert (
        "unbounded" in found.bounds.why["T15"]
        or "without bound" in found.bounds.why["T15"]
    )
    np.testing.assert_allclose(found.gap, STIFFNESS, rtol=1e-10)
    work = SPEED**2 * (t - (1 - np.exp(-STIFFNESS * t)) / STIFFNESS)
    np.testing.assert_allclose(found.work, work, atol=1e-6)
    np.testing.assert_allclose(found.free_energy, 0, atol=1e-12)
    np.testing.assert_allclose(found.entropy, work / DIFFUSION - kl, atol=2e-6)
    assert found.accuracy is not None and found.accuracy < 1e-8


def test_a_gaussian_that_moves_and_widens_on_its_geometric_path() -> None:
    path = fp.Mix(fp.Harmonic(2.0, center=-1.0), fp.Harmonic(0.5, center=1.0))
    found = fp.transport(
        path, fp.schedule.linear(3.0), grid=fp.Grid(fp.Line(-8.0, 10.0, 128)), tol=1e-9
    )
    mean, variance = closed(np.asarray(found.times), 3.0)
    stiffness = 2 - 1.5 * np.asarray(found.lambdas)
    centre = (
        -2 * (1 - np.asarray(found.lambdas)) + 0.5 * np.asarray(found.lambdas)
    ) / stiffness
    x = np.asarray(found.grid.nodes[0])
    density = np.exp(-((x - mean[:, None]) ** 2) / (2 * variance[:, None])) / np.sqrt(
        2 * np.pi * variance[:, None]
    )
    assert float(jnp.max(found.grid.integrate(jnp.abs(found.values - density)))) < 1e-6
    kl = (
        variance * stiffness
        - 1
        - np.log(variance * stiffness)
        + (mean - centre) ** 2 * stiffness
    ) / 2
    np.testing.assert_allclose(found.kl[1:], kl[1:], rtol=1e-5)
    np.testing.assert_allclose(found.gap, stiffness, rtol=1e-7)
    assert np.all(found.bound[1:] >= found.tv[1:])


def closed(times: np.ndarray, total: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance by their own equations, in steps of Runge and Kutta."""

    def rate(t: float, y: np.ndarray) -> np.ndarray:
        lam = t / total
        force = -2 * (1 - lam) * (y[0] + 1) - 0.5 * lam * (y[0] - 1)
        return np.asarray([force, -2 * (2 - 1.5 * lam) * y[1] + 2])

    y = np.asarray([-1.0, 0.5])
    now = 0.0
    rows = []
    for t in times:
        h = (t - now) / 40
        for _ in range(40):
            a = rate(now, y)
            b = rate(now + h / 2, y + h / 2 * a)
            c = rate(now + h / 2, y + h / 2 * b)
            y = y + h / 6 * (a + 2 * b + 2 * c + rate(now + h, y + h * c))
            now += h
        rows.append(y)
    return tuple(np.asarray(rows).T)


def test_imaginary_time_agrees_at_first_order_only() -> None:
    """Theorem T14: |psi|^2 is p up to the square of the speed."""
    totals = (20.0, 40.0, 80.0)
    apart = []
    lags = []
    for total in totals:
        run = lambda kappa, total=total: fp.transport(
            TILTED,
            fp.schedule.linear(total),
            grid=WELLS,
            diffusion=0.5,
            times=[total],
            kappa=kappa,
        )
        one, none = run(1), run(0)
        apart.append(float(WELLS.integrate(jnp.abs(one.values[0] - none.values[0]))))
        lags.append(float(one.tv[0]))
    orders = np.log2(np.asarray(apart[:-1]) / np.asarray(apart[1:]))
    assert np.all(np.abs(orders - 2) < 0.15) and lags[-2] / lags[-1] < 2.2


def test_distances_of_near_and_of_thin_densities() -> None:
    grid = fp.Grid(fp.Line(-30.0, 30.0, 600))
    x = grid.nodes[0]
    log_gibbs = -(x**2) / 2 - jnp.log(2 * jnp.pi) / 2
    for shift in (1e-6, 1e-3, 0.5, 4.0):
        density = jnp.exp(-((x - shift) ** 2) / 2) / jnp.sqrt(2 * jnp.pi)
        np.testing.assert_allclose(
            relative_entropy(density, log_gibbs, grid), shift**2 / 2, rtol=1e-7
        )
        np.testing.assert_allclose(
            infidelity(density, log_gibbs, grid), -np.expm1(-(shift**2) / 4), rtol=1e-7
        )
        np.testing.assert_allclose(
            total_variation(density, log_gibbs, grid),
            jax.scipy.special.erf(shift / 2 / np.sqrt(2)),
            rtol=1e-2,
        )


def test_a_distance_is_differentiated_where_the_gibbs_density_underflows() -> None:
    grid = fp.Grid(fp.Line(-40.0, 40.0, 400))
    x = grid.nodes[0]
    normal = lambda m, v: -((x - m) ** 2) / (2 * v) - jnp.log(2 * jnp.pi * v) / 2
    kl = lambda m: relative_entropy(jnp.exp(normal(m, 1.0)), normal(0.0, 0.25), grid)
    assert float(jnp.min(jnp.exp(normal(0.0, 0.25)))) == 0
    assert float(jax.grad(kl)(0.3)) == pytest.approx(0.3 / 0.25, rel=1e-6)


def test_the_last_lag_is_differentiated() -> None:
    def last(center: Any) -> Any:
        path = fp.Mix(fp.Harmonic(1.0, center=-0.5), fp.Harmonic(1.5, center=center))
        grid = fp.Grid(fp.Line(-6.0, 6.0, 48))
        return fp.transport(path, fp.schedule.linear(2.0), grid=grid, times=[2.0]).kl[0]

    center, step = jnp.asarray(0.6), 1e-4
    slope = jax.jit(jax.grad(last))(center)
    assert float(slope) == pytest.approx(
        float((last(center + step) - last(center - step)) / (2 * step)), rel=1e-5
    )


class Backwards(eqx.Module):
    total: float = 1.0

    def __call__(self, t: Any) -> Any:
        return 1 - t


PATH = fp.Mix(fp.Harmonic(), fp.Harmonic(2.0))
BOX = fp.Grid(fp.Line(-6.0, 6.0, 48))
linear = fp.schedule.linear
REFUSED: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "falling": (
        lambda: fp.transport(PATH, Backwards(), grid=BOX),
        ("schedule", "from 0 to 1"),
    ),
    "no total": (
        lambda: fp.transport(PATH, lambda t: t, grid=BOX),
        ("schedule", "attribute total"),
    ),
    "total below zero": (
        lambda: fp.transport(PATH, linear(-1.0), grid=BOX),
        ("total",),
    ),
    "late": (
        lambda: fp.transport(PATH, linear(1.0), grid=BOX, times=[2.0]),
        ("times", "within"),
    ),
    "loose": (
        lambda: fp.transport(
            fp.Mix(fp.Harmonic(), lambda x: -(x[0] ** 2)), linear(1.0), grid=BOX
        ),
        ("path", "lambda = "),
    ),
    "diffusion": (
        lambda: fp.transport(
            PATH, linear(1.0), grid=BOX, diffusion=lambda x: 1 + x[0] ** 2
        ),
        ("diffusion",),
    ),
    "kappa": (lambda: fp.transport(PATH, linear(1.0), grid=BOX, kappa=3), ("kappa",)),
    "score": (
        lambda: fp.transport(PATH, linear(1.0), grid=BOX, score_error=-1.0),
        ("score_error",),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_right_is_refused(name: str) -> None:
    question, words = REFUSED[name]
    refused(question, *words)


@pytest.mark.parametrize("nodes", [64, 97, 128])
@pytest.mark.parametrize("mean", [0.1, 0.37, 0.8])
def test_the_kinks_of_a_total_variation_are_in_its_error(
    nodes: int, mean: float
) -> None:
    grid = fp.Grid(fp.Line(-9.0, 9.0, nodes))
    x = np.asarray(grid.axes[0].nodes)
    fine = np.linspace(-9.0, 9.0, 200_001)
    normal = lambda y, m, v: np.exp(-((y - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)
    exact = (
        np.trapezoid(np.abs(normal(fine, mean, 0.64) - normal(fine, 0.0, 1.0)), fine)
        / 2
    )
    found = total_variation(
        normal(x, mean, 0.64), np.log(normal(x, 0.0, 1.0)), grid, np
    )
    error = total_variation_error(
        normal(x, mean, 0.64), np.log(normal(x, 0.0, 1.0)), grid, np
    )
    assert abs(found - exact) <= 3 * error <= 30 * max(abs(found - exact), 1e-5)

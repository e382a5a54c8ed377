"""Truth: no unit is assumed. x to s x, t to tau t and U to c U, with D, kT and forces
to match, change no digit beyond rounding, from 1e-12 to 1e12, in anything that is
computed.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from refusals import refused
from units import QUESTIONS, Units, a_gap, levels, on_a_line, well, with_kT

SMALL, LARGE = 1e-12, 1e12
# Every pair of length and time at its ends, and both ends of the energy with each of
# them.
CORNERS = [
    Units(SMALL, 1.0, LARGE),
    Units(LARGE, 1.0, SMALL),
    Units(1.0, SMALL, SMALL),
    Units(1.0, LARGE, LARGE),
    Units(SMALL, LARGE, SMALL),
    Units(LARGE, SMALL, LARGE),
]


@functools.lru_cache(maxsize=64)
def in_units_of_one(question: Callable[[Units], Any]) -> np.ndarray:
    return np.asarray(question(Units()))


def check(question: Callable[[Units], Any], units: Units) -> None:
    """The answer in these units has the digits of that in units of one.

    A passage time and a table are the worst conditioned: some 1e5 roundings.
    """
    expected = in_units_of_one(question)
    found = np.asarray(question(units))
    np.testing.assert_allclose(
        found,
        expected,
        rtol=0,
        atol=1e-10 * np.max(np.abs(expected)),
        err_msg=str(units),
    )


@pytest.mark.parametrize(
    "question", [on_a_line, with_kT, levels, a_gap], ids=lambda q: q.__name__
)
def test_units_change_no_digit(question: Callable[[Units], Any]) -> None:
    check(question, Units(1e-9, 1e-12, 4e-21))
    check(question, Units(LARGE, LARGE, LARGE))


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.__name__)
def test_units_change_no_digit_at_any_corner(question: Callable[[Units], Any]) -> None:
    for units in CORNERS:
        check(question, units)


@pytest.mark.parametrize(
    "units",
    [Units(1e-9, 1e-12, 4e-21), Units(SMALL, 1.0), Units(LARGE, LARGE)],
    ids=str,
)
def test_units_change_no_fitted_grid(units: Units) -> None:
    def fitted(u: Units) -> list[float]:
        times = np.array([0.2, 3.0]) * u.time
        axis = fp.fit_grid(
            u.process(well), u.start(0.3, 0.05), tol=1e-6, times=times
        ).axes[0]
        return [axis.lower / u.length, axis.upper / u.length, axis.n]

    np.testing.assert_allclose(fitted(units), fitted(Units()), rtol=1e-3)


def test_a_trap_in_metres_is_not_taken_for_separable() -> None:
    # Lyapunov's equation K C + C K = 2 D, which time 0.2 has reached: exp(-20 t / 0.05)
    # is nothing.
    stiffness = jnp.array([[50.0, 30.0], [30.0, 50.0]])
    equation = fp.FokkerPlanck(
        lambda x: x @ stiffness @ x / 2, diffusion=[2.19e-13, 1.37e-13]
    )
    box = fp.Grid(fp.Line(-4e-7, 4e-7, 48), fp.Line(-4e-7, 4e-7, 48))
    moments = {"xx": lambda x: x[0] ** 2, "xy": lambda x: x[0] * x[1]}
    start = fp.Gaussian([4e-8, 0.0], 1.02e-15)
    run = fp.evolve(equation, start, [0.2], grid=box, observables=moments, tol=1e-4)
    np.testing.assert_allclose(run.observables["xx"], [6.3715e-15], rtol=2e-3)
    np.testing.assert_allclose(run.observables["xy"], [-3.3327e-15], rtol=2e-3)


@pytest.mark.parametrize("length", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("energy", [1e-21, 1.0, 1e9])
def test_a_potential_that_is_not_periodic_is_refused_on_every_ring(
    length: float, energy: float
) -> None:
    ring = fp.Grid(fp.Periodic(0.0, length, 12))
    equation = fp.FokkerPlanck(lambda x: energy * x[0] / length, energy)
    refused(lambda: fp.spectrum(equation, ring, 2), "periodic")
    # A constant of many times the range is no jump.
    wave = fp.FokkerPlanck(
        lambda x: energy * (1e8 + jnp.cos(2 * jnp.pi * x[0] / length)), energy
    )
    fp.spectrum(wave, ring, 2)


def test_a_covariance_is_tested_in_its_own_units() -> None:
    refused(
        lambda: fp.Gaussian([0.0, 0.0], [[1e-15, 5e-16], [0.0, 1e-15]]), "symmetric"
    )
    fp.Gaussian([0.0, 0.0], [[1e15, 5e14 + 1.0], [5e14, 1e15]])


# The thermal energy.


def test_kT_is_a_mobility() -> None:
    grid = fp.Grid(fp.Line(-2.6, 2.6, 48))
    push = lambda x, t: jnp.cos(t) * x
    pairs = [
        (
            fp.FokkerPlanck(well, 0.4, kT=0.8),
            fp.FokkerPlanck(lambda x: well(x) / 2, 0.4),
        ),
        (
            fp.FokkerPlanck(well, 0.4, push, kT=0.8),
            fp.FokkerPlanck(lambda x: well(x) / 2, 0.4, lambda x, t: push(x, t) / 2),
        ),
        (fp.FokkerPlanck(well, 0.4, kT=0.4), fp.FokkerPlanck(well, 0.4)),
    ]
    x = jnp.array([0.3])
    for equation, same in pairs:
        np.testing.assert_allclose(
            equation.drift(x, 0.5), same.drift(x, 0.5), rtol=1e-14
        )
    thermal, scaled = pairs[0]
    np.testing.assert_allclose(thermal.gibbs(grid), scaled.gibbs(grid), rtol=1e-12)
    np.testing.assert_allclose(
        thermal.schrodinger().potential(x),
        scaled.schrodinger().potential(x),
        rtol=1e-12,
    )
    density = thermal.gibbs(grid)
    np.testing.assert_allclose(
        thermal.to_wave(density, grid), scaled.to_wave(density, grid), rtol=1e-10
    )
    gap = lambda kT: fp.spectral_gap(fp.FokkerPlanck(well, 0.4, kT=kT), grid)
    np.testing.assert_allclose(gap(0.8), fp.spectral_gap(scaled, grid), rtol=1e-10)


def test_kT_reaches_gradients_and_rates() -> None:
    grid = fp.Grid(fp.Line(-2.6, 2.6, 48))
    gap = lambda kT: fp.spectral_gap(fp.FokkerPlanck(well, 0.4, kT=kT), grid)
    np.testing.assert_allclose(
        jax.grad(gap)(0.8), (gap(0.8 + 1e-5) - gap(0.8 - 1e-5)) / 2e-5, rtol=1e-6
    )
    np.testing.assert_allclose(
        jax.jit(jax.vmap(gap))(jnp.array([0.7, 0.8])), [gap(0.7), gap(0.8)], rtol=1e-10
    )
    # Barriers are in the units of U: those of a process with kT = D.
    steep = lambda x: 4 * well(x)
    law = fp.eyring_kramers(fp.FokkerPlanck(steep, 0.1, kT=0.7), grid)
    plain = fp.eyring_kramers(fp.FokkerPlanck(steep, 0.7), grid)
    np.testing.assert_allclose(law.barriers, plain.barriers, rtol=1e-10)
    np.testing.assert_allclose(law.gap, plain.gap / 7, rtol=1e-10)


@pytest.mark.parametrize(
    "diffusion",
    [np.array([0.4, 1.1]), lambda x: 0.5 + 0.2 * jnp.sin(x[0]) * jnp.ones(2)],
    ids=["axes", "x"],
)
def test_with_kT_any_diffusion_relaxes_to_the_gibbs_density(diffusion: Any) -> None:
    # A quadratic U, so that the law is exact: exp(-U/kT), whatever D is.
    equation = fp.FokkerPlanck(
        lambda x: x[0] ** 2 + x[1] ** 2 + 0.6 * x[0] * x[1], diffusion, kT=0.7
    )
    grid = fp.Grid(fp.Line(-4.5, 4.5, 32), fp.Line(-4.5, 4.5, 32))
    exact = np.exp(
        -np.asarray(grid.sample(lambda x: x[0] ** 2 + x[1] ** 2 + 0.6 * x[0] * x[1]))
        / 0.7
    )
    exact = exact / np.sum(exact * np.asarray(grid.weights))
    np.testing.assert_allclose(equation.gibbs(grid), exact, rtol=1e-10)
    moments = {"xx": lambda x: x[0] ** 2, "xy": lambda x: x[0] * x[1]}
    run = fp.evolve(
        equation,
        fp.Gaussian([0.3, 0.0], 0.3),
        [20.0],
        grid=grid,
        tol=1e-6,
        observables=moments,
    )
    for name, f in moments.items():
        at_rest = float(grid.integrate(exact * np.asarray(grid.sample(f))))
        # Finite volumes of order two: with these cells the variance is 2 % off where D
        # varies.
        np.testing.assert_allclose(run.observables[name], [at_rest], rtol=0.03)


@pytest.mark.parametrize(
    "wrong", [0.0, -1.0, np.nan, np.inf, [1.0, 2.0], "room", lambda x: 1.0]
)
def test_kT_is_refused(wrong: Any) -> None:
    refused(
        lambda: fp.FokkerPlanck(well, 0.4, kT=wrong), "kT", "units of the potential"
    )

"""Truth: no unit is assumed. x to s x, t to tau t and U to c U, with D, kT and forces
to match, change no digit beyond rounding, from 1e-12 to 1e12, in anything that is
computed.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.score import reconstruct
from refusals import refused


@dataclasses.dataclass(frozen=True)
class Units:
    """Units of length, time and energy, in which a problem is stated whose numbers are
    of size one.
    """

    length: float = 1.0
    time: float = 1.0
    energy: float = 1.0

    @property
    def diffusion(self) -> float:
        return self.length**2 / self.time

    def potential(
        self, u: Callable[[Any], Any], unit: float | None = None
    ) -> Callable[[Any], Any]:
        """U(x) in units of energy or, without kT, of the diffusion."""
        scale = self.diffusion if unit is None else unit
        return lambda x: scale * u(x / self.length)

    def moving(self, u: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        return lambda x, t: self.diffusion * u(x / self.length, t / self.time)

    def process(self, u: Callable[[Any], Any], diffusion: Any = 0.7) -> fp.FokkerPlanck:
        return fp.FokkerPlanck(self.potential(u), diffusion * self.diffusion)

    def thermal(
        self, u: Callable[[Any], Any], diffusion: Any = 0.4, kT: float = 0.7
    ) -> fp.FokkerPlanck:
        return fp.FokkerPlanck(
            self.potential(u, self.energy),
            diffusion * self.diffusion,
            kT=kT * self.energy,
        )

    def grid(self, *axes: tuple[Any, ...]) -> fp.Grid:
        kinds = [axis[3] if len(axis) > 3 else fp.Line for axis in axes]
        return fp.Grid(
            *[
                k(a[0] * self.length, a[1] * self.length, a[2])
                for k, a in zip(kinds, axes, strict=True)
            ]
        )

    def start(self, mean: Any, variance: float) -> fp.Gaussian:
        return fp.Gaussian(np.asarray(mean) * self.length, variance * self.length**2)

    def mix(self) -> fp.Mix:
        return fp.Mix(
            self.potential(lambda x: x[0] ** 2),
            self.potential(lambda x: 2 * (x[0] - 1) ** 2),
        )


def well(x: Any) -> Any:
    return (x[0] ** 2 - 1) ** 2 + 0.3 * x[0]


def coupled(x: Any) -> Any:
    return (x[0] ** 2 - 1) ** 2 + x[1] ** 2 / 2 + 0.3 * x[0] * x[1]


LINE = (-2.6, 2.6, 48)
PLANE = ((-2.6, 2.6, 28), (-3.2, 3.2, 24))
MANY = ((-2.6, 2.6, 36), (-3.2, 3.2, 32))
WIDE = (-4.0, 5.0, 64)


def evolved(
    u: Units,
    equation: Any,
    times: tuple[float, ...],
    grid: fp.Grid,
    start: Any,
    **options: Any,
) -> Any:
    run = fp.evolve(equation, start, np.asarray(times) * u.time, grid=grid, **options)
    return run.values * u.length**grid.ndim


def on_a_line(u: Units) -> Any:
    return evolved(u, u.process(well), (0.2, 3.0), u.grid(LINE), u.start(0.3, 0.05))


def whole_errors(u: Units) -> Any:
    # On a coarse grid, so that the error is one of space and not rounding.
    times = np.array([0.2, 3.0]) * u.time
    run = fp.evolve(
        u.process(well),
        u.start(0.3, 0.05),
        times,
        grid=u.grid((-2.3, 2.3, 20)),
        tol=0.1,
    )
    return run.error


def between_walls(u: Units) -> Any:
    kinds = (fp.Reflecting, fp.Absorbing, fp.Legendre)
    runs = [
        evolved(
            u,
            u.process(well),
            (0.3,),
            u.grid((-1.5, 1.5, 24, kind)),
            u.start(0.3, 0.05),
            tol=1e-4,
        )
        for kind in kinds
    ]
    return jnp.concatenate(runs)


def on_cells(u: Units) -> Any:
    options = {"scheme": fp.ScharfetterGummel()}
    return evolved(
        u, u.process(well), (0.2, 3.0), u.grid(LINE), u.start(0.3, 0.05), **options
    )


def with_kT(u: Units) -> Any:
    return evolved(u, u.thermal(well), (0.2, 3.0), u.grid(LINE), u.start(0.3, 0.05))


def in_the_plane(u: Units) -> Any:
    return evolved(
        u,
        u.process(coupled),
        (0.2,),
        u.grid(*PLANE),
        u.start([0.3, 0.0], 0.05),
        tol=1e-6,
    )


def two_diffusions(u: Units) -> Any:
    equation = u.process(coupled, np.array([0.5, 1.5]))
    return evolved(
        u, equation, (0.2,), u.grid(*PLANE), u.start([0.3, 0.0], 0.15), tol=1e-5
    )


def a_moving_trap(u: Units) -> Any:
    equation = fp.FokkerPlanck(
        u.moving(lambda x, t: (x[0] - jnp.sin(t)) ** 2), 0.5 * u.diffusion
    )
    return evolved(
        u, equation, (0.4, 1.0), u.grid((-3.0, 3.0, 40)), u.start(0.3, 0.1), tol=1e-7
    )


def a_jump_in_time(u: Units) -> Any:
    equation = fp.FokkerPlanck(
        u.moving(lambda x, t: (1 + (t > 0.31)) * x[0] ** 2 / 2), 0.5 * u.diffusion
    )
    return evolved(
        u, equation, (0.6,), u.grid((-3.0, 3.0, 40)), u.start(0.3, 0.1), tol=1e-7
    )


def real_time(u: Units) -> Any:
    equation = fp.Schrodinger(
        lambda x: (x[0] / u.length) ** 2 / (2 * u.time), 0.5 * u.diffusion
    )
    start = lambda x: jnp.exp(-((x[0] / u.length - 0.5) ** 2))
    return jnp.abs(
        fp.evolve(
            equation,
            start,
            [0.5 * u.time],
            grid=u.grid((-6.0, 6.0, 48)),
            wick=np.pi / 2,
        ).values
    )


def levels(u: Units) -> Any:
    modes = fp.spectrum(u.process(well), u.grid(LINE), 4)
    return jnp.concatenate([modes.values * u.time, modes.errors * u.time])


def levels_with_kT(u: Units) -> Any:
    return fp.spectrum(u.thermal(well), u.grid(LINE), 4).values * u.time


def levels_of_a_plane(u: Units) -> Any:
    return fp.spectrum(u.process(coupled), u.grid(*MANY), 4).values * u.time


def levels_of_cells(u: Units) -> Any:
    return (
        fp.spectrum(
            u.process(coupled), u.grid(*MANY), 3, scheme=fp.ScharfetterGummel()
        ).values
        * u.time
    )


def rates_of_a_ring(u: Units) -> Any:
    push = lambda x: 0.5 * u.length / u.time + 0 * x
    equation = fp.FokkerPlanck(
        u.potential(lambda x: jnp.cos(x[0])), u.diffusion, force=push
    )
    return (
        jnp.abs(
            fp.spectrum(equation, u.grid((0.0, 2 * np.pi, 24, fp.Periodic)), 3).values
        )
        * u.time
    )


def levels_of_an_oscillator(u: Units) -> Any:
    equation = fp.Schrodinger(
        lambda x: (x[0] / u.length) ** 4 / u.time, 0.5 * u.diffusion
    )
    return fp.spectrum(equation, u.grid((-5.0, 5.0, 64)), 4).values * u.time


def a_gap(u: Units) -> Any:
    return fp.spectral_gap(u.process(well), u.grid(LINE)) * u.time


def a_tiny_gap(u: Units) -> Any:
    return (
        fp.spectral_gap(
            u.process(lambda x: 18 * (x[0] ** 2 - 1) ** 2), u.grid((-2.2, 2.2, 64))
        )
        * u.time
    )


def two_pictures(u: Units) -> Any:
    times = np.array([0.2, 1.0]) * u.time
    both = fp.correspondence(
        u.process(well), u.start(0.3, 0.3), times, grid=u.grid((-2.6, 2.6, 64))
    )
    return jnp.concatenate(
        [(both.density * u.length).ravel(), (both.spectra * u.time).ravel()]
    )


def a_committor(u: Units) -> Any:
    edge = 0.9 * u.length
    return jnp.asarray(
        fp.committor(
            u.process(well), u.grid(LINE), lambda x: x[0] < -edge, lambda x: x[0] > edge
        )
    )


def a_passage_time(u: Units) -> Any:
    edge = 0.9 * u.length
    return (
        jnp.asarray(
            fp.mean_first_passage_time(
                u.process(coupled), u.grid(*MANY), lambda x: x[0] < -edge
            )
        )
        / u.time
    )


def a_law_of_rates(u: Units) -> Any:
    law = fp.eyring_kramers(u.thermal(lambda x: 4 * well(x)), u.grid((-2.0, 2.0, 96)))
    return jnp.append(law.barriers.ravel() / u.energy, law.gap * u.time)


def a_transport(u: Units) -> Any:
    schedule = fp.schedule.linear(2.0 * u.time)
    run = fp.transport(
        u.mix(), schedule, grid=u.grid(WIDE), diffusion=u.diffusion, tol=1e-6
    )
    return jnp.concatenate(
        [
            run.kl,
            run.tv,
            jnp.asarray(run.gap) * u.time,
            run.bound,
            jnp.ravel(run.work / u.diffusion),
        ]
    )


def a_path(u: Units) -> Any:
    return (
        fp.along(u.mix(), grid=u.grid(WIDE), diffusion=u.diffusion, tol=1e-6)
        .at(0.5)
        .gap
        * u.time
    )


def a_schedule(u: Units) -> Any:
    schedule = fp.schedule.optimal(
        u.mix(), 2.0 * u.time, grid=u.grid(WIDE), diffusion=u.diffusion
    )
    return jax.vmap(schedule)(jnp.asarray([0.3, 0.7, 1.6]) * u.time)


def a_score(u: Units) -> Any:
    score = lambda x: -x / u.length**2 * (1 + 0.2 * (x / u.length) ** 2)
    found = reconstruct(score, u.grid((-6.0, 6.0, 48)), diffusion=u.diffusion)
    return jnp.append(found.density * u.length, found.gap * u.time)


def a_table(u: Units) -> Any:
    nodes = np.linspace(-2.6, 2.6, 60)
    noisy = well(nodes[None]) + 0.01 * np.sin(np.arange(60) ** 2)
    table = fp.Sampled(nodes * u.length, noisy * u.energy, smooth="gcv")
    equation = fp.FokkerPlanck(table, 0.4 * u.diffusion, kT=0.7 * u.energy)
    return fp.spectral_gap(equation, u.grid((-2.4, 2.4, 48))) * u.time


QUESTIONS: list[Callable[[Units], Any]] = [
    on_a_line,
    whole_errors,
    between_walls,
    on_cells,
    with_kT,
    in_the_plane,
    two_diffusions,
    a_moving_trap,
    a_jump_in_time,
    real_time,
    levels,
    levels_with_kT,
    levels_of_a_plane,
    levels_of_cells,
    rates_of_a_ring,
    levels_of_an_oscillator,
    a_gap,
    a_tiny_gap,
    two_pictures,
    a_committor,
    a_passage_time,
    a_law_of_rates,
    a_transport,
    a_path,
    a_schedule,
    a_score,
    a_table,
]
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

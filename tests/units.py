"""Every public function asked in given units of length, time and energy.

Answers are returned in units of one, so that they must not depend on `Units`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fpsolve as fp
from fpsolve.score import reconstruct


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
    grid = u.grid((-6.0, 6.0, 48))
    run = fp.evolve(equation, start, [0.5 * u.time], grid=grid, wick=np.pi / 2)
    return jnp.abs(run.values)


def levels(u: Units) -> Any:
    modes = fp.spectrum(u.process(well), u.grid(LINE), 4)
    return jnp.concatenate([modes.values * u.time, modes.errors * u.time])


def levels_with_kT(u: Units) -> Any:
    return fp.spectrum(u.thermal(well), u.grid(LINE), 4).values * u.time


def levels_of_a_plane(u: Units) -> Any:
    return fp.spectrum(u.process(coupled), u.grid(*MANY), 4).values * u.time


def levels_of_cells(u: Units) -> Any:
    scheme = fp.ScharfetterGummel()
    modes = fp.spectrum(u.process(coupled), u.grid(*MANY), 3, scheme=scheme)
    return modes.values * u.time


def rates_of_a_ring(u: Units) -> Any:
    push = lambda x: 0.5 * u.length / u.time + 0 * x
    equation = fp.FokkerPlanck(
        u.potential(lambda x: jnp.cos(x[0])), u.diffusion, force=push
    )
    ring = u.grid((0.0, 2 * np.pi, 24, fp.Periodic))
    return jnp.abs(fp.spectrum(equation, ring, 3).values) * u.time


def levels_of_an_oscillator(u: Units) -> Any:
    equation = fp.Schrodinger(
        lambda x: (x[0] / u.length) ** 4 / u.time, 0.5 * u.diffusion
    )
    return fp.spectrum(equation, u.grid((-5.0, 5.0, 64)), 4).values * u.time


def a_gap(u: Units) -> Any:
    return fp.spectral_gap(u.process(well), u.grid(LINE)) * u.time


def a_tiny_gap(u: Units) -> Any:
    steep = u.process(lambda x: 18 * (x[0] ** 2 - 1) ** 2)
    return fp.spectral_gap(steep, u.grid((-2.2, 2.2, 64))) * u.time


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
    reactant = lambda x: x[0] < -edge
    product = lambda x: x[0] > edge
    return jnp.asarray(fp.committor(u.process(well), u.grid(LINE), reactant, product))


def a_passage_time(u: Units) -> Any:
    edge = 0.9 * u.length
    target = lambda x: x[0] < -edge
    tau = fp.mean_first_passage_time(u.process(coupled), u.grid(*MANY), target)
    return jnp.asarray(tau) / u.time


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
    path = fp.along(u.mix(), grid=u.grid(WIDE), diffusion=u.diffusion, tol=1e-6)
    return path.at(0.5).gap * u.time


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

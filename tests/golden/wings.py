"""Transport along paths, passage times, scores, and the examples of README.md."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import fpsolve as fp
from golden.common import (
    FORCED,
    FORCED_ANGLES,
    LEVELS,
    LINE,
    RING,
    SINK,
    SMALL_PLANE,
    WELL,
    Answer,
    axes_of,
    problem,
    reported,
    section,
)

# --------------------------------------------------------------------------------------
# transport
section("transport")

PATH = fp.Mix(fp.Harmonic(2.0, center=-1.0), fp.Harmonic(0.5, center=1.0))
ROOM = fp.Grid(fp.Line(-8.0, 10.0, 72))
LAMBDAS = np.linspace(0, 1, 13)


def lag(found: fp.Transport, prefix: str = "") -> Answer:
    """Distances, works and bounds of a transport."""
    answer: Answer = {
        "values": found.values,
        "kl": found.kl,
        "tv": found.tv,
        "infidelity": found.infidelity,
        "bound": found.bound,
        "bound by": found.bound_by.split()[0],
        "kl bound": found.kl_bound,
        "work": found.work,
        "free energy": found.free_energy,
        "entropy": found.entropy,
    }
    if found.gap is not None:
        answer["gap"] = found.gap
    return {prefix + name: value for name, value in answer.items()}


# The run takes adaptive steps to tol = 1e-8; gaps and costs are interpolated to 1e-8 as
# well, and a bound divides by them: a hundred times that.


@problem(tol=1e-6, loose={"values": 3e-8})  # as said above
def a_transport_at_even_speed() -> Answer:
    return lag(
        fp.transport(PATH, fp.schedule.linear(3.0), grid=ROOM, times=[1.0, 2.0, 3.0])
    )


@problem(tol=1e-6, loose={"values": 3e-8})  # as said above
def a_transport_by_the_best_schedule() -> Answer:
    schedule = fp.schedule.optimal(PATH, 5.0, grid=ROOM, cost="exact")
    found = fp.transport(PATH, schedule, grid=ROOM, times=[2.0, 5.0])
    return lag(found) | {"gain": schedule.gain, "lambdas": found.lambdas}


@problem(tol=1e-6)  # steps from Python, to 1e-8
def a_counterdiabatic_transport() -> Answer:
    grid = fp.Grid(fp.Line(-6.0, 8.0, 56))
    found = fp.transport(
        PATH, fp.schedule.linear(1.0), grid=grid, times=[0.5, 1.0], counterdiabatic=True
    )
    return {"values": found.values, "tv small": str(float(jnp.max(found.tv)) < 1e-6)}


@problem(tol=1e-5)  # as said above, with gaps interpolated to 1e-5 in two dimensions
def a_transport_in_the_plane() -> Answer:
    path = fp.Mix(
        fp.Harmonic(2.0, center=jnp.asarray([-0.5, 0.0])),
        fp.Harmonic(1.0, center=jnp.asarray([0.5, 0.3])),
    )
    grid = fp.Grid(fp.Line(-5.0, 6.0, 24), fp.Line(-5.0, 6.0, 24))
    return lag(
        fp.transport(
            path, fp.schedule.linear(2.0), grid=grid, times=[1.0, 2.0], tol=1e-6
        )
    )


@problem(tol=1e-6)  # as said above
def a_transport_in_imaginary_time_and_from_another_start() -> Answer:
    grid = fp.Grid(fp.Line(-6.0, 8.0, 56))
    run = lambda **options: fp.transport(
        PATH, fp.schedule.linear(2.0), grid=grid, times=[1.0, 2.0], **options
    )
    return lag(run(kappa=0), "kappa 0: ") | lag(
        run(initial=fp.Gaussian(-0.5, 0.4)), "start: "
    )


@problem(tol=1e-7)  # interpolated to 1e-8
def costs_along_a_path() -> Answer:
    found = fp.along(PATH, grid=ROOM).at(jnp.asarray(LAMBDAS))
    answer = {
        name: getattr(found, name)
        for name in ("gap", "drive", "bound", "score", "wasserstein", "exact")
    }
    wells = fp.Mix(fp.Harmonic(4.0), fp.DoubleWell(3.0))
    crossing = fp.along(wells, grid=fp.Grid(fp.Line(-2.6, 2.6, 48))).at(
        jnp.asarray(LAMBDAS)
    )
    return answer | {"wells: gap": crossing.gap, "wells: exact": crossing.exact}


@problem(tol=1e-7)  # interpolated to 1e-8
def schedules_of_every_cost() -> Answer:
    answer: Answer = {}
    for cost in ("bound", "score", "wasserstein", "exact"):
        schedule = fp.schedule.optimal(PATH, 5.0, grid=ROOM, cost=cost)
        answer[f"{cost}: lambdas"] = jax.vmap(schedule)(5.0 * jnp.asarray(LAMBDAS))
        answer[f"{cost}: knots"] = schedule.motion.knots
        answer[f"{cost}: integral"] = schedule.cost_integral
        answer[f"{cost}: gain"] = schedule.gain
    return answer


@problem(quick=True)
def schedules_without_a_path() -> Answer:
    t = 2.0 * jnp.asarray(LAMBDAS)
    through = fp.schedule.tabulated([0.0, 0.5, 2.0], [0.0, 0.4, 1.0])
    return {
        "linear": jax.vmap(fp.schedule.linear(2.0))(t),
        "smooth": jax.vmap(fp.schedule.smooth(2.0, 2))(t),
        "tabulated": jax.vmap(through)(t),
    }


# --------------------------------------------------------------------------------------
# rates
section("rates")


def left(x: Any) -> Any:
    """The left well."""
    return x[0] < -0.9


def right(x: Any) -> Any:
    """The right well."""
    return x[0] > 0.9


@problem(quick=True)
def paths_on_a_line() -> Answer:
    return {
        "committor": fp.committor(WELL, LINE, left, right),
        "passage": fp.mean_first_passage_time(WELL, LINE, right),
        "forced passage": fp.mean_first_passage_time(FORCED, LINE, right),
        "steep passage": fp.mean_first_passage_time(
            fp.FokkerPlanck(fp.DoubleWell(1.0), 0.03), LINE, right
        ),
        "exit": fp.mean_first_passage_time(WELL, SINK, np.zeros(32, bool)),
        "ring passage": fp.mean_first_passage_time(
            FORCED_ANGLES, RING, lambda x: x[0] < 0.3
        ),
    }


# BiCGSTAB to a residual of 1e-10, which a passage time of some tens enlarges
@problem(tol=1e-8)
def paths_in_the_plane() -> Answer:
    return {
        "committor": fp.committor(WELL, SMALL_PLANE, left, right),
        "forced committor": fp.committor(FORCED, SMALL_PLANE, left, right),
        "passage": fp.mean_first_passage_time(FORCED, SMALL_PLANE, right),
    }


@problem(quick=True)
def the_law_of_eyring_and_kramers() -> Answer:
    answer: Answer = {}
    tilted = fp.FokkerPlanck(fp.DoubleWell(1.0, tilt=0.1), 0.1)
    muller = fp.FokkerPlanck(fp.MullerBrown(), 15.0)
    box = fp.Grid(fp.Line(-1.8, 1.2, 40), fp.Line(-0.6, 2.2, 40))
    for name, law in (
        ("line", fp.eyring_kramers(tilted, LINE)),
        ("plane", fp.eyring_kramers(muller, box)),
    ):
        for quantity in ("minima", "saddles", "barriers", "rates", "gap"):
            answer[f"{name}: {quantity}"] = getattr(law, quantity)
    return answer


# --------------------------------------------------------------------------------------
# scores
section("scores")


@problem(tol=1e-9)  # one level above the lowest is iterated to 1e-10
def the_density_that_a_score_means() -> Answer:
    line = fp.score.reconstruct(
        lambda x: -(x**3) + 0.5, fp.Grid(fp.Line(-4.0, 4.0, 48))
    )
    answer = {
        "line: density": line.density,
        # zero but for rounding
        "line: ground energy": jnp.abs(line.ground_energy) + 1.0,
        "line: gap": line.gap,
        "line: bound": line.bound(jnp.asarray([0.01, 0.1])),
    }
    spin = lambda x: -x + 0.7 * jnp.stack([-x[1], x[0]])
    plane = fp.score.reconstruct(
        spin, fp.Grid(fp.Line(-7.5, 7.5, 30), fp.Line(-7.5, 7.5, 31))
    )
    return answer | {
        "plane: density": plane.density,
        "plane: ground energy": plane.ground_energy,
        "plane: gap": plane.gap,
        "plane: bound": plane.bound(jnp.asarray([2.0, 3.0])),
        "plane: infidelity": plane.infidelity_bound(2.0),
        "plane: error": plane.score_error(
            plane.grid.density(fp.Gaussian([0.0, 0.0], 1.0))
        ),
    }


# an elliptic system and one that is not symmetric, to 1e-6 where the density is thin
@problem(tol=1e-7)
def the_parts_and_the_law_of_a_score() -> Answer:
    torus = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 18), fp.Periodic(0.0, 2 * np.pi, 19))
    curly = lambda x: jnp.stack(
        [
            -jnp.sin(x[0]) + 0.3 * jnp.cos(x[1]),
            -0.5 * jnp.cos(x[1]) + 0.3 * jnp.sin(2 * x[0]),
        ]
    )
    found = fp.score.reconstruct(curly, torus)
    return {
        "density": found.density,
        "conservative": found.conservative,
        "solenoidal": found.solenoidal,
        "stationary": found.stationary,
        "ground energy": found.ground_energy,
    }


# --------------------------------------------------------------------------------------
# examples of README
section("examples of README.md")


# contracted at tol = 1e-8; a gap by iteration
@problem(tol=3e-8, loose={"gap": LEVELS})
def a_potential_of_your_own() -> Answer:
    equation = fp.FokkerPlanck(
        lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2 * (1 + x[0] ** 2), diffusion=0.5
    )
    grid = fp.Grid(fp.Line(-2.6, 2.6, 48), fp.Line(-3.2, 3.2, 48))
    observables = {"crossed": lambda x: x[0] > 0}
    run = fp.evolve(
        equation,
        fp.Gaussian([-1.0, 0.0], 0.05),
        [0.1, 1.0, 10.0],
        grid=grid,
        observables=observables,
    )
    return reported(run) | {"gap": fp.spectrum(equation, grid, k=4).gap}


# tol = 1e-6; the rest as fitted grids are
@problem(tol=1e-9, loose={"relaxed: ": 3e-6})
def a_grid_that_is_left_out() -> Answer:
    steep = fp.FokkerPlanck(lambda x: (x[0] ** 2 - 1) ** 2, diffusion=0.1)
    relaxed = fp.evolve(steep, fp.Gaussian(-1.0, 0.05), [1.0, 10.0], tol=1e-6)
    answer = reported(relaxed, "relaxed: ") | axes_of(relaxed.grid, "relaxed grid: ")
    answer |= {
        "gap": fp.spectral_gap(steep),
        "law": fp.eyring_kramers(steep, relaxed.grid).gap,
    }
    return answer | {"space error small": str(0 < relaxed.space_error < 1e-6)}


@problem(tol=3e-8)  # tol = 1e-8
def a_potential_that_moves() -> Answer:
    grid = fp.Grid(fp.Line(-7.0, 7.0, 64))
    moved = fp.evolve(
        fp.FokkerPlanck(lambda x, t: (x[0] - jnp.sin(t)) ** 2 / 2),
        fp.Gaussian(0.0, 1.0),
        [1.0, 2.0],
        grid=grid,
    )
    ring = fp.Grid(fp.Periodic(0.0, 1.0, 64))
    driven = fp.evolve(
        fp.FokkerPlanck(force=lambda x: 2.0 + 0 * x),
        fp.Gaussian(0.5, 0.01),
        [0.1],
        grid=ring,
    )
    start = lambda x: jnp.exp(-((x[0] - 1) ** 2) / 2)
    turned = fp.evolve(
        fp.Schrodinger(lambda x: x[0] ** 2 / 2),
        start,
        [math.pi],
        grid=grid,
        wick=math.pi / 2,
    )
    return (
        reported(moved, "moved: ")
        | reported(driven, "driven: ")
        | reported(turned, "turned: ")
    )


@problem(tol=1e-6)  # as all transports
def a_schedule_that_lets_follow_best() -> Answer:
    grid = fp.Grid(fp.Line(-8.0, 10.0, 96))
    schedule = fp.schedule.optimal(PATH, 5.0, grid=grid, cost="exact")
    found = fp.transport(PATH, schedule, grid=grid, times=[5.0])
    return {"gain": schedule.gain} | lag(found)


@problem(tol=1e-5)  # three hundred steps of training enlarge rounding
def a_score_that_is_trained() -> Answer:
    key = jax.random.key(0)
    samples = jax.random.normal(key, (5000, 1)) + 2.0 * jax.random.choice(
        key, jnp.array([-1.0, 1.0]), (5000, 1)
    )
    network = fp.score.EnergyNetwork(
        1, key=key, width=32, **fp.score.standardised(samples)
    )
    score, _ = fp.score.fit(
        network, samples, optimiser=optax.adam(3e-3), steps=300, key=key
    )
    found = fp.score.reconstruct(score, fp.Grid(fp.Line(-11.0, 11.0, 96)))
    return {"gap": found.gap, "density": found.density, "bound": found.bound(0.01)}


class Morse(eqx.Module):
    """The potential of the last example."""

    depth: jax.Array

    def __call__(self, x: Any) -> Any:
        """U."""
        return self.depth * (1 - jnp.exp(-x[0])) ** 2


@problem(tol=1e-9)  # derivatives of Rayleigh quotients
def a_potential_with_parameters() -> Answer:
    grid = fp.Grid(fp.Line(-1.5, 9.0, 96))
    gap = lambda depth: fp.spectral_gap(fp.FokkerPlanck(Morse(depth)), grid)
    return {"gaps": jax.vmap(gap)(jnp.array([6.0, 8.0])), "slope": jax.grad(gap)(8.0)}

"""Problems on fitted grids, problems that move, and derivatives through both."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

import fpsolve as fp
from golden.common import (
    FINE,
    LINE,
    RING,
    SMALL_PLANE,
    SPECTRAL,
    VOLUMES,
    WALLS,
    WELL,
    WIDE,
    Answer,
    axes_of,
    bump,
    problem,
    reported,
    round_bump,
    section,
    wave_of_angles,
    well,
)
from golden.waves import oscillator, shifted_wave

# --------------------------------------------------------------------------------------
# fitted grids
section("evolve on a fitted grid")

# The box comes from a search and the number of nodes is whole, so that all is
# reproduced to the search's rounding; the numbers in time are as good as tol.


@problem(tol=1e-9)  # values on nodes whose places carry the rounding of the search
def a_fitted_line() -> Answer:
    run = fp.evolve(
        fp.FokkerPlanck(fp.DoubleWell(1.0), 0.2),
        fp.Gaussian(-1.0, 0.05),
        [1.0, 10.0],
        tol=1e-6,
    )
    return reported(run) | axes_of(run.grid)


@problem(tol=1e-9)  # as above
def a_fitted_wave() -> Answer:
    run = fp.evolve(
        fp.Schrodinger(oscillator), shifted_wave, [1.0], wick=math.pi / 2, tol=1e-6
    )
    return reported(run) | axes_of(run.grid)


@problem(tol=3e-5)  # contracted, tol = 1e-5
def a_fitted_plane() -> Answer:
    run = fp.evolve(WELL, fp.Gaussian([-0.9, 0.0], 0.1), [0.5], tol=1e-5)
    return reported(run) | axes_of(run.grid)


@problem(tol=1e-9, loose={"moving: ": 3e-6})  # steps chosen to tol = 1e-6
def a_fitted_ring_and_a_fitted_moving_trap() -> Answer:
    ring = fp.evolve(fp.FokkerPlanck(fp.Cosine(2.0)), round_bump, [0.3], tol=1e-6)
    trap = fp.FokkerPlanck(lambda x, t: (x[0] - jnp.sin(t)) ** 2 / 2)
    moving = fp.evolve(trap, fp.Gaussian(0.0, 1.0), [0.5, 1.0], tol=1e-6)
    return (
        reported(ring)
        | axes_of(ring.grid)
        | reported(moving, "moving: ")
        | axes_of(moving.grid, "moving grid: ")
    )


# --------------------------------------------------------------------------------------
# what moves
section("evolve, moving")

# Steps are chosen by an error estimate, so that another choice of steps may differ by
# as much as tol asks; three times that are allowed. With the steps given, only rounding
# may differ.


def trap(x: Any, t: Any) -> Any:
    """A harmonic well that swings."""
    return jnp.sum((x - jnp.sin(t)) ** 2) / 2


def rocked(x: Any, t: Any) -> Any:
    """A double well pulled to and fro."""
    return well(x) + 0.5 * x[0] * jnp.sin(3 * t)


@problem(tol=3e-8)  # tol = 1e-8
def a_trap_that_swings() -> Answer:
    observables = {"mean": lambda x: x[0]}
    run = fp.evolve(
        fp.FokkerPlanck(trap),
        fp.Gaussian(0.3, 0.8),
        [0.5, 1.0],
        grid=WIDE,
        observables=observables,
    )
    return reported(run)


@problem(tol=3e-8)  # tol = 1e-8
def a_driven_double_well() -> Answer:
    grid = fp.Grid(fp.Line(-3.2, 3.2, 64))
    answer = reported(
        fp.evolve(
            fp.FokkerPlanck(rocked, 0.7), bump, [0.3, 0.8], grid=grid, scheme=SPECTRAL
        ),
        "basis: ",
    )
    run = fp.evolve(
        fp.FokkerPlanck(rocked, 0.7), bump, [0.3, 0.8], grid=WALLS, scheme=VOLUMES
    )
    return answer | reported(run, "volumes: ")


@problem()
def steps_that_are_given() -> Answer:
    equation = fp.FokkerPlanck(rocked, 0.7)
    answer = {}
    methods = {
        "Magnus": fp.Magnus(8),
        "Magnus without extrapolation": fp.Magnus(8, extrapolate=False),
        "Magnus by Rational": fp.Magnus(8, fp.Rational()),
        "Magnus by Implicit": fp.Magnus(8, fp.Implicit(2, 2)),
        "Magnus by Uniformization": fp.Magnus(8, fp.Uniformization()),
    }
    for name, method in methods.items():
        run = fp.evolve(
            equation,
            bump,
            [0.3],
            grid=WALLS,
            scheme=VOLUMES,
            method=method,
            tol=1e-10,
            throw=False,
        )
        answer[f"{name}: values"] = run.values
    for name, method in {
        "Magnus": fp.Magnus(8),
        "Magnus by Dense": fp.Magnus(8, fp.Dense()),
    }.items():
        run = fp.evolve(
            equation,
            bump,
            [0.3],
            grid=LINE,
            scheme=SPECTRAL,
            method=method,
            tol=1e-10,
            throw=False,
        )
        answer[f"{name}, basis: values"] = run.values
    return answer


@problem(tol=3e-6)  # tol = 1e-6
def moving_in_the_plane() -> Answer:
    run = lambda scheme: fp.evolve(
        fp.FokkerPlanck(rocked, 0.7),
        bump,
        [0.4],
        grid=SMALL_PLANE,
        scheme=scheme,
        tol=1e-6,
        throw=False,
    )
    return reported(run(SPECTRAL), "basis: ") | reported(run(VOLUMES), "volumes: ")


@problem(quick=True, tol=3e-6)  # tol = 1e-6
def a_force_that_moves() -> Answer:
    equation = fp.FokkerPlanck(
        wave_of_angles, 0.7, lambda x, t: 0.8 + 0.5 * jnp.sin(2 * t) + 0 * x
    )
    run = lambda scheme: fp.evolve(
        equation, round_bump, [0.2, 0.5], grid=RING, scheme=scheme, tol=1e-6
    )
    return reported(run(VOLUMES), "volumes: ") | reported(run(None), "chosen: ")


@problem(tol=3e-8)  # tol = 1e-8
def a_wave_that_is_driven() -> Answer:
    equation = fp.Schrodinger(lambda x, t: x[0] ** 2 / 2 + 0.5 * x[0] * jnp.sin(2 * t))
    answer: Answer = {}
    for wick in (0.0, 0.7, math.pi / 2):
        answer |= reported(
            fp.evolve(equation, shifted_wave, [0.8], grid=WIDE, wick=wick),
            f"angle {wick:.2f}: ",
        )
    return answer


@problem(tol=3e-8)  # tol = 1e-8; the place of the jump is found to 1e-9
def a_jump_in_time() -> Answer:
    quench = fp.FokkerPlanck(lambda x, t: jnp.where(t < 0.37, 2.0, 4.0) * x[0] ** 2 / 2)
    found = fp.evolve(quench, fp.Gaussian(0.5, 0.4), [0.3, 0.8], grid=WIDE)
    given = fp.evolve(
        quench,
        fp.Gaussian(0.5, 0.4),
        [0.3, 0.8],
        grid=WIDE,
        method=fp.Magnus(breakpoints=(0.37,)),
        scheme=SPECTRAL,
    )
    return reported(found, "found: ") | reported(given, "given: ")


@problem(tol=3e-8)  # tol = 1e-8; the wave towers, and the density itself is evolved
def a_density_wider_than_its_wave_all_the_way() -> Answer:
    grid = fp.Grid(fp.Line(-6.0, 6.0, 96))
    stiffening = fp.FokkerPlanck(lambda x, t: 1.25 * x[0] ** 2 / (1 - 3 * t))
    return reported(
        fp.evolve(
            stiffening, fp.Gaussian(0.0, 1.0), [0.13, 0.2], grid=grid, scheme=SPECTRAL
        )
    )


# --------------------------------------------------------------------------------------
# transformations
section("transformations")


def last_square(a: Any, grid: fp.Grid, scheme: Any, **options: Any) -> Any:
    """<x^2> at the end of a run in a harmonic well of stiffness a."""
    start = grid.density(fp.Gaussian(0.4, 0.3))
    equation = fp.FokkerPlanck(fp.Harmonic(a), 0.8)
    run = fp.evolve(
        equation,
        start,
        jnp.asarray([0.4]),
        grid=grid,
        scheme=scheme,
        throw=False,
        tol=FINE,
        **options,
    )
    return grid.integrate(run.values[-1] * grid.points[..., 0] ** 2)


@problem(quick=True)
def jit_of_evolve() -> Answer:
    start = LINE.density(bump)
    run = jax.jit(
        lambda p, d: (
            fp.evolve(
                fp.FokkerPlanck(well, d), p, [0.1, 0.4], grid=LINE, scheme=VOLUMES
            ).values
        )
    )
    free = jax.jit(
        lambda p, d: (
            fp.evolve(fp.FokkerPlanck(well, d), p, [0.1, 0.4], grid=LINE).values
        )
    )
    return {"volumes": run(start, 0.7), "chosen": free(start, 0.7)}


@problem(quick=True)
def vmap_of_evolve_over_diffusions() -> Answer:
    start = WALLS.density(bump)
    run = lambda d: (
        fp.evolve(
            fp.FokkerPlanck(well, d),
            start,
            [0.4],
            grid=WALLS,
            scheme=VOLUMES,
            throw=False,
        ).values
    )
    basis = lambda d: (
        fp.evolve(
            fp.FokkerPlanck(wave_of_angles, d),
            RING.density(round_bump),
            [0.4],
            grid=RING,
            scheme=SPECTRAL,
            throw=False,
        ).values
    )
    diffusions = jnp.asarray([0.5, 0.7, 1.1])
    return {"volumes": jax.vmap(run)(diffusions), "basis": jax.vmap(basis)(diffusions)}


@problem()
def grad_of_an_expectation() -> Answer:
    a = jnp.asarray(1.1)
    answer: Answer = {}
    cases = {
        "volumes": (WALLS, VOLUMES, {}),
        "basis": (WIDE, SPECTRAL, {}),
        "dense": (WALLS, VOLUMES, {"method": fp.Dense()}),
        "rational": (WALLS, VOLUMES, {"method": fp.Rational()}),
    }
    for name, (grid, scheme, options) in cases.items():
        f = lambda a, grid=grid, scheme=scheme, options=options: last_square(
            a, grid, scheme, **options
        )
        answer[f"{name}: value"], answer[f"{name}: slope"] = jax.jit(
            jax.value_and_grad(f)
        )(a)
    return answer


def swing(x: Any, t: Any, a: Any) -> Any:
    """A harmonic well of stiffness a that swings."""
    return a * (x[0] - jnp.sin(t)) ** 2 / 2


@problem()
def grad_of_a_moving_run() -> Answer:
    def last(a: Any) -> Any:
        start = WALLS.density(fp.Gaussian(0.4, 0.3))
        equation = fp.FokkerPlanck(Partial(swing, a=a), 0.8)
        run = fp.evolve(
            equation,
            start,
            [0.4],
            grid=WALLS,
            scheme=VOLUMES,
            method=fp.Magnus(8),
            throw=False,
            tol=1e-10,
        )
        return WALLS.integrate(run.values[-1] * WALLS.points[..., 0] ** 2)

    value, slope = jax.jit(jax.value_and_grad(last))(jnp.asarray(1.1))
    forward = jax.jvp(last, (jnp.asarray(1.1),), (jnp.ones(()),))[1]
    return {"value": value, "slope": slope, "forward": forward}


@problem()
def grad_with_respect_to_start_and_time() -> Answer:
    start = WALLS.density(fp.Gaussian(0.4, 0.3))
    square = lambda p: WALLS.integrate(p[-1] * WALLS.points[..., 0] ** 2)
    by_start = lambda p: square(
        fp.evolve(
            WELL, p, [0.4], grid=WALLS, scheme=VOLUMES, throw=False, tol=FINE
        ).values
    )
    by_time = lambda t: square(
        fp.evolve(
            WELL,
            start,
            jnp.stack([t]),
            grid=WALLS,
            scheme=VOLUMES,
            throw=False,
            tol=FINE,
        ).values
    )
    return {"start": jax.grad(by_start)(start), "time": jax.grad(by_time)(0.4)}

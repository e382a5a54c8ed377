"""Waves of Schrödinger equations and scores, at every Wick angle."""

import math
from typing import Any

import jax.numpy as jnp

import fpsolve as fp
from golden.common import (
    FINE,
    IN_A_BASIS,
    LINE,
    RING,
    SINK,
    TIMES,
    VOLUMES,
    WELL,
    WIDE,
    Answer,
    bump,
    problem,
    reported,
    section,
    wave_of_angles,
)

# --------------------------------------------------------------------------------------
# waves
section("evolve, waves")


def oscillator(x: Any) -> Any:
    """A harmonic well, coupled where there are two axes."""
    return jnp.sum(x**2) / 2 + 0.2 * x[0] * x[-1]


def shifted_wave(x: Any) -> Any:
    """A ground state beside the middle."""
    return jnp.exp(-jnp.sum((x - 0.8) ** 2) / 2)


def moving_packet(x: Any) -> Any:
    """A complex start."""
    return jnp.exp(-jnp.sum((x - 0.8) ** 2) / 2 + 1.5j * x[0])


@problem()
def a_wave_at_three_angles() -> Answer:
    equation = fp.Schrodinger(oscillator)
    answer: Answer = {}
    for wick in (0.0, 0.7, math.pi / 2):
        for name, method in IN_A_BASIS.items():
            run = fp.evolve(
                equation,
                shifted_wave,
                TIMES,
                grid=WIDE,
                wick=wick,
                method=method,
                tol=FINE,
                observables={"place": lambda x: x[0]},
            )
            answer |= reported(run, f"angle {wick:.2f}, {name}: ")
    return answer


@problem()
def a_complex_start_that_turns() -> Answer:
    run = fp.evolve(
        fp.Schrodinger(oscillator, 1.0),
        moving_packet,
        TIMES,
        grid=WIDE,
        wick=math.pi / 2,
        tol=FINE,
    )
    answer = reported(run)
    return answer | {"norm": WIDE.integrate(jnp.abs(run.values) ** 2)}


@problem()
def waves_on_finite_volumes() -> Answer:
    answer: Answer = {}
    for grid, equation, start in (
        (SINK, fp.Schrodinger(oscillator), bump),
        (RING, fp.Schrodinger(wave_of_angles), bump),
    ):
        for wick in (0.0, math.pi / 2):
            run = fp.evolve(
                equation, start, TIMES, grid=grid, wick=wick, scheme=VOLUMES, tol=FINE
            )
            answer |= reported(
                run, f"{type(grid.axes[0]).__name__}, angle {wick:.2f}: "
            )
    return answer


@problem()
def a_wave_in_the_plane() -> Answer:
    grid = fp.Grid(fp.Line(-6.0, 6.0, 24), fp.Line(-6.0, 6.0, 24))
    answer: Answer = {}
    for wick in (0.0, math.pi / 2):
        run = fp.evolve(
            fp.Schrodinger(oscillator),
            shifted_wave,
            TIMES,
            grid=grid,
            wick=wick,
            tol=1e-11,
        )
        answer |= reported(run, f"angle {wick:.2f}: ")
    return answer


@problem(quick=True)
def a_wave_in_the_field_of_a_score() -> Answer:
    grid = fp.Grid(fp.Line(-5.0, 5.0, 20), fp.Line(-5.0, 5.0, 20))
    equation = fp.ScoreHamiltonian(lambda x: -x + 0.5 * jnp.stack([-x[1], x[0]]))
    run = fp.evolve(equation, shifted_wave, TIMES, grid=grid, tol=1e-11)
    line = fp.evolve(
        fp.ScoreHamiltonian(lambda x: -(x**3)),
        shifted_wave,
        TIMES,
        grid=WIDE,
        tol=1e-11,
    )
    return reported(run, "plane: ") | reported(line, "line: ")


@problem(quick=True)
def the_wave_and_the_score_of_a_process() -> Answer:
    answer = reported(
        fp.evolve(WELL.schrodinger(), shifted_wave, TIMES, grid=LINE, tol=FINE),
        "wave: ",
    )
    sampler = fp.ScoreHamiltonian(lambda x: -x).sampler()
    return answer | reported(
        fp.evolve(sampler, fp.Gaussian(0.5, 0.4), TIMES, grid=WIDE, tol=1e-11),
        "sampler: ",
    )

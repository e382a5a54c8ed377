"""Static problems: every scheme by every method on every kind of ends, and forces."""

import jax
import jax.numpy as jnp
import numpy as np

import fpsolve as fp
from golden.common import (
    ANGLES,
    FINE,
    FORCED,
    FORCED_ANGLES,
    IN_A_BASIS,
    LINE,
    ON_A_LINE,
    ON_A_RING,
    POLYNOMIALS,
    RING,
    ROOTS,
    SINK,
    SMALL_PLANE,
    SPECTRAL,
    SWIRL_PLANE,
    TIMES,
    VOLUMES,
    WALLS,
    WELL,
    WIDE,
    Answer,
    bump,
    by_methods,
    problem,
    reported,
    round_bump,
    section,
    turn,
    well,
)

# --------------------------------------------------------------------------------------
# still, one axis
section("evolve, still, one axis")


@problem(quick=True)
def every_method_on_a_line() -> Answer:
    return by_methods(WELL, LINE, bump, VOLUMES, ON_A_LINE)


@problem()
def every_method_between_reflecting_walls() -> Answer:
    return by_methods(WELL, WALLS, bump, VOLUMES, ON_A_LINE)


@problem()
def every_method_between_absorbing_walls() -> Answer:
    return by_methods(WELL, SINK, bump, VOLUMES, ON_A_LINE)


@problem()
def every_method_on_a_ring() -> Answer:
    return by_methods(ANGLES, RING, round_bump, VOLUMES, ON_A_LINE)


@problem()
def every_method_on_legendre_cells() -> Answer:
    return by_methods(WELL, POLYNOMIALS, bump, VOLUMES, ON_A_LINE)


@problem(quick=True)
def square_root_rates_on_every_kind_of_ends() -> Answer:
    answer: Answer = {}
    for grid in (LINE, WALLS, SINK, POLYNOMIALS):
        found = by_methods(WELL, grid, bump, ROOTS, {"Chebyshev": fp.Chebyshev()})
        answer |= {
            f"{type(grid.axes[0]).__name__}, {name}": value
            for name, value in found.items()
        }
    return answer | by_methods(
        ANGLES,
        RING,
        round_bump,
        ROOTS,
        {"Chebyshev": fp.Chebyshev(), "Rational": fp.Rational()},
    )


@problem(quick=True)
def spectral_on_a_line() -> Answer:
    grid = fp.Grid(fp.Line(-2.6, 2.6, 48))
    return by_methods(WELL, grid, fp.Gaussian(-0.5, 0.1), SPECTRAL, IN_A_BASIS)


@problem(quick=True)
def spectral_between_absorbing_walls() -> Answer:
    return by_methods(WELL, SINK, bump, SPECTRAL, IN_A_BASIS)


@problem(quick=True)
def spectral_on_a_ring() -> Answer:
    return by_methods(ANGLES, RING, round_bump, SPECTRAL, IN_A_BASIS)


@problem(quick=True)
def spectral_on_legendre_polynomials() -> Answer:
    return by_methods(WELL, POLYNOMIALS, bump, SPECTRAL, IN_A_BASIS)


@problem()
def choices_left_open() -> Answer:
    """Scheme, method and picture that are chosen, on every kind of boundary."""
    answer: Answer = {}
    for grid in (LINE, WALLS, SINK, POLYNOMIALS, RING, WIDE):
        periodic = grid is RING
        equation, start = (ANGLES, round_bump) if periodic else (WELL, bump)
        run = fp.evolve(equation, start, TIMES, grid=grid, tol=FINE)
        answer |= reported(run, f"{grid.axes[0]!r}: ")
    return answer


@problem(quick=True)
def many_times_with_a_start_at_zero() -> Answer:
    times = np.concatenate([[0.0], np.geomspace(1e-4, 1e4, 12)])
    answer = reported(fp.evolve(WELL, bump, times, grid=WALLS, tol=FINE), "volumes: ")
    return answer | reported(
        fp.evolve(ANGLES, round_bump, times, grid=RING, tol=FINE, scheme=SPECTRAL),
        "spectral: ",
    )


@problem(quick=True)
def a_start_given_as_an_array_that_has_no_mass_of_one() -> Answer:
    start = jnp.where(jnp.arange(32) == 9, 2.0, 0.0) + 0.01
    return reported(fp.evolve(WELL, start, TIMES, grid=WALLS, scheme=VOLUMES, tol=FINE))


@problem(quick=True)
def expectations_of_every_shape() -> Answer:
    observables = {
        "mean": lambda x: x[0],
        "crossed": lambda x: x[0] > 0,
        "moments": lambda x: jnp.stack([x[0] ** 2, x[0] ** 4]),
        "matrix": lambda x: jnp.outer(
            jnp.stack([x[0], 1.0]), jnp.stack([1.0, x[0] ** 3])
        ),
    }
    return reported(
        fp.evolve(
            WELL,
            bump,
            TIMES,
            grid=LINE,
            tol=FINE,
            scheme=VOLUMES,
            observables=observables,
        )
    )


# single precision holds 6e-8, its Chebyshev series ends at tol = 1e-4
@problem(tol=3e-4)
def single_precision() -> Answer:
    start = LINE.density(bump).astype(jnp.float32)
    answer = {}
    for scheme in (VOLUMES, SPECTRAL):
        run = fp.evolve(WELL, start, TIMES, grid=LINE, scheme=scheme, tol=1e-4)
        answer |= reported(run, f"{type(scheme).__name__}: ")
        answer[f"{type(scheme).__name__}: type"] = str(run.values.dtype)
    return answer


@problem(quick=True)
def values_on_another_grid() -> Answer:
    inside = fp.Grid(fp.Line(-1.9, 2.0, 17))
    basis = fp.evolve(WELL, bump, TIMES, grid=LINE, scheme=SPECTRAL, tol=FINE)
    cells = fp.evolve(WELL, bump, TIMES, grid=LINE, scheme=VOLUMES, tol=FINE)
    return {
        "basis": basis.on(inside),
        "cells": cells.on(inside),
        "finer cells": cells.on(LINE.refine(2)),
    }


@problem(tol=3e-6)  # steps of their own choice, to 1e-6
def steps_that_are_chosen() -> Answer:
    answer = {}
    for name, method in {
        "Splitting": fp.Splitting(),
        "Implicit": fp.Implicit(),
        "Implicit 3": fp.Implicit(3),
    }.items():
        run = fp.evolve(
            FORCED,
            bump,
            TIMES,
            grid=SMALL_PLANE,
            scheme=VOLUMES,
            method=method,
            tol=1e-6,
        )
        answer |= reported(run, f"{name}: ")
    return answer


# --------------------------------------------------------------------------------------
# forces, D of x
section("evolve, forces and diffusions")


@problem()
def a_force_on_a_ring_by_every_method() -> Answer:
    answer = by_methods(FORCED_ANGLES, RING, round_bump, VOLUMES, ON_A_RING)
    return answer | reported(
        fp.evolve(FORCED_ANGLES, round_bump, TIMES, grid=RING, tol=FINE), "chosen: "
    )


@problem()
def a_force_on_a_line_by_every_method() -> Answer:
    methods = {
        name: method for name, method in ON_A_LINE.items() if name != "Chebyshev"
    }
    return by_methods(
        fp.FokkerPlanck(None, 0.7, lambda x: -jax.grad(well)(x)),
        LINE,
        bump,
        VOLUMES,
        methods,
    )


@problem(quick=True)
def a_force_in_a_basis() -> Answer:
    answer = by_methods(FORCED, POLYNOMIALS, bump, SPECTRAL, {"Dense": fp.Dense()})
    return answer | by_methods(
        FORCED, SINK, bump, SPECTRAL, {"at a sink, Dense": fp.Dense()}
    )


@problem()
def a_rotation_of_the_plane() -> Answer:
    equation = fp.FokkerPlanck(fp.Harmonic(1.0), 0.5, turn)
    start = fp.Gaussian([1.0, 0.5], 0.3)
    answer = reported(
        fp.evolve(equation, start, TIMES, grid=SWIRL_PLANE, tol=1e-10), "chosen: "
    )
    return answer | reported(
        fp.evolve(equation, start, TIMES, grid=SWIRL_PLANE, tol=1e-10, scheme=VOLUMES),
        "volumes: ",
    )


@problem(quick=True)
def a_diffusion_that_varies() -> Answer:
    """Multiplicative noise, in the form of Ito."""
    equation = fp.FokkerPlanck.ito(
        lambda x: 0.06 * x - x * jnp.log(x), lambda x: 0.06 * x[0] ** 2
    )
    start = lambda x: jnp.exp(-((x[0] - 1.4) ** 2) / 0.08)
    grid = fp.Grid(fp.Reflecting(0.1, 4.1, 32))
    return reported(
        fp.evolve(equation, start, TIMES, grid=grid, scheme=VOLUMES, tol=FINE)
    )


@problem()
def a_diffusion_that_varies_in_the_plane() -> Answer:
    equation = fp.FokkerPlanck(
        well, lambda x: 0.5 + 0.2 * jnp.tanh(x[0]) + 0.1 * jnp.cos(x[1])
    )
    answer = reported(
        fp.evolve(equation, bump, TIMES, grid=SMALL_PLANE, scheme=VOLUMES, tol=FINE),
        "number: ",
    )
    equation = fp.FokkerPlanck(well, lambda x: jnp.stack([0.5 + 0.1 * x[0] ** 2, 0.7]))
    return answer | reported(
        fp.evolve(equation, bump, TIMES, grid=SMALL_PLANE, scheme=VOLUMES, tol=FINE),
        "per axis: ",
    )


# a spectral wave is contracted to fewer functions, which leave out 1e-10
@problem(tol=3e-10)
def a_diffusion_per_axis() -> Answer:
    apart = fp.FokkerPlanck(
        fp.Harmonic(jnp.diag(jnp.asarray([1.5, 1.0]))), jnp.asarray([1.0, 0.6])
    )
    coupled = fp.FokkerPlanck(
        fp.Harmonic(jnp.asarray([[1.5, 0.4], [0.4, 1.0]])), jnp.asarray([1.0, 0.6])
    )
    start = fp.Gaussian([0.5, -0.5], 0.4)
    answer = {}
    for name, equation in (("apart", apart), ("coupled", coupled)):
        answer |= reported(
            fp.evolve(equation, start, TIMES, grid=SWIRL_PLANE, tol=1e-10), f"{name}: "
        )
    return answer

"""Problems that do not move: every scheme by every method on every kind of ends,
forces, several axes, waves.
"""

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
    IN_A_PLANE,
    LINE,
    ON_A_LINE,
    ON_A_RING,
    PLANE,
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

# ------------------------------------------------------------------------------------------------
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


# ------------------------------------------------------------------------------------------------
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


# ------------------------------------------------------------------------------------------------
# more axes
section("evolve, still, several axes")


@problem()
def every_method_in_the_plane() -> Answer:
    return by_methods(WELL, SMALL_PLANE, bump, VOLUMES, IN_A_PLANE)


@problem()
def every_method_in_the_plane_under_a_force() -> Answer:
    methods = {
        name: method for name, method in IN_A_PLANE.items() if name != "Chebyshev"
    }
    return by_methods(FORCED, SMALL_PLANE, bump, VOLUMES, methods)


# contracted to the lowest functions of its axes, which leave out some of tol = 1e-8
@problem(tol=3e-8)
def a_contracted_wave_in_the_plane() -> Answer:
    observables = {"crossed": lambda x: x[0] > 0, "mean": lambda x: x}
    return reported(
        fp.evolve(
            WELL,
            fp.Gaussian([-0.9, 0.0], 0.1),
            TIMES,
            grid=PLANE,
            observables=observables,
        )
    )


@problem()
def a_whole_wave_in_the_plane() -> Answer:
    methods = {
        "all functions": fp.Chebyshev(()),
        "fewer functions": fp.Chebyshev((20, 18)),
        "Dense": fp.Dense(),
    }
    parabola = fp.FokkerPlanck(fp.Harmonic(jnp.asarray([[1.5, 0.4], [0.4, 1.0]])))
    return by_methods(
        parabola, SWIRL_PLANE, fp.Gaussian([0.5, -0.5], 0.7), SPECTRAL, methods
    )


@problem()
def a_ring_across_a_sink() -> Answer:
    grid = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 12), fp.Absorbing(-1.5, 1.5, 10))
    equation = fp.FokkerPlanck(
        lambda x: jnp.cos(x[0]) + 0.5 * x[1] ** 2 + 0.2 * x[1] * jnp.sin(x[0]), 0.7
    )
    start = lambda x: jnp.exp(jnp.cos(x[0])) * jnp.exp(-(x[1] ** 2))
    methods = {
        name: IN_A_PLANE[name] for name in ("Chebyshev", "Splitting", "Uniformization")
    }
    answer = by_methods(equation, grid, start, VOLUMES, methods)
    return answer | by_methods(
        equation, grid, start, SPECTRAL, {"Spectral, Chebyshev": fp.Chebyshev(())}
    )


@problem()
def walls_across_a_ring() -> Answer:
    grid = fp.Grid(fp.Reflecting(-1.5, 1.5, 12), fp.Periodic(0.0, 2 * np.pi, 11))
    equation = fp.FokkerPlanck(
        lambda x: (x[0] ** 2 - 1) ** 2 + jnp.cos(x[1]) * (1 + 0.2 * x[0]), 0.7
    )
    start = lambda x: jnp.exp(jnp.cos(x[1])) * jnp.exp(-(x[0] ** 2))
    answer = reported(
        fp.evolve(equation, start, TIMES, grid=grid, tol=FINE), "chosen: "
    )
    pushed = fp.FokkerPlanck(
        lambda x: (x[0] ** 2 - 1) ** 2,
        0.7,
        lambda x: jnp.stack([0.0, 1.3 + 0.2 * x[0]]),
    )
    return answer | reported(
        fp.evolve(pushed, start, TIMES, grid=grid, tol=FINE), "pushed: "
    )


@problem()
def polynomials_across_a_line() -> Answer:
    grid = fp.Grid(fp.Legendre(-1.5, 1.5, 12), fp.Line(-3.0, 3.0, 20))
    equation = fp.FokkerPlanck(lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2, 0.7)
    answer = reported(
        fp.evolve(equation, bump, TIMES, grid=grid, scheme=VOLUMES, tol=FINE),
        "volumes: ",
    )
    return answer | reported(
        fp.evolve(equation, bump, TIMES, grid=grid, scheme=SPECTRAL, tol=FINE),
        "spectral: ",
    )


@problem(loose={"spectral: ": 3e-8})  # contracted, tol = 1e-8
def three_dimensions() -> Answer:
    matrix = jnp.asarray([[2.0, 0.6, 0.0], [0.6, 1.5, 0.3], [0.0, 0.3, 1.2]])
    equation = fp.FokkerPlanck(fp.Harmonic(matrix), 1.0)
    grid = fp.Grid(*[fp.Line(-5.0, 5.0, 12)] * 3)
    start = fp.Gaussian([0.5, -0.4, 0.2], 0.5)
    answer = reported(
        fp.evolve(equation, start, TIMES, grid=grid, scheme=VOLUMES, tol=FINE),
        "volumes: ",
    )
    return answer | reported(
        fp.evolve(equation, start, TIMES, grid=grid, scheme=SPECTRAL), "spectral: "
    )


@problem()
def three_kinds_of_ends_at_once() -> Answer:
    grid = fp.Grid(
        fp.Reflecting(-1.5, 1.5, 6),
        fp.Periodic(0.0, 2 * np.pi, 5),
        fp.Legendre(-1.0, 1.0, 4),
    )
    equation = fp.FokkerPlanck(
        lambda x: (x[0] ** 2 - 1) ** 2 + jnp.cos(x[1]) + x[2] ** 2, 0.7
    )
    start = lambda x: jnp.exp(jnp.cos(x[1]) - x[0] ** 2)
    methods = {
        "Chebyshev": fp.Chebyshev(),
        "Implicit": fp.Implicit(2, 8),
        "Dense": fp.Dense(),
    }
    return by_methods(equation, grid, start, VOLUMES, methods)


# ------------------------------------------------------------------------------------------------
# starts too wide
section("evolve, starts too wide for a wave")


@problem()
def a_wide_start_in_the_density_picture() -> Answer:
    steep = fp.FokkerPlanck(lambda x: 6 * x[0] ** 2, 0.5)
    grid = fp.Grid(fp.Line(-6.0, 6.0, 64))
    answer = reported(
        fp.evolve(steep, fp.Gaussian(1.0, 0.8), TIMES, grid=grid, tol=1e-11), "chosen: "
    )
    start = fp.Gaussian(1.0, 0.8)
    return answer | reported(
        fp.evolve(steep, start, TIMES, grid=grid, scheme=VOLUMES, tol=FINE), "volumes: "
    )


@problem(tol=3e-4)  # the wave is capped in its tails by as much as tol = 1e-4 allows
def a_wave_that_is_capped() -> Answer:
    wells = fp.FokkerPlanck(fp.DoubleWell(2.0, tilt=0.5), 0.5)
    grid = fp.Grid(fp.Line(-2.1, 2.8, 64))
    run = lambda times: fp.evolve(
        wells, fp.Gaussian(1.0, 0.05), times, grid=grid, scheme=SPECTRAL, tol=1e-4
    )
    return reported(run([1e-2, 0.2, 2.0]), "later: ") | reported(
        run([1e-4, 1e-3, 1e-2, 0.2, 2.0]), "sooner: "
    )


@problem()
def a_wide_start_in_the_plane() -> Answer:
    steep = fp.FokkerPlanck(lambda x: 4 * x[0] ** 2 + 3 * x[1] ** 2 + x[0] * x[1], 0.5)
    grid = fp.Grid(fp.Line(-4.0, 4.0, 20), fp.Line(-4.0, 4.0, 20))
    return reported(
        fp.evolve(steep, fp.Gaussian([0.5, 0.0], 0.7), TIMES, grid=grid, tol=1e-11)
    )

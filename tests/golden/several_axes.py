"""Static problems in more dimensions, and starts that are too wide for a wave."""

import jax.numpy as jnp
import numpy as np

import fpsolve as fp
from golden.common import (
    FINE,
    FORCED,
    IN_A_PLANE,
    PLANE,
    SMALL_PLANE,
    SPECTRAL,
    SWIRL_PLANE,
    TIMES,
    VOLUMES,
    WELL,
    Answer,
    bump,
    by_methods,
    problem,
    reported,
    section,
)

# --------------------------------------------------------------------------------------
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


# --------------------------------------------------------------------------------------
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

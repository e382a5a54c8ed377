"""Levels, rates, both sides of the correspondence, fitted grids."""

import jax
import jax.numpy as jnp
import numpy as np

import fpsolve as fp
from golden.common import (
    ANGLES,
    FORCED_ANGLES,
    LEVELS,
    LINE,
    PLANE,
    POLYNOMIALS,
    RING,
    ROOTS,
    SINK,
    SMALL_PLANE,
    SPECTRAL,
    TIMES,
    VOLUMES,
    WALLS,
    WELL,
    WIDE,
    Answer,
    axes_of,
    bump,
    modes_of,
    problem,
    round_bump,
    section,
    turn,
)
from golden.moving import rocked, trap

# --------------------------------------------------------------------------------------
# spectra
section("spectrum")


# An observable psi_1 / psi_0 amplifies rounding by 1e5 where psi_0 is small.
@problem(quick=True, tol=3e-9)
def levels_of_a_double_well() -> Answer:
    answer = modes_of(fp.spectrum(WELL, LINE, 5), "chosen: ")
    answer |= modes_of(fp.spectrum(WELL, LINE, 5, scheme=VOLUMES), "volumes: ")
    modes = fp.spectrum(WELL, WIDE, 4)
    answer |= {
        "gap": modes.gap,
        "poincare": modes.poincare,
        "timescales": modes.timescales,
    }
    return answer | {
        "stationary": modes.stationary,
        "slow observable squared": modes.observables[1] ** 2,
    }


# iterated to 1e-10; a mode is as good as the root of that
@problem(tol=LEVELS, loose={"vectors squared": 1e-5})
def levels_by_iteration_in_the_plane() -> Answer:
    grid = fp.Grid(fp.Line(-2.6, 2.6, 40), fp.Line(-3.2, 3.2, 36))
    return modes_of(fp.spectrum(WELL, grid, 4))


# The levels of the hat stall above the residual requested, 3e-5 from the dense ones;
# their errors say 1e-3.
@problem(tol=3e-6)
def levels_by_multigrid_in_the_plane() -> Answer:
    grid = fp.Grid(fp.Line(-2.6, 2.6, 40), fp.Line(-3.2, 3.2, 36))
    answer = modes_of(fp.spectrum(WELL, grid, 4, scheme=VOLUMES), vectors=False)
    hat = fp.FokkerPlanck(fp.MexicanHat(), 0.5)
    return answer | modes_of(
        fp.spectrum(hat, grid, 5, scheme=ROOTS), "hat: ", vectors=False
    )


@problem(tol=LEVELS)  # iterated to 1e-10
def levels_in_three_dimensions() -> Answer:
    grid = fp.Grid(*[fp.Line(-2.6, 2.6, 12)] * 3)
    return modes_of(
        fp.spectrum(fp.FokkerPlanck(fp.MexicanHat(), 0.5), grid, 4, tol=1e-10),
        vectors=False,
    )


@problem()
def levels_between_walls_and_on_rings() -> Answer:
    answer: Answer = {}
    for grid in (WALLS, SINK, POLYNOMIALS):
        answer |= modes_of(
            fp.spectrum(WELL, grid, 5), f"{type(grid.axes[0]).__name__}: "
        )
    answer |= modes_of(fp.spectrum(ANGLES, RING, 5), "Periodic: ", vectors=False)
    free = fp.spectrum(fp.FokkerPlanck(diffusion=0.7), RING, 7)
    return answer | modes_of(free, "free ring: ", vectors=False)


@problem(tol=1e-10)  # a gap of 1e-12 is extrapolated to no spacing, with ten digits
def a_tiny_gap_over_a_barrier() -> Answer:
    grid = fp.Grid(fp.Line(-2.0, 2.0, 64))
    steep = fp.FokkerPlanck(fp.DoubleWell(1.0), 0.035)
    modes = fp.spectrum(steep, grid, 3, scheme=VOLUMES)
    return {
        "gap": fp.spectral_gap(steep, grid),
        "volumes gap": modes.values[1],
        "volumes levels": modes.values,
        "smaller gap": fp.spectral_gap(
            fp.FokkerPlanck(fp.DoubleWell(1.0), 0.0145), grid
        ),
    }


# the gap as above; in the plane the tiny level is one of singular values
@problem(tol=1e-10, loose={"plane": 3e-6})
def a_tiny_gap_between_walls_and_in_the_plane() -> Answer:
    steep = fp.FokkerPlanck(
        lambda x: 3 * (x[0] ** 2 - 1) ** 2 + jnp.sum(x[1:] ** 2), 0.2
    )
    grid = fp.Grid(fp.Line(-2.0, 2.0, 24), fp.Line(-2.0, 2.0, 20))
    walls = fp.Grid(fp.Reflecting(-1.8, 1.8, 48))
    return {
        "walls": fp.spectral_gap(steep, walls),
        "plane": fp.spectral_gap(steep, grid),
    }


@problem(quick=True)
def complex_rates_of_a_driven_ring() -> Answer:
    modes = fp.spectrum(FORCED_ANGLES, RING, 5)
    volumes = fp.spectrum(FORCED_ANGLES, RING, 5, scheme=VOLUMES)
    answer = modes_of(modes, "chosen: ") | modes_of(volumes, "volumes: ")
    return answer | {
        "gap": modes.gap,
        "timescales": modes.timescales,
        "stationary": modes.stationary,
    }


@problem(tol=LEVELS)  # a Krylov space to 1e-10
def complex_rates_in_the_plane() -> Answer:
    equation = fp.FokkerPlanck(lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2, 1.0, turn)
    small = fp.Grid(fp.Line(-2.2, 2.2, 18), fp.Line(-2.2, 2.2, 18))
    large = fp.Grid(fp.Line(-2.2, 2.2, 36), fp.Line(-2.2, 2.2, 34))
    answer = modes_of(
        fp.spectrum(equation, small, 4, scheme=VOLUMES), "whole: ", vectors=False
    )
    return answer | modes_of(
        fp.spectrum(equation, large, 4, scheme=VOLUMES), "iterated: ", vectors=False
    )


# the box comes from a search; the levels are right to tol = 1e-8
@problem(quick=True, tol=1e-8)
def levels_on_a_fitted_grid() -> Answer:
    modes = fp.spectrum(fp.FokkerPlanck(fp.DoubleWell(1.0), 0.2), k=4)
    return modes_of(modes, vectors=False) | axes_of(modes.grid)


# a descent to 1e-10; levels by iteration
@problem(loose={"ground": 3e-9, "plane": 3e-9})
def levels_of_waves() -> Answer:
    quartic = fp.Schrodinger(lambda x: jnp.sum(x**4), 1.0)
    answer = modes_of(fp.spectrum(quartic, fp.Grid(fp.Line(-5.0, 5.0, 64)), 4))
    tilted = fp.Schrodinger(
        lambda x: 3 * (x[0] ** 2 - 1) ** 2 + 2 * x[1] ** 2 + x[0] * x[1] / 2
    )
    grid = fp.Grid(fp.Line(-2.8, 2.8, 32), fp.Line(-3.6, 3.6, 24))
    answer |= modes_of(fp.spectrum(tilted, grid, 1), "ground: ", vectors=False)
    return answer | modes_of(fp.spectrum(tilted, PLANE, 3), "plane: ", vectors=False)


@problem()
def levels_of_a_score() -> Answer:
    curl = lambda x: -x + 0.7 * jnp.stack([-x[1], x[0]])
    grid = fp.Grid(fp.Line(-6.0, 6.0, 24), fp.Line(-6.0, 6.0, 24))
    answer = modes_of(
        fp.spectrum(fp.ScoreHamiltonian(curl), grid, 1), "curl: ", vectors=False
    )
    return answer | modes_of(
        fp.spectrum(fp.ScoreHamiltonian(lambda x: -(x**3)), WIDE, 4), "line: "
    )


@problem(loose={"space errors": 1e-4})  # a difference of two nearly equal levels
def errors_in_space_and_a_frozen_time() -> Answer:
    refined = fp.spectrum(WELL, LINE, 4, scheme=VOLUMES, refine=True)
    frozen = fp.spectrum(fp.FokkerPlanck(rocked, 0.7), LINE, 4, t=0.3)
    return {"levels": refined.values, "space errors": refined.space_errors} | modes_of(
        frozen, "frozen: "
    )


# a derivative of a Rayleigh quotient feels the mode, which is good to 1e-11
@problem(tol=1e-10)
def grad_of_the_gap() -> Answer:
    grid = fp.Grid(fp.Line(-2.6, 2.6, 64))
    gap = lambda barrier: fp.spectral_gap(fp.FokkerPlanck(fp.DoubleWell(barrier)), grid)
    value, slope = jax.value_and_grad(gap)(3.0)
    many = jax.vmap(gap)(jnp.asarray([2.0, 3.0]))
    return {"value": value, "slope": slope, "many": many}


@problem(tol=1e-9)  # as above, at a gap of 1e-12 from the kernel of the partner
def grad_of_a_tiny_gap() -> Answer:
    grid = fp.Grid(fp.Line(-2.0, 2.0, 64))
    log_gap = lambda d: jnp.log(
        fp.spectral_gap(fp.FokkerPlanck(fp.DoubleWell(1.0), d), grid)
    )
    return {"slope": jax.grad(log_gap)(0.035)}


# --------------------------------------------------------------------------------------
# both sides
section("correspondence")


def sides(both: fp.Correspondence, prefix: str = "") -> Answer:
    """Both sides, their levels and whether they agree."""
    answer = {
        "density": both.density,
        "wave": both.wave,
        "levels": both.spectra[1],
        "others": both.spectra[0],
    }
    return {prefix + name: value for name, value in answer.items()} | {
        f"{prefix}holds": str(both.holds)
    }


@problem()
def both_sides_on_a_line() -> Answer:
    answer = sides(fp.correspondence(WELL, bump, TIMES, grid=LINE), "volumes: ")
    return answer | sides(
        fp.correspondence(WELL, bump, TIMES, grid=LINE, scheme=SPECTRAL), "basis: "
    )


# levels may be iterated
@problem(tol=1e-10, loose={"levels": LEVELS, "others": LEVELS})
def both_sides_in_the_plane() -> Answer:
    return sides(fp.correspondence(WELL, bump, TIMES, grid=SMALL_PLANE))


@problem(tol=3e-8)  # both take the same adaptive steps
def both_sides_in_motion() -> Answer:
    return sides(
        fp.correspondence(fp.FokkerPlanck(rocked, 0.7), bump, [0.2, 0.5], grid=LINE)
    )


# --------------------------------------------------------------------------------------
# fits
section("fit_grid")


@problem(quick=True, tol=1e-9)  # bounds carry the rounding of a search
def fits_on_one_axis() -> Answer:
    narrow = fp.FokkerPlanck(fp.DoubleWell(2.0))
    answer = axes_of(
        fp.fit_grid(narrow, fp.Gaussian(-1.0, 0.1), tol=1e-6, times=[0.5, 1.0]),
        "density: ",
    )
    answer |= axes_of(fp.fit_grid(narrow, tol=1e-8), "levels: ")
    walls = fp.Grid(fp.Legendre(-1.0, 1.0, 8))
    slope = fp.FokkerPlanck(lambda x: x[0])
    answer |= axes_of(
        fp.fit_grid(slope, fp.Gaussian(0.0, 0.04), tol=1e-6, times=[0.5], like=walls),
        "walls: ",
    )
    ring = fp.Grid(fp.Periodic(0.0, 2 * np.pi, 8))
    return answer | axes_of(
        fp.fit_grid(ANGLES, round_bump, tol=1e-6, times=[0.3], like=ring), "ring: "
    )


@problem(tol=1e-9)  # as above
def fits_on_two_axes_and_for_what_moves() -> Answer:
    answer = axes_of(
        fp.fit_grid(WELL, fp.Gaussian([-0.9, 0.0], 0.1), tol=1e-6, times=[0.5]),
        "plane: ",
    )
    moving = fp.FokkerPlanck(trap)
    answer |= axes_of(
        fp.fit_grid(moving, fp.Gaussian(0.0, 1.0), tol=1e-6, times=[0.5, 1.5]),
        "moving: ",
    )
    sink = fp.Grid(fp.Absorbing(-1.0, 1.0, 8))
    slope = fp.FokkerPlanck(lambda x: x[0])
    smooth = lambda x: jnp.cos(jnp.pi * x[0] / 2) ** 3
    return answer | axes_of(
        fp.fit_grid(slope, smooth, tol=1e-5, times=[0.1], like=sink), "sink: "
    )

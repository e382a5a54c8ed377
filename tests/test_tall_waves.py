"""A start whose wave p / sqrt(pi) towers in tails without mass: whatever picture is taken, the density is right as soon
as it is asked for, in a wide box and in one that ends where the wave is tall."""

import jax.numpy as jnp
import pytest

import fpsolve as fp

WELLS = fp.FokkerPlanck(fp.DoubleWell(2.0, tilt=0.5), 0.5)
START = fp.Gaussian(1.0, 0.05)
TIMES = [1e-4, 1e-3, 1e-2, 0.2, 2.0]


@pytest.mark.parametrize("first", [0, 2, 3])
@pytest.mark.parametrize("tol", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("beyond", [0.0, 0.3])
def test_a_tall_wave_costs_no_more_than_the_tolerance(beyond: float, tol: float, first: int) -> None:
    grid = fp.Grid(fp.Line(-1.8 - beyond, 2.5 + beyond, 128))
    run = lambda tol: fp.evolve(WELLS, START, TIMES[first:], grid=grid, scheme=fp.Spectral(), tol=tol)
    found, density = run(tol), run(1e-10)
    assert density.stats["picture"] == "density"  # whose wave is too tall for so many digits, and which caps nothing
    error = grid.integrate(jnp.abs(found.values - density.values))
    assert float(jnp.max(error)) <= tol


def test_a_capped_wave_is_taken_where_it_is_resolved() -> None:
    grid = fp.Grid(fp.Line(-2.1, 2.8, 128))
    later = fp.evolve(WELLS, START, TIMES[2:], grid=grid, scheme=fp.Spectral(), tol=1e-4)
    sooner = fp.evolve(WELLS, START, TIMES, grid=grid, scheme=fp.Spectral(), tol=1e-4)
    assert (later.stats["picture"], sooner.stats["picture"]) == ("wave", "density")

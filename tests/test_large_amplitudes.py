"""A start whose wave p / sqrt(pi) towers in tails without mass: whatever picture is
taken, the density is right as soon as it is asked for, in a wide box and in one that
ends where the wave is tall.
"""

import jax.numpy as jnp
import pytest

import fpsolve as fp

WELLS = fp.FokkerPlanck(fp.DoubleWell(2.0, tilt=0.5), 0.5)
START = fp.Gaussian(1.0, 0.05)
TIMES = [1e-4, 1e-3, 1e-2, 0.2, 2.0]


@pytest.mark.parametrize("first", [0, 2, 3])
@pytest.mark.parametrize("tol", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("beyond", [0.0, 0.3])
def test_a_tall_wave_costs_no_more_than_the_tolerance(
    beyond: float, tol: float, first: int
) -> None:
    grid = fp.Grid(fp.Line(-1.8 - beyond, 2.5 + beyond, 128))
    run = lambda tol: fp.evolve(
        WELLS, START, TIMES[first:], grid=grid, scheme=fp.Spectral(), tol=tol
    )
    found, density = run(tol), run(1e-10)
    # whose wave is too tall for so many digits, and which caps nothing
    assert density.stats["picture"] == "density"
    error = grid.integrate(jnp.abs(found.values - density.values))
    assert float(jnp.max(error)) <= tol


def test_a_capped_wave_is_taken_where_it_is_resolved() -> None:
    grid = fp.Grid(fp.Line(-2.1, 2.8, 128))
    later = fp.evolve(
        WELLS, START, TIMES[2:], grid=grid, scheme=fp.Spectral(), tol=1e-4
    )
    sooner = fp.evolve(WELLS, START, TIMES, grid=grid, scheme=fp.Spectral(), tol=1e-4)
    assert (later.stats["picture"], sooner.stats["picture"]) == ("wave", "density")


@pytest.mark.parametrize(
    ("scheme", "n", "close"),
    [(fp.Spectral(), 100, 1e-4), (fp.ScharfetterGummel(), 400, 4e-3)],
)
def test_a_well_that_is_turned_too_fast_for_waves(
    scheme: fp.Spectral | fp.ScharfetterGummel, n: int, close: float
) -> None:
    """The wave grows to exp(500) where the Gibbs density falls away from under it; the
    mean moves as its own equation says, d<x> = -<U'> dt.
    """
    total = 0.05
    grid = fp.Grid(fp.Line(-4.5, 2.7, n))
    energy = lambda x, s: (
        2 * (1 - s) * (x[0] + 1) ** 2 + s * (3 * (x[0] ** 2 - 1) ** 2 - x[0] / 2)
    )
    turned = fp.FokkerPlanck(lambda x, t: energy(x, t / total))
    times = jnp.linspace(0, total, 21)
    solution = fp.evolve(turned, turned.gibbs(grid), times, grid=grid, scheme=scheme)
    assert solution.result == "successful"
    assert "grew too large" in solution.stats["method"]
    push = lambda t: grid.sample(lambda x: turned.drift(x, t)[0])
    speeds = jnp.stack(
        [
            grid.integrate(p * push(t))
            for p, t in zip(solution.values, times, strict=True)
        ]
    )
    simpson = (total / 60) * (
        speeds[0]
        + 4 * jnp.sum(speeds[1:-1:2])
        + 2 * jnp.sum(speeds[2:-1:2])
        + speeds[-1]
    )
    moved = grid.integrate((solution.values[-1] - solution.values[0]) * grid.nodes[0])
    assert float(moved) == pytest.approx(float(simpson), rel=close)


def test_a_density_wider_than_its_wave_all_the_way() -> None:
    """The variance v = 1 - 3 t under the stiffness 5 / (2 v): the wave exp(x^2 / 8 v)
    comes to reach the ends.
    """
    grid = fp.Grid(fp.Line(-6.0, 6.0, 128))
    times = [0.13, 0.26]
    stiffening = fp.FokkerPlanck(lambda x, t: 1.25 * x[0] ** 2 / (1 - 3 * t))
    solution = fp.evolve(
        stiffening, fp.Gaussian(0.0, 1.0), times, grid=grid, scheme=fp.Spectral()
    )
    exact = jnp.stack([grid.sample(fp.Gaussian(0.0, 1 - 3 * t)) for t in times])
    assert solution.stats["picture"] == "density"
    assert float(jnp.max(grid.integrate(jnp.abs(solution.values - exact)))) < 1e-8

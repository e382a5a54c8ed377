"""The figures that the library promises, on parameters drawn at random: one seed, one
case.
"""

import jax.numpy as jnp
import numpy as np
import pytest

import exact
import fpsolve as fp
from measure import check_mass, check_order, check_positive, relative_error, solve

SEEDS = [0, 1, 2]


def random_oscillator(seed, d):
    """A coupled oscillator with rates in [0.8, 2], a start of widths and place within
    the box.
    """
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    stiffness = turn @ np.diag(rng.uniform(1.0, 1.6, d)) @ turn.T
    numbers = (
        stiffness,
        np.zeros(d),
        1.0,
        rng.uniform(-0.4, 0.4, d),
        np.diag(rng.uniform(0.5, 0.8, d)),
    )
    return exact.Oscillator(*(jnp.asarray(number) for number in numbers), half=7.0)


def random_walls(seed, as_force):
    rng = np.random.default_rng(seed)
    diffusion = rng.uniform(0.5, 1.5)
    push = rng.uniform(0.5, 3.0) * rng.choice([-1, 1])
    return exact.Walls(
        jnp.asarray(diffusion),
        jnp.asarray(push),
        jnp.asarray(rng.uniform(-0.06, 0.06, 3)),
        1.0,
        as_force,
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_spectral_on_a_rotated_oscillator_in_the_plane(seed):
    system = random_oscillator(seed, 2)
    assert (
        relative_error(
            system, solve(system, 64, 0.4 + 0.2 * seed, scheme=fp.Spectral())
        )
        <= 1e-8
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_spectral_on_a_coupled_oscillator_in_space(seed):
    system = random_oscillator(seed, 3)
    assert relative_error(system, solve(system, 32, 0.4, scheme=fp.Spectral())) <= 1e-8


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("as_force", [False, True], ids=["potential", "force"])
def test_legendre_between_walls_with_a_constant_force(seed, as_force):
    system = random_walls(seed, as_force)
    solution = solve(system, 40, 0.1, fp.Legendre, scheme=fp.Spectral(), tol=1e-10)
    assert relative_error(system, solution) <= 1e-9


def test_finite_volumes_at_order_two():
    system = random_oscillator(3, 2)
    sizes = (36, 46, 58, 74)
    check_order(
        [
            relative_error(system, solve(system, n, 0.4, scheme=fp.ScharfetterGummel()))
            for n in sizes
        ],
        sizes,
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("ends", ["reflecting", "periodic", "both"])
def test_mass_the_gibbs_state_and_the_sign_after_ten_thousand_units_of_time(ends, seed):
    rng = np.random.default_rng(seed)
    wall, ring = fp.Reflecting(0.0, 2 * np.pi, 24), fp.Periodic(0.0, 2 * np.pi, 24)
    grid = {
        "reflecting": fp.Grid(wall),
        "periodic": fp.Grid(ring),
        "both": fp.Grid(wall, ring),
    }[ends]
    equation = fp.FokkerPlanck(fp.Cosine(rng.uniform(0.5, 3.0)), rng.uniform(0.5, 1.5))
    gibbs = equation.gibbs(grid)
    for start in (gibbs, grid.density(fp.Gaussian(rng.uniform(2.0, 4.0), 0.1))):
        solution = fp.evolve(
            equation, start, [0.01, 1.0, 1e4], grid=grid, scheme=fp.ScharfetterGummel()
        )
        check_mass(solution)
        check_positive(solution)
        assert float(grid.integrate(jnp.abs(solution.values[-1] - gibbs))) <= 1e-10

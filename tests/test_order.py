"""Order: every scheme on every exact system it applies to, four refinements or more,
slope within 0.15.
"""

import jax.numpy as jnp
import numpy as np
import pytest

import exact
import fpsolve as fp
from fpsolve.step import Magnus
from fpsolve.step.midpoint import fixed_steps
from measure import check_close, check_order, discretise, relative_error, solve

STILL = exact.still()
MOVING = exact.moving()
WAVES = exact.waves()
SIZES = {1: (36, 54, 80, 120), 2: (32, 42, 54, 70), 3: (12, 16, 20, 26)}
WIDE = {"poeschl-teller": (90, 135, 200, 300)}  # slow tails: a box of 24 widths
WHEN = {name: 0.1 if "walls" in name or "absorbed" in name else 0.3 for name in STILL}
FORCED = (
    "swirl",
    "lognormal (ito)",
    "ring, pushed",
    "walls, force",
    "absorbed, force",
    "ring, pushed x absorbed",
)
COUPLED = "oscillator 2-D, coupled, diffusion per axis"
SCHEMES = ("ScharfetterGummel", "SquareRoot")
CASES = [
    pytest.param(name, scheme, id=f"{name}-{scheme}")
    for name in STILL
    for scheme in SCHEMES
    if scheme == "ScharfetterGummel" or name not in FORCED
]


@pytest.mark.parametrize(("name", "scheme"), CASES)
def test_finite_volumes_converge_at_order_two(name, scheme):
    system = STILL[name]
    sizes = WIDE.get(name, SIZES[len(system.grid(3).axes)])
    errors = [
        relative_error(
            system, solve(system, n, WHEN[name], scheme=getattr(fp, scheme)())
        )
        for n in sizes
    ]
    check_order(errors, sizes)


@pytest.mark.parametrize("scheme", ["ScharfetterGummel", "SquareRoot"])
def test_finite_volumes_on_gauss_lobatto_cells_converge_at_order_two(scheme):
    system = STILL["walls"]
    sizes = (20, 30, 45, 68)
    check_order(
        [
            relative_error(
                system, solve(system, n, 0.1, fp.Legendre, scheme=getattr(fp, scheme)())
            )
            for n in sizes
        ],
        sizes,
    )


def test_a_moving_density_in_finite_volumes_converges_at_order_two():
    system = MOVING["shaken"]
    sizes = (36, 54, 80, 120)
    scheme = fp.ScharfetterGummel()
    check_order(
        [
            relative_error(system, solve(system, n, 0.5, scheme=scheme, tol=1e-6))
            for n in sizes
        ],
        sizes,
    )


@pytest.mark.parametrize("scheme", ["ScharfetterGummel", "SquareRoot"])
@pytest.mark.parametrize(
    "system",
    [STILL["poeschl-teller"], exact.prescribed()],
    ids=["poeschl-teller", "prescribed"],
)
def test_levels_converge_at_order_two(system, scheme):
    sizes = (90, 135, 200, 300)
    exactly = system.spectrum(2)[1]
    levels = [
        fp.spectrum(
            system.equation, system.grid(n), 2, scheme=getattr(fp, scheme)()
        ).values[1]
        for n in sizes
    ]
    check_order([abs(float(level) - exactly) for level in levels], sizes)


# name, nodes an axis, kind of axis (None: the system's own), largest relative L1 error
SPECTRAL = [
    ("oscillator", 64, None, 1e-11),
    ("oscillator", 65, None, 1e-11),
    ("oscillator", 65, fp.Legendre, 1e-10),
    ("oscillator 2-D, rotated", 52, None, 1e-10),
    ("oscillator 2-D, diffusion per axis", 48, None, 1e-11),
    ("oscillator 2-D, coupled, diffusion per axis", 48, None, 1e-10),
    ("swirl", 48, None, 1e-10),
    ("poeschl-teller", 128, None, 1e-10),
    ("lognormal (ito)", 112, None, 1e-10),
    ("ring", 48, None, 1e-11),
    ("ring", 47, None, 1e-11),
    ("ring, pushed", 48, None, 1e-11),
    ("walls", 24, fp.Legendre, 1e-11),
    ("walls, force", 24, fp.Legendre, 1e-11),
    ("absorbed", 24, None, 1e-11),
    ("absorbed, pushed", 24, None, 1e-11),
]


@pytest.mark.parametrize(("name", "n", "kind", "most"), SPECTRAL)
def test_spectral_is_below_its_stated_error(name, n, kind, most):
    solution = solve(STILL[name], n, WHEN[name], kind, scheme=fp.Spectral(), tol=1e-11)
    assert relative_error(STILL[name], solution) <= most


@pytest.mark.parametrize("name", [*MOVING, *WAVES])
def test_spectral_in_time_is_below_its_stated_error(name):
    system = {**MOVING, **WAVES}[name]
    solution = solve(system, 56, 0.8, scheme=fp.Spectral(), tol=1e-10)
    assert relative_error(system, solution) <= 1e-10
    assert float(solution.errors["time"][-1]) <= 1e-10


def test_sines_carry_a_force_between_absorbing_walls_at_order_two_only():
    """A limit, mathematical: with a force p'' does not vanish at the wall, and a sine
    series feels it.
    """
    system = STILL["absorbed, force"]
    sizes = (24, 36, 54, 80)
    check_order(
        [
            relative_error(system, solve(system, n, 0.1, scheme=fp.Spectral()))
            for n in sizes
        ],
        sizes,
    )


LEVELS = [
    ("oscillator", STILL["oscillator"], 64, None, 5, 1e-10),
    ("oscillator 2-D, rotated", STILL["oscillator 2-D, rotated"], 31, None, 4, 1e-9),
    ("oscillator 3-D, coupled", STILL["oscillator 3-D, coupled"], 20, None, 3, 1e-8),
    ("poeschl-teller", STILL["poeschl-teller"], 128, None, 2, 1e-10),
    ("prescribed", exact.prescribed(), 200, None, 2, 1e-10),
    ("ring", STILL["ring"], 47, None, 7, 1e-10),
    ("walls", STILL["walls"], 24, fp.Legendre, 5, 1e-10),
    ("absorbed, pushed", STILL["absorbed, pushed"], 24, None, 5, 1e-10),
    ("wave", WAVES["wave, imaginary time"], 64, None, 5, 1e-10),
]


@pytest.mark.parametrize(
    ("name", "system", "n", "kind", "k", "slack"),
    LEVELS,
    ids=[row[0] for row in LEVELS],
)
def test_spectral_levels_are_exact(name, system, n, kind, k, slack):
    grid = system.grid(n) if kind is None else system.grid(n, kind)
    modes = fp.spectrum(system.equation, grid, k, scheme=fp.Spectral())
    check_close(modes.values, system.spectrum(k), slack, f"the levels of {name}")
    assert np.all(np.asarray(modes.error_parts["algebra"]) < max(slack, 1e-9))


@pytest.mark.parametrize("picture", ["wave", "density"])
def test_one_level_of_midpoint_steps_is_of_order_two_in_the_step(picture):
    system = MOVING["shaken"]
    grid = system.grid(48)
    reversible = picture == "wave"
    problem = discretise(
        system.equation, fp.Spectral(), grid, picture, flux=not reversible
    )
    method = Magnus(exponential=fp.Chebyshev() if reversible else fp.Uniformization())
    start, end = jnp.zeros(()), jnp.asarray(0.8)
    state = system.density(grid, 0.0) * jnp.exp(
        -problem.log_sqrt_pi(start, jnp.float64)
    )
    exactly = system.density(grid, 0.8)
    errors = []
    counts = (4, 8, 16, 32)
    for count in counts:
        after = fixed_steps(
            method, problem, state, start, end, jnp.asarray(count)
        ).field
        density = after * jnp.exp(problem.log_sqrt_pi(end, jnp.float64))
        errors.append(float(grid.integrate(jnp.abs(density - exactly))))
    check_order(errors, counts)


def test_extrapolated_steps_reach_each_tolerance_and_say_so():
    system = MOVING["loosened"]
    for tol in (1e-4, 1e-7, 1e-10):
        solution = solve(system, 48, 1.0, scheme=fp.Spectral(), tol=tol)
        assert relative_error(system, solution) <= tol
        assert float(solution.errors["time"][-1]) <= tol

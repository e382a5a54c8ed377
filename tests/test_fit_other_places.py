"""What a fit finds at other places than its nodes: narrow features, second wells and
peaks, drives between periods; bound states below a continuum, levels at zero, rotated
wells, and the same in other units.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from refusals import refused

OU = fp.FokkerPlanck(lambda x: x[0] ** 2 / 2)


def narrow(depth: float, center: float, width: float) -> fp.FokkerPlanck:
    """A harmonic potential with a narrow trap (depth > 0) or barrier (depth < 0)."""
    return fp.FokkerPlanck(
        lambda x: (
            x[0] ** 2 / 2 - depth * jnp.exp(-((x[0] - center) ** 2) / (2 * width**2))
        )
    )


@pytest.mark.parametrize(
    ("depth", "center", "width"),
    [(10.0, 0.7113, 5e-4), (-8.0, 0.3113, 5e-4), (3.0, -1.77, 4e-3)],
)
def test_a_feature_between_the_nodes_is_named(
    depth: float, center: float, width: float
) -> None:
    equation = narrow(depth, center, width)
    message = refused(
        lambda: fp.fit_grid(equation, fp.Gaussian(0.0, 0.5), tol=1e-4, times=[1.0]),
        "potential",
        "width",
    )
    place = float(message.split("at x = ")[1].split(",")[0])
    assert abs(place - center) < 3 * width
    refused(
        lambda: fp.fit_grid(equation, tol=1e-4),
        "potential",
        "feature",
        "fp.ScharfetterGummel()",
    )


def test_the_cure_for_a_narrow_trap_is_right() -> None:
    """The stationary mass inside the trap, by quadrature."""
    depth, center, width = 8.0, 0.7113, 4e-3
    equation = narrow(depth, center, width)
    message = refused(
        lambda: fp.fit_grid(equation, fp.Gaussian(0.0, 0.5), tol=1e-4, times=[1.0]),
        "potential",
    )
    call = message.split("Give grid=")[1].split(" and scheme=")[0]
    grid = eval(call, {"fp": fp})
    within = lambda x: jnp.where(jnp.abs(x[0] - center) < 6 * width, 1.0, 0.0)
    solution = fp.evolve(
        equation,
        fp.Gaussian(0.0, 0.5),
        [40.0],
        grid=grid,
        scheme=fp.ScharfetterGummel(),
        observables={"in": within},
    )
    x = np.linspace(-9, 9, 2_000_001)
    weight = np.exp(-(x**2) / 2 + depth * np.exp(-((x - center) ** 2) / (2 * width**2)))
    truth = np.sum(weight[np.abs(x - center) < 6 * width]) / np.sum(weight)
    np.testing.assert_allclose(float(solution.observables["in"][-1]), truth, rtol=5e-3)


def test_a_narrow_second_peak_of_the_start_is_named() -> None:
    def start(x: Any) -> Any:
        wide = 0.995 * jnp.exp(-(x[0] ** 2) / 0.2) / jnp.sqrt(0.2 * jnp.pi)
        return wide + 0.005 * jnp.exp(-((x[0] - 1.5113) ** 2) / 2e-6) / jnp.sqrt(
            2e-6 * jnp.pi
        )

    refused(
        lambda: fp.fit_grid(OU, start, tol=1e-4, times=[0.05]),
        "initial",
        "feature",
        "x = 1.511",
    )


def test_a_second_peak_far_away_is_in_the_box() -> None:
    def start(x: Any) -> Any:
        near = 0.995 * jnp.exp(-(x[0] ** 2) / 0.2) / jnp.sqrt(0.2 * jnp.pi)
        return near + 0.005 * jnp.exp(-((x[0] - 8.5) ** 2) / 0.1) / jnp.sqrt(
            0.1 * jnp.pi
        )

    grid = fp.fit_grid(OU, start, tol=1e-3, times=[0.5])
    assert grid.axes[0].upper > 8.5


@pytest.mark.parametrize("barrier", [15.0, 12.0])
def test_both_wells_are_in_the_box(barrier: float) -> None:
    grid = fp.fit_grid(
        fp.Schrodinger(lambda x: x[0] ** 4 - barrier * x[0] ** 2, 1.0), tol=1e-6
    )
    well = np.sqrt(barrier / 2)
    assert grid.axes[0].lower < -well and grid.axes[0].upper > well


def test_a_drive_is_looked_at_between_its_periods() -> None:
    """m' = 3 sin(2 pi t) - m: the amplitude of the mean is
    3 / sqrt(1 + 4 pi^2) = 0.4716.
    """
    equation = fp.FokkerPlanck(
        lambda x, t: (x[0] - 3 * jnp.sin(2 * jnp.pi * t)) ** 2 / 2
    )
    grid = fp.fit_grid(equation, fp.Gaussian(0.0, 1.0), tol=1e-4, times=[32.0])
    # A normal density of variance 1 about 0.47 falls to 1e-4 of its peak at
    # 0.47 + sqrt(2 log 1e4) = 4.76.
    assert grid.axes[0].upper > 4.76 and grid.axes[0].lower < -4.76


def test_levels_below_a_continuum() -> None:
    """Morse: E_n = sqrt(2 A) (n + 1/2) - (n + 1/2)^2 / 2, four of them for A = 10."""
    found = fp.spectrum(
        fp.Schrodinger(lambda x: 10 * (1 - jnp.exp(-x[0])) ** 2), None, 4, tol=1e-6
    )
    n = np.arange(4) + 0.5
    np.testing.assert_allclose(found.values, np.sqrt(20) * n - n**2 / 2, rtol=1e-6)


def test_a_level_just_below_a_continuum() -> None:
    """-D l (l + 1) sech^2(x / w) / w^2 has the levels -D (l - n)^2 / w^2: for l = 1.2
    the second mode is ten times as wide as the well.
    """
    depth, width, diffusion = 1.2, 0.75, 0.14
    height = diffusion * depth * (depth + 1) / width**2
    found = fp.spectrum(
        fp.Schrodinger(lambda x: -height / jnp.cosh(x[0] / width) ** 2, diffusion),
        None,
        2,
        tol=1e-6,
    )
    right = -diffusion * (depth - np.arange(2)) ** 2 / width**2
    np.testing.assert_allclose(found.values, right, atol=1e-7)
    assert np.all(
        np.abs(np.asarray(found.values) - right) <= 3 * np.asarray(found.errors)
    )


def test_a_smooth_well_in_a_wide_box_is_no_narrow_feature() -> None:
    """A shallow well has one bound state, whose mode is wide."""
    well = fp.Schrodinger(lambda x: -jnp.exp(-(x[0] ** 2)) / 2, 1.0)
    found = fp.spectrum(well, None, 1, tol=1e-8)
    # By shooting from -12 to 0 with scipy's solve_ivp (RK45, rtol 1e-12) and brentq.
    assert abs(float(found.values[0]) + 0.11956608809029502) < 1e-9


def test_a_barrier_has_no_bound_state() -> None:
    refused(
        lambda: fp.spectrum(fp.Schrodinger(lambda x: 1 / jnp.cosh(x[0]) ** 2), None, 1),
        "no levels lie",
        "starts at 0",
    )


@pytest.mark.parametrize("width", [1.0, 0.02])
def test_what_lies_between_the_nodes_is_seen_by_neither_interpolation(
    width: float,
) -> None:
    """A bump that the nodes resolve is no feature; one between two nodes is one."""
    from fpsolve.fit.interpolation import hermite, hermite_of_four

    nodes = np.arange(-5, 5, 0.2)
    places = np.linspace(-4, 4, 4001)
    x = nodes - 0.1
    bump = np.exp(-((x / width) ** 2))
    curve = np.stack(
        [bump, -2 * x / width**2 * bump, (4 * x**2 / width**4 - 2 / width**2) * bump]
    )
    right = np.exp(-(((places - 0.1) / width) ** 2))
    errors = [
        np.max(np.abs(seen(nodes, curve, places) - right))
        for seen in (hermite, hermite_of_four)
    ]
    if width == 1.0:
        assert errors[1] < 1e-10 < errors[0] < 1e-6
    else:
        assert min(errors) > 0.9


def test_a_level_at_zero_can_be_fitted() -> None:
    """The even levels of x^6 - 11 x^2 are -8, 0, 8."""
    found = fp.spectrum(
        fp.Schrodinger(lambda x: x[0] ** 6 - 11 * x[0] ** 2, 1.0), None, 5
    )
    np.testing.assert_allclose(np.asarray(found.values)[::2], [-8, 0, 8], atol=1e-6)


@pytest.mark.parametrize("unit", [1e-10, 1e10])
def test_levels_in_other_units(unit: float) -> None:
    equation = fp.Schrodinger(lambda x: (x[0] / unit) ** 2 / 2, 0.5 * unit**2)
    np.testing.assert_allclose(
        fp.spectrum(equation, None, 3, tol=1e-6).values, [0.5, 1.5, 2.5], rtol=1e-6
    )


def test_a_process_in_other_units() -> None:
    """The grid has as many nodes, and the same box in its own units."""
    grids = []
    for unit in (1.0, 1e-12, 1e12):
        equation = fp.FokkerPlanck(
            lambda x, s=unit: 3 * ((x[0] / s) ** 2 - 1) ** 2 * s**2, unit**2
        )
        axis = fp.fit_grid(
            equation, fp.Gaussian(-unit, 0.05 * unit**2), tol=1e-4, times=[0.5]
        ).axes[0]
        grids.append((axis.lower / unit, axis.upper / unit, axis.n))
    np.testing.assert_allclose(grids, [grids[0]] * 3, rtol=0.02)


def test_many_levels_in_the_plane() -> None:
    found = fp.spectrum(
        fp.FokkerPlanck(lambda x: (x[0] ** 2 + x[1] ** 2) / 2), None, 15, tol=1e-6
    )
    truth = np.repeat(np.arange(5), np.arange(1, 6))
    np.testing.assert_allclose(found.values, truth, atol=4e-6)


@pytest.mark.parametrize("angle", [np.pi / 4, 0.4])
def test_a_rotated_double_well(angle: float) -> None:
    """U = (a^2 - 1)^2 + b^2 / 2 in axes a, b that are turned: b is an
    Ornstein-Uhlenbeck process of its own.
    """
    turn = np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def energy(x: Any) -> Any:
        a, b = jnp.asarray(turn).T @ x
        return (a**2 - 1) ** 2 + b**2 / 2

    across = jnp.asarray(turn[:, 1])
    solution = fp.evolve(
        fp.FokkerPlanck(energy),
        fp.Gaussian(turn @ np.asarray([-1.0, 0.6]), 0.05),
        [0.1, 1.0],
        tol=1e-4,
        observables={"b": lambda x: across @ x, "bb": lambda x: (across @ x) ** 2},
    )
    decay = np.exp(-np.asarray([0.1, 1.0]))
    np.testing.assert_allclose(solution.observables["b"], 0.6 * decay, atol=3e-4)
    np.testing.assert_allclose(
        solution.observables["bb"], (0.6 * decay) ** 2 + 1 - 0.95 * decay**2, atol=3e-4
    )


def test_places_of_features_are_checked() -> None:
    start = fp.Gaussian(0.0, 0.5)
    fit = lambda features, **options: fp.fit_grid(
        OU, start, tol=1e-3, times=[1.0], features=features, **options
    )
    assert fit([0.3]) == fit(()) == fit([[0.3]])
    refused(lambda: fit([[0.3, 1.0]]), "features", "(m, 1)")
    refused(lambda: fit([np.nan]), "features", "finite")
    walls = fp.Grid(fp.Legendre(-1.0, 1.0, 8))
    refused(lambda: fit([2.0], like=walls), "features", "between -1 and 1")


def test_a_named_place_is_looked_at_closely() -> None:
    """A trap of width 1e-7, which 100,000 places on an axis do not see."""
    equation = narrow(18.0, 0.7113, 1e-7)
    start = fp.Gaussian(0.0, 0.5)
    refused(
        lambda: fp.fit_grid(equation, start, tol=1e-4, times=[1.0], features=[0.7113]),
        "potential",
        "feature",
    )


@pytest.mark.parametrize(("height", "width"), [(-9.0, 0.03), (8.0, 0.004)])
def test_a_feature_in_the_plane_is_named(height: float, width: float) -> None:
    """A narrow trap at a point, and a narrow ridge along a line."""

    def energy(x: Any) -> Any:
        distance = (x[0] - 0.31) ** 2 + ((x[1] + 0.57) ** 2 if height < 0 else 0.0)
        return x @ x / 2 + height * jnp.exp(-distance / (2 * width**2))

    start = fp.Gaussian([0.5, 0.0], 0.5)
    message = refused(
        lambda: fp.fit_grid(fp.FokkerPlanck(energy), start, tol=1e-4, times=[1.0]),
        "potential",
        "feature",
    )
    place = float(message.split("near (")[1].split(",")[0])
    assert abs(place - 0.31) < 3 * width

"""Imaginary time from real-time runs (theorem T25): orders, bounds, errors, and what is
refused.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from refusals import refused

GRID = fp.Grid(fp.Line(-6.0, 6.0, 32))
X = np.asarray(GRID.nodes[0])
OSCILLATOR = fp.Schrodinger(lambda x: x[0] ** 2 / 2)  # E_n = n + 1/2
GROUND = jnp.exp(-(X**2) / 2) / np.pi**0.25
PACKET = jnp.exp(-((X - 0.7) ** 2)) + 0j


def size(field: Any) -> float:
    return float(GRID.integrate(jnp.abs(jnp.asarray(field))))


def slope(sizes: list[float], errors: list[float]) -> float:
    return -float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


def of_ground(found: Any, exact: float) -> float:
    """The relative error of the bridge on the ground state, whose image is `exact`
    times it.
    """
    return size(found.values[0] - exact * GROUND) / size(exact * GROUND)


# What `evolve` itself reaches, the two ends of the rotation and between.


def test_a_free_packet_in_real_time() -> None:
    grid = fp.Grid(fp.Line(-30.0, 30.0, 512))
    x = np.asarray(grid.nodes[0])
    width, momentum, time = 1.0, 1.5, 2.0

    def packet(t: float) -> np.ndarray:
        # i d_t psi = -psi'' / 2: the complex width s^2 + i t.
        a = width**2 + 1j * t
        phase = momentum * x - momentum**2 * t / 2
        return (
            np.sqrt(width / a)
            * np.exp(-((x - momentum * t) ** 2) / (2 * a) + 1j * phase)
            / np.pi**0.25
        )

    found = fp.evolve(
        fp.Schrodinger(lambda x: 0 * x[0]),
        jnp.asarray(packet(0.0)),
        [time],
        grid=grid,
        wick=np.pi / 2,
    )
    assert np.max(np.abs(np.asarray(found.values[0]) - packet(time))) < 1e-7


@pytest.mark.parametrize("wick", [0.3, 1.0, 1.4])
def test_complex_time_on_an_eigenstate(wick: float) -> None:
    found = fp.evolve(OSCILLATOR, GROUND, [1.3], grid=GRID, wick=wick)
    exact = np.exp(-0.5 * 1.3 * np.exp(1j * wick)) * np.asarray(GROUND)
    assert np.max(np.abs(np.asarray(found.values[0]) - exact)) < 1e-8


def test_real_time_is_unitary() -> None:
    found = fp.evolve(OSCILLATOR, PACKET, [0.5, 3.0], grid=GRID, wick=np.pi / 2)
    norms = GRID.integrate(jnp.abs(found.values) ** 2)
    assert np.max(np.abs(norms / GRID.integrate(jnp.abs(PACKET) ** 2) - 1)) < 1e-12


def test_a_negative_angle_is_refused() -> None:
    refused(
        lambda: fp.evolve(OSCILLATOR, GROUND, [1.0], grid=GRID, wick=-0.1),
        "wick",
        "-0.1",
        "between 0",
    )


# The Lorentzian bridge.


@pytest.mark.parametrize("eta_max", [200.0, 800.0])
def test_a_level_of_zero_loses_the_tail_of_the_kernel(eta_max: float) -> None:
    found = fp.wick.lorentzian(
        OSCILLATOR, GROUND, [1.0], grid=GRID, eta_max=eta_max, shift=0.5
    )
    error = of_ground(found, math.exp(-0.5))
    # 3.2e-3 and 8.0e-4 by the theorem.
    assert abs(error / (2 / math.pi * math.atan(1 / eta_max)) - 1) < 1e-2
    assert error <= float(found.bound[0])
    assert error <= 1.1 * float(found.error[0]) < 3 * error


def test_levels_above_zero_have_order_two() -> None:
    # At these ends of the integral its tail is largest.
    etas = [(2 * n + 1) * math.pi for n in (8, 16, 32, 64)]
    found = [
        fp.wick.lorentzian(OSCILLATOR, GROUND, [1.0], grid=GRID, eta_max=eta)
        for eta in etas
    ]
    errors = [of_ground(run, math.exp(-0.5)) for run in found]
    assert abs(slope(etas, errors) - 2) < 0.15
    assert all(
        error <= float(run.bound[0]) for error, run in zip(errors, found, strict=True)
    )


def test_a_negative_level_is_refused_and_would_come_back_with_the_wrong_sign() -> None:
    # E_0 = -0.3: the average returns exp(-0.3) = 0.741, and not exp(0.3) = 1.35.
    lowered = fp.Schrodinger(lambda x: x[0] ** 2 / 2 - 0.8)
    with pytest.raises(fp.NumericalFailure, match=r"negative_level.*shift"):
        fp.wick.lorentzian(lowered, GROUND, [1.0], grid=GRID)
    wrong = fp.wick.lorentzian(lowered, GROUND, [1.0], grid=GRID, throw=False)
    assert wrong.result == "negative_level"
    assert abs(float(wrong.lowest_level) + 0.3) < 1e-8
    assert of_ground(wrong, math.exp(-0.3)) < 1e-2
    assert of_ground(wrong, math.exp(0.3)) > 0.4
    assert float(wrong.error[0]) > 0.4
    # The cure of the message: a shift at the lowest level.
    right = fp.wick.lorentzian(lowered, GROUND, [1.0], grid=GRID, shift=-0.3)
    assert right.result == "successful" and of_ground(right, math.exp(0.3)) < 4e-3


# The warped phase.


@pytest.mark.parametrize(("xi", "order"), [(1.0, 2), (0.0, 1)])
def test_the_cusp_has_order_two_away_from_it(xi: float, order: int) -> None:
    # Half-way between two nodes the error of the modes is largest: xi + E tau is
    # (n + 1/2) spacings, or 1/2.
    sizes = [(2 * n + 1) * math.pi for n in (4, 8, 16, 32)]
    shifts = [0.0 if order == 2 else 0.5 - math.pi / (2 * p) for p in sizes]
    options = {"grid": GRID, "start": "cusp", "xi": xi}
    found = [
        fp.wick.warped_phase(OSCILLATOR, GROUND, [1.0], p_max=p, shift=shift, **options)
        for p, shift in zip(sizes, shifts, strict=True)
    ]
    errors = [of_ground(run, math.exp(-0.5)) for run in found]
    assert abs(slope(sizes, errors) - order) < 0.2, errors
    assert all(
        error <= 2 * float(run.error[0])
        for error, run in zip(errors, found, strict=True)
    )
    assert all(
        error <= float(run.bound[0]) for error, run in zip(errors, found, strict=True)
    )


def test_the_smooth_start_is_exact_to_its_tolerance() -> None:
    found = fp.wick.warped_phase(
        OSCILLATOR, PACKET, [0.3, 1.0], grid=GRID, tol=1e-7, check=False
    )
    assert np.max(np.asarray(found.difference)) < 1e-8
    assert np.all(np.asarray(found.difference) <= np.asarray(found.error))
    # Real times up to p_max tau only: some twenty times as long as imaginary time.
    assert found.stats["real_time"] < 30


def test_the_two_bridges_and_imaginary_time_agree_on_random_wells() -> None:
    generator = np.random.default_rng(3)
    for _ in range(3):
        a, b, c = generator.uniform(0.2, 1.0, 3)
        equation = fp.Schrodinger(
            lambda x, a=a, b=b, c=c: a * x[0] ** 2 + b * jnp.cos(2 * x[0] + c) + 1.5
        )
        start = jnp.exp(-((X - c) ** 2))
        for found in (
            fp.wick.lorentzian(equation, start, [0.4, 0.8], grid=GRID, eta_max=60.0),
            fp.wick.warped_phase(
                equation, start, [0.4, 0.8], grid=GRID, start="cusp", p_max=60.0
            ),
            fp.wick.warped_phase(equation, start, [0.4, 0.8], grid=GRID),
        ):
            assert np.all(np.asarray(found.difference) <= np.asarray(found.error))
            assert np.max(np.asarray(found.error)) < 0.05


def test_by_products_alone_and_in_a_plane() -> None:
    """Without a decomposition of H: each step of the real-time run is a complex
    Chebyshev sum.
    """
    plane = fp.Grid(fp.Line(-5.0, 5.0, 24), fp.Line(-5.0, 5.0, 24))
    coupled = fp.Schrodinger(lambda x: x @ x / 2 + 0.3 * x[0] * x[1])
    start = lambda x: jnp.exp(-jnp.sum((x - 0.5) ** 2))
    found = fp.wick.warped_phase(
        coupled, start, [0.5], grid=plane, method=fp.Chebyshev()
    )
    assert float(found.difference[0]) < 1e-9 and found.stats["operator_calls"] > 1000
    assert float(found.difference[0]) <= float(
        found.errors["average"][0] + found.errors["time"][0]
    )


# Cauchy's mean.


def test_the_mean_over_a_circle_is_the_value_at_its_centre() -> None:
    found = fp.wick.cauchy(OSCILLATOR, jnp.real(PACKET), 1.0, 0.5, grid=GRID, points=32)
    assert found.holds and float(found.difference) < 1e-11
    # Control: of the values at another centre it is not the mean.
    other = fp.wick.cauchy(
        OSCILLATOR, jnp.real(PACKET), 1.01, 0.5, grid=GRID, points=32
    )
    assert abs(float(jnp.real(found.mean)) / float(other.center) - 1) > 1e4 * float(
        found.error
    )


# Transformations, precision, and what is refused.


def test_a_bridge_is_compiled_and_differentiated() -> None:
    def value(k: Any) -> Any:
        equation = fp.Schrodinger(lambda x: k * x[0] ** 2 / 2)
        found = fp.wick.lorentzian(
            equation, GROUND, [0.5], grid=GRID, steps=256, check=False
        )
        return GRID.integrate(found.values[0] * GROUND)

    slope = jax.jit(jax.grad(value))(1.0)
    step = 1e-4
    assert abs(slope - (value(1 + step) - value(1 - step)) / (2 * step)) < 1e-6 * abs(
        slope
    )


def test_a_record_of_a_bridge_is_saved_and_drawn(tmp_path: Any) -> None:
    found = fp.wick.warped_phase(OSCILLATOR, PACKET, [0.3], grid=GRID, check=False)
    found.save(tmp_path / "bridge.npz")
    loaded = fp.load(tmp_path / "bridge.npz")
    assert np.array_equal(loaded["reference"], found.reference)
    assert loaded.header["result"] == "successful"
    assert loaded.plot() is not None
    assert found.to_xarray()["difference"].dims == ("time",)


def test_what_is_no_bridge_is_refused() -> None:
    ask = lambda equation=OSCILLATOR, times=(1.0,), **options: fp.wick.lorentzian(
        equation, GROUND, times, grid=GRID, **options
    )
    refused(lambda: ask(fp.FokkerPlanck(fp.Harmonic())), "equation", "Schrödinger")
    refused(
        lambda: ask(fp.Schrodinger(lambda x, t: x[0] ** 2 + t)), "equation", "static"
    )
    refused(lambda: ask(times=[0.0, 1.0]), "times", "above zero")
    refused(lambda: ask(eta_max=-1.0), "eta_max", "-1.0", "positive")
    refused(lambda: ask(eta_max=1e9), "eta_max", "real times", "smooth")
    refused(lambda: ask(steps=2.5), "steps", "2.5", "integer")
    refused(lambda: ask(shift=math.nan), "shift", "nan", "finite")
    warped = lambda **options: fp.wick.warped_phase(
        OSCILLATOR, GROUND, [1.0], grid=GRID, **options
    )
    refused(lambda: warped(start="sharp"), "start", "'sharp'", "cusp")
    refused(lambda: warped(xi=-1.0), "xi", "-1.0")
    refused(
        lambda: fp.wick.cauchy(OSCILLATOR, GROUND, 1.0, 1.5, grid=GRID),
        "radius",
        "1.5",
        "centre",
    )
    refused(
        lambda: fp.wick.cauchy(OSCILLATOR, GROUND, 1.0, 0.5, grid=GRID, points=9),
        "points",
        "9",
        "4",
    )


def test_too_few_real_times_for_a_tolerance() -> None:
    with pytest.raises(fp.NumericalFailure, match="average_too_short"):
        fp.wick.lorentzian(OSCILLATOR, GROUND, [1.0], grid=GRID, eta_max=20.0, tol=1e-6)

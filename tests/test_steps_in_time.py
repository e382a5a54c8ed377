"""Nothing in time is passed over: pulses, edges, narrow smooth features. Truth against
exact moments.

In the trap (x - c(t))^2 / 2 a Gaussian stays one: m' = c(t) - m, v' = 2 - 2 v.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.step.breakpoints import examine_in_time

GRID = fp.Grid(fp.Line(-6.0, 6.0, 48))
START = fp.Gaussian(0.0, 0.5)


def trap(center: Callable[[Any], Any]) -> fp.FokkerPlanck:
    return fp.FokkerPlanck(lambda x, t: (x[0] - center(t)) ** 2 / 2)


def pulse(t: Any, start: float, width: float, area: float) -> Any:
    return jnp.where((t > start) & (t < start + width), area / width, 0.0)


def moved(times: list[float], *centers: tuple[float, float]) -> jax.Array:
    """The exact densities of a trap whose centre is c from a time on, for all (time,
    c).
    """
    means = []
    for t in times:
        mean, now, center = 0.0, 0.0, 0.0
        for start, after in (*centers, (np.inf, 0.0)):
            until = min(start, t)
            mean = center + (mean - center) * np.exp(-(until - now))
            now = until
            center = after if start <= t else 0.0
            if start > t:
                break
        means.append(mean)
    return jnp.stack(
        [
            GRID.density(fp.Gaussian(m, 1 - 0.5 * np.exp(-2 * t)))
            for m, t in zip(means, times, strict=True)
        ]
    )


def kicked(times: list[float], *pulses: tuple[float, float, float]) -> jax.Array:
    """The same after pulses (start, width, area) of the centre."""
    centers: list[tuple[float, float]] = []
    for start, width, area in pulses:
        # A pulse that begins where the last one ends takes its place.
        if centers and start == centers[-1][0]:
            centers.pop()
        centers += [(start, area / width), (start + width, 0.0)]
    return moved(times, *centers)


def check(
    equation: fp.FokkerPlanck,
    times: list[float],
    truth: jax.Array,
    tol: float = 1e-6,
    **options: Any,
) -> None:
    solution = fp.evolve(equation, START, times, grid=GRID, tol=tol, **options)
    distances = GRID.integrate(jnp.abs(solution.values - truth))
    assert np.all(np.asarray(distances) < 3 * np.asarray(solution.error) + 1e-9)
    assert float(jnp.max(distances)) < tol


PULSES = {
    "one": [(0.3717, 2e-3, 0.7)],
    "shorter": [(0.6131, 3e-4, -0.7)],
    "adjacent": [(0.3, 4e-4, 0.4), (0.3 + 4e-4, 4e-4, -0.7)],
    "two": [(0.2, 1e-3, 0.4), (0.7, 1e-3, -0.6)],
}


@pytest.mark.parametrize("name", PULSES)
def test_no_step_passes_over_a_pulse(name: str) -> None:
    pulses = PULSES[name]
    check(
        trap(lambda t: sum(pulse(t, *p) for p in pulses)), [1.0], kicked([1.0], *pulses)
    )


def test_edges_near_output_times_and_at_them() -> None:
    times = [0.5, 1.0, 1.5]
    for first, second in ((0.5 + 1e-5, 1 - 1e-5), (0.5, 1.0)):
        equation = trap(
            lambda t, a=first, b=second: jnp.where(
                t < a, 0.0, jnp.where(t < b, 1.0, -1.0)
            )
        )
        check(equation, times, moved(times, (first, 1.0), (second, -1.0)))


def test_what_is_narrower_than_the_samples_is_seen_once_it_is_given() -> None:
    narrow = (0.3, 1e-6, 0.3)
    equation = trap(lambda t: pulse(t, *narrow))
    check(equation, [1.0], kicked([1.0], narrow), breakpoints=[0.3, 0.3 + 1e-6])
    shown = str(
        fp.plan(equation, START, [1.0], grid=GRID, breakpoints=[0.3, 0.3 + 1e-6])
    )
    assert "0.3, 0.300001" in shown and "8.5e-05" in shown


def found_in(equation: fp.FokkerPlanck, *times: float) -> tuple[np.ndarray, np.ndarray]:
    features = examine_in_time(equation, GRID, np.asarray(times), 1e-6)
    assert features.complete
    return features.breakpoints, features.stops


def test_every_edge_is_found() -> None:
    bump = lambda x: jnp.exp(-(((x[0] - 1.3) / 0.3) ** 2))
    lit = lambda t: (t > 0.4) & (t < 0.4005)
    blinking = fp.FokkerPlanck(
        lambda x, t: x[0] ** 2 / 2 + jnp.where(lit(t), bump(x), 0.0)
    )
    pushed = fp.FokkerPlanck(
        lambda x: x[0] ** 2 / 2, force=lambda x, t: pulse(t, 0.4, 5e-4, 1.0) + 0 * x
    )
    for equation in (blinking, pushed, trap(lambda t: pulse(t, 0.4, 5e-4, 1.0))):
        assert np.allclose(
            found_in(equation, 1.0)[0], [0.4, 0.4005], rtol=0, atol=1e-12
        )
    square = found_in(
        trap(lambda t: jnp.where(jnp.sin(2 * jnp.pi * t) > 0, 1.0, -1.0)), 20.0
    )[0]
    assert np.allclose(square, np.arange(0.5, 20, 0.5), rtol=0, atol=1e-9)
    kinks = found_in(trap(lambda t: jnp.abs(jnp.sin(2 * jnp.pi * t))), 5.0)[0]
    assert np.allclose(kinks, np.arange(0.5, 5, 0.5), rtol=0, atol=1e-9)


def test_narrow_smooth_features_are_enclosed_by_stops() -> None:
    for widths, shape in (
        ((1e-3, 1e-4, 1e-6), jnp.tanh),
        ((1e-3, 1e-4), lambda s: jnp.exp(-(s**2))),
    ):
        for width in widths:
            edges, stops = found_in(
                trap(lambda t, f=shape, w=width: f((t - 0.37) / w)), 1.0
            )
            assert len(edges) == 0 and np.min(np.abs(stops - 0.37)) < 20 * width
    # A smooth motion needs none, whatever the number of output times.
    assert [len(part) for part in found_in(trap(jnp.sin), 1.0)] == [0, 0]
    assert [
        len(part) for part in found_in(trap(jnp.sin), *np.linspace(0.5, 20, 40))
    ] == [0, 0]
    # The pieces of a periodic motion are no multiples of its period.
    stops = found_in(trap(lambda t: jnp.sin(2 * jnp.pi * t)), 192.0)[1]
    assert np.max(np.diff([0.0, *stops, 192.0])) < 5
    assert np.min(np.abs(np.diff(stops) - 1)) > 1e-3


def test_units_of_time_and_energy_change_no_feature() -> None:
    for time, energy in ((1e-12, 1e-12), (1e12, 1e12), (1e-12, 1e12)):
        equation = fp.FokkerPlanck(
            lambda x, t, s=time, e=energy: (
                e * jnp.where(t < 0.37 * s, 2.0, 4.0) * x[0] ** 2
            )
        )
        assert np.allclose(
            found_in(equation, time)[0], [0.37 * time], rtol=1e-12, atol=0
        )


BAD = {
    "late": [2.0],
    "zero": [0.0],
    "descending": [0.5, 0.3],
    "no number": [np.nan],
    "word": "x",
    "rows": [[0.1]],
}


@pytest.mark.parametrize("name", BAD)
def test_breakpoints_outside_the_run_are_refused_by_name(name: str) -> None:
    for call in (fp.evolve, fp.plan):
        with pytest.raises(ValueError, match="breakpoints ="):
            call(trap(jnp.sin), START, [1.0], grid=GRID, breakpoints=BAD[name])


def test_breakpoints_may_be_traced_and_differentiated() -> None:
    def mean(edge: jax.Array) -> jax.Array:
        equation = fp.FokkerPlanck(
            lambda x, t: jnp.where(t < edge, 2.0, 4.0) * x[0] ** 2 / 2
        )
        start = fp.Gaussian(0.5, 0.4)
        solution = fp.evolve(
            equation,
            start,
            [1.0],
            grid=GRID,
            breakpoints=edge[None],
            method=fp.Magnus(steps=4),
        )
        return GRID.integrate(solution.values[0] * GRID.points[..., 0])

    exact = 0.5 * np.exp(-2 * 0.37 - 4 * 0.63)
    value, slope = jax.jit(jax.value_and_grad(mean))(jnp.asarray(0.37))
    assert abs(value / exact - 1) < 1e-8 and abs(slope / (2 * exact) - 1) < 1e-6


def test_under_a_transformation_a_step_that_misses_a_pulse_has_its_error() -> None:
    """Between the points of the steps, where only the rule at other points meets it."""
    run = jax.jit(
        lambda at: fp.evolve(
            fp.FokkerPlanck(
                lambda x, t: (
                    jnp.where((t > at) & (t < at + 0.004), 2.0, 1.0) * x[0] ** 2 / 2
                )
            ),
            fp.Gaussian(1.0, 0.5),
            [1.0],
            grid=GRID,
            method=fp.Magnus(steps=8),
            throw=False,
        )
    )
    for at in (0.31, 0.37, 0.442, 0.513):
        solution = run(at)
        mean = np.exp(-1 - 0.004)
        before = 1 - 0.5 * np.exp(-2 * at)
        after = 1 / 2 + (before - 1 / 2) * np.exp(-4 * 0.004)
        variance = 1 + (after - 1) * np.exp(-2 * (1 - at - 0.004))
        distance = GRID.integrate(
            jnp.abs(solution.values[0] - GRID.density(fp.Gaussian(mean, variance)))
        )
        assert float(distance) < 3 * float(solution.error[0]) + 1e-9, at

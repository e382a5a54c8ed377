"""Many output times of a moving line, run several at once: against exact moments, and
against a run one by one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp

GRID = fp.Grid(fp.Line(-9.0, 9.0, 80))
START = fp.Gaussian(0.5, 0.4)
TIMES = np.concatenate([[0.0], np.geomspace(0.01, 2.0, 21)])


def trap(center: Callable[[Any], Any]) -> fp.FokkerPlanck:
    return fp.FokkerPlanck(lambda x, t: (x[0] - center(t)) ** 2 / 2)


def exact_density(mean: Any, t: float) -> Any:
    return GRID.density(fp.Gaussian(float(mean), 1 - 0.6 * np.exp(-2 * t)))


def test_dragged_trap_is_exact_at_every_time() -> None:
    solution = fp.evolve(trap(lambda t: 0.7 * t), START, TIMES, grid=GRID, tol=1e-9)
    # In the trap (x - s t)^2 / 2: m' = s t - m, so m = s t - s + (m_0 + s) e^{-t}.
    means = 0.7 * TIMES - 0.7 + 1.2 * np.exp(-TIMES)
    truth = jnp.stack([exact_density(m, t) for m, t in zip(means, TIMES, strict=True)])
    distances = np.asarray(GRID.integrate(jnp.abs(solution.values - truth)))
    assert np.all(distances < 1e-8)
    assert np.all(distances <= 3 * np.asarray(solution.error) + 1e-12)


# A jump is a breakpoint inside an interval; the kink of a power is smooth enough to
# have none, and collocation may give up there.
CENTERS: dict[str, Callable[[Any], Any]] = {
    "smooth": lambda t: jnp.sin(2 * t),
    "jump": lambda t: jnp.where(t > 0.3, 1.0, 0.0),
    "weak kink": lambda t: jnp.maximum(t - 0.71, 0.0) ** 3,
}


@pytest.mark.parametrize("center", CENTERS.values(), ids=CENTERS.keys())
def test_as_one_by_one(center: Callable[[Any], Any], tmp_path: Path) -> None:
    several = fp.evolve(trap(center), START, TIMES, grid=GRID, tol=1e-8, check=False)
    # With a checkpoint the host keeps each state, so that every interval is a run of
    # its own.
    single = fp.evolve(
        trap(center),
        START,
        TIMES,
        grid=GRID,
        tol=1e-8,
        check=False,
        checkpoint=tmp_path / "run",
    )
    difference = np.asarray(GRID.integrate(jnp.abs(several.values - single.values)))
    assert np.all(
        difference <= np.asarray(several.error) + np.asarray(single.error) + 1e-13
    )
    assert np.all(difference < 1e-8)
    assert float(several.stats["operator_calls"]) < 1.5 * float(
        single.stats["operator_calls"]
    )


def test_failing_collocation_goes_on_by_midpoints(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fpsolve.step import several as module

    equation = trap(lambda t: jnp.sin(2 * t))
    truth = fp.evolve(equation, START, TIMES, grid=GRID, tol=1e-9, check=False)
    inner, asked = module._integrate_several, []

    def failing(*arguments: Any, **options: Any) -> Any:
        rows = inner(*arguments, **options)
        asked.append(float(arguments[2][0]))
        # The third interval of the first program has failed; what follows it there is
        # of no use.
        return (
            rows._replace(error=rows.error.at[2:].set(jnp.inf))
            if len(asked) == 1
            else rows
        )

    monkeypatch.setattr(module, "_integrate_several", failing)
    found = fp.evolve(equation, START, TIMES, grid=GRID, tol=1e-9, check=False)
    # The next program starts after the interval that midpoint steps took.
    assert asked[:2] == [0.0, pytest.approx(TIMES[3])]
    assert np.all(
        np.asarray(GRID.integrate(jnp.abs(found.values - truth.values))) < 1e-8
    )


def test_an_interval_that_fails_behind_a_jump_is_entered_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fpsolve.step import several as module

    equation = trap(CENTERS["jump"])
    truth = fp.evolve(equation, START, TIMES, grid=GRID, tol=1e-9, check=False)
    inner, failed = module._integrate_several, []

    def failing(*arguments: Any, **options: Any) -> Any:
        rows = inner(*arguments, **options)
        # The wave behind the jump is relative to another sqrt(pi), also where midpoint
        # steps begin with it.
        if float(arguments[2][0]) >= 0.3 and not failed:
            failed.append(float(arguments[2][0]))
            return rows._replace(error=rows.error.at[:].set(jnp.inf))
        return rows

    monkeypatch.setattr(module, "_integrate_several", failing)
    found = fp.evolve(equation, START, TIMES, grid=GRID, tol=1e-9, check=False)
    assert failed == [pytest.approx(0.3)]
    assert np.all(
        np.asarray(GRID.integrate(jnp.abs(found.values - truth.values))) < 1e-8
    )


@pytest.mark.parametrize("single", [False, True])
def test_an_output_time_at_a_jump(single: bool, tmp_path: Path) -> None:
    """The centre jumps from 0 to 1 at t = 0.3: m = m_0 e^{-t} before,
    1 + (m_0 e^{-0.3} - 1) e^{-(t - 0.3)} after.
    """
    times = np.sort(np.append(TIMES, 0.3))
    one_by_one = {"checkpoint": tmp_path / "run"} if single else {}
    solution = fp.evolve(
        trap(CENTERS["jump"]),
        START,
        times,
        grid=GRID,
        tol=1e-8,
        check=False,
        **one_by_one,
    )
    before = 0.5 * np.exp(-times)
    after = 1 + (0.5 * np.exp(-0.3) - 1) * np.exp(-(times - 0.3))
    means = np.where(times <= 0.3, before, after)
    truth = jnp.stack([exact_density(m, t) for m, t in zip(means, times, strict=True)])
    distances = np.asarray(GRID.integrate(jnp.abs(solution.values - truth)))
    assert np.all(distances < 1e-7)

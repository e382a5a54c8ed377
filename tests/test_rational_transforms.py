"""The rational exponential under derivatives and vmap, in single precision, and lowered
for accelerators.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.propagate import Picture
from fpsolve.propagate.rational import Rational
from rational_runs import (
    BARRIER,
    SYSTEMS,
    TIMES,
    advance,
    build,
    distance,
    run,
    spot,
)


def stiffened(name):
    """A number of the start and of the rates -> one number of the density."""
    equations = {
        "line": lambda a: fp.FokkerPlanck(fp.Harmonic(a), 0.8),
        "force": lambda a: fp.FokkerPlanck(None, 0.8, lambda x: -a * x + 0.3),
        "absorbing": lambda a: fp.FokkerPlanck(fp.Harmonic(a), 0.8),
        "periodic": lambda a: fp.FokkerPlanck(lambda x: a * jnp.cos(x[0])),
        "well": lambda a: fp.Schrodinger(lambda x: a * x[0] ** 2 - 3),
    }
    axes = {
        "absorbing": fp.Absorbing(-2.0, 2.0, 24),
        "periodic": fp.Periodic(0.0, 2 * np.pi, 24),
    }
    grid = fp.Grid(axes.get(name, fp.Line(-4.0, 4.0, 24)))

    def number(a, t):
        operator = build(equations[name](a), grid)
        prepared = Rational().prepare(
            operator, Picture.WAVE if name == "well" else Picture.DENSITY
        )
        start = spot(grid, width=0.7 + a / 10)
        after = (
            Rational()
            .apply(prepared, start, jnp.stack([t, 3 * t]), jnp.asarray(1e-10), 0.0)
            .field
        )
        return jnp.sum(after * jnp.cos(grid.nodes[0]))

    return number


@pytest.mark.parametrize("name", ["line", "force", "absorbing", "periodic", "well"])
def test_both_derivatives_are_those_of_finite_differences(name):
    number = stiffened(name)
    at = (jnp.asarray(1.1), jnp.asarray(0.4))
    turn = (1.0, 0.7)
    step = 1e-4
    reverse = jax.jit(jax.grad(number, (0, 1)))(*at)
    forward = jax.jit(lambda at: jax.jvp(number, at, tuple(map(jnp.asarray, turn)))[1])(
        at
    )
    along = jax.jit(lambda h: number(at[0] + h * turn[0], at[1] + h * turn[1]))
    difference = (
        8 * (along(step) - along(-step)) - (along(2 * step) - along(-2 * step))
    ) / (12 * step)
    assert float(reverse[0] * turn[0] + reverse[1] * turn[1]) == pytest.approx(
        float(difference), rel=1e-8
    )
    assert float(forward) == pytest.approx(float(difference), rel=1e-8)


def test_starts_and_rates_go_through_vmap():
    grid = fp.Grid(SYSTEMS["line"][1])
    starts = jnp.stack([spot(grid, share) for share in (0.3, 0.6)])
    one = lambda depth, start: (
        advance(
            Rational(),
            build(fp.FokkerPlanck(fp.DoubleWell(depth)), grid),
            Picture.DENSITY,
            start,
            jnp.ones(1),
            jnp.asarray(1e-8),
        ).field
    )
    both = jax.vmap(one)(jnp.asarray([2.0, 3.0]), starts)
    apart = jnp.stack(
        [one(depth, start) for depth, start in zip((2.0, 3.0), starts, strict=True)]
    )
    assert np.max(np.abs(both - apart)) < 1e-13


@pytest.mark.parametrize("name", ["line", "absorbing", "periodic"])
def test_single_precision_reaches_its_own_floor(name):
    equation, axis = SYSTEMS[name]
    grid = fp.Grid(axis)
    times = jnp.asarray([1e-2, 1.0, 50.0, 1e6])
    truth = run(SYSTEMS[name], times, Rational()).field
    operator = build(equation, grid, jnp.float32)
    numbers = (spot(grid), times, jnp.asarray(1e-5))
    taken = advance(
        Rational(),
        operator,
        Picture.DENSITY,
        *(number.astype(jnp.float32) for number in numbers),
    )
    assert taken.field.dtype == taken.error.dtype == jnp.float32
    alive = np.asarray(jnp.sum(truth, axis=1)) > 1e-30
    off = distance(axis, np.asarray(taken.field, float), np.asarray(truth))[alive]
    rates = (
        1e-6 * np.asarray(times)[alive] * float(jnp.max(operator.exit_rates))
        if name == "absorbing"
        else 0
    )
    assert np.all(off <= np.asarray(taken.error)[alive] + 2e-5 + rates)
    assert np.all(np.isfinite(taken.field))
    assert np.max(taken.error) < 2e-5


def test_it_runs_without_double_precision():
    jax.config.update("jax_enable_x64", False)
    taken = run((BARRIER, fp.Line(-2.5, 2.5, 65)), [1.0], Rational(), tol=1e-5)
    assert taken.field.dtype == jnp.float32
    assert float(taken.error[0]) < 1e-5


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("name", ["line", "periodic"])
def test_it_lowers_for_accelerators(name, platform):
    equation, axis = SYSTEMS[name]
    grid = fp.Grid(axis)
    prepared = Rational().prepare(build(equation, grid, jnp.float32), Picture.DENSITY)
    solve = jax.jit(
        lambda prepared, field, times, tol: (
            Rational().apply(prepared, field, times, tol, 0.0).field
        )
    )
    numbers = [
        number.astype(jnp.float32)
        for number in (spot(grid), jnp.ones(2), jnp.asarray(1e-5))
    ]
    exported = jax.export.export(solve, platforms=[platform])(prepared, *numbers)
    assert exported.platforms == (platform,)
    assert "while" not in exported.mlir_module()  # no sweep of n steps


@pytest.mark.parametrize("name", ["line", "periodic"])
def test_what_accelerators_run_agrees_with_what_a_processor_runs(name, monkeypatch):
    system = (SYSTEMS[name][0], type(SYSTEMS[name][1])(-3.0, 2 * np.pi - 3, 45))
    swept = run(system, TIMES, Rational())
    monkeypatch.setattr(
        jax.lax, "platform_dependent", lambda *args, cpu, default: default(*args)
    )
    jax.clear_caches()
    folded = run(system, TIMES, Rational())
    assert np.max(distance(system[1], folded.field, swept.field)) < 1e-12

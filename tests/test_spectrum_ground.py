"""The ground state alone: exact oscillators, a finer grid, wells that almost tie, and
second calls.
"""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.core.result import NumericalFailure
from fpsolve.eigen import ground
from measure import check_close
from programs import compilations

COARSE = fp.Grid(fp.Line(-2.8, 2.8, 32), fp.Line(-3.6, 3.6, 24))
PLANE = fp.Grid(fp.Line(-6.0, 6.0, 30), fp.Line(-6.0, 6.0, 30))
STIFFNESS = np.array([[2.0, 0.9, 0.0], [0.9, 1.5, -0.4], [0.0, -0.4, 3.0]])


def tilted(x, size=1.0):
    """The well of problem P6 of the benchmark."""
    return size * (3 * (x[0] ** 2 - 1) ** 2 + 2 * x[1] ** 2 + x[0] * x[1] / 2)


def unequal(x):
    """A narrow deep well holds a higher level than a wide shallow one beside it."""
    narrow, wide = jnp.sum((x - 1.5) ** 2), jnp.sum((x + 1.5) ** 2)
    return (
        8.0
        - 8.0 * jnp.exp(-narrow / 0.3)
        - 7.0 * jnp.exp(-wide / 2.0)
        + 0.05 * jnp.sum(x**2)
    )


def ground_level(potential, grid, **options):
    return fp.spectrum(fp.Schrodinger(potential), grid, 1, **options)


def check_against_a_finer_grid(potential, slack=1e-8):
    wide = fp.Grid(fp.Line(-3.2, 3.2, 64), fp.Line(-4.2, 4.2, 48))
    fine, coarse = ground_level(tilted, wide), ground_level(potential, COARSE)
    check_close(coarse.values, fine.values, slack, "the level")
    assert float(coarse.residuals[0]) < 1e-9
    assert float(coarse.error_parts["algebra"][0]) < 1e-9
    assert abs(float(COARSE.integrate(coarse.vectors[0] ** 2)) - 1) < 1e-13


def test_the_level_is_that_of_a_finer_grid():
    check_against_a_finer_grid(tilted)
    assert "descent" in ground_level(tilted, COARSE).stats["method"]


def test_a_well_deeper_by_a_ten_millionth_is_told_apart():
    with pytest.raises(AssertionError, match="the level"):
        check_against_a_finer_grid(lambda x: tilted(x, 1 + 1e-7))


@pytest.mark.parametrize("d", [1, 2, 3])
def test_coupled_oscillators_have_their_exact_ground_state(d):
    """H = -Lap / 2 + x.K x / 2 has E_0 = tr sqrt(K) / 2 and
    psi_0 = exp(-x.sqrt(K) x / 2).
    """
    stiffness = STIFFNESS[:d, :d]
    squares, turn = np.linalg.eigh(stiffness)
    root = turn @ np.diag(np.sqrt(squares)) @ turn.T
    grid = fp.Grid(*[fp.Line(-6.5, 6.5, 32)] * d)
    modes = ground_level(lambda x: x @ jnp.asarray(stiffness) @ x / 2, grid)
    check_close(modes.values, [np.trace(root) / 2], 1e-11, "the level")
    wave = np.exp(-np.einsum("...i,ij,...j", grid.points, root, grid.points) / 2)
    check_close(
        modes.vectors[0],
        wave / np.sqrt(float(grid.integrate(jnp.asarray(wave**2)))),
        1e-9,
        "the wave",
    )
    assert abs(float(modes.values[0]) - np.trace(root) / 2) <= float(modes.errors[0])


COUPLED = {
    "hat": (lambda x: 6 * (x @ x - 1) ** 2, fp.Line(-2.6, 2.6, 22)),
    "ring": (
        lambda x: jnp.cos(x[0] - x[1]) + 0.3 * jnp.sin(x[0]),
        fp.Periodic(0.0, 2 * np.pi, 16),
    ),
    "unequal": (unequal, fp.Line(-4.0, 4.0, 24)),
    "box": (lambda x: 0 * x[0], fp.Absorbing(0.0, 1.0, 12)),
    "strong": (
        lambda x: 10 * (x[0] * x[1] - 1) ** 2 + 3 * (x[0] - x[1]) ** 2,
        fp.Line(-2.6, 2.6, 24),
    ),
}


@pytest.mark.parametrize("name", COUPLED)
def test_the_descent_agrees_with_the_whole_matrix(name):
    potential, axis = COUPLED[name]
    grid = fp.Grid(axis, axis)
    many = grid.size // 8 + 1  # levels for which the whole matrix is worth its while
    whole = fp.spectrum(fp.Schrodinger(potential), grid, many)
    alone = ground_level(potential, grid)
    assert "matrix" in whole.stats["method"] and "descent" in alone.stats["method"]
    off = abs(float(alone.values[0] - whole.values[0]))
    assert off <= float(alone.errors[0]) + 1e-12
    assert off <= 1e-9 * abs(float(whole.values[0]))
    overlap = abs(float(grid.integrate(alone.vectors[0] * whole.vectors[0])))
    assert overlap > 1 - 1e-12


@pytest.mark.parametrize("barrier", [10.0, 40.0])
def test_two_wells_that_almost_tie_share_their_ground_state(barrier):
    grid = fp.Grid(fp.Line(-2.0, 2.0, 32), fp.Line(-3.0, 3.0, 16))
    potential = lambda x: (
        barrier * (x[0] ** 2 - 1) ** 2 + 2 * x[1] ** 2 + x[0] * x[1] / 2
    )
    whole = fp.spectrum(fp.Schrodinger(potential), grid, 2)
    alone = ground_level(potential, grid)
    assert (
        abs(float(alone.values[0] - whole.values[0]))
        <= float(alone.error_parts["algebra"][0])
        <= 1e-8
    )
    wave = np.asarray(alone.vectors[0])
    check_close(wave[::-1, ::-1], wave, 1e-6, "the reflected wave")


def test_the_ground_state_of_a_process_is_the_root_of_its_gibbs_density():
    equation = fp.FokkerPlanck(tilted)
    grid = fp.Grid(fp.Line(-2.8, 2.8, 48), fp.Line(-3.6, 3.6, 34))
    modes = fp.spectrum(equation, grid, 1)
    check_close(modes.vectors[0] ** 2, equation.gibbs(grid), 1e-7, "the density")
    assert abs(float(modes.values[0])) < 1e-8


def test_a_descent_cut_short_is_reported(monkeypatch, fresh_programs):
    monkeypatch.setattr(
        ground, "CONSTANTS", dataclasses.replace(ground.CONSTANTS, descent_steps=2)
    )
    with pytest.raises(NumericalFailure, match="not_converged"):
        ground_level(lambda x: tilted(x), COARSE)


def test_the_level_is_differentiated_compiled_and_mapped():
    f = jax.jit(lambda a: ground_level(lambda x: tilted(x, a), COARSE).values[0])
    a, h = jnp.asarray(0.9), 1e-4
    value, slope = jax.jit(jax.value_and_grad(f))(a)
    differences = (8 * (f(a + h) - f(a - h)) - (f(a + 2 * h) - f(a - 2 * h))) / (12 * h)
    check_close(slope, differences, 1e-7, "the gradient")
    check_close(
        jax.jit(jax.vmap(f))(jnp.stack([a, 1.1])),
        [value, f(jnp.asarray(1.1))],
        1e-12,
        "the batch",
    )
    check_close(
        jax.jvp(f, (a,), (jnp.ones(()),))[1], slope, 1e-9, "the forward derivative"
    )


@pytest.mark.parametrize("k", [1, 3])
def test_a_second_call_has_the_same_answer_to_the_bit_and_compiles_nothing(k):
    grid = fp.Grid(fp.Line(-2.8, 2.8, 14), fp.Line(-3.6, 3.6, 10))
    equation = fp.Schrodinger(lambda x: tilted(x))
    first = fp.spectrum(equation, grid, k)
    with compilations() as compiled:
        second = fp.spectrum(equation, grid, k)
    assert compiled == []
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert np.array_equal(one, other)
    assert first.stats == second.stats and second.grid == grid


def test_other_questions_have_other_answers():
    well = lambda a: fp.Schrodinger(fp.Harmonic(jnp.asarray(a)))
    levels = [float(fp.spectrum(well(a), PLANE, 1).values[0]) for a in (1.0, 4.0, 1.0)]
    check_close(levels, [1.0, 2.0, 1.0], 1e-8, "the levels")
    moving = fp.Schrodinger(lambda x, t: (1 + t) * jnp.sum(x**2) / 2)
    levels = [float(fp.spectrum(moving, PLANE, 1, t=t).values[0]) for t in (0.0, 3.0)]
    check_close(levels, [1.0, 2.0], 1e-8, "the levels")


SCRIPT = """
import jax.numpy as jnp, numpy as np
import fpsolve as fp

grid = fp.Grid(fp.Line(-2.8, 2.8, 32), fp.Line(-3.6, 3.6, 24))
quartic = lambda x: 3 * (x[0] ** 2 - 1) ** 2
well = fp.Schrodinger(lambda x: quartic(x) + 2 * x[1] ** 2 + x[0] * x[1] / 2)
modes = fp.spectrum(well, grid, 1)
assert modes.values.dtype == modes.vectors.dtype == jnp.float32
assert abs(float(modes.values[0]) - 2.8550894677) < 3e-5, modes.values
assert float(modes.errors[0]) < 1e-2, modes.errors
print("done")
"""


def test_single_precision():
    root = str(Path(fp.__file__).parents[1])
    environment = {**os.environ, "JAX_ENABLE_X64": "0", "PYTHONPATH": root}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        env=environment,
        timeout=100,
    )
    assert run.returncode == 0 and "done" in run.stdout, run.stderr[-2000:]

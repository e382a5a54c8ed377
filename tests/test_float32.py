"""Single precision: its own tolerances, and refusals that say how to get more.

Stated tolerances in float32: time 1e-4 (default), density 1e-4, mass 1e-5, levels 1e-3
of the largest one asked for.
"""

import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

import exact
import fpsolve as fp
from measure import relative_error

SCRIPT = """
import jax, jax.numpy as jnp, numpy as np
import fpsolve as fp

assert jnp.zeros(()).dtype == jnp.float32
grid = fp.Grid(fp.Line(-6.0, 6.0, 40))
well, start = fp.FokkerPlanck(fp.Harmonic(1.0)), fp.Gaussian(1.0, 0.5)
mean, var = np.exp(-0.5), 1 - 0.5 * np.exp(-1.0)
for scheme in (fp.Spectral(), fp.ScharfetterGummel(), fp.SquareRoot()):
    solution = fp.evolve(well, start, [0.5], grid=grid, scheme=scheme)
    assert solution.values.dtype == jnp.float32 and solution.result == "successful"
    assert abs(float(solution.mass[0]) - 1) < 1e-5
    exact = grid.density(fp.Gaussian(mean, var))
    error = float(grid.integrate(jnp.abs(solution.values[0] - exact)))
    assert error < (1e-4 if isinstance(scheme, fp.Spectral) else 2e-2), error
    modes = fp.spectrum(well, grid, 4, scheme=scheme)
    assert modes.values.dtype == jnp.float32
    error = np.max(np.abs(np.asarray(modes.values) - np.arange(4)))
    assert error < (3e-3 if isinstance(scheme, fp.Spectral) else 0.1), error
moving = fp.FokkerPlanck(lambda x, t: (x[0] - t) ** 2 / 2)
assert fp.evolve(moving, start, [0.5], grid=grid).result == "successful"
walls = fp.Grid(fp.Reflecting(-2.0, 2.0, 32))
double_well = fp.FokkerPlanck(fp.DoubleWell(1.0))
both = fp.correspondence(double_well, fp.Gaussian(-0.5, 0.2), [0.1, 1.0], grid=walls)
assert both.density.dtype == jnp.float32
assert both.holds, (both.difference, both.tolerance)
forced = fp.FokkerPlanck(force=lambda x: 1.0 + 0 * x)
ring = fp.Grid(fp.Periodic(0.0, 1.0, 32))
driven = fp.evolve(forced, fp.Gaussian(0.5, 0.01), [0.1], grid=ring)
assert float(driven.values.min()) >= -1e-6 and abs(float(driven.mass[0]) - 1) < 1e-5
ground = lambda x: jnp.exp(-(x[0] ** 2) / 2)
oscillator = fp.Schrodinger(lambda x: x[0] ** 2 / 2)
wave = fp.evolve(oscillator, ground, [1.0], grid=grid, wick=np.pi / 2)
assert wave.values.dtype == jnp.complex64
assert abs(float(grid.integrate(jnp.abs(wave.values[0]) ** 2)) - np.pi**0.5) < 1e-4
for call in (
    lambda: fp.evolve(well, start, [0.5], grid=grid, tol=1e-10),
    lambda: fp.spectrum(well, grid, tol=1e-10),
):
    try:
        call()
    except ValueError as error:
        for word in ("tol = 1e-10", "float32", "jax_enable_x64", "float64"):
            assert word in str(error), str(error)
    else:
        raise AssertionError("tol=1e-10 was accepted without x64")
print("done")
"""


def test_everything_runs_without_x64():
    root = str(Path(fp.__file__).parents[1])
    environment = {**os.environ, "JAX_ENABLE_X64": "0", "PYTHONPATH": root}
    # Its grids are coarse, which the errors in space say; here only single precision
    # matters.
    coarse = (
        "-W",
        "ignore:estimated error:UserWarning",
        "-W",
        "ignore:the relative error of the levels:UserWarning",
    )
    command = [sys.executable, "-W", "error", *coarse, "-c", SCRIPT]
    ended = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.strip() == "done"


@pytest.mark.parametrize(
    "scheme", [fp.Spectral(), fp.ScharfetterGummel()], ids=lambda s: type(s).__name__
)
def test_single_arrays_are_evolved_in_single_precision_under_x64(scheme):
    system = exact.still()["oscillator"]
    grid = system.grid(48)
    start = system.density(grid, 0.0)
    solution = fp.evolve(
        system.equation, start.astype(jnp.float32), [0.3], grid=grid, scheme=scheme
    )
    twice = fp.evolve(system.equation, start, [0.3], grid=grid, scheme=scheme)
    assert solution.values.dtype == jnp.float32
    assert float(grid.integrate(jnp.abs(solution.values[0] - twice.values[0]))) <= 1e-4
    assert abs(float(solution.mass[0]) - 1) <= 1e-5
    if isinstance(scheme, fp.Spectral):
        assert relative_error(system, solution) <= 1e-4


def test_a_tolerance_that_single_arrays_cannot_hold_is_refused():
    system = exact.still()["oscillator"]
    grid = system.grid(48)
    start = system.density(grid, 0.0).astype(jnp.float32)
    with pytest.raises(ValueError, match=r"tol = 1e-10.*float32.*float64 arrays"):
        fp.evolve(system.equation, start, [0.3], grid=grid, tol=1e-10)

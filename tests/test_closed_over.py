"""Transforms where what is not traced was made outside of them, as users write it:
starts, equations, observables.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp

GRIDS = {
    "line": fp.Grid(fp.Line(-4.0, 4.0, 40)),
    "ring": fp.Grid(fp.Periodic(0.0, 1.0, 32)),
    "walls": fp.Grid(fp.Reflecting(-2.0, 2.0, 40)),
    "plane": fp.Grid(fp.Line(-3.5, 3.5, 36), fp.Line(-3.5, 3.5, 36)),
}
TIMES = [0.1, 0.5]


def well(x: Any) -> Any:
    return jnp.sum(x**4 / 4 - x**2 / 2)


def wave(x: Any) -> Any:
    return jnp.sum(jnp.cos(2 * jnp.pi * x))


def process(name: str, diffusion: Any) -> fp.FokkerPlanck:
    return fp.FokkerPlanck(wave if name == "ring" else well, diffusion)


STARTS = {
    "a number": lambda d: (
        fp.Gaussian(0.3, 0.05) if d == 1 else fp.Gaussian([0.3, 0.1], 0.05)
    ),
    "arrays": lambda d: fp.Gaussian(np.full(d, 0.3), 0.05 * np.eye(d)),
    "a function": lambda d: lambda x: jnp.exp(-jnp.sum((x - 0.3) ** 2) / 0.1),
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", GRIDS)
def test_a_start_outside_of_a_compiled_run(name: str, start: str) -> None:
    grid = GRIDS[name]
    initial = STARTS[start](grid.ndim)

    def run(diffusion: Any) -> Any:
        return fp.evolve(process(name, diffusion), initial, TIMES, grid=grid).values

    np.testing.assert_allclose(jax.jit(run)(0.7), run(0.7), atol=1e-6)


@pytest.mark.parametrize("name", ["line", "walls"])
def test_a_correspondence_in_a_compiled_program(name: str) -> None:
    grid = GRIDS[name]
    initial = fp.Gaussian(0.3, 0.05)

    def measure(diffusion: Any) -> tuple[Any, ...]:
        both = fp.correspondence(process(name, diffusion), initial, TIMES, grid=grid)
        return both.density, both.difference, both.spectra, both.tolerance

    compiled = jax.jit(measure)(0.7)
    direct = measure(0.7)
    for ours, theirs in zip(
        compiled[:1] + compiled[2:3], direct[:1] + direct[2:3], strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-8)
    assert np.all(np.asarray(compiled[1]) <= float(compiled[3]))


def of_rates(f: Callable[[Any, fp.Grid], Any]) -> Callable[[Any], Any]:
    return lambda diffusion: f(process("walls", diffusion), GRIDS["walls"])


@pytest.mark.parametrize(
    "f",
    [
        of_rates(fp.spectral_gap),
        of_rates(
            lambda equation, grid: fp.committor(
                equation, grid, lambda x: x[0] < -0.5, lambda x: x[0] > 0.6
            )
        ),
        of_rates(
            lambda equation, grid: fp.mean_first_passage_time(
                equation, grid, lambda x: x[0] > 0.6
            )
        ),
    ],
    ids=["gap", "committor", "passage"],
)
def test_sets_outside_of_a_compiled_rate(f: Callable[[Any], Any]) -> None:
    values = [
        jnp.asarray(getattr(found, "values", found))
        for found in (jax.jit(f)(0.7), f(0.7))
    ]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-5)


@pytest.mark.parametrize("name", ["line", "ring"])
@pytest.mark.parametrize("part", [0.1, 0.37, 0.5])
def test_a_compiled_run_tells_of_a_start_narrower_than_a_cell(
    name: str, part: float
) -> None:
    # Its variance on the grid is up to a quarter of the square of a cell, whatever its
    # own is.
    axis = GRIDS[name].axes[0]
    cell = axis.length / axis.n
    initial = fp.Gaussian(axis.nodes[axis.n // 2] + part * cell, (1e-3 * cell) ** 2)
    times = [0.5 * cell**2, 2 * cell**2]

    def run(diffusion: Any, grid: fp.Grid) -> tuple[Any, Any]:
        found = fp.evolve(
            process(name, diffusion), initial, times, grid=grid, scheme=fp.Spectral()
        )
        return found.values, found.error

    values, error = jax.jit(lambda diffusion: run(diffusion, GRIDS[name]))(0.7)
    fine = fp.Grid(type(axis)(axis.lower, axis.upper, 512 if name == "ring" else 800))
    right = fp.evolve(process(name, 0.7), initial, times, grid=fine)
    for k in range(len(times)):
        nodes = (
            np.append(fine.axes[0].nodes, fine.axes[0].upper)
            if name == "ring"
            else fine.axes[0].nodes
        )
        truth = np.asarray(right.values[k])
        truth = np.interp(
            axis.nodes, nodes, np.append(truth, truth[0]) if name == "ring" else truth
        )
        true = float(GRIDS[name].integrate(jnp.abs(values[k] - truth)))
        assert true <= 3 * float(error[k]), (k, true, float(error[k]))

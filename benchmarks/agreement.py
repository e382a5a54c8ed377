"""Numbers that must be the same on every device: small problems of every kind, compared
with a processor in float64.

`python benchmarks/accelerator.py --reference` stores the processor's numbers in
`results/agreement.json`; the device benchmark and `pytest -m gpu` compare with them.
An error is the largest difference, relative to the largest number.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import problems
import suite

import fpsolve as fp

RESULTS = Path(__file__).resolve().parent / "results"
NAME = "agreement.json"
PROBES = 60  # number of values of a field that are compared: a free choice
# relative; tol in time is 1e-5 in single precision, and rounding adds to it: a free
# choice
DOUBLE, SINGLE = 1e-9, 2e-4


@dataclasses.dataclass(frozen=True)
class Case:
    """A problem: `solve(dtype)` returns numbers; `tol` in float64; float32 is tried
    where `single` says so.
    """

    title: str
    solve: Callable[[Any], Any]
    tol: float = DOUBLE
    single: bool = False


def error(name: str, numbers: Any, folder: Path = RESULTS) -> float:
    """The largest difference from the stored numbers, relative to the largest of them;
    infinite if one is not finite.
    """
    truth = np.asarray(json.loads((folder / NAME).read_text(encoding="utf-8"))[name])
    apart = np.max(np.abs(np.asarray(numbers, float) - truth)) / np.max(np.abs(truth))
    return float(apart) if np.isfinite(apart) else float("inf")


def store(folder: Path = RESULTS) -> None:
    """Write the numbers of this device, which should be a processor."""
    from fpsolve.core.files import write_atomically

    found = {}
    for name, case in CASES.items():
        found[name] = np.asarray(case.solve(jnp.float64), float).tolist()
        print(f"{name:16s} {len(found[name])} numbers", flush=True)
    text = (
        "{\n"
        + ",\n".join(
            f' "{name}": {json.dumps(values)}' for name, values in found.items()
        )
        + "\n}\n"
    )
    write_atomically(folder / NAME, lambda file: file.write(text.encode()))


def _probes(solution: Any) -> np.ndarray:
    """Values of the last field at evenly spaced nodes."""
    values = np.asarray(solution.values[-1]).ravel()
    return values[:: max(1, values.size // PROBES)]


def _evolved(
    problem: Any, bounds: Any, shape: Any, **options: Any
) -> Callable[[Any], np.ndarray]:
    grid = suite.grid_of(bounds, shape)
    start = fp.Gaussian(*problems.start_moments(problem))

    def solve(dtype: Any) -> np.ndarray:
        field = grid.density(start, "start").astype(dtype)
        return _probes(
            fp.evolve(
                fp.FokkerPlanck(problem.potential),
                field,
                [problem.t],
                grid=grid,
                **options,
            )
        )

    return solve


def _levels(dtype: Any) -> np.ndarray:
    potential = suite.P6.potential
    equation = fp.Schrodinger(lambda x: potential(x))
    grid = suite.grid_of(suite.box(2.8, 3.6), (32, 26))
    return np.asarray(fp.spectrum(equation, grid, 6).values)


def _slope(dtype: Any) -> np.ndarray:
    grid = fp.Grid(fp.Line(-2.5, 2.5, 64))
    gap = lambda barrier: fp.spectral_gap(fp.FokkerPlanck(fp.DoubleWell(barrier)), grid)
    return np.asarray(jax.value_and_grad(gap)(3.0))


def _slope_of_a_run(dtype: Any) -> np.ndarray:
    grid = fp.Grid(fp.Line(-5.0, 5.0, 64))

    def mean(k: Any) -> Any:
        trap = fp.FokkerPlanck(fp.Harmonic(k))
        run = fp.evolve(trap, fp.Gaussian(1.0, 0.5), [0.5], grid=grid)
        return jnp.sum(run.values[0] * grid.nodes[0] * grid.weights)

    return np.asarray(jax.value_and_grad(mean)(1.5))


def _sweep(dtype: Any) -> np.ndarray:
    grid = fp.Grid(fp.Line(-2.5, 2.5, 48))
    gap = lambda barrier: fp.spectral_gap(fp.FokkerPlanck(fp.DoubleWell(barrier)), grid)
    gaps = jax.jit(jax.vmap(gap))
    return np.asarray(gaps(jnp.linspace(1.0, 4.0, 16)))


def _pushed(dtype: Any) -> np.ndarray:
    swirl = lambda x: jnp.stack([x[1], -x[0]])
    equation = fp.FokkerPlanck(fp.Harmonic(), force=swirl)
    grid = fp.Grid(fp.Line(-4.0, 4.0, 48), fp.Line(-4.0, 4.0, 48))
    return _probes(fp.evolve(equation, fp.Gaussian([1.0, 0.0], 0.3), [0.5], grid=grid))


def _transport(dtype: Any) -> np.ndarray:
    path = fp.Mix(
        lambda x: 2 * (x[0] + 1) ** 2, lambda x: 3 * (x[0] ** 2 - 1) ** 2 - x[0] / 2
    )
    run = fp.transport(
        path,
        fp.schedule.linear(5.0),
        grid=fp.Grid(fp.Line(-4.6, 3.2, 80)),
        times=[1.0, 3.0, 5.0],
    )
    return np.asarray(jnp.concatenate([run.kl, run.tv]))


def _reconstruction(dtype: Any) -> np.ndarray:
    found = fp.score.reconstruct(
        lambda x: -x - x**3 / 2, fp.Grid(fp.Line(-4.0, 4.0, 64))
    )
    return np.asarray(jnp.stack([found.gap, jnp.max(found.density)]))


def _correspondence(dtype: Any) -> np.ndarray:
    equation = fp.FokkerPlanck(fp.DoubleWell(2.0))
    grid = fp.Grid(fp.Line(-2.5, 2.5, 96))
    field = grid.density(fp.Gaussian(-1.0, 0.1), "start").astype(dtype)
    both = fp.correspondence(equation, field, [0.5, 1.0], grid=grid)
    if not both.holds:
        raise ArithmeticError(
            f"density and wave differ by {np.max(np.asarray(both.difference)):.1e}"
        )
    return np.asarray(both.spectra[0])


CASES = {
    "P1": Case(
        "density on a line, spectral",
        _evolved(suite.P1, suite.box(2.1), (48,)),
        single=True,
    ),
    "P1-volumes": Case(
        "density on a line, finite volumes",
        _evolved(suite.P1, suite.box(1.9), (160,), scheme=fp.ScharfetterGummel()),
        single=True,
    ),
    "P2": Case(
        "density in the plane, spectral",
        _evolved(suite.P2, suite.box(2.2, 4.0), (48, 34)),
    ),
    "P3": Case(
        "density in space, spectral",
        _evolved(suite.P3, suite.box(2.15, 3.4, 3.4), (48, 36, 36)),
    ),
    "P5": Case(
        "moving potential in the plane",
        _evolved(suite.P5_PLANE, suite.box(2.35, 4.0), (48, 32), tol=1e-7),
        tol=1e-6,
    ),
    "P6": Case("levels in the plane", _levels),
    "correspondence": Case(
        "density and wave, and their spectra", _correspondence, single=True
    ),
    "swirl": Case("a process that is not reversible", _pushed),
    "gap-slope": Case("a gap and its derivative", _slope),
    "run-slope": Case(
        "a mean and its derivative through a run", _slope_of_a_run, tol=1e-7
    ),
    "sweep": Case("gaps of 16 potentials at once", _sweep),
    "transport": Case("transport: KL and total variation", _transport, tol=1e-6),
    "reconstruction": Case("a density from its score", _reconstruction),
}

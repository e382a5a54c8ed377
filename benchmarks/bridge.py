"""Schrödinger bridges: errors against closed forms, the rate of a sweep, and times.

python benchmarks/bridge.py         prints one line for each figure

plane       a bridge between normal densities in the plane, 72 x 72 nodes, four times
rates       the measured rate of a sweep beside (c / (s_0 s_1))^2
limit       2 D T KL(P | R) beside the squared Wasserstein distance, as D falls
large       256 x 256 nodes: the first call, with compilation, and the second
coupled     a double well that couples both axes, 64 x 64 nodes
"""

import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fpsolve as fp

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from exact_bridge import NormalBridge, random_bridge

jax.config.update("jax_enable_x64", True)


def error(found: Any, exact: NormalBridge) -> float:
    """The largest relative L1 error of the densities."""
    grid = found.grid
    reference = np.stack([exact.density(float(t), grid) for t in found.times])
    return float(np.max(grid.integrate(jnp.abs(found.values - reference))))


def square(n: int, half: float) -> fp.Grid:
    """A square box."""
    return fp.Grid(fp.Line(-half, half, n), fp.Line(-half, half, n))


def line(
    deviations: tuple[float, float], means: tuple[float, float], D: float, total: float
) -> NormalBridge:
    """A bridge on a line."""
    first, last = (np.array([[s**2]]) for s in deviations)
    return NormalBridge(
        np.array([means[0]]), first, np.array([means[1]]), last, D, total
    )


def plane() -> None:
    """Errors in the plane."""
    for seed in range(3):
        exact = random_bridge(seed, 2)
        times = exact.total * np.array([0.0, 0.25, 0.5, 1.0])
        found = exact.solve(square(72, 5.5), times)
        print(
            f"plane, seed {seed}: error {error(found, exact):.1e}, estimated "
            f"{float(found.error.max()):.1e}, contraction "
            f"{float(found.contraction):.6f} (predicted {exact.contraction:.6f}), cost "
            f"{float(found.cost):.8f} (exact {exact.cost:.8f})"
        )


def rates() -> None:
    """The rate of a sweep."""
    grid = fp.Grid(fp.Line(-8.0, 8.0, 128))
    for deviations, D, total in [
        ((0.6, 0.9), 1.0, 0.6),
        ((0.6, 0.6), 0.5, 0.3),
        ((1.0, 0.5), 0.2, 0.4),
    ]:
        exact = line(deviations, (-0.5, 0.7), D, total)
        found = exact.solve(grid, [total / 2], check=False)
        print(
            f"rate, s = {deviations}, 2 D T = {2 * D * total:g}: "
            f"{float(found.contraction):.7f}, in the iteration "
            f"{found.stats['observed_rate']:.5f}, predicted {exact.contraction:.7f}, "
            f"{found.iterations} sweeps"
        )


def limit() -> None:
    """Optimal transport as the limit of small D."""
    grid = fp.Grid(fp.Line(-6.0, 6.0, 256))
    distance = 1.2**2 + 0.3**2
    for D in (1.0, 0.1, 0.01, 0.003):
        exact = line((0.6, 0.9), (-0.5, 0.7), D, 1.0)
        found = exact.solve(grid, [0.5], check=False)
        variance = float(grid.integrate(found.values[0] * (grid.nodes[0] - 0.1) ** 2))
        print(
            f"limit, D = {D:g}: 4 D T KL = {4 * D * float(found.cost):.6f} (exact "
            f"{4 * D * exact.cost:.6f}), W2^2 = {distance:.2f}; variance at T/2 "
            f"{variance:.7f} (exact {exact.law(0.5)[1][0, 0]:.7f}, geodesic "
            f"{0.75**2:.4f}), {found.iterations} sweeps, error "
            f"{error(found, exact):.1e}"
        )


def large() -> None:
    """256 x 256 nodes."""
    exact = random_bridge(5, 2)
    times = exact.total * np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    for check in (False, True):
        for call in ("first", "second"):
            begin = perf_counter()
            found = exact.solve(square(256, 6.0), times, check=check)
            jax.block_until_ready(found.values)
            seconds = perf_counter() - begin
            print(
                f"256 x 256, check={check}, {call} call: {seconds:.2f} s, error "
                f"{error(found, exact):.1e}"
            )


def coupled() -> None:
    """A potential that couples both axes."""
    well = fp.FokkerPlanck(
        lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2 / 2 + 0.4 * x[0] * x[1], 0.7
    )
    start, end = fp.Gaussian([-0.8, 0.2], 0.12), fp.Gaussian([0.7, -0.3], 0.2)
    begin = perf_counter()
    found = fp.bridge(well, start, end, 0.8, grid=square(64, 4.0))
    print(
        f"coupled, 64 x 64: {perf_counter() - begin:.2f} s, estimated error "
        f"{float(found.error.max()):.1e}, cost {float(found.cost):.8f} +- "
        f"{found.stats['cost_error']:.0e}, contraction {float(found.contraction):.6f}"
    )


if __name__ == "__main__":
    chosen = sys.argv[1:] or ["plane", "rates", "limit", "large", "coupled"]
    for name in chosen:
        {
            "plane": plane,
            "rates": rates,
            "limit": limit,
            "large": large,
            "coupled": coupled,
        }[name]()

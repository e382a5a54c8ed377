"""Rows of the device benchmark that time whole calls: time-dependent potentials,
levels, sweeps, transport, agreement.
"""

import time
from typing import Any

import agreement
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from accelerator_kernels import STIFFNESS, apart, at, evolution, gaussian, trap
from accelerator_timing import Limits, compile_apart, timed

import fpsolve as fp

WIDE = 7.0  # half width of a box that contains ten levels


def moving(n: int, limits: Limits) -> dict[str, Any]:
    """A trap dragged through the plane, whose density stays normal: the first call, and
    one with other numbers.
    """
    grid = fp.Grid(fp.Line(-4.0, 6.0, n), fp.Line(-4.5, 4.5, n))
    stiffness = np.array(STIFFNESS[2])

    def call(speed: float) -> Any:
        equation = fp.FokkerPlanck(
            lambda x, t: trap(x - jnp.array([speed * t, 0.0]), 1.0)
        )
        start = fp.Gaussian([0.0, 0.0], np.linalg.inv(stiffness))
        return fp.evolve(equation, start, [0.5, 1.0], grid=grid, tol=1e-7)

    begun = time.perf_counter()
    jax.block_until_ready(call(1.0).values)
    first = time.perf_counter() - begun
    speeds = iter(1.1 + 0.01 * np.arange(1000))
    seconds, every = timed(lambda: call(float(next(speeds))).values)
    found, away = call(1.5), np.array([1.5, 0.0])
    # dm/dt = -K (m - v t), m(0) = 0: the mean lags behind the trap.
    inverse = np.linalg.inv(stiffness)
    mean = away - inverse @ (np.eye(2) - scipy.linalg.expm(-stiffness)) @ away
    error = apart(found.values[-1], gaussian(grid, mean, inverse, "float64"))
    facts = {
        "seconds": seconds,
        "every": every,
        "seconds_first": first,
        "dtype": "float64",
        "error": error,
    }
    facts |= {
        "reached": error <= 1e-6,
        "estimate": float(found.error[-1]),
        "method": found.stats["method"],
    }
    return facts | {"words": f"first call {first:.1f} s"}


def levels(d: int, n: int, limits: Limits) -> dict[str, Any]:
    """Ten levels on finite volumes by multigrid, against those of the trap: sums of its
    stiffnesses.
    """
    grid = fp.Grid(*(fp.Line(-WIDE, WIDE, n),) * d)
    scheme = fp.ScharfetterGummel()

    def call(strength: float) -> Any:
        return fp.spectrum(
            fp.FokkerPlanck(lambda x: trap(x, strength)),
            grid,
            10,
            scheme=scheme,
            tol=1e-8,
        )

    begun = time.perf_counter()
    jax.block_until_ready(call(1.0).values)
    first = time.perf_counter() - begun
    strengths = iter(1.0 + 1e-3 * np.arange(1, 1000))
    seconds, every = timed(lambda: call(float(next(strengths))).values)
    own = np.linalg.eigvalsh(np.array(STIFFNESS[d]))
    counts = np.stack(np.meshgrid(*[np.arange(10)] * d), -1).reshape(-1, d)
    truth = np.sort(counts @ own)[:10]
    found = call(1.0)
    error = float(np.max(np.abs(np.asarray(found.values)[1:] / truth[1:] - 1)))
    cells = 2 * WIDE / n  # the error of each level is of second order in the cell width
    facts = {
        "seconds": seconds,
        "every": every,
        "seconds_first": first,
        "dtype": "float64",
        "error": error,
    }
    facts |= {
        "reached": error <= 4 * cells**2,
        "residual": float(np.max(np.asarray(found.errors))),
    }
    return facts | {"words": f"first call {first:.1f} s"}


def sweep(count: int, limits: Limits) -> dict[str, Any]:
    """Densities in traps of many strengths at once, by `vmap`."""
    grid = fp.Grid(fp.Line(-6.0, 6.0, 40), fp.Line(-6.5, 6.5, 36))
    d = 2
    one = evolution(grid, fp.Spectral(), 0.5)
    field = gaussian(grid, *at(0.0, d), "float64")
    strengths = jnp.linspace(0.9, 1.1, count + count % 2 + 1)
    program, facts = compile_apart(
        jax.vmap(one, (None, 0)), field, strengths, name="sweep-runs"
    )
    seconds, every = timed(lambda: program(field, strengths))
    values = program(field, strengths)[0]
    error = apart(values[len(strengths) // 2], gaussian(grid, *at(0.5, d), "float64"))
    facts |= {
        "seconds": seconds,
        "every": every,
        "dtype": "float64",
        "error": error,
        "reached": error <= 1e-6,
    }
    return facts | {"words": f"{1e6 * seconds / count:.1f} us each"}


def gaps(count: int, limits: Limits) -> dict[str, Any]:
    """Gaps of many double wells at once, by `vmap`; one of them against the same gap
    alone.
    """
    grid = fp.Grid(fp.Line(-2.5, 2.5, 48))
    gap = lambda barrier: fp.spectral_gap(fp.FokkerPlanck(fp.DoubleWell(barrier)), grid)
    barriers = jnp.linspace(1.0, 4.0, count)
    program, facts = compile_apart(jax.vmap(gap), barriers, name="sweep-gaps")
    seconds, every = timed(lambda: program(barriers))
    alone = float(gap(float(barriers[count // 2])))
    error = abs(float(program(barriers)[count // 2]) / alone - 1)
    facts |= {
        "seconds": seconds,
        "every": every,
        "dtype": "float64",
        "error": error,
        "reached": error <= 1e-8,
    }
    return facts | {"words": f"{1e6 * seconds / count:.1f} us each"}


def transport(n: int, limits: Limits) -> dict[str, Any]:
    """The path of `transport.py` in the plane, with its schedule: without compiled
    programs, and again with another path.
    """
    grid = fp.Grid(fp.Line(-5.0, 4.0, n), fp.Line(-4.8, 4.8, n))

    def call(tilt: float) -> Any:
        path = fp.Mix(
            lambda x: 2 * (x[0] + 1) ** 2 + 2 * x[1] ** 2,
            lambda x: (
                3 * (x[0] ** 2 - 1) ** 2 - tilt * x[0] + 2 * x[1] ** 2 + x[0] * x[1] / 2
            ),
        )
        way = fp.schedule.optimal(path, 20.0, grid=grid, cost="score")
        return fp.transport(path, way, grid=grid, times=np.linspace(0, 20.0, 50))

    begun = time.perf_counter()
    run = call(0.5)
    jax.block_until_ready(run.values)
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    jax.block_until_ready(call(0.4).values)
    seconds = time.perf_counter() - begun
    facts = {
        "seconds": seconds,
        "every": [seconds],
        "seconds_first": first,
        "dtype": "float64",
    }
    facts |= {"error": float(run.error[-1]), "kl": float(run.kl[-1])}
    return facts | {"words": f"first call {first:.1f} s, KL {float(run.kl[-1]):.4e}"}


def agree(name: str, dtype: str, limits: Limits) -> dict[str, Any]:
    """The numbers of a small problem compared with those of a processor; the first call
    and the second.
    """
    case = agreement.CASES[name]
    begun = time.perf_counter()
    numbers = case.solve(jnp.dtype(dtype))
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    case.solve(jnp.dtype(dtype))
    seconds = time.perf_counter() - begun
    error = agreement.error(name, numbers)
    goal = case.tol if dtype == "float64" else agreement.SINGLE
    facts = {
        "seconds": seconds,
        "every": [seconds],
        "seconds_first": first,
        "dtype": dtype,
        "error": error,
    }
    return facts | {
        "reached": error <= goal,
        "goal": goal,
        "words": f"first call {first:.1f} s",
    }

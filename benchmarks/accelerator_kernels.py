"""Rows of the device benchmark that time one kernel: Chebyshev on finite volumes and in
a spectral basis.

Each evolves a Gaussian in a trap with rotated stiffness, whose density at any time is
known. The time is so short that about `PRODUCTS` products of the operator suffice. The
memory traffic and operations of a product are counted by hand:

    finite volumes    reads 2 d rates and three fields, and writes one: 2 d + 4 arrays;
                      6 d + 5 operations a point
    matrices          reads a field and writes one for each axis, and four for the
                      recurrence; 2 n operations an axis
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import accelerator_twins as twins
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from accelerator_timing import RIVAL, Limits, Row, compile_apart, timed

import fpsolve as fp
from fpsolve.operator.constants import CONSTANTS

PRODUCTS = 200  # of the operator in a timed run
STIFFNESS = {
    1: [[2.0]],
    2: [[2.0, 0.5], [0.5, 1.5]],
    3: [[2.0, 0.5, 0.0], [0.5, 1.5, 0.5], [0.0, 0.5, 2.5]],
}
HALF = 4.5  # of the boxes
WIDTH = 0.6  # of the start
# relative L1 error of a row: the spectral error in space, and rounding
GOAL = {"float64": 1e-6, "float32": 2e-4}


def trap(x: Any, strength: Any) -> Any:
    """U = strength x.K x / 2. The strength is an argument, so that the compiler does
    not fold it.
    """
    stiffness = STIFFNESS[x.shape[0]]
    return (
        strength
        * sum(
            stiffness[i][j] * x[i] * x[j] for i in range(len(x)) for j in range(len(x))
        )
        / 2
    )


def gaussian(grid: fp.Grid, mean: Any, covariance: Any, dtype: str) -> Any:
    """A normal density on the nodes, computed on the device."""
    inverse = np.linalg.inv(covariance)
    norm = math.sqrt(np.linalg.det(2 * np.pi * np.asarray(covariance)))
    shape = lambda x, i: jnp.asarray(x).reshape(
        [-1 if j == i else 1 for j in range(grid.ndim)]
    )
    away = [shape(axis.nodes - mean[i], i) for i, axis in enumerate(grid.axes)]

    @jax.jit
    def density(away: Any) -> Any:
        square = sum(
            inverse[i, j] * away[i] * away[j]
            for i in range(grid.ndim)
            for j in range(grid.ndim)
        )
        return (jnp.exp(-square / 2) / norm).astype(dtype)

    return density(away)


def at(t: float, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the trapped density at time t (Ornstein and Uhlenbeck)."""
    stiffness = np.array(STIFFNESS[d])
    mean = 0.3 * np.ones(d)
    spread = WIDTH**2 * np.eye(d)
    decay = scipy.linalg.expm(-t * stiffness)
    still = np.linalg.inv(stiffness)
    return decay @ mean, still + decay @ (spread - still) @ decay.T


def apart(found: Any, truth: Any) -> float:
    """Relative L1 distance."""
    return float(
        jnp.sum(jnp.abs(found.astype(float) - truth)) / jnp.sum(jnp.abs(truth))
    )


def cube(shape: tuple[int, ...]) -> fp.Grid:
    """Axes around the origin."""
    return fp.Grid(*(fp.Line(-HALF, HALF, n) for n in shape))


def evolution(grid: fp.Grid, scheme: Any, t: float) -> Callable[[Any, Any], Any]:
    """The run that the kernel rows time: values, products of the operator, estimated
    error.
    """

    def run(field: Any, strength: Any) -> Any:
        equation = fp.FokkerPlanck(lambda x: trap(x, strength))
        options = {
            "grid": grid,
            "scheme": scheme,
            "method": fp.Chebyshev(()),
            "throw": False,
        }
        solution = fp.evolve(equation, field, [t], **options)
        return solution.values[0], solution.stats["operator_calls"], solution.error[0]

    return run


def kernel(
    name: str,
    grid: fp.Grid,
    scheme: Any,
    dtype: str,
    highest: float,
    moved: int,
    flops: int,
) -> Any:
    """A row of a run, with `moved` arrays and `flops` operations a point for each
    product; `rivals` adds other libraries.
    """

    def measure(limits: Limits, rivals: Any, fourier: bool | None) -> dict[str, Any]:
        t = PRODUCTS**2 / (25 * highest)
        d = grid.ndim
        field = gaussian(grid, *at(0.0, d), dtype)
        with _transforms(fourier):
            run, facts = compile_apart(
                evolution(grid, scheme, t), field, jnp.ones((), dtype), name=name
            )
        one = jnp.ones((), dtype)
        seconds, every = timed(lambda: run(field, one))
        values, calls, estimate = run(field, one)
        error = apart(values, gaussian(grid, *at(t, d), "float64"))
        calls, size = float(calls), grid.size
        work = {
            "bytes_moved": moved * size * field.dtype.itemsize * calls,
            "flops": flops * size * calls,
        }
        facts |= {
            "seconds": seconds,
            "every": every,
            "dtype": dtype,
            "calls": calls,
        } | work
        goal = GOAL[dtype]
        # second differences of a Gaussian; later it is nearly stationary
        if isinstance(scheme, fp.ScharfetterGummel):
            goal += min(t, 0.5) * d * grid.axes[0].spacings[0] ** 2 / (4 * WIDTH**4)
        facts |= {
            "error": error,
            "estimate": float(estimate),
            "goal": goal,
            "reached": error <= goal,
            "points": size,
        }
        facts |= limits.shares(dtype, seconds, *work.values())
        facts |= {
            "seconds_product": seconds / calls,
            "words": f"{1e6 * seconds / calls:.1f} us a product",
        }
        facts["rivals"], facts["missing"] = {}, {}
        del values
        with _transforms(fourier):
            for rival_name, rival, wait in rivals(field, int(calls), facts["missing"]):
                facts["rivals"][rival_name] = timed(
                    rival, lambda _, wait=wait: wait(), RIVAL
                )[0]
        facts["ratios"] = {
            name: other / seconds for name, other in facts["rivals"].items()
        }
        return facts

    return measure


def volumes(name: str, shape: tuple[int, ...], dtype: str) -> Row:
    """Chebyshev on finite volumes."""
    grid = cube(shape)
    scheme = fp.ScharfetterGummel()
    d = len(shape)
    highest = sum(4 / axis.spacings[0] ** 2 for axis in grid.axes)

    def rivals(field: Any, count: int, missing: dict[str, str]) -> Iterator[Any]:
        build = jax.jit(
            lambda k: scheme.build(
                fp.FokkerPlanck(lambda x: trap(x, k)), grid, 0.0, field.dtype, True
            )
        )
        made = build(jnp.ones((), dtype))
        inner = [
            c / float(axis.spacings[0])
            for c, axis in zip(made.couplings, grid.axes, strict=True)
        ]
        for library in twins.libraries(jax.default_backend(), missing):
            run = twins.volumes(
                library,
                inner,
                made.out_rates,
                field,
                float(made.bounds[1]),
                np.ones(count),
            )
            yield library.name, run, library.wait

    measure = kernel(
        f"{name}-{dtype}", grid, scheme, dtype, highest, 2 * d + 4, 6 * d + 5
    )
    title = f"Chebyshev, {' x '.join(map(str, shape))} cells"
    needed = 12 * grid.size * jnp.dtype(dtype).itemsize
    return Row(
        f"{name}-{dtype}", title, lambda limits: measure(limits, rivals, None), needed
    )


def smooth(name: str, shape: tuple[int, ...], dtype: str, form: str) -> Row:
    """Chebyshev in a spectral basis, by matrices or by transforms."""
    grid = cube(shape)
    scheme = fp.Spectral()
    d = len(shape)
    highest = sum((np.pi / axis.spacings[0]) ** 2 for axis in grid.axes) + 60.0

    def rivals(field: Any, count: int, missing: dict[str, str]) -> Iterator[Any]:
        if form != "matrices":
            return
        build = jax.jit(
            lambda k: scheme.build(
                fp.FokkerPlanck(lambda x: trap(x, k)), grid, 0.0, field.dtype, True
            )
        )
        made = build(jnp.ones((), dtype))
        matrices = [term.matrix for term in made.terms]
        for library in twins.libraries(jax.default_backend(), missing):
            run = twins.spectral(
                library,
                matrices,
                made.potential_term,
                field,
                float(made.bounds[1]),
                np.ones(count),
            )
            yield library.name, run, library.wait

    flops = (
        sum(2 * n for n in shape) + 8
        if form == "matrices"
        else sum(round(5 * math.log2(n)) for n in shape) + 8
    )
    measure = kernel(
        f"{name}-{form}-{dtype}", grid, scheme, dtype, highest, 2 * d + 4, flops
    )
    title = f"Chebyshev, {' x '.join(map(str, shape))} nodes, {form}"
    needed = 16 * grid.size * jnp.dtype(dtype).itemsize
    machine = jax.default_backend(), jnp.finfo(dtype).bits
    enough = CONSTANTS.fourier_min_nodes.get(machine, CONSTANTS.unmeasured_min_nodes)
    asked, own = form == "fft", shape[0] >= enough
    forced = None if asked == own else asked
    return Row(
        f"{name}-{form}-{dtype}",
        title,
        lambda limits: measure(limits, rivals, forced),
        needed,
    )


def with_transforms(run: Callable[..., Any]) -> Callable[..., Any]:
    """`run`, traced with every axis by transforms."""

    def call(*arguments: Any) -> Any:
        with _transforms(True):
            return run(*arguments)

    return call


@contextlib.contextmanager
def _transforms(fourier: bool | None) -> Iterator[None]:
    """Use transforms on the axes, matrices, or (None) the choice of the scheme."""
    if fourier is None:
        yield
        return
    tables = CONSTANTS.fourier_min_nodes, CONSTANTS.sines_min_nodes
    before = [dict(table) for table in tables]
    jax.clear_caches()  # programs that were traced with the other choice
    try:
        for table in tables:
            for bits in (64, 32):
                table[jax.default_backend(), bits] = 0 if fourier else 10**9
        yield
    finally:
        jax.clear_caches()
        for table, old in zip(tables, before, strict=True):
            table.clear()
            table.update(old)

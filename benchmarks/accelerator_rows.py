"""The rows of the device benchmark, in the order in which they are measured.

The kernels evolve a Gaussian in a trap with rotated stiffness, whose density at any time is known, for so short a time
that some `PRODUCTS` products of the operator suffice. What a product moves and computes is counted by hand:

    finite volumes    reads 2 d rates and three fields, and writes one: 2 d + 4 arrays; 6 d + 5 operations a point
    matrices          reads a field and writes one for each axis, and four for the recurrence; 2 n operations an axis
"""

import contextlib
import dataclasses
import functools
import math
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import accelerator_twins as twins
import agreement
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

import fpsolve as fp
from fpsolve.scheme import spectral

PRODUCTS = 200  # of the operator in a timed run
REPEATS, ENOUGH, LONG = 5, 0.3, 8.0  # warm calls: at least so many, until so many seconds; a longer one is timed once
BATCH = 10  # short calls are given to the device together, so that its queue is never empty
STIFFNESS = {1: [[2.0]], 2: [[2.0, 0.5], [0.5, 1.5]], 3: [[2.0, 0.5, 0.0], [0.5, 1.5, 0.5], [0.0, 0.5, 2.5]]}
HALF, WIDE = 4.5, 7.0  # of the boxes, and where ten levels must fit
WIDTH = 0.6  # of the start
GOAL = {"float64": 1e-6, "float32": 2e-4}  # relative L1 error of a kernel row: what the space leaves, and rounding
SECOND = 1e-2  # the same on finite volumes, in squares of a cell: their error of second order
PROGRAMS: Path | None = None  # a folder for the texts of the compiled programs


class Limits:
    """The device's own rates, known once their rows are measured."""

    def __init__(self) -> None:
        self.rates: dict[str, float] = {}

    def learn(self, entry: dict[str, Any]) -> None:
        """Keep the rate of a row that measures one."""
        if "rate" in entry:
            self.rates[entry["row"]] = entry["rate"]

    def shares(self, dtype: str, seconds: float, moved: float, flops: float) -> dict[str, float]:
        """How near a run came to the rates of copies and of products in its precision."""
        copy, product = (self.rates.get(f"limit-{what}-{dtype}") for what in ("copy", "product"))
        shares = {} if copy is None else {"share_copy": moved / seconds / copy}
        return shares if product is None else shares | {"share_product": flops / seconds / product}


@dataclasses.dataclass(frozen=True)
class Row:
    """`measure(limits)` returns what was found, `seconds` among it; `bytes` is what the row needs at least."""

    name: str
    title: str
    measure: Callable[[Limits], dict[str, Any]]
    bytes: int = 0


def rows(small: bool) -> list[Row]:
    """All rows, at sizes that fill a card, or small."""
    pick = lambda large, little: little if small else large
    found = []
    for dtype in ("float64", "float32"):
        n = pick(2**28, 2**20)
        size = n * jnp.dtype(dtype).itemsize
        found.append(Row(f"limit-copy-{dtype}", "copies", functools.partial(copies, n, dtype), 3 * size))
    n = pick(8192, 256)
    for name, dtype, precision in (
        ("float64", "float64", "highest"),
        ("float32", "float32", "highest"),
        ("tf32", "float32", "default"),
        ("bfloat16", "bfloat16", "default"),
    ):
        title = f"products of {n} x {n} matrices"
        found.append(
            Row(f"limit-product-{name}", title, functools.partial(products, n, dtype, precision), 4 * n * n * 8)
        )
    for dtype in ("float64", "float32"):
        found.append(volumes("volumes-2d", (pick(4096, 64),) * 2, dtype))
    for dtype in ("float64", "float32"):
        for form in ("matrices", "fft"):
            found.append(smooth("spectral-2d", (pick(512, 32),) * 2, dtype, form))
    for dtype in ("float64", "float32"):
        for form in ("matrices", "fft"):
            found.append(smooth("spectral-3d", (pick(256, 16),) * 3, dtype, form))
    for dtype in ("float64", "float32"):
        found.append(volumes("volumes-3d", (pick(512, 16),) * 3, dtype))
    for dtype in ("float64", "float32"):
        sizes = pick((256, 512, 1024, 2048), (16, 32))
        found.append(Row(f"crossover-{dtype}", "FFT against matrices", functools.partial(crossover, sizes, dtype)))
    for name, title in (
        ("decomposition", "eigenvectors of n x n matrices"),
        ("chain", "a rational solve of n cells"),
        ("start", "a product on n cells"),
    ):
        found.append(Row(f"calibrate-{name}", title, functools.partial(calibrate, name, small)))
    found.append(Row("moving-2d", "a trap dragged through the plane", functools.partial(moving, pick(256, 24))))
    for d, n in ((2, pick(1024, 32)), (3, pick(128, 12))):
        title = f"ten levels, {' x '.join([str(n)] * d)} cells"
        found.append(Row(f"levels-{d}d", title, functools.partial(levels, d, n), 60 * 8 * n**d))
    count = pick(1024, 8)
    found.append(Row("sweep-runs", f"{count} densities in the plane", functools.partial(sweep, count)))
    found.append(Row("sweep-gaps", f"{count} gaps on a line", functools.partial(gaps, count)))
    found.append(Row("transport", "schedule and transport in the plane", functools.partial(transport, pick(256, 40))))
    for name, case in agreement.CASES.items():
        for dtype in ("float64", "float32") if case.single else ("float64",):
            title = f"{case.title}: a processor's numbers"
            found.append(Row(f"agree-{name}-{dtype}", title, functools.partial(agree, name, dtype)))
    return found


def timed(run: Callable[[], Any], wait: Callable[[Any], Any] = jax.block_until_ready) -> tuple[float, list[float]]:
    """The median second of warm calls, and all of them. Short calls are given to the device `BATCH` at a time."""
    wait(run())
    start = time.perf_counter()
    wait(run())
    once = time.perf_counter() - start
    batch = BATCH if once < ENOUGH / (REPEATS * BATCH) else 1
    seconds = [once] if once > LONG else []
    while once <= LONG and (len(seconds) < REPEATS or sum(seconds) * batch < ENOUGH):
        start = time.perf_counter()
        for _ in range(batch):
            answer = run()
        wait(answer)
        seconds.append((time.perf_counter() - start) / batch)
    return statistics.median(seconds), seconds


def compile_apart(function: Callable[..., Any], *arguments: Any, name: str = "") -> tuple[Any, dict[str, Any]]:
    """The compiled program, the seconds of tracing and of compiling it, and the bytes that it needs. Its text goes to
    `PROGRAMS` under `name`, if both are given."""
    start = time.perf_counter()
    lowered = jax.jit(function).lower(*arguments)
    traced = time.perf_counter()
    program = lowered.compile()
    facts: dict[str, Any] = {"seconds_trace": traced - start, "seconds_compile": time.perf_counter() - traced}
    with contextlib.suppress(Exception):  # not every backend tells
        used = program.memory_analysis()
        total = used.argument_size_in_bytes + used.output_size_in_bytes + used.temp_size_in_bytes
        facts["program_bytes"] = int(total)
    if PROGRAMS is not None and name:
        (PROGRAMS / f"{name}.txt").write_text(program.as_text(), encoding="utf-8")
    return program, facts


def peak() -> int | None:
    """The most memory that the device has held in this process so far, where it tells."""
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def copies(n: int, dtype: str, limits: Limits) -> dict[str, Any]:
    """Bytes a second, read and written, of y = 2 x."""
    run, facts = compile_apart(lambda x: 2 * x, jnp.ones(n, dtype))
    field = jax.random.normal(jax.random.key(0), (n,), dtype)
    seconds, every = timed(lambda: run(field))
    rate = 2 * field.nbytes / seconds
    words = f"{rate / 1e12:.2f} TB/s"
    return {"seconds": seconds, "every": every, "dtype": dtype, "rate": rate, "words": words} | facts


def products(n: int, dtype: str, precision: str, limits: Limits) -> dict[str, Any]:
    """Operations a second of a product of two n x n matrices, and its error against float64."""
    draw = lambda seed: jax.random.normal(jax.random.key(seed), (n, n)).astype(dtype)
    a, b = draw(0), draw(1)
    run, facts = compile_apart(lambda a, b: jnp.matmul(a, b, precision=precision), a, b)
    seconds, every = timed(lambda: run(a, b))
    few = np.asarray(a[:16].astype(jnp.float64)) @ np.asarray(b.astype(jnp.float64))
    error = float(np.linalg.norm(np.asarray(run(a, b)[:16].astype(jnp.float64)) - few) / np.linalg.norm(few))
    rate = 2 * n**3 / seconds
    words = f"{rate / 1e12:.1f} Tflop/s"
    facts |= {"seconds": seconds, "every": every, "dtype": dtype, "rate": rate, "words": words, "error": error}
    return facts


def trap(x: Any, strength: Any) -> Any:
    """U = strength x.K x / 2. The strength is an argument, so that nothing is computed when a program is compiled."""
    stiffness = STIFFNESS[x.shape[0]]
    return strength * sum(stiffness[i][j] * x[i] * x[j] for i in range(len(x)) for j in range(len(x))) / 2


def gaussian(grid: fp.Grid, mean: Any, covariance: Any, dtype: str) -> Any:
    """A normal density on the nodes, computed on the device."""
    inverse, norm = np.linalg.inv(covariance), math.sqrt(np.linalg.det(2 * np.pi * np.asarray(covariance)))
    shape = lambda x, i: jnp.asarray(x).reshape([-1 if j == i else 1 for j in range(grid.ndim)])
    away = [shape(axis.nodes - mean[i], i) for i, axis in enumerate(grid.axes)]

    @jax.jit
    def density(away: Any) -> Any:
        square = sum(inverse[i, j] * away[i] * away[j] for i in range(grid.ndim) for j in range(grid.ndim))
        return (jnp.exp(-square / 2) / norm).astype(dtype)

    return density(away)


def at(t: float, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the trapped density at time t (Ornstein and Uhlenbeck)."""
    stiffness, mean, spread = np.array(STIFFNESS[d]), 0.3 * np.ones(d), WIDTH**2 * np.eye(d)
    decay, still = scipy.linalg.expm(-t * stiffness), np.linalg.inv(stiffness)
    return decay @ mean, still + decay @ (spread - still) @ decay.T


def apart(found: Any, truth: Any) -> float:
    """Relative L1 distance."""
    return float(jnp.sum(jnp.abs(found.astype(float) - truth)) / jnp.sum(jnp.abs(truth)))


def cube(shape: tuple[int, ...]) -> fp.Grid:
    """Lines about the origin."""
    return fp.Grid(*(fp.Line(-HALF, HALF, n) for n in shape))


def evolution(grid: fp.Grid, scheme: Any, t: float) -> Callable[[Any, Any], Any]:
    """The run that the kernel rows time: values, products of the operator, estimated error."""

    def run(field: Any, strength: Any) -> Any:
        equation = fp.FokkerPlanck(lambda x: trap(x, strength))
        options = {"grid": grid, "scheme": scheme, "method": fp.Chebyshev(()), "throw": False}
        solution = fp.evolve(equation, field, [t], **options)
        return solution.values[0], solution.stats["operator_calls"], solution.error[0]

    return run


def kernel(name: str, grid: fp.Grid, scheme: Any, dtype: str, highest: float, moved: int, flops: int) -> Any:
    """A row of a run; `moved` arrays and `flops` operations a point for each product; twins are added by `rivals`."""

    def measure(limits: Limits, rivals: Any, fourier: bool | None) -> dict[str, Any]:
        t, d = PRODUCTS**2 / (25 * highest), grid.ndim
        field = gaussian(grid, *at(0.0, d), dtype)
        with _transforms(fourier):
            run, facts = compile_apart(evolution(grid, scheme, t), field, jnp.ones((), dtype), name=name)
        one = jnp.ones((), dtype)
        seconds, every = timed(lambda: run(field, one))
        values, calls, estimate = run(field, one)
        error = apart(values, gaussian(grid, *at(t, d), "float64"))
        calls, size = float(calls), grid.size
        work = {"bytes_moved": moved * size * field.dtype.itemsize * calls, "flops": flops * size * calls}
        facts |= {"seconds": seconds, "every": every, "dtype": dtype, "calls": calls} | work
        goal = max(GOAL[dtype], SECOND * grid.axes[0].gaps[0] ** 2 if isinstance(scheme, fp.ScharfetterGummel) else 0)
        facts |= {"error": error, "estimate": float(estimate), "goal": goal, "reached": error <= goal, "points": size}
        facts |= limits.shares(dtype, seconds, *work.values())
        facts |= {"seconds_product": seconds / calls, "words": f"{1e6 * seconds / calls:.1f} us a product"}
        facts["rivals"] = {}
        del values
        with _transforms(fourier):
            for rival_name, rival, wait in rivals(field, int(calls)):
                facts["rivals"][rival_name] = timed(rival, lambda _, wait=wait: wait())[0]
        facts["ratios"] = {name: other / seconds for name, other in facts["rivals"].items()}
        return facts

    return measure


def volumes(name: str, shape: tuple[int, ...], dtype: str) -> Row:
    """Chebyshev on finite volumes."""
    grid, scheme, d = cube(shape), fp.ScharfetterGummel(), len(shape)
    highest = sum(4 / axis.gaps[0] ** 2 for axis in grid.axes)

    def rivals(field: Any, count: int) -> Iterator[Any]:
        build = jax.jit(lambda k: scheme.build(fp.FokkerPlanck(lambda x: trap(x, k)), grid, 0.0, field.dtype, True))
        made = build(jnp.ones((), dtype))
        inner = [c / float(axis.gaps[0]) for c, axis in zip(made.couplings, grid.axes, strict=True)]
        for library in twins.libraries(jax.default_backend()):
            run = twins.volumes(library, inner, made.leaving, field, float(made.bounds[1]), np.ones(count))
            yield library.name, run, library.wait

    measure = kernel(f"{name}-{dtype}", grid, scheme, dtype, highest, 2 * d + 4, 6 * d + 5)
    title = f"Chebyshev, {' x '.join(map(str, shape))} cells"
    needed = 12 * grid.size * jnp.dtype(dtype).itemsize
    return Row(f"{name}-{dtype}", title, lambda limits: measure(limits, rivals, None), needed)


def smooth(name: str, shape: tuple[int, ...], dtype: str, form: str) -> Row:
    """Chebyshev in a spectral basis, by matrices or by transforms."""
    grid, scheme, d = cube(shape), fp.Spectral(), len(shape)
    highest = sum((np.pi / axis.gaps[0]) ** 2 for axis in grid.axes) + 60.0

    def rivals(field: Any, count: int) -> Iterator[Any]:
        if form != "matrices":
            return
        build = jax.jit(lambda k: scheme.build(fp.FokkerPlanck(lambda x: trap(x, k)), grid, 0.0, field.dtype, True))
        made = build(jnp.ones((), dtype))
        matrices = [term.matrix for term in made.terms]
        for library in twins.libraries(jax.default_backend()):
            run = twins.spectral(library, matrices, made.well, field, float(made.bounds[1]), np.ones(count))
            yield library.name, run, library.wait

    flops = sum(2 * n for n in shape) + 8 if form == "matrices" else sum(round(5 * math.log2(n)) for n in shape) + 8
    measure = kernel(f"{name}-{form}-{dtype}", grid, scheme, dtype, highest, 2 * d + 4, flops)
    title = f"Chebyshev, {' x '.join(map(str, shape))} nodes, {form}"
    needed = 16 * grid.size * jnp.dtype(dtype).itemsize
    return Row(f"{name}-{form}-{dtype}", title, lambda limits: measure(limits, rivals, form == "fft"), needed)


@contextlib.contextmanager
def _transforms(fourier: bool | None) -> Iterator[None]:
    """Axes by transforms, by matrices, or (None) as the scheme chooses."""
    if fourier is None:
        yield
        return
    tables = spectral.FOURIER_FROM, spectral.SINES_FROM
    before = [dict(table) for table in tables]
    jax.clear_caches()  # what was traced with the other choice
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


def crossover(sizes: tuple[int, ...], dtype: str, limits: Limits) -> dict[str, Any]:
    """Microseconds of -d²/dx² along either axis of n x n fields, by a matrix and by FFT, and where the FFT wins."""
    from fpsolve.scheme.tensor import FourierKinetic, MatrixKinetic

    table, least = {}, {"fft": None, "sines": None}
    for n in sizes:
        field = jax.random.normal(jax.random.key(0), (n, n), dtype)
        symbol = jnp.arange(n // 2 + 1).astype(dtype) ** 2
        times = {}
        for form, term in (
            ("matrix", MatrixKinetic(jnp.ones((n, n), dtype), jnp.ones((), dtype))),
            ("fft", FourierKinetic(symbol, n, False)),
            ("sines", FourierKinetic(jnp.arange(n + 1).astype(dtype) ** 2, n, True)),
        ):
            # Twenty products in one program: a single one would be over before the next is given to the device.
            act = lambda term, u: jax.lax.fori_loop(
                0, 10, lambda _, u: 1e-3 * (term.hamiltonian(u, 0, 2) + term.hamiltonian(u, 1, 2)), u
            )
            run = fp.core.program.compiled(act)
            times[form] = timed(lambda run=run, term=term, field=field: run(term, field))[0] / 20
        table[n] = {form: 1e6 * seconds for form, seconds in times.items()}
    for form in least:
        for n in sorted(table, reverse=True):
            if table[n][form] > table[n]["matrix"]:
                break
            least[form] = n
    ratios = " ".join(
        f"{n}: {row['matrix'] / row['fft']:.2f}, {row['matrix'] / row['sines']:.2f}" for n, row in table.items()
    )
    seconds = table[sizes[-1]]["matrix"] / 1e6
    words = f"from n = {least['fft']} (sines {least['sines']}); matrix / FFT, sines {ratios}"
    return {"seconds": seconds, "dtype": dtype, "table": table, "least": least, "words": words}


def calibrate(name: str, small: bool, limits: Limits) -> dict[str, Any]:
    """What the choice among methods rests on (`core/machine.py`): microseconds at several sizes."""
    table: dict[int, float] = {}
    if name == "decomposition":
        for n in (32, 64) if small else (64, 256, 1024):
            a = jax.random.normal(jax.random.key(0), (n, n), jnp.float64)
            run = jax.jit(lambda a: jnp.linalg.eigh(a + a.T))
            table[n] = 1e6 * timed(lambda run=run, a=a: run(a))[0]
    for n in (64, 512) if small else (256, 4096, 65536):
        if name == "decomposition":
            break
        grid, method = fp.Grid(fp.Line(-HALF, HALF, n)), fp.Rational() if name == "chain" else fp.Chebyshev()
        t = 1.0 if name == "chain" else PRODUCTS**2 / (25 * 4 / grid.axes[0].gaps[0] ** 2)
        solve = lambda u, k, grid=grid, method=method, t=t: (
            fp.evolve(
                fp.FokkerPlanck(lambda x: trap(x, k)),
                u,
                [t],
                grid=grid,
                scheme=fp.ScharfetterGummel(),
                method=method,
                throw=False,
            ).values
        )
        field, one = gaussian(grid, *at(0.0, 1), "float64"), jnp.ones(())
        run, _ = compile_apart(solve, field, one)
        seconds = timed(functools.partial(run, field, one))[0]
        table[n] = 1e6 * seconds / (1 if name == "chain" else PRODUCTS)
    words = ", ".join(f"{n}: {microseconds:.1f} us" for n, microseconds in table.items())
    return {"seconds": table[max(table)] / 1e6, "dtype": "float64", "table": table, "words": words}


def moving(n: int, limits: Limits) -> dict[str, Any]:
    """A trap dragged through the plane, whose density stays normal: the call, and a second one with other numbers."""
    grid = fp.Grid(fp.Line(-4.0, 6.0, n), fp.Line(-4.5, 4.5, n))
    stiffness = np.array(STIFFNESS[2])

    def call(speed: float) -> Any:
        equation = fp.FokkerPlanck(lambda x, t: trap(x - jnp.array([speed * t, 0.0]), 1.0))
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
    facts = {"seconds": seconds, "every": every, "seconds_first": first, "dtype": "float64", "error": error}
    facts |= {"reached": error <= 1e-6, "estimate": float(found.error[-1]), "method": found.stats["method"]}
    return facts | {"words": f"first call {first:.1f} s"}


def levels(d: int, n: int, limits: Limits) -> dict[str, Any]:
    """Ten levels on finite volumes by multigrid, against those of the trap: sums of its stiffnesses."""
    grid, scheme = fp.Grid(*(fp.Line(-WIDE, WIDE, n),) * d), fp.ScharfetterGummel()

    def call(strength: float) -> Any:
        return fp.spectrum(fp.FokkerPlanck(lambda x: trap(x, strength)), grid, 10, scheme=scheme, tol=1e-8)

    begun = time.perf_counter()
    jax.block_until_ready(call(1.0).values)
    first = time.perf_counter() - begun
    strengths = iter(1.0 + 1e-3 * np.arange(1, 1000))
    seconds, every = timed(lambda: call(float(next(strengths))).values)
    own = np.linalg.eigvalsh(np.array(STIFFNESS[d]))
    counts = np.stack(np.meshgrid(*[np.arange(10)] * d), -1).reshape(-1, d)
    truth, found = np.sort(counts @ own)[:10], call(1.0)
    error = float(np.max(np.abs(np.asarray(found.values)[1:] / truth[1:] - 1)))
    cells = 2 * WIDE / n  # each level errs by a share of the cell's square
    facts = {"seconds": seconds, "every": every, "seconds_first": first, "dtype": "float64", "error": error}
    facts |= {"reached": error <= 4 * cells**2, "residual": float(np.max(np.asarray(found.errors)))}
    return facts | {"words": f"first call {first:.1f} s"}


def sweep(count: int, limits: Limits) -> dict[str, Any]:
    """Densities in traps of many strengths at once, by `vmap`."""
    grid, d = fp.Grid(fp.Line(-6.0, 6.0, 40), fp.Line(-6.5, 6.5, 36)), 2
    one = evolution(grid, fp.Spectral(), 0.5)
    field = gaussian(grid, *at(0.0, d), "float64")
    strengths = jnp.linspace(0.9, 1.1, count + count % 2 + 1)
    program, facts = compile_apart(jax.vmap(one, (None, 0)), field, strengths, name="sweep-runs")
    seconds, every = timed(lambda: program(field, strengths))
    values = program(field, strengths)[0]
    error = apart(values[len(strengths) // 2], gaussian(grid, *at(0.5, d), "float64"))
    facts |= {"seconds": seconds, "every": every, "dtype": "float64", "error": error, "reached": error <= 1e-6}
    return facts | {"words": f"{1e6 * seconds / count:.1f} us each"}


def gaps(count: int, limits: Limits) -> dict[str, Any]:
    """Gaps of many double wells at once, by `vmap`; one of them against the same gap alone."""
    grid = fp.Grid(fp.Line(-2.5, 2.5, 48))
    gap = lambda barrier: fp.spectral_gap(fp.FokkerPlanck(fp.DoubleWell(barrier)), grid)
    barriers = jnp.linspace(1.0, 4.0, count)
    program, facts = compile_apart(jax.vmap(gap), barriers, name="sweep-gaps")
    seconds, every = timed(lambda: program(barriers))
    alone = float(gap(float(barriers[count // 2])))
    error = abs(float(program(barriers)[count // 2]) / alone - 1)
    facts |= {"seconds": seconds, "every": every, "dtype": "float64", "error": error, "reached": error <= 1e-8}
    return facts | {"words": f"{1e6 * seconds / count:.1f} us each"}


def transport(n: int, limits: Limits) -> dict[str, Any]:
    """The path of `transport.py` in the plane, with its schedule: from nothing, and again with another path."""
    grid = fp.Grid(fp.Line(-5.0, 4.0, n), fp.Line(-4.8, 4.8, n))

    def call(tilt: float) -> Any:
        path = fp.Mix(
            lambda x: 2 * (x[0] + 1) ** 2 + 2 * x[1] ** 2,
            lambda x: 3 * (x[0] ** 2 - 1) ** 2 - tilt * x[0] + 2 * x[1] ** 2 + x[0] * x[1] / 2,
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
    facts = {"seconds": seconds, "every": [seconds], "seconds_first": first, "dtype": "float64"}
    facts |= {"error": float(run.error[-1]), "kl": float(run.kl[-1])}
    return facts | {"words": f"first call {first:.1f} s, KL {float(run.kl[-1]):.4e}"}


def agree(name: str, dtype: str, limits: Limits) -> dict[str, Any]:
    """The numbers of a small problem against those of a processor; the first call and the second."""
    case = agreement.CASES[name]
    begun = time.perf_counter()
    numbers = case.solve(jnp.dtype(dtype))
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    case.solve(jnp.dtype(dtype))
    seconds = time.perf_counter() - begun
    error = agreement.error(name, numbers)
    goal = case.tol if dtype == "float64" else agreement.SINGLE
    facts = {"seconds": seconds, "every": [seconds], "seconds_first": first, "dtype": dtype, "error": error}
    return facts | {"reached": error <= goal, "goal": goal, "words": f"first call {first:.1f} s"}

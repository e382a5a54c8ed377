"""The limits of the device, the size from which transforms are faster, and the costs by
which methods are compared.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from accelerator_kernels import HALF, PRODUCTS, at, gaussian, trap
from accelerator_timing import Limits, compile_apart, timed

import fpsolve as fp


def copies(n: int, dtype: str, limits: Limits) -> dict[str, Any]:
    """Bytes a second, read and written, of y = 2 x."""
    run, facts = compile_apart(lambda x: 2 * x, jnp.ones(n, dtype))
    field = jax.random.normal(jax.random.key(0), (n,), dtype)
    seconds, every = timed(lambda: run(field))
    rate = 2 * field.nbytes / seconds
    words = f"{rate / 1e12:.2f} TB/s"
    return {
        "seconds": seconds,
        "every": every,
        "dtype": dtype,
        "rate": rate,
        "words": words,
    } | facts


def products(n: int, dtype: str, precision: str, limits: Limits) -> dict[str, Any]:
    """Operations a second of a product of two n x n matrices, and its error against
    float64.
    """
    draw = lambda seed: jax.random.normal(jax.random.key(seed), (n, n)).astype(dtype)
    a, b = draw(0), draw(1)
    run, facts = compile_apart(lambda a, b: jnp.matmul(a, b, precision=precision), a, b)
    seconds, every = timed(lambda: run(a, b))
    few = np.asarray(a[:16].astype(jnp.float64)) @ np.asarray(b.astype(jnp.float64))
    error = float(
        np.linalg.norm(np.asarray(run(a, b)[:16].astype(jnp.float64)) - few)
        / np.linalg.norm(few)
    )
    rate = 2 * n**3 / seconds
    words = f"{rate / 1e12:.1f} Tflop/s"
    facts |= {
        "seconds": seconds,
        "every": every,
        "dtype": dtype,
        "rate": rate,
        "words": words,
        "error": error,
    }
    return facts


def crossover(sizes: tuple[int, ...], dtype: str, limits: Limits) -> dict[str, Any]:
    """Microseconds of -d²/dx² along either axis of n x n fields, by a matrix and by
    FFT, and the size from which the FFT is faster.
    """
    from fpsolve.operator.tensor import FourierKinetic, MatrixKinetic

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
            # Twenty products in one program, because a single one ends before the host
            # can launch the next.
            act = lambda term, u: jax.lax.fori_loop(
                0,
                10,
                lambda _, u: (
                    1e-3 * (term.hamiltonian(u, 0, 2) + term.hamiltonian(u, 1, 2))
                ),
                u,
            )
            run = fp.core.program.compiled(act)
            times[form] = (
                timed(lambda run=run, term=term, field=field: run(term, field))[0] / 20
            )
        table[n] = {form: 1e6 * seconds for form, seconds in times.items()}
    for form in least:
        for n in sorted(table, reverse=True):
            if table[n][form] > table[n]["matrix"]:
                break
            least[form] = n
    ratios = " ".join(
        f"{n}: {row['matrix'] / row['fft']:.2f}, {row['matrix'] / row['sines']:.2f}"
        for n, row in table.items()
    )
    seconds = table[sizes[-1]]["matrix"] / 1e6
    words = (
        f"from n = {least['fft']} (sines {least['sines']}); matrix / FFT, sines "
        f"{ratios}"
    )
    return {
        "seconds": seconds,
        "dtype": dtype,
        "table": table,
        "least": least,
        "words": words,
    }


def calibrate(name: str, small: bool, limits: Limits) -> dict[str, Any]:
    """The costs by which methods are compared (`core/machine.py`): microseconds at
    several sizes.
    """
    table: dict[int, float] = {}
    if name == "decomposition":
        for n in (32, 64) if small else (64, 256, 1024):
            a = jax.random.normal(jax.random.key(0), (n, n), jnp.float64)
            run = jax.jit(lambda a: jnp.linalg.eigh(a + a.T))
            table[n] = 1e6 * timed(lambda run=run, a=a: run(a))[0]
    for n in (64, 512) if small else (256, 4096, 65536):
        if name == "decomposition":
            break
        grid = fp.Grid(fp.Line(-HALF, HALF, n))
        method = fp.Rational() if name == "chain" else fp.Chebyshev()
        t = (
            1.0
            if name == "chain"
            else PRODUCTS**2 / (25 * 4 / grid.axes[0].spacings[0] ** 2)
        )
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
        field = gaussian(grid, *at(0.0, 1), "float64")
        one = jnp.ones(())
        run, _ = compile_apart(solve, field, one)
        seconds = timed(functools.partial(run, field, one))[0]
        table[n] = 1e6 * seconds / (1 if name == "chain" else PRODUCTS)
    words = ", ".join(
        f"{n}: {microseconds:.1f} us" for n, microseconds in table.items()
    )
    return {
        "seconds": table[max(table)] / 1e6,
        "dtype": "float64",
        "table": table,
        "words": words,
    }

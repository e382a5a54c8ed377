"""From how many nodes transforms are faster than matrices.

    python benchmarks/crossover.py [--quick] [--out FILE]

-D d^2/dx^2 along one axis of a field, by its dense matrix and by FFT (a ring, or the
odd extension that sines need), on the default device, float32 and float64, real and
complex. The crossover of a precision is the least n from which on the FFT is the faster
on real fields, in the geometric mean over all shapes and axes. It is written in
`fpsolve/operator/constants.py`.
"""

import argparse
import datetime
import math
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [path for path in (str(HERE.parent), str(HERE)) if path not in sys.path]

import harness  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

SIZES = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096)
SHAPES = {1: (), 2: (48,), 3: (32, 32)}  # the other axes, by dimension
FORMS = {"fourier": False, "sines": True}


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="up to 512 nodes, nothing written"
    )
    parser.add_argument("--out", type=Path, default=None)
    chosen = parser.parse_args(argv)
    jax.config.update("jax_enable_x64", True)
    rows = []
    for dtype in (jnp.float64, jnp.float32, jnp.complex128, jnp.complex64):
        for n in (n for n in SIZES if n <= 512 or not chosen.quick):
            found = [
                measure(n, d, axis, dtype)
                for d in SHAPES
                for axis in sorted({0, d - 1})
            ]
            rows += found
            means = {form: _mean([row[form] for row in found]) for form in FORMS}
            cells = " ".join(f"{row['dense'] * 1e6:9.1f}" for row in found)
            print(
                f"{jnp.dtype(dtype).name:10s} n = {n:5d}  dense us {cells}   dense / "
                "FFT",
                end="",
            )
            print(
                "".join(f"  {form} {mean:6.2f}" for form, mean in means.items()),
                flush=True,
            )
    found = {
        f"{form} {bits}": crossover(rows, form, bits)
        for form in FORMS
        for bits in (64, 32)
    }
    print("\nFFT from n =", found)
    out = chosen.out or (None if chosen.quick else HERE / "results" / "crossover.json")
    if out is not None:
        from fpsolve.core.files import write_atomically

        content = {
            "environment": harness.environment(),
            "crossover": found,
            "rows": rows,
        }
        write_atomically(out, lambda file: file.write(harness.as_json(content)))
    return 0


def measure(n: int, d: int, axis: int, dtype: Any) -> dict[str, Any]:
    """Seconds of the dense product along an axis of n nodes, and their ratio to the
    seconds of the FFT.
    """
    import fpsolve as fp
    from fpsolve.operator.basis import wavenumbers
    from fpsolve.operator.tensor import FourierKinetic, MatrixKinetic

    shape = list(SHAPES[d])
    shape.insert(axis, n)
    real = jnp.zeros((), dtype).real.dtype
    field = jax.random.normal(jax.random.key(0), shape, real).astype(dtype)
    act = jax.jit(lambda term, u: term.hamiltonian(u, axis, d))
    seconds = lambda term: harness.median_seconds(
        lambda: act(term, field), 7 if n <= 1024 else 3
    )
    dense = seconds(MatrixKinetic(jnp.ones((n, n), real), jnp.ones((), real)))
    row = {
        "n": n,
        "shape": shape,
        "axis": axis,
        "dtype": jnp.dtype(dtype).name,
        "dense": dense,
    }
    for form, odd in FORMS.items():
        symbol = wavenumbers((fp.Absorbing if odd else fp.Periodic)(0.0, 1.0, n)) ** 2
        row[form] = dense / seconds(FourierKinetic(jnp.asarray(symbol, real), n, odd))
    row["versions"], row["device"] = harness.versions(""), harness.device()
    row["date"] = datetime.datetime.now(datetime.UTC).date().isoformat()
    return row


def crossover(rows: list[dict[str, Any]], form: str, bits: int) -> int | None:
    """The least n from which on the FFT is faster, None if there is none."""
    least = None
    for n in sorted({row["n"] for row in rows}, reverse=True):
        if (
            _mean(
                [
                    row[form]
                    for row in rows
                    if row["n"] == n and row["dtype"] == f"float{bits}"
                ]
            )
            < 1
        ):
            break
        least = n
    return least


def _mean(ratios: list[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


if __name__ == "__main__":
    raise SystemExit(main())

"""The rows of the device benchmark, in the order in which they are measured."""

import functools
from typing import Any

import agreement
import jax
import jax.numpy as jnp
from accelerator_answers import agree, gaps, levels, moving, sweep, transport
from accelerator_kernels import (
    at,
    cube,
    evolution,
    gaussian,
    smooth,
    trap,
    volumes,
    with_transforms,
)
from accelerator_limits import calibrate, copies, crossover, products
from accelerator_timing import Row

import fpsolve as fp

LINE = fp.Grid(fp.Line(-2.5, 2.5, 12))


def rows(small: bool) -> list[Row]:
    """All rows, at sizes that fill a card, or small."""
    pick = lambda large, little: little if small else large
    found = []
    for dtype in ("float64", "float32"):
        n = pick(2**28, 2**20)
        size = n * jnp.dtype(dtype).itemsize
        found.append(
            Row(
                f"limit-copy-{dtype}",
                "copies",
                functools.partial(copies, n, dtype),
                3 * size,
            )
        )
    n = pick(8192, 256)
    for name, dtype, precision in (
        ("float64", "float64", "highest"),
        ("float32", "float32", "highest"),
        ("tf32", "float32", "default"),
        ("bfloat16", "bfloat16", "default"),
    ):
        title = f"products of {n} x {n} matrices"
        found.append(
            Row(
                f"limit-product-{name}",
                title,
                functools.partial(products, n, dtype, precision),
                4 * n * n * 8,
            )
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
        sizes = pick((512, 1024, 2048), (16, 32))
        found.append(
            Row(
                f"crossover-{dtype}",
                "FFT against matrices",
                functools.partial(crossover, sizes, dtype),
            )
        )
    for name, title in (
        ("decomposition", "eigenvectors of n x n matrices"),
        ("chain", "a rational solve of n cells"),
        ("start", "a product on n cells"),
    ):
        found.append(
            Row(f"calibrate-{name}", title, functools.partial(calibrate, name, small))
        )
    found.append(
        Row(
            "moving-2d",
            "a trap dragged through the plane",
            functools.partial(moving, pick(256, 24)),
        )
    )
    for d, n in ((2, pick(1024, 36)), (3, pick(128, 8))):
        title = f"ten levels, {' x '.join([str(n)] * d)} cells"
        found.append(
            Row(f"levels-{d}d", title, functools.partial(levels, d, n), 60 * 8 * n**d)
        )
    count = pick(1024, 8)
    found.append(
        Row(
            "sweep-runs",
            f"{count} densities in the plane",
            functools.partial(sweep, count),
        )
    )
    found.append(
        Row("sweep-gaps", f"{count} gaps on a line", functools.partial(gaps, count))
    )
    if small:  # one program of each kind; other tests have the rest
        names: tuple[str, ...] = ("P1", "correspondence")
    else:
        found.append(
            Row(
                "transport",
                "schedule and transport in the plane",
                functools.partial(transport, 256),
            )
        )
        names = tuple(agreement.CASES)
    for name in names:
        case = agreement.CASES[name]
        for dtype in ("float64", "float32") if case.single else ("float64",):
            title = f"{case.title}: a processor's numbers"
            found.append(
                Row(
                    f"agree-{name}-{dtype}",
                    title,
                    functools.partial(agree, name, dtype),
                )
            )
    return found


def programs(dtype: str) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """The programs of the rows, small, with their arguments: they must lower for every
    device.
    """
    plane = cube((8, 6))
    space = cube((5, 6, 7))
    one = jnp.ones((), dtype)
    volumes_ = fp.ScharfetterGummel()
    smooth_ = fp.Spectral()
    found: dict[str, tuple[Any, tuple[Any, ...]]] = {}
    for grid, name in ((plane, "2d"), (space, "3d")):
        field = gaussian(grid, *at(0.0, grid.ndim), dtype)
        found[f"volumes-{name}"] = evolution(grid, volumes_, 0.1), (field, one)
        found[f"spectral-{name}-matrices"] = evolution(grid, smooth_, 0.1), (field, one)
    found["spectral-2d-fft"] = (
        with_transforms(evolution(plane, smooth_, 0.1)),
        found["spectral-2d-matrices"][1],
    )
    field = gaussian(plane, *at(0.0, 2), dtype)
    found["sweep-runs"] = (
        jax.vmap(evolution(plane, smooth_, 0.5), (None, 0)),
        (field, jnp.ones(3, dtype)),
    )

    def dragged(field: Any, speed: Any) -> Any:
        equation = fp.FokkerPlanck(
            lambda x, t: trap(x - jnp.stack([speed * t, 0 * t]), 1.0)
        )
        options = {
            "grid": plane,
            "scheme": smooth_,
            "method": fp.Magnus(steps=4),
            "throw": False,
        }
        return fp.evolve(equation, field, [0.5], **options).values

    def levels_(strength: Any) -> Any:
        return fp.spectrum(
            fp.FokkerPlanck(lambda x: trap(x, strength)),
            plane,
            3,
            scheme=volumes_,
            tol=1e-4,
        ).values

    found["moving-2d"] = dragged, (field, one)
    found["levels-2d"] = levels_, (one,)
    found["sweep-gaps"] = (
        jax.vmap(lambda k: fp.spectral_gap(fp.FokkerPlanck(fp.DoubleWell(k)), LINE)),
        (jnp.ones(3),),
    )
    return found

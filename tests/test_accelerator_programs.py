"""Every program of the device benchmark is built for accelerators on this processor:
`jax.export` for CUDA and TPU.
"""

import re
import sys
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import fpsolve as fp
from blocks import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import accelerator_rows

NAMES = tuple(accelerator_rows.programs("float64"))


def texts(function: Any, *arguments: Any) -> dict[str, str]:
    """The program for each platform, lowered as it would be there."""
    export = jax.export.export
    return {
        name: export(jax.jit(function), platforms=[name])(*arguments).mlir_module()
        for name in ("cuda", "tpu")
    }


def rounded(text: str) -> list[str]:
    """Products of matrices that a device may round: floating, and not in the highest
    precision.
    """
    found = [
        line
        for line in text.splitlines()
        if "stablehlo.dot_general" in line and re.search(r"x[fc]\w+>", line)
    ]
    return [line for line in found if line.count("HIGHEST") < 2]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_programs_lower_without_the_host_and_in_full_precision(
    name: str, dtype: str, monkeypatch: Any
) -> None:
    for module in (
        "core.apply_along_axis",
        "core.machine",
        "operator.edges",
    ):  # as a program is traced on an accelerator
        monkeypatch.setattr(f"fpsolve.{module}.on_processor", lambda: False)
    jax.clear_caches()
    function, arguments = accelerator_rows.programs(dtype)[name]
    for platform, text in texts(function, *arguments).items():
        assert rounded(text) == [], platform
        for forbidden in ("callback", "lapack", "xla_python"):
            assert forbidden not in text, f"{platform}: {forbidden}"
    jax.clear_caches()


LINE = fp.Grid(fp.Line(-3.0, 3.0, 12))
PLANE = fp.Grid(fp.Line(-3.0, 3.0, 8), fp.Line(-3.0, 3.0, 7))
WELL = lambda k: fp.FokkerPlanck(lambda x: k * jnp.sum((x**2 - 1) ** 2))
SWIRL = lambda k: fp.FokkerPlanck(
    lambda x: k * jnp.sum(x**2) / 2, force=lambda x: jnp.stack([x[1], -x[0]])
)
BOWLS = lambda k: fp.Mix(
    lambda x: 2 * (x[0] + k) ** 2, lambda x: 3 * (x[0] ** 2 - 1) ** 2
)
LEFT, RIGHT = lambda x: x[0] < -1, lambda x: x[0] > 1


def run(equation: Any, grid: fp.Grid, method: Any = None) -> Any:
    start = fp.Gaussian([1.0, 0.0][: grid.ndim], 0.3)
    return fp.evolve(
        equation, start, [0.5], grid=grid, method=method, throw=False
    ).values


PUBLIC = {  # calls as users write them, under their own `jit`
    "committor": lambda k: fp.committor(WELL(k), LINE, LEFT, RIGHT),
    "passage times": lambda k: fp.mean_first_passage_time(WELL(k), LINE, RIGHT),
    "transport": lambda k: (
        fp.transport(BOWLS(k), fp.schedule.linear(1.0), grid=LINE, times=[1.0]).kl
    ),
    "reconstruction": lambda k: fp.score.reconstruct(lambda x: -k * x, LINE).gap,
    "irreversible": lambda k: run(SWIRL(k), PLANE),
    "dense": lambda k: run(WELL(k), LINE, fp.Dense()),
    "rational": lambda k: run(WELL(k), LINE, fp.Rational()),
    "gap and slope": jax.grad(lambda k: fp.spectral_gap(WELL(k), LINE)),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_calls_lower_without_the_host_and_in_full_precision(name: str) -> None:
    for platform, text in texts(PUBLIC[name], jnp.ones(())).items():
        assert rounded(text) == [], platform
        assert "callback" not in text and "lapack" not in text, platform


def test_a_rounded_product_is_seen() -> None:
    a = jnp.ones((3, 3), jnp.float32)
    assert rounded(texts(lambda a: a @ a, a)["cuda"])
    assert not rounded(
        texts(lambda a: jnp.matmul(a, a, precision="highest"), a)["cuda"]
    )


def test_a_program_that_calls_the_host_does_not_lower() -> None:
    shape = jax.ShapeDtypeStruct((3,), jnp.float32)
    asks = lambda a: jax.pure_callback(lambda a: a, shape, a)
    with pytest.raises(ValueError, match="platform"):
        texts(asks, jnp.ones(3, jnp.float32))


def test_a_warm_run_moves_nothing_between_host_and_device() -> None:
    function, arguments = accelerator_rows.programs("float64")["volumes-2d"]
    run = jax.jit(function)
    jax.block_until_ready(run(*arguments))
    with jax.transfer_guard("disallow"):
        jax.block_until_ready(run(*arguments))
    with jax.transfer_guard("disallow"), pytest.raises(Exception, match="transfer"):
        # the guard is awake: a number from the host is a transfer
        run(arguments[0], 1.0)


def test_costs_of_both_kinds_of_machine_are_positive() -> None:
    from fpsolve.core.machine import ACCELERATOR, PROCESSOR

    for one in (PROCESSOR, ACCELERATOR):
        assert min(one.start, one.operation, one.cell, *one.decomposition) > 0
    assert ACCELERATOR.start > PROCESSOR.start and ACCELERATOR.cell < PROCESSOR.cell

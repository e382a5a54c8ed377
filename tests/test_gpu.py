"""On an accelerator: the numbers of a processor, full precision, memory and no waiting.
`pytest -m gpu`.
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from blocks import ROOT

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        jax.default_backend() == "cpu",
        reason="no accelerator: JAX found an ordinary processor only",
    ),
]

sys.path.append(str(ROOT / "benchmarks"))
import agreement  # noqa: E402

SINGLE = [name for name, case in agreement.CASES.items() if case.single]


@pytest.mark.parametrize("name", agreement.CASES)
def test_the_numbers_are_those_of_a_processor(name: str) -> None:
    case = agreement.CASES[name]
    assert agreement.error(name, case.solve(jnp.dtype("float64"))) <= case.tol


@pytest.mark.parametrize("name", SINGLE)
def test_single_precision_is_not_rounded_further(name: str) -> None:
    assert (
        agreement.error(name, agreement.CASES[name].solve(jnp.dtype("float32")))
        <= agreement.SINGLE
    )


def test_products_of_matrices_are_in_full_precision() -> None:
    grid = fp.Grid(fp.Line(-6.0, 6.0, 256), fp.Line(-6.0, 6.0, 256))
    field = jnp.asarray(np.random.default_rng(0).normal(size=grid.shape), jnp.float32)
    made = fp.Spectral().build(
        fp.FokkerPlanck(fp.Harmonic()), grid, 0.0, jnp.float32, True
    )
    fine = fp.Spectral().build(
        fp.FokkerPlanck(fp.Harmonic()), grid, 0.0, jnp.float64, True
    )
    image, truth = made.hamiltonian(field), fine.hamiltonian(field.astype(float))
    assert float(jnp.linalg.norm(image - truth) / jnp.linalg.norm(truth)) < 2e-6


def test_warm_calls_move_nothing_to_the_host() -> None:
    grid = fp.Grid(fp.Line(-4.0, 4.0, 64), fp.Line(-4.0, 4.0, 64))
    options: dict[str, Any] = {
        "grid": grid,
        "scheme": fp.ScharfetterGummel(),
        "method": fp.Chebyshev(),
    }
    equation = fp.FokkerPlanck(fp.Harmonic())
    run = jax.jit(
        lambda field: fp.evolve(equation, field, [0.1], throw=False, **options).values
    )
    field = grid.density(fp.Gaussian([0.3, 0.2], 0.3), "start")
    jax.block_until_ready(run(field))
    with jax.transfer_guard("disallow"):
        jax.block_until_ready(run(field))

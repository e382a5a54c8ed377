"""What is written differently for accelerators computes the same, tried on this
processor.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.core.apply_along_axis import matmul_along_axis
from fpsolve.core.machine import ACCELERATOR, PROCESSOR, machine

GRIDS = {
    "closed": fp.Grid(fp.Line(-2.0, 2.0, 9), fp.Line(-1.0, 2.0, 12)),
    "ring": fp.Grid(fp.Periodic(0.0, 1.0, 7), fp.Line(-1.0, 1.0, 8)),
    "open": fp.Grid(fp.Absorbing(0.0, 1.0, 8)),
    "space": fp.Grid(
        fp.Line(-1.0, 1.0, 5), fp.Periodic(0.0, 1.0, 6), fp.Line(-1.0, 1.0, 7)
    ),
}


@pytest.fixture
def accelerated(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a function as if programs were compiled for an accelerator."""

    def run(function: Any) -> Any:
        with monkeypatch.context() as patch:
            for module in ("core.apply_along_axis", "core.machine", "operator.edges"):
                patch.setattr(f"fpsolve.{module}.on_processor", lambda: False)
            return function()

    return run


@pytest.mark.parametrize("name", GRIDS)
def test_a_flux_formed_twice_is_the_same_flux(name: str, accelerated: Any) -> None:
    grid = GRIDS[name]
    push = lambda x: 0.7 + 0 * x
    operator = fp.ScharfetterGummel().build(
        fp.FokkerPlanck(force=push), grid, 0.0, jnp.float64, False
    )
    field = jnp.asarray(np.random.default_rng(1).uniform(size=grid.shape))
    once = operator.generator(field)
    twice = accelerated(lambda: operator.generator(field))
    assert np.array_equal(np.asarray(once), np.asarray(twice))


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 5, 4), (2, 3, 4, 6)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_product_for_each_layer_is_the_product(
    shape: tuple[int, ...], axis: int, accelerated: Any
) -> None:
    draw = np.random.default_rng(2).normal
    field, matrix = draw(size=shape), draw(size=(7, shape[axis]))
    wanted = np.moveaxis(np.tensordot(matrix, field, (1, axis)), 0, axis)
    found = accelerated(
        lambda: matmul_along_axis(axis, jnp.asarray(matrix), jnp.asarray(field))
    )
    assert np.max(np.abs(np.asarray(found) - wanted)) < 1e-14


def test_rates_that_a_tpu_cannot_find_are_refused_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    with pytest.raises(ValueError, match=r"not reversible.*TPU.*jax_platforms"):
        fp.spectrum(fp.FokkerPlanck(force=lambda x: 0.7 + 0 * x), GRIDS["ring"], 2)


def test_methods_are_compared_by_the_machine_at_hand(accelerated: Any) -> None:
    assert machine() is PROCESSOR
    assert accelerated(machine) is ACCELERATOR

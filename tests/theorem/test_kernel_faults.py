"""A fault in a kernel of the library makes a claim fail: a sign, a term, a factor, a
row.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import pytest

import fpsolve as fp
from fpsolve.equation import schrodinger
from fpsolve.operator import finite_volume, spectral

CLAIMS = {theorem.name: theorem for theorem in fp.theorems()}
TERMS, ASSEMBLE = schrodinger.axis_potential_terms, finite_volume._assemble


def opposite_terms(equation: Any, x: Any, t: Any) -> Any:
    """The quantum potential with the wrong sign."""
    return -TERMS(equation, x, t)


def without_rate(potential: Any, x: Any, t: Any = None) -> Any:
    """The quantum potential of a moving U without the extra term of T13."""
    return TERMS(potential.equation, x, t).sum()


def warmer(rate: Any, samples: Any, grid: Any, dtype: Any) -> Any:
    """Finite volumes with 1.02 D."""
    diffusion = tuple(1.02 * diffusion for diffusion in samples.diffusion)
    return ASSEMBLE(
        rate, eqx.tree_at(lambda s: s.diffusion, samples, diffusion), grid, dtype
    )


def wrong_first_row(rate: Any, samples: Any, grid: Any, dtype: Any) -> Any:
    """Finite volumes whose first face lets half as much more mass up."""
    made = ASSEMBLE(rate, samples, grid, dtype)
    up = (made.up[0].at[0].multiply(1.5), *made.up[1:])
    return finite_volume.EdgeOperator(
        grid=grid,
        up=up,
        down=made.down,
        potential_term=made.potential_term,
        log_sqrt_pi=made.log_sqrt_pi,
    )


FAULTS: dict[str, tuple[str, list[tuple[Any, str, Callable[..., Any]]]]] = {
    "sign of the quantum potential": (
        "T1.spectral",
        [
            (schrodinger, "axis_potential_terms", opposite_terms),
            (spectral, "axis_potential_terms", opposite_terms),
        ],
    ),
    "dropped extra term": (
        "T13.wave",
        [(schrodinger.QuantumPotential, "__call__", without_rate)],
    ),
    "D wrong by 2 %": ("T5.entropy", [(finite_volume, "_assemble", warmer)]),
    "one boundary row wrong": ("T2", [(finite_volume, "_assemble", wrong_first_row)]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_kernel_makes_a_claim_fail(
    fault: str, fresh_programs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, patches = FAULTS[fault]
    for owner, attribute, wrong in patches:
        monkeypatch.setattr(owner, attribute, wrong)
    certificate = fp.verify(CLAIMS[name], refine=False)
    assert not certificate.holds, certificate

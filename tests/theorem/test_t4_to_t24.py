"""The partner, convexity, the density of a score, curl, identification and noising:
claims, other problems, faults.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from fpsolve import Line, Periodic, ScharfetterGummel
from fpsolve.theorem import (
    Certificate,
    Theorem,
    t4_partner,
    t6_convexity,
    t8_pairs,
    t9_entropy,
    t11_curl,
    t12_identification,
    t24_noising,
    verify,
)
from fpsolve.theorem.families import TORUS
from fpsolve.theorem.measure import measure
from fpsolve.theorem.problems import tilted

THEOREMS = {
    theorem.name: theorem
    for theorem in (
        t4_partner.partner_levels,
        t4_partner.positive_kernel,
        t4_partner.small_gap,
        t6_convexity.convexity,
        t6_convexity.bounded_change,
        t8_pairs.ring_pairs,
        t8_pairs.torus_pairs,
        t9_entropy.entropy_bound,
        t11_curl.divergence,
        t11_curl.distance,
        t11_curl.rotation,
        t12_identification.levels_of_density,
        t12_identification.oscillators,
        t24_noising.noising,
    )
}


def assert_sound(certificate: Certificate) -> None:
    assert certificate.holds and certificate.margin > 0, certificate
    assert certificate.control is not None and certificate.control.refused, (
        certificate.control
    )
    assert certificate.control.margin < -0.05, certificate.control


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", THEOREMS)
def test_claim_holds_for_other_draws_on_larger_grids(name: str, seed: int) -> None:
    assert_sound(verify(THEOREMS[name], refine=True, seed=seed))


def shallow(x: Any) -> Any:
    return 0.5 * x[0] ** 2 + 0.3 * jnp.cos(3 * x[0])


OTHERS = [
    THEOREMS["T4"].on(
        potential=shallow, diffusion=0.7, axis=Line(-7.5, 7.5, 72), levels=3
    ),
    THEOREMS["T4.kernel"].on(potential=tilted, sweep=(0.4, 0.02)),
    THEOREMS["T4.kramers"].on(axis=Line(-1.7, 1.7, 64), sizes=(36, 48, 64, 80)),
    THEOREMS["T6"].on(diffusion=0.8, axis=Line(-10.0, 10.0, 96), times=(0.5, 2.5)),
    THEOREMS["T6.bounded"].on(diffusion=0.45, axis=Line(-10.0, 10.0, 100)),
    THEOREMS["T8.pairs"].on(axis=Periodic(0.0, 2 * np.pi, 56)),
    THEOREMS["T8.torus"].on(
        axes=(Periodic(0.0, 2 * np.pi, 21), Periodic(0.0, 2 * np.pi, 18))
    ),
    THEOREMS["T9"].on(axis=Line(-10.0, 10.0, 96)),
    THEOREMS["T11"].on(axes=(Periodic(0.0, 2 * np.pi, 41),), amplitude=0.8),
    THEOREMS["T11.distance"].on(axes=TORUS),
    THEOREMS["T11.rotation"].on(
        variance=1.0, axis=Line(-6.5, 6.5, 34), sweep=(0.4, 0.9)
    ),
    THEOREMS["T12"].on(diffusion=1.2, levels=3),
    THEOREMS["T12.oscillators"].on(stiffness=((2.0, 0.5), (0.5, 3.0))),
    THEOREMS["T24"].on(lambdas=(0.1, 0.4)),
]


@pytest.mark.parametrize("theorem", OTHERS, ids=lambda theorem: theorem.name)
def test_claim_holds_on_another_problem(theorem: Theorem) -> None:
    assert_sound(verify(theorem, refine=False))


def other_diffusion(original: Any, factor: float) -> Any:
    """A function of an equation first, given the equation with another diffusion."""
    changed = lambda equation: eqx.tree_at(
        lambda e: e.diffusion, equation, factor * equation.diffusion
    )
    return lambda equation, *args, **rest: original(changed(equation), *args, **rest)


def other_score(original: Any, factor: float) -> Any:
    """`reconstruct`, given another multiple of the score."""
    return lambda score, *args, **rest: original(
        lambda x: factor * score(x), *args, **rest
    )


def other_levels(original: Any, factor: float) -> Any:
    """`reconstruct` with other levels."""

    def changed(*args: Any, **rest: Any) -> Any:
        found = original(*args, **rest)
        return eqx.tree_at(
            lambda f: f.spectrum.values, found, factor * found.spectrum.values
        )

    return changed


def other_gap(original: Any, factor: float) -> Any:
    """`spectrum` with other levels."""

    def changed(*args: Any, **rest: Any) -> Any:
        found = original(*args, **rest)
        return eqx.tree_at(lambda f: f.values, found, factor * found.values)

    return changed


def other_noise(original: Any, factor: float) -> Any:
    """`Noising` with more noise."""
    return lambda mixture, kind, beta_min, beta_max: original(
        mixture, kind, beta_min=beta_min, beta_max=factor * beta_max
    )


# Where the fault is, and of what kind and size it is. The normal densities of
# T6.bounded and T24 have the same gap for every diffusion, and in T9 both sides are
# those of one score.
FAULTS = {
    "T4": (t4_partner, "spectrum", other_diffusion, 1 + 1e-7),
    "T4.kernel": (t4_partner, "spectrum", other_diffusion, 1 + 1e-9),
    "T4.kramers": (t4_partner, "line_gap", other_diffusion, 1 + 1e-5),
    "T6": (t6_convexity, "evolve", other_diffusion, 1.02),
    "T6.bounded": (t6_convexity, "spectrum", other_gap, 1 - 1e-7),
    "T8.pairs": (t8_pairs, "reconstruct", other_levels, 1 + 1e-7),
    "T8.torus": (t8_pairs, "reconstruct", other_levels, 1 + 1e-6),
    "T9": (t9_entropy, "reconstruct", other_score, 1 - 1e-5),
    "T11": (t11_curl, "reconstruct", other_score, 1 + 1e-6),
    "T11.distance": (t11_curl, "reconstruct", other_levels, 1.001),
    "T11.rotation": (t11_curl, "reconstruct", other_score, 1 + 1e-4),
    "T12": (t12_identification, "reconstruct", other_score, 1 + 1e-6),
    "T12.oscillators": (t12_identification, "reconstruct", other_score, 1 + 1e-4),
    "T24": (t24_noising, "Noising", other_noise, 1.01),
}


@pytest.mark.parametrize("name", THEOREMS)
def test_claim_fails_on_a_planted_fault(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, attribute, fault, size = FAULTS[name]
    monkeypatch.setattr(module, attribute, fault(getattr(module, attribute), size))
    found = measure(THEOREMS[name], control=False, refinement=1.0, quick=True)
    assert found.margin < 0 and not found.failure, found


def test_another_scheme_is_not_the_chain_of_the_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(t4_partner, "SquareRoot", ScharfetterGummel)
    assert measure(THEOREMS["T4.kernel"], control=False, refinement=1.0).margin < 0


def test_random_cases_depend_on_the_seed_alone() -> None:
    first, same, other = (
        measure(THEOREMS["T8.pairs"].on(sweep=2), control=False, refinement=1.0, seed=s)
        for s in (0, 0, 1)
    )
    assert first == same and first.points != other.points

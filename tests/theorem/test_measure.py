"""The harness of theorems: sides, margins, orders, random cases, failures and what is
refused.
"""

import dataclasses
import json
import math
from typing import Any

import jax
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.theorem import Certificate, Theorem, claim, t5_poincare, to_json, verify


def made_up(right: Any, wrong: Any, kind: Any = "identity", **options: Any) -> Theorem:
    """A theorem whose sides are `right`, and `wrong` in its control."""
    options = {"allowed": 0.5} | options
    return claim("made up", "a = b", kind=kind, control=("N0", "a = c"), **options)(
        lambda case: wrong if case.control else right
    )


GOOD, BAD = (1.0, 1.0), (1.0, 2.0)


@pytest.mark.parametrize(
    ("right", "wrong", "holds", "refused"),
    [
        (GOOD, BAD, True, False),
        (GOOD, (1.0, 3.0), True, True),
        (GOOD, GOOD, True, False),
        ((1.0, 3.0), (1.0, 3.0), False, True),
        ((math.nan, 1.0), (1.0, 3.0), False, True),
        (GOOD, (math.nan, 1.0), True, False),
        (GOOD, (math.inf, 1.0), True, False),
        (GOOD, (np.ones(2), np.ones(3)), True, False),
    ],
)
def test_only_a_measured_failure_is_a_refusal(
    right: Any, wrong: Any, holds: bool, refused: bool
) -> None:
    certificate = verify(made_up(right, wrong))
    assert certificate.control is not None
    assert (certificate.holds, certificate.control.refused) == (holds, refused)
    assert certificate.sound == (holds and refused)
    text = json.dumps(to_json([certificate]), allow_nan=False)
    assert json.loads(text)[0]["control"]["refused"] is refused


def test_a_side_that_is_no_number_is_named() -> None:
    control = verify(made_up(GOOD, (math.nan, 1.0), sweep=(0.5, 2.0))).control
    assert control is not None
    assert (
        control.failure
        == "the left side is not finite at 0.5; the left side is not finite at 2.0"
    )
    control = verify(made_up(GOOD, (np.ones(2), np.ones(3)))).control
    assert control is not None
    assert control.failure == "the left side has shape (2,) and the right side (3,)"
    control = verify(made_up(GOOD, (-2.0, -1.0), "inequality")).control
    assert control is not None
    assert control.failure == "the left side is below zero"
    assert not control.refused

    @claim("a", "b", kind="identity", allowed=1.0, control=("N0", "none"))
    def failed(case: Any) -> Any:
        raise fp.NumericalFailure("not_finite: a value overflowed")

    assert verify(failed).failure == "a run failed: not_finite: a value overflowed"
    assert not verify(failed).holds
    with pytest.raises(TypeError, match=r"made up: its function returned 1\.0"):
        verify(made_up(1.0, 1.0))


def test_json_has_the_fields_of_the_certificate() -> None:
    (row,) = to_json([verify(made_up(GOOD, (1.0, 3.0), sweep=(1, 2)))])
    assert set(row) == {field.name for field in dataclasses.fields(Certificate)}
    assert {"name", "lhs", "rhs", "refused"} <= set(row["control"])
    assert (row["name"], row["lhs"], row["rhs"], row["margin"], row["holds"]) == (
        "made up",
        1.0,
        1.0,
        1.0,
        True,
    )
    assert row["control"]["name"] == "N0" and row["control"]["rhs"] == 3.0
    assert row["points"] == [
        {"at": at, "lhs": 1.0, "rhs": 1.0, "margin": 1.0} for at in (1, 2)
    ]


def test_margins_are_the_share_of_the_allowance_that_is_left() -> None:
    found = verify(
        made_up((np.array([1.0, 4.0]), np.array([1.0, 4.004])), GOOD, allowed=0.01)
    )
    assert (found.lhs, found.rhs, found.margin) == pytest.approx(
        (4.0, 4.004, 0.9001), abs=1e-4
    )
    assert verify(
        made_up((1.0 + 1.0j, 1.0), GOOD, allowed=0.1)
    ).margin == pytest.approx(-9.0)
    assert verify(made_up((3.0, 4.0), GOOD, "inequality", allowed=0.0)).margin == 0.25
    assert verify(made_up((5.0, 4.0), GOOD, "inequality", allowed=0.0)).margin < 0
    assert verify(made_up((0.0, 0.0), GOOD, "inequality", allowed=0.0)).margin == 0
    # a third value is what is allowed
    assert verify(made_up((*GOOD, 0.1), (1.0, 1.2, 0.1))).sound


def test_an_order_is_that_of_the_departures_and_has_a_standard_error() -> None:
    noise = {10: 1.02, 20: 0.98, 40: 1.0, 80: 1.01}
    options = {
        "kind": "order",
        "claimed": 2,
        "sizes": (10, 20, 40, 80),
        "control": ("N0", "none"),
    }
    exact = verify(
        claim("a", "b", **options)(lambda case: (case.size**-2.03, 0.0)), refine=False
    )
    assert (exact.lhs, exact.rhs) == pytest.approx((2.03, 2.0))
    assert exact.standard_error < 1e-12
    rough = verify(
        claim("a", "b", **options)(
            lambda case: (noise[case.size] * case.size**-2.0, 0.0)
        ),
        refine=False,
    )
    # numpy's own covariance of the slope.
    x, y = np.log(list(noise)), np.log([c * n**-2.0 for n, c in noise.items()])
    assert rough.standard_error == pytest.approx(
        float(np.polyfit(x, y, 1, cov=True)[1][0, 0]) ** 0.5
    )
    assert [point.at for point in rough.points] == list(noise)


def test_random_cases_are_the_same_for_claim_and_control_and_others_for_another_seed():
    draws: list[float] = []

    @claim("a", "b", kind="identity", allowed=1.0, control=("N0", "none"), sweep=5)
    def drawn(case: Any) -> Any:
        draws.append(case.random().random())
        return (1.0, 3.0 if case.control else 1.0)

    verify(drawn)
    assert draws[:5] == draws[5:] and len(set(draws)) == 5
    verify(drawn, seed=1)
    assert not set(draws[:10]) & set(draws[10:])
    count = len(draws)
    verify(drawn, refine=False)
    # the first, the middle and the last, and their controls
    assert len(draws) == count + 6


def test_a_claim_that_could_not_be_measured_is_refused(
    nothing_is_computed: Any,
) -> None:
    with pytest.raises(
        ValueError, match=r"control = None: a theorem needs a control.*case\.control"
    ):
        claim("a", "b", kind="identity", allowed=1.0, control=None)  # pyright: ignore
    with pytest.raises(ValueError, match=r"kind = 'identty'.*Did you mean 'identity'"):
        claim("a", "b", kind="identty", control=("N0", "none"))  # pyright: ignore
    with pytest.raises(ValueError, match=r"sizes = \(1, 2, 3\).*four refinements"):
        claim("a", "b", kind="order", control=("N0", "none"), sizes=(1, 2, 3))
    with pytest.raises(ValueError, match="allowed = None"):
        claim("a", "b", kind="identity", control=("N0", "none"))
    with pytest.raises(ValueError, match=r"potentiel = 3.*Did you mean 'potential'"):
        t5_poincare.poincare.on(potentiel=3)


def test_verify_refuses_what_it_cannot_measure() -> None:
    with pytest.raises(ValueError, match=r"theorem = 'T1'.*fp\.theorems"):
        verify("T1")
    with pytest.raises(ValueError, match=r"grid_factor = 0\.5"):
        verify(made_up(GOOD, BAD), grid_factor=0.5)
    jax.config.update("jax_enable_x64", False)
    with pytest.raises(ValueError, match="jax_enable_x64"):
        verify(made_up(GOOD, BAD))

"""Driven processes, shortcuts, costs of paths and reverse processes: every claim holds,
every control is refused.
"""

from typing import Any

import equinox as eqx
import pytest

from fpsolve.equation import FokkerPlanck
from fpsolve.potential.base import Scaled
from fpsolve.theorem import (
    driven,
    mixtures,
    t14_born,
    t15_lag,
    t16_drag,
    t18_order,
    t20_shortcut,
    t21_costs,
    t22_reverse,
    t23_girsanov,
)
from fpsolve.theorem.base import Theorem
from fpsolve.theorem.certificate import verify
from fpsolve.theorem.measure import measure

MODULES = (
    t14_born,
    t15_lag,
    t16_drag,
    t18_order,
    t20_shortcut,
    t21_costs,
    t22_reverse,
    t23_girsanov,
)
THEOREMS = {
    found.name: found
    for module in MODULES
    for found in vars(module).values()
    if isinstance(found, Theorem)
}

OTHERS: dict[str, dict[str, Any]] = {
    "T14": {"diffusion": 0.6},
    "T15": {"diffusion": 0.6, "total": 30.0, "speed": 0.8},
    "T16": {"diffusion": 0.5, "stiffness": 1.6, "speed": 0.7},
    "T17": {"diffusion": 0.5, "stiffness": 1.6, "speed": 0.3, "error": 0.5},
    "T18": {"diffusion": 0.6},
    "T18.second": {"diffusion": 0.6},
    "T18.lag": {"diffusion": 0.6, "slope": 0.25},
    "T19": {"factor": 30.0},
    "T19.mixing": {"height": 0.8},
    "T20": {"diffusion": 0.7, "slope": 0.4},
    "T20.flow": {"diffusion": 0.7},
    "T20.decay": {"diffusion": 0.7, "total": 1.0},
    "T21": {"diffusion": 0.9, "stiffness": 2.5},
    "T21.normal": {"diffusion": 0.4, "stiffness": (2.0, 1.4), "centers": (0.7, -0.6)},
    "T21.schedule": {"diffusion": 0.4, "stiffness": (2.0, 1.4), "total": 2.0},
    "T22": {"times": (3.5, 4.8)},
    "T22.law": {"noise": 1.5},
    "T23": {"noise": 2.0, "size": 0.2},
}


def assert_sound(theorem: Theorem) -> None:
    certificate = verify(theorem, refine=False)
    assert certificate.holds and certificate.margin > 0, certificate
    assert certificate.control is not None and certificate.control.refused, (
        certificate.control
    )
    assert certificate.control.margin < -0.05, certificate.control


def test_every_claim_has_another_problem_and_a_fault() -> None:
    assert set(OTHERS) == set(FAULTS) == set(THEOREMS)


@pytest.mark.parametrize("name", THEOREMS)
def test_a_claim_holds_on_another_problem(name: str) -> None:
    assert_sound(THEOREMS[name].on(**OTHERS[name]))


def other_speed(factor: float, diffusion: bool = True) -> Any:
    """A solver, of an equation first, of a process that runs at another speed; the
    drift alone without `diffusion`.
    """

    def plant(solver: Any) -> Any:
        def changed(equation: FokkerPlanck, *arguments: Any, **options: Any) -> Any:
            potential = Scaled(equation.potential, factor)
            other = FokkerPlanck(
                potential, equation.diffusion * (factor if diffusion else 1.0)
            )
            return solver(other, *arguments, **options)

        return changed

    return plant


def stronger(shortcut: Any) -> Any:
    """A counterdiabatic drift that is wrong by one part in ten million."""
    return lambda *arguments, strength=1.0: shortcut(
        *arguments, strength=(1 + 1e-7) * strength
    )


def larger_lag(along: Any) -> Any:
    """Costs of which the exact one is wrong by one part in a hundred thousand."""

    class Changed(eqx.Module):
        found: Any

        def at(self, lam: Any) -> Any:
            rates = self.found.at(lam)
            return rates._replace(exact=(1 + 1e-5) * rates.exact)

    return lambda *arguments, **options: Changed(along(*arguments, **options))


def other_cost(optimal: Any) -> Any:
    """The schedule of another cost."""
    return lambda found, total, cost: optimal(
        found, total, cost="score" if cost == "exact" else "exact"
    )


def noisier(drifts: Any) -> Any:
    """The drift at another level of noise."""
    return lambda path, noise, *rest: drifts(path, 1.01 * noise + 0.01, *rest)


def without_noise_factor(girsanov: Any) -> Any:
    """The bound at e = 1 for every level of noise."""
    return lambda path, noise, *rest: girsanov(path, 1.0, *rest)


# The module and the name in it that is replaced, and by what.
FAULTS: dict[str, tuple[Any, str, Any]] = {
    "T14": (driven, "evolve", other_speed(1.1)),
    "T15": (driven, "evolve", other_speed(0.9)),
    "T16": (driven, "evolve", other_speed(0.98)),
    "T17": (driven, "evolve", other_speed(0.98)),
    "T18": (driven, "evolve", other_speed(0.98, diffusion=False)),
    "T18.second": (driven, "evolve", other_speed(0.98, diffusion=False)),
    "T18.lag": (driven, "evolve", other_speed(1.1)),
    "T19": (driven, "evolve", other_speed(1.3)),
    "T19.mixing": (t18_order, "evolve", other_speed(1.02)),
    "T20": (t20_shortcut, "evolve_counterdiabatic", stronger),
    "T20.flow": (t20_shortcut, "velocity", other_speed(1 + 1e-7, diffusion=False)),
    "T20.decay": (t20_shortcut, "evolve_counterdiabatic", other_speed(0.5)),
    "T21": (t21_costs, "along", larger_lag),
    "T21.normal": (t21_costs, "along", larger_lag),
    "T21.schedule": (t21_costs, "optimal", other_cost),
    "T22": (t22_reverse, "drifts", noisier),
    "T22.law": (mixtures, "drifts", noisier),
    "T23": (t23_girsanov, "girsanov", without_noise_factor),
}


@pytest.mark.parametrize("name", THEOREMS)
def test_a_claim_fails_on_a_planted_fault(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, attribute, plant = FAULTS[name]
    monkeypatch.setattr(module, attribute, plant(getattr(module, attribute)))
    found = measure(THEOREMS[name], control=False, refinement=1.0, quick=True)
    assert found.margin < 0 and not found.failure, found

"""What cannot be fitted is refused with the reason, and a wrong estimator is caught."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.fit import fit
from fpsolve.fit.accuracy_target import AccuracyTarget
from fpsolve.fit.search import fit_box
from refusals import refused

WELL = fp.FokkerPlanck(fp.Harmonic())
KINK = fp.FokkerPlanck(lambda x: jnp.abs(x[0]) + x[0] ** 2)
LOG_COSH = fp.FokkerPlanck(lambda x: 6 * jnp.log(jnp.cosh(x[0])))
REFUSALS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "unbounded": (
        lambda: fp.fit_grid(fp.FokkerPlanck(lambda x: -(x[0] ** 4))),
        ("potential", "unbounded", "axis 0"),
    ),
    "tilted": (
        lambda: fp.fit_grid(fp.FokkerPlanck(lambda x: -x[0])),
        ("potential", "unbounded"),
    ),
    "flat outside": (
        lambda: fp.fit_grid(fp.FokkerPlanck(lambda x: -1 / jnp.cosh(x[0]))),
        ("does not confine",),
    ),
    "kink": (
        lambda: fp.fit_grid(KINK, fp.Gaussian(0.0, 0.5), times=[0.5]),
        ("tol", "algebraic", "kink"),
    ),
    "above the continuum": (
        lambda: fit(LOG_COSH, None, k=6),
        ("k = 6", "only 3 levels", "continuum", "at 9"),
    ),
    "no levels": (
        lambda: fp.fit_grid(fp.Schrodinger(lambda x: 1 / jnp.cosh(x[0]))),
        ("no levels", "at 0"),
    ),
    "precision": (lambda: fp.fit_grid(WELL, tol=1e-16), ("tol", "float64")),
    "an array": (
        lambda: fp.evolve(WELL, np.ones(8), [0.5]),
        ("initial", "(8,)", "fp.Gaussian"),
    ),
    "reflecting": (
        lambda: fp.fit_grid(WELL, like=fp.Grid(fp.Reflecting(0, 1, 8))),
        ("like", "fp.Legendre(0, 1, n)"),
    ),
    "moving, no times": (
        lambda: fp.fit_grid(
            fp.FokkerPlanck(lambda x, t: (x[0] - t) ** 2), fp.Gaussian(0.0, 1.0)
        ),
        ("times", "moving"),
    ),
    "no equation": (
        lambda: fit(lambda x: x[0] ** 2, None),
        ("equation", "fp.FokkerPlanck"),
    ),
    "finite volumes": (
        lambda: fp.evolve(
            WELL, fp.Gaussian(0.0, 1.0), [0.5], scheme=fp.ScharfetterGummel()
        ),
        ("grid", "None", "ScharfetterGummel"),
    ),
    "levels of a force": (
        lambda: fp.fit_grid(fp.FokkerPlanck(fp.Harmonic(), force=jnp.sin)),
        ("initial", "force"),
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_fitted_is_refused(name: str) -> None:
    question, words = REFUSALS[name]
    refused(question, *words)


def test_traced_numbers_are_refused_with_a_cure() -> None:
    late = lambda a: fp.evolve(
        fp.FokkerPlanck(fp.Harmonic(a)), fp.Gaussian(0.0, 0.5), [0.5]
    ).values[-1][0]
    refused(lambda: jax.grad(late)(1.0), "grid", "traced", "fp.fit_grid")


def test_an_estimator_that_is_shown_half_the_box_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The planted fault: boxes cut to half of what they should be, whatever the search
    says.
    """
    import fpsolve.fit.smallest_box as smallest_box

    def half(target: AccuracyTarget, problem: Any, reference: Any) -> Any:
        box = fit_box(target, problem, reference)
        return box._replace(lower=box.lower / 2, upper=box.upper / 2)

    monkeypatch.setattr(smallest_box, "fit_box", half)
    refused(
        lambda: fp.fit_grid(WELL, fp.Gaussian(0.0, 0.5), tol=1e-6, times=[0.5]), "nodes"
    )

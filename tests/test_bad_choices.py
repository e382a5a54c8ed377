"""Bad equations, grids, schemes and methods at `evolve`: refused by name, with those
that would do.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fpsolve as fp
from refusals import (
    HUGE,
    MOVING,
    OSCILLATOR,
    PLANE,
    PUSHED,
    RING,
    UNEVEN,
    WALLS,
    ask,
    refused,
)

pytestmark = pytest.mark.usefixtures("nothing_is_computed")

CHOICES: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "an array without a grid": (
        lambda: ask(initial=np.ones(16), grid=None),
        ("initial", "grid"),
    ),
    "grid an axis": (
        lambda: ask(grid=fp.Line(-1, 1, 8)),
        ("grid", "Line(-1, 1, 8)", "fp.Grid"),
    ),
    "grid a shape": (lambda: ask(grid=(16,)), ("grid", "(16,)", "fp.Grid")),
    "grid too large": (
        lambda: ask(grid=HUGE),
        ("bytes", "available", "(10000, 10000, 10000)", "fewer nodes"),
    ),
    "equation a function": (
        lambda: ask(lambda x: x[0] ** 2),
        ("equation", "fp.FokkerPlanck"),
    ),
    "equation a potential": (
        lambda: ask(fp.Harmonic()),
        ("equation", "Harmonic", "fp.FokkerPlanck"),
    ),
    "equation None": (lambda: ask(None), ("equation", "None")),
    "scheme a word": (
        lambda: ask(scheme="spectral"),
        ("scheme", "'spectral'", "fp.Spectral()"),
    ),
    "scheme a class": (lambda: ask(scheme=fp.Spectral), ("scheme", "Spectral")),
    "scheme a method": (lambda: ask(scheme=fp.Dense()), ("scheme", "Dense")),
    "method a word": (
        lambda: ask(method="chebyshev"),
        ("method", "'chebyshev'", "fp.Chebyshev()"),
    ),
    "method a class": (lambda: ask(method=fp.Chebyshev), ("method", "Chebyshev")),
    "method a scheme": (lambda: ask(method=fp.Spectral()), ("method", "Spectral")),
    "Spectral on Reflecting": (
        lambda: ask(grid=WALLS, scheme=fp.Spectral()),
        ("grid", "Reflecting(-1, 1, 12)", "fp.Legendre("),
    ),
    "SquareRoot with a force": (
        lambda: ask(PUSHED, scheme=fp.SquareRoot()),
        ("scheme", "SquareRoot", "force", "fp.ScharfetterGummel()"),
    ),
    "Chebyshev with a force": (
        lambda: ask(PUSHED, method=fp.Chebyshev()),
        ("method", "Chebyshev", "fp.Uniformization()"),
    ),
    "Chebyshev with D(x)": (
        lambda: ask(UNEVEN, method=fp.Chebyshev()),
        ("method", "Chebyshev", "fp.Uniformization()"),
    ),
    "Rational in two dimensions": (
        lambda: ask(grid=PLANE, method=fp.Rational()),
        ("method", "Rational", "2", "fp.Chebyshev()", "fp.Splitting()"),
    ),
    "Rational round a ring with a force": (
        lambda: ask(
            fp.FokkerPlanck(force=lambda x: 1 + 0 * x), grid=RING, method=fp.Rational()
        ),
        ("method", "Rational", "ring", "fp.Uniformization()"),
    ),
    "Splitting of a spectral scheme": (
        lambda: ask(grid=PLANE, scheme=fp.Spectral(), method=fp.Splitting()),
        ("method", "Splitting", "Spectral", "fp.ScharfetterGummel()", "fp.Chebyshev()"),
    ),
    "Implicit in real time": (
        lambda: ask(OSCILLATOR, method=fp.Implicit(), wick=1.0),
        ("method", "Implicit", "Wick", "fp.Chebyshev()"),
    ),
    "Magnus of steps that choose themselves": (
        lambda: ask(MOVING, method=fp.Magnus(exponential=fp.Splitting())),
        ("method", "Splitting", "steps=2"),
    ),
    "ranks of other axes": (
        lambda: ask(method=fp.Chebyshev((4, 4))),
        ("method.ranks", "(4, 4)", "1 in all"),
    ),
    "ranks beyond the nodes": (
        lambda: ask(method=fp.Chebyshev((99,))),
        ("method.ranks", "99", "16 nodes"),
    ),
    "a static method on a moving equation": (
        lambda: ask(MOVING, method=fp.Chebyshev()),
        ("method", "moves", "fp.Magnus("),
    ),
    "a moving method on a static equation": (
        lambda: ask(method=fp.Magnus()),
        ("method", "Magnus", "stands still"),
    ),
    "Uniformization of a wave": (
        lambda: ask(OSCILLATOR, method=fp.Uniformization()),
        ("method", "Uniformization", "wave"),
    ),
    "Dense too large": (
        lambda: ask(grid=fp.Grid(*[fp.Line(-4, 4, 700)] * 2), method=fp.Dense()),
        ("bytes", "available", "490000"),
    ),
}


@pytest.mark.parametrize("name", CHOICES)
def test_evolve_refuses_what_does_not_fit_together(name: str) -> None:
    question, words = CHOICES[name]
    refused(question, *words)

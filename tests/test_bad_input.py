"""Bad input: a `ValueError` with the argument, its value, what is allowed and a cure;
nothing is computed. See also `test_bad_equations.py` and `test_bad_grids.py`.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fpsolve as fp
from refusals import (
    GRID,
    HUGE,
    MOVING,
    OSCILLATOR,
    PLANE,
    PUSHED,
    START,
    UNEVEN,
    WALLS,
    WELL,
    ask,
    refused,
)

NAN, INF = math.nan, math.inf
FIELD = np.ones(16)

pytestmark = pytest.mark.usefixtures("nothing_is_computed")


def with_value(value: float, place: int = 5) -> np.ndarray:
    """A density with one wrong entry."""
    field = FIELD.copy()
    field[place] = value
    return field


EVOLVES: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    # initial
    "initial of another shape": (
        lambda: ask(initial=np.ones(15)),
        ("initial", "(15,)", "(16,)"),
    ),
    "initial of too many axes": (
        lambda: ask(initial=np.ones((16, 1))),
        ("initial", "(16, 1)"),
    ),
    "initial with NaN": (
        lambda: ask(initial=with_value(NAN)),
        ("initial", "nan", "x = (-1.25,)"),
    ),
    "initial infinite": (lambda: ask(initial=with_value(INF)), ("initial", "inf")),
    "initial negative": (
        lambda: ask(initial=with_value(-0.5)),
        ("initial", "-0.5", "at least zero", "-1.25"),
    ),
    "initial negative beyond rounding": (
        lambda: ask(initial=with_value(-1e-3)),
        ("initial", "-0.001", "at least zero"),
    ),
    "initial of mass zero": (lambda: ask(initial=np.zeros(16)), ("initial", "mass")),
    "initial complex": (
        lambda: ask(initial=FIELD + 0j),
        ("initial", "complex128", "real"),
    ),
    "initial None": (lambda: ask(initial=None), ("initial", "None")),
    "initial a word": (lambda: ask(initial="gaussian"), ("initial", "'gaussian'")),
    "initial of words": (lambda: ask(initial=["a"] * 16), ("initial",)),
    "initial ragged": (lambda: ask(initial=[[1.0], [1.0, 2.0]]), ("initial",)),
    "initial a number": (lambda: ask(initial=1.0), ("initial", "1.0")),
    "initial function negative": (
        lambda: ask(initial=lambda x: -1.0),
        ("initial", "-1.0"),
    ),
    "initial function NaN": (
        lambda: ask(initial=lambda x: jnp.sqrt(x[0])),
        ("initial", "nan"),
    ),
    "initial function zero": (
        lambda: ask(initial=lambda x: 0.0 * x[0]),
        ("initial", "mass"),
    ),
    "initial function of a vector": (
        lambda: ask(initial=lambda x: x**2),
        ("initial", "(16, 1)"),
    ),
    "initial of more dimensions": (
        lambda: ask(initial=lambda x: x[1] ** 2),
        ("initial", "dimension", "1"),
    ),
    "initial Gaussian of more dimensions": (
        lambda: ask(initial=fp.Gaussian([0.0, 0.0], 1.0)),
        ("mean", "(2,)"),
    ),
    "initial Gaussian out of the box": (
        lambda: ask(fp.FokkerPlanck(), lambda x: jnp.exp(-((x[0] - 99) ** 2))),
        ("mass",),
    ),
    "wave of another shape": (
        lambda: ask(OSCILLATOR, np.ones(15)),
        ("initial", "(15,)", "(16,)"),
    ),
    "wave with NaN": (lambda: ask(OSCILLATOR, with_value(NAN)), ("initial", "finite")),
    "wave zero": (lambda: ask(OSCILLATOR, 0 * FIELD), ("initial", "zero")),
    "wave None": (lambda: ask(OSCILLATOR, None), ("initial", "None")),
    "wave of more dimensions": (
        lambda: ask(OSCILLATOR, lambda x: x[1]),
        ("initial", "dimension"),
    ),
    # times
    "times descending": (
        lambda: ask(times=[1.0, 0.5]),
        ("times", "[1.0, 0.5]", "ascending"),
    ),
    "times repeated": (lambda: ask(times=[0.5, 0.5]), ("times", "ascending")),
    "times negative": (
        lambda: ask(times=[-1.0, 0.5]),
        ("times", "-1.0", "at least zero"),
    ),
    "times empty": (lambda: ask(times=[]), ("times", "[]", "not empty")),
    "times NaN": (lambda: ask(times=[0.5, NAN]), ("times", "nan", "finite")),
    "times infinite": (lambda: ask(times=[INF]), ("times", "inf", "finite")),
    "times of two axes": (lambda: ask(times=np.ones((2, 2))), ("times",)),
    "times of words": (lambda: ask(times=["a"]), ("times", "['a']")),
    "times a word": (lambda: ask(times="now"), ("times", "'now'")),
    "times None": (lambda: ask(times=None), ("times", "None")),
    "times ragged": (lambda: ask(times=[[0.1], [0.1, 0.2]]), ("times",)),
    "times complex": (lambda: ask(times=[1j]), ("times", "1j")),
    # tol
    "tol zero": (lambda: ask(tol=0), ("tol", "0", "positive")),
    "tol negative": (lambda: ask(tol=-1e-8), ("tol", "-1e-08", "positive")),
    "tol NaN": (lambda: ask(tol=NAN), ("tol", "nan", "finite")),
    "tol infinite": (lambda: ask(tol=INF), ("tol", "inf", "finite")),
    "tol a word": (lambda: ask(tol="1e-8"), ("tol", "'1e-8'")),
    "tol a list": (lambda: ask(tol=[1e-8]), ("tol", "[1e-08]")),
    "tol below rounding": (lambda: ask(tol=1e-18), ("tol", "1e-18", "Raise tol")),
    "tol too fine for float32": (
        lambda: ask(initial=np.ones(16, np.float32), tol=1e-10),
        ("tol", "jax_enable_x64"),
    ),
    # wick
    "wick of a density": (lambda: ask(wick=0.1), ("wick", "0.1", "density")),
    "wick beyond a right angle": (
        lambda: ask(OSCILLATOR, wick=2.0),
        ("wick", "2.0", "pi/2"),
    ),
    "wick NaN": (lambda: ask(OSCILLATOR, wick=NAN), ("wick", "nan")),
    "wick a word": (lambda: ask(OSCILLATOR, wick="pi"), ("wick", "'pi'")),
    "observables no mapping": (
        lambda: ask(observables=lambda x: x[0]),
        ("observables",),
    ),
    "observables no function": (
        lambda: ask(observables={"mean": 3}),
        ("observables", "mean", "3"),
    ),
    "observables of more dimensions": (
        lambda: ask(observables={"y": lambda x: x[1]}),
        ("observables", "y", "dimension"),
    ),
    "checkpoint no path": (lambda: ask(checkpoint=3), ("checkpoint", "3")),
}


@pytest.mark.parametrize("name", EVOLVES)
def test_evolve_refuses(name: str) -> None:
    question, words = EVOLVES[name]
    refused(question, *words)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(), max_size=4))
def test_times_pass_exactly_when_allowed(times: list[float]) -> None:
    from fpsolve.plan.validation import check_times

    sound = all(math.isfinite(t) and t >= 0 for t in times) and all(
        a < b for a, b in pairwise(times)
    )
    if sound and times:
        np.testing.assert_array_equal(check_times(times), times)
    else:
        refused(lambda: check_times(times), "times")


REVERSIBLE: dict[str, Callable[[fp.FokkerPlanck], Any]] = {
    "gibbs": lambda equation: equation.gibbs(GRID),
    "to_wave": lambda equation: equation.to_wave(FIELD, GRID),
    "to_density": lambda equation: equation.to_density(FIELD, GRID),
    "schrodinger": lambda equation: equation.schrodinger(),
    "correspondence": lambda equation: fp.correspondence(
        equation, START, [0.1], grid=GRID
    ),
}


@pytest.mark.parametrize("name", REVERSIBLE)
@pytest.mark.parametrize("equation", [PUSHED, UNEVEN], ids=["force", "D(x)"])
def test_an_irreversible_process_has_neither_gibbs_density_nor_wave(
    name: str, equation: fp.FokkerPlanck
) -> None:
    refused(
        lambda: REVERSIBLE[name](equation),
        "equation",
        "does not exist",
        "force" if equation is PUSHED else "diffusion",
    )


def test_different_diffusions_on_coupled_axes_have_no_gibbs_density() -> None:
    equation = fp.FokkerPlanck(lambda x: (x[0] * x[1]) ** 2 / 9 + x @ x, [1.0, 2.0])
    refused(lambda: equation.gibbs(PLANE), "equation", "couples")


@pytest.mark.parametrize("k", [0, -1, 17, 2.0, "2", True, None, NAN])
def test_k_is_refused(k: Any) -> None:
    refused(lambda: fp.spectrum(WELL, GRID, k), "k", repr(k))


SPECTRA: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "grid a shape": (lambda: fp.spectrum(WELL, (16,)), ("grid", "(16,)")),
    "grid too large": (lambda: fp.spectrum(WELL, HUGE), ("bytes", "available")),
    "equation": (
        lambda: fp.spectrum(fp.Harmonic(), GRID),
        ("equation", "fp.FokkerPlanck"),
    ),
    "scheme": (
        lambda: fp.spectrum(WELL, GRID, scheme="spectral"),
        ("scheme", "'spectral'"),
    ),
    "Reflecting": (
        lambda: fp.spectrum(WELL, WALLS, scheme=fp.Spectral()),
        ("grid", "Reflecting"),
    ),
    "too many rates": (lambda: fp.spectrum(PUSHED, GRID, 17), ("k", "17", "16 points")),
    "rates of square roots": (
        lambda: fp.spectrum(PUSHED, GRID, scheme=fp.SquareRoot()),
        ("scheme", "force"),
    ),
    "the gap of no process": (
        lambda: fp.spectral_gap(fp.Harmonic(), GRID),
        ("equation", "fp.FokkerPlanck"),
    ),
    "tol": (lambda: fp.spectrum(WELL, GRID, tol=-1.0), ("tol", "-1.0")),
    "t": (lambda: fp.spectrum(MOVING, GRID, t=NAN), ("t", "nan")),
    "correspondence of a wave": (
        lambda: fp.correspondence(OSCILLATOR, START, [0.1], grid=GRID),
        ("equation",),
    ),
    "correspondence times": (
        lambda: fp.correspondence(WELL, START, [], grid=GRID),
        ("times", "[]"),
    ),
    "correspondence initial": (
        lambda: fp.correspondence(WELL, -FIELD, [0.1], grid=GRID),
        ("initial", "-1.0"),
    ),
    "correspondence scheme": (
        lambda: fp.correspondence(WELL, START, [0.1], grid=GRID, scheme=1),
        ("scheme", "1"),
    ),
    "correspondence grid": (
        lambda: fp.correspondence(WELL, START, [0.1], grid=None),
        ("grid", "None"),
    ),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_spectrum_and_correspondence_refuse(name: str) -> None:
    question, words = SPECTRA[name]
    refused(question, *words)


def test_nothing_is_written_before_a_refusal(tmp_path: Path) -> None:
    for bad in (
        {"tol": -1.0},
        {"times": []},
        {"scheme": "spectral"},
        {"method": "dense"},
        {"initial": -FIELD},
        {"wick": 1.0},
    ):
        refused(lambda bad=bad: ask(**bad, checkpoint=tmp_path / "run"))
    assert not (tmp_path / "run").exists()

"""Bad axes and numbers of nodes are refused, and grids that do not fit into memory."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fpsolve as fp
from refusals import (
    GRID,
    HUGE,
    START,
    refused,
)

NAN, INF = math.nan, math.inf
pytestmark = pytest.mark.usefixtures("nothing_is_computed")
BOUNDS = [
    (1.0, -1.0),
    (1.0, 1.0),
    (NAN, 1.0),
    (-1.0, INF),
    (-INF, 1.0),
    ("a", 1.0),
    (None, 1.0),
    (1j, 2.0),
    ([0.0], 1.0),
]
AXES = [fp.Line, fp.Reflecting, fp.Absorbing, fp.Periodic, fp.Legendre]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(
    "n", [2, 0, -1, 2.0, 16.0, "8", True, None, NAN, np.float64(8), [8]]
)
def test_n_must_be_an_integer_above_two(axis: Any, n: Any) -> None:
    refused(lambda: axis(-1.0, 1.0, n), "n", repr(n), "integer")


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_bounds_must_be_finite_and_ascending(
    axis: Any, bounds: tuple[Any, Any]
) -> None:
    refused(
        lambda: axis(*bounds, 8),
        axis.__name__,
        "lower" if bounds != (-1.0, INF) else "upper",
    )


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(AXES),
    st.floats(),
    st.floats(),
    st.one_of(st.integers(-4, 40), st.floats(), st.text(max_size=3)),
)
def test_an_axis_is_made_exactly_of_what_is_allowed(
    axis: Any, lower: float, upper: float, n: Any
) -> None:
    sound = (
        math.isfinite(lower)
        and math.isfinite(upper)
        and lower < upper
        and isinstance(n, int)
        and n > 2
    )
    length = upper - lower
    if (
        sound
        and math.isfinite(length)
        and length > 1e-9 * max(1.0, abs(lower), abs(upper))
    ):
        assert np.all(np.diff(axis(lower, upper, n).nodes) > 0)
    elif not sound:
        refused(lambda: axis(lower, upper, n), axis.__name__)


@pytest.mark.parametrize(
    "wrong", [(), (3,), ("x",), (GRID,), (fp.Line,), ([GRID.axes[0]],)]
)
def test_a_grid_is_made_of_axes(wrong: tuple[Any, ...]) -> None:
    refused(lambda: fp.Grid(*wrong), "Grid.axes")


@pytest.mark.parametrize("ask_for", ["points", "weights", "sample", "density"])
def test_a_grid_that_does_not_fit_says_the_bytes(ask_for: str) -> None:
    question = {
        "points": lambda: HUGE.points,
        "weights": lambda: HUGE.weights,
        "sample": lambda: HUGE.sample(lambda x: x[0]),
        "density": lambda: HUGE.density(START),
    }[ask_for]
    refused(question, "bytes", "available", "fewer nodes")


@pytest.mark.parametrize("wrong", [0, -1, NAN, INF, "2", None])
def test_a_grid_refines_by_a_positive_factor(wrong: Any) -> None:
    refused(lambda: GRID.refine(wrong), "factor", repr(wrong))

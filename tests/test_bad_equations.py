"""Bad potentials, forces and diffusions are refused before anything is computed."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from refusals import (
    GRID,
    PLANE,
    RING,
    ask,
    refused,
)

NAN, INF = math.nan, math.inf
pytestmark = pytest.mark.usefixtures("nothing_is_computed")
POTENTIALS: dict[str, tuple[Any, fp.Grid, tuple[str, ...]]] = {
    "of more dimensions": (
        lambda x: x[0] ** 2 + x[2] ** 2,
        PLANE,
        ("potential", "2 dimensions", "axis"),
    ),
    "of more dimensions, counted from the end": (
        lambda x: x[-3],
        PLANE,
        ("potential", "2 dimensions"),
    ),
    "that unpacks more": (
        lambda x: sum(c**2 for c in _three(x)),
        PLANE,
        ("potential", "2 dimensions"),
    ),
    "that multiplies by a larger matrix": (
        lambda x: x @ jnp.eye(3) @ x,
        PLANE,
        ("potential", "2 dimensions"),
    ),
    "from the library, of more dimensions": (
        fp.MullerBrown(),
        GRID,
        ("potential", "1 dimension"),
    ),
    "not scalar": (lambda x: x**2, PLANE, ("potential", "scalar", "(2,)", "jnp.sum")),
    "NaN somewhere": (
        lambda x: jnp.sqrt(x[0]),
        GRID,
        ("potential", "nan", "x = (-3.75,)"),
    ),
    "infinite somewhere": (
        lambda x: 1 / (x[0] - 0.25),
        GRID,
        ("potential", "inf", "x = (0.25,)"),
    ),
    "complex": (lambda x: 1j * x[0], GRID, ("potential", "complex", "real")),
    "that returns nothing": (lambda x: None, GRID, ("potential",)),
    "not periodic on a ring": (
        lambda x: x[0] ** 2,
        RING,
        ("potential", "periodic", "Periodic(0, 1, 12)", "force"),
    ),
}


def _three(x: Any) -> tuple[Any, Any, Any]:
    a, b, c = x
    return a, b, c


# JAX's, about None where a number should be
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", POTENTIALS)
@pytest.mark.parametrize("function", ["evolve", "spectrum", "correspondence"])
def test_a_potential_is_refused_at_every_public_function(
    name: str, function: str
) -> None:
    potential, grid, words = POTENTIALS[name]
    equation = fp.FokkerPlanck(potential)
    start = fp.Gaussian(0.0, 1.0)
    refused(
        {
            "evolve": lambda: fp.evolve(equation, start, [0.1], grid=grid),
            "spectrum": lambda: fp.spectrum(equation, grid, 2),
            "correspondence": lambda: fp.correspondence(
                equation, start, [0.1], grid=grid
            ),
        }[function],
        *words,
    )


def test_a_potential_may_use_what_only_jax_arrays_have() -> None:
    """`x.at` is no reason to refuse."""
    from fpsolve.plan.equation_check import check_equation

    check_equation(
        fp.FokkerPlanck(lambda x: jnp.sum(x.at[0].multiply(2.0) ** 2)), PLANE
    )


@pytest.mark.parametrize(
    ("force", "words"),
    [
        (lambda x: x[0], ("force", "()", "(2,)")),
        (lambda x: jnp.ones(3), ("force", "(3,)", "(2,)")),
        (lambda x: x[2] * x, ("force", "2 dimensions")),
        (lambda x: x / (x[0] - x[0]), ("force", "finite", "x = (")),
    ],
)
def test_a_force_is_refused(force: Any, words: tuple[str, ...]) -> None:
    refused(
        lambda: ask(fp.FokkerPlanck(force=force), fp.Gaussian(0.0, 0.5), grid=PLANE),
        *words,
    )


@pytest.mark.parametrize(
    ("diffusion", "words"),
    [
        ([1.0, 2.0, 3.0], ("diffusion", "2 dimensions")),
        ([1.0, 1.0, 1.0], ("diffusion", "2 dimensions")),
        (lambda x: x[0], ("diffusion", "positive")),
        (lambda x: jnp.sqrt(x), ("diffusion", "finite", "x = (")),
        (lambda x: jnp.ones(3), ("diffusion",)),
        (lambda x: x[2], ("diffusion", "2 dimensions")),
    ],
)
def test_a_diffusion_is_refused_on_the_grid(
    diffusion: Any, words: tuple[str, ...]
) -> None:
    refused(
        lambda: ask(
            fp.FokkerPlanck(fp.Harmonic(), diffusion), fp.Gaussian(0.0, 0.5), grid=PLANE
        ),
        *words,
    )


def test_a_diffusion_that_depends_on_time_is_refused_for_that() -> None:
    refused(
        lambda: fp.FokkerPlanck(fp.Harmonic(), lambda x, t: 1 + t),
        "diffusion",
        "time",
        "lambda x: D(x, t)",
    )
    fp.FokkerPlanck(fp.Harmonic(), lambda x, a=2.0: a + x[0] ** 2)


@pytest.mark.parametrize(
    "diffusion",
    [
        0.0,
        -1.0,
        NAN,
        INF,
        [1.0, -1.0],
        [0.0, 0.0],
        [1.0, NAN],
        "1",
        None,
        True,
        1j,
        [[1.0]],
        [],
    ],
)
@pytest.mark.parametrize("equation", [fp.FokkerPlanck, fp.Schrodinger])
def test_a_diffusion_is_refused_when_given(equation: Any, diffusion: Any) -> None:
    refused(
        lambda: equation(fp.Harmonic(), diffusion), "diffusion", repr(diffusion)[:3]
    )


def test_a_diffusion_may_vanish_along_an_axis_of_a_process_only() -> None:
    assert fp.FokkerPlanck(fp.Harmonic(), [1.0, 0.0]).without_diffusion == (1,)
    refused(lambda: fp.Schrodinger(fp.Harmonic(), [1.0, 0.0]), "diffusion", "positive")


@pytest.mark.parametrize("wrong", [3.0, "harmonic", [1.0, 2.0], np.ones(4)])
def test_what_cannot_be_called_is_refused(wrong: Any) -> None:
    refused(lambda: fp.FokkerPlanck(wrong), "potential", "callable")
    refused(lambda: fp.Schrodinger(wrong), "potential", "callable")
    refused(lambda: fp.FokkerPlanck(force=wrong), "force", "function")
    refused(lambda: fp.FokkerPlanck.ito(wrong, 1.0), "drift", "function")


def test_a_wave_needs_a_potential_and_a_constant_diffusion() -> None:
    refused(lambda: fp.Schrodinger(None), "potential", "None")
    refused(lambda: fp.Schrodinger(fp.Harmonic(), lambda x: 1.0), "diffusion", "number")

"""Spectra, rates and reconstructions read a function at every call, and compile nothing
heavy for a new one.
"""

import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve import committor, eyring_kramers, mean_first_passage_time
from fpsolve.score.reconstruct import reconstruct
from programs import compilations

LINE = fp.Grid(fp.Line(-9.0, 9.0, 64))
CELLS = fp.Grid(fp.Reflecting(-2.5, 2.5, 60))
PLANE = fp.Grid(fp.Line(-2.6, 2.6, 40), fp.Line(-3.2, 3.2, 40))

STRENGTH = 1.0


class Knob:
    """Something with an attribute."""

    def __init__(self, strength):
        self.strength = strength

    def energy(self, x):
        return self.strength * jnp.sum(x**2) / 2


def by_global():
    """A function of a global."""

    def change(value):
        global STRENGTH
        STRENGTH = value

    change(1.0)
    return (lambda x: STRENGTH * jnp.sum(x**2) / 2), change


def by_closure():
    strength = 1.0

    def change(value):
        nonlocal strength
        strength = value

    return (lambda x: strength * jnp.sum(x**2) / 2), change


def by_attribute():
    knob = Knob(1.0)
    return knob.energy, lambda value: setattr(knob, "strength", value)


def by_array():
    strength = np.ones(1)
    return (
        lambda x: jnp.asarray(strength)[0] * jnp.sum(x**2) / 2
    ), lambda value: strength.__setitem__(0, value)


WAYS = {
    "global": by_global,
    "closure": by_closure,
    "attribute": by_attribute,
    "array": by_array,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_potential_that_changed_has_new_levels(way):
    """Truth: the levels of an oscillator of stiffness k are 0, k, 2k."""
    potential, change = WAYS[way]()
    equation = fp.FokkerPlanck(potential)
    assert np.allclose(fp.spectrum(equation, LINE, 3).values, [0, 1, 2], atol=1e-6)
    assert float(fp.spectral_gap(equation, LINE)) == pytest.approx(1, abs=1e-6)
    change(2.0)
    assert np.allclose(fp.spectrum(equation, LINE, 3).values, [0, 2, 4], atol=1e-6)
    assert float(fp.spectral_gap(equation, LINE)) == pytest.approx(2, abs=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_a_potential_that_changed_has_new_rates(way):
    """Each answer after the change is that of a function that never changed."""
    potential, change = WAYS[way]()
    equation = fp.FokkerPlanck(potential)
    left, right = (lambda x: x[0] < -1), (lambda x: x[0] > 1)
    ask = lambda e: (
        committor(e, CELLS, left, right),
        mean_first_passage_time(e, CELLS, right),
    )
    before = ask(equation)
    change(3.0)
    after, truth = ask(equation), ask(fp.FokkerPlanck(lambda x: 3 * jnp.sum(x**2) / 2))
    for old, new, exact in zip(before, after, truth, strict=True):
        assert (
            np.max(np.abs(new - exact))
            < 1e-12 * np.max(np.abs(exact))
            < np.max(np.abs(new - old))
        )


def test_a_set_that_changed_is_another_set():
    edge = np.asarray([1.0])
    target = lambda x: x[0] > jnp.asarray(edge)[0]
    equation = fp.FokkerPlanck(fp.Harmonic())
    near = mean_first_passage_time(equation, CELLS, target)
    edge[0] = 1.7
    far = mean_first_passage_time(equation, CELLS, target)
    assert np.allclose(
        far, mean_first_passage_time(equation, CELLS, lambda x: x[0] > 1.7), rtol=1e-12
    )
    assert float(far[0]) > 1.2 * float(near[0])


def test_wells_that_changed_have_another_law():
    knob = Knob(1.0)
    equation = fp.FokkerPlanck(lambda x: knob.strength * (x[0] ** 2 - 1) ** 2, 0.1)
    gap = lambda k: np.sqrt(32) / np.pi * k * np.exp(-k / 0.1)
    grid = fp.Grid(fp.Line(-2.0, 2.0, 64))
    assert float(eyring_kramers(equation, grid).gap) == pytest.approx(
        gap(1.0), rel=1e-10
    )
    knob.strength = 2.0
    assert float(eyring_kramers(equation, grid).gap) == pytest.approx(
        gap(2.0), rel=1e-10
    )


def test_a_score_that_changed_has_another_density():
    knob = Knob(1.0)
    score = lambda x: -knob.strength * x
    assert float(reconstruct(score, LINE).gap) == pytest.approx(1, abs=1e-6)
    knob.strength = 2.0
    found = reconstruct(score, LINE)
    assert float(found.gap) == pytest.approx(2, abs=1e-6)
    assert float(LINE.integrate(found.density * LINE.nodes[0] ** 2)) == pytest.approx(
        0.5, abs=1e-6
    )


def ridge(a):
    """A double well beside a valley; the number `a` is an argument of its programs."""
    return lambda x: (x[0] ** 2 - a) ** 2 + x[1] ** 2 * (1 + x[0] ** 2)


def other(x):
    """Another formula."""
    return x[0] ** 4 / 2 - jnp.cos(2 * x[0]) / 5 + 1.2 * x[1] ** 2 + x[0] * x[1] / 3


@pytest.mark.parametrize(
    "solve", [lambda e: fp.spectrum(e, PLANE, 3), lambda e: fp.spectral_gap(e, PLANE)]
)
def test_a_second_potential_compiles_its_samples_alone(solve):
    """Programs: none for other numbers, one small one for another formula."""
    equation = lambda potential: fp.FokkerPlanck(potential, 0.5)
    solve(equation(ridge(1.0)))
    with compilations() as numbers:
        solve(equation(ridge(1.1)))
    with compilations() as formula:
        solve(equation(other))
    assert len(numbers) == 0, numbers
    assert len(formula) <= 1, formula


def test_a_second_small_gap_compiles_its_samples_alone():
    """A gap of 1e-12 takes the factor and the chain of cells besides, whose samples are
    small programs too.
    """
    grid = fp.Grid(fp.Line(-2.0, 2.0, 64))
    deep = lambda k: lambda x: k * (x[0] ** 2 - 1) ** 2
    fp.spectral_gap(fp.FokkerPlanck(deep(1.0), 0.035), grid)
    with compilations() as numbers:
        fp.spectral_gap(fp.FokkerPlanck(deep(1.1), 0.035), grid)
    with compilations() as formula:
        fp.spectral_gap(
            fp.FokkerPlanck(
                lambda x: (x[0] ** 2 - 1) ** 2 + 0.01 * jnp.sin(x[0]), 0.035
            ),
            grid,
        )
    assert len(numbers) == 0, numbers
    assert len(formula) <= 3, formula


def test_second_rates_and_scores_compile_their_samples_alone():
    left, right = (lambda x: x[0] < -1), (lambda x: x[0] > 1)
    solve = lambda e: (
        committor(e, CELLS, left, right),
        mean_first_passage_time(e, CELLS, right),
    )
    solve(fp.FokkerPlanck(lambda x: x[0] ** 4))
    with compilations() as formula:
        solve(fp.FokkerPlanck(lambda x: x[0] ** 4 + jnp.sin(x[0])))
    # on the grid, on its two companions, and between its nodes
    assert len(formula) <= 4, formula
    reconstruct(lambda x: -x - x**3, LINE)
    with compilations() as formula:
        reconstruct(lambda x: -x - jnp.sinh(x), LINE)
    # samples on three grids and between nodes, and the score on the nodes
    assert len(formula) <= 5, formula


def test_decisions_are_data():
    modes = fp.spectrum(fp.FokkerPlanck(ridge(1.0), 0.5), PLANE, 3)
    decisions = dict(modes.decisions)
    assert decisions["scheme"].choice == "Spectral"
    assert decisions["method"].choice == "tensor"
    assert modes.stats["scheme"] == str(decisions["scheme"])
    assert "products" in modes.stats["method"]

"""Pictures have the axes, labels and legends that a reader needs, and leave no state
behind.
"""

import functools
import sys
from typing import Any

import numpy as np
import pytest

import fpsolve as fp
from fpsolve.io import describe
from fpsolve.plot.panels import choose_times, marginal

LINE = fp.Line(-2.5, 2.5, 24)
WELL = fp.FokkerPlanck(fp.DoubleWell(2.0))


def start(d: int) -> fp.Gaussian:
    return fp.Gaussian([-1.0, 0.3, 0.0][:d], 0.05 if d == 1 else 0.2)


def grid(d: int) -> fp.Grid:
    first = LINE if d < 3 else fp.Line(-2.5, 2.5, 12)
    return fp.Grid(*(first, fp.Legendre(-2.0, 2.0, 7), fp.Line(-3.0, 3.0, 6))[:d])


@functools.cache
def run(d: int, times: tuple[float, ...] = (0.0, 0.1, 0.5)) -> fp.Solution:
    return fp.evolve(
        WELL, start(d), times, grid=grid(d), scheme=fp.ScharfetterGummel(), tol=1e-4
    )


def panels(figure: Any) -> list[Any]:
    """The axes that are no colour bars, after a first drawing."""
    figure.canvas.draw()
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def test_one_dimension_shows_densities_over_their_potential() -> None:
    above, below = panels(run(1).plot())
    assert (above.get_ylabel(), below.get_ylabel(), below.get_xlabel()) == (
        "density p",
        "potential U",
        "x",
    )
    assert [text.get_text() for text in above.get_legend().get_texts()] == [
        "t = 0",
        "t = 0.1",
        "t = 0.5",
    ]
    assert len(below.lines) == 1
    # not drowned by the walls
    assert below.get_ylim()[1] < np.max(below.lines[0].get_ydata())


def test_at_most_eight_times_are_drawn() -> None:
    above, _ = panels(run(1, tuple(np.linspace(0.0, 0.1, 20))).plot())
    assert len(above.lines) == 8
    assert list(choose_times(20, 8))[::7] == [0, 19]
    assert list(choose_times(3, 8)) == [0, 1, 2]


def test_a_moving_potential_is_drawn_at_each_time() -> None:
    equation = fp.FokkerPlanck(lambda x, t: (x[0] - t) ** 2)
    _, below = panels(
        fp.evolve(equation, start(1), [0.1, 0.2], grid=grid(1), tol=1e-3).plot()
    )
    assert len(below.lines) == 2


def test_two_dimensions_are_maps_with_the_true_cells() -> None:
    figure = run(2, (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)).plot()
    maps = panels(figure)
    assert [axes.get_title() for axes in maps][::3] == ["t = 0", "t = 0.5"]
    assert (maps[0].get_xlabel(), maps[0].get_ylabel()) == ("x₀", "x₁")
    cells = maps[0].collections[0].get_coordinates()
    assert np.allclose(cells[0, :, 0], LINE.edges)
    assert np.allclose(cells[:, 0, 1], grid(2).axes[1].edges)
    assert len(figure.axes) == 8 and figure.axes[-1].get_ylabel() == "density p"


def test_three_dimensions_are_marginals_of_mass_one() -> None:
    solution = run(3)
    drawn = panels(solution.plot())
    assert [axes.get_xlabel() for axes in drawn] == ["x₀", "x₁", "x₂"]
    for i, axes in enumerate(drawn):
        assert axes.lines[-1].get_ydata() @ solution.grid.axes[
            i
        ].weights == pytest.approx(1, abs=1e-10)
    assert np.allclose(
        marginal(solution.grid, np.asarray(solution.values[0]), 1),
        np.einsum(
            "ijk,i,k",
            solution.values[0],
            solution.grid.axes[0].weights,
            solution.grid.axes[2].weights,
        ),
    )


def test_a_complex_wave_is_drawn_as_a_density() -> None:
    wave = fp.evolve(
        fp.Schrodinger(lambda x: x[0] ** 2),
        np.exp(-(LINE.nodes**2)),
        [0.1],
        grid=grid(1),
        wick=1.0,
    )
    assert panels(wave.plot())[0].get_ylabel() == "density |ψ|²"


@pytest.mark.parametrize(("d", "count"), [(1, 2), (2, 5), (3, 2)])
def test_spectra_show_levels_and_modes(d: int, count: int) -> None:
    figure = fp.spectrum(WELL, grid(d), 4, scheme=fp.ScharfetterGummel()).plot()
    levels, *modes = panels(figure)
    assert (levels.get_xlabel(), levels.get_ylabel()) == ("k", "level Eₖ (1 / time)")
    assert levels.get_title().startswith("gap")
    assert 1 + len(modes) == count


@pytest.mark.parametrize(
    ("d", "count"), [(1, 2), *(pytest.param(*row) for row in ((2, 3), (3, 2)))]
)
def test_both_sides_and_their_difference(d: int, count: int) -> None:
    figure = fp.correspondence(WELL, start(d), [0.1, 0.5], grid=grid(d)).plot()
    drawn = panels(figure)
    assert len(drawn) == count
    assert "√π ψ" in figure.get_suptitle()
    if d == 1:
        assert drawn[1].get_yscale() == "log" and drawn[1].get_ylabel() == "|p − √π ψ|"
        assert "√π ψ, each time" in [
            text.get_text() for text in drawn[0].get_legend().get_texts()
        ]
        # one filled density a time, and a dashed line on each
        assert len(drawn[0].collections) == 2
        for density, image in zip(drawn[0].lines[:2], drawn[0].lines[2:], strict=True):
            assert image.is_dashed()
            assert np.allclose(density.get_ydata(), image.get_ydata())


def test_a_record_draws_the_same_and_no_global_state_is_touched() -> None:
    solution = run(1)
    before = "matplotlib.pyplot" in sys.modules
    figure, again = solution.plot(), describe(solution).plot()
    assert ("matplotlib.pyplot" in sys.modules) == before
    assert np.array_equal(
        figure.axes[0].lines[0].get_ydata(), again.axes[0].lines[0].get_ydata()
    )
    assert figure._repr_png_().startswith(b"\x89PNG")  # what a notebook shows

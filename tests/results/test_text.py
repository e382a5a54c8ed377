"""What `print` shows of a result: short, with the error, and inside a transformation as
well.
"""

import jax
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.core.text import largest, listed

EQUATION = fp.FokkerPlanck(fp.Harmonic(1.0))
GRID = fp.Grid(fp.Line(-7.0, 7.0, 48))
START = fp.Gaussian(0.5, 0.5)


def test_numbers_in_words() -> None:
    assert listed(np.arange(3.0)) == "0, 1, 2"
    assert listed(np.arange(11.0)) == "0, 1, 2, 3, 4, 5, 6, 7 and 3 more"
    assert listed(np.asarray(1 / 3), ".2f") == "0.33"
    assert largest(np.asarray([1e-9, np.nan])) == "nan"


def test_results_show_their_errors() -> None:
    solution = fp.evolve(EQUATION, START, [0.1, 1.0], grid=GRID)
    assert (
        f"successful, estimated error at most {float(solution.error.max()):.1e}"
        in repr(solution)
    )
    spectrum = fp.spectrum(EQUATION, GRID, k=3)
    assert "0, 1, 2" in repr(spectrum)
    assert f"{float(spectrum.errors[1]):.1e}" in repr(spectrum)
    for answer in (solution, spectrum):
        assert len(repr(answer).splitlines()) <= 6 and "f64[" not in repr(answer)


def test_comparisons_and_scores_show_their_errors() -> None:
    both = fp.correspondence(EQUATION, START, [0.1], grid=GRID)
    assert "holds" in repr(both) and f"{float(both.error.max()):.1e}" in repr(both)
    ground = fp.score.reconstruct(lambda x: -x, GRID)
    assert "gap 1," in repr(ground)
    path = fp.Mix(fp.Harmonic(1.0), fp.Harmonic(2.0))
    assert "estimated relative error" in repr(fp.along(path, grid=GRID))
    for answer in (both, ground):
        assert len(repr(answer).splitlines()) <= 6 and "f64[" not in repr(answer)


@pytest.mark.parametrize("ask", ["evolve", "spectrum"])
def test_a_traced_result_can_be_printed(ask: str) -> None:
    shown = []

    def run(diffusion: jax.Array) -> jax.Array:
        equation = fp.FokkerPlanck(fp.Harmonic(1.0), diffusion)
        if ask == "spectrum":
            answer = fp.spectrum(equation, GRID, k=2)
            shown.append(repr(answer))
            return answer.values
        solution = fp.evolve(equation, START, [0.1], grid=GRID)
        shown.append(repr(solution))
        return solution.values

    jax.jit(run)(1.0)
    assert "traced" in shown[0]

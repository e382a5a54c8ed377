"""What each method keeps, as the table in README.md says, every cell measured on a
small grid.

A batch of starts (a spike in every cell, the Gibbs density, a smooth density) goes
through one compiled program a method, for any operator and any length of time t; all
that is claimed is read from the answers:

    mass         sum_i w_i p_i  from every spike, in a steep potential
    positivity   sum_i w_i max(-p_i, 0)  from the same
    Gibbs        sum_i w_i |p_i - pi_i| from pi, after t = 1e4 and, in between, huge
                 steps
    symmetry     K_ij pi_j = K_ji pi_i, K_ij the density at i from a spike at j:
                 the propagator is in detailed balance
    order        slope of the error of K(T/N)^N against N;
                 for methods without steps, the error at a tolerance
    cost         slope of log(operator calls) against log(t),
                 at given steps where the method steps
"""

import numpy as np
import pytest

from blocks import ROOT
from method_runs import (
    BASIS,
    BASIS_PLANE,
    CLAIMS,
    COLUMNS,
    ERROR,
    EXACT,
    LINE,
    PLANE,
    ROUNDING,
    SHOWN,
    potentials,
    run,
)


def allowed(strength, answers):
    """What a defect may be, for every start: nothing, rounding of the numbers in the
    answer, the error reported, or what a basis that resolves the start to five digits
    leaves.
    """
    size = np.maximum(1, np.abs(answers.values) @ answers.weights)
    rounding = np.maximum(1e-12, np.finfo(float).eps * answers.calls) * size
    return {
        EXACT: 0 * size,
        ROUNDING: rounding,
        ERROR: rounding + answers.errors,
        SHOWN: 1e-5 * size,
    }[strength]


def check(strength, defects, answers, what):
    """Defects within what the strength allows, start by start."""
    most = allowed(strength, answers)[: len(defects)]
    worst = int(np.argmax(defects - most))
    assert np.all(defects <= most), (
        f"{what} off by {defects[worst]:.1e}; '{strength}' allows {most[worst]:.1e}"
    )


def mass_defects(answers):
    return np.abs(answers.values @ answers.weights - 1)


def negative_parts(answers):
    return np.maximum(-answers.values, 0) @ answers.weights


def gibbs_defects(answers):
    stands = np.arange(len(answers.values)) == len(answers.values) - 2
    return np.where(stands, np.abs(answers.values - answers.gibbs) @ answers.weights, 0)


def imbalances(answers, spectral):
    """K_ij pi_j against its transpose, relative to the largest entry. On a basis, where
    no spike lives, the integrals of g_i p_j(t) with g_j = p_j(0) / pi bounded.
    """
    if spectral:
        flow = (
            answers.starts[3:-2] * (answers.weights / answers.gibbs)
        ) @ answers.values[3:-2].T
        return np.concatenate([np.zeros(3), np.abs(flow - flow.T).max(1)])
    flow = answers.values[:-2] * answers.gibbs[:, None]
    return np.abs(flow - flow.T).max(1) / np.abs(flow).max()


def cases():
    """Rows on the grids they take, the cheaper grid by default."""
    for name in CLAIMS:
        line, plane = (BASIS, BASIS_PLANE) if "spectral" in name else (LINE, PLANE)
        if "Splitting" in name:
            line, plane = plane, line
        yield pytest.param(name, line, id=f"{name}-{line.ndim}")
        if "Rational" not in name:
            yield pytest.param(name, plane, id=f"{name}-{plane.ndim}")


def lengths(name):
    """Short, middling, long; a Poisson sum in a steep potential takes 1e5 products
    already at t = 100.
    """
    if "Uniformization" in name:
        return 1e-3, 0.05, 100.0
    if "spectral" in name:  # a bell is not resolved before
        return (0.05, 1.0) if "Magnus" in name else (0.05, 1e4)
    return 1e-3, 0.05, 1e4


def check_row(claim, name, grid):
    """Mass, positivity, Gibbs and symmetry of a row."""
    moved, rests = potentials(name)
    for t in lengths(name):
        answers = run(name, grid, moved, t)
        check(claim.mass, mass_defects(answers), answers, f"mass at t = {t:g}")
        check(
            claim.positivity,
            negative_parts(answers),
            answers,
            f"positivity at t = {t:g}",
        )
        answers = run(name, grid, rests, t)
        check(claim.gibbs, gibbs_defects(answers), answers, f"Gibbs at t = {t:g}")
        check(
            claim.symmetry,
            imbalances(answers, "spectral" in name),
            answers,
            f"symmetry at t = {t:g}",
        )


@pytest.mark.parametrize(("name", "grid"), list(cases()))
def test_mass_positivity_gibbs_and_symmetry(name, grid):
    check_row(CLAIMS[name], name, grid)


def test_a_claim_that_is_too_strong_is_caught():
    name = "`Implicit(2)`"
    with pytest.raises(AssertionError, match="positivity"):
        check_row(CLAIMS[name]._replace(positivity=ROUNDING), name, LINE)


def rows(text):
    """The table of methods under "## Structure" of a page: name to cells."""
    lines = text.partition("## Structure")[2].partition("\n## ")[0].splitlines()
    table = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("| ")
    ]
    return tuple(table[0][1:]), {
        cells[0]: tuple(cells[1:])
        for cells in table[1:]
        if not cells[0].startswith("---")
    }


def check_page(text):
    """The page says what the table here says, in the same words and order."""
    columns, told = rows(text)
    assert columns == COLUMNS, f"the columns are {columns}, and should be {COLUMNS}"
    measured = {name: tuple(claim[1:]) for name, claim in CLAIMS.items()}
    assert told == measured, (
        "README.md differs from what is measured in "
        f"{set(told.items()) ^ set(measured.items())}"
    )
    assert list(told) == list(measured)


def test_the_page_says_what_is_measured():
    check_page((ROOT / "README.md").read_text(encoding="utf-8"))


def test_a_page_that_says_more_is_caught():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    row = "| `Rational` | rounding | error |"
    assert row in text
    with pytest.raises(AssertionError, match="differs"):
        check_page(text.replace(row, "| `Rational` | rounding | exact |"))

"""The errors of the gap and the costs along a path.

A second look solves on two companions of the grid, at lambdas between those of the
interpolation: it sees the error in space, that of the box, and that of the
interpolation. What is compared, and how an error follows from three values, is the same
as for levels (`solve.level_errors`).
"""

from typing import NamedTuple

import numpy as np

from ..core.arrays import spread_positions
from ..plan.constants import CONSTANTS as PLAN
from ..solve.level_errors import errors_in_basis, errors_on_volumes
from .constants import CONSTANTS
from .panels import Panels
from .path_solver import PathSolver, Solved
from .rates import Rates, rates_of


class Computed(NamedTuple):
    """The interpolated table of a path, the lambdas `(M,)` that it was computed at,
    what one run shows of the errors there, relative, `(M,)`, and the solver.

    - `algebra`: of the algebra, and of the extrapolation of chains
    - `seen`: in space and of the box
    - `tol`: of the interpolation
    """

    panels: Panels
    lambdas: np.ndarray
    algebra: np.ndarray
    seen: np.ndarray
    tol: float
    solver: PathSolver


def table_of(found: Solved, solves: bool) -> np.ndarray:
    """The table to interpolate, `(R, M)`: the gap, the level above it, drive,
    score_drive and, with `solves`, length and exact.
    """
    costs = found.costs
    rows = [found.gap, found.second, costs.drive, costs.score_drive]
    if solves:
        rows += [costs.length, costs.exact]
    return np.stack(rows)


def single_look(computed: Computed) -> Rates:
    """The errors `(M,)` that one run shows, in units of the rates: a rough guide."""
    relative = computed.algebra + computed.seen + computed.tol
    return _named(relative * _values(computed.panels, computed.lambdas))


def second_look(computed: Computed) -> Rates:
    """The whole errors `(M,)` at the lambdas of the interpolation, in units of the
    rates; NaN where they are not known.

    **Cost**: twice that of the table, or less; of a long table, two tables of
    `CONSTANTS.compared_lambdas` rows.
    """
    lambdas = computed.lambdas
    solver = computed.solver
    widths = np.diff(lambdas)
    # A shorter interval is a breakpoint of the path, where a function may have two
    # values.
    wide = widths > CONSTANTS.min_feature
    places = (lambdas[:-1] + PLAN.companion_shift * widths)[wide]
    # The nodes are dense enough for the interpolation. Errors in space change less with
    # lambda.
    places = places[spread_positions(len(places), CONSTANTS.compared_lambdas)]
    values = _values(computed.panels, places)
    # Two more grids: three values show how fast the error falls.
    first = solver.companion()
    second = first.companion()
    others = [_companion_values(other, places) for other in (first, second)]
    compare = errors_in_basis if solver.spectral else errors_on_volumes
    # A new first axis, which is that of the levels: here each number is compared by
    # itself.
    between = compare(values[None], *(other[None] for other in others))[0]

    # At each lambda the larger one of the errors at the two nearest places.
    after = np.searchsorted(places, lambdas)
    last = len(places) - 1
    sides = [between[:, np.clip(index, 0, last)] for index in (after - 1, after)]
    own = computed.algebra * _values(computed.panels, lambdas)
    return _named(np.maximum(*sides) + own)


def largest_error(values: Rates, errors: Rates) -> float:
    """The largest error: that of a gap is relative to itself, that of a cost to the
    largest one on the path; NaN where one is not known.
    """
    worst = [np.max(errors.gap / values.gap)]
    # A cost may be zero on all of a path.
    smallest = np.finfo(float).tiny
    for value, error in zip(values[1:], errors[1:], strict=True):
        if error is not None:
            largest_value = max(np.max(value), smallest)
            worst.append(np.max(error) / largest_value)
    return float(np.max(worst))


def _values(panels: Panels, lambdas: np.ndarray) -> np.ndarray:
    """The rates at concrete lambdas, `(R, M)`."""
    rows, _ = panels.evaluate(lambdas)
    return _stacked(rates_of(rows))


def _companion_values(solver: PathSolver, lambdas: np.ndarray) -> np.ndarray:
    """The rates on another grid, `(R, M)`; NaN where there are none."""
    found = solver.solve_if_possible(lambdas)
    table = table_of(found, solver.solves)
    with np.errstate(divide="ignore", invalid="ignore"):  # a gap may be zero there
        values = _stacked(rates_of(table))
    return np.where(np.isfinite(values), values, np.nan)


def _stacked(rates: Rates) -> np.ndarray:
    return np.stack([rate for rate in rates if rate is not None])


def _named(errors: np.ndarray) -> Rates:
    # Without the costs that need H^{-1} the last fields are None.
    missing = len(Rates._fields) - len(errors)
    return Rates(*errors, *[None] * missing)

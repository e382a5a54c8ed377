"""Problems of `fp.evolve`: what is asked, and how its densities are compared with those
of a reference.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .problem import Claim, Problem, of_error

# level 0 or 1 to a density a time
Reference = Callable[[int], Sequence[Callable[[np.ndarray], np.ndarray]]]
CLOSED = 1e-12  # relative rounding of a closed form
GAUSS = {1: 8, 2: 3, 3: 2}  # points an axis of the average over a cell, by dimension


def claim(solution: Any) -> Claim:
    """The values of a solution, its error and its code."""
    values = np.asarray(solution.values)
    return Claim(values, of_error(solution), solution.result)


def same(functions: Callable[[], Sequence[Any]]) -> Reference:
    """A reference in closed form: both levels are one."""
    return lambda level: functions()


def comparison(
    reference: Reference,
    keeps: bool,
    scale: float = 1.0,
    closed: bool = False,
    density: bool = True,
) -> Callable[[Any], Any]:
    """The relative L1 errors of a solution at the nodes, and the rounding of the
    reference.

    `keeps` says that the mass of the reference is 1, also outside of the box; `density`
    that the values are one, and `scale` is the unit of length. Values of
    finite volumes may be read as values of the nodes or as averages of the cells: the
    reading with less error counts.
    """

    def compare(solution: Any) -> tuple[np.ndarray, np.ndarray]:
        grid = solution.grid
        values = np.asarray(solution.values, float)
        fine = list(reference(1))
        coarse = fine if closed else list(reference(0))
        kept = (keeps, density)
        readings = [_errors(grid, values, fine, coarse, scale, kept, 1)]
        if not solution.scheme.spectral:
            readings.append(
                _errors(grid, values, fine, coarse, scale, kept, GAUSS[grid.ndim])
            )
        true = np.min([r[0] for r in readings], axis=0)
        rounding = np.min([r[1] for r in readings], axis=0)
        return true, np.maximum(rounding, CLOSED)

    return compare


def _errors(
    grid: Any,
    values: np.ndarray,
    fine: Any,
    coarse: Any,
    scale: float,
    kept: tuple[bool, bool],
    rule: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The errors where a reference is averaged over each cell by a Gauss rule of `rule`
    points an axis.
    """
    weights = np.ones(())
    for axis in grid.axes:
        weights = np.multiply.outer(weights, np.asarray(axis.weights) / scale)
    keeps, density = kept
    volume = scale**grid.ndim if density else 1.0
    true, rounding = [], []
    for value, one, other in zip(values, fine, coarse, strict=True):
        right = _averages(grid, one, scale, rule)
        total = max(float(np.sum(weights * np.abs(right))), 1.0 if keeps else 0.0)
        true.append(np.sum(weights * np.abs(value * volume - right)) / total)
        if one is other:
            rounding.append(0.0)
            continue
        apart = np.abs(_averages(grid, other, scale, rule) - right)
        rounding.append(np.sum(weights * apart) / total)
    return np.array(true), np.array(rounding)


def _averages(grid: Any, density: Any, scale: float, rule: int) -> np.ndarray:
    s, w = np.polynomial.legendre.leggauss(rule)
    total = np.zeros(grid.shape)
    for index in itertools.product(range(rule), repeat=grid.ndim):
        nodes = [
            (np.asarray(a.nodes) + np.asarray(a.weights) * s[i] / 2) / scale
            for a, i in zip(grid.axes, index, strict=True)
        ]
        points = nodes[0]
        if grid.ndim > 1:
            points = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1)
        total = total + density(points) * np.prod(w[list(index)]) / 2**grid.ndim
    return total


def evolve_problem(
    kind: str,
    seed: int,
    title: str,
    *,
    equation: Any,
    initial: Any,
    times: Any,
    reference: Reference,
    grid: Any = None,
    tol: float | None = None,
    scale: float = 1.0,
    keeps: bool = True,
    closed: bool = False,
    smooth: bool = False,
    density: bool = True,
    **options: Any,
) -> Problem:
    """A problem of `fp.evolve` with default options, on a given grid or on one fitted
    to `tol`.
    """
    import fpsolve as fp

    chosen: dict[str, Any] = (
        options
        | ({} if tol is None else {"tol": tol})
        | ({} if grid is None else {"grid": grid})
    )
    return Problem(
        kind=kind,
        seed=seed,
        title=title,
        tol=1e-8 if tol is None else tol,
        ask=lambda: fp.evolve(equation, initial, times, **chosen),
        claim=claim,
        compare=comparison(reference, keeps, scale, closed, density),
        smooth=smooth,
        show=lambda s: (
            f"{s!r}\n  error {np.asarray(s.error)}, space {s.space_error}, errors "
            f"{getattr(s, 'errors', None)}"
        ),
    )

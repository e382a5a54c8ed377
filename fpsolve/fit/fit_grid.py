"""The door "which grid for this tolerance": questions are looked at, then `axes` fits."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..core.checks import check_integer
from ..core.memory import check_memory
from ..core.types import Real
from ..equation import WithPotential
from ..grid import Grid
from ..plan.validation import check_times, check_tolerance
from .axes import Question, fit_axes
from .bounding_box import NotConfining
from .search import BoxNotFound, Unresolved
from .validation import check_question, dimension, explain


class Fit(NamedTuple):
    """A grid, the estimated relative error that it makes, and what was found on the way."""

    grid: Grid
    space_error: float
    words: str


def fit_grid(
    equation: WithPotential, initial: Any = None, *, tol: Real = 1e-8, times: Any = None, like: Grid | None = None
) -> Grid:
    """A grid, hardly larger than need be, on which `fp.Spectral` answers to the tolerance `tol`.

    With `initial`: the relative L1 error of the density at `times`, or at all times. Without: the relative error of the
    lowest six levels, or of those that lie below the continuum.

    **Arguments**

    - `equation`: `fp.FokkerPlanck` or `fp.Schrodinger`
    - `initial`: a function of x or `fp.Gaussian`, as in `fp.evolve`
    - `tol`: relative error in space
    - `times`: `(T,)`, ascending; a moving potential needs them
    - `like`: a grid whose `fp.Periodic`, `fp.Legendre` and `fp.Absorbing` axes are kept, with their bounds and another
      n; its `fp.Line` axes are fitted anew. Without it d is that of the start, else the least that the functions take,
      and an axis along which nothing confines but all repeats itself becomes `fp.Periodic`, one period long

    **Returns** an `fp.Grid`, each axis with a box and a spacing of its own. **Raises** `ValueError` for a potential
    that is unbounded or does not confine, for a kink (with the tolerance that could be reached), for levels above the
    continuum, and for a tolerance below the precision. **Keeps**: the kinds of the axes of `like`.

    **Cost**: some twenty dense solves in one dimension for each of a few lines through the problem, seconds at most.
    The estimate is measured in one dimension; in more it is taken from those lines, and is a guide.
    **Reference**: Boyd, Chebyshev and Fourier Spectral Methods (2001), chapter 17.

    ```python
    import fpsolve as fp

    grid = fp.fit_grid(fp.FokkerPlanck(fp.DoubleWell(2.0)), fp.Gaussian(-1.0, 0.1), tol=1e-6, times=[0.5, 1.0])
    ```
    """
    return fit(equation, initial, tol, times, like=like).grid


def fit(
    equation: Any,
    initial: Any,
    tol: Any = 1e-8,
    times: Any = None,
    k: Any = None,
    wick: float = 0.0,
    like: Any = None,
    t: Any = 0.0,
) -> Fit:
    """As `fit_grid`, with the error; `k` levels at the time `t` where there is no start."""
    check_question(equation, initial, times, (tol, t), like)
    tol = check_tolerance(tol, jnp.zeros(()).dtype)
    k = None if k is None else check_integer("k", k, 1, "Ask for at least one level.")
    moments = None if times is None else np.asarray(check_times(times), float)
    ndim = dimension(equation, initial, like, float(t))
    question = Question(equation, initial, tol, None if initial is None else moments, k, wick, float(t))
    try:
        grid, error, words = fit_axes(question, like, ndim)
    except (NotConfining, Unresolved, BoxNotFound) as trouble:
        explain(trouble, equation, tol)
    check_memory("tol", grid.shape, 12, "Ask for a larger tol, or fewer dimensions.")
    return Fit(grid, error, words)

"""Which grid for this tolerance: `fp.fit_grid`. The arguments are validated here, and
`axes` fits the grid.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..core.checks import check_integer
from ..core.content import read_at
from ..core.memory import check_memory
from ..core.program import public_function
from ..core.types import Count, Formula, Numbers, Real, Scalar
from ..equation import WithPotential, read_equation
from ..grid import Grid
from ..plan.constants import CONSTANTS as PLAN
from ..plan.validation import check_times, check_tolerance
from .axes import fit_axes
from .bounding_box import NotConfining
from .dense_look import Unseen
from .failures import raise_fit_error
from .request import FitRequest
from .sampled_equation import check_known
from .search import BoxNotFound, Unresolved
from .validation import check_features, check_request, dimension
from .whole_grid import NoWave


class Fit(NamedTuple):
    """A grid, its estimated relative error, and a description of how it was found."""

    grid: Grid
    space_error: float
    description: str


def fit_grid(
    equation: WithPotential,
    initial: Formula | None = None,
    *,
    tol: Real = 1e-8,
    times: Numbers | None = None,
    like: Grid | None = None,
    features: Numbers = (),
) -> Grid:
    """A grid, hardly larger than necessary, on which `fp.Spectral` is accurate to the
    tolerance `tol`.

    With `initial`, the error is the relative L1 error of the density at `times`, or at
    all times. Without, it is the relative error of the lowest six levels, or of those
    that lie below the continuum.

    **Arguments**

    - `equation`: `fp.FokkerPlanck` or `fp.Schrodinger`
    - `initial`: a function of x or `fp.Gaussian`, as in `fp.evolve`
    - `tol`: relative error in space
    - `times`: `(T,)`, ascending; required where the potential depends on time
    - `like`: a grid whose `fp.Periodic`, `fp.Legendre` and `fp.Absorbing` axes are
      kept, with their bounds and another n; its `fp.Line` axes are fitted anew. Without
      it, d is the dimension of `initial`, or else the smallest that the functions
      accept, and an axis along which the potential is periodic and does not confine
      becomes `fp.Periodic`, one period long
    - `features`: places, `(m, d)` or in one dimension `(m,)`, where the functions have
      narrow features: the fit looks there at distances down to 1e-9 of the box.
      Elsewhere it looks at 100,000 places on an axis, and cannot see what is narrower
      than their distance

    **Returns** an `fp.Grid`, each axis with a box and a spacing of its own. **Raises**
    `ValueError` for a potential that is unbounded or does not confine, for a kink (with
    the tolerance that can be reached), for a feature too narrow for 800 nodes (with its
    place and width), for levels above the continuum, and for a tolerance below the
    precision. **Keeps**: the kinds of the axes of `like`. The number of nodes is one of
    eight an octave, so that fitted grids have few shapes and share compiled programs.

    **Cost**: some twenty dense solves in one dimension; in more, measures on all points
    of some twenty grids, or dense solves on slices. In one dimension the error is
    measured against a finer and wider grid and at 100,000 other places. In more
    dimensions it is estimated, and the functions are looked at in 100,000 random
    points.
    **Reference**: Boyd, Chebyshev and Fourier Spectral Methods (2001), chapter 17.

    ```python
    import fpsolve as fp

    grid = fp.fit_grid(
        fp.FokkerPlanck(fp.DoubleWell(2.0)),
        fp.Gaussian(-1.0, 0.1),
        tol=1e-6,
        times=[0.5, 1.0],
    )
    ```
    """
    return fit(equation, initial, tol, times, like=like, features=features).grid


@public_function
def fit(
    equation: Any,
    initial: Formula | None,
    tol: Real = 1e-8,
    times: Numbers | None = None,
    k: Count | None = None,
    wick: float = 0.0,
    like: Any = None,
    t: Scalar = 0.0,
    features: Numbers = (),
    may_turn: bool = False,
) -> Fit:
    """As `fit_grid`, with the error and a description; without `initial`, for the `k`
    lowest levels at the time `t`.

    **Raises** `Turned`, if it `may_turn`, where other coordinates suit the problem
    better.
    """
    check_request(equation, initial, times, (tol, t), like)
    tol = check_tolerance(tol, jnp.zeros(()).dtype)
    k = None if k is None else check_integer("k", k, 1, "Ask for at least one level.")
    given_times = None if times is None else np.asarray(check_times(times), float)
    ndim = dimension(equation, initial, like, float(t))
    # A function may close over a tracer, which only shows where it is read.
    check_known(read_equation(equation, ndim))
    if callable(initial):
        check_known(read_at(initial, ndim))
    request = FitRequest(
        equation=equation,
        initial=initial,
        tol=tol,
        times=None if initial is None else given_times,
        k=k,
        wick=wick,
        t=float(t),
        features=check_features(features, ndim, like),
    )
    # The search stops at the first thing that it cannot fit; the message says what the
    # user can do.
    try:
        fitted = fit_axes(request, like, ndim, may_turn)
    except (NotConfining, Unresolved, BoxNotFound, Unseen, NoWave) as failure:
        raise_fit_error(failure, equation, tol)
    # A fitted grid may be too large for a run, which is better said here than there.
    check_memory(
        "tol",
        fitted.grid.shape,
        PLAN.run_fields,
        "Ask for a larger tol, or fewer dimensions.",
    )
    return Fit(fitted.grid, fitted.error, fitted.description)

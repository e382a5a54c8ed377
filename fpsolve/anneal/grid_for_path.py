"""One grid for a whole path: a box that holds all its Gibbs densities, with the spacing
that the sharpest one needs.

    [a, b] = [min_lambda a_lambda, max_lambda b_lambda],     h = min_lambda h_lambda

where [a_lambda, b_lambda] and h_lambda are those of `fp.fit_grid` for the slowest
modes, at five lambdas.
"""

import jax
import numpy as np

from ..core.checks import raise_value_error
from ..core.types import PotentialPath, Real, Scalar
from ..equation import FokkerPlanck
from ..fit import fit
from ..fit.validation import dimension
from ..grid import Grid
from .constants import CONSTANTS
from .read import ContentCache, content_key, read_path

# The grids of the last paths: a schedule and the transport that follows it need the
# same one.
_cache = ContentCache()


def path_grid(path: PotentialPath, diffusion: Scalar, tol: Real) -> Grid:
    """The grid on which a transport along `path` is accurate to about `tol`.

    **Arguments**: `path`, lambda in [0, 1] to a potential; `diffusion`; `tol`,
    relative. **Returns** an `fp.Grid`. **Raises** `ValueError` where the path does not
    confine, naming the lambda, or where its axes are of several kinds.
    """
    read = _read(path, diffusion)
    key = None if read is None else content_key(read, diffusion, tol)
    found = _cache.get(key)
    if found is None:
        grids = []
        for lam in CONSTANTS.fitted_lambdas:
            grids.append(_grid_at(path, diffusion, tol, lam))
        found = _common_grid(path, grids)
        _cache.put(key, found)
    return found


def _read(path: PotentialPath, diffusion: Scalar) -> PotentialPath | None:
    """The path as it is now, in its own dimension; None if it cannot be read, which the
    first fit then reports.
    """
    # One evaluation of the path tells its dimension, which tracing needs.
    try:
        start = path(jax.device_put(np.zeros(())))
        ndim = dimension(FokkerPlanck(start, diffusion), None, None, 0.0)
    except ValueError:
        return None
    return read_path(path, ndim)


def _common_grid(path: PotentialPath, grids: list[Grid]) -> Grid:
    """The grid whose box holds those of `grids`, with the smallest of the spacings."""
    axes = []
    for column in zip(*(grid.axes for grid in grids), strict=True):
        # A periodic and an unbounded axis have no common grid.
        kinds = {type(axis) for axis in column}
        if len(kinds) > 1:
            cure = "Give grid=, with one kind of axis for all."
            raise_value_error(
                "path",
                path,
                "it is periodic at one lambda and confined at another",
                cure,
            )
        lower = min(axis.lower for axis in column)
        upper = max(axis.upper for axis in column)
        # The sharpest density of the path sets the spacing of the whole box.
        spacing = min(axis.length / axis.n for axis in column)
        n = int(np.ceil(CONSTANTS.node_density * (upper - lower) / spacing))
        axes.append(kinds.pop()(lower, upper, n))
    return Grid(*axes)


def _grid_at(path: PotentialPath, diffusion: Scalar, tol: Real, lam: float) -> Grid:
    """The grid that is fitted to the potential at one lambda."""
    equation = FokkerPlanck(path(jax.device_put(np.asarray(lam))), diffusion)
    try:
        return fit(equation, None, tol, k=CONSTANTS.fitted_modes).grid
    except ValueError as error:
        cure = "Confine every potential of the path, or give grid=."
        raise_value_error(
            "path", path, f"at lambda = {lam:g} no grid fits: {error}", cure
        )

"""One grid for a whole path: the boxes of all its Gibbs densities together, at the spacing of the sharpest of them.

    [a, b] = [min_lambda a_lambda, max_lambda b_lambda],     h = min_lambda h_lambda

each by `fp.fit_grid` for the slowest modes at a few lambda.
"""

from typing import Any

import jax
import numpy as np

from ..core.checks import raise_value_error
from ..equation import FokkerPlanck
from ..fit import fit
from ..fit.validation import dimension
from ..grid import Grid
from .read import ContentCache, content_key, read_path

STATIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
LEVELS = 2
FINER = 1.15  # than what levels need: densities that lag are sharper

_cache = ContentCache()  # a schedule and the transport that follows it need the same grid


def path_grid(path: Any, diffusion: Any, tol: Any) -> Grid:
    """The grid on which a transport along `path` is right to about `tol`.

    **Arguments**: `path`, lambda in [0, 1] to a potential; `diffusion`; `tol`, relative. **Returns** an `fp.Grid`.
    **Raises** `ValueError` where the path does not confine, naming the lambda, or where its axes are of several kinds.
    """
    read = _read(path, diffusion)
    key = None if read is None else content_key(read, diffusion, tol)
    found = _cache.get(key)
    if found is None:
        found = _covering(path, [_station(path, diffusion, tol, lam) for lam in STATIONS])
        _cache.put(key, found)
    return found


def _read(path: Any, diffusion: Any) -> Any:
    """The path as it is now, in as many dimensions as it takes; what cannot be read is refused by the first fit."""
    try:
        ndim = dimension(FokkerPlanck(path(jax.device_put(np.zeros(()))), diffusion), None, None, 0.0)
    except ValueError:
        return None
    return read_path(path, ndim)


def _covering(path: Any, found: list[Grid]) -> Grid:
    """The grid that holds all the others."""
    axes = []
    for column in zip(*(grid.axes for grid in found), strict=True):
        kinds = {type(axis) for axis in column}
        if len(kinds) > 1:
            cure = "Give grid=, with one kind of axis for all."
            raise_value_error("path", path, "it is periodic at one lambda and confined at another", cure)
        lower, upper = min(axis.lower for axis in column), max(axis.upper for axis in column)
        spacing = min(axis.length / axis.n for axis in column)
        axes.append(kinds.pop()(lower, upper, int(np.ceil(FINER * (upper - lower) / spacing))))
    return Grid(*axes)


def _station(path: Any, diffusion: Any, tol: Any, lam: float) -> Grid:
    try:
        return fit(FokkerPlanck(path(jax.device_put(np.asarray(lam))), diffusion), None, tol, k=LEVELS).grid
    except ValueError as trouble:
        cure = "Confine every potential of the path, or give grid=."
        raise_value_error("path", path, f"at lambda = {lam:g} no grid fits: {trouble}", cure)

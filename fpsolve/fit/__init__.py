"""Grids fitted to a tolerance: `fp.fit_grid`."""

from .failures import BelowRounding as BelowRounding
from .fit_grid import Fit as Fit
from .fit_grid import fit as fit
from .fit_grid import fit_grid as fit_grid
from .turn import Turned as Turned

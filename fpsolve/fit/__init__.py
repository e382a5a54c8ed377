"""Floor 5: the door "which grid for this tolerance"."""

from .door import Fit as Fit
from .door import fit as fit
from .door import fit_grid as fit_grid

"""Linear algebra that propagators and eigen-solvers share."""

from .caratheodory_fejer import exponential_partial as exponential_partial
from .lanczos import lowest_level as lowest_level
from .shifted_tridiagonal import lowest_decay as lowest_decay
from .shifted_tridiagonal import solve_shifted as solve_shifted

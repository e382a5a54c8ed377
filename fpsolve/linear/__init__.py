"""Linear algebra that methods in time and eigen-solvers share."""

from .caratheodory_fejer import exponential_partial as exponential_partial
from .lanczos import lowest_level as lowest_level
from .tridiagonal import lowest_decay as lowest_decay
from .tridiagonal import solve_chain as solve_chain

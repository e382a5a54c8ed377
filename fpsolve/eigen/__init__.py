"""Slow modes of an operator: the solvers, their choice, and levels with errors."""

from .levels import Levels as Levels
from .levels import frozen as frozen
from .levels import lacks_digits as lacks_digits
from .levels import levels as levels
from .levels import levels_through_factor as levels_through_factor
from .relaxation import relaxation_modes as relaxation_modes
from .relaxation import unresolved as unresolved
from .solver_choice import DESCRIPTIONS as DESCRIPTIONS
from .solver_choice import choose_modes as choose_modes
from .solver_choice import lowest_modes as lowest_modes
from .supersymmetric_gap import line_gap as line_gap
from .supersymmetric_gap import partner_mode as partner_mode
from .supersymmetric_gap import sample_line as sample_line
from .supersymmetric_gap import sample_smooth_line as sample_smooth_line
from .supersymmetric_gap import sampled_line_gap as sampled_line_gap
from .tridiagonal import on_host as on_host
from .tridiagonal import tridiagonal_modes as tridiagonal_modes
from .tunnel_splitting import tunnel_splitting as tunnel_splitting

"""Floor 4: in modes. Approximate slow modes by the solver that suits, and levels with errors from them."""

from .choose import DENSE_SIZE as DENSE_SIZE
from .choose import DESCRIPTIONS as DESCRIPTIONS
from .choose import choose_modes as choose_modes
from .choose import slow_waves as slow_waves
from .levels import SAME as SAME
from .levels import Levels as Levels
from .levels import lacks_digits as lacks_digits
from .levels import levels as levels
from .levels import levels_through_factor as levels_through_factor
from .partner import line_gap as line_gap
from .partner import partner_mode as partner_mode
from .partner import sample_line as sample_line
from .partner import sampled_line_gap as sampled_line_gap
from .relaxation import relaxation_modes as relaxation_modes
from .relaxation import unresolved as unresolved
from .tridiagonal import on_host as on_host
from .tridiagonal import tridiagonal_modes as tridiagonal_modes

"""Time stepping of moving problems by collocation or midpoint steps, and the drivers
that integrate to all times.
"""

from .magnus import Magnus as Magnus
from .problem import Problem as Problem

"""Floor 8: a problem in a file, Python or TOML, read and checked before anything is computed."""

from .base import Problem as Problem
from .base import read_problem as read_problem

"""A problem in a file, Python or TOML, read and checked before anything is computed."""

from .annealing import Annealing as Annealing
from .annealing import read_annealing as read_annealing
from .base import Problem as Problem
from .base import read_problem as read_problem
from .from_python import run_python as run_python

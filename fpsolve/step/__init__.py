"""Stepping moving operators: collocation, Magnus steps, breakpoints; and runs from one reported time to the next."""

from .magnus import Magnus as Magnus
from .problem import Problem as Problem

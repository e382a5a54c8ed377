"""Schrödinger bridges between densities, with a reversible reference process."""

from .bridge import bridge as bridge
from .result import Bridge as Bridge

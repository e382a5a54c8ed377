"""Floor 0: potentials. A small library, their sums and multiples, paths between them, data on a grid, any callable."""

from fpsolve.potential.base import Function, Potential, Still, as_potential, takes_time
from fpsolve.potential.combine import Constant, Scaled, Sum
from fpsolve.potential.library import Cosine, DoubleWell, Harmonic, MexicanHat, Quartic, Rugged
from fpsolve.potential.mixture import GaussianMixture
from fpsolve.potential.moved import Moved, Stretched
from fpsolve.potential.muller_brown import MullerBrown
from fpsolve.potential.noising import Noising
from fpsolve.potential.path import Driven, Mix
from fpsolve.potential.sampled import Sampled
from fpsolve.potential.tempering import Tempering

__all__ = [
    "Constant",
    "Cosine",
    "Driven",
    "DoubleWell",
    "Function",
    "GaussianMixture",
    "Harmonic",
    "MexicanHat",
    "Mix",
    "Moved",
    "MullerBrown",
    "Noising",
    "Potential",
    "Quartic",
    "Rugged",
    "Sampled",
    "Scaled",
    "Still",
    "Stretched",
    "Sum",
    "Tempering",
    "as_potential",
    "takes_time",
]

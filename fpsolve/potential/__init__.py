"""Potentials: a library, sums and multiples, interpolated data, and functions."""

from .base import Constant as Constant
from .base import Function as Function
from .base import Potential as Potential
from .base import Scaled as Scaled
from .base import StaticPotential as StaticPotential
from .base import Sum as Sum
from .base import as_potential as as_potential
from .library import Cosine as Cosine
from .library import DoubleWell as DoubleWell
from .library import Harmonic as Harmonic
from .library import MexicanHat as MexicanHat
from .library import Quartic as Quartic
from .library import Rugged as Rugged
from .mixture import GaussianMixture as GaussianMixture
from .muller_brown import MullerBrown as MullerBrown
from .sampled import Sampled as Sampled
from .signature import takes_time as takes_time

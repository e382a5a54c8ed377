"""Paths of potentials: maps from lambda in [0, 1], or from time, to a potential."""

from .mix import Driven as Driven
from .mix import Mix as Mix
from .moved import Moved as Moved
from .moved import Stretched as Stretched
from .noising import Noising as Noising
from .tempering import Tempering as Tempering

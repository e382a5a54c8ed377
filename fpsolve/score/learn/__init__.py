"""Learning a score from samples: networks, losses, training, and the error."""

from .error import ScoreError as ScoreError
from .error import score_error as score_error
from .fit import fit as fit
from .networks import EnergyNetwork as EnergyNetwork
from .networks import VectorNetwork as VectorNetwork
from .networks import standardised as standardised

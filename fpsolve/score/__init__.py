"""Floor 7: scores, exact or learned from samples, and what their Score Hamiltonian says of them."""

from .diagnose import Diagnosis as Diagnosis
from .diagnose import diagnose as diagnose
from .error import ScoreError as ScoreError
from .error import score_error as score_error
from .fields import as_score as as_score
from .fit import fit as fit
from .networks import EnergyNetwork as EnergyNetwork
from .networks import VectorNetwork as VectorNetwork
from .networks import standardised as standardised
from .path import NoisePath as NoisePath
from .quality import frechet_distance as frechet_distance
from .quality import mmd as mmd
from .reconstruct import Reconstruction as Reconstruction
from .reconstruct import reconstruct as reconstruct
from .sample import sample as sample
from .sampled_costs import SampledCosts as SampledCosts
from .sampled_costs import sampled_costs as sampled_costs
from .sampled_gap import Estimate as Estimate
from .sampled_gap import sampled_gap as sampled_gap

"""Scores, exact or learned from samples, and the properties of their Score Hamiltonian:
`fp.score`.

from a score      reconstruct, as_score, sample, NoisePath, diagnose
from samples      fit, score_error, EnergyNetwork, VectorNetwork, standardised (`learn`)
                  sampled_gap, sampled_costs, mmd, frechet_distance (`samples`)
"""

from .diagnose import Diagnosis as Diagnosis
from .diagnose import diagnose as diagnose
from .fields import as_score as as_score
from .learn import EnergyNetwork as EnergyNetwork
from .learn import ScoreError as ScoreError
from .learn import VectorNetwork as VectorNetwork
from .learn import fit as fit
from .learn import score_error as score_error
from .learn import standardised as standardised
from .noise_path import NoisePath as NoisePath
from .reconstruct import Reconstruction as Reconstruction
from .reconstruct import reconstruct as reconstruct
from .sample import sample as sample
from .samples import Estimate as Estimate
from .samples import SampledCosts as SampledCosts
from .samples import frechet_distance as frechet_distance
from .samples import mmd as mmd
from .samples import sampled_costs as sampled_costs
from .samples import sampled_gap as sampled_gap

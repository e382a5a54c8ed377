"""Statistics of samples: the spectral gap, path costs, distances of two sets."""

from .costs import SampledCosts as SampledCosts
from .costs import sampled_costs as sampled_costs
from .gap import Estimate as Estimate
from .gap import sampled_gap as sampled_gap
from .quality import frechet_distance as frechet_distance
from .quality import mmd as mmd

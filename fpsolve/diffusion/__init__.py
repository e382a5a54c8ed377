"""Diffusion models as transport: the reverse process from noise to data, `fp.reverse`.

its density      ReverseProcess, generate, score_error_bound
its particles    draw, particles, expectation, histogram, pearson (with the `sde` extra)
in few steps     linear_steps, cosine_steps, log_snr_steps, edm_steps, cost_steps,
                 schedule_steps; sampler_law, shortfall, compare_steps
"""

from .generation import generate as generate
from .generation import score_error_bound as score_error_bound
from .line_law import compare_steps as compare_steps
from .line_law import sampler_law as sampler_law
from .line_law import shortfall as shortfall
from .particles import draw as draw
from .particles import expectation as expectation
from .particles import histogram as histogram
from .particles import particles as particles
from .particles import pearson as pearson
from .reverse_process import ReverseProcess as ReverseProcess
from .steps import cosine_steps as cosine_steps
from .steps import cost_steps as cost_steps
from .steps import edm_steps as edm_steps
from .steps import linear_steps as linear_steps
from .steps import log_snr_steps as log_snr_steps
from .steps import schedule_steps as schedule_steps

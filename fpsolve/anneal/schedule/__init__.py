"""Schedules, `fp.schedule`: the position λ on a path as a function of time.

in closed form    linear, smooth, tabulated, jumping
from a path       optimal (four costs), learn
as noise levels   beta, sigma, log_snr, for diffusion libraries
"""

from .jumping import Jumping as Jumping
from .jumping import jumping as jumping
from .learn import learn as learn
from .monotone import Schedule as Schedule
from .monotone import tabulated as tabulated
from .noise import beta as beta
from .noise import log_snr as log_snr
from .noise import sigma as sigma
from .schedules import COSTS as COSTS
from .schedules import linear as linear
from .schedules import optimal as optimal
from .schedules import smooth as smooth

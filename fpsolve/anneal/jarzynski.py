"""The accuracy of a transport, measured by the weights of Jarzynski.

    d_t psi = -H_t psi + (1/2) d_t log pi_t psi
    psi(0) = sqrt(pi_0)      =>      psi(t) = sqrt(pi_t)

The solution is known at any speed (theorem T13 with kappa = -1). A run with the same
tolerance as a transport therefore shows the error of that transport.

Reference: Jarzynski, Phys. Rev. Lett. 78 (1997) 2690.
"""

import numpy as np

from ..core.arrays import as_array
from ..equation import FokkerPlanck
from ..grid import Grid
from ..operator import EvaluatedPath, Spectral, WeightedPath
from ..propagate import Picture
from ..step import Magnus, Problem
from ..step.breakpoints import find_breakpoints
from ..step.interval_run import run_by_interval
from .constants import CONSTANTS
from .distances import integral
from .gibbs import log_gibbs_at


def weights_error(equation: FokkerPlanck, grid: Grid, last: float, tol: float) -> float:
    """The relative L1 distance of psi sqrt(pi) from pi at time `last`, on a spectral
    grid.

    **Cost**: about that of the transport.
    """
    log_gibbs = np.asarray(log_gibbs_at(equation, grid, np.asarray([0.0, last])))
    roots = np.exp(log_gibbs / 2)
    # Only the last time is compared. Times between keep the steps short enough for
    # sharp turns of a schedule.
    times = as_array(np.linspace(0.0, last, CONSTANTS.jarzynski_intervals + 1)[1:])
    path = EvaluatedPath(
        equation=equation,
        scheme=Spectral(),
        places=grid,
        reversible=True,
        in_cells=True,
    )
    # The weight is kappa = -1, of (kappa / 2) d_t log pi beside H_t.
    problem = Problem(WeightedPath(path, as_array(-1.0)), Picture.WAVE, 0.0)
    # No step extends over a kink of the potential, where the order would be lost.
    method = Magnus(breakpoints=find_breakpoints(equation, grid, last))
    waves = run_by_interval(
        problem, method, as_array(roots[0]), times, tol, None, None
    ).values
    product = np.asarray(waves)[-1] * roots[-1]
    # The weights give the density up to Z, so that it is normalised here.
    density = product / integral(product, grid, np)
    difference = np.abs(density - roots[-1] ** 2)
    return float(integral(difference, grid, np))

"""The accuracy of a transport, measured by the weights of Jarzynski.

    d_t psi = -H_t psi + (1/2) d_t log pi_t psi,      psi(0) = sqrt(pi_0)      =>      psi(t) = sqrt(pi_t)

The solution is known at any speed (theorem T14 with kappa = -1), so what a run with the steps of a transport makes of
it is a measure of the error of that transport.

Reference: Jarzynski, Phys. Rev. Lett. 78 (1997) 2690.
"""

import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..equation import FokkerPlanck
from ..grid import Grid
from ..method import Magnus, Picture, Problem
from ..method.breakpoints import find_breakpoints
from ..method.trajectory import run_by_interval
from ..scheme import EvaluatedPath, Spectral, WeightedPath
from .distances import integral

# Every so many times of a transport are evolved to: only the end is compared, and times between keep the steps as
# short as a sharp turn of a schedule asks (a free choice).
STRIDE = 10


def weights_error(equation: FokkerPlanck, grid: Grid, times: Array, tol: float, log_gibbs: Array) -> float:
    """The relative L1 distance of psi sqrt(pi) from pi at the last of `times` `(T,)`, on a spectral grid; `log_gibbs`
    `(T, *shape)` is log pi_t. **Cost**: about that of the transport."""
    roots = np.exp(np.asarray(log_gibbs)[[0, -1]] / 2)
    some = as_array(np.asarray(times)[::-1][::STRIDE][::-1])
    path = EvaluatedPath(equation=equation, scheme=Spectral(), places=grid, reversible=True, in_cells=True)
    problem = Problem(WeightedPath(path, as_array(-1.0)), Picture.WAVE, 0.0)
    method = Magnus(breakpoints=find_breakpoints(equation, grid, float(np.asarray(times)[-1])))
    waves = run_by_interval(problem, method, as_array(roots[0]), some, tol, None, None).values
    product = np.asarray(waves)[-1] * roots[-1]
    return float(integral(np.abs(product / integral(product, grid, np) - roots[-1] ** 2), grid, np))

"""T15: the adiabatic theorem in chi2, as an inequality at any speed.

    x = sqrt(chi2(p_t|pi_t)),      x' <= -(gap_t - M_t/2) x + |a_t|
    a = d_t log pi,      M = max(-a),      |a|^2 = E_pi a^2

It follows from d/dt chi2 = -2<eta, H eta> - 2 E[h a] - E[h^2 a] with h = p/pi - 1 and
eta = sqrt(pi) h. For slow driving along the slowest mode it is an equality. Control N5:
the published form without M, x <= |a|/gap, is asymptotic only. A normal density dragged
at finite speed exceeds it.

Reference: the leading term is theorem 1 of Halmos and Hanin, arXiv 2606.05217.
"""

import numpy as np

from ..grid import Axis, Grid, Line
from .base import Case, Measured, claim
from .chain import chi, gibbs, integrate
from .driven import (
    WELLS,
    Dragged,
    Tilting,
    chain,
    evolve_driven,
    schedule_at,
    tilted_gibbs,
)
from .problems import values_on


def random_tilting(case: Case) -> Tilting:
    """Two wells under bounded driving of random shape, speed and schedule."""
    random = case.random()
    # The arguments are drawn in this order, which decides what a seed gives.
    return Tilting(
        total=np.exp(random.uniform(np.log(2.0), np.log(20.0))),
        height=random.uniform(0.5, 1.2),
        slope=random.uniform(-0.5, 0.5),
        wave=random.uniform(-0.4, 0.4),
        wavenumber=random.uniform(0.5, 3.0),
        phase=random.uniform(0.0, 2 * np.pi),
        # Sorted, so that the schedule rises.
        coefficients=(0.0, *np.sort(random.uniform(0.0, 1.0, 2)).tolist(), 1.0),
    )


def lag_bound(
    potential: Tilting, diffusion: float, grid: Grid, times: tuple[float, ...]
) -> np.ndarray:
    """The solution at `times` of the inequality as an equation, with the constants of
    the chain, by numpy.
    """
    # The constants are smooth in λ: a polynomial through 33 values has them to about
    # 1e-9.
    degree = 32
    # Chebyshev points, mapped to [0, 1].
    angles = np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1)
    nodes = (1 - np.cos(angles)) / 2
    numbers = chain(potential, diffusion, grid, nodes)
    fit = np.polynomial.Chebyshev.fit
    gap, drive, decrease = (
        fit(nodes, row, degree, domain=[0, 1])
        for row in (numbers.gap, numbers.drive, numbers.decrease)
    )
    mesh = np.linspace(0.0, float(potential.schedule.total), 4001)
    lam, speed = schedule_at(potential.schedule, mesh)
    # a = λ' ell: M and |a| are those in λ times the speed.
    decay = gap(lam) - speed * decrease(lam) / 2
    x = integrate(mesh, decay, speed * drive(lam))
    return np.interp(times, mesh, x)


@claim(
    "T15",
    "x' ≤ -(gap - M/2) x + |a|, integrated, bounds x = √χ²(p|π_t)",
    kind="inequality",
    allowed=1e-5,  # of the steps in time and of the integration of the bound
    control=("N5", "x ≤ |a|/gap is false for a normal density dragged at finite speed"),
    hypotheses=(
        "bounded driving, M finite; a gap at every t; p starts as the Gibbs density"
    ),
    source=(
        "leading term: Halmos and Hanin, arXiv 2606.05217, theorem 1; with M: derived "
        "in the theory of this library"
    ),
    sweep=("slow", 0, 1, 2, 3, 4, 5),
)
def adiabatic(
    case: Case,
    *,
    diffusion: float = 0.5,
    axis: Axis = WELLS,
    total: float = 40.0,  # of the slow case, along the slowest mode
    speed: float = 1.054,  # of the control, in units where gap and variance are 1
) -> Measured:
    """x at two times, and its bound."""
    grid = case.grid(axis)
    if case.control:
        return _dragged(case, speed)
    potential = Tilting(total) if case.value == "slow" else random_tilting(case)
    end = float(potential.schedule.total)
    times = (0.5 * end, end)
    steady = tilted_gibbs(potential, diffusion, grid, (0.0, *times))
    density = evolve_driven(potential, diffusion, steady[0], times, grid)
    return chi(density, steady[1:], grid), lag_bound(potential, diffusion, grid, times)


def _dragged(case: Case, speed: float) -> Measured:
    """x of a dragged normal density in its steady state, and |a|/gap = speed."""
    grid = case.grid(Line(-6.0, 12.0, 64))
    potential = Dragged(1.0, speed)
    times = (5.0, 6.0)
    # The energies have the nodes first, the times last.
    energies = values_on(grid, potential, np.asarray([0.0, *times])).T
    steady = gibbs(energies, 1.0, grid)
    density = evolve_driven(potential, 1.0, steady[0], times, grid)
    return chi(density, steady[1:], grid), np.full(2, speed)

"""T18: how the lag at the end of a slow process depends on its time T. T19: that time
is inverse to the gap.

    x(T) = |H^-1 ell sqrt(pi)| λ'(1)/T + O(T^-2),      x = sqrt(chi2(p|pi))

with λ as a function of u = t/T, and ell = d_λ log pi. If n derivatives of λ vanish at u
= 1 then x = O(T^-(n+1)). Those at the start do not matter: their effect decays as
exp(-int gap dt). Where ell sqrt(pi) is the slowest mode, x = λ'(1) |ell| / (gap T) to
first order. Control N9: driving that keeps a symmetry which the slowest mode breaks
does not see the gap.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..equation import FokkerPlanck
from ..grid import Axis, Grid
from ..operator import ScharfetterGummel
from ..propagate import Dense
from ..solve.evolve import evolve
from .base import Case, Measured, claim
from .chain import chain_hamiltonian, chi, gibbs
from .constants import CONSTANTS
from .driven import WELLS, Tilting, chain, evolve_driven, tilted_gibbs
from .problems import values_on

SIZES = (24, 34, 48, 68)  # times T, in units where the gap is about 0.3


class StillWells(eqx.Module):
    """U = height (x^2 - 1)^2."""

    height: Array

    def __call__(self, x: Array) -> Array:
        """U at the point x `(1,)`."""
        return self.height * (x[0] ** 2 - 1) ** 2


def end_lag(potential: Tilting, diffusion: float, grid: Grid) -> float:
    """x at the end of a process that starts at its Gibbs density."""
    total = float(potential.schedule.total)
    steady = tilted_gibbs(potential, diffusion, grid, (0.0, total))
    # Two times, as everywhere: one program serves all of these theorems.
    times = (0.5 * total, total)
    density = evolve_driven(potential, diffusion, steady[0], times, grid)
    return float(chi(density[1], steady[1], grid))


@claim(
    "T18",
    "if λ' vanishes at the end, √χ²(T) falls as T^-2",
    kind="order",
    claimed=2,
    sizes=SIZES,
    control=(
        "λ' = 0 at the start",
        "a derivative that vanishes at the start leaves the order at 1",
    ),
    hypotheses=(
        "smooth driving of bounded speed, a gap at every λ; p starts as the Gibbs "
        "density"
    ),
    source=(
        "derived in the theory of this library; in real time: Lidar et al., J. Math. "
        "Phys. 50 (2009) 102106"
    ),
)
def end_order(
    case: Case, *, diffusion: float = 0.5, slope: float = 0.35, axis: Axis = WELLS
) -> Measured:
    """x after the time `case.size`, and 0."""
    # The last two coefficients of Bernstein are equal where λ'(1) = 0, the first two
    # where λ'(0) = 0.
    coefficients = (0.0, 0.0, 0.5, 1.0) if case.control else (0.0, 0.5, 1.0, 1.0)
    potential = Tilting(float(case.size), slope=slope, coefficients=coefficients)
    return end_lag(potential, diffusion, case.grid(axis)), 0.0


@claim(
    "T18.second",
    "if λ' and λ'' vanish at the end, √χ²(T) falls as T^-3",
    kind="order",
    claimed=3,
    sizes=SIZES,
    control=(
        "λ', λ'' = 0 at the start",
        "two derivatives that vanish at the start leave the order at 1",
    ),
    hypotheses="as for T18",
    source="as for T18",
)
def end_order_second(
    case: Case, *, diffusion: float = 0.5, slope: float = 0.35, axis: Axis = WELLS
) -> Measured:
    """x after the time `case.size`, and 0."""
    # Three equal coefficients at an end: λ' and λ'' vanish there.
    coefficients = (0.0, 0.0, 0.0, 1.0) if case.control else (0.0, 1.0, 1.0, 1.0)
    potential = Tilting(float(case.size), slope=slope, coefficients=coefficients)
    return end_lag(potential, diffusion, case.grid(axis)), 0.0


@claim(
    "T18.lag",
    "T √χ²(T) tends to |H^-1 √π d_λ log π| at order 1",
    kind="order",
    claimed=1,
    sizes=(16, 23, 33, 48),
    control=("|√π d_λ log π|/gap", "the bound by the gap alone is not the limit"),
    hypotheses="as for T18, λ linear in t",
    source="as for T18",
)
def limit_of_lag(
    case: Case,
    *,
    diffusion: float = 0.5,
    slope: float = 0.2,
    wave: float = 0.2,
    axis: Axis = WELLS,
) -> Measured:
    """T x(T), and its limit."""
    # cos 3x moves more modes than the slowest.
    potential = Tilting(
        float(case.size),
        slope=slope,
        wave=wave,
        wavenumber=3.0,
    )
    grid = case.grid(axis)
    end = chain(potential, diffusion, grid, [1.0])
    limit = end.drive / end.gap if case.control else end.lag
    return case.size * end_lag(potential, diffusion, grid), float(limit[0])


@claim(
    "T19",
    "to end within d of the Gibbs density takes T ≥ |d_λ log π|/(gap d), for slow "
    "tilting",
    kind="inequality",
    # to first order in 1/T, and as far as the tilt moves the slowest mode
    allowed=0.02,
    control=("N9", "driving that keeps the symmetry of the wells takes far less time"),
    hypotheses=(
        "slow: T is at least 20 |d_λ log pi|/gap; sqrt(pi) d_λ log pi is nearly the "
        "slowest mode"
    ),
    source="derived in the theory of this library",
    sweep=(0.55, 0.48, 0.42),  # diffusions: the gap falls as exp(-1/D)
)
def time_by_gap(case: Case, *, factor: float = 20.0, axis: Axis = WELLS) -> Measured:
    """|ell|/(gap T), and d = x(T)."""
    grid = case.grid(axis)
    # cos(pi x) raises the barrier between the wells and is even.
    slope, wave = (0.0, 0.3) if case.control else (0.5, 0.0)
    # The chain at λ = 1 does not depend on the time that it takes to get there.
    at_end = Tilting(1.0, slope=slope, wave=wave, wavenumber=np.pi)
    end = chain(at_end, case.value, grid, [1.0])
    first_order = float(end.drive[0] / end.gap[0])
    total = factor * first_order
    slow = Tilting(total, slope=slope, wave=wave, wavenumber=np.pi)
    return first_order / total, end_lag(slow, case.value, grid)


@claim(
    "T19.mixing",
    "from one well TV(p|π) ≥ c e^(-gap t)/2: to come within d takes log(c/2d)/gap",
    kind="inequality",
    allowed=1e-5,  # of the exponential of the matrix
    control=(
        "gap to gap/1.1",
        "with a gap 1.1 times smaller the density is nearer than that",
    ),
    hypotheses=(
        "U does not move; c = |E_p0 f|/max|f| with the slowest observable f = "
        "psi_1/psi_0"
    ),
    source="Levin and Peres, Markov Chains and Mixing Times (2017), theorem 12.5",
    sweep=(0.5, 0.25, 0.12),  # diffusions; for deep wells it is an equality
)
def mixing(case: Case, *, height: float = 1.0, axis: Axis = WELLS) -> Measured:
    """c e^(-gap t)/2 and TV at times of one and of four relaxation times."""
    grid = case.grid(axis)
    weights = grid.axes[0].weights
    potential = StillWells(jnp.asarray(height))
    equation = FokkerPlanck(potential, case.value)
    energy = values_on(grid, potential)
    steady = gibbs(energy, case.value, grid)
    hamiltonian = chain_hamiltonian(energy, case.value, float(weights[0]))
    levels, vectors = np.linalg.eigh(hamiltonian)
    gap = levels[1] / (CONSTANTS.wrong_gap if case.control else 1.0)
    # |f| = |psi_1 / psi_0|, from the orthonormal basis of the cells.
    slowest = np.abs(vectors[:, 1]) / np.sqrt(weights * steady)
    # All of the left well, and nothing of the right one.
    start = np.where(grid.axes[0].nodes < 0, steady, 0.0)
    start = start / (start @ weights)
    times = np.asarray([1.0, 4.0]) / levels[1]
    # Rounding of a slow mode grows with time: at late times 1e-10 is out of reach.
    found = evolve(
        equation,
        jnp.asarray(start),
        times,
        grid=grid,
        scheme=ScharfetterGummel(),
        method=Dense(),
        tol=1e-8,
        check=False,
    )
    density = np.asarray(found.values)
    share = (start * weights) @ slowest / np.max(slowest)
    total_variation = np.abs(density - steady) @ weights / 2
    return share * np.exp(-gap * times) / 2, total_variation

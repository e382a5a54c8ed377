"""T20: counterdiabatic transport follows the Gibbs density exactly at any speed.

    d_t p = L_t p - div(v_t p),      d_t pi_t = -div(pi_t v_t)
    p = sqrt(pi_t) psi,              d_t psi = -(H_t + G_t) psi

with G = v grad + (div v)/2 antisymmetric: the term a/2 of theorem T13 cancels, only H
changes |psi|, and chi2(p|pi_t) <= exp(-2 int gap dt) chi2(0) has no adiabatic term.
Control N8: v multiplied by 1.1.

References: Patra and Jarzynski, New J. Phys. 19 (2017) 125009; Guery-Odelin et al.,
arXiv 2204.11102.
"""

import jax.numpy as jnp
import numpy as np

from ..anneal.counterdiabatic import evolve_counterdiabatic
from ..anneal.velocity import velocity
from ..equation import FokkerPlanck
from ..grid import Axis
from .base import Case, Measured, claim
from .chain import chain_hamiltonian, chi, gibbs
from .constants import CONSTANTS
from .driven import (
    WELLS,
    Tilting,
    chain,
    driven_energies,
    evolve_driven,
    schedule_at,
    tilted_gibbs,
)
from .t15_lag import random_tilting


@claim(
    "T20",
    "with the counterdiabatic drift p = π_t at any speed",
    kind="identity",
    # rounding of p / sqrt(pi) in the tails, where sqrt(pi) is 1e-6 of its peak
    allowed=1e-12,
    control=("N8", "with 1.1 times the drift p leaves π_t"),
    hypotheses=(
        "U differentiable in t, no flux through the ends; p starts as the Gibbs density"
    ),
    source="Patra and Jarzynski, New J. Phys. 19 (2017) 125009",
    sweep=(0.02, 0.2, 2.0),  # total times; the gap is about 0.3
)
def shortcut(
    case: Case, *, diffusion: float = 0.5, slope: float = 1.0, axis: Axis = WELLS
) -> Measured:
    """Densities at two times, and pi_t."""
    grid = case.grid(axis)
    potential = Tilting(case.value, slope=slope)
    times = (0.5 * case.value, case.value)
    steady = tilted_gibbs(potential, diffusion, grid, (0.0, *times))
    strength = CONSTANTS.wrong_velocity if case.control else 1.0
    process = FokkerPlanck(potential, diffusion)
    found = evolve_counterdiabatic(
        process, grid, jnp.asarray(steady[0]), times, 1e-8, strength=strength
    )
    return np.asarray(found.values), steady[1:]


@claim(
    "T20.flow",
    "d_t √π = -G √π, and G = v∇ + ∇v/2 is antisymmetric",
    kind="identity",
    allowed=1e-11,  # rounding of sums of pi a from the nearer tail
    control=("N8", "1.1 G does not move √π"),
    hypotheses="as for T20",
    source=(
        "Layden et al., arXiv 2510.08462, for G; derived in the theory of this library"
    ),
    sweep=4,
)
def flow(case: Case, *, diffusion: float = 0.5, axis: Axis = WELLS) -> Measured:
    """G sqrt(pi) with <u, G w> for random u and w, and -a sqrt(pi)/2 with -<G u, w>."""
    grid = case.grid(axis)
    potential = random_tilting(case)
    t = 0.4 * float(potential.schedule.total)
    start, driving = driven_energies(potential, grid)
    lam, speed = schedule_at(potential.schedule, t)
    steady = gibbs(start + lam * driving, diffusion, grid)
    weights = grid.axes[0].weights
    mean = weights @ (steady * driving)
    rate = -speed * (driving - mean) / diffusion  # a = d_t log pi
    operator = velocity(FokkerPlanck(potential, diffusion), grid, t).operator
    sqrt_pi = np.sqrt(steady)
    # Random waves that vanish at the ends as sqrt(pi) does.
    u, w = case.random("waves").normal(size=(2, grid.size)) * sqrt_pi
    waves = jnp.asarray(np.stack([sqrt_pi, u, w]))
    moved = np.asarray(operator.wave(waves))
    factor = CONSTANTS.wrong_velocity if case.control else 1.0
    left = np.append(factor * moved[0], weights @ (u * moved[2]))
    right = np.append(-rate * sqrt_pi / 2, -weights @ (moved[1] * w))
    return left, right


@claim(
    "T20.decay",
    "with the counterdiabatic drift χ²(p|π_t) ≤ e^(-2 ∫gap dt) χ²(0)",
    kind="inequality",
    allowed=1e-4,  # of the steps in time and of the integral of the gap
    control=("no drift", "without the drift χ² has an adiabatic term as well"),
    hypotheses="as for T20, from any density with a finite chi2",
    source="derived in the theory of this library",
    sweep=("slowest mode", 0, 1, 2, 3),
)
def decay(
    case: Case, *, diffusion: float = 0.5, total: float = 1.5, axis: Axis = WELLS
) -> Measured:
    """sqrt(chi2) at two times, and its bound."""
    grid = case.grid(axis)
    is_slowest = case.value == "slowest mode"
    potential = Tilting(total, slope=0.15) if is_slowest else random_tilting(case)
    end = float(potential.schedule.total)
    times = (0.5 * end, end)
    steady = tilted_gibbs(potential, diffusion, grid, (0.0, *times))
    weights = grid.axes[0].weights
    # sqrt(pi) plus a twentieth of the slowest mode, or of a random mixture of the
    # lowest ones.
    energy = driven_energies(potential, grid)[0]
    hamiltonian = chain_hamiltonian(energy, diffusion, float(weights[0]))
    modes = np.linalg.eigh(hamiltonian)[1] / np.sqrt(weights)[:, None]
    mixture = np.ones(1) if is_slowest else case.random("modes").normal(size=3)
    # Mode 0 is sqrt(pi) itself.
    excited = modes[:, 1 : 1 + len(mixture)]
    added = excited @ mixture / np.linalg.norm(mixture)
    start = steady[0] + 0.05 * np.sqrt(steady[0]) * added
    if case.control:
        density = evolve_driven(potential, diffusion, start, times, grid)
    else:
        process = FokkerPlanck(potential, diffusion)
        run = evolve_counterdiabatic(process, grid, jnp.asarray(start), times, 1e-6)
        density = np.asarray(run.values)
    # The integral of the gap by the trapezoidal rule, at the middle and at the end.
    mesh = np.linspace(0.0, end, 201)
    lambdas = schedule_at(potential.schedule, mesh)[0]
    gap = chain(potential, diffusion, grid, lambdas).gap
    pieces = (gap[1:] + gap[:-1]) / 2 * np.diff(mesh)
    integral = np.concatenate([[0.0], np.cumsum(pieces)])
    exponent = integral[[100, 200]]
    first = chi(start, steady[0], grid)
    return chi(density, steady[1:], grid), first * np.exp(-exponent)

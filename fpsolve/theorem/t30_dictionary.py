"""T30, the two roles of an objective: potential of a Hamiltonian, or Boltzmann energy.

    (-D Lap + zeta) psi_0 = E_0 psi_0,      U = -2 D log psi_0
    =>    |psi_0|^2 = exp(-U / D) / Z,      zeta - E_0 = V_S[U]

The gap of -D Lap + zeta is that of the Fokker-Planck equation of U, computed by finite
volumes from U alone. Control: zeta itself as the energy (N10).

Reference: Wang and Maimaitiabudula, arXiv 2407.19890.
"""

import numpy as np
from jaxtyping import Array

from ..equation import FokkerPlanck
from ..grid import Axis, Line, Reflecting
from ..learning import boltzmann_energy
from ..solve.spectrum import spectrum
from .base import Case, Measured, claim
from .problems import Function


def half_square(x: Array) -> Array:
    """zeta = x^2 / 2."""
    return x[0] ** 2 / 2


@claim(
    "T30",
    "the process of energy U = -2D log ψ₀ has the gap of -DΔ + ζ",
    kind="identity",
    allowed=1e-3,  # of the finite volumes of the process
    control=("N10", "the process of energy ζ has another gap"),
    hypotheses="zeta grows, so that -D Lap + zeta has a ground state psi_0",
    source="Wang and Maimaitiabudula, arXiv 2407.19890; theorem T30 of the theory page",
)
def dictionary(
    case: Case,
    *,
    objective: Function = half_square,
    diffusion: float = 0.02,
    axis: Axis = Line(-2.6, 2.6, 64),  # of the wave
    inner: float = 0.65,  # the part of the box in which U is known
    cells: int = 300,  # of the process
) -> Measured:
    """The gap of the process of U, in the control of zeta, and of the Hamiltonian."""
    found = boltzmann_energy(objective, case.grid(axis), diffusion)
    energy = objective if case.control else found.potential
    # Near the ends psi_0 is rounding, and so is its logarithm.
    middle = (axis.lower + axis.upper) / 2
    half = inner * (axis.upper - axis.lower) / 2
    box = case.grid(Reflecting(middle - half, middle + half, cells))
    gap = spectrum(FokkerPlanck(energy, diffusion), box, 2, check=False).gap
    return np.asarray(gap), np.asarray(found.gap)

"""T4: the supersymmetric partner of H has the levels of H but the zero, and gives the
gap however small it is.

    H = A^T A,    A = sqrt(D) (d/dx - (log pi)'/2)
    A A^T = -D d^2/dx^2 + U'^2/(4D) + U''/2
    1 / gap = top eigenvalue of K
    K(x, y) = F(min(x, y)) (1 - F(max(x, y))) / (D sqrt(pi(x) pi(y))) > 0

with F the cumulative mass of pi. On a chain of nodes with the rates (D/h^2) sqrt(pi_j /
pi_i) the formula of the gap is exact with h^2 K and sqrt(pi_i pi_j) over each face.
Controls: H itself in the place of its partner; the second level of H in double
precision, which is rounding; half of the correction to Kramers' rate.

References: Witten, Nucl. Phys. B 188 (1981) 513; Bernstein and Brown, Phys. Rev. Lett.
52 (1984) 1933.
"""

import numpy as np
from jaxtyping import Array

from ..eigen import line_gap
from ..equation import FokkerPlanck
from ..grid import Axis, Line
from ..operator import Spectral, SquareRoot
from ..solve.spectrum import spectrum
from .base import Case, Measured, claim
from .families import Derivatives, fourier_kinetic
from .problems import Function, tilted, values_on

TILTED_BOX = Line(-2.4, 2.4, 64)  # of `tilted` at D = 0.5: sqrt(pi) is 1e-9 at its ends
WELLS_BOX = Line(-1.6, 1.6, 64)  # of `two_wells`: pi is 1e-85 at its ends at D = 0.0125


def two_wells(x: Array) -> Array:
    """U = (x^2 - 1)^2: two wells of the same depth, with a barrier of 1."""
    return (x[0] ** 2 - 1) ** 2


@claim(
    "T4",
    "the levels of H after the first are those of -D d²/dx² + U'²/(4D) + U''/2",
    kind="identity",
    # both are exact but for the basis, and rounding is eps |H| = 1e-13 of a level
    allowed=1e-9,
    control=("N3", "with -U''/2 they are not: the first level is then zero"),
    hypotheses="one dimension; sqrt(pi) decays at the ends of the box",
    source=(
        "Witten, Nucl. Phys. B 188 (1981) 513; Bernstein and Brown, Phys. Rev. Lett. "
        "52 (1984) 1933"
    ),
)
def partner_levels(
    case: Case,
    *,
    potential: Function = tilted,
    diffusion: float = 0.5,
    axis: Axis = TILTED_BOX,
    levels: int = 4,
) -> Measured:
    """Levels of H by the library, and those of its partner by numpy."""
    grid = case.grid(axis)
    modes = spectrum(
        FokkerPlanck(potential, diffusion),
        grid,
        levels + 1,
        scheme=Spectral(),
        check=False,
    )
    slope, curvature = values_on(grid, Derivatives(potential)).T
    sign = -1 if case.control else 1
    term = slope**2 / (4 * diffusion) + sign * curvature / 2
    partner = diffusion * fourier_kinetic(grid.axes[0]) + np.diag(term)
    partner_levels = np.linalg.eigvalsh(partner)[:levels]
    return np.asarray(modes.values)[1:], partner_levels


@claim(
    "T4.kernel",
    "1/gap is the top eigenvalue of F(min)(1 - F(max))/(D √(π(x) π(y))), at gaps down "
    "to 1e-35",
    kind="identity",
    # rounding: eps times the largest U/D, some 200, in exponentials, and in sums of 64
    # of them
    allowed=1e-11,
    control=(
        "difference",
        "the second level of H in double precision is not the gap, but rounding",
    ),
    hypotheses=(
        "one dimension, no flux through the ends; a chain with the rates (D/h²) "
        "√(π_j/π_i)"
    ),
    source=(
        "T4 of this library; Seneta, Non-negative Matrices and Markov Chains (1981), "
        "section 1.1"
    ),
    sweep=(0.5, 0.1, 0.05, 0.0125),
)
def positive_kernel(
    case: Case, *, potential: Function = two_wells, axis: Axis = WELLS_BOX
) -> Measured:
    """The gap of the chain at D = `case.value`: by the library, and from the kernel."""
    diffusion = case.value
    grid = case.grid(axis)
    equation = FokkerPlanck(potential, diffusion)
    gap = float(spectrum(equation, grid, 2, scheme=SquareRoot(), check=False).gap)
    energy = values_on(grid, potential)
    mass = np.exp((energy.min() - energy) / diffusion)
    rate = diffusion * (grid.axes[0].n / axis.length) ** 2
    conductance = rate * np.sqrt(mass[1:] * mass[:-1])
    if case.control:
        # H = B^T B, B the differences over the faces.
        differences = np.diff(np.eye(len(mass)), axis=0)
        factor = np.sqrt(conductance)[:, None] * differences / np.sqrt(mass)
        return gap, np.linalg.eigvalsh(factor.T @ factor)[1]
    # Either cumulative mass is summed from its own end: the small one is no difference
    # of large ones.
    below = np.cumsum(mass)[:-1]
    above = np.cumsum(mass[::-1])[-2::-1]
    face = np.arange(len(conductance))
    lower = np.minimum.outer(face, face)
    upper = np.maximum.outer(face, face)
    roots = np.sqrt(np.multiply.outer(conductance, conductance))
    # All terms are positive: nothing cancels, however small the gap.
    kernel = below[lower] * above[upper] / (mass.sum() * roots)
    return gap, 1 / np.linalg.eigvalsh(kernel)[-1]


@claim(
    "T4.kramers",
    "for U = (x² - 1)² gap = (√32/π) e^(-1/D) (1 - 3D/8) + O(D²), relative",
    kind="order",
    claimed=2,
    sizes=(32, 44, 60, 84),  # 1/D
    allowed=0.1,
    control=("3/16", "with 3D/16, the correction of the wells alone, the rest is O(D)"),
    hypotheses="two equal wells with one barrier of height 1; D -> 0",
    source=(
        "Helffer, Klein and Nier (2004), zbMATH 1079.58025; the correction: T4 and E5 "
        "of this library"
    ),
)
def small_gap(
    case: Case,
    *,
    axis: Axis = WELLS_BOX,
    # of the chains from which the gap is extrapolated
    cells: tuple[int, ...] = (128, 256, 512),
) -> Measured:
    """The gap at D = 1/size in units of Kramers' rate, and its expansion."""
    diffusion = 1 / case.size
    finer = tuple(round(n * case.refinement) for n in cells)
    equation = FokkerPlanck(two_wells, diffusion)
    log_gap = float(line_gap(equation, axis, 0.0, float, finer).log)
    correction = 3 / 16 if case.control else 3 / 8
    # The barrier is 1: the rate is e^{-1/D} = e^{-size}, added to the logarithm.
    scaled_gap = np.exp(log_gap + case.size) * np.pi / np.sqrt(32)
    return scaled_gap, 1 - correction * diffusion

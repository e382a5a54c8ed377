"""Constants of `bridge` that decide answers."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class BridgeConstants:
    """Constants of `bridge` that decide answers; each says where it comes from."""

    # Validation
    # free choice: relative difference of two masses that is quadrature, not a mistake
    mass_tolerance: float = 1e-6
    mass_tolerance_single: float = 1e-4  # free choice: the same in float32
    # free choice: part of a marginal beyond the reach of the reference that is refused
    largest_unreached: float = 1e-3
    # free choice: part of the range of U by which a sum over the axes may err
    coupling_tolerance: float = 1e-12
    default_times: int = 5  # free choice: equidistant output times where none are given

    # Heat kernels
    # The trapezoidal rule for a Gaussian of variance v on cells of length h errs by
    # 2 exp(-2 pi^2 v / h^2), which is 3e-13 at v = 1.5 h^2.
    # derived: variance, in squared cells, from which a kernel is summed over nodes
    least_spread: float = 1.5
    # derived: 12 periods are 8 standard deviations of the widest kernel, see below
    images: int = 12
    # The modes of a ring of length L decay as exp(-2 pi^2 v / L^2), which is 7e-18
    # at v = 2 L^2.
    # derived: variance, in squared periods, from which a kernel is constant to rounding
    widest_spread: float = 2.0
    # free choice: Gauss-Hermite nodes of a narrow kernel, exact for log f of degree 2
    hermite_nodes: int = 16
    # free choice: part of the range of logarithms below which a zero is an underflow
    underflow_part: float = 0.25
    # free choice: slope of log f per deviation from which nodes are summed over
    steepest: float = 2.0
    stencil: int = 10  # free choice: neighbours of which a polynomial of log f is made

    # Kernels in a basis
    # A wave of the shortest length decays as exp(-D t k^2); the ripples of a kernel are
    # as large.
    # derived: e^-36 = 2e-16, so that the ripples of a kernel are below rounding
    basis_decay: float = 36.0
    # Entries of a kernel have an absolute error of some roundings. Below this part of
    # the largest they are those of finite volumes, whose relative error falls with the
    # square of the cells.
    # free choice: the relative error of the smallest entry in a basis is then 1e-5
    kept_entries: float = 1e-11
    # free choice: roundings of the largest value below which a wave is unknown
    noise_roundings: float = 64.0
    # free choice: part of tol that a run in a time-dependent potential may err by
    moving_tol_fraction: float = 0.01

    # A path to a distance a and back has the weight exp(-2 a^2 / v), which is 3e-18 at
    # a = 4.5 sqrt(v).
    # derived: deviations of a free path by which a line is continued beyond a box
    margin_spreads: float = 4.5
    # free choice, for cost: in units of the nodes of the line, at each end
    largest_margin: int = 4
    # free choice: log of sqrt(pi) relative to its ends, 1.5e-8, beyond which nothing is
    # added
    decayed_wave: float = 18.0

    # Steps of coupled axes
    # free choice, for cost: steps of the finest level over the longest interval
    most_steps: int = 64
    # free choice: difference of two levels above which there is no extrapolation
    same_logarithm: float = 0.5
    # free choice: error of the steps above which an expansion takes their place
    largest_split_error: float = 1e-4

    # Sinkhorn's iteration
    max_sweeps: int = 20_000  # free choice, for cost
    # free choice: part of the least residual that is a smaller one
    least_progress: float = 0.999
    # free choice: sweeps without a smaller residual, after which it is rounding
    sweeps_without_progress: int = 60
    # free choice: part of tol that the marginals of the last sweep may err by
    sweep_tol_fraction: float = 0.01
    # free choice: largest rate by which what is left of the iteration is extrapolated
    slowest_rate: float = 0.9999
    # free choice: relative change at which the series of a derivative ends
    derivative_tol: float = 1e-12
    # free choice, for cost: largest number of sweeps that measure the contraction
    power_sweeps: int = 500
    # free choice: change of the measured contraction, of a sweep, at which it is taken
    power_tol: float = 1e-8

    # Where no tol was given, less than this is no failure but a part of the error.
    unmet_error: float = 1e-4  # free choice: what is left of the marginals

    # The drift
    # free choice: nodes of a derivative of log f, of order 8 in the interior
    difference_nodes: int = 9

    # The second look
    # free choice: as in `solve`, error above which a result without tol is warned of
    unresolved_error: float = 1e-2
    # free choice: as in `solve`, 1 / 1.15 for errors of first order, with a margin
    slowest_convergence: float = 0.9


CONSTANTS = BridgeConstants()

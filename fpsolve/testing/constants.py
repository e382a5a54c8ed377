"""Constants of `testing` that decide whether a class passes."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ConformanceConstants:
    """Constants of `testing` that decide answers, each with the origin of its value."""

    # check_scheme
    # |H sqrt(pi)| on the coarse grids, where order one is far below: a free choice
    ground_state_defect: float = 1e-1
    # most negative eigenvalue of H, and slack of `bounds`: a free choice
    negative_level: float = 1e-6
    # units of rounding in symmetry, mass and linearity: a free choice
    rounding_of_sums: float = 1e4
    # units of rounding in L = -sqrt(pi) H / sqrt(pi): a free choice
    rounding_of_similarity: float = 1e5
    # least observed order: a free choice, one less the scatter of a fit
    order_min: float = 0.85
    # units of rounding in an error, below which no order is needed: a free choice
    rounding_of_density: float = 1e6
    # nodes of the grids that the order is fitted to: a free choice
    order_sizes: tuple[int, ...] = (24, 48, 96)

    # check_method
    coarse_tol: float = 1e-3  # first tolerance that is tried: a free choice
    fine_tol: float = 1e-9  # second tolerance, larger in float32: a free choice
    error_factor: float = 2.0  # error / tolerance at most: a free choice
    # difference of two step sequences / tolerance: two errors of 2 tol: derived
    steps_factor: float = 4.0
    zero_step: float = 1e3  # units of rounding in a step of length zero: a free choice
    derivative: float = 1e-4  # relative error of a derivative: a free choice
    # length of the runs, of the order of the relaxation time: a free choice
    time: float = 0.7

    # check_potential
    points: int = 6  # at which a potential is evaluated: a free choice
    # units of rounding between two calls of a potential: a free choice
    repeated_value: float = 1e3
    # times rounding^(2/3), error of central differences at their best step: derived
    difference_error: float = 3e4


CONSTANTS = ConformanceConstants()

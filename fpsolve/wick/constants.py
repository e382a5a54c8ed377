"""Constants of the bridges between real and imaginary time."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class WickConstants:
    """Constants of `wick` that decide answers or costs, each with its origin."""

    # The average of real-time states (`average`)
    # free choice: weight e^-L of the nearest alias of a level, far below other errors
    alias_tol: float = 1e-12
    # free choice: the same in single precision, above its rounding
    alias_tol_single: float = 1e-6
    # free choice, for memory: numbers of the real-time states that are held together
    block_values: int = 2**21
    largest_block: int = 256  # free choice: real times of one block; more save no work
    least_steps: int = 8  # free choice: real times of the shortest average
    most_steps: int = 2_000_000  # free choice, for cost: real times of one bridge
    # free choice: tolerance of the real-time run, far below the truncation of a bridge
    run_tol: float = 1e-10
    run_tol_single: float = 1e-4  # free choice: the same in single precision

    # `lorentzian`
    # The tail beyond T of a level that is zero falls as 1 / T: half of it lies between
    # T and 2 T, so that the sum that ends at T / 2 differs from the whole by as much as
    # the whole errs. Sums that end in between differ in phase. derived: as said
    partial_sums: tuple[float, ...] = (1.0, 0.95, 0.87, 0.79, 0.71, 0.64, 0.57, 0.5)
    # free choice: a relative error of 3e-3 of a level that is zero
    eta_max: float = 200.0

    # `warped_phase`
    # derived: e^xi / xi, the factor on the error of the cusp, is least there
    cusp_xi: float = 1.0
    # free choice: nodes of xi beyond the first at which the wave is read, for the error
    readings: int = 6
    # free choice: width of the smooth start; 0.25 to 1 take as many real times, within
    # twice
    smooth_width: float = 0.5
    # free choice: part of the smooth start that is left out, where no tol is given
    smooth_tol: float = 1e-9
    smooth_tol_single: float = 1e-4  # free choice: the same in single precision

    # `cauchy`
    # free choice: places on a circle; with radius / centre = 1/2 the mean errs by 1e-15
    cauchy_points: int = 48
    cauchy_tol: float = 1e-12  # free choice: tolerance of the runs
    # free choice: units of eps of |phi|^2 by which two means may differ
    cauchy_roundings: float = 256.0


CONSTANTS = WickConstants()

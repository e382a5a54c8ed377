"""The constants of `propagate` that decide answers or costs.

The last words of each comment say where the value comes from: *derived* (how),
*measured* (by which benchmark or test), or *a free choice*.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class PropagateConstants:
    """Constants of the methods in time for static operators.

    They are read when a program is traced, so a change takes effect in programs that
    are compiled afterwards.
    """

    # Chebyshev: the coefficients.

    # Nodes of the midpoint rule for a coefficient in imaginary time. The integrand is a
    # Gaussian of known width, cut off where it is below rounding: derived, 64 nodes on
    # a Gaussian are accurate to rounding
    coefficient_nodes: int = 64
    # The integral is cut off where its integrand is e^-40: derived, below the rounding
    # of float64
    coefficient_window: float = 20.0
    # Nodes at another Wick angle, where the integrand oscillates |z| times: derived,
    # two a period for the largest |z|
    wick_nodes: int = 512
    # Largest |z| of one expansion at another Wick angle; longer times are cut into
    # pieces: derived from `wick_nodes`
    wick_size: float = 256.0
    # Widths |z|^(1/3) of an Airy function, as which J_k(z) falls beyond k = |z|, that
    # are summed: derived, to rounding
    wick_airy_widths: float = 12.0
    # Terms beyond those, for a small |z|: derived, to rounding
    wick_extra_terms: int = 24
    # Newton steps for the number of terms: derived, from above it converges
    # quadratically on a convex function
    term_iterations: int = 6
    # Products whose coefficients are computed together: a free choice
    block: int = 8
    # Output times that share a recurrence. Each adds a pass over memory to every
    # product: a free choice
    times_together: int = 8
    # The truncation, amplified as it is, is the tolerance divided by this: a free
    # choice
    truncation_divisor: float = 100.0
    # Largest truncation, where the tolerance is loose: a free choice
    max_truncation: float = 1e-3
    # Smallest truncation, in units of rounding: a free choice
    min_truncation: float = 1 / 16
    # Largest |T_k(X) u| / |u| below a lowest level: derived, at most 1 and rounding
    # while the bounds hold
    max_growth: float = 1.01
    # Units of eps |H| by which rounding changes a level: a free choice
    level_roundings: float = 8.0
    # Error of the levels in units of eps |H|: measured in float32, .001 to .08 in bases
    # and on volumes
    level_error: float = 0.05
    # The same at another Wick angle, where short waves do not decay: measured between
    # absorbing walls, up to .26
    level_error_rotated: float = 0.15
    # Rounds of filtering for the lowest level, each up to some 12 times as long as the
    # one before: a free choice
    lowest_rounds: int = 16
    # The products of a run are estimated as sqrt(25 t |H|): derived, the terms of a
    # Gaussian sum above 1e-11
    products_factor: float = 25.0

    # A smaller basis for slow waves (`contraction.py`).

    # Safety factor of its error estimate. The first order of perturbation theory is too
    # small by up to twice this where the axes are strongly coupled: a free choice,
    # which `tests/test_contraction.py` tests
    contraction_safety: float = 4.0
    # The error foreseen must be this many times below the tolerance: a free choice
    contraction_margin: float = 6.0
    # Ranks are multiples of this, so that few programs are compiled: a free choice
    rank_step: int = 4
    # Nodes of another axis over which a potential term is averaged: a free choice
    mean_nodes: int = 12
    # A smaller basis is used if it takes less than this part of the arithmetic of the
    # full one: a free choice
    worthwhile: float = 0.5

    # Dense.

    # Products of matrices that the exponential of one takes, about 25 of them for the
    # squarings: a free choice
    exponential_products: int = 50
    # Points up to which the exponential of a matrix that is not symmetric is the
    # fastest method: measured, by which benchmark is not recorded
    dense_general_points: int = 256
    # |t (e_a - e_b)| below which a divided difference of the exponential is its
    # derivative: derived, the square root of the rounding of float64
    equal_levels: float = 1e-8
    # Relative rounding of an eigenvalue of H above which a level is taken from A
    # instead: a free choice, the tightest tolerance that is usual; a slow mode is
    # damped before its time enlarges less than that
    level_digits: float = 1e-8
    # Levels that may be taken from A, at most: a free choice, far more wells than a
    # small grid holds
    slow_modes: int = 64
    # Rounding of the levels over the length of a run, below which none is taken from A:
    # a free choice, a hundredth of the default tolerance
    harmless_rounding: float = 1e-10
    # Error of a wave that takes the place of a density, relative to the tolerance, that
    # is small enough: a free choice
    relaxed_fraction: float = 0.003
    # Multiples of the time at which a wave takes the place of a density, at which both
    # are compared: a free choice among powers of two, which a search by doubling
    # reaches anyway
    compared_times: tuple[float, ...] = (4.0, 8.0)
    # Growth of int |p| dx from which a basis is unstable, and not only coarse: a free
    # choice
    unstable_growth: float = 0.01
    # Error, relative to the tolerance, that a wave may have beyond that of the density
    # it replaces: a free choice. A basis in which the drift jumps at the ends of the
    # box lets densities grow over a long time
    density_over_wave: float = 0.05

    # Implicit: the choice of the method, and the control of its steps.

    # Products of a Poisson sum that take as long as a run of order 3 to 1e-8: measured
    # by `benchmarks/kernels.py`
    implicit_products: float = 4e5
    # Double steps between two output times: a free choice
    max_double_steps: int = 8192
    # Sweeps over all times, each with a smaller local tolerance: a free choice
    max_sweeps: int = 4
    # Local tolerance of the first sweep, as a multiple of tol^(1 + 1/order), the local
    # error of steps whose global error is tol: a free choice
    local_tol_factor: float = 8.0
    # Smallest local tolerance, in units of rounding: a free choice
    local_tol_rounding: float = 8.0
    # A further sweep aims at this part of the tolerance: a free choice
    sweep_target: float = 0.5
    # Limits of the factor by which a further sweep shrinks the error: a free choice
    sweep_factors: tuple[float, float] = (1e-3, 0.5)
    # Residual of a linear system, as a part of the local tolerance: a free choice
    residual_fraction: float = 0.02
    # The residuals of a fixed number of steps together are the tolerance divided by
    # this: a free choice
    fixed_residual_divisor: float = 20.0
    # A double step is accepted if its local error is at most this multiple of the local
    # tolerance: a free choice
    accepted_error: float = 2.0
    # Smallest local error in units of the local tolerance, which keeps its powers
    # finite: a free choice
    smallest_error: float = 1e-10
    # Local error that stands for one that is not finite: a free choice
    largest_error: float = 1e10
    # Smallest local error that the next step's control remembers: a free choice
    remembered_error: float = 1e-4
    # Safety factor of the next length: a free choice
    step_safety: float = 0.9
    # Exponent of the error in the proportional-integral control, divided by order + 1
    # (Hairer and Wanner, Solving ODEs II, IV.2): a free choice
    proportional_exponent: float = 0.7
    # Exponent of the error before it, divided by order + 1: a free choice
    integral_exponent: float = 0.4
    # Limits of the factor to the next length after an accepted step: a free choice
    accepted_factors: tuple[float, float] = (0.2, 5.0)
    # Limits of the factor to the next length after a rejected step: a free choice
    rejected_factors: tuple[float, float] = (0.1, 0.9)
    # A step that ends so near to the output time, relative to what remains, is the last
    # one: a free choice
    last_step_slack: float = 1e-6

    # Rational.

    # Largest amplification of the error on the half-line by a start far from the
    # stationary density that an order is chosen for: a free choice
    expected_amplification: float = 1e4
    # Safety factor of the measured error: a free choice
    rational_safety: float = 10.0
    # The ratio of the errors of two orders grows with the amplification to this power:
    # a free choice, which `tests/test_rational.py` tests
    amplification_exponent: float = 0.25
    # Roundings of each term: a free choice
    rational_roundings: float = 4.0
    # The best order in float64: derived, the next one has residues so large that
    # rounding dominates
    best_order_double: int = 14
    # The best order in float32: derived in the same way
    best_order_single: int = 8

    # Splitting.

    # Steps of the first attempt: a free choice
    splitting_first_steps: int = 4
    # Largest number of steps: a free choice
    splitting_max_steps: int = 2**14
    # Largest number of steps in a basis, beyond which a Poisson sum takes its place: a
    # free choice
    splitting_basis_steps: int = 1024
    # Smallest growth of the number of steps from one attempt to the next: a free choice
    splitting_smallest_growth: float = 1.25
    # Largest growth of the number of steps from one attempt to the next: a free choice
    splitting_largest_growth: float = 16.0
    # The next attempt aims this much below the tolerance: a free choice
    splitting_safety: float = 1.2

    # Uniformization.

    # Standard deviations of the Poisson distribution beyond its mean that are summed:
    # derived, all but 1e-18 are within
    poisson_deviations: float = 9.0
    # Terms beyond those, for a small mean: derived, to rounding
    poisson_terms: int = 24
    # Part of int |u| above which the mass of u counts as free of cancellation: a free
    # choice
    uncancelled_mass: float = 0.5

    # Exponentials of antisymmetric matrices. Their sizes of one expansion are
    # `wick_size` and `wick_nodes`.

    # The largest term that is left out, in units of rounding: derived, far below the
    # rounding of the sum
    skew_truncation: float = 1 / 16


CONSTANTS = PropagateConstants()

"""The constants of `step` that decide answers: tolerances, limits of effort, and
thresholds of the step control.

The last words of each comment say where the value comes from: *derived* (how),
*measured* (by which benchmark or test), or *a free choice*.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class StepConstants:
    """Constants of the time steps of moving problems.

    They are read when a program is traced, so a change takes effect in programs that
    are compiled afterwards.
    """

    # Collocation: the points of a step, and the iteration that solves for the field
    # there.

    # Gauss points of the finer solution in float64, of order 2 * 7 in the step's
    # length: a free choice
    points_double: int = 7
    # The same in float32, where rounding hides higher orders: a free choice
    points_single: int = 5
    # Points of the rule that the integral of the potential term over a step is compared
    # with. They are even in number, so that they share no point with the finer
    # solution, and lie closer than its points: a free choice
    check_points: int = 12
    # Conjugate-residual iterations, one product with H each, before a step counts as
    # failed: a free choice
    max_iterations: int = 100
    # Part of a step's tolerance that the iteration of the coarser solution may leave as
    # its residual: a free choice
    residual_fraction: float = 0.2
    # Residual of the finer solution, relative to that of the coarser: it is the one
    # that is returned: a free choice
    fine_residual_factor: float = 0.1
    # A step is rejected if an iteration ended this far above its residual tolerance: a
    # free choice
    residual_slack: float = 4.0
    # Largest residual tolerance; a loose `tol` would otherwise ask for no iteration at
    # all: a free choice
    max_residual_tol: float = 1e-3
    # Below this multiple of the residual tolerance, relative to its maximum, a wave
    # counts as absent: a free choice
    absent_wave: float = 1e-3
    # A step more than this many times as long as the last one starts its iteration from
    # a constant, since the last step's polynomial is too far from its points there: a
    # free choice
    max_extrapolation: float = 2.0

    # Terms of the series of phi_m, and the |z| from which the recurrence is used
    # instead: derived. For m >= 4 the next term of the series at |z| = 3 is 3^24 m! /
    # (m + 24)! < 3e-17; for larger |z| the recurrence loses no digits
    phi_terms: int = 24
    phi_switch: float = 3.0  # derived with it

    # Collocation: the step control.

    # Order that the next length is computed with. The true one is twice the number of
    # points, 14 here, but stiff problems and sharp starts converge more slowly: a free
    # choice
    control_order: int = 7
    # Part of the tolerance of an interval that its first step may use up; the rest
    # grows in proportion to the time passed, so that the error of a sharp start need
    # not be as small as that of a smooth end: a free choice
    tol_at_start: float = 0.4
    # Least tolerance of a step, as a part of its proportional one, whatever the errors
    # of former steps: a free choice
    least_step_tol: float = 1 / 8
    # Units of rounding of the amplified field that a step is accepted with, whatever
    # the tolerance: a free choice
    rounding_units: float = 16.0
    # The error of the step is counted as at least this part of the whole error, so that
    # a step whose new error happens to cancel older ones does not grow without bound: a
    # free choice
    least_error_fraction: float = 1 / 8
    # The same as a part of the step's tolerance, where the error is 0: derived, it
    # keeps a quotient finite
    least_error_tol: float = 1e-6
    # Safety factor of the next length, about (1/3)^(1/7): a free choice
    safety: float = 0.85
    # Largest factor from one length to the next: a free choice
    largest_factor: float = 1.7
    # Smallest factor from one length to the next: a free choice
    smallest_factor: float = 0.25
    # Factor of a length after an iteration that did not converge, which makes the error
    # meaningless: a free choice
    unconverged_factor: float = 0.4
    # A remainder of an interval this much longer than a whole number of steps needs no
    # further step: a free choice
    last_step_slack: float = 0.01
    # Rejected steps beyond the number of accepted ones, after which an interval is
    # given up: a free choice
    max_rejections: int = 6
    # Shortest step, as a part of its interval, below which the interval is given up: a
    # free choice
    shortest_step: float = 1e-6
    # Products of one field that an interval may take, in proportion to the time passed:
    # a free choice
    max_products: int = 2**19
    # Part of these products that is granted to the start of an interval: a free choice
    start_products: float = 0.1
    # Points of a grid up to which collocation is tried. It holds some sixty fields: 126
    # MiB at this size in float64: a free choice
    collocation_max_points: int = 2**18

    # Collocation in the lowest functions of each axis.

    # The error of a reduced basis, as foreseen, must be this many times below the
    # tolerance: a free choice
    rank_safety: float = 12.0
    # A reduced basis is used if it has fewer than this part of the functions of the
    # full one: a free choice
    rank_saving: float = 0.6
    # Fractions of an interval at which sqrt(pi) is tested against a reduced basis: a
    # free choice
    rank_samples: tuple[float, ...] = (0.0, 0.4, 1.0)
    # The steps for which a reduced basis is tested are this part of the interval: a
    # free choice
    rank_steps: int = 16
    # Predicted steps times points up to which another program costs more to compile
    # than it saves: a free choice
    rank_compile_work: int = 2**18

    # Midpoint steps and their extrapolation.

    # Entries of a row of the extrapolation table that the next row uses: rows have at
    # most one more: a free choice
    table_columns: int = 5
    # Steps of the coarsest level: a free choice
    first_steps: int = 4
    # Levels of the table, each with twice the steps of the one before: a free choice
    max_levels: int = 12
    # Levels without a smaller error, after which the table is given up: a free choice
    levels_without_progress: int = 2
    # Products after which midpoint steps are given up, as a part of `max_products`: a
    # free choice
    midpoint_products: float = 0.5
    # Steps of the finest level are divided by this to give the first level of the next
    # interval, so that it needs about four levels again: derived, 2^3
    next_level_divisor: int = 8

    # Both: how an interval is begun.

    # The first step by collocation is this part of its interval: a free choice
    first_collocation_steps: int = 16
    # Midpoint steps, of the finest level, in an interval under a transformation: a free
    # choice
    traced_midpoint_steps: int = 128
    # Steps by collocation in an interval under a transformation: a free choice
    traced_collocation_steps: int = 24
    # Below this part of an interval, the step of a part of it does not predict the
    # steps of the next interval: a part beside a breakpoint may be as short as
    # rounding: a free choice
    shortest_memory: float = 1 / 128
    # Where collocation gave up after fewer products than this, the next interval tries
    # it again: a free choice
    cheap_failure: int = 2000
    # Points up to which step programs are compiled as soon as possible. On 64 nodes a
    # moving trap takes 2.6 s at first instead of 4.4, and 33 ms afterwards instead of
    # 30; in the plane the compiler's work pays: measured
    quick_compile_points: int = 512
    # Output times from which on the intervals between them are expected to be short: a
    # free choice
    many_times: int = 64
    # Intervals in one program on a moving line, which runs with at least half as many
    # output times use: a free choice
    together: int = 16
    # Steps that a short interval is predicted to take; those of one under a
    # transformation, too: a free choice
    few_steps: int = 4
    # Midpoint steps, of the finest level, in a short interval under a transformation: a
    # free choice
    few_midpoint_steps: int = 32

    # Times: breakpoints and the parts of a timeline.

    # A state beside a breakpoint is this many units of rounding away from it: a free
    # choice
    breakpoint_distance: float = 4.0
    # Units of rounding of the last time by which a part and an interval may miss each
    # other: a free choice
    time_rounding: float = 4.0
    # Halvings of a stretch at most, 128 parts; a rough function costs eight expansions
    # in vain: a free choice
    max_halvings: int = 7
    # Numbers in all expansions of a stretch, 256 MiB in float64: a free choice
    max_expansion_numbers: int = 2**25

    # The search for breakpoints.

    # Times at which every interval is sampled; the number of intervals between them,
    # 8191, is prime, so that few periods are multiples of their distance. What is
    # shorter can be missed: a free choice
    samples: int = 8192
    # Times in shorter pieces, and in the search for a jump: a free choice
    few_samples: int = 512
    # Pieces longer than this part of the longest interval are sampled in full: a free
    # choice
    long_piece: float = 1 / 16
    # Places on each axis at which functions are sampled: a free choice
    places_per_axis: int = 16
    # Intervals from which on each is sampled at fewer places, several intervals at
    # once: a free choice
    many_intervals: int = 8
    screened_at_once: int = 16  # a free choice: 6 MiB at six places
    few_places: int = 6  # a free choice, for each axis
    # Chebyshev nodes whose interpolant must have the values at all samples, as many as
    # the terms of the expansions in time, so that what is resolved here can be
    # expanded: derived
    nodes: int = 32
    # Parts in which an interval is sampled; it divides the number of samples and nodes:
    # a free choice
    sampling_chunks: int = 8
    # Samples whose weighted sum is compared with that of the interpolant: a free choice
    block: int = 16
    # Largest deviation of the interpolant, relative to the range of a function at a
    # place, as a part of `tol`
    deviation_fraction: float = 1e-2  # a free choice
    # The same, at least: the deviation of a smooth function is near rounding: a free
    # choice
    least_deviation: float = 1e-10
    # Where a piece is cut: no simple fraction, so that the pieces of a periodic
    # function are no multiples of its period
    cut_fraction: float = 0.47943  # a free choice
    # Pieces that are shorter than this part of the run are not cut: a free choice
    shortest_piece: float = 1e-10
    # Samplings of pieces at most, about 0.4 ms each: a free choice
    max_looks: int = 8192
    # Factors by which the deviation falls in two cuts at a jump of a second derivative,
    # 4^2, with room for one of a third and for scatter: derived, the room a free choice
    weak_fall: tuple[float, float] = (6.0, 100.0)
    # The deviation, relative to the range, below which such a jump is left to the error
    # control: a free choice
    weak_deviation: float = 1e-3
    # Edges that are looked for between two neighbouring samples, at most: 2^4: a free
    # choice
    max_edges_within: int = 4
    # Deviation of a smooth function, relative to its range, in a piece that magnifies
    # one sample: a free choice
    smooth_deviation: float = 1e-6
    # Neighbours on either side that a second difference is compared with: a free choice
    neighbours: int = 6
    # How many times larger than its neighbours a second difference must be: a free
    # choice
    outstanding: float = 8.0
    # Candidates that are examined: a free choice
    max_candidates: int = 64
    # Units of rounding of the largest value below which a second difference is noise: a
    # free choice
    noise_units: float = 256.0

    # Steps of a velocity that depends on time (`skew_steps`).

    # Steps of an interval on the first attempt, of which twice as many are compared
    # with it; steps of one program: a free choice
    first_skew_steps: int = 2
    # Doublings of that number at most, 4096 steps: a free choice
    max_skew_doublings: int = 11
    # Units of rounding of a density: for a short run, and for each product: measured in
    # float32, 0.4 to 0.65 a product
    skew_roundings: tuple[float, float] = (8.0, 0.5)
    # Steps of an interval under a transformation, where no error can be examined: a
    # free choice
    traced_skew_steps: int = 16
    # The part of the error that a doubling leaves is at least that of order 6, 1 / 64:
    # derived
    best_skew_ratio: float = 1 / 64
    # The same of the first doubling, of which nothing is known: a free choice, that of
    # order 4
    first_skew_ratio: float = 1 / 16
    # The largest part at which what is left is extrapolated; beyond it the steps are
    # too long: a free choice
    worst_skew_ratio: float = 0.5

    # Two pictures of one evolution (`fp.correspondence`).

    # Tolerance in time in float64, far below the distances that are shown: a free
    # choice
    both_tol_double: float = 1e-8
    # The same in float32: a free choice
    both_tol_single: float = 1e-4


CONSTANTS = StepConstants()

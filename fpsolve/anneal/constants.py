"""Constants of `anneal` that decide answers or costs."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class AnnealConstants:
    """Constants of `anneal` that decide answers or costs. Each says where its value
    comes from.

    The sections follow the modules that use them. "Relative" is relative to the largest
    value of the same function.
    """

    # transport
    # times reported where none are given, and the fewest times of a run: a free choice
    report_times: int = 101
    # numbers of a run up to which extra times are added (128 MiB): a free choice
    max_run_values: int = 2**24
    # how much more a schedule may change in the first 1e-8 of its time than in the
    # next: a free choice
    end_jump: float = 1e3
    # times at which a schedule is checked for monotonicity: a free choice
    schedule_samples: int = 257
    # by which a schedule may miss 0 or 1, or decrease (above rounding): a free choice
    schedule_tol: float = 1e-9
    # a coarser grid is used if it has at most this fraction of points: a free choice
    coarse_grid_fraction: float = 0.5
    # fraction of `tol` that a coarser grid may leave out of a wave: a free choice
    coarse_grid_tol_fraction: float = 0.1
    # lambdas at which the required number of nodes is measured: a free choice
    coarse_grid_samples: int = 17

    # bounds
    # times at which a schedule is evaluated at once, for one compiled program: a free
    # choice
    follow_batch: int = 1024
    # lambdas at which the constants of the theorems are computed: a free choice
    bound_lambdas: int = 65
    # of the total: a clipped schedule has no derivative at its ends: a free choice
    schedule_end_margin: float = 1e-9
    # steps of the integration of a bound for each e-folding: a free choice
    steps_per_decay_time: int = 40
    # the fewest steps of the integration of a bound: a free choice
    min_bound_steps: int = 2000

    # places in each interval between features, as many as its polynomial has nodes:
    # derived
    piece_places: int = 17

    # relative error of the integration of a bound: measured, 1e-9 to 1e-6 on the
    # equalities of tests/anneal
    bound_integration_tol: float = 1e-5
    # units of rounding of a distance that do not count: a free choice
    bound_rounding: float = 64.0

    # curvature
    # half boxes: a free choice
    shells: tuple[float, ...] = (
        1.1,
        1.25,
        1.5,
        2.0,
        3.0,
        4.0,
        6.0,
        8.0,
        16.0,
        32.0,
        64.0,
    )
    # random directions in which points beyond the box are taken: a free choice
    shell_directions: int = 64
    # relative growth over the last shell that means "unbounded": a free choice
    unbounded_growth: float = 1e-3
    # geomspace of kappa tried for V: a free choice
    convexity_fractions: tuple[float, float, int] = (0.02, 1.0, 12)
    # nodes an axis of a convex envelope, in one and two dimensions: a free choice
    envelope_nodes: int = 96
    # the same in three dimensions and more, where 96 would not fit: a free choice
    envelope_nodes_3d: int = 24
    # of the range of U: gap at the edge that still counts as contact: a free choice
    envelope_contact: float = 1e-9

    # along
    # lambdas at which confinement and speed are checked first: a free choice
    first_lambdas: int = 17
    # relative Gibbs density allowed at the ends of a box: a free choice
    max_boundary_density: float = 1e-4
    sample_batch: int = 8  # lambdas sampled at once on a grid: a free choice
    # interpolation error along a path, on one axis: a free choice
    schedule_path_tol: float = 1e-8
    # the same on more axes, where each lambda costs seconds: a free choice
    schedule_path_tol_2d: float = 1e-5
    # relative amplitude that a coarser grid may leave out of a wave: a free choice
    path_wave_tol: float = 1e-7
    # interpolation error along a path where none is given: a free choice
    path_tol: float = 1e-8
    # places at which the table of a path is compared, two batches: a free choice, for
    # cost
    compared_lambdas: int = 18
    # error that is warned of where no tol was given: a free choice
    warned_path_error: float = 1e-2
    # a smaller gap cannot be told from zero: derived from the smallest normal float64
    min_gap: float = 1e-300

    # costs
    # cells of the extrapolated chains: a free choice
    chain_cells: tuple[int, ...] = (128, 256, 512, 1024)
    # below it ratios lose digits: derived from the smallest normal float64
    min_probability: float = 1e-280
    # lambdas at once: derived from the lowest degree of a panel, which has 9 nodes
    chain_batch: int = 9
    # steps tried first; rates apart by a factor of 2 need 9: measured
    few_lanczos_steps: int = 12
    # relative error of the gap above which all Lanczos steps are taken: a free choice
    max_gap_error: float = 1e-10

    # panels
    # doubling, so that Chebyshev nodes are reused: a free choice
    panel_degrees: tuple[int, ...] = (8, 16, 32)
    min_panel_width: float = 1e-9  # a narrower panel is not divided: a free choice
    # of the maximum: a smaller value excludes the logarithm: a free choice
    min_logarithm_ratio: float = 1e-10
    # last coefficients, whose size estimates the error: a free choice
    tail_coefficients: int = 3
    # of half a panel: imaginary part and end margin of the root of a crossing: a free
    # choice
    root_tol: float = 1e-6

    # coarsen_grid
    # factor on the number of nodes that would do: a free choice
    node_margin: float = 1.3
    # amplitudes below this factor times those of the shortest waves: a free choice
    noise_factor: float = 20.0
    # the last 1 / 8 of the spectrum are the shortest waves: a free choice
    noise_fraction: int = 8
    # avoids 0 / 0 where a path is constant: derived from the smallest normal float64
    min_amplitude: float = 1e-300
    max_samples: int = 2**20  # numbers sampled at once, 8 MiB an array: a free choice

    # grid_for_path
    # lambdas at which a grid is fitted: a free choice
    fitted_lambdas: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    # slow modes that the grid must resolve: derived, the gap needs two
    fitted_modes: int = 2
    # factor on the nodes that modes need, as lagging densities are sharper: a free
    # choice
    node_density: float = 1.15

    # distances
    # |p / pi - 1| below which the series of KL is used: derived with `series_terms`
    series_range: float = 0.03
    # terms of that series: derived, the remainder 0.03^11 / 110 is 2e-19
    series_terms: int = 10

    # jarzynski
    # output times, which keep the steps short at sharp turns: a free choice
    jarzynski_intervals: int = 10

    # read
    # an `Along` takes some 20 kB, so that several hundred fit: a free choice
    cache_bytes: int = 2**24
    # tables are padded to multiples, so that paths share programs: a free choice
    schedule_pieces: int = 128

    # velocity
    # multigrid solves, each for the residual of the last fluxes: a free choice
    velocity_solves: int = 2
    # relative tolerance of each solve; two give about 1e-14: a free choice
    velocity_tol: float = 1e-7

    # counterdiabatic
    # Bulirsch's sequence: a free choice
    extrapolation_counts: tuple[int, ...] = (1, 2, 3, 4, 6, 8)
    # of the run: the shortest span of one extrapolation table: a free choice
    min_span: float = 1e-7
    max_steps: int = 2**14  # steps of a run, above which it is ended: a free choice
    # largest growth of the span from one table to the next: a free choice
    max_growth: float = 4.0
    # largest reduction of the span from one table to the next: a free choice
    max_shrink: float = 0.2
    step_safety: float = 0.8  # factor on the predicted span: a free choice
    # of a span: a remainder this small is joined to the span before: a free choice
    span_rounding: float = 0.01
    # of machine epsilon: rounding errors of a step: a free choice
    rounding_factor: float = 64.0
    # conjugate gradient solves, each for the residual of the last: a free choice
    refinements: int = 8
    refinement_tol: float = 1e-5  # relative tolerance of each: a free choice
    refinement_iterations: int = 2000  # the most iterations of each: a free choice
    # a residual reduced by less is at rounding: a free choice
    min_refinement_gain: float = 0.5

    # work
    # Polynomials through 8, 6 and 4 nodes are compared: derived, the smallest number
    # whose three are at least cubics.
    work_nodes: int = 8
    # units of rounding of the largest power, in its integral: a free choice
    work_rounding: float = 16.0
    # runs with more times, where the work is not yet as accurate as `tol`: a free
    # choice
    work_refinements: int = 3
    # where an interval is divided: a free choice
    refined_fractions: tuple[float, ...] = (0.0625, 0.25, 0.5)
    # of an interval after a breakpoint to the next: a free choice
    graded_ratio: float = 0.25
    # how much faster than the gap a transient may decay: a free choice
    graded_decays: float = 4.0

    # work_law
    # steps of the coarsest of three staircases, at first: a free choice
    first_stairs: int = 16
    # steps in one program: derived, the largest that divides all numbers of steps
    stairs_batch: int = 16
    max_stairs: int = 2048  # steps of the finest one: a free choice
    # variance of the work in units of D^2 that is rounding: derived from float64
    least_spread: float = 1e-20
    # deviations of the work that the first window spans: a free choice
    work_window: float = 16.0
    max_windows: int = 4  # windows, each twice as wide as the one before: a free choice
    # frequencies that are propagated at once: derived, the half of 128 and zero
    tilt_batch: int = 65
    work_law_tol: float = 1e-6  # default relative error in time: a free choice
    # the same without x64, where rounding is 1e-5: a free choice
    work_law_tol_single: float = 1e-3
    # steps of the coarser staircase of an objective of descent: a free choice
    mean_work_steps: int = 48

    # run_times
    # nodes stay so far from a breakpoint, whose place has an error of its own, as a
    # part of the run: a free choice
    breakpoint_margin: float = 1e-8
    # a difference across a kink is half of that across twice its surroundings: a free
    # choice
    jump_share: float = 0.75
    # units of rounding of the last time within which two times are one: a free choice
    time_rounding: float = 64.0
    # panels of a run under a transformation, if few times are requested: a free choice
    traced_panels: int = 16
    many_panels: int = 48  # panels above which each has fewer nodes: a free choice
    # nodes of Gauss in each of many and of few panels: a free choice
    traced_nodes: tuple[int, int] = (3, 6)
    # steps of a whole run under a transformation: a free choice
    traced_steps: int = 1200
    # steps between two of its times: derived, the fewest that `Magnus` takes
    min_traced_interval: int = 4
    # default `tol` under a transformation, where no step can be repeated: a free choice
    traced_tol: float = 1e-6
    # part of `tol` that each interval of such a run gets, since their errors add up: a
    # free choice
    traced_tol_fraction: float = 0.02
    # kinks of a schedule that are looked for under a transformation: a free choice
    traced_kinks: int = 16
    # random derivatives of a schedule that are searched for kinks: a free choice
    kink_directions: int = 2
    kink_samples: int = 8192  # times at which kinks are searched for: a free choice
    # neighbours with which a second difference is compared: derived, a kink makes three
    # large
    kink_neighbours: int = 3
    # how many times larger than its neighbours it must be: a free choice
    kink_outstanding: float = 8.0
    # parts into which an interval with a kink is cut, again and again: a free choice
    kink_cuts: int = 16
    # cuts, each to 1/8: derived, 8^-12 of an interval is below rounding
    kink_levels: int = 12

    # pieces
    # irregular samples of a function; a narrower feature can be missed: a free choice
    feature_samples: int = 8192
    # points of space at which a potential is sampled for its features: a free choice
    feature_points: int = 48
    # times or lambdas sampled at once, for one compiled program: a free choice
    feature_batch: int = 1024
    # degree of the polynomial that must agree with the samples: a free choice
    feature_degree: int = 16
    # of the variation of a function: disagreement that means a feature: a free choice
    feature_tol: float = 1e-5
    # units of rounding of a value that are no feature: a free choice
    feature_rounding: float = 256.0
    # of half an interval: nodes stay so far inside, off its breakpoints: a free choice
    feature_margin: float = 1e-9
    # of the whole: a shorter interval is not divided: a free choice
    min_feature: float = 1e-7
    # intervals, above which a function counts as rough everywhere: a free choice
    max_pieces: int = 2048
    # Part of the largest errors of single kinks that is left where they vanish or
    # cancel in a total variation: a free choice, above what was seen for normal
    # densities on 64 to 128 nodes
    kept_of_kinks: float = 0.125
    # of a contraction by less than 1/2 each: derived, 2^-60 is below rounding
    root_iterations: int = 60
    # of the largest cost: a smaller one needs no relative accuracy: a free choice
    negligible_cost: float = 1e-9

    # schedule
    # nodes of the quadrature of a cost on one interval: a free choice
    gauss_points: int = 12
    # intervals of the table of an optimal schedule on one panel: a free choice
    intervals_per_panel: int = 24
    # knots of a schedule of least work, and as many that are graded to λ = 0: a free
    # choice
    graded_knots: int = 193
    # of the mean: least cost charged, so that no speed is infinite: a free choice
    min_relative_cost: float = 1e-6
    # by which alpha^2 + sigma^2 may differ from 1: a free choice
    variance_tol: float = 1e-6

    # learn
    adam_rate: float = 0.05  # learning rate of Adam: a free choice
    # `tol` of the grid that is fitted for learning: a free choice
    learn_grid_tol: float = 1e-6
    # `tol` of the runs of an objective, whose error the descent does not see: a free
    # choice
    learn_tol: float = 1e-5
    min_traced_steps: int = 32  # fewest steps of a traced run: a free choice
    max_traced_steps: int = 1024  # most steps of a traced run: a free choice
    # relative error of the objective allowed to the steps: a free choice
    traced_steps_tol: float = 1e-3


CONSTANTS = AnnealConstants()

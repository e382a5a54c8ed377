"""Constants of the public solves."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class SolveConstants:
    """Constants of `solve` that decide answers, each with the origin of its value."""

    # `fp.evolve`
    # The error of the companion, which is compared, is up to ten times that of the grid
    # itself.
    # free choice: part of the tolerance that a grid is fitted to, so that the check
    # agrees
    fit_fraction: float = 0.125
    # Errors of first order leave 1 / 1.15 = 0.87 of a difference at each step in a
    # basis, and 0.71 on finite volumes. derived: as said, with a margin; the factor on
    # a difference is then at most 9
    slowest_convergence: float = 0.9
    # An error of 1e-8 that falls as exp(-c n) leaves 1 / 10 of a difference at each
    # step in a basis.
    # free choice: quotient of two differences from which the smaller is chance
    fastest_convergence: float = 10.0
    # Cells that are 1.15 times as long have 1.15^2 to 1.15^4 times the error, 1.75 at
    # most.
    # free choice: the same where convergence is algebraic, with a margin
    fastest_algebraic: float = 3.0
    # Differences of two companions, and of the first and the run, are about equal where
    # nothing converges yet. free choice: quotient of the second and the first above
    # which the box is too narrow
    narrow_box: float = 2.0
    # free choice: functions of each axis of a companion, times those of a smaller basis
    larger_basis: float = 1.5
    more_functions: int = 4  # free choice: and as many more, where there are few
    # free choice: how many times longer than the run itself its companion may take
    costliest_companion: float = 10.0
    # free choice, for cost: and what it may take in any case
    companion_seconds: float = 1.0
    # The nodes of a transport are some hundred, of which its companions would take most
    # of the time.
    # free choice, for cost: output times at which a moving run is compared with
    # companions
    compared_times: int = 16
    # free choice: how often a fitted grid may be replaced by a finer one
    finer_grids: int = 3
    # free choice: how many finer grids may be of no use before no other is tried
    useless_grids: int = 1
    # free choice: quotient of errors below which a finer grid was of no use
    least_gain: float = 2.0
    # free choice: error above which a result without a requested tol is warned of
    unresolved_error: float = 1e-2

    # Flows (`outflow`)
    # free choice, as `unresolved_error`: mass that may leave the box
    largest_outflow: float = 1e-2
    # free choice, for cost: particles that are followed, about
    outflow_particles: int = 1024
    outflow_steps: int = 64  # free choice: steps in which a particle crosses the box
    most_outflow_steps: int = 4096  # free choice, for cost
    # free choice: times at which the largest speed of a moving velocity is looked for
    outflow_times: int = 9

    # What lies between the nodes of a given grid (`between_nodes`)
    looked_at: int = 131_072  # free choice, for cost: nodes and random places together
    # free choice, for cost: nodes of a grid whose cells are looked into
    most_looked_at: int = 1_000_000
    # free choice: waves whose means under a start are compared with dense ones
    compared_means: int = 6
    # free choice: units of eps of the largest value below which nothing is a feature
    feature_roundings: float = 1e4

    # Errors of levels (`level_errors`). Chosen on random problems of one dimension
    # (twelve kinds, four seeds, numpy copies of the discretisations), where about one
    # level in a hundred erred by more than three times its error. Errors fall fast
    # where the levels of two companions differ by this many times more than those of
    # the first and of the grid.
    fast_convergence: float = 4.0  # free choice: as said
    # free choice: how much closer than both companions the first may be by chance
    accidental_agreement: float = 30.0
    # free choice: relative difference in a basis from which nothing converges yet
    unresolved_level: float = 3e-3
    unresolved_margin: float = 4.0  # free choice: factor on such differences
    unresolved_level_volumes: float = 3e-2  # free choice: the same on finite volumes
    unresolved_margin_volumes: float = 2.0  # free choice: the same
    # free choice: least order by which finite volumes are extrapolated, as at a kink
    lowest_order: float = 1.0
    # derived: the order of finite volumes where everything is smooth
    highest_order: float = 2.0
    # derived: (2^2 - 1) = 3 at order 2, and 1 at order 1
    half_spacing_margin: float = 2.0
    # Relative errors of the first three levels of x^2 / 2 are 0.17, 0.24 and 0.3 times
    # the mean square of the Peclet number of the cells.
    peclet_error: float = 0.3  # measured: as said
    # free choice: factor on what one run shows of an error
    single_look_margin: float = 2.0
    # free choice: nodes along each axis of which the worst error of a field is taken
    error_window: int = 5
    # free choice: complex rates of a companion beyond those that are compared
    spare_rates: int = 4
    # free choice: error of a level that is warned of where no tol was given
    warned_level_error: float = 1e-2

    # `fp.spectrum`
    # free choice: tolerance of a fitted grid where no tol is given, as by `fp.fit_grid`
    default_fit_tol: float = 1e-8
    # free choice: factor on a tolerance that rounding does not allow
    looser_tol: float = 30.0
    # Below it a level of 1e-10 relative error, or one through A, may not hold all
    # digits of the gap.
    # free choice: the same of a gap, a number that carries no error
    warned_gap_error: float = 1e-6
    # free choice: gap, relative to the next level, below which the partner kernel is
    # used
    tiny_gap: float = 1e-6
    # On spectral grids errors fall by orders of magnitude; on finite volumes they fall
    # by four, and the difference is three quarters of the error.
    # free choice: factor on the number of nodes that shows the error in space
    refinement_spectral: float = 1.5
    # derived: the same for errors of order two, as said above
    refinement_volumes: float = 2.0
    # exp(-x^2) falls by orders of magnitude over a tenth of a box that holds it.
    # free choice: factor on the width of a line, which shows the error of the box
    widening: float = 1.1
    # free choice: part of max psi_0 below which psi_k / psi_0 is rounding
    negligible_ground: float = 1e-10

    # `fp.correspondence`
    # free choice: levels of the generator and of H that are compared
    compared_levels: int = 6
    # 1e-11 in float64. benchmarks/convergence.py finds 5e-16 to 3e-13.
    # measured: units of eps by which the two sides may differ
    largest_difference: float = 4.5e4
    # free choice: units of eps |p / sqrt(pi)| by which they may differ
    wave_roundings: int = 64
    # free choice: how much more the two spectra may differ
    spectrum_factor: float = 100.0

    # Turned coordinates (`turned`)
    # free choice: least part of its peak at which a density, or its spectrum, ends
    turned_depth: float = 1e-14
    # free choice: the same part, relative to the tolerance
    turned_tol_fraction: float = 1e-4
    # free choice, for cost: nodes at which values are compared with the series itself
    turned_checked: int = 1024
    # Powers of sqrt(pi) by which a density is divided before it is interpolated: 1
    # makes it a wave, and 1/2 has fewer waves than the density and decays towards the
    # ends of a box.
    turned_exponents: tuple[float, ...] = (1.0, 0.5)  # free choice

    # `Solution.on`
    # free choice: part of a box by which another one may stick out, which is rounding
    box_slack: float = 1e-12

    # `fp.committor` and `fp.mean_first_passage_time`
    hitting_restarts: int = 12  # free choice: largest number of restarts of BiCGSTAB
    # free choice: largest number of iterations between two restarts
    hitting_iterations: int = 400
    # free choice: a restart that leaves more of the residual is the last
    hitting_decrease: float = 0.5
    # free choice: smallest relative residual requested of one restart
    hitting_inner_tol: float = 1e-6
    hitting_tol: float = 1e-10  # free choice: relative residual requested of an answer
    # free choice: relative residual requested on a companion grid, whose error is
    # larger
    companion_tol: float = 1e-8
    # free choice: the same of a passage time that only bounds the error of a committor
    bound_tol: float = 0.1
    # free choice: largest bound on the error in double precision
    largest_error: float = 1e-6
    largest_error_single: float = 1e-2  # free choice: the same in single precision
    # 2^-24 = 6e-8 of an edge is below the error of any cut of order two.
    bisections: int = 24  # derived: halvings of an edge that find where a set ends
    # free choice: smallest part of a cut edge, so that no rate across it is infinite
    smallest_fraction: float = 1e-6

    # `fp.eyring_kramers`
    # Newton's iteration is quadratic from a fraction of a cell away; a flat minimum
    # takes more steps.
    newton_steps: int = 40  # free choice: steps of Newton's iteration
    # free choice: cells that Newton's iteration may move a point: beyond, it found
    # another
    newton_reach: float = 2.0
    # free choice: largest last step, in cells, of an iteration that has converged
    newton_last_step: float = 1e-3
    # free choice: distance in cells below which two critical points are one
    same_point: float = 0.5
    # Noise in a table makes wells of a few per cent of D.
    # The shallowest of Muller and Brown's surface is 0.85 D deep at D = 10.
    # free choice: depth in units of D below which a well is none
    least_depth: float = 0.25
    # free choice: part of the largest curvature below which a direction is flat
    flat_curvature: float = 1e-6
    descent_stride: float = 0.1  # free choice: step of a steepest descent, in cells
    descent_steps: int = 20_000  # derived: two thousand cells at this step
    # derived: a step may jump over a minimum, but not by more than one stride
    arrival_strides: float = 2.0


CONSTANTS = SolveConstants()

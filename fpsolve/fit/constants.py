"""Constants of `fit` that decide answers.

They were set together so that the true error e of a run on a fitted grid satisfies tol
/ 1000 <= e <= 5 tol for every exact system in tests/test_fit.py. "Measured" means that
this test holds with the value.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class FitConstants:
    """Constants of `fit` that decide answers. Each says where its value comes from."""

    # Bounding boxes (`bounding_box`, `marginal_profile`). Depths are in units of log p.
    # Depth of reference boxes beyond log(1 / tol): measured, with half of it the levels
    # of a double well are off by 2.4e-9 and the fit at tol = 1e-8 is rejected
    reference_depth_margin: float = 14.0
    # the same where the potential depends on time: a free choice
    moving_depth_margin: float = 7.0
    # Valleys of log pi that are shallower do not slow relaxation down: a free choice
    least_barrier: float = 2.0
    # log of the length of a run, in relaxation times of a well, from which boxes are
    # made deeper: derived, half of `reference_depth_margin`
    least_crossing: float = 7.0
    # per axis, by dimension: a free choice, <= 1.2e5 points
    scan_nodes: tuple[int, ...] = (4097, 65, 33, 13, 9, 7)
    # beyond it an axis does not confine: a free choice, beyond all units
    largest_half_width: float = 2.0**100
    # of the box, in lengths, on each side, for the second check: a free choice
    outer_scan_growth: float = 2.0
    # rise of the maximum, per depth, that the second check ignores: a free choice
    height_rounding: float = 1e-6
    largest_narrowings: int = 60  # bound on the passes that shrink a box: a free choice
    # narrowing stops when no axis shrinks below this fraction: a free choice
    narrowed_fraction: float = 0.8
    # nodes at which a marginal profile is minimised: a free choice
    profile_nodes: int = 97
    # bound on the steps of Levenberg-Marquardt: a free choice
    newton_iterations: int = 40
    # step, relative to 1 + |x|: a free choice, far below any node spacing
    newton_tolerance: float = 1e-9

    # Periods (`bounding_box.period`).
    period_slices: int = 3  # random lines that must agree on a period: a free choice
    # random points that are compared with their shifts: a free choice
    period_probes: int = 24
    # powers of 2 of the shifts tried, first and one past last: a free choice
    period_scales: tuple[int, int] = (-6, 13)
    period_shifts: int = 2048  # shifts tried at each scale: a free choice
    # local minima of the mismatch that are refined, at each scale: a free choice
    period_candidates: int = 8
    # mismatch of a candidate, relative to the range of values: a free choice
    period_mismatch: float = 0.1
    # mismatch of a period, relative: a free choice between rounding and real change
    period_tolerance: float = 1e-9

    # The predicted mean and covariance of a transient (`gaussian_prediction`).
    # in log t, and as many in t: a free choice; linear drifts are exact for any number
    prediction_steps: int = 40
    first_prediction_time: float = 1e-5  # of the last time: a free choice
    # makes the stationary covariance exist without a force: a free choice
    neutral_damping: float = 1e-9

    # Boxes and slices of a problem (`domain`).
    # times at which a time-dependent potential is examined: a free choice
    time_samples: int = 17
    # more times, at which only a few points are examined: a free choice, for cost
    drive_looks: int = 512
    drive_points: int = 2048  # those points: a free choice, for cost
    # of those times, which get a box of their own: a free choice, for cost
    most_added_times: int = 4
    # times at which the turns of a drive are counted: a free choice, for cost
    drive_samples: int = 8192
    drive_places: int = 8  # places at which they are counted: a free choice
    # changes below this part of the energy are rounding: a free choice
    drive_rounding: float = 1e-10
    steps_each_turn: int = 16  # of a trial: a free choice, 32 steps a period
    # the bulk of a density lies within this depth of its peak: a free choice
    bulk_depth: float = 3.0
    # smallest distance of two slice points, relative to the box: a free choice
    slice_separation: float = 0.05
    # slice points in the bulk of the initial density: a free choice
    initial_slices: int = 2
    # slice points in the bulk of the Gibbs density: a free choice
    gibbs_slices: int = 4
    # a slice starts from pi^1.25, narrower than pi, as late states are: free choice
    near_gibbs_sharpness: float = 1.25
    # Added to log max(p / pi), whose two integrals are sums over coarse nodes: a free
    # choice, a factor of 20
    excess_margin: float = 3.0
    # stands for "all times" in the prediction of a transient: a free choice
    longest_time: float = 1e5
    # of the box, on each side of an irreversible slice: a free choice
    irreversible_widening: float = 0.3
    # slices of each axis whose boxes are fitted: a free choice, for cost
    slices_for_box: int = 2

    # Bound states of a Schrodinger potential (`bound_states`, `targets`).
    # ratio of successive half-widths tried: a free choice
    bound_state_scale: float = 1.4
    # its powers, a free choice, 5e-3 to 5e5 lengths
    bound_state_scales: tuple[int, int] = (-16, 40)
    # of 2, first and one past last: derived, 1e-24 to 1e24
    natural_length_powers: tuple[int, int] = (-80, 80)
    # of 10: further boxes in which a minimum is sought: a free choice
    scan_powers: tuple[int, int] = (-15, 16)
    # of a wall above the continuum, relative to its depth: derived, digits of
    # eigenvalues
    wall_height: float = 1e4
    # of 192 cells, at each end where a potential is above all levels: a free choice
    kept_end_cells: int = 4
    bound_state_nodes: int = 192  # nodes of a trial box, at least: a free choice
    bound_state_most_nodes: int = 768  # the same, at most: a free choice, for cost
    # of them in natural lengths, as far as there are enough: a free choice
    bound_state_spacing: float = 0.4
    # levels whose modes must decay when k is not given: a free choice, as
    # default_levels
    bound_state_levels: int = 6
    # trial boxes in a row with the same number of bound states: a free choice
    stable_counts: int = 6
    # relative; keeps the innermost of equal minima: a free choice above rounding
    minimum_improvement: float = 1e-9
    # from the minimum, in natural lengths, where a continuum is read: a free choice
    continuum_distance: float = 1e3
    # farthest sample beyond a box, in lengths: a free choice
    continuum_lengths: float = 4.0
    # samples of a potential for its minimum in a box: a free choice
    continuum_samples: int = 257
    # rise from r to 4r, relative to the depth, of a level potential: a free choice
    saturated_rise: float = 0.02
    # shift in a wider box, relative to the distance from the continuum: a free choice
    unbound_shift: float = 0.1
    # levels this close to the continuum, relative, are not bound: a free choice
    continuum_rounding: float = 1e-6
    # levels fitted when k is not given: a free choice, documented by `fit_grid`
    default_levels: int = 6
    # nodes for counting levels, twice as many in the wider box: a free choice
    level_count_nodes: int = 256
    # nodes on the marginal profile of a potential: a free choice
    well_profile_nodes: int = 160

    # All times (`targets.all_times`).
    # in units of 1 / gap: a free choice
    relaxation_times: tuple[float, ...] = (0.003, 0.03, 0.1, 0.3, 1.0, 3.0)
    # nodes of the axis on which the gap is found: a free choice
    relaxation_nodes: int = 128
    # bound on the gap, against division by zero: a free choice
    smallest_gap: float = 1e-6

    # sets of points whose values are kept, about two axes and their faces: a free
    # choice, memory
    kept_samples: int = 8

    # Dense trial solves on a slice (`slice_problem`).
    # Strang steps, the same for all trials, so that their error cancels: a free choice
    wave_steps: int = 192
    # relative to the largest; smaller ones are taken through A: derived, half of the
    # digits
    small_level: float = 1e-9
    # steps of frozen exponentials, the same for all trials: a free choice
    density_steps: int = 48

    # References, boxes and nodes (`search`). Fractions are of the tolerance.
    first_nodes: int = 48  # nodes of the first reference: a free choice
    # Ratio of the nodes of successive references: a free choice above 1
    reference_refinement: float = 1.4
    # relative error beyond which a wave has blown up: derived, of two densities it is
    # at most 2
    blown_up: float = 2.0
    # ratio of nodes where the reference is too coarse in a longer box: a free choice
    node_growth: float = 1.3
    # of a reference, which is solved densely: a free choice, for cost
    most_nodes: int = 800
    fewest_nodes: int = 3  # derived: the least that an axis takes
    # error of a reference; changes no decision: measured, tests/test_fit.py
    reference_fraction: float = 0.03
    # where two in a row are below it (rounding): measured, tests/test_fit.py
    repeated_reference_fraction: float = 0.15
    box_fraction: float = 0.2  # error of the box alone: measured, tests/test_fit.py
    # error of box and spacing together: measured, tests/test_fit.py
    total_fraction: float = 0.5
    # derived: total_fraction - box_fraction, for a spacing that is searched alone
    spacing_fraction: float = 0.3
    box_depth_step: float = 1.5  # between trial boxes: a free choice
    # depth of the first trial box, relative to log(1 / tol): a free choice
    first_box_depth: float = 0.9
    # of the envelope at both ends of a reference: a free choice, far below the box's
    envelope_fraction: float = 1e-4
    most_widenings: int = 12  # of a reference: a free choice
    # of the length, at each side that has not decayed: a free choice
    widening: float = 0.25
    # A level near zero: its error is relative to at least this part of the spread of
    # the levels. A free choice
    zero_level: float = 0.1
    # relative to the next level; a smaller gap counts as this: a free choice
    small_gap: float = 1e-3
    # derived: above underflow, so that its logarithm is finite
    smallest_envelope: float = 1e-300

    # Dense looks at other places than nodes (`dense_look`).
    dense_samples: int = 100_000  # places on an axis: a free choice, for cost
    # of log p above or below all corners of a cell; smooth ones stay below: a free
    # choice
    between_nodes: float = 1.0
    # of the mass, below which random points say nothing: a free choice
    least_between_nodes: float = 1e-6
    # places on each side of a position that a user names: a free choice
    feature_samples: int = 2_000
    # distance of the nearest of them, relative to the axis: a free choice
    nearest_sample: float = 1e-9
    wide_samples: int = 40_000  # points in and around a box: a free choice, for cost
    most_wide_looks: int = 4  # each wider than the one before it: a free choice
    # of the box, by which points outside of it belong to its own peak: a free choice
    wide_margin: float = 0.02
    wide_reach: float = 1e3  # farthest point, in half lengths of the box: a free choice
    # Parts of the last time: no period of a drive meets them all. Derived: the ends and
    # parts of the golden section
    look_times: tuple[float, ...] = (0.0, 0.618, 0.236, 1.0)
    # cells of a fine grid in one cell, where degree 5 is exact to 1e-12: derived
    fine_cells: int = 16
    largest_exponent: float = 200.0  # derived: its exponential may be squared
    overlooked_fraction: float = 1.0  # of the tolerance: a free choice
    # finite volumes in the place of one node of a basis: a free choice
    volumes_each_node: int = 4
    # cells that finite volumes need across a narrow feature: a free choice
    cells_in_feature: float = 8.0

    # The final check in several dimensions (`axes`).
    # growth of a grid that evolve() would not solve by Spectral: a free choice
    spectral_refinement: float = 1.07
    # derived: 1.07^12 = 2.25, about twice the nodes on each axis
    most_spectral_refinements: int = 12
    # of each axis of the first grid: a free choice, odd (`fit_grid_by_measures`)
    first_whole_nodes: int = 13
    # of each axis where it is tested whether a potential couples it to others: a free
    # choice
    coupling_nodes: int = 9
    most_whole_rounds: int = 40  # of refining and widening: a free choice
    whole_refinement: float = 1.12  # of an axis in one round: a free choice
    # of the tolerance, for each measure of all axes: measured, tests/test_fit.py
    measure_fraction: float = 0.3
    # of the box, beyond log(1 / tol): derived from the next one, for 0.3 of tol
    whole_depth_margin: float = 3.5
    # error of a box, relative to pi / max pi at its ends: measured on rotated wells
    whole_box_factor: float = 10.0
    # rounds of refining and widening single axes for a wave: a free choice
    most_repairs: int = 24
    # of an axis that aliases, in one round: a free choice
    repair_refinement: float = 1.1
    # of the length, on each side of an axis whose ends are coupled: a free choice
    repair_widening: float = 0.04
    # of a repaired grid: a free choice, for the time of a run
    most_points: int = 2_000_000
    # of a grid without a wave: a free choice, for time
    most_density_points: int = 20_000
    # Estimated seconds of one run of a density without a wave (`density_grid`) up to
    # which its grid is returned, and up to which it is advised
    most_density_seconds: float = 30.0  # a free choice
    longest_advised_seconds: float = 600.0  # a free choice

    # Turned coordinates (`turn`): how many times less a product must take in them,
    # after which the values are evaluated on the given axes
    worthwhile_turn: float = 8.0  # a free choice
    # Nodes of an axis by which the largest kinetic energy is estimated where
    # coordinates are compared: a free choice
    turn_nodes: int = 64
    # Coarse nodes that must share the mass of a Gibbs density before its covariance is
    # taken from them: a free choice
    least_covariance_nodes: float = 4.0

    # Input and error messages (`validation`).
    largest_dimension: int = 6  # derived: the length of scan_nodes
    # a message advises no larger tolerance: a free choice
    largest_advised_tol: float = 1e-2
    # errors below it that no longer decrease are taken for rounding: a free choice
    rounding_error: float = 1e-7
    # decades among the last three errors that count as no decrease: a free choice
    stagnation: float = 0.5
    # order above which convergence is called algebraic: a free choice
    algebraic_order: float = 0.5
    # order from which on a function is taken for smooth: a free choice
    smooth_order: float = 10.0
    # the last errors, from which an order is found: a free choice
    errors_of_order: int = 5
    # error below which an order is believed: a free choice
    algebraic_error: float = 0.1


CONSTANTS = FitConstants()

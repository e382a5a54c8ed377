"""Constants of `fit` that decide answers.

They were set together so that the true error e of a run on a fitted grid satisfies tol / 1000 <= e <= 5 tol for every
exact system in tests/test_fit.py. "Measured" means that this test holds with the value.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class FitConstants:
    """Constants of `fit` that decide answers. Each says where its value comes from."""

    # Bounding boxes (`bounding_box`, `marginal_profile`). Depths are in units of log p.
    # Depth of reference boxes beyond log(1 / tol): measured, with half of it the levels of a double well are off by
    # 2.4e-9 and the fit at tol = 1e-8 is rejected
    reference_depth_margin: float = 14.0
    scan_nodes: tuple[int, ...] = (4097, 65, 33, 13, 9, 7)  # per axis, by dimension: a free choice, <= 1.2e5 points
    largest_half_width: float = 2.0**24  # beyond it an axis does not confine: a free choice
    outer_scan_growth: float = 2.0  # of the box, in lengths, on each side, for the second check: a free choice
    height_rounding: float = 1e-6  # rise of the maximum, per depth, that the second check ignores: a free choice
    largest_narrowings: int = 60  # bound on the passes that shrink a box: a free choice
    narrowed_fraction: float = 0.8  # narrowing stops when no axis shrinks below this fraction: a free choice
    profile_nodes: int = 97  # nodes at which a marginal profile is minimised: a free choice
    newton_iterations: int = 40  # bound on the steps of Levenberg-Marquardt: a free choice
    newton_tolerance: float = 1e-9  # step, relative to 1 + |x|: a free choice, far below any node spacing

    # Periods (`bounding_box.period`).
    period_slices: int = 3  # random lines that must agree on a period: a free choice
    period_probes: int = 24  # random points that are compared with their shifts: a free choice
    period_scales: tuple[int, int] = (-6, 13)  # powers of 2 of the shifts tried, first and one past last: a free choice
    period_shifts: int = 2048  # shifts tried at each scale: a free choice
    period_candidates: int = 8  # local minima of the mismatch that are refined, at each scale: a free choice
    period_mismatch: float = 0.1  # mismatch of a candidate, relative to the range of values: a free choice
    period_tolerance: float = 1e-9  # mismatch of a period, relative: a free choice between rounding and real change

    # The predicted mean and covariance of a transient (`gaussian_prediction`).
    prediction_steps: int = 96  # in log t, and as many in t: a free choice; linear drifts are exact for any number
    first_prediction_time: float = 1e-5  # of the last time: a free choice
    neutral_damping: float = 1e-9  # makes the stationary covariance exist without a force: a free choice

    # Boxes and slices of a problem (`domain`).
    time_samples: int = 17  # times at which a time-dependent potential is examined: a free choice
    bulk_depth: float = 3.0  # the bulk of a density lies within this depth of its peak: a free choice
    slice_separation: float = 0.05  # smallest distance of two slice points, relative to the box: a free choice
    initial_slices: int = 2  # slice points in the bulk of the initial density: a free choice
    gibbs_slices: int = 4  # slice points in the bulk of the Gibbs density: a free choice
    near_gibbs_sharpness: float = 1.25  # a slice starts from pi^1.25, narrower than pi, as late states are: free choice
    longest_time: float = 1e5  # stands for "all times" in the prediction of a transient: a free choice
    irreversible_widening: float = 0.3  # of the box, on each side of an irreversible slice: a free choice
    slices_for_box: int = 2  # slices of each axis whose boxes are fitted: a free choice, for cost

    # Bound states of a Schrodinger potential (`bound_states`, `targets`).
    bound_state_scale: float = 1.4  # ratio of successive half-widths tried: a free choice
    bound_state_scales: tuple[int, int] = (-16, 40)  # its powers, first and one past last: a free choice, 5e-3 to 5e5
    bound_state_nodes: int = 192  # nodes of a trial box: a free choice
    bound_state_levels: int = 6  # levels whose modes must decay when k is not given: a free choice, as default_levels
    stable_counts: int = 6  # trial boxes in a row with the same number of bound states: a free choice
    minimum_improvement: float = 1e-9  # relative; keeps the innermost of equal minima: a free choice above rounding
    continuum_distance: float = 1e3  # distance from the minimum at which the continuum is read: a free choice
    continuum_lengths: float = 4.0  # farthest sample beyond a box, in lengths: a free choice
    continuum_samples: int = 257  # samples of a potential for its minimum in a box: a free choice
    saturated_rise: float = 0.02  # rise from r to 4r, relative to the depth, of a level potential: a free choice
    unbound_shift: float = 0.1  # shift in a wider box, relative to the distance from the continuum: a free choice
    continuum_rounding: float = 1e-6  # levels this close to the continuum, relative, are not bound: a free choice
    default_levels: int = 6  # levels fitted when k is not given: a free choice, documented by `fit_grid`
    level_count_nodes: int = 256  # nodes for counting levels, twice as many in the wider box: a free choice
    well_profile_nodes: int = 160  # nodes on the marginal profile of a potential: a free choice

    # All times (`targets.all_times`).
    relaxation_times: tuple[float, ...] = (0.003, 0.03, 0.1, 0.3, 1.0, 3.0)  # in units of 1 / gap: a free choice
    relaxation_nodes: int = 128  # nodes of the axis on which the gap is found: a free choice
    smallest_gap: float = 1e-6  # bound on the gap, against division by zero: a free choice

    # Dense trial solves on a slice (`slice_problem`).
    wave_steps: int = 192  # Strang steps, the same for all trials, so that their error cancels: a free choice
    density_steps: int = 48  # steps of frozen exponentials, the same for all trials: a free choice

    # References, boxes and nodes (`search`). Fractions are of the tolerance.
    first_nodes: int = 48  # nodes of the first reference: a free choice
    # Ratio of the nodes of successive references: a free choice above 1
    reference_refinement: float = 1.4
    node_growth: float = 1.3  # ratio of nodes where the reference is too coarse in a longer box: a free choice
    most_nodes: int = 800  # of a reference, which is solved densely: a free choice, for cost
    fewest_nodes: int = 3  # derived: the least that an axis takes
    reference_fraction: float = 0.03  # error of a reference; changes no decision: measured, tests/test_fit.py
    repeated_reference_fraction: float = 0.15  # where two in a row are below it (rounding): measured, tests/test_fit.py
    box_fraction: float = 0.2  # error of the box alone: measured, tests/test_fit.py
    total_fraction: float = 0.5  # error of box and spacing together: measured, tests/test_fit.py
    spacing_fraction: float = 0.3  # derived: total_fraction - box_fraction, for a spacing that is searched alone
    box_depth_step: float = 1.5  # between trial boxes: a free choice
    first_box_depth: float = 0.9  # depth of the first trial box, relative to log(1 / tol): a free choice
    envelope_fraction: float = 1e-4  # of the envelope at both ends of a reference: a free choice, far below the box's
    most_widenings: int = 12  # of a reference: a free choice
    widening: float = 0.25  # of the length, at each side that has not decayed: a free choice
    small_gap: float = 1e-3  # relative to the next level; a smaller gap counts as this: a free choice
    smallest_envelope: float = 1e-300  # derived: above underflow, so that its logarithm is finite

    # The final check in several dimensions (`axes`).
    spectral_refinement: float = 1.07  # growth of a grid that evolve() would not solve by Spectral: a free choice
    most_spectral_refinements: int = 12  # derived: 1.07^12 = 2.25, about twice the nodes on each axis

    # Input and error messages (`validation`).
    largest_dimension: int = 6  # derived: the length of scan_nodes
    rounding_error: float = 1e-7  # errors below it that no longer decrease are taken for rounding: a free choice
    stagnation: float = 0.5  # decades among the last three errors that count as no decrease: a free choice
    algebraic_order: float = 0.5  # order above which convergence is called algebraic: a free choice
    algebraic_error: float = 0.1  # error below which an order is believed: a free choice


CONSTANTS = FitConstants()

"""Constants of the public solves."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class SolveConstants:
    """Constants of `solve` that decide answers. Each says where its value comes from."""

    # `fp.spectrum`
    default_fit_tol: float = 1e-8  # free choice: tolerance of a fitted grid where no tol is given, as by `fp.fit_grid`
    # Below it a level of 1e-10 relative error, or one through A, may not hold all digits of the gap.
    tiny_gap: float = 1e-6  # free choice: gap, relative to the next level, below which the partner kernel is used
    # On spectral grids errors fall by orders of magnitude; on finite volumes they fall by four, and the difference is
    # three quarters of the error.
    refinement_spectral: float = 1.5  # free choice: factor on the number of nodes that shows the error in space
    refinement_volumes: float = 2.0  # derived: the same for errors of order two, as said above
    # exp(-x^2) falls by orders of magnitude over a tenth of a box that holds it.
    widening: float = 1.1  # free choice: factor on the width of a line, which shows the error of the box
    negligible_ground: float = 1e-10  # free choice: part of max psi_0 below which psi_k / psi_0 is rounding

    # `fp.correspondence`
    compared_levels: int = 6  # free choice: levels of the generator and of H that are compared
    # 1e-11 in float64. benchmarks/convergence.py finds 5e-16 to 3e-13.
    largest_difference: float = 4.5e4  # measured: units of eps by which the two sides may differ
    wave_roundings: int = 64  # free choice: units of eps |p / sqrt(pi)| by which they may differ
    spectrum_factor: float = 100.0  # free choice: how much more the two spectra may differ

    # `Solution.on`
    box_slack: float = 1e-12  # free choice: part of a box by which another one may stick out, which is rounding

    # `fp.committor` and `fp.mean_first_passage_time`
    hitting_restarts: int = 12  # free choice: largest number of restarts of BiCGSTAB
    hitting_iterations: int = 400  # free choice: largest number of iterations between two restarts
    hitting_decrease: float = 0.5  # free choice: a restart that leaves more of the residual is the last
    hitting_inner_tol: float = 1e-6  # free choice: smallest relative residual requested of one restart
    hitting_tol: float = 1e-10  # free choice: relative residual requested of an answer
    bound_tol: float = 0.1  # free choice: the same of a passage time that only bounds the error of a committor
    largest_error: float = 1e-6  # free choice: largest bound on the error in double precision
    largest_error_single: float = 1e-2  # free choice: the same in single precision
    # 2^-24 = 6e-8 of an edge is below the error of any cut of order two.
    bisections: int = 24  # derived: halvings of an edge that find where a set ends
    smallest_fraction: float = 1e-6  # free choice: smallest part of a cut edge, so that no rate across it is infinite

    # `fp.eyring_kramers`
    # Newton's iteration is quadratic from a fraction of a cell away; a flat minimum takes more steps.
    newton_steps: int = 40  # free choice: steps of Newton's iteration
    newton_reach: float = 2.0  # free choice: cells that Newton's iteration may move a point: beyond, it found another
    newton_last_step: float = 1e-3  # free choice: largest last step of an iteration that has converged
    same_point: float = 0.5  # free choice: distance in cells below which two critical points are one
    flat_curvature: float = 1e-6  # free choice: part of the largest curvature below which a direction is flat
    descent_stride: float = 0.1  # free choice: step of a steepest descent, in cells
    descent_steps: int = 20_000  # derived: two thousand cells at this step
    arrival_strides: float = 2.0  # derived: a step may jump over a minimum, but not by more than one stride


CONSTANTS = SolveConstants()

"""Constants of the eigen-solvers."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class EigenConstants:
    """Constants of `eigen` that decide answers or costs, each with its origin."""

    # Rounding, for all solvers.
    # free choice: units of eps |H| (or eps |A|) that a residual or a quotient gathers
    # at most
    roundings: int = 8

    # Which solver is taken (`solver_choice.py`, `relaxation.py`, `ground.py`).
    # free choice: largest number of points for which the whole matrix is taken
    dense_size: int = 1024
    # free choice: with fewer points for each level the whole matrix is cheaper
    points_per_level: int = 8
    # free choice: nodes of an axis up to which its own modes are worth their n^3
    longest_dense_axis: int = 1024
    # The error of a level is the square of the residual, so that residuals of sqrt(tol)
    # are enough.
    # free choice: residuals of multigrid in units of sqrt(tol)
    multigrid_tol_factor: float = 4.0
    # free choice: largest converged residual, in units of the requested one
    accepted_residual_factor: float = 2.0
    # free choice: units of eps |H| below which no smaller residual is requested
    ground_roundings: int = 64

    # Levels from approximate modes (`levels.py`).
    # free choice: levels closer than this, relative to the larger one, count as one
    same_level: float = 1e-6
    # free choice: relative rounding error of the gap, above which A is used instead of
    # H
    gap_digits: float = 1e-8

    # LOBPCG (`lobpcg.py`).
    lobpcg_rounds: int = 500  # free choice: largest number of rounds
    # free choice: rounds without progress, after which it stops
    lobpcg_patience: int = 25
    # free choice: factor by which the residual must fall to count as progress
    lobpcg_progress: float = 0.9
    # Images that are updated round by round gather rounding, and the residuals are to
    # be those of new images. derived: the second start takes its images anew, and no
    # round where they are accurate
    lobpcg_restarts: int = 2
    # One pass leaves sqrt(eps) of nearly dependent rows, two leave eps (Stathopoulos
    # and Wu, 2002).
    orthonormal_passes: int = 2  # derived: passes of an orthonormalisation
    # free choice: a margin on the rounding of len(block) numbers of size one
    dependent_roundings: int = 64
    # One replacement repairs every start but a random vector that depends on others,
    # which has no chance. derived: attempts to complete a start whose rows depend on
    # each other
    start_attempts: int = 3
    # derived: 24 rows of so many columns are 400 kB, which the caches of a core hold
    cache_columns: int = 2048

    # Modes of finite volumes with multigrid (`fv_lobpcg.py`).
    # free choice: points for each vector on the coarsest graph, at least
    coarsest_points_per_vector: int = 8
    # free choice: every second level of the multigrid is solved on
    levels_between_solves: int = 2
    # free choice: residual on coarse levels, in units of the spread of the levels
    coarse_residual: float = 1e-2
    coarse_rounds: int = 12  # free choice: largest number of rounds on a coarse level
    # free choice: size of the random part of a start, which has no symmetry
    random_start: float = 0.01

    # Modes in a basis of smooth functions (`tensor.py`).
    # free choice: residual with half of the functions, in units of the requested one
    half_basis_residual: float = 0.25
    # free choice: random vectors that look for missed levels, in place of the last
    # guards
    probe_vectors: int = 2
    # free choice: rounds of these, enough to show a missed level
    # (tests/test_spectrum.py)
    probe_rounds: int = 12

    # The ground state alone (`ground.py`) and H^{-1} (`inverse.py`).
    descent_steps: int = 1000  # free choice: largest number of steps
    # free choice: largest number of conjugate-gradient iterations
    inverse_iterations: int = 2000
    inverse_residual: float = 1e-11  # free choice: relative residual at which they stop

    # Complex rates (`relaxation.py`, `subspace.py`).
    # free choice: modes computed beyond the wanted ones, so that a cluster of rates is
    # complete
    spare_modes: int = 8
    # free choice: cycles per node; 0.5 is the largest, so this is the upper tenth
    shortest_wavelengths: float = 0.45
    # free choice: units of eps |L| below which residuals count as converged
    relaxation_residual_roundings: int = 32
    # free choice: how far the residuals of the iteration are to be below the requested
    # error
    resolvent_margin: int = 30
    rounding_of_flow: int = 4  # free choice: roundings of |L| |r|, in units of eps
    subspace_rounds: int = 60  # free choice: largest number of rounds
    subspace_blocks: int = 4  # free choice: blocks of the basis between two restarts
    # free choice: ratio of the slow rates to the shift, beyond which s - L is factored
    # anew
    shift_ratio: float = 2.0
    # Squared lengths have a rounding of eps: what is left of a dependent row lies well
    # below this power of it. free choice: squared lengths below eps to this power are
    # dropped from a basis
    dependent_exponent: float = 0.75

    # Gaps of chains (`supersymmetric_gap.py`).
    # measured: tells modes a part in 1e4 apart from each other (tests/test_partner.py)
    lanczos_steps: int = 32
    # measured: errors of 1e-11 at most (tests/test_partner.py)
    chain_cells: tuple[int, ...] = (256, 512, 1024, 2048)
    # free choice: factor on the box of a tunnel splitting that shows its error
    wider_splitting: float = 1.1
    # free choice: units of rounding by which a symmetric potential may differ
    symmetric_roundings: int = 64
    # The error of an entry of K is that of the logarithms it is made of, and of a few
    # exponentials and products. free choice: units of eps that are added to the
    # rounding of these logarithms
    kernel_roundings: int = 8


CONSTANTS = EigenConstants()

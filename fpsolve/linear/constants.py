"""Constants of `linear` that decide answers or costs."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class LinearConstants:
    """Constants of `linear` that decide answers or costs, each with its origin."""

    # resolvent: BiCGSTAB is restarted on the true residual, because the recursive one
    # drifts away from it
    resolvent_restarts: int = 8  # the most restarts: a free choice
    # the most iterations between two restarts: a free choice
    resolvent_iterations: int = 300
    # a restart that leaves more of the residual is the last: a free choice
    resolvent_decrease: float = 0.9
    # by which an inner solve aims below what is still missing: a free choice
    inner_safety: float = 3.0
    # the loosest tolerance of one inner solve: a free choice
    loosest_inner_tol: float = 0.1
    # the tightest tolerance of one inner solve, in units of rounding: a free choice
    inner_roundings: float = 8.0
    # rounding of b - M x, in units of eps times the diagonal: a free choice
    residual_roundings: float = 4.0
    # the most sweeps that make an iterate positive: a free choice
    max_sweeps: int = 100

    # lanczos
    # applications of H in the estimate of its lowest level: a free choice
    lanczos_steps: int = 32

    # markov_expm
    # blocks of four terms: derived, (1/2)^16 / 16! is below the rounding of float64
    taylor_blocks: int = 4
    # largest q r of the series: derived together with `taylor_blocks`
    taylor_radius: float = 0.5
    # derived: float64 overflows at 2^1024, so q s never needs more
    max_squarings: int = 1100

    # shifted_tridiagonal
    # the convergence is quadratic, so few are ever taken: a free choice
    max_noda_iterations: int = 60
    # change of the level that ends the iteration, in roundings: a free choice
    noda_roundings: float = 8.0
    # in smallest normal numbers; below it entries lose digits: a free choice
    noda_smallest_entry: float = 1e3

    # caratheodory_fejer: the values of the published routine, Trethefen, Weideman and
    # Schmelzer (2006)
    cf_points: int = 1024  # points on the unit circle: derived in that paper
    cf_coefficients: int = 75  # Chebyshev coefficients of exp: derived in that paper
    cf_scale: float = 9.0  # maps the half-line to the circle: derived in that paper

    # graph and multigrid
    # nodes of the coarsest graph at most, whose matrix is inverted: a free choice
    direct_size: int = 100
    min_axis_nodes: int = 4  # an axis of fewer nodes is not merged: a free choice
    # axes are merged whose cells are so much wider than the narrowest at most: a free
    # choice
    width_margin: float = 0.5
    # of each of the two loops of `solve_graph`, which take 10 to 20: a free choice
    max_multigrid_iterations: int = 200
    # the smallest tolerance of `solve_graph`, in units of rounding: a free choice
    solve_roundings: float = 16.0
    # by which the energy norm of an error must fall below `tol`: a free choice
    energy_safety: float = 8.0
    # smallest eigenvalue inverted on the coarsest graph, in roundings: a free choice
    bottom_roundings: float = 8.0


CONSTANTS = LinearConstants()

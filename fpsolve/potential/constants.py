"""Numbers of `potential` that decide what is accepted as a parameter."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class PotentialConstants:
    """Constants of `potential` that decide answers, each with its origin."""

    # How much halves of a symmetric matrix may differ, in units of its largest entry.
    # above the rounding errors of float32: a free choice
    symmetry_tolerance: float = 1e-6

    # Tables (`sampled`, `smoothing`).
    # Part of the spacing of nodes by which the last node of a ring may miss the first,
    # as printed digits do.
    same_node: float = 0.01  # a free choice
    # Knots of a smoothing spline on one axis: a table with more nodes takes so many.
    # a free choice: the 512^3 operations of its basis take a fraction of a second
    most_knots: int = 512
    # Penalties that are tried, and the changes of the roughest and of the smoothest
    # function at both ends of their range. They span 13 decades and four for each
    # decade of nodes; 25 for 1000 nodes, so that a step is 1/8 of a decade, and the
    # degrees of freedom, which go with the fourth root, change by 7 % a step.
    penalties: int = 193  # a free choice
    weakest_filter: float = 1e-9  # a free choice, far below the noise of any table
    strongest_filter: float = 1e4  # a free choice
    # Rounds over the axes, in which the penalty of one after another is chosen.
    penalty_sweeps: int = 4  # a free choice


CONSTANTS = PotentialConstants()

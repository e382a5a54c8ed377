"""Numbers of `grid` that decide the accuracy of its nodes."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class GridConstants:
    """Constants of `grid` that decide answers. Each says where its value comes from."""

    # How much the two halves of a covariance may differ, relative to its largest entry.
    # above the rounding errors of float32: a free choice
    symmetry_tolerance: float = 1e-6

    # Entries of a density below zero that count as rounding and are set to zero: this
    # part of its peak, or so many units of rounding where that is more.
    negative_part: float = 1e-12  # a free choice
    negative_roundings: float = 16.0  # a free choice, 2e-6 in float32

    # Newton's iteration for the Gauss-Lobatto nodes in [-1, 1].
    # it ends when a step is below two units of rounding, approximately: a free choice
    newton_tolerance: float = 4e-16
    # most steps, far above the few that are needed: a free choice
    newton_steps: int = 100

    # Normal densities (`gaussian_on_grid`).
    # part of an initial density that must lie in the box along each axis: a free choice
    least_share: float = 0.01
    # At half a cell the values at the nodes have the mass to 2 exp(-2 pi^2 / 4) =
    # 1.4e-2, and the variance of averages is wrong by a third; nodes are the better
    # ones above, averages below.
    # cells, below which averages replace the values at the nodes: derived, as said
    # above
    least_deviation: float = 0.5
    # exp(-9^2 / 2) is 3e-18: beyond, an image on a ring adds nothing: derived
    tail_deviations: float = 9.0
    # on either side; a density that reaches further is uniform to rounding: a free
    # choice
    most_images: int = 50
    # Gauss points a cell and axis for a density as wide as a cell: a free choice
    default_points: int = 4
    # more of them for each deviation in a cell: a free choice
    points_per_deviation: float = 4.0
    # of Gauss's rule; more points make several panels: a free choice
    points_per_panel: int = 32
    most_points: float = 4e6  # of all cells together, 32 MB: a free choice


CONSTANTS = GridConstants()

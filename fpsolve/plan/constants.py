"""Constants of `plan` that decide answers: when a basis is used, when another plan is
tried, what is refused.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class PlanConstants:
    """Constants of `plan` that decide answers. Each says where its value comes from."""

    # The choice of a scheme (`scheme_choice`, `resolution`).
    # Largest defect at which a basis is used: with as many cells finite volumes are
    # seldom more accurate than this.
    largest_defect: float = 1e-3  # a free choice
    # Peclet number of a cell, |b| h / D, up to which a density is tried in a basis.
    largest_peclet: float = 4.0  # a free choice
    # Part of the change of a function from node to node that its derivatives may miss.
    # A wave of four nodes misses so much.
    largest_missed_change: float = 0.01  # a free choice
    # Half a Peclet number below which its hyperbolic cotangent is a series: the next
    # term is below rounding.
    small_peclet: float = 1e-2  # derived: 2 z^6 / 945 relative to z^2 / 3
    # Nodes of an axis beyond which the matrices of a basis cost more than finer finite
    # volumes.
    largest_spectral_axis: int = 512  # a free choice
    # Points up to which a density in a basis is evolved by its matrix, and on a line
    # tried in one whatever its Peclet number. Powers of a matrix far from normal, which
    # a Poisson sum would need, grow before they fall.
    # a free choice: 640^3 operations are a fraction of a second
    largest_matrix: int = 640
    # Units of rounding, relative to the size of a wave, by which a density computed
    # from it is wrong.
    wave_rounding_units: float = 8.0  # a free choice
    # Rounding of a clipped wave, relative to the tolerance.
    clipped_wave_rounding: float = 0.05  # a free choice

    # Fallbacks and work (`plan`, `request`).
    # Largest factor on the bounds of a spectrum that proved too narrow; doubling stops
    # there.
    largest_stretch: float = 16.0  # a free choice
    # The same on cells, where a wave beyond the range of numbers looks like bounds that
    # are too narrow.
    largest_stretch_on_cells: float = 4.0  # a free choice
    # Rounding of the levels of H over the time of a run, relative to the tolerance,
    # above which small levels are taken from its factor.
    level_rounding: float = 0.1  # a free choice
    # Estimated seconds up to which another method replaces one that missed its
    # tolerance on a fitted grid.
    longest_fallback_seconds: float = 60.0  # a free choice
    # Breakpoints closer than this part of the last time are one.
    breakpoint_separation: float = 1e-9  # a free choice
    # Seconds that a run in the full basis must be expected to take before a smaller
    # basis is made for it. measured: what the program of the smaller basis takes to
    # compile
    worthwhile_seconds: float = 0.5
    # Fields that a run holds beside those that it returns, at most; for the check of
    # memory.
    run_fields: int = 12  # a free choice

    # Slow modes (`spectrum_plan`).
    # Levels computed beyond those requested, at least: the last levels of a block
    # iteration converge slowly, and a cluster of levels that they complete is counted.
    guard_levels: int = 6  # a free choice
    # Relative errors of levels where no tol is given, in double and in single
    # precision.
    default_level_tol: float = 1e-10  # a free choice
    default_level_tol_single: float = 1e-4  # a free choice
    # Fields that an eigenvalue solver holds, for each level and besides; for the check
    # of memory.
    # derived: eight blocks of 3k / 2 fields (`eigen.lobpcg`)
    fields_per_level: int = 12
    solver_fields: int = 64  # a free choice

    # Errors that one run shows (`single_look`).
    # Errors of second order are h^2 / 12 to h^2 / 8 times a second derivative; errors
    # of rates add up in time.
    roughness_factor: float = 0.25  # a free choice: twice the larger one

    # The second look (`companion`).
    # exp(-a/h) at 15 % longer cells is the error to the power 0.87: one eighth of the
    # digits are lost. With less the two answers agree too well where errors fall
    # slowly, with more the difference overstates the error.
    companion_widening: float = 1.15  # a free choice, above 1: as said
    # As a part of a cell below one half, so that the nodes of a ring stay within it.
    # Waves that a grid aliases differ by a phase of 2 pi times this, 149 degrees, so
    # that two aliasing errors do not agree.
    # a free choice: sqrt(2) - 1, irrational and close to one half
    companion_shift: float = 0.41421356237309515
    # derived: sqrt(2), whose square halves the cells (`companion`)
    companion_coarsening: float = 1.4142135623730951
    # a free choice, above `companion_widening`: by which a fitted grid is made finer
    finer_cells: float = 1.25
    # a free choice: axes with fewer nodes are compared with finer ones
    companion_least_nodes: int = 8

    # Input (`validation`).
    # The default tolerance in single precision; in double precision each function has
    # its own. Rounding of the levels of H, which a result counts as error, is 1e-5 to
    # 1e-4 in most of the problems `single` of `effectivity.py`.
    default_tol_single: float = 1e-4  # a free choice, 840 units of rounding of float32
    # Units of rounding below which no tolerance is accepted.
    least_tol_units: float = 32.0  # a free choice
    # Jump of a function at the ends of a periodic axis, relative to its range on the
    # grid, that is taken for rounding.
    periodic_jump: float = 1e-6  # a free choice
    # The same in units of rounding of its largest value, which a constant in U may make
    # larger than its range.
    periodic_roundings: float = 64.0  # a free choice
    # Gauss points beyond the number n of nodes, for the integrals of n sines.
    # derived: sin(pi n x) on [0, 1] takes pi n / 4 points and a few more to rounding
    extra_gauss_points: int = 8


CONSTANTS = PlanConstants()

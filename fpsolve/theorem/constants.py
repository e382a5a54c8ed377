"""Constants of `theorem` that decide answers. The tolerance of a claim stands in the
claim itself.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class TheoremConstants:
    """Constants of `theorem` that decide answers, each with the origin of its value."""

    # allowed difference of an observed order from the claimed one: a free choice
    order_allowance: float = 0.1
    # grids that an order is fitted to, at least: a free choice
    order_sizes_min: int = 4
    quick_values: int = 3  # of a sweep that a quick measurement takes: a free choice
    # factor of the number of nodes with `refine`: a free choice
    refinement: float = 1.5
    # factor of D in the controls of T5: a free choice, far above every tolerance there
    wrong_diffusion: float = 1.02
    # factor by which the control of T8 lessens an error: a free choice
    wrong_error: float = 1.05
    # factor of the log-Sobolev constant in the control of T16: a free choice
    wrong_rho: float = 1.1
    # factor of the velocity in the controls of T20, N8: a free choice
    wrong_velocity: float = 1.1
    wrong_gap: float = 1.1  # divisor of the gap in the control of T19: a free choice
    # below it z / sinh z = 1 - z^2/6 and z / (1 - exp(-z)) are 1 to rounding: derived
    small_exponent: float = 1e-6
    # tolerance of the time integrator in T13: a free choice
    integrator_tol: float = 1e-9
    # size of a sampling program, at least the quick grids in one dimension: derived
    sampling_points_min: int = 128


CONSTANTS = TheoremConstants()

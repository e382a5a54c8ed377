"""Numbers of `path` that decide what is accepted as a path."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class PathConstants:
    """Constants of `path` that decide answers. Each says where its value comes from."""

    # Most coordinates with which `concatenate` tries to call potentials.
    max_dimension: int = 16  # far above the dimension of any grid: a free choice

    # `reparametrise` checks at so many values of lambda that f rises.
    rise_samples: int = 257  # a free choice

    # How far f may fall, or miss 0 and 1 at its ends.
    # in float64, derived: the square root of the rounding error 2^-52
    rise_tolerance: float = 2.0**-26
    rise_tolerance_float32: float = 1e-5  # in float32, a free choice

    # Ends of paths are compared at points of size one, and of all sizes up to so many
    # powers of ten away from it.
    # a free choice: from picometres in metres to metres in picometres
    scale_decades: int = 12

    # Two ends of paths meet if their difference varies by less than eps^0.4 of them.
    # 5e-7 in float64, 2e-3 in float32, above rounding errors: a free choice
    meeting_exponent: float = 0.4


CONSTANTS = PathConstants()

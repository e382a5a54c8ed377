"""Numbers of `potential` that decide what is accepted as a parameter."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class PotentialConstants:
    """Constants of `potential` that decide answers. Each says where its value comes from."""

    # How much the two halves of a symmetric matrix may differ, relative to its largest entry.
    symmetry_tolerance: float = 1e-6  # above the rounding errors of float32: a free choice


CONSTANTS = PotentialConstants()

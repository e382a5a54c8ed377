"""Numbers of `equation` that decide whether a process has a Gibbs density."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class EquationConstants:
    """Constants of `equation` that decide answers, each with its origin."""

    # How much a potential that is a sum over axes may seem to couple them, relative to
    # its range on the grid, and in units of rounding of its largest value.
    # above the rounding errors of float64: a free choice
    coupling_tolerance: float = 1e-9
    # a free choice, for a formula of so many operations and d + 2 values of it
    coupling_roundings: float = 64.0


CONSTANTS = EquationConstants()

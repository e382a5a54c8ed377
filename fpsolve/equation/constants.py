"""Numbers of `equation` that decide whether a process has a Gibbs density."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class EquationConstants:
    """Constants of `equation` that decide answers. Each says where its value comes from."""

    # How much a potential that is a sum over axes may seem to couple them, relative to its range on the grid.
    coupling_tolerance: float = 1e-9  # above the rounding errors of float64: a free choice


CONSTANTS = EquationConstants()

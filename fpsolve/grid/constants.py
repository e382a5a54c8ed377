"""Numbers of `grid` that decide the accuracy of its nodes."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class GridConstants:
    """Constants of `grid` that decide answers. Each says where its value comes from."""

    # Newton's iteration for the Gauss-Lobatto nodes in [-1, 1].
    newton_tolerance: float = 4e-16  # it ends when a step is below two units of rounding, approximately: a free choice
    newton_steps: int = 100  # most steps, far above the few that are needed: a free choice


CONSTANTS = GridConstants()

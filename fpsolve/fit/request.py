"""The request that a fit answers."""

import dataclasses
from typing import Any

import numpy as np

from ..equation import WithPotential


@dataclasses.dataclass(frozen=True)
class FitRequest:
    """A validated request: either states or levels of one equation, to a relative error `tol`.

    - states, if `initial` is given: the state at `times` `(T,)`, or at all times if `times` is None; `wick` is the
      angle by which time is rotated
    - levels, if `initial` is None: the `k` lowest levels at the time `t`, or a default number if `k` is None
    """

    equation: WithPotential
    initial: Any
    tol: float
    times: np.ndarray | None
    k: int | None
    wick: float
    t: float

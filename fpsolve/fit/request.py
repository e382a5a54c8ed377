"""The request that a fit answers."""

import dataclasses
from typing import Any

import numpy as np

from ..equation import WithPotential


@dataclasses.dataclass(frozen=True)
class FitRequest:
    """A validated request: either states or levels of one equation, to a relative error
    `tol`.

    - states, if `initial` is given: the state at `times` `(T,)`, or at all times if
      `times` is None; `wick` is the angle by which time is rotated
    - `features` `(m, d)`: places at which the functions have narrow features, looked at
      densely
    - levels, if `initial` is None: the `k` lowest levels at the time `t`, or a default
      number if `k` is None
    """

    equation: WithPotential
    initial: Any
    tol: float
    times: np.ndarray | None
    k: int | None
    wick: float
    t: float
    features: np.ndarray | None = None

    def places(self, ndim: int) -> np.ndarray:
        """The places of features that a user named, `(m, d)`."""
        return np.zeros((0, ndim)) if self.features is None else self.features

"""What the run of a plan returned."""

import dataclasses

import numpy as np
from jaxtyping import Array


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run returned: values `(T, *shape)`, errors `(T,)`, numbers for `stats`,
    and the result code.
    """

    values: Array
    error: Array
    numbers: dict[str, Array]
    code: Array

    @property
    def worst(self) -> float:
        """The largest error; infinity where it is not a number."""
        largest = np.max(np.asarray(self.error))
        # A comparison with NaN would be false, and the outcome accepted.
        return float(np.nan_to_num(largest, nan=np.inf))

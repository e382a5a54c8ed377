"""Types of the arguments that users give to public functions.

For a static type checker these names say what is allowed. At run time they are `Any`: the tests can run with a run-time
type checker, and it must not raise its own error before the public function raises one with a helpful message.
"""

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from jaxtyping import Array

if TYPE_CHECKING:
    Real: TypeAlias = float | int
    Count: TypeAlias = int
    Point: TypeAlias = Array | np.ndarray
else:
    Real = Count = Point = Any

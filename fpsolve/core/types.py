"""Names for what the doors take from a user.

The doors refuse what does not fit in words of their own, so at run time these names admit anything: a type checker that
watches the tests must not answer before the door does.
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

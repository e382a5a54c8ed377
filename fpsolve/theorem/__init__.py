"""Theorems of the library as measurable claims. Each has a control, a false variant for
which the claim must fail.
"""

from .base import Case as Case
from .base import Theorem as Theorem
from .base import claim as claim
from .certificate import Certificate as Certificate
from .certificate import to_json as to_json
from .certificate import verify as verify
from .registry import theorems as theorems

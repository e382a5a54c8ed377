"""Types of the arguments of `score`: precise for a static type checker, `Any` at run
time (see `core.types`).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from jaxtyping import Array

if TYPE_CHECKING:

    class HasScore(Protocol):
        """What has a method `score`, a function of x, or of x and t."""

        @property
        def score(self) -> Callable[..., Array]:
            """s, `(d,)`."""
            ...

    # a score, a potential or a network: `fields.as_score`
    ScoreModel: TypeAlias = Callable[..., Any] | HasScore
else:
    ScoreModel = Any

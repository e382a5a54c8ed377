"""One sentence form for a broken promise."""

from collections.abc import Callable
from typing import TypeVar

import jax.numpy as jnp

Answer = TypeVar("Answer")


def demand(holds: object, sentence: str) -> None:
    """Raise `AssertionError` with `sentence` unless `holds`. A comparison with NaN does not."""
    if not bool(holds):
        raise AssertionError(sentence)


def unless_refused(question: Callable[[], Answer]) -> Answer | None:
    """The answer, or None where it is refused with a `ValueError`: a class need not take every problem."""
    try:
        return question()
    except ValueError:
        return None


def rounding() -> float:
    """The unit of rounding in the default precision."""
    return float(jnp.finfo(jnp.zeros(()).dtype).eps)

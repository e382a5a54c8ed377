"""Common parts of the conformance checks: how a check fails, how a problem is left out,
and the unit of rounding.
"""

from collections.abc import Callable
from typing import TypeVar

import jax.numpy as jnp

Answer = TypeVar("Answer")


def require(holds: object, sentence: str) -> None:
    """Raise `AssertionError` with `sentence` unless `holds`. A comparison with NaN is
    false, and so raises.
    """
    if not bool(holds):
        raise AssertionError(sentence)


def unless_rejected(compute: Callable[[], Answer]) -> Answer | None:
    """The answer, or None if the call raises `ValueError`: a class need not support
    every problem.
    """
    try:
        return compute()
    except ValueError:
        return None


def rounding() -> float:
    """The unit of rounding in the default precision."""
    return float(jnp.finfo(jnp.zeros(()).dtype).eps)

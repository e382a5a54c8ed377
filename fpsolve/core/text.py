"""Numbers in the words of results and messages."""

import numpy as np

from .checks import is_concrete
from .types import AnyArray

SHOWN = 8  # numbers that are shown of many: a free choice


def listed(values: AnyArray, form: str = ".6g") -> str:
    """The values in words, the first few of many; "traced" inside a transformation of
    JAX.
    """
    if not is_concrete(values):
        return "traced"
    flat = np.asarray(values).ravel()
    shown = ", ".join(format(value, form) for value in flat[:SHOWN])
    return f"{shown} and {len(flat) - SHOWN} more" if len(flat) > SHOWN else shown


def largest(values: AnyArray) -> str:
    """The largest value, such as an error; NaN if one is, "traced" inside a
    transformation of JAX.
    """
    return (
        f"{float(np.max(np.asarray(values))):.1e}" if is_concrete(values) else "traced"
    )

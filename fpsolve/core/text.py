"""Numbers in the words of results and messages."""

import numpy as np

from .checks import is_concrete
from .types import AnyArray

SHOWN = 8  # numbers that are shown of many: a free choice


def listed(values: AnyArray, form: str = ".6g") -> str:
    """The values in words, the first few of many; "traced" for tracers."""
    if not is_concrete(values):
        return "traced"
    flat = np.asarray(values).ravel()
    shown = ", ".join(format(value, form) for value in flat[:SHOWN])
    if len(flat) <= SHOWN:
        return shown
    return f"{shown} and {len(flat) - SHOWN} more"


def largest(values: AnyArray) -> str:
    """The largest value, such as an error; NaN if one is, "traced" for a tracer."""
    if not is_concrete(values):
        return "traced"
    value = float(np.max(np.asarray(values)))
    return f"{value:.1e}"

"""A memory of the last questions: what is asked again is not examined again.

A door keeps what it made of a question, its program and the arrays that this takes, under a fingerprint of all
arguments. The same question then costs one dispatch; every number of the answer is computed anew.
"""

from collections import OrderedDict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .core.checks import is_concrete

REMEMBERED = 64  # questions
SMALL = 4096  # numbers in an argument that is compared by value; a question with a larger array is not remembered


class LastQuestions:
    """What was made of the last questions; the one not asked for longest is dropped first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, Any] = OrderedDict()

    def recall(self, question: Any) -> Any:
        """What was kept for a question, or None."""
        if question is None or question not in self._kept:
            return None
        self._kept.move_to_end(question)
        return self._kept[question]

    def keep(self, question: Any, made: Any) -> None:
        """Keep what was made of a question, unless it cannot be told from others."""
        if question is None:
            return
        self._kept[question] = made
        if len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)


def fingerprint(*arguments: Any) -> Any:
    """A key that two calls share only if they ask the same; None where that cannot be told cheaply.

    Functions are the same if they are one object, arrays if their numbers are.
    """
    leaves, structure = jax.tree.flatten(arguments)
    keys = []
    for leaf in leaves:
        if not is_concrete(leaf):
            return None
        if isinstance(leaf, jax.Array | np.ndarray):
            if leaf.size > SMALL:
                return None
            array = np.asarray(leaf)
            keys.append((array.dtype.str, array.shape, array.tobytes(), getattr(leaf, "sharding", None)))
        else:
            keys.append((type(leaf), leaf))
    settings = (jnp.result_type(float), jax.config.values.get("jax_default_device"))
    key = (structure, tuple(keys), settings)
    try:
        hash(key)
    except TypeError:
        return None
    return key

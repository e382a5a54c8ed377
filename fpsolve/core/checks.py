"""Refusals at the door: one sentence form for every bad argument.

A refusal names the argument, shows its value, says what is allowed and what to do, and is raised before anything is
computed. Checks look only at concrete values: under `jit`, `vmap` or `grad` a traced value passes and the run reports.
"""

import math
import numbers
from collections.abc import Mapping
from typing import Any, NoReturn

import jax
import jax.core
import jax.numpy as jnp
import numpy as np


def raise_value_error(name: str, value: Any, allowed: str, cure: str) -> NoReturn:
    """Raise the `ValueError` that every door raises: name, value, what is allowed, what to do."""
    raise ValueError(f"{name} = {_short(value)}: {allowed}. {cure}")


def is_concrete(*trees: Any) -> bool:
    """Whether no leaf of `trees` is a JAX tracer, so that its value may be looked at."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(trees))


def check_finite_number(name: str, value: Any, cure: str = "Give a finite real number.") -> float:
    """A finite real number as a Python float, or a refusal."""
    array = check_numbers(name, value, "it must be a real number", cure)
    if array.ndim != 0:
        raise_value_error(name, value, "it must be a real number", cure)
    number = float(array)
    if not math.isfinite(number):
        raise_value_error(name, value, "it must be finite", cure)
    return number


def check_numbers(name: str, value: Any, allowed: str, cure: str, waves: bool = False) -> np.ndarray:
    """`value` as a numpy array, refused unless it holds real numbers; complex ones pass where `waves` may."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        raise_value_error(name, value, allowed, cure)
    kinds = (jnp.integer, jnp.floating, *([jnp.complexfloating] if waves else []))
    if not any(jnp.issubdtype(array.dtype, kind) for kind in kinds):
        raise_value_error(name, value, allowed, cure)
    return array


def check_positive(name: str, value: Any, cure: str) -> None:
    """Refuse a number or an array with an entry that is not positive and finite. Traced values pass."""
    if not is_concrete(value):
        return
    array = check_numbers(name, value, "it must be a positive real number or an array of them", cure)
    if not (array.size and np.all(np.isfinite(array)) and np.all(array > 0)):
        raise_value_error(name, value, "every entry must be positive and finite", cure)


def check_integer(name: str, value: Any, least: int, cure: str) -> int:
    """An integer of at least `least`, or a refusal. Booleans and floats are refused."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or int(value) < least:
        raise_value_error(name, value, f"it must be an integer of at least {least}", cure)
    return int(value)


def check_choice(name: str, value: Any, choices: Mapping[str, Any] | tuple[str, ...]) -> None:
    """Refuse a word that is not among `choices`, naming the nearest right one."""
    if value not in choices:
        raise_value_error(
            name, value, f"it must be one of {', '.join(choices)}", f"Did you mean {nearest(str(value), choices)!r}?"
        )


def nearest(word: str, choices: Mapping[str, Any] | tuple[str, ...]) -> str:
    """The entry of `choices` that looks most like `word`."""
    import difflib

    return max(choices, key=lambda choice: difflib.SequenceMatcher(None, word.lower(), choice.lower()).ratio())


def _short(value: Any, most: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= most else text[: most - 3] + "..."

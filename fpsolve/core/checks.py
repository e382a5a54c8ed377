"""Validation of arguments: checks of all public functions, with one form of messages.

A message names the argument, shows its value, and says what is allowed and what to do;
it is raised before anything is computed. Checks examine concrete values only: under
`jit`, `vmap` or `grad` a traced value passes, and a problem with it is reported at run
time by a result code (`core.result`).
"""

import math
import numbers
import re
from collections.abc import Mapping
from typing import NoReturn

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

# characters of a value in a message: with its name it is about one line
_MAX_SHOWN = 79
# entries of an array that are shown: more do not help to find the mistake
_MAX_ENTRIES = 8


def raise_value_error(name: str, value: object, allowed: str, cure: str) -> NoReturn:
    """Raise a `ValueError` with name, value, what is allowed, what to do."""
    raise ValueError(refusal(name, value, allowed, cure))


def refusal(name: str, value: object, allowed: str, cure: str) -> str:
    """The message of a `ValueError`: name, value, what is allowed, what to do."""
    return f"{name} = {_short(value)}: {allowed}. {cure}"


def is_concrete(*trees: PyTree) -> bool:
    """Whether no leaf of `trees` is a JAX tracer, so that its values are known."""
    leaves = jax.tree.leaves(trees)
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)


def check_finite_number(
    name: str, value: object, cure: str = "Give a finite real number."
) -> float:
    """`value` as a float. **Raises** `ValueError` unless it is a finite real number."""
    array = check_numbers(name, value, "it must be a real number", cure)
    if array.ndim != 0:
        raise_value_error(name, value, "it must be a real number", cure)
    number = float(array)
    if not math.isfinite(number):
        raise_value_error(name, value, "it must be finite", cure)
    return number


def check_numbers(
    name: str, value: object, allowed: str, cure: str, waves: bool = False
) -> np.ndarray:
    """`value` as a numpy array. **Raises** `ValueError` unless it holds real numbers;
    `waves` allows complex ones.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # a ragged list, for example
        raise_value_error(name, value, allowed, cure)
    # `jnp.floating` includes bfloat16 and other types that numpy does not count as
    # floating.
    kinds = [jnp.integer, jnp.floating]
    if waves:
        kinds.append(jnp.complexfloating)
    if not any(jnp.issubdtype(array.dtype, kind) for kind in kinds):
        raise_value_error(name, value, allowed, cure)
    return array


def check_positive(name: str, value: object, cure: str) -> None:
    """Raise `ValueError` for a number or an array with an entry that is not positive
    and finite.

    Traced values pass.
    """
    if not is_concrete(value):
        return
    array = check_numbers(
        name, value, "it must be a positive real number or an array of them", cure
    )
    if not (array.size and np.all(np.isfinite(array)) and np.all(array > 0)):
        raise_value_error(name, value, "every entry must be positive and finite", cure)


def check_not_negative(name: str, value: object, cure: str) -> None:
    """Raise `ValueError` for a number or an array with an entry that is negative or not
    finite.

    Traced values pass.
    """
    if not is_concrete(value):
        return
    array = check_numbers(
        name,
        value,
        "it must be a real number of at least zero, or an array of them",
        cure,
    )
    if not (array.size and np.all(np.isfinite(array)) and np.all(array >= 0)):
        raise_value_error(
            name, value, "every entry must be positive or zero, and finite", cure
        )


def check_integer(name: str, value: object, least: int, cure: str) -> int:
    """`value` as an `int`. **Raises** `ValueError` unless it is one, at least `least`.

    Booleans and floats are not accepted, although Python counts a boolean as an
    integer.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, numbers.Integral)
        or int(value) < least
    ):
        raise_value_error(
            name, value, f"it must be an integer of at least {least}", cure
        )
    return int(value)


def check_choice(
    name: str, value: object, choices: Mapping[str, object] | tuple[str, ...]
) -> None:
    """Raise `ValueError` for a word that is not among `choices`, with the most similar
    choice as a suggestion.
    """
    if value not in choices:
        raise_value_error(
            name,
            value,
            f"it must be one of {', '.join(choices)}",
            f"Did you mean {nearest(str(value), choices)!r}?",
        )


def nearest(word: str, choices: Mapping[str, object] | tuple[str, ...]) -> str:
    """The entry of `choices` that is most similar to `word`."""
    import difflib  # only here, so that `import fpsolve` stays quick

    def similarity(choice: str) -> float:
        return difflib.SequenceMatcher(None, word.lower(), choice.lower()).ratio()

    return max(choices, key=similarity)


def _short(value: object) -> str:
    """`value` in one line."""
    if isinstance(value, np.ndarray | jax.Array) and (
        value.size > _MAX_ENTRIES or not is_concrete(value)
    ):
        text = f"{value.dtype} array of shape {value.shape}"
    else:
        # Without addresses in memory, which mean nothing to a reader.
        text = re.sub(r" at 0x[0-9a-f]+", "", " ".join(repr(value).split()))
    if len(text) <= _MAX_SHOWN:
        return text
    return text[: _MAX_SHOWN - 3] + "..."

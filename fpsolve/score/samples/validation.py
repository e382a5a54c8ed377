"""Validation of samples `(n, d)`, of keys and of scores."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...core.checks import check_numbers, raise_value_error
from ...core.program import compiled
from ...core.types import AnyArray, Key, Numbers, Scalar


def check_samples(samples: Numbers, name: str = "samples") -> np.ndarray:
    """Samples as a numpy array `(n, d)`. **Raises** `ValueError`, with the place,
    unless they are finite and n is at least 16 and 2 d + 2.
    """
    cure = "Give one row a sample and one column a coordinate, shape (n, d)."
    allowed = "it must hold real numbers, shape (n, d)"
    array = check_numbers(name, samples, allowed, cure)
    if array.ndim != 2 or array.shape[1] == 0:
        allowed = "it must be (n, d), d at least 1"
        raise_value_error(f"{name}.shape", array.shape, allowed, cure)
    count, dim = array.shape
    # a covariance of rank d, with as many samples again: a free choice
    least = max(16, 2 * dim + 2)
    if count < least:
        allowed = (
            f"{count} are too few for {dim} dimension{'s' * (dim > 1)}, it takes "
            f"{least} at least"
        )
        cure = "Give more samples, or fewer coordinates."
        raise_value_error(f"{name}.shape", array.shape, allowed, cure)
    bad = np.argwhere(~np.isfinite(array))
    if bad.size:
        row, column = (int(k) for k in bad[0])
        allowed = (
            f"{len(np.unique(bad[:, 0]))} of {count} rows are not finite, row {row} "
            f"column {column} the first"
        )
        place = f"{name}[{row}, {column}]"
        value = float(array[row, column])
        raise_value_error(place, value, allowed, "Leave these rows out.")
    return array


def check_key(key: Key) -> None:
    """Raise `ValueError` for anything but a key of `jax.random`."""
    # Old-style keys are arrays of integers; JAX itself knows best which it takes.
    try:
        jax.eval_shape(lambda key: jax.random.normal(key, ()), key)
    except (TypeError, ValueError):
        cure = "Give jax.random.key(0), say."
        raise_value_error("key", key, "it must be a key of jax.random", cure)


def check_output(
    name: str, score: Callable[..., object], points: AnyArray, lam: Scalar | None = None
) -> None:
    """Raise `ValueError` for a score that is not `(d,)` at points `(n, d)`, or not
    finite at one of them, with the place.
    """
    points = jnp.asarray(points)
    times = () if lam is None else (jnp.asarray(lam, points.dtype),)
    # The shape first, without an evaluation: its message says what is wrong.
    shape = jax.eval_shape(score, points[0], *times).shape
    if shape != points.shape[1:]:
        cure = (
            "Return one value a coordinate; an energy belongs in an fp.Potential or "
            "EnergyNetwork."
        )
        allowed = f"a score must be of the shape of x, {points.shape[1:]}"
        raise_value_error(f"{name}.shape", shape, allowed, cure)
    values = np.asarray(_values(score, points, times))
    bad = np.flatnonzero(~np.all(np.isfinite(values), axis=1))
    if bad.size:
        where = np.array2string(np.asarray(points[bad[0]]), precision=4, threshold=8)
        allowed = (
            f"it must be finite, and is not at {bad.size} of {len(points)} points, x = "
            f"{where} the first"
        )
        raise_value_error(name, values[bad[0]], allowed, "Evaluate the score there.")


@compiled
def _values(
    score: Callable[..., Any], points: Array, times: tuple[Array, ...]
) -> Array:
    """The score at points `(n, d)`, `(n, d)`."""
    return jax.vmap(lambda x: score(x, *times))(points)

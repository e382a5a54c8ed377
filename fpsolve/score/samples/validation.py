"""Validation of samples, keys and scores: samples are `(n, d)`, finite, and enough for
their dimension.
"""

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
    array = check_numbers(
        name, samples, "it must hold real numbers, shape (n, d)", cure
    )
    if array.ndim != 2 or array.shape[1] == 0:
        raise_value_error(
            f"{name}.shape", array.shape, "it must be (n, d), d at least 1", cure
        )
    count, dim = array.shape
    # a covariance of rank d, with as many samples again: a free choice
    least = max(16, 2 * dim + 2)
    if count < least:
        allowed = (
            f"{count} are too few for {dim} dimension{'s' * (dim > 1)}, it takes "
            f"{least} at least"
        )
        raise_value_error(
            f"{name}.shape",
            array.shape,
            allowed,
            "Give more samples, or fewer coordinates.",
        )
    bad = np.argwhere(~np.isfinite(array))
    if bad.size:
        row, column = (int(k) for k in bad[0])
        allowed = (
            f"{len(np.unique(bad[:, 0]))} of {count} rows are not finite, row {row} "
            f"column {column} the first"
        )
        raise_value_error(
            f"{name}[{row}, {column}]",
            float(array[row, column]),
            allowed,
            "Leave these rows out.",
        )
    return array


def check_key(key: Key) -> None:
    """Raise `ValueError` for anything but a key of `jax.random`."""
    # Old-style keys are arrays of integers; JAX itself knows best which it takes.
    try:
        jax.eval_shape(lambda key: jax.random.normal(key, ()), key)
    except (TypeError, ValueError):
        raise_value_error(
            "key", key, "it must be a key of jax.random", "Give jax.random.key(0), say."
        )


def check_output(
    name: str, score: Callable[..., object], points: AnyArray, lam: Scalar | None = None
) -> None:
    """Raise `ValueError` for a score that is not `(d,)` at points `(n, d)`, or not
    finite at one of them, with the place.
    """
    points = jnp.asarray(points)
    arguments = (
        (points[0],) if lam is None else (points[0], jnp.asarray(lam, points.dtype))
    )
    shape = jax.eval_shape(score, *arguments).shape
    if shape != points.shape[1:]:
        cure = (
            "Return one value a coordinate; an energy belongs in an fp.Potential or "
            "EnergyNetwork."
        )
        raise_value_error(
            f"{name}.shape",
            shape,
            f"a score must be of the shape of x, {points.shape[1:]}",
            cure,
        )
    values = np.asarray(_values(score, points, arguments[1:]))
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

"""What every training checks: its options before it runs, and its losses then."""

from typing import Any

import jax
import numpy as np
import optax

from ...core.checks import check_finite_number, check_integer, raise_value_error
from ...core.result import NumericalFailure
from ...core.types import Count, Key, Real
from ..samples.validation import check_key
from .training import trainable


def check_options(
    optimiser: Any, steps: Count, key: Key, batch: Count, ema: Real | None
) -> tuple[int, int]:
    """The numbers of steps and of samples of a step, or a `ValueError` that names the
    option that cannot be right.
    """
    steps = check_integer("steps", steps, 1, "Give the number of steps.")
    batch = check_integer("batch", batch, 1, "Give the number of samples of a step.")
    check_key(key)
    if not isinstance(optimiser, optax.GradientTransformation):
        cure = "Give optax.adam(1e-3), say."
        raise_value_error("optimiser", optimiser, "it must be an optax optimiser", cure)
    if ema is not None and not 0 <= check_finite_number("ema", ema) < 1:
        cure = "Give 0.999, or None for no average."
        raise_value_error("ema", ema, "it must lie in [0, 1)", cure)
    return steps, batch


def check_trainable(model: Any) -> tuple[Any, Any]:
    """The parameters of a model and the rest. **Raises** `ValueError` for none."""
    parameters, rest = trainable(model)
    if not jax.tree.leaves(parameters):
        cure = "Give an Equinox module, or jax.tree_util.Partial(f, parameters)."
        raise_value_error("model", model, "it has no array of floats to train", cure)
    return parameters, rest


def check_losses(values: np.ndarray, done: int, remedy: str) -> None:
    """Raise `NumericalFailure` where a loss is not finite; `done` steps were made
    before these `values`.
    """
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        # Of the first of these values the one before is not known here.
        last = f"; {values[bad[0] - 1]:.4g} the step before" if bad[0] else ""
        raise NumericalFailure(
            f"not_finite: the loss is not finite at step {done + int(bad[0])}{last}. "
            f"{remedy}"
        )

"""The score that a model stands for, whatever kind of model it is:

    s(x) or s(x, t):   model.score,   -∇U of a potential (D = 1),   or the model itself

x and s are `(d,)`, t is a number: for a model along a noising path its place λ.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.checks import raise_value_error
from ..core.types import Point, Scalar
from ..potential import Potential, takes_time
from ..potential.signature import stated_time_dependence
from .types import ScoreModel


class StaticScore(eqx.Module):
    """The score x -> s(x) of a model, whose parameters are its leaves."""

    model: ScoreModel
    time_dependent: ClassVar[bool] = False

    def __call__(self, x: Point) -> Array:
        """s(x), `(d,)`."""
        return _evaluate(self.model, jnp.asarray(x))


class TimeDependentScore(eqx.Module):
    """The score (x, t) -> s(x, t) of a model, whose parameters are its leaves."""

    model: ScoreModel
    time_dependent: ClassVar[bool] = True

    def __call__(self, x: Point, t: Scalar) -> Array:
        """s(x, t), `(d,)`."""
        return _evaluate(self.model, jnp.asarray(x), t)


def as_score(model: Any) -> StaticScore | TimeDependentScore:
    """The score of a model as a function of x, or of x and t if the model depends on
    time.

    **Arguments**: `model`, with a method `score`, or an `fp.Potential` U whose score is
    -∇U, or a function x or x, t to the score `(d,)`. Whether it depends on time is what
    its `time_dependent` says, else its signature. **Returns** a function that takes x
    `(d,)`, and t where the model depends on time; a score of `as_score` is returned as
    it is. **Raises** `ValueError` for what cannot be called. **Cost**: one call of the
    model, or one gradient.

    ```python
    import jax.numpy as jnp
    import fpsolve as fp
    from fpsolve.score.fields import as_score

    as_score(fp.Harmonic(2.0))(jnp.ones(3))  # -2, -2, -2
    ```
    """
    if isinstance(model, StaticScore | TimeDependentScore):
        return model
    own = getattr(model, "score", None)
    if not callable(own) and not callable(model):
        allowed = "it must be a function of x, or of x and t"
        raise_value_error("score", model, allowed, "Give lambda x: ..., or a network.")
    # The signature does not tell for a network: its t has a default and is used only if
    # the network is timed.
    time_dependent = stated_time_dependence(model)
    if time_dependent is None:
        time_dependent = takes_time(own if callable(own) else model)
    return TimeDependentScore(model) if time_dependent else StaticScore(model)


def _evaluate(model: Any, *arguments: Scalar) -> Array:
    """The score of a model at x, or at x and t."""
    # A potential may have a score of its own, which then goes before its gradient.
    own = getattr(model, "score", None)
    if callable(own):
        return jnp.asarray(own(*arguments))
    if isinstance(model, Potential):
        return -jax.grad(model)(*arguments)
    return jnp.asarray(model(*arguments))

"""Vector fields as functions: `f(x)` or `f(x, t)` to `(d,)`."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..core.checks import raise_value_error
from ..core.types import Formula, Point, Scalar
from ..potential import takes_time


class Field(eqx.Module):
    """A force, a drift or a score. It is called as `field(x, t)`, whether or not the
    function takes a time.
    """

    function: Formula
    time_dependent: bool = eqx.field(static=True)
    name: str = eqx.field(static=True, default="force")
    # whether it is the drift b of -div(b p) + sum_i d_i^2 (D_i p)
    ito_form: bool = eqx.field(static=True, default=False)

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """The vector at x, `(d,)`."""
        arguments = (x, t) if self.time_dependent else (x,)
        value = jnp.asarray(self.function(*arguments))
        # A scalar would broadcast silently to all axes.
        if value.shape != x.shape:
            raise_value_error(
                self.name,
                value.shape,
                f"it must return a vector of shape {x.shape}",
                "Return one value an axis.",
            )
        return value


def as_field(name: str, f: Formula) -> Field:
    """`f` as a `Field`. **Raises** `ValueError`, with `name` in its message, if `f` is
    not callable.
    """
    if not callable(f):
        raise_value_error(
            name,
            f,
            "it must be a function of x, or of x and t",
            "Give lambda x: ..., with x of shape (d,).",
        )
    # A field keeps its own name, which appears in its messages.
    if isinstance(f, Field):
        return f
    return Field(f, takes_time(f), "score" if name == "score" else "force")

"""The path parameter lambda: its validation, shared by all paths."""

from jaxtyping import Array

from ..potential.leaves import Value, as_leaf


def as_lambda(lam: Value) -> Array:
    """The path parameter as a scalar array. **Raises** `ValueError` unless it is one
    finite number (or traced).
    """
    return as_leaf(
        "lam",
        lam,
        cure="Give the path parameter lambda as one number, usually in [0, 1].",
    )

"""`along(axis, f, u)`: the one n-dimensional primitive.

Every operator of the library is one-dimensional and written for the last axis. `along` carries it to any axis of an
array of any dimension, so that one, two, three and four dimensions run through the same lines.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array


def along(axis: int, f: Callable[[Array], Array], u: Array, ndim: int | None = None) -> Array:
    """Apply `f`, which acts on the last axis, along `axis` of `u`.

    **Arguments**: `axis` counts within the last `ndim` axes of `u` (all of them when `ndim` is None); `f` maps
    `(..., n)` to `(..., m)`. **Returns** `u` with length `n` replaced by `m` on that axis.

    ```python
    import jax.numpy as jnp
    from fpsolve.core.along import along

    along(0, jnp.cumsum, jnp.ones((3, 2)))
    ```
    """
    position = axis if ndim is None else u.ndim - ndim + axis
    if position == u.ndim - 1:
        return f(u)
    return jnp.moveaxis(f(jnp.moveaxis(u, position, -1)), -1, position)

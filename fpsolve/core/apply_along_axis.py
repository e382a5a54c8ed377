"""`along(axis, f, u)`: the one n-dimensional primitive, and `transform(axis, matrix, u)`, its form for matrices.

Every operator of the library is one-dimensional and written for the last axis. `along` carries it to any axis of an
array of any dimension, so that one, two, three and four dimensions run through the same lines.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .machine import EXACTLY, on_processor


def along(axis: int, f: Callable[[Array], Array], u: Array, ndim: int | None = None) -> Array:
    """Apply `f`, which acts on the last axis, along `axis` of `u`.

    **Arguments**: `axis` counts within the last `ndim` axes of `u` (all of them when `ndim` is None); `f` maps
    `(..., n)` to `(..., m)`. **Returns** `u` with length `n` replaced by `m` on that axis.

    ```python
    import jax.numpy as jnp
    from fpsolve.core.apply_along_axis import along

    along(0, jnp.cumsum, jnp.ones((3, 2)))
    ```
    """
    position = axis if ndim is None else u.ndim - ndim + axis
    if position == u.ndim - 1:
        return f(u)
    return jnp.moveaxis(f(jnp.moveaxis(u, position, -1)), -1, position)


def transform(axis: int, matrix: Array, u: Array, ndim: int | None = None) -> Array:
    """`matrix` `(m, n)` times `u` along `axis`, counted as in `along`; one product of matrices, nothing is moved.

    The two parts of a complex `u` go through a real matrix one by one, which is several times faster on a CPU.
    """
    if jnp.iscomplexobj(u) and not jnp.iscomplexobj(matrix):
        return jax.lax.complex(transform(axis, matrix, u.real, ndim), transform(axis, matrix, u.imag, ndim))
    position = axis if ndim is None else u.ndim - ndim + axis
    shape, n = u.shape, matrix.shape[1]
    if position == u.ndim - 1:
        return jnp.matmul(u.reshape(-1, n), matrix.T, precision=EXACTLY).reshape(*shape[:-1], -1)
    if math.prod(shape[:position]) == 1:
        image = jnp.matmul(matrix, u.reshape(n, -1), precision=EXACTLY)
        return image.reshape(*shape[:position], -1, *shape[position + 1 :])
    after = math.prod(shape[position + 1 :])
    layers = u.reshape(-1, n, after)
    if on_processor() or n > after:
        image = jnp.einsum("mn,bna->bma", matrix, layers, precision=EXACTLY)
    else:
        # For a shared matrix XLA moves the axis first and back after, four passes over the field on an accelerator. A
        # copy of the matrix for each layer is one pass, where it is no larger than the field.
        copies = jnp.broadcast_to(matrix, (len(layers), *matrix.shape))
        image = jnp.matmul(copies, layers, precision=EXACTLY)
    return image.reshape(*shape[:position], -1, *shape[position + 1 :])

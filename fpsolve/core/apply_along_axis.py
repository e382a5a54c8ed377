"""Operations along one axis of an n-dimensional array: of a function, and of a matrix.

Every operator of the library is one-dimensional and written for the last axis. These
two functions apply it along any axis of an array, so that the same code serves one,
two, three and four dimensions.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .machine import EXACTLY, on_processor


def apply_along_axis(
    axis: int, f: Callable[[Array], Array], u: Array, ndim: int | None = None
) -> Array:
    """Apply `f`, which acts on the last axis, along `axis` of `u`.

    **Arguments**: `axis` counts within the last `ndim` axes of `u` (all of them when
    `ndim` is None); `f` maps `(..., n)` to `(..., m)`. **Returns** `u` with length `n`
    replaced by `m` on that axis.

    ```python
    import jax.numpy as jnp
    from fpsolve.core.apply_along_axis import apply_along_axis

    apply_along_axis(0, jnp.cumsum, jnp.ones((3, 2)))
    ```
    """
    position = axis if ndim is None else u.ndim - ndim + axis
    if position == u.ndim - 1:
        return f(u)  # without a transposition of the array
    image = f(jnp.moveaxis(u, position, -1))
    return jnp.moveaxis(image, -1, position)


def matmul_along_axis(
    axis: int, matrix: Array, u: Array, ndim: int | None = None
) -> Array:
    """`matrix` `(m, n)` times `u` along `axis`, counted as in `apply_along_axis`.

    It is one matrix product on a reshaped array, without a transposition of the array.
    """
    # With a real matrix, the real and the imaginary part are multiplied separately.
    # This is several times faster on a CPU than a complex product, which would first
    # convert the matrix.
    if jnp.iscomplexobj(u) and not jnp.iscomplexobj(matrix):
        real = matmul_along_axis(axis, matrix, u.real, ndim)
        imaginary = matmul_along_axis(axis, matrix, u.imag, ndim)
        return jax.lax.complex(real, imaginary)
    position = axis if ndim is None else u.ndim - ndim + axis
    new_shape = (*u.shape[:position], -1, *u.shape[position + 1 :])
    n = matrix.shape[1]
    # The last axis: the array is a matrix of rows of length n.
    if position == u.ndim - 1:
        image = jnp.matmul(u.reshape(-1, n), matrix.T, precision=EXACTLY)
        return image.reshape(new_shape)
    # The first axis: the array is a matrix with n rows.
    if math.prod(u.shape[:position]) == 1:
        image = jnp.matmul(matrix, u.reshape(n, -1), precision=EXACTLY)
        return image.reshape(new_shape)
    # An axis in the middle: the array is a stack of matrices with n rows.
    after = math.prod(u.shape[position + 1 :])
    layers = u.reshape(-1, n, after)
    if on_processor() or n > after:
        image = jnp.einsum("mn,bna->bma", matrix, layers, precision=EXACTLY)
    else:
        # With one shared matrix, XLA transposes the array before and after the product:
        # four passes over the array on an accelerator. With a copy of the matrix for
        # each layer it makes one pass; the copies are no larger than the array, since n
        # <= after.
        copies = jnp.broadcast_to(matrix, (len(layers), *matrix.shape))
        image = jnp.matmul(copies, layers, precision=EXACTLY)
    return image.reshape(new_shape)

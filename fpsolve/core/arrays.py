"""Conversion of arrays on the host.

A conversion by `jax.numpy` compiles a small program for every new shape. The functions
here convert concrete values with numpy instead.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from .checks import is_concrete
from .machine import on_processor
from .types import AnyArray, ArrayModule, DType, Numbers


def as_array(value: Numbers, dtype: DType = float) -> Array:
    """`value` as an array of `dtype` in the default precision of JAX; a tracer is
    converted by `jax.numpy`.
    """
    if not is_concrete(value):
        return jnp.asarray(value, dtype=dtype)
    # The default precision decides whether `float` means 32 or 64 bits.
    number = jnp.result_type(dtype)
    if isinstance(value, jax.Array) and value.dtype == number:
        return value
    # Inside a user's `jit`, `device_put` would return a tracer; this context keeps a
    # concrete value concrete.
    with jax.ensure_compile_time_eval():
        return jax.device_put(np.asarray(value, dtype=number))


def real_dtype(array: AnyArray) -> np.dtype:
    """The type of the real part of an array. `array.real.dtype` would compile a
    program.
    """
    return jnp.finfo(array.dtype).dtype


def host_module(*values: PyTree) -> ArrayModule:
    """numpy if all values are concrete, jax.numpy if one is traced: for small
    computations outside of programs.
    """
    return np if is_concrete(*values) else jnp


def spread_positions(count: int, most: int) -> np.ndarray:
    """At most `most` of the positions 0 .. `count` - 1, evenly spread, with both ends,
    ascending.
    """
    if count <= most:
        return np.arange(count)
    positions = np.round(np.linspace(0, count - 1, most))
    return np.unique(positions.astype(int))


def scaled(array: Array, factor: float) -> Array:
    """`factor` times an array, in its precision."""
    # On a CPU the arrays are in main memory, and numpy needs no compiled program. On an
    # accelerator the array would have to be copied to the host and back.
    number = np.asarray(factor, array.real.dtype)
    if not is_concrete(array) or not on_processor():
        return array * number
    return as_array(np.asarray(array) * number, array.dtype)

"""Arrays made on the host: a conversion by `jax.numpy` compiles a small program for every new shape, these do not."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .checks import is_concrete
from .machine import on_processor


def as_array(value: Any, dtype: Any = float) -> Array:
    """`value` as an array of `dtype` in the precision in force; tracers pass through `jax.numpy`."""
    if not is_concrete(value):
        return jnp.asarray(value, dtype=dtype)
    if isinstance(value, jax.Array) and value.dtype == jnp.result_type(dtype):
        return value
    with jax.ensure_compile_time_eval():  # inside a user's `jit` too: what is concrete stays so
        return jax.device_put(np.asarray(value, dtype=jnp.result_type(dtype)))


def host_module(*values: Any) -> Any:
    """numpy where all values are concrete, jax.numpy where one is traced: for small computations outside programs."""
    return np if is_concrete(*values) else jnp


def scaled(array: Array, factor: float) -> Array:
    """`factor` times an array, in its precision; on the host where that is where arrays are."""
    if not is_concrete(array) or not on_processor():
        return array * np.asarray(factor, array.real.dtype)
    return as_array(np.asarray(array) * np.asarray(factor, array.real.dtype), array.dtype)

"""One compiled program for arrays of every length: a function of many numbers, applied page by page."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .checks import is_concrete

PAGE = 1024  # numbers


def by_pages(f: Callable[[Any], Any], numbers: Any) -> Any:
    """f of concrete `numbers` of any shape, where f takes `(PAGE,)` to a pytree of `(PAGE,)`, entry by entry."""
    values = np.asarray(numbers, dtype=jnp.zeros(()).dtype)
    flat = values.ravel()
    padded = np.concatenate([flat, np.full(-len(flat) % PAGE, flat[-1])]).reshape(-1, PAGE)
    pages = [f(jnp.asarray(page)) for page in padded]
    concatenate: Any = np.concatenate if is_concrete(pages) else jnp.concatenate  # f may hide what is traced
    joined = lambda *leaves: jnp.asarray(concatenate(leaves)[: len(flat)].reshape(values.shape))
    return jax.tree.map(joined, *pages)

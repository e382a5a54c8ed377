"""Estimates of memory: whether arrays fit, checked before anything is allocated."""

import math
import os

import jax
import jax.numpy as jnp

from .checks import raise_value_error


def check_memory(name: str, shape: tuple[int, ...], arrays: int, cure: str) -> None:
    """Raise `ValueError` if `arrays` arrays of `shape` in the default precision need
    more memory than is free now.
    """
    needed = math.prod(shape) * arrays * jnp.dtype(default_float()).itemsize
    available = available_bytes()
    if needed > available:
        allowed = (
            f"{arrays} arrays of shape {shape} need {needed:,} bytes "
            f"({needed / 2**30:.3g} GiB), and {available:,} bytes "
            f"({available / 2**30:.3g} GiB) are available"
        )
        raise_value_error(name, shape, allowed, cure)


def available_bytes() -> int:
    """Bytes free on the default device; on a CPU, in the machine's main memory."""
    statistics = jax.local_devices()[0].memory_stats()  # None on a CPU
    if statistics and "bytes_limit" in statistics:
        return int(statistics["bytes_limit"] - statistics.get("bytes_in_use", 0))
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                # MemAvailable counts the caches of files that the kernel can drop;
                # MemFree does not.
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux: use the physical memory instead
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def default_float() -> jnp.dtype:
    """float64 where x64 is enabled, float32 otherwise."""
    return jnp.zeros(()).dtype

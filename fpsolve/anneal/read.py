"""Paths and schedules as they are at a call: operations compared by content, numbers as leaves.

    path        lambda -> potential        read as  U(x, lambda, t)
    schedule    t -> lambda, with a total  read as  lambda(t)

Every public function of this package starts by reading what it was given (`core.content`). Programs and caches then see
what a user's function computes and the numbers that it reads, also those that hide in a closure, and never the
function itself.
"""

import threading
from collections import OrderedDict
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import is_concrete
from ..core.content import ReadFunction, is_plain, read_function
from ..core.types import Point
from ..potential import Potential, as_potential
from ..potential.base import StaticPotential
from .schedule.monotone import Tabulated

# A session's last results: an `Along` takes some 20 kB, so that a thousand fit (a free choice).
CACHE_BYTES = 2**24
# Tables of schedules are filled up to multiples of so many pieces, so that those of different paths share programs.
PIECES = 128


class ReadPath(eqx.Module):
    """A path that was read."""

    function: ReadFunction

    def __call__(self, lam: Any) -> "ReadPoint":
        """The potential at lambda."""
        return ReadPoint(self.function, _real(lam))


class ReadPoint(Potential):
    """The potential of a path that was read, at one lambda."""

    function: ReadFunction
    lam: Array

    @property
    def time_dependent(self) -> bool:
        """Whether the potentials on the path depend on t besides."""
        return self.function.uses(2)

    def __call__(self, x: Point, t: Any = None) -> Array:
        """U_lambda(x, t), a scalar."""
        return self.function(_real(x), self.lam, _real(0.0 if t is None else t))


class ReadSchedule(eqx.Module):
    """A schedule that was read."""

    total: Any
    function: ReadFunction

    def __call__(self, t: Any) -> Array:
        """lambda at the time t, a scalar."""
        return self.function(_real(t))


def read_path(path: Any, ndim: int) -> Any:
    """`path` as it is now, for points of `ndim` coordinates. **Cost**: one tracing, about a millisecond."""
    if is_plain(path):
        return path
    point, scalar = _shapes(ndim)
    return ReadPath(read_function(lambda x, lam, t: as_potential(path(lam))(x, t), point, scalar, scalar))


def read_schedule(schedule: Any) -> Any:
    """`schedule`, which has a `total`, as it is now."""
    # What an optimal schedule was made of is not needed to follow it.
    schedule = getattr(schedule, "motion", schedule)
    if isinstance(schedule, Tabulated) and is_concrete(schedule):
        schedule = schedule.padded(PIECES)
    if is_plain(schedule):
        return schedule
    read = read_function(lambda t: jnp.asarray(schedule(t)), _shapes(1)[1])
    return ReadSchedule(_real(schedule.total), read)


class ReadNoising(eqx.Module):
    """A noising path that was read: of its methods those that it has, and U_lambda(x)."""

    methods: dict[str, ReadFunction]

    def __call__(self, lam: Any) -> Any:
        """The potential -log p_lambda."""
        return NoisedPoint(self.methods["energy"], _real(lam))

    def alpha(self, lam: Any) -> Array:
        """What is left of the data at lambda, of any shape."""
        return jnp.vectorize(self.methods["alpha"])(_real(lam))

    def sigma(self, lam: Any) -> Array:
        """The standard deviation of the noise at lambda, of any shape."""
        return jnp.vectorize(self.methods["sigma"])(_real(lam))

    def squared_diffusion(self, lam: Any) -> Array:
        """g^2 at lambda, a scalar."""
        return self.methods["squared_diffusion"](_real(lam))

    def score(self, x: Point, lam: Any) -> Array:
        """The score at x, `(d,)`."""
        return self.methods["score"](_real(x), _real(lam))

    def drift(self, x: Point, lam: Any) -> Array:
        """The drift towards noise at x, `(d,)`."""
        return self.methods["drift"](_real(x), _real(lam))


class NoisedPoint(StaticPotential):
    """The potential of a noising path that was read, at one lambda."""

    energy: ReadFunction
    lam: Array

    def __call__(self, x: Point, t: Any = None) -> Array:
        """-log p_lambda(x), a scalar."""
        return self.energy(_real(x), self.lam)


class ReadError(eqx.Module):
    """The error of a score that was read."""

    function: ReadFunction

    def __call__(self, x: Point, lam: Any) -> Array:
        """e(x, lambda), `(d,)`."""
        return self.function(_real(x), _real(lam))


def read_noising(path: Any, ndim: int) -> Any:
    """A noising path as it is now."""
    if is_plain(path):
        return path
    point, scalar = _shapes(ndim)
    examples = {"alpha": (scalar,), "sigma": (scalar,), "squared_diffusion": (scalar,)}
    examples |= {"score": (point, scalar), "drift": (point, scalar)}
    functions = {name: getattr(path, name) for name in examples if callable(getattr(path, name, None))}
    if callable(path):
        functions["energy"] = lambda x, lam: as_potential(path(lam))(x)
        examples["energy"] = (point, scalar)
    read = lambda name: read_function(lambda *given: jnp.asarray(functions[name](*given)), *examples[name])
    return ReadNoising({name: read(name) for name in functions})


def read_error(error: Any, ndim: int) -> Any:
    """The error of a score, e(x, lambda), as it is now."""
    if is_plain(error):
        return error
    return ReadError(read_function(lambda x, lam: jnp.asarray(error(x, lam)), *_shapes(ndim)))


def _shapes(ndim: int) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
    """Of a point and of a number."""
    dtype = jnp.zeros(()).dtype
    return jax.ShapeDtypeStruct((ndim,), dtype), jax.ShapeDtypeStruct((), dtype)


class ContentCache:
    """Results by the content of what they were computed from; the ones used longest ago are dropped.

    Bounded by the bytes of keys and results together. Safe to share between threads.
    """

    def __init__(self, most: int = CACHE_BYTES) -> None:
        self._most = most
        self._kept: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Any) -> Any:
        """The result under a key, or None."""
        if key is None:
            return None
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, key: Any, result: Any) -> None:
        """Keep a result, unless its key is None."""
        if key is None:
            return
        size = _bytes(key) + _bytes(jax.tree.leaves(result))
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = (result, size)
            self._bytes += size
            while self._bytes > self._most:
                _, (_, dropped) = self._kept.popitem(last=False)
                self._bytes -= dropped


def content_key(*read: Any) -> Any:
    """A key that two calls share only if they read the same; None where a leaf is traced or cannot be compared.

    **Arguments**: pytrees without a user's function: those of `read_path` and `read_schedule`, grids, numbers.
    """
    leaves, structure = jax.tree.flatten(read)
    if not is_concrete(leaves):
        return None
    parts = [_content(leaf) for leaf in leaves]
    key = (structure, tuple(parts), jnp.zeros(()).dtype, jax.default_backend())
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _content(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array | np.ndarray | np.generic):
        array = np.asarray(leaf)
        return array.dtype.str, array.shape, array.tobytes()
    return type(leaf), leaf


def _bytes(tree: Any) -> int:
    """About how many bytes arrays and strings in a nest of tuples hold."""
    if isinstance(tree, tuple | list):
        return sum(_bytes(item) for item in tree)
    if isinstance(tree, bytes):
        return len(tree)
    return int(getattr(tree, "nbytes", 0)) + 64  # 64: an object's own


def _real(value: Any) -> Array:
    """As an array of the default precision; traced values stay traced."""
    return jnp.asarray(value, dtype=jnp.zeros(()).dtype)

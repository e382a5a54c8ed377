"""Paths and schedules as pytrees: a user's functions are traced at each call, and
compared by content.

    path        lambda -> potential        read as  U(x, lambda, t)
    schedule    t -> lambda, with a total  read as  lambda(t)

Every public function of this package starts by reading its arguments (`core.content`).
Programs and caches then see the operations of a user's function and the numbers that it
uses, also those in a closure, and never the function itself. A change of any of them is
therefore noticed.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..core.checks import is_concrete
from ..core.content import ReadFunction, is_plain, read_function
from ..core.types import Formula, Point, PotentialPath, Scalar
from ..potential import Potential, as_potential
from ..potential.base import StaticPotential
from .constants import CONSTANTS
from .schedule.monotone import Tabulated


class ReadPath(eqx.Module):
    """A path from `read_path`."""

    function: ReadFunction

    def __call__(self, lam: Scalar) -> "ReadPoint":
        """The potential at lambda."""
        return ReadPoint(self.function, _real(lam))


class ReadPoint(Potential):
    """The potential at one lambda of a path from `read_path`."""

    function: ReadFunction
    lam: Array

    @property
    def time_dependent(self) -> bool:
        """Whether the potentials on the path depend on t besides."""
        return self.function.uses(2)

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """U_lambda(x, t), a scalar."""
        return self.function(_real(x), self.lam, _real(0.0 if t is None else t))


class ReadSchedule(eqx.Module):
    """A schedule from `read_schedule`."""

    total: Array
    function: ReadFunction

    def __call__(self, t: Scalar) -> Array:
        """lambda at the time t, a scalar."""
        return self.function(_real(t))


def read_path(path: PotentialPath, ndim: int) -> PotentialPath:
    """`path` as a pytree, for points of `ndim` coordinates. **Cost**: it is traced
    once, about a millisecond.
    """
    if is_plain(path):
        return path
    # A user's function is traced once, for a point, a lambda and a time.
    point, scalar = _shapes(ndim)
    energy = lambda x, lam, t: as_potential(path(lam))(x, t)
    return ReadPath(read_function(energy, point, scalar, scalar))


def read_schedule(schedule: Any) -> Any:
    """`schedule`, which has a `total`, as a pytree."""
    # An optimal schedule also holds the path that it was made for, which is not needed
    # to follow it.
    schedule = getattr(schedule, "motion", schedule)
    # Tables of different paths are padded to one size, so that they share compiled
    # programs.
    if isinstance(schedule, Tabulated) and is_concrete(schedule):
        schedule = schedule.padded(CONSTANTS.schedule_pieces)
    if is_plain(schedule):
        return schedule
    _, scalar = _shapes(1)
    read = read_function(lambda t: jnp.asarray(schedule(t)), scalar)
    return ReadSchedule(_real(schedule.total), read)


class ReadNoising(eqx.Module):
    """A noising path from `read_noising`: its methods, as far as it has them, and
    U_lambda(x) as "energy".
    """

    methods: dict[str, ReadFunction]

    def __call__(self, lam: Scalar) -> "NoisedPoint":
        """The potential -log p_lambda."""
        return NoisedPoint(self.methods["energy"], _real(lam))

    def alpha(self, lam: Scalar) -> Array:
        """The factor of the data at lambda, of any shape."""
        return jnp.vectorize(self.methods["alpha"])(_real(lam))

    def sigma(self, lam: Scalar) -> Array:
        """The standard deviation of the noise at lambda, of any shape."""
        return jnp.vectorize(self.methods["sigma"])(_real(lam))

    def squared_diffusion(self, lam: Scalar) -> Array:
        """g^2 at lambda, a scalar."""
        return self.methods["squared_diffusion"](_real(lam))

    def score(self, x: Point, lam: Scalar) -> Array:
        """The score at x, `(d,)`."""
        return self.methods["score"](_real(x), _real(lam))

    def drift(self, x: Point, lam: Scalar) -> Array:
        """The forward drift, from data to noise, at x, `(d,)`."""
        return self.methods["drift"](_real(x), _real(lam))


class NoisedPoint(StaticPotential):
    """The potential at one lambda of a path from `read_noising`."""

    energy: ReadFunction
    lam: Array

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """-log p_lambda(x), a scalar."""
        return self.energy(_real(x), self.lam)


class ReadError(eqx.Module):
    """The error of a score, from `read_error`."""

    function: ReadFunction

    def __call__(self, x: Point, lam: Scalar) -> Array:
        """e(x, lambda), `(d,)`."""
        return self.function(_real(x), _real(lam))


def read_noising(path: object, ndim: int) -> Any:
    """A noising path as a pytree."""
    if is_plain(path):
        return path
    point, scalar = _shapes(ndim)
    arguments = {
        "alpha": (scalar,),
        "sigma": (scalar,),
        "squared_diffusion": (scalar,),
        "score": (point, scalar),
        "drift": (point, scalar),
    }
    # A path need not have all of the methods.
    functions = {}
    for name in arguments:
        method = getattr(path, name, None)
        if callable(method):
            functions[name] = method
    if callable(path):
        functions["energy"] = lambda x, lam: as_potential(path(lam))(x)
        arguments["energy"] = (point, scalar)

    def read(name: str) -> ReadFunction:
        function = functions[name]
        as_arrays = lambda *values: jnp.asarray(function(*values))
        return read_function(as_arrays, *arguments[name])

    return ReadNoising({name: read(name) for name in functions})


def read_error(error: Any, ndim: int) -> Formula | None:
    """The error of a score, e(x, lambda), as a pytree; None stays None."""
    if is_plain(error):
        return error
    as_arrays = lambda x, lam: jnp.asarray(error(x, lam))
    return ReadError(read_function(as_arrays, *_shapes(ndim)))


def _shapes(ndim: int) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
    """The shape and type of a point and of a number, for tracing."""
    dtype = jnp.zeros(()).dtype
    return jax.ShapeDtypeStruct((ndim,), dtype), jax.ShapeDtypeStruct((), dtype)


class ContentCache:
    """An LRU cache of results, whose keys are the content of the arguments
    (`content_key`).

    It is bounded by the bytes of keys and results together, and may be shared between
    threads.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        self._max_bytes = CONSTANTS.cache_bytes if max_bytes is None else max_bytes
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        """The result under a key, or None."""
        if key is None:
            return None
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            # The end of the dictionary is the most recently used.
            self._kept.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, result: PyTree) -> None:
        """Keep a result, unless its key is None."""
        if key is None:
            return
        # Keys count as well: they hold the bytes of all arrays that a function uses.
        size = _bytes(key) + _bytes(jax.tree.leaves(result))
        with self._lock:
            # Another thread may have computed the same meanwhile.
            if key in self._kept:
                return
            self._kept[key] = (result, size)
            self._bytes += size
            while self._bytes > self._max_bytes:
                _, (_, dropped) = self._kept.popitem(last=False)
                self._bytes -= dropped


def content_key(*read: PyTree) -> Hashable | None:
    """A key that two calls share only if their arguments have the same content; None if
    that cannot be compared.

    **Arguments**: pytrees without a user's function: those of `read_path` and
    `read_schedule`, grids, numbers.
    """
    leaves, structure = jax.tree.flatten(read)
    # A traced value has no content that could be compared.
    if not is_concrete(leaves):
        return None
    # The precision and the device in force decide the result, too.
    contents = tuple(_content(leaf) for leaf in leaves)
    key = (structure, contents, jnp.zeros(()).dtype, jax.default_backend())
    # A static field of a user's class may not be hashable.
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _content(leaf: Any) -> tuple[Any, ...]:
    """A leaf as a value that is compared by content."""
    # The bytes, since equality of arrays is not a single truth value.
    if isinstance(leaf, jax.Array | np.ndarray | np.generic):
        array = np.asarray(leaf)
        return array.dtype.str, array.shape, array.tobytes()
    return type(leaf), leaf


def _bytes(tree: PyTree) -> int:
    """About how many bytes the arrays and strings in nested tuples hold."""
    if isinstance(tree, tuple | list):
        return sum(_bytes(item) for item in tree)
    if isinstance(tree, bytes):
        return len(tree)
    return int(getattr(tree, "nbytes", 0)) + 64  # 64 bytes for the object itself


def _real(value: Scalar) -> Array:
    """As an array of the default precision; traced values stay traced."""
    return jnp.asarray(value, dtype=jnp.zeros(()).dtype)

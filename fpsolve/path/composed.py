"""Paths made of paths: run backwards, at another pace, one after another.

reverse        λ -> U_(1-λ)
reparametrise  λ -> U_f(λ),                                   f rising from 0 to 1
concatenate    λ -> Uᵏ_s + c_k,   s = (λ - a_k) / (a_(k+1) - a_k) on the k-th of the parts 0 = a_0 < a_1 < ... = 1

where c_0 = 0 and Uᵏ at its end + c_k = Uᵏ⁺¹ at its start + c_(k+1), so that U is continuous in λ.
"""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import is_concrete, raise_value_error
from ..core.types import Point
from ..potential.base import Potential, as_potential
from ..potential.leaves import Value, as_leaf, check_point

MOST_AXES = 16  # up to which paths are tried out where two of them meet
SAMPLES = 257  # places at which a reparametrisation is looked at

_PLACE = "Give the place on the path as one number, usually in [0, 1]."
_PATH = "Give fp.Mix(start, end) or a function, lambda -> potential."


def reverse(path: Any) -> Any:
    """The path run backwards: λ -> path(1 - λ). Backwards twice is the path itself.

    **Arguments**: `path` λ -> potential. **Returns** a path. **Raises** `ValueError` if `path` is not callable.

    ```python
    import jax.numpy as jnp
    from fpsolve.path import Mix
    from fpsolve.potential import DoubleWell, Harmonic
    from fpsolve.path.composed import reverse

    reverse(Mix(Harmonic(), DoubleWell()))(1.0)(jnp.ones(1))  # 0.5, the harmonic one
    ```
    """
    return path.path if isinstance(path, Reversed) else Reversed(path)


def reparametrise(path: Any, f: Any) -> "Reparametrised":
    """The path at another pace: λ -> path(f(λ)). Where f is slow, a schedule even in λ spends more time.

    **Arguments**: `path` λ -> potential; `f` rises from f(0) = 0 to f(1) = 1, a function that JAX can trace; one
    without an infinite slope, if derivatives in λ are wanted. **Returns** a path.

    **Raises** `ValueError` if either is not callable, or if f does not begin at 0, end at 1 or falls anywhere among 257
    places, as far as f can be looked at.

    ```python
    import jax.numpy as jnp
    from fpsolve.path import Mix
    from fpsolve.potential import DoubleWell, Harmonic
    from fpsolve.path.composed import reparametrise

    reparametrise(Mix(Harmonic(), DoubleWell()), lambda lam: lam**2)(0.5)(jnp.ones(1))  # 0.75 * 0.5
    ```
    """
    return Reparametrised(path, f)


def concatenate(*paths: Any, at: Value | None = None) -> "Concatenated":
    """One path after another; each must start with the potential, up to a constant, with which the one before ends.

    **Arguments**: `paths` two or more, λ -> potential; `at` the λ of the joints, one fewer than the paths, ascending
    within (0, 1); by default the parts are equal. **Returns** a path. At a joint it has the derivative in λ of the path
    that begins there.

    **Raises** `ValueError` for fewer than two paths, joints that do not fit, and ends that do not meet: they are
    compared at 16 points within 2 of the origin, of as many coordinates as all ends accept first, to a millionth (a
    thousandth without x64), as far as they can be looked at.

    **Keeps**: Gibbs densities and velocities of the parts. The constants between them are removed, so that U_λ(x) is
    continuous in λ, and work and free energy along the path add up. **Cost**: that of the present part, and of the ends
    at one point.

    ```python
    import jax.numpy as jnp
    from fpsolve.path import Mix, Tempering
    from fpsolve.potential import DoubleWell, Harmonic
    from fpsolve.path.composed import concatenate

    path = concatenate(Mix(Harmonic(), DoubleWell()), Tempering(DoubleWell(), start=1.0, end=4.0), at=0.7)
    path(0.85)(jnp.zeros(1))  # 2.0
    ```
    """
    if len(paths) < 2:
        raise_value_error(
            "paths", paths, "there must be at least two", "Give them one by one: concatenate(first, second)."
        )
    return Concatenated(paths, at)


class Reversed(eqx.Module):
    """λ -> path(1 - λ). See `reverse`."""

    path: Any

    def __init__(self, path: Any):
        self.path = _as_path(path)

    def __call__(self, lam: Value) -> Potential:
        """The potential path(1 - λ)."""
        return as_potential(self.path(1 - as_leaf("lam", lam, cure=_PLACE)))


class Reparametrised(eqx.Module):
    """λ -> path(f(λ)). See `reparametrise`."""

    path: Any
    f: Any

    def __init__(self, path: Any, f: Any):
        self.path = _as_path(path)
        cure = "Give a function that rises from 0 to 1: lambda lam: lam**2."
        if not callable(f):
            raise_value_error("f", f, "it must be callable, lambda -> lambda", cure)
        values = jax.vmap(f)(jnp.linspace(0.0, 1.0, SAMPLES))
        if is_concrete(values):
            _check_rising(f, np.asarray(values), cure)
        self.f = f

    def __call__(self, lam: Value) -> Potential:
        """The potential path(f(λ))."""
        return as_potential(self.path(self.f(as_leaf("lam", lam, cure=_PLACE))))


class Concatenated(eqx.Module):
    """Paths one after another. See `concatenate`."""

    paths: tuple[Any, ...]
    joints: Array

    def __init__(self, paths: tuple[Any, ...], at: Value | None):
        self.paths = tuple(_as_path(path) for path in paths)
        self.joints = _joints(len(paths), at)
        for k, (before, after) in enumerate(zip(self.paths, self.paths[1:], strict=False)):
            _check_meeting(k, as_potential(before(1.0)), as_potential(after(0.0)))

    def __call__(self, lam: Value) -> "Part":
        """The potential at λ: that of the path in whose part λ is."""
        return Part(self.paths, self.joints, as_leaf("lam", lam, cure=_PLACE))


class Part(Potential):
    """The potential of concatenated paths at one λ. **Arguments**: `paths`, `joints`, `lam`, as `concatenate` has them.

    The path it is on may be traced. Under `vmap` in λ all paths are computed, also beyond their ends, and one is kept.
    """

    paths: tuple[Any, ...]
    joints: Array
    lam: Array

    @property
    def time_dependent(self) -> bool:
        """Whether any of the paths has a potential that moves by itself."""
        return any(as_potential(path(0.0)).time_dependent for path in self.paths)

    def __call__(self, x: Point, t: Any = None) -> Array:
        """Uᵏ_s(x, t) + c_k, a scalar, at the point x of shape (d,)."""
        check_point(x)
        dtype = jnp.result_type(x, self.lam, float)
        present = jnp.searchsorted(self.joints, self.lam, side="right")
        bounds = [0.0, *self.joints, 1.0]

        def value(k: int, x: Array) -> Array:
            s = (self.lam - bounds[k]) / (bounds[k + 1] - bounds[k])
            return jnp.asarray(as_potential(self.paths[k](s))(x, t), dtype)

        here = jax.lax.switch(present, [functools.partial(value, k) for k in range(len(self.paths))], jnp.asarray(x))
        return here + self._constants(jnp.shape(x)[0], t, dtype)[present]

    def _constants(self, d: int, t: Any, dtype: Any) -> Array:
        """c_k, such that the ends agree at the first of the points at which they were compared."""
        anchor = jnp.asarray(_points(d)[0], dtype)
        ends = zip(self.paths, self.paths[1:], strict=False)
        jumps = [as_potential(a(1.0))(anchor, t) - as_potential(b(0.0))(anchor, t) for a, b in ends]
        return jnp.cumsum(jnp.stack([jnp.zeros(()), *jumps])).astype(dtype)


def _as_path(path: Any) -> Any:
    if not callable(path):
        raise_value_error("path", path, "it must be callable, lambda -> potential", _PATH)
    return path


def _joints(parts: int, at: Value | None) -> Array:
    joints = as_leaf("at", np.arange(1, parts) / parts if at is None else at, (0, 1), cure="Give the joints in (0, 1).")
    joints = jnp.atleast_1d(joints)
    cure = f"Give {parts - 1} numbers between 0 and 1, or none for equal parts."
    if joints.shape != (parts - 1,):
        raise_value_error("at", at, f"{parts} paths have {parts - 1} joints, not {joints.size}", cure)
    if is_concrete(joints) and np.any(np.diff(np.asarray([0.0, *joints, 1.0])) <= 0):
        raise_value_error("at", at, "the joints must ascend, and lie strictly between 0 and 1", cure)
    return joints


def _check_rising(f: Any, values: np.ndarray, cure: str) -> None:
    small = np.sqrt(np.finfo(float).eps) if values.dtype == np.float64 else 1e-5
    if values.shape != (SAMPLES,) or not np.all(np.isfinite(values)):
        raise_value_error("f", f, "its value at every number in [0, 1] must be a finite number", cure)
    if abs(values[0]) > small or abs(values[-1] - 1) > small:
        raise_value_error("f", f, f"f(0) = {values[0]:.6g} and f(1) = {values[-1]:.6g}, and they must be 0 and 1", cure)
    falls = np.flatnonzero(np.diff(values) < -small)
    if falls.size:
        raise_value_error(
            "f", f, f"it falls after lambda = {falls[0] / (SAMPLES - 1):.3g}, and it must never fall", cure
        )


def _points(d: int) -> np.ndarray:
    """Sixteen points (16, d) within 2 of the origin, half of them, the first too, with positive coordinates only."""
    numbers = 1.0 + 0.9 * np.sin(1.0 + 2.3 * np.arange(8)[:, None] + 3.7 * np.arange(d))
    return np.concatenate([numbers, numbers * np.sin(5.0 + 1.3 * np.arange(8)[:, None] + 2.9 * np.arange(d))])


def _check_meeting(k: int, end: Potential, start: Potential) -> None:
    """Refuse two ends that differ by more than a constant, where they can be looked at."""
    name = f"paths[{k + 1}](0) - paths[{k}](1)"
    d = _dimension(end, start)
    if d is None:
        allowed = f"both must take points of the same number of coordinates, up to {MOST_AXES}"
        raise_value_error(name, (end, start), allowed, "Give paths between potentials of the same dimension.")
    points = jnp.asarray(_points(d))
    before, after = jax.vmap(lambda x: end(x, 0.0))(points), jax.vmap(lambda x: start(x, 0.0))(points)
    if not is_concrete(before, after):
        return
    before, jump = np.asarray(before), np.asarray(after) - np.asarray(before)
    finite = np.isfinite(before)
    cure = "Put between them the path that leads from one to the other, as fp.Mix does."
    if np.any(finite != np.isfinite(after)) or not finite[0]:
        raise_value_error(name, jump, f"both must be finite at the same points, x = {_points(d)[0]} among them", cure)
    most = np.finfo(jump.dtype).eps ** 0.4 * (1 + np.max(np.abs(before[finite])))
    if np.ptp(jump[finite]) > most:
        spread = f"{np.min(jump[finite]):.6g} to {np.max(jump[finite]):.6g}"
        raise_value_error(name, spread, "where one path ends the next must begin, so this must be one constant", cure)


def _dimension(*potentials: Potential) -> int | None:
    """The least number of coordinates that all potentials accept. numpy refuses an index beyond it, as JAX does not."""
    for make in (np.asarray, jnp.asarray):
        for d in range(1, MOST_AXES + 1):
            try:
                for potential in potentials:
                    potential(make(_points(d)[0]), 0.0)
            except (ValueError, TypeError, IndexError):
                continue
            return d
    return None

"""Paths made of other paths: reversed, reparametrised, or concatenated.

reverse        λ -> U_(1-λ)
reparametrise  λ -> U_f(λ),       f rising from 0 to 1
concatenate    λ -> Uᵏ_s + c_k,   s = (λ - a_k) / (a_(k+1) - a_k) on the k-th of the
                                  parts 0 = a_0 < a_1 < ... = 1

where c_0 = 0 and Uᵏ at its end + c_k = Uᵏ⁺¹ at its start + c_(k+1), so that U is
continuous in λ.
"""

import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import is_concrete, raise_value_error
from ..core.types import DType, Formula, Point, PotentialPath, Scalar
from ..potential.base import Potential, as_potential
from ..potential.leaves import Value, as_leaf, check_point
from .constants import CONSTANTS
from .parameter import as_lambda


def reverse(path: PotentialPath) -> PotentialPath:
    """The path in the opposite direction: λ -> path(1 - λ). The reverse of a reversed
    path is the path itself.

    **Arguments**: `path` λ -> potential. **Returns** a path. **Raises** `ValueError` if
    `path` is not callable.

    ```python
    import jax.numpy as jnp
    from fpsolve.path import Mix
    from fpsolve.potential import DoubleWell, Harmonic
    from fpsolve.path.composed import reverse

    reverse(Mix(Harmonic(), DoubleWell()))(1.0)(jnp.ones(1))  # 0.5, the harmonic one
    ```
    """
    return path.path if isinstance(path, Reversed) else Reversed(path)


def reparametrise(path: PotentialPath, f: Formula) -> "Reparametrised":
    """The path at another speed: λ -> path(f(λ)). A schedule that is linear in λ spends
    more time where f is slow.

    **Arguments**: `path` λ -> potential; `f` rises from f(0) = 0 to f(1) = 1, a
    function that JAX can trace. If derivatives in λ are wanted, its slope must be
    finite. **Returns** a path.

    **Raises** `ValueError` if either is not callable, or if f does not begin at 0, does
    not end at 1, or falls between two of 257 values of λ. The values of f are checked
    only if they are concrete.

    ```python
    import jax.numpy as jnp
    from fpsolve.path import Mix
    from fpsolve.potential import DoubleWell, Harmonic
    from fpsolve.path.composed import reparametrise

    reparametrise(Mix(Harmonic(), DoubleWell()), lambda lam: lam**2)(0.5)(
        jnp.ones(1)
    )  # 0.75 * 0.5
    ```
    """
    return Reparametrised(path, f)


def concatenate(*paths: PotentialPath, at: Value | None = None) -> "Concatenated":
    """One path after another. Each must start with the potential, up to a constant,
    with which the previous one ends.

    **Arguments**: `paths` two or more, λ -> potential; `at` the λ of the joints, one
    fewer than the paths, ascending within (0, 1). By default the parts have equal
    lengths. **Returns** a path. At a joint its derivative in λ is that of the path that
    begins there.

    **Raises** `ValueError` for fewer than two paths, for joints of the wrong number or
    order, and for ends that do not meet. Ends are compared at 16 points within 2 units
    of the origin, and at these points times all powers of ten from 1e-12 to 1e12, to
    about 1e-6 of their values (1e-3 without x64), if they are concrete; the dimension
    of these points is the lowest that all ends accept.

    **Keeps**: Gibbs densities and velocities of the parts. The constants between them
    are removed, so that U_λ(x) is continuous in λ, and work and free energy along the
    path add up. **Cost**: that of the current part, and of the ends at one point.

    ```python
    import jax.numpy as jnp
    from fpsolve.path import Mix, Tempering
    from fpsolve.potential import DoubleWell, Harmonic
    from fpsolve.path.composed import concatenate

    path = concatenate(
        Mix(Harmonic(), DoubleWell()),
        Tempering(DoubleWell(), start=1.0, end=4.0),
        at=0.7,
    )
    path(0.85)(jnp.zeros(1))  # 2.0
    ```
    """
    if len(paths) < 2:
        raise_value_error(
            "paths",
            paths,
            "there must be at least two",
            "Give them as arguments: concatenate(first, second).",
        )
    return Concatenated(paths, at)


class Reversed(eqx.Module):
    """λ -> path(1 - λ). See `reverse`."""

    path: PotentialPath

    def __init__(self, path: PotentialPath):
        self.path = _as_path(path)

    def __call__(self, lam: Value) -> Potential:
        """The potential path(1 - λ)."""
        return as_potential(self.path(1 - as_lambda(lam)))


class Reparametrised(eqx.Module):
    """λ -> path(f(λ)). See `reparametrise`."""

    path: PotentialPath
    f: Formula

    def __init__(self, path: PotentialPath, f: Formula):
        self.path = _as_path(path)
        cure = "Give a function that rises from 0 to 1: lambda lam: lam**2."
        if not callable(f):
            raise_value_error("f", f, "it must be callable, lambda -> lambda", cure)
        values = jax.vmap(f)(jnp.linspace(0.0, 1.0, CONSTANTS.rise_samples))
        if is_concrete(values):
            _check_rising(f, np.asarray(values), cure)
        self.f = f

    def __call__(self, lam: Value) -> Potential:
        """The potential path(f(λ))."""
        return as_potential(self.path(self.f(as_lambda(lam))))


class Concatenated(eqx.Module):
    """Paths one after another. See `concatenate`."""

    paths: tuple[PotentialPath, ...]
    joints: Array

    def __init__(self, paths: tuple[PotentialPath, ...], at: Value | None):
        self.paths = tuple(_as_path(path) for path in paths)
        self.joints = _joints(len(paths), at)
        # Each path must begin where the previous one ends, up to a constant.
        for k, (before, after) in enumerate(itertools.pairwise(self.paths)):
            _check_meeting(k, as_potential(before(1.0)), as_potential(after(0.0)))

    def __call__(self, lam: Value) -> "Part":
        """The potential at λ: that of the path whose part contains λ."""
        return Part(self.paths, self.joints, as_lambda(lam))


class Part(Potential):
    """The potential of concatenated paths at one λ. **Arguments**: `paths`, `joints`,
    `lam`, as in `concatenate`.

    λ may be traced, and so may the part that contains it. Under `vmap` in λ all paths
    are evaluated, also beyond their ends, and one value is selected.
    """

    paths: tuple[PotentialPath, ...]
    joints: Array
    lam: Array

    @property
    def time_dependent(self) -> bool:
        """Whether any of the paths consists of time-dependent potentials."""
        return any(as_potential(path(0.0)).time_dependent for path in self.paths)

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """Uᵏ_s(x, t) + c_k, a scalar, at the point x of shape (d,)."""
        check_point(x)
        dtype = jnp.result_type(x, self.lam, float)
        current = jnp.searchsorted(self.joints, self.lam, side="right")
        bounds = [0.0, *self.joints, 1.0]

        # The parameter s of path k runs from 0 to 1 on its part; beyond it, the path is
        # continued.
        def value(k: int, x: Array) -> Array:
            s = (self.lam - bounds[k]) / (bounds[k + 1] - bounds[k])
            potential = as_potential(self.paths[k](s))
            # All branches of a `switch` must have one type.
            return jnp.asarray(potential(x, t), dtype)

        # `switch` evaluates the current path only; a `where` would evaluate all of
        # them, beyond their ends too.
        branches = [functools.partial(value, k) for k in range(len(self.paths))]
        energy = jax.lax.switch(current, branches, jnp.asarray(x))
        return energy + self._constants(jnp.shape(x)[0], t, dtype)[current]

    def _constants(self, d: int, t: Scalar | None, dtype: DType) -> Array:
        """The c_k, by which the ends agree at one of the points that were compared."""
        # Along one direction, at the distance where the values are smallest: their
        # rounding is then the smallest too.
        point = jnp.asarray(_sample_points(d)[0], dtype)
        scales = jnp.asarray(_scales(), dtype)
        jumps = []
        for before, after in itertools.pairwise(self.paths):
            end, start = as_potential(before(1.0)), as_potential(after(0.0))

            def size(s: Array, end: Potential = end, start: Potential = start) -> Array:
                return abs(end(s * point, t)) + abs(start(s * point, t))

            sizes = jax.vmap(size)(scales)
            sizes = jnp.where(jnp.isfinite(sizes), sizes, jnp.inf)
            # Only the choice of a point depends on the sizes, which has no derivative.
            smallest = jnp.argmin(jax.lax.stop_gradient(sizes))
            anchor = scales[smallest] * point
            jumps.append(end(anchor, t) - start(anchor, t))
        return jnp.cumsum(jnp.stack([jnp.zeros(()), *jumps])).astype(dtype)


def _as_path(path: PotentialPath) -> PotentialPath:
    if not callable(path):
        cure = "Give fp.Mix(start, end) or a function, lambda -> potential."
        raise_value_error(
            "path", path, "it must be callable, lambda -> potential", cure
        )
    return path


def _joints(parts: int, at: Value | None) -> Array:
    """The joints `(parts - 1,)`, checked: those given, or those of equal parts."""
    given = np.arange(1, parts) / parts if at is None else at
    leaf = as_leaf("at", given, (0, 1), cure="Give the joints in (0, 1).")
    joints = jnp.atleast_1d(leaf)
    cure = f"Give {parts - 1} numbers between 0 and 1, or none for equal parts."
    if joints.shape != (parts - 1,):
        raise_value_error(
            "at", at, f"{parts} paths have {parts - 1} joints, not {joints.size}", cure
        )
    if is_concrete(joints):
        lengths = np.diff(np.asarray([0.0, *joints, 1.0]))
        if np.any(lengths <= 0):
            allowed = "the joints must ascend, and lie strictly between 0 and 1"
            raise_value_error("at", at, allowed, cure)
    return joints


def _check_rising(f: Formula, values: np.ndarray, cure: str) -> None:
    """Raise `ValueError` unless the samples of f are finite numbers that rise from 0 to
    1, up to rounding.
    """
    tolerance = CONSTANTS.rise_tolerance
    if values.dtype != np.float64:
        tolerance = CONSTANTS.rise_tolerance_float32
    if values.shape != (CONSTANTS.rise_samples,) or not np.all(np.isfinite(values)):
        raise_value_error(
            "f", f, "its value at every number in [0, 1] must be a finite number", cure
        )
    if abs(values[0]) > tolerance or abs(values[-1] - 1) > tolerance:
        raise_value_error(
            "f",
            f,
            f"f(0) = {values[0]:.6g} and f(1) = {values[-1]:.6g}, and they must be 0 "
            "and 1",
            cure,
        )
    falls = np.flatnonzero(np.diff(values) < -tolerance)
    if falls.size:
        at = falls[0] / (CONSTANTS.rise_samples - 1)
        raise_value_error(
            "f", f, f"it falls after lambda = {at:.3g}, and it must never fall", cure
        )


def _sample_points(d: int) -> np.ndarray:
    """Sixteen points `(16, d)` within 2 of the origin, at which the ends of two paths
    are compared.

    The first eight have positive coordinates only, for potentials that are not defined
    elsewhere. The frequencies and phases of the sines are free choices, without a
    common period, so that no symmetry hides a difference.
    """
    rows = np.arange(8)[:, None]
    columns = np.arange(d)
    positive = 1.0 + 0.9 * np.sin(1.0 + 2.3 * rows + 3.7 * columns)
    signed = positive * np.sin(5.0 + 1.3 * rows + 2.9 * columns)
    return np.concatenate([positive, signed])


def _scales() -> np.ndarray:
    """The factors of the sample points, one and below first: in the units of a user all
    lengths may be so small, or so large.
    """
    decades = CONSTANTS.scale_decades
    inward = np.arange(0.0, -decades - 1, -1)
    outward = np.arange(1.0, decades + 1)
    return 10.0 ** np.r_[inward, outward]


def _check_meeting(k: int, end: Potential, start: Potential) -> None:
    """Raise `ValueError` if the end of path k and the start of path k + 1 differ by
    more than a constant.
    """
    name = f"paths[{k + 1}](0) - paths[{k}](1)"
    d = _dimension(end, start)
    if d is None:
        allowed = (
            "both must take points of the same number of coordinates, up to "
            f"{CONSTANTS.max_dimension}"
        )
        raise_value_error(
            name,
            (end, start),
            allowed,
            "Give paths between potentials of the same dimension.",
        )

    # Evaluate both at the sample points; traced values cannot be compared.
    points = jnp.asarray(_sample_points(d))
    before = jax.vmap(lambda x: end(x, 0.0))(points)
    after = jax.vmap(lambda x: start(x, 0.0))(points)
    if not is_concrete(before, after):
        return

    # A potential may be infinite or undefined outside its domain. Both must be so at
    # the same points, and both must be finite at the first point, where the constants
    # c_k are fixed.
    before = np.asarray(before)
    jump = np.asarray(after) - before
    finite = np.isfinite(before)
    cure = "Put between them the path that leads from one to the other, such as fp.Mix."
    if np.any(finite != np.isfinite(after)) or not finite[0]:
        allowed = (
            f"both must be finite at the same points, x = {_sample_points(d)[0]} among "
            "them"
        )
        raise_value_error(name, jump, allowed, cure)

    # In the units of the user the potential may vary at any distance, so the points are
    # scaled. Far away it may overflow, at one end only. Near the origin it may be the
    # small difference of terms of size one, whose rounding is no jump: there the
    # differences are compared with the largest values at greater distances, up to one.
    largest_near = 0.0
    for scale in _scales():
        before = np.asarray(jax.vmap(lambda x: end(x, 0.0))(scale * points))
        after = np.asarray(jax.vmap(lambda x: start(x, 0.0))(scale * points))
        finite = np.isfinite(before) & np.isfinite(after)
        if not np.any(finite):
            continue
        before = before[finite]
        after = after[finite]
        jump = after - before
        largest = max(np.max(np.abs(before)), np.max(np.abs(after)))
        if scale <= 1:
            largest = largest_near = max(largest, largest_near)
        tolerance = np.finfo(jump.dtype).eps ** CONSTANTS.meeting_exponent
        if np.ptp(jump) > tolerance * largest:
            spread = f"{np.min(jump):.6g} to {np.max(jump):.6g}"
            allowed = (
                "where one path ends the next must begin, so this must be one constant"
            )
            raise_value_error(name, spread, allowed, cure)


def _dimension(*potentials: Potential) -> int | None:
    """The lowest number of coordinates that all potentials accept, or None.

    numpy raises an error for an index beyond the end of an array, while JAX clamps it.
    The potentials are therefore called with numpy arrays first, and with JAX arrays
    only if no dimension was found, since a function may need a JAX array.
    """
    for make in (np.asarray, jnp.asarray):
        for d in range(1, CONSTANTS.max_dimension + 1):
            try:
                for potential in potentials:
                    potential(make(_sample_points(d)[0]), 0.0)
            except jax.errors.UnexpectedTracerError:
                # A potential closes over a tracer, whatever the dimension is.
                raise
            except (ValueError, TypeError, IndexError):
                continue
            return d
    return None

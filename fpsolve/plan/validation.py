"""Input validation, shared by all public functions.

A wrong argument raises `ValueError` with its name, its value, what is allowed and what
to do, before anything is computed. Values are checked only where they are concrete.
Under `jit`, `vmap` and `grad` only shapes can be checked; there a run reports bad
values by its result code.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, real_dtype
from ..core.checks import (
    check_finite_number,
    check_numbers,
    is_concrete,
    raise_value_error,
)
from ..core.content import read_at
from ..core.program import sampling_program
from ..core.types import ArrayModule, DType, Formula, Initial, Real, Scalar
from ..equation import Continuity, Equation, read_equation
from ..grid import Axis, Gaussian, Grid, Places, sample_product, without_rounding
from ..operator import Samples, Scheme, places_of, sample_smooth
from ..operator.basis import evaluate
from .constants import CONSTANTS


def check_kinds(
    equation: object, scheme: object = None, may_flow: bool = False
) -> None:
    """Raise `ValueError` unless `equation` is an equation, and `scheme` a scheme or
    None.

    A flow passes only if it `may_flow`: it has neither a Hamiltonian with levels nor
    rates.
    """
    if isinstance(equation, Continuity) and not may_flow:
        allowed = (
            "a flow has no H that is bounded below, hence no levels, no Gibbs density "
            "and no fitted grid"
        )
        raise_value_error(
            "equation", equation, allowed, "Give it to fp.evolve with grid=."
        )
    if not isinstance(equation, Equation):
        cure = (
            "Give fp.FokkerPlanck(potential), fp.Schrodinger(potential), "
            "fp.ScoreHamiltonian(score), ..."
        )
        raise_value_error("equation", equation, "it must be an equation", cure)
    if scheme is not None and not isinstance(scheme, Scheme):
        cure = "Give fp.Spectral(), fp.ScharfetterGummel() or fp.SquareRoot()."
        raise_value_error("scheme", scheme, "it must be a scheme", cure)


def check_equation(equation: Any, grid: Any, t: Scalar = 0.0) -> tuple[Any, Grid]:
    """Raise `ValueError` unless `equation` is an equation, `grid` a grid, and all
    functions have the right shape and are finite on the grid.

    **Returns** the equation with its functions as they are now (`read_equation`), and
    the grid.
    """
    check_kinds(equation)
    equation, grid, _ = check_and_sample(equation, grid, None, t)
    return equation, grid


def check_and_sample(
    equation: Any, grid: Any, scheme: Scheme | None, t: Scalar = 0.0
) -> tuple[Any, Grid, Samples | None]:
    """`check_equation`, and the samples of a scheme by the same compiled program; None
    where values are traced.
    """
    check_kinds(equation, may_flow=True)
    if not isinstance(grid, Grid):
        raise_value_error(
            "grid",
            grid,
            "it must be an fp.Grid",
            "Give fp.Grid(fp.Line(-5, 5, 128)), say.",
        )
    # A diffusion given by numbers is checked by its shape, one given by a function
    # below.
    shapes = (
        ()
        if callable(equation.diffusion)
        else (equation.diffusion.shape, getattr(equation, "given", ()))
    )
    if any(shape not in ((), (grid.ndim,)) for shape in shapes):
        cure = "Give one number, or one an axis."
        raise_value_error(
            "diffusion", equation.diffusion, f"the grid has {_dimensions(grid)}", cure
        )
    # A potential is a scalar; everything else that an equation is given by is a vector.
    vector = (grid.ndim,)
    expected: dict[str, tuple[int, ...]] = {
        name: () if name == "potential" else vector for name in equation.functions
    }
    if callable(equation.diffusion):
        expected["diffusion"] = vector
    for name, shape in expected.items():
        _check_function(name, equation, grid, t, shape)
    equation = read_equation(equation, grid.ndim)
    # From here on values are examined.
    if not is_concrete(equation, t):
        return equation, grid, None
    places = grid
    if scheme is not None:
        places = places_of(
            grid, scheme, equation, equation.irreversible_anywhere is None
        )
    found, jumps, samples = _examine(
        equation, tuple(expected), places, as_array(t), scheme
    )
    for name, shape in expected.items():
        _check_values(name, found[name], grid, t, shape)
    for i, (jump, largest) in jumps.items():
        _check_periodic(equation, grid.axes[i], float(jump), float(largest))
    if samples is None:
        return equation, grid, None
    smooth_samples, has_jumps = samples
    # Jumps are resolved where the samples are used (`sample_equation`).
    return equation, grid, None if bool(has_jumps) else smooth_samples


def check_times(times: Any) -> Array:
    """Times `(T,)` as an array: at least one, ascending, at least zero, finite."""
    if is_concrete(times):
        cure, allowed = (
            "Give ascending times, such as [0.5, 1.0].",
            "they must be a list of real numbers, not empty",
        )
        array = np.atleast_1d(check_numbers("times", times, allowed, cure))
        if array.ndim != 1 or array.size == 0:
            raise_value_error("times", times, allowed, cure)
        if not np.all(np.isfinite(array)):
            raise_value_error("times", times, "they must be finite", cure)
        if np.any(array < 0):
            raise_value_error("times", times, "they must be at least zero", cure)
        if np.any(np.diff(array) <= 0):
            raise_value_error("times", times, "they must be ascending", cure)
    return as_array(
        np.atleast_1d(times) if is_concrete(times) else jnp.atleast_1d(times)
    )


def check_breakpoints(breakpoints: Any, times: Array) -> Array:
    """Breakpoints `(B,)` as an array: ascending, finite, after 0 and not after the last
    of the output `times`.
    """
    cure = "Give the times of jumps and kinks, such as breakpoints=[0.25, 0.5]."
    if not is_concrete(breakpoints):
        return as_array(jnp.atleast_1d(breakpoints))
    if np.size(breakpoints) == 0:
        return as_array(np.zeros(0))
    allowed = "they must be a list of times"
    array = np.atleast_1d(
        check_numbers("breakpoints", breakpoints, allowed, cure)
    ).astype(float)
    if array.ndim != 1:
        raise_value_error("breakpoints", breakpoints, allowed, cure)
    if not np.all(np.isfinite(array)):
        raise_value_error("breakpoints", breakpoints, "they must be finite", cure)
    if np.any(np.diff(array) <= 0):
        raise_value_error("breakpoints", breakpoints, "they must be ascending", cure)
    last = float(np.max(np.asarray(times))) if is_concrete(times) else math.inf
    outside = array[(array <= 0) | (array > last)]
    if outside.size:
        allowed = f"they must be after 0 and not after the last time, {last:g}"
        raise_value_error(
            "breakpoints",
            float(outside[0]),
            allowed,
            "Drop those that are outside of the run.",
        )
    return as_array(array)


def check_tolerance(
    tol: Real | None, dtype: DType, name: str = "tol", default: float = 1e-8
) -> float:
    """The tolerance as a float. It must be positive, and not below the precision of
    `dtype`; None gives the default.
    """
    # In float32 the usual default would be below the precision.
    single = jnp.finfo(dtype).bits == 32
    if tol is None:
        return max(default, CONSTANTS.default_tol_single) if single else default
    tol = check_finite_number(name, tol)
    least = least_tolerance(dtype)
    if tol <= 0:
        raise_value_error(name, tol, "it must be positive", "Give 1e-8, say.")
    if tol < least:
        cure = f"Raise {name}."
        if single:
            cure = 'Call jax.config.update("jax_enable_x64", True) before anything else, and give float64 arrays.'
        raise_value_error(
            name, tol, f"{jnp.dtype(dtype).name} holds {least:.1e} at best", cure
        )
    return tol


def least_tolerance(dtype: DType) -> float:
    """The smallest tolerance that is accepted in a precision."""
    return CONSTANTS.least_tol_units * float(jnp.finfo(dtype).eps)


def check_wick(equation: Equation, wick: Real) -> None:
    """Raise `ValueError` for an angle outside [0, pi/2], and for a density at any angle
    but 0.
    """
    angle = check_finite_number(
        "wick", wick, "Give an angle in radians, 0 for imaginary time."
    )
    if angle != 0 and equation.evolves_density:
        cure = "Evolve equation.schrodinger(), whose wave may turn by any angle."
        raise_value_error(
            "wick", wick, "a density is defined in imaginary time only, wick = 0", cure
        )
    if angle < 0:
        cure = (
            "Give a positive angle and the complex conjugate of the initial wave, and "
            "conjugate the result."
        )
        raise_value_error(
            "wick",
            wick,
            "it must lie between 0, imaginary time, and pi/2, real time",
            cure,
        )
    if angle > np.pi / 2 + 1e-12:  # a rounded pi / 2 is accepted
        cure = "Give 0 for imaginary time, math.pi / 2 for real time."
        raise_value_error(
            "wick", wick, "beyond pi/2 the wave grows without bound", cure
        )


def sample_observables(
    observables: Mapping[str, Formula] | None, grid: Grid
) -> dict[str, Array]:
    """The observables on the grid, by name; they must be a mapping from names to
    functions of a point.
    """
    if observables is None:
        return {}
    cure = 'Give {"mean": lambda x: x[0]}, say.'
    if not isinstance(observables, Mapping):
        raise_value_error(
            "observables",
            observables,
            "they must be a mapping from names to functions of x",
            cure,
        )
    for name, f in observables.items():
        if not callable(f):
            raise_value_error(
                f"observables[{name!r}]", f, "it must be a function of x", cure
            )
        _probe(f"observables[{name!r}]", f, grid)
    return {
        name: sample_function(grid, read_at(f, grid.ndim))
        for name, f in observables.items()
    }


def initial_field(
    equation: Equation, grid: Grid, initial: Initial, tol: Real | None = None
) -> Array:
    """The state at t = 0 on the grid, `(*shape)`, in the precision of the run.

    Entries of a density below zero whose mass is within the tolerance `tol` are set to
    zero (`negative_mass`).
    """
    return (
        _initial_density(grid, initial, tol)
        if equation.evolves_density
        else _initial_wave(grid, initial)
    )


def _is_array(initial: object) -> bool:
    return hasattr(initial, "dtype") or isinstance(initial, list | tuple)


def _initial_density(grid: Grid, initial: Initial, tol: Real | None) -> Array:
    """A density from an array, a `Gaussian` or a function."""
    if _is_array(initial):
        field = _floating("initial", initial)
        grid.check_density("initial", field, check_tolerance(tol, real_dtype(field)))
        return without_rounding(field)
    if not callable(initial):
        raise_value_error(
            "initial",
            initial,
            "it must be a density",
            "Give a function, fp.Gaussian or an array.",
        )
    if isinstance(initial, Gaussian):
        return grid.density(initial, "initial")
    _probe("initial", initial, grid)
    return grid.density(sample_function(grid, read_at(initial, grid.ndim)), "initial")


def _initial_wave(grid: Grid, initial: Initial) -> Array:
    """A wave from an array or a function."""
    if not _is_array(initial):
        if not callable(initial):
            cure = "Give a function of x or an array of the grid's shape."
            raise_value_error("initial", initial, "it must be a wave", cure)
        _probe("initial", initial, grid)
        initial = sample_function(grid, read_at(initial, grid.ndim))
    field = _floating("initial", initial)
    if field.shape != grid.shape:
        cure = "Give a function of x, or an array of the grid's shape."
        raise_value_error(
            "initial.shape",
            field.shape,
            f"it must be the grid's shape, {grid.shape}",
            cure,
        )
    if is_concrete(field):
        # By numpy: inside a user's `jit` an operation of JAX on known values would be
        # traced.
        known = np.asarray(field)
        if not np.all(np.isfinite(known)):
            cure = "Examine the wave near singular points."
            raise_value_error(
                "initial", "NaN or infinity", "every value must be finite", cure
            )
        if not np.any(known != 0):
            raise_value_error(
                "initial",
                0.0,
                "the wave is zero everywhere",
                "Move the box to where the wave is.",
            )
    return field


@sampling_program
def sample_function(grid: Grid, function: Formula) -> Array:
    """The values `(*shape, ...)` of a function on the grid, by a small compiled program
    of its own.

    The function must have been read (`core.content.read_at`).
    """
    return grid.sample(function)


@functools.lru_cache(maxsize=64)
def mass_weights(axis: Axis) -> np.ndarray:
    """Weights `(n,)` that integrate the functions of an axis' basis exactly.

    They are the weights of the nodes, except on `fp.Absorbing`, where equal weights
    integrate sines to second order only: there each basis function is integrated by a
    Gauss rule.
    """
    if axis.boundary != "absorbing":
        return axis.weights
    x, w = np.polynomial.legendre.leggauss(axis.n + CONSTANTS.extra_gauss_points)
    return (
        w * axis.length / 2 @ evaluate(axis, axis.lower + axis.length * (x + 1) / 2)[1]
    )


def of_mass_one(grid: Grid, field: Array) -> Array:
    """A smooth density `(*shape)`, normalised with the weights of the basis
    (`mass_weights`).
    """
    # Concrete fields are summed on the host, which takes no compiled program.
    xp: ArrayModule = np if is_concrete(field) else jnp
    mass = xp.asarray(field)
    # One axis after another, from the last: each product removes the last axis.
    for axis in reversed(grid.axes):
        mass = mass @ xp.asarray(mass_weights(axis), dtype=field.dtype)
    return as_array(np.asarray(field) / mass, field.dtype) if xp is np else field / mass


def _probe(name: str, f: Formula, grid: Grid) -> jax.ShapeDtypeStruct:
    """The shape and type of f at one point of the grid; `ValueError` if f fails there.
    Nothing is computed.

    The point is an array of numpy, where an index beyond the end is an error; JAX would
    clamp the index and return a number.
    """
    point = np.asarray(
        [axis.nodes[0] for axis in grid.axes], dtype=jnp.result_type(float)
    )
    try:
        with np.errstate(all="ignore"):
            try:
                return jax.eval_shape(lambda: jnp.asarray(f(point)))
            # what only arrays of JAX have, such as x.at
            except (AttributeError, TypeError):
                return jax.eval_shape(lambda x: jnp.asarray(f(x)), point)
    except (IndexError, TypeError, ValueError) as error:
        if str(error).startswith(name):  # a message of this form already
            raise
        allowed = (
            f"it must take a point of the grid's {_dimensions(grid)}, and fails there "
            f"({error})"
        )
        raise_value_error(
            f"{name} at x",
            tuple(point.tolist()),
            allowed,
            "Use as many coordinates as the grid has axes.",
        )


def _dimensions(grid: Grid) -> str:
    return f"{grid.ndim} dimension{'s' if grid.ndim > 1 else ''}"


def _check_function(
    name: str, equation: Equation, grid: Grid, t: Scalar, shape: tuple[int, ...]
) -> None:
    """Check the shape and type of a function at one point, and that it needs no more
    coordinates than the grid has.
    """
    function = _function(equation, name)
    value = _probe(name, lambda x: function(x, t), grid)
    if value.shape != shape:
        expected = "a scalar" if shape == () else f"of shape {shape}"
        raise_value_error(
            name,
            value.shape,
            f"f(x) must be {expected}",
            "Sum over the coordinates: jnp.sum(x**2), say.",
        )
    if jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise_value_error(
            name,
            value.dtype,
            "it must be real, not complex",
            "Take jnp.real or jnp.abs of it.",
        )


class BadValue(NamedTuple):
    """Whether a function has a value on the grid that is not allowed; the flat index of
    the first, and the value.
    """

    exists: Array
    index: Array
    value: Array


def _check_values(
    name: str, found: BadValue, grid: Grid, t: Scalar, shape: tuple[int, ...]
) -> None:
    """Raise `ValueError` for a value on the grid that is not allowed, with its
    position.
    """
    if bool(found.exists):
        # The index counts the components of a vector, too.
        indices = np.unravel_index(
            int(found.index) // max(1, math.prod(shape)), grid.shape
        )
        position = tuple(
            float(axis.nodes[i]) for axis, i in zip(grid.axes, indices, strict=True)
        )
        expected = "finite, and positive or zero," if name == "diffusion" else "finite"
        allowed = (
            f"it must be {expected} on the grid, and is not at x = {position}, t = {t}"
        )
        raise_value_error(
            name,
            float(found.value),
            allowed,
            "Move the box, or change the function there.",
        )


@sampling_program
def _examine(
    equation: Any, names: tuple[str, ...], grid: Grid | Places, t: Scalar, scheme: Any
) -> Any:
    """The first bad value of each function on the grid, the jumps at the ends of
    periodic axes, and a scheme's samples with whether a function jumps.

    All in one program: each compilation costs more than all of these evaluations.
    """
    found = {name: _first_bad(equation, name, grid, t) for name in names}
    jumps = {}
    # Places have no periodic axis.
    if isinstance(grid, Grid):
        periodic = [
            i for i, axis in enumerate(grid.axes) if axis.boundary == "periodic"
        ]
        jumps = {i: _jump(equation, grid, i, t) for i in periodic}
    samples = None
    if scheme is not None:
        reversible = equation.irreversible_anywhere is None
        samples = sample_smooth(scheme, equation, grid, t, reversible)
    return found, jumps, samples


def _first_bad(
    equation: Equation, name: str, grid: Grid | Places, t: Scalar
) -> BadValue:
    """The first value on the grid that is not finite; of a diffusion, also the first
    that is negative.
    """
    function = _function(equation, name)
    values = grid.sample(lambda x: function(x, t)).ravel()
    bad = ~jnp.isfinite(values)
    if name == "diffusion":
        # It may vanish here and there. One that vanishes everywhere is no diffusion.
        bad = bad | (values < 0) | ~jnp.any(values != 0)
    index = jnp.argmax(bad)
    return BadValue(jnp.any(bad), index, values[index])


def _function(equation: Equation, name: str) -> Callable[[Array, Scalar], Array]:
    """One of the functions that define the equation, or its diffusion, as a function of
    (x, t).
    """
    return (
        equation.functions[name]
        if name != "diffusion"
        else lambda x, t: equation.diffusions(x)
    )


def _check_periodic(
    equation: Equation, axis: Axis, jump: float, largest: float
) -> None:
    """Raise `ValueError` where the potential, score or velocity differs at the two ends
    of a periodic axis.
    """
    if jump > largest:
        # A constant push around a periodic axis has no periodic potential, but it is a
        # periodic force.
        name, cure = (
            "potential",
            "Give the push round the ring as force=..., or use fp.Line.",
        )
        if "potential" not in equation.functions:
            name, cure = _on_ring(equation), "Use fp.Line."
        raise_value_error(
            name,
            jump,
            f"it must be periodic on {axis!r}, and jumps there by this much",
            cure,
        )


def _jump(equation: Equation, grid: Grid, i: int, t: Scalar) -> tuple[Array, Array]:
    """The largest jump of the potential, score or velocity from one end of axis i to
    the other, and how large it may be, relative to the range of the values on the grid
    and to their rounding.
    """
    # The product grid with axis i replaced by its two ends, at which a periodic
    # function has the same values.
    ends = jnp.asarray([grid.axes[i].lower, grid.axes[i].upper], dtype=float)
    positions = tuple(ends if j == i else x for j, x in enumerate(grid.nodes))
    given = equation.functions[_on_ring(equation)]
    values = sample_product(lambda x: given(x, t), positions)
    inside = grid.sample(lambda x: given(x, t))
    rounding = (
        CONSTANTS.periodic_roundings
        * jnp.finfo(inside.dtype).eps
        * jnp.max(jnp.abs(inside))
    )
    return jnp.max(
        jnp.abs(jnp.diff(values, axis=i))
    ), CONSTANTS.periodic_jump * jnp.ptp(inside) + rounding


def _on_ring(equation: Equation) -> str:
    """The name of the function that must be periodic on a ring: the potential, else the
    score or the velocity.
    """
    return next(
        name
        for name in ("potential", "score", "velocity")
        if name in equation.functions
    )


def _floating(name: str, values: Any) -> Array:
    """An array of floating point or complex numbers; integers are converted."""
    if is_concrete(values):
        check_numbers(
            name,
            values,
            "it must hold numbers",
            "Give a function of x, or an array of numbers.",
            waves=True,
        )
    array = jnp.asarray(values)
    return array if jnp.issubdtype(array.dtype, jnp.inexact) else array.astype(float)

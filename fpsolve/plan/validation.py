"""Input validation, shared by all public functions.

Values are checked only where they are concrete; under `jit`, `vmap` and `grad` shapes are checked, the run reports.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import check_finite_number, check_numbers, is_concrete, raise_value_error
from ..core.content import read_at
from ..core.program import sampling_program
from ..equation import Equation, read_equation
from ..grid import Axis, Gaussian, Grid, sample_product
from ..operator import Samples, Scheme
from ..operator.basis import evaluate


def check_kinds(equation: Any, scheme: Any = None) -> None:
    """Refuse what is no equation, or no scheme where one is given."""
    if not isinstance(equation, Equation):
        cure = "Give fp.FokkerPlanck(potential), fp.Schrodinger(potential), fp.ScoreHamiltonian(score), ..."
        raise_value_error("equation", equation, "it must be an equation", cure)
    if scheme is not None and not isinstance(scheme, Scheme):
        cure = "Give fp.Spectral(), fp.ScharfetterGummel() or fp.SquareRoot()."
        raise_value_error("scheme", scheme, "it must be a scheme", cure)


def check_equation(equation: Any, grid: Any, t: Any = 0.0) -> tuple[Any, Grid]:
    """Refuse what is no equation, no grid, or a potential or force that does not fit or is not finite on the grid.

    **Returns** the equation with its functions as they are now (`read_equation`), and the grid.
    """
    equation, grid, _ = check_and_sample(equation, grid, None, t)
    return equation, grid


def check_and_sample(equation: Any, grid: Any, scheme: Scheme | None, t: Any = 0.0) -> tuple[Any, Grid, Samples | None]:
    """The same, with the samples of a scheme taken by the same program where values are concrete; else None."""
    check_kinds(equation)
    if not isinstance(grid, Grid):
        raise_value_error("grid", grid, "it must be an fp.Grid", "Give fp.Grid(fp.Line(-5, 5, 128)), say.")
    shapes = () if callable(equation.diffusion) else (equation.diffusion.shape, getattr(equation, "given", ()))
    if any(shape not in ((), (grid.ndim,)) for shape in shapes):
        cure = "Give one number, or one an axis."
        raise_value_error("diffusion", equation.diffusion, f"the grid has {_dimensions(grid)}", cure)
    # A potential is a scalar; everything else that an equation is given by is a vector.
    vector = (grid.ndim,)
    wanted: dict[str, tuple[int, ...]] = {name: () if name == "potential" else vector for name in equation.functions}
    if callable(equation.diffusion):
        wanted["diffusion"] = vector
    for name, shape in wanted.items():
        _check_function(name, equation, grid, t, shape)
    equation = read_equation(equation, grid.ndim)
    if not is_concrete(equation, t):
        return equation, grid, None
    found, jumps, samples = _values(equation, tuple(wanted), grid, as_array(t), scheme)
    for name, shape in wanted.items():
        _check_values(name, found[name], grid, t, shape)
    for i, (jump, scale) in jumps.items():
        _check_periodic(equation, grid.axes[i], float(jump), float(scale))
    return equation, grid, samples


def check_times(times: Any) -> Array:
    """Times `(T,)` as an array: at least one, ascending, at least zero, finite."""
    if is_concrete(times):
        cure, allowed = "Give ascending times, such as [0.5, 1.0].", "they must be a list of real numbers, not empty"
        array = np.atleast_1d(check_numbers("times", times, allowed, cure))
        if array.ndim != 1 or array.size == 0:
            raise_value_error("times", times, allowed, cure)
        if not np.all(np.isfinite(array)):
            raise_value_error("times", times, "they must be finite", cure)
        if np.any(array < 0):
            raise_value_error("times", times, "they must be at least zero", cure)
        if np.any(np.diff(array) <= 0):
            raise_value_error("times", times, "they must be ascending", cure)
    return as_array(np.atleast_1d(times) if is_concrete(times) else jnp.atleast_1d(times))


def check_tolerance(tol: Any, dtype: Any, name: str = "tol", default: float = 1e-8) -> float:
    """The tolerance, refused if not positive or finer than the precision can hold; None takes the default."""
    single = jnp.finfo(dtype).bits == 32
    if tol is None:
        return max(default, 1e-5) if single else default
    tol = check_finite_number(name, tol)
    floor = 32 * float(jnp.finfo(dtype).eps)
    if tol <= 0:
        raise_value_error(name, tol, "it must be positive", "Give 1e-8, say.")
    if tol < floor:
        cure = f"Raise {name}."
        if single:
            cure = 'Call jax.config.update("jax_enable_x64", True) before anything else, and give float64 arrays.'
        raise_value_error(name, tol, f"{jnp.dtype(dtype).name} holds {floor:.1e} at best", cure)
    return tol


def check_wick(equation: Equation, wick: Any) -> None:
    """Refuse an angle outside [-pi/2, pi/2], or any but zero for a density."""
    angle = check_finite_number("wick", wick, "Give an angle in radians, 0 for imaginary time.")
    if angle != 0 and equation.evolves_density:
        cure = "Evolve equation.schrodinger(), whose wave may turn by any angle."
        raise_value_error("wick", wick, "a density lives in imaginary time only, wick = 0", cure)
    if abs(angle) > np.pi / 2 + 1e-12:
        cure = "Give 0 for imaginary time, math.pi / 2 for real time."
        raise_value_error("wick", wick, "beyond pi/2 the wave grows without bound", cure)


def sample_observables(observables: Any, grid: Grid) -> dict[str, Array]:
    """The observables on the grid; refused unless they are a mapping from names to functions of a point of it."""
    if observables is None:
        return {}
    cure = 'Give {"mean": lambda x: x[0]}, say.'
    if not isinstance(observables, Mapping):
        raise_value_error("observables", observables, "they must be a mapping from names to functions of x", cure)
    for name, f in observables.items():
        if not callable(f):
            raise_value_error(f"observables[{name!r}]", f, "it must be a function of x", cure)
        _probe(f"observables[{name!r}]", f, grid)
    return {name: sample_function(grid, read_at(f, grid.ndim)) for name, f in observables.items()}


def initial_field(equation: Equation, grid: Grid, initial: Any) -> Array:
    """The state at t = 0 on the grid, `(*shape)`, in the precision of the run."""
    array = hasattr(initial, "dtype") or isinstance(initial, list | tuple)
    if equation.evolves_density:
        if not array:
            if not callable(initial):
                raise_value_error(
                    "initial", initial, "it must be a density", "Give a function, fp.Gaussian or an array."
                )
            if isinstance(initial, Gaussian):
                return grid.density(initial, "initial")
            _probe("initial", initial, grid)
            return grid.density(sample_function(grid, read_at(initial, grid.ndim)), "initial")
        field = _floating("initial", initial)
        grid.check_density("initial", field)
        return field
    if not array and not callable(initial):
        raise_value_error(
            "initial", initial, "it must be a wave", "Give a function of x or an array of the grid's shape."
        )
    if not array:
        _probe("initial", initial, grid)
    if callable(initial) and not array:
        initial = sample_function(grid, read_at(initial, grid.ndim))
    field = _floating("initial", initial)
    if field.shape != grid.shape:
        cure = "Give a function of x, or an array of the grid's shape."
        raise_value_error("initial.shape", field.shape, f"it must be the grid's shape, {grid.shape}", cure)
    if is_concrete(field):
        if not bool(jnp.all(jnp.isfinite(field))):
            raise_value_error(
                "initial", "NaN or infinity", "every value must be finite", "Look at the wave near singular points."
            )
        if not bool(jnp.any(field != 0)):
            raise_value_error("initial", 0.0, "the wave is zero everywhere", "Move the box to where the wave is.")
    return field


@sampling_program
def sample_function(grid: Grid, function: Any) -> Array:
    """A function that was read at every point of the grid, `(*shape, ...)`, as a small program of its own."""
    return grid.sample(function)


@functools.lru_cache(maxsize=64)
def mass_weights(axis: Axis) -> np.ndarray:
    """Those of the nodes, `(n,)`; on `fp.Absorbing`, where equal weights integrate sines to second order only, those
    of the basis."""
    if axis.boundary != "absorbing":
        return axis.weights
    x, w = np.polynomial.legendre.leggauss(axis.n + 8)
    return w * axis.length / 2 @ evaluate(axis, axis.lower + axis.length * (x + 1) / 2)[1]


def of_mass_one(grid: Grid, field: Array) -> Array:
    """A density of smooth functions, normalised by the basis."""
    xp: Any = np if is_concrete(field) else jnp
    mass = xp.asarray(field)
    for axis in reversed(grid.axes):
        mass = mass @ xp.asarray(mass_weights(axis), dtype=field.dtype)
    return as_array(np.asarray(field) / mass, field.dtype) if xp is np else field / mass


def _probe(name: str, f: Any, grid: Grid) -> Any:
    """The shape and type of f at one point of the grid, or a refusal. The point is numpy's, where a missing coordinate
    is an error; nothing is computed."""
    point = np.asarray([axis.nodes[0] for axis in grid.axes], dtype=jnp.result_type(float))
    try:
        with np.errstate(all="ignore"):
            try:
                return jax.eval_shape(lambda: jnp.asarray(f(point)))
            except (AttributeError, TypeError):  # what only JAX's arrays have, such as x.at
                return jax.eval_shape(lambda x: jnp.asarray(f(x)), point)
    except (IndexError, TypeError, ValueError) as error:
        if str(error).startswith(name):
            raise
        allowed = f"it must take a point of the grid's {_dimensions(grid)}, and fails there ({error})"
        raise_value_error(
            f"{name} at x", tuple(point.tolist()), allowed, "Use as many coordinates as the grid has axes."
        )


def _dimensions(grid: Grid) -> str:
    return f"{grid.ndim} dimension{'s' if grid.ndim > 1 else ''}"


def _check_function(name: str, equation: Equation, grid: Grid, t: Any, shape: tuple[int, ...]) -> None:
    """Call the function once, which refuses a coordinate that the grid lacks, and check its shape."""
    function = _function(equation, name)
    value = _probe(name, lambda x: function(x, t), grid)
    if value.shape != shape:
        what = "a scalar" if shape == () else f"of shape {shape}"
        raise_value_error(name, value.shape, f"f(x) must be {what}", "Sum over the coordinates: jnp.sum(x**2), say.")
    if jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise_value_error(name, value.dtype, "it must be real, not complex", "Take jnp.real or jnp.abs of it.")


def _check_values(name: str, found: Any, grid: Grid, t: Any, shape: tuple[int, ...]) -> None:
    bad, index, number = found
    if bool(bad):
        at = np.unravel_index(int(index) // max(1, math.prod(shape)), grid.shape)
        where = tuple(float(axis.nodes[i]) for axis, i in zip(grid.axes, at, strict=True))
        wanted = "positive and finite" if name == "diffusion" else "finite"
        cure = "Move the box, or change the function there."
        raise_value_error(
            name, float(number), f"it must be {wanted} on the grid, and is not at x = {where}, t = {t}", cure
        )


@sampling_program
def _values(equation: Any, names: tuple[str, ...], grid: Grid, t: Any, scheme: Any) -> Any:
    """The first bad value of each function on the grid, what a ring finds at its two ends, and a scheme's samples."""
    found = {name: _first_bad(equation, name, grid, t) for name in names}
    rings = [i for i, axis in enumerate(grid.axes) if axis.boundary == "periodic"]
    jumps = {i: _jump(equation, grid, i, t) for i in rings}
    samples = None
    if scheme is not None:
        reversible = equation.irreversible_anywhere is None
        samples = scheme.sample(equation, grid, t, reversible)
    return found, jumps, samples


def _first_bad(equation: Equation, name: str, grid: Grid, t: Any) -> tuple[Array, Array, Array]:
    """Whether a value on the grid is not finite (a diffusion: not positive), its flat index, and the value."""
    function = _function(equation, name)
    values = grid.sample(lambda x: function(x, t)).ravel()
    bad = ~jnp.isfinite(values) | (values <= 0 if name == "diffusion" else False)
    index = jnp.argmax(bad)
    return jnp.any(bad), index, values[index]


def _function(equation: Equation, name: str) -> Callable[[Any, Any], Any]:
    """A function that the equation is given by, or its diffusion, of (x, t)."""
    return equation.functions[name] if name != "diffusion" else lambda x, t: equation.diffusions(x)


def _check_periodic(equation: Equation, axis: Axis, jump: float, scale: float) -> None:
    if jump > 1e-6 * (1 + scale):
        name, cure = "potential", "Give the push round the ring as force=..., or use fp.Line."
        if equation.by_factors:
            name, cure = "score", "Use fp.Line."
        raise_value_error(name, jump, f"it must be periodic on {axis!r}, and jumps there by this much", cure)


def _jump(equation: Equation, grid: Grid, i: int, t: Any) -> tuple[Array, Array]:
    """The largest jump of the potential (or the score) from one end of axis i to the other, and the range of its
    values there."""
    ends = jnp.asarray([grid.axes[i].lower, grid.axes[i].upper], dtype=float)
    positions = tuple(ends if j == i else x for j, x in enumerate(grid.nodes))
    given = equation.functions["score" if equation.by_factors else "potential"]
    values = sample_product(lambda x: given(x, t), positions)
    return jnp.max(jnp.abs(jnp.diff(values, axis=i))), jnp.ptp(values)


def _floating(name: str, values: Any) -> Array:
    if is_concrete(values):
        check_numbers(name, values, "it must hold numbers", "Give a function of x, or an array of numbers.", waves=True)
    array = jnp.asarray(values)
    return array if jnp.issubdtype(array.dtype, jnp.inexact) else array.astype(float)

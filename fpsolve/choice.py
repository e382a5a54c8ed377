"""Which scheme suits, and in which picture: measured on the grid at hand before anything is evolved."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .core.checks import is_concrete, refuse
from .equation import FokkerPlanck
from .grid import Axis, Grid, Legendre, Reflecting
from .method import Chebyshev, Dense, Rational, Reach, Uniformization, needs_rates
from .method.base import Picture
from .method.contraction import choose_ranks, missing
from .method.folding import MORE, SHORTEST, folded, frequencies
from .method.magnus import Problem
from .method.trajectory import CAPPED, enter
from .scheme import EdgeOperator, ScharfetterGummel, Scheme, Spectral
from .scheme.base import Equation

UNRESOLVED = 1e-3  # what `_unresolved` may be; finite volumes with as many cells are seldom better than that
LARGEST_SPECTRAL = 512
CARRIED = 640  # points up to which a density is carried in a basis by its matrix, whatever its drift
CROSSED = 4.0  # Péclet number of a cell up to which a density is tried in a basis
PROVISIONAL = "because the grid resolves the initial density and all that came of it"
WIDEST = 1000.0  # factor on the bounds of a spectrum that proved too narrow


class Choice(NamedTuple):
    """A scheme with the reason for it, the picture to run in, and what the methods must know."""

    scheme: Scheme
    why: str
    picture: Picture
    reversible: bool
    wave_fits: bool


def choose_scheme(
    equation: Equation, grid: Grid, scheme: Any, field: Array, times: Array, tol: float, method: Any = None
) -> Choice:
    """The scheme asked for, checked, or the one that suits the method; with the picture it runs in."""
    process = isinstance(equation, FokkerPlanck)
    reversible = process and equation.irreversible_because(grid) is None
    if scheme is not None:
        check_scheme(scheme, equation, grid)
    wave = Problem(equation, ScharfetterGummel(), grid, "wave", True, 0.0)
    spectral = reversible and (scheme is None or isinstance(scheme, Spectral))
    fits = spectral and _wave_fits(wave, field, tol * CAPPED, tol) and _wave_resolved(wave, field, times, tol)
    why = "as asked"
    if scheme is None and needs_rates(method):
        scheme, why = ScharfetterGummel(), "because the method needs rates between cells"
    elif scheme is None:
        scheme, why = _suitable(equation, grid, reversible, fits, field, times)
    if reversible and not isinstance(scheme, Spectral):
        fits = _wave_fits(wave, field, None, tol)
    why = f"{type(scheme).__name__}, {why}"
    if not process:
        return Choice(scheme, why, "wave", False, True)
    if isinstance(scheme, Spectral):
        if reversible and not fits:
            why += "; the initial density is too wide for its wave, so the density itself is evolved"
        return Choice(scheme, why, "wave" if fits else "density", fits, fits)
    return Choice(scheme, why, "density", reversible, fits)


def check_scheme(scheme: Any, equation: Equation, grid: Grid) -> None:
    """Refuse what is no scheme, or one that cannot take this equation on this grid."""
    if not isinstance(scheme, Scheme):
        refuse(
            "scheme", scheme, "it must be a scheme", "Give fp.Spectral(), fp.ScharfetterGummel() or fp.SquareRoot()."
        )
    scheme.check(equation, grid)


def _suitable(
    equation: Equation, grid: Grid, reversible: bool, fits: bool, field: Array, times: Array
) -> tuple[Scheme, str]:
    volumes = ScharfetterGummel()
    if any(isinstance(axis, Reflecting) for axis in grid.axes):
        return volumes, "because an axis is Reflecting"
    if max(grid.shape) > LARGEST_SPECTRAL:
        return volumes, f"because an axis has more than {LARGEST_SPECTRAL} nodes"
    if not isinstance(equation, FokkerPlanck):
        return Spectral(), "because the grid has a basis on every axis"
    if not reversible or not fits:
        why = "the initial density is too wide for its wave" if reversible else "the process is not reversible"
        if _may_carry(equation, grid, field, times):
            return Spectral(), f"{PROVISIONAL} (not as a wave: {why})"
        return volumes, f"because {why}"
    if not is_concrete(equation, field, times):
        return (
            Spectral(),
            "because the grid has a basis on every axis (nothing could be measured under a transformation)",
        )
    moments = np.linspace(0, float(times[-1]), 3) if equation.moves else np.zeros(1)
    first = _first(times)
    size = max(float(_unresolved(equation, grid, field, t, first)) for t in moments)
    if size < UNRESOLVED:
        return Spectral(), f"because the grid resolves sqrt(pi) and the initial density to {size:.0e}"
    return volumes, f"because Spectral resolves sqrt(pi) and the initial density only to {size:.0e} on this grid"


def _may_carry(equation: FokkerPlanck, grid: Grid, field: Array, times: Array) -> bool:
    """Whether the density itself may be tried in a basis: the start is resolved, and no cell is crossed much faster
    than it is mixed, or the axis is one and its matrix small (only in more dimensions does what leaves at one end of a
    box come in at the other)."""
    if equation.moves or not is_concrete(equation, field, times):
        return False
    share, peclet = _folding(equation, grid, field)
    return float(share) < UNRESOLVED and ((grid.ndim == 1 and grid.size <= CARRIED) or float(peclet) < CROSSED)


@eqx.filter_jit
def _folding(equation: FokkerPlanck, grid: Grid, field: Array) -> tuple[Array, Array]:
    """The largest share of the shortest tenth, and the largest Péclet number |b_i| h_i / D_i of a cell."""
    drift, diffusion = grid.sample(equation.drift), grid.sample(equation.diffusions)
    widths = jnp.asarray([axis.length / axis.n for axis in grid.axes])
    shares = [_shortest(field, axis, i) for i, axis in enumerate(grid.axes) if not isinstance(axis, Legendre)]
    return jnp.max(jnp.stack([jnp.zeros((), field.dtype), *shares])), jnp.max(jnp.abs(drift) * widths / diffusion)


def carried(grid: Grid, values: Array) -> bool:
    """Whether densities `(T, *shape)` that were tried in a basis came out resolved: smooth, and hardly negative."""
    shares = [
        float(_shortest(frame, axis, i))
        for frame in values
        for i, axis in enumerate(grid.axes)
        if not isinstance(axis, Legendre)
    ]
    lowest = jnp.min(values / jnp.max(values, axis=tuple(range(1, values.ndim)), keepdims=True))
    return max(shares, default=0.0) < UNRESOLVED and float(lowest) > -UNRESOLVED


def _shortest(field: Array, axis: Axis, i: int) -> Array:
    """The share of the shortest tenth along axis i: its largest coefficient, relative to the largest of all."""
    spectrum, high = frequencies(field, axis, i)
    return jnp.max(jnp.abs(jnp.where(high, spectrum, 0))) / jnp.max(jnp.abs(spectrum))


def _first(times: Any) -> Any:
    """The first time after the start, 0 if there is none."""
    return np.asarray(times)[np.asarray(times) > 0][:1].sum()


@eqx.filter_jit
def _unresolved(equation: FokkerPlanck, grid: Grid, field: Array, t: Any, first: Any) -> Array:
    """The worse of two: the rate sqrt(pi) |H sqrt(pi)| at which the Gibbs density would leak, and the share of the
    initial density in its shortest tenth, as far as diffusion has not damped it when first asked for, or its square:
    what the grid then feels is what lies twice as far out and has been folded back."""
    dtype = field.dtype
    operator = Spectral().build(equation, grid, t, dtype, True)
    root = jnp.exp(equation.log_root(grid, t)).astype(dtype)
    worst = grid.integrate(root * jnp.abs(operator.hamiltonian(root)))
    if any(axis.ends == "open" for axis in grid.axes):
        worst = jnp.zeros((), dtype)  # sqrt(pi) is no state of a process that loses mass
    for i, axis in enumerate(grid.axes):
        if not isinstance(axis, Legendre):
            share = _shortest(field, axis, i)
            worst = jnp.maximum(worst, jnp.maximum(share**2, share * _damping(equation, grid, i, first)))
    return jnp.where(jnp.isfinite(worst), worst, jnp.inf)


def _damping(equation: Equation, grid: Grid, i: int, t: Any) -> Array:
    """What diffusion leaves after a time t of the shortest tenth along axis i."""
    axis = grid.axes[i]
    shortest = 2 * SHORTEST * jnp.pi * axis.n / axis.length
    return jnp.exp(-jnp.min(grid.sample(lambda x: equation.diffusions(x)[i])) * shortest**2 * t)


def _wave_fits(problem: Problem, field: Array, share: float | None, tol: float) -> bool:
    """Whether rounding of p / sqrt(pi) stays below the tolerance, and below half of the digits, since a wave that is
    taller is not resolved; taken for granted where nothing can be looked at."""
    if not is_concrete(problem.equation, field):
        return True
    size = wave_size(problem, field, share)
    epsilon = float(jnp.finfo(field.dtype).eps)
    return bool(np.isfinite(size)) and 8 * epsilon * size < min(tol, epsilon**0.5)


def _wave_resolved(problem: Problem, field: Array, times: Array, tol: float) -> bool:
    """Whether the wave, where its tails were capped, rings and wraps round the ends of the box no more than the
    tolerance, or not much more than the density itself does."""
    if not is_concrete(problem.equation, field, times):
        return True
    capped, wave, density = _folded(problem, field, tol * CAPPED, _first(times))
    return not capped or bool(wave <= max(tol, MORE * float(density)))


@eqx.filter_jit
def _folded(problem: Problem, field: Array, share: Any, first: Any) -> tuple[Array, Array, Array]:
    """Whether the wave was capped, and what the axes fold of it and of its density, when first asked for."""
    wave = enter(problem, field, jnp.asarray(share, field.dtype))
    root = jnp.exp(problem.log_root(0.0, field.dtype))
    damping = jnp.stack([_damping(problem.equation, problem.grid, i, first) for i in range(problem.grid.ndim)])
    return jnp.any(wave != enter(problem, field)), *folded(problem.grid, wave, root, damping)


def wave_size(problem: Problem, field: Array, share: float | None = None) -> float:
    """|p / sqrt(pi)| = sqrt(1 + chi2) at t = 0: by how much the wave picture enlarges relative errors."""
    wave = enter(problem, field, None if share is None else jnp.asarray(share, field.dtype))
    return float(jnp.sqrt(problem.grid.integrate(wave**2)))


def refine_method(method: Any, problem: Problem, field: Array, times: Array, tol: float) -> tuple[Any, str]:
    """A Chebyshev method with the ranks that suit its start, where nothing was asked and all can be looked at."""
    plain = isinstance(method, Chebyshev) and method.ranks is None and problem.picture == "wave" and problem.wick == 0
    if not (plain and problem.reversible and isinstance(problem.scheme, Spectral) and problem.grid.ndim > 1):
        return method, ""
    if any(isinstance(axis, Legendre) for axis in problem.grid.axes) or not is_concrete(problem, field, times):
        return method, ""
    later = times[times > 0]
    if not later.size:
        return method, ""
    rows, bound = _missing(problem, field, tol, later[0])
    ranks = choose_ranks(rows, float(bound), problem.grid.shape, tol)
    if ranks is None:
        return method, ""
    return Chebyshev(ranks, method.stretch), f"; in the lowest {' x '.join(map(str, ranks))} functions of its axes"


@eqx.filter_jit
def _missing(problem: Problem, field: Array, tol: Any, first: Array) -> Any:
    dtype = field.dtype
    operator = problem.operator(0.0, dtype)
    wave = enter(problem, field, jnp.asarray(tol * CAPPED, dtype))
    return missing(operator, wave, first.astype(dtype)), operator.bounds[1]


def matrix_method(method: Any, problem: Problem, why: str, dtype: Any) -> tuple[Any, str]:
    """A chosen method, or `Dense` where it would sum powers of a matrix far from normal: a density in a basis."""
    basis = isinstance(problem.scheme, Spectral) and problem.picture == "density"
    if not (basis and isinstance(method, Uniformization)) or problem.grid.size > CARRIED or jnp.finfo(dtype).bits == 32:
        return method, why
    return Dense(), f"the density is carried in a basis, and its matrix of {problem.grid.size} points is not normal"


def reach_of(problem: Problem, field: Array, times: Array) -> Reach | None:
    """How far the run goes; None in motion, or where nothing can be looked at."""
    if problem.equation.moves or not is_concrete(problem, field, times):
        return None
    highest, exits = _rates(problem, field)
    last = float(times[-1])
    return Reach(last * float(highest), last * float(exits), len(times))


@eqx.filter_jit
def _rates(problem: Problem, field: Array) -> tuple[Array, Array]:
    operator = problem.operator(0.0, field.real.dtype)
    highest = operator.bounds[1]
    return highest, jnp.max(operator.exit_rates) if isinstance(operator, EdgeOperator) else highest / 2


def mended_method(method: Any, error: Array) -> tuple[Any, str]:
    """What to try after a run that missed its tolerance, and why; None if nothing would help."""
    if isinstance(method, Rational):
        return Uniformization(), "this start enlarges its error beyond tol, so Uniformization took its place"
    if not isinstance(method, Chebyshev):
        return None, ""
    if method.ranks:
        return Chebyshev((), method.stretch), "which missed tol, so all functions were taken"
    if np.all(np.isfinite(np.asarray(error))) or method.stretch > WIDEST:
        return None, ""
    return Chebyshev(method.ranks, 2 * method.stretch), "the spectrum proved wider than its bounds, which were doubled"

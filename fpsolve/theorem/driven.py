"""Driven processes of the theorems T14 to T19: their potentials, their runs, and the chain that a run is exact for.

    U(x, t) = U_0(x) + λ(t) g(x)      π_t = exp(-U/D)/Z_t      a_t = d_t log π_t = -λ'(t) (g - <g>_π)/D

On cells of finite volumes the density is that of a Markov chain with the rates of Scharfetter and Gummel. A theorem
about reversible processes holds on this chain without an error of the grid: its gap and its norms are computed here by
numpy, from the values of U at the nodes alone.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..anneal.schedule.monotone import Bernstein
from ..equation import FokkerPlanck
from ..grid import Grid
from ..operator import ScharfetterGummel
from ..propagate import Rational
from ..solve.evolve import evolve
from ..step import Magnus
from .problems import values_on


class Tilting(eqx.Module):
    """U = height (x^2 - 1)^2 - λ(t) (slope tanh 2x + wave cos(wavenumber x + phase)): bounded driving of two wells.

    All numbers are arrays, so that one compiled program serves every problem. λ is a Bernstein polynomial of degree 3.
    """

    height: Array
    slope: Array
    wave: Array
    wavenumber: Array
    phase: Array
    schedule: Bernstein

    def __init__(
        self,
        total: float,
        *,
        height: float = 1.0,
        slope: float = 0.5,
        wave: float = 0.0,
        wavenumber: float = 1.0,
        phase: float = 0.0,
        coefficients: tuple[float, ...] = (0.0, 1 / 3, 2 / 3, 1.0),  # λ linear in t
    ):
        self.height = jnp.asarray(height)
        self.slope = jnp.asarray(slope)
        self.wave = jnp.asarray(wave)
        self.wavenumber = jnp.asarray(wavenumber)
        self.phase = jnp.asarray(phase)
        self.schedule = Bernstein(jnp.asarray(float(total)), jnp.asarray(coefficients))

    def __call__(self, x: Array, t: Any) -> Array:
        """U(x, t) at the point x `(1,)`."""
        driving = self.slope * jnp.tanh(2 * x[0]) + self.wave * jnp.cos(self.wavenumber * x[0] + self.phase)
        return self.height * (x[0] ** 2 - 1) ** 2 - self.schedule(t) * driving


class Dragged(eqx.Module):
    """U = stiffness (x - speed t)^2/2 + ridge log cosh(x - ridge_speed t) + tilt x + wave cos(wavenumber x + phase).

    The first two terms are convex and move. The others, which do not, stand for D times the integral of an error of the
    score, and are small.
    """

    stiffness: Array
    speed: Array
    ridge: Array
    ridge_speed: Array
    tilt: Array
    wave: Array
    wavenumber: Array
    phase: Array

    def __init__(
        self,
        stiffness: float,
        speed: float,
        *,
        ridge: float = 0.0,
        ridge_speed: float = 0.0,
        tilt: float = 0.0,
        wave: float = 0.0,
        wavenumber: float = 1.0,
        phase: float = 0.0,
    ):
        numbers = (stiffness, speed, ridge, ridge_speed, tilt, wave, wavenumber, phase)
        arrays = [jnp.asarray(float(number)) for number in numbers]
        self.stiffness, self.speed, self.ridge, self.ridge_speed, self.tilt, self.wave, self.wavenumber, self.phase = arrays

    def __call__(self, x: Array, t: Any) -> Array:
        """U(x, t) at the point x `(1,)`."""
        # log cosh y without overflow
        y = jnp.abs(x[0] - self.ridge_speed * t)
        convex = self.stiffness * (x[0] - self.speed * t) ** 2 / 2 + self.ridge * (y + jnp.log1p(jnp.exp(-2 * y)))
        return convex + self.tilt * x[0] + self.wave * jnp.cos(self.wavenumber * x[0] + self.phase)


def evolve_driven(potential: Any, diffusion: float, start: Any, times: tuple[float, float], grid: Grid) -> Any:
    """Densities `(2, n)` by finite volumes, in steps of controlled error: the kernel that T14 to T19 test."""
    # Always two times and one method: one compiled program for all of these theorems.
    found = evolve(
        FokkerPlanck(potential, diffusion),
        jnp.asarray(start),
        times,
        grid=grid,
        scheme=ScharfetterGummel(),
        method=Magnus(exponential=Rational()),
        tol=1e-6,
        throw=False,
        check=False,
    )
    return np.asarray(found.values)


def gibbs(energy: Any, diffusion: float, grid: Grid) -> Any:
    """exp(-U/D)/Z `(..., n)` by numpy from U `(..., n)`."""
    density = np.exp(-(energy - energy.min(axis=-1, keepdims=True)) / diffusion)
    return density / (density @ grid.axes[0].weights)[..., None]


def chi(density: Any, steady: Any, grid: Grid) -> Any:
    """sqrt(chi2(p | pi)) `(...)` of densities `(..., n)`."""
    return np.sqrt((density - steady) ** 2 / steady @ grid.axes[0].weights)


def relative_entropy(density: Any, steady: Any, grid: Grid) -> Any:
    """KL(p | pi) `(...)` of densities `(..., n)`; p log(p/pi) - p + pi is never negative."""
    # Rounding may leave a tail without mass or with a negative one: it counts as none.
    p = np.maximum(density, np.finfo(float).tiny)
    return (p * np.log(p / steady) - p + steady) @ grid.axes[0].weights


class Chain(NamedTuple):
    """The chain at L positions λ: `gap` `(L,)`; `drive` |ell|, `lag` |H^-1 ell sqrt(pi)| and `overlap`
    |<psi_1, ell sqrt(pi)>| `(L,)`; `decrease` max(-ell) `(L,)`, with ell = d_λ log pi."""

    gap: Any
    drive: Any
    lag: Any
    overlap: Any
    decrease: Any


def chain(potential: Tilting, diffusion: float, grid: Grid, lambdas: Any) -> Chain:
    """The numbers of the chain at `lambdas` `(L,)`, by numpy from the values of U at the nodes."""
    start, driving = driven_energies(potential, grid)
    energy = start + np.asarray(lambdas)[:, None] * driving
    steady = gibbs(energy, diffusion, grid)
    weights = grid.axes[0].weights
    ell = -(driving - (steady @ (weights * driving))[:, None]) / diffusion
    levels, vectors = np.linalg.eigh(chain_hamiltonian(energy, diffusion, float(weights[0])))
    wave = np.sqrt(weights * steady) * ell
    modes = np.einsum("lij,li->lj", vectors, wave)[:, 1:]  # the ground state has none of it
    return Chain(
        gap=levels[:, 1],
        drive=np.linalg.norm(wave, axis=1),
        lag=np.linalg.norm(modes / levels[:, 1:], axis=1),
        overlap=np.abs(modes[:, 0]),
        decrease=np.max(-ell, axis=1),
    )


def tilted_gibbs(potential: Tilting, diffusion: float, grid: Grid, times: Any) -> Any:
    """pi_t `(T, n)` at `times` `(T,)`, by numpy."""
    start, driving = driven_energies(potential, grid)
    lam = schedule_at(potential.schedule, np.asarray(times))[0]
    return gibbs(start + lam[:, None] * driving, diffusion, grid)


def driven_energies(potential: Tilting, grid: Grid) -> tuple[Any, Any]:
    """U at λ = 0 and its derivative in λ, `(n,)` each: U is linear in λ."""
    ends = values_on(grid, potential, np.asarray([0.0, float(potential.schedule.total)]))
    return ends[:, 0], ends[:, 1] - ends[:, 0]


def chain_hamiltonian(energy: Any, diffusion: float, spacing: float) -> Any:
    """H `(..., n, n)` of the chain with energies `(..., n)`, in the orthonormal basis of equal cells.

    H_ij = -c with c = (D/h^2) z/sinh z between neighbours, z = (U_j - U_i)/(2D); the diagonal lets sqrt(pi) be a ground
    state of energy 0.
    """
    z = np.diff(energy, axis=-1) / (2 * diffusion)
    small = np.abs(z) < 1e-6  # z / sinh z = 1 - z^2/6, which is 1 to rounding
    coupling = diffusion / spacing**2 * np.where(small, 1.0, z / np.sinh(np.where(small, 1.0, z)))
    matrix = np.zeros((*energy.shape, energy.shape[-1]))
    lower = np.arange(energy.shape[-1] - 1)
    matrix[..., lower, lower + 1] = -coupling
    matrix[..., lower + 1, lower] = -coupling
    matrix[..., lower, lower] += coupling * np.exp(-z)
    matrix[..., lower + 1, lower + 1] += coupling * np.exp(z)
    return matrix


def schedule_at(schedule: Bernstein, times: Any) -> tuple[Any, Any]:
    """λ and dλ/dt `(M,)` at times in [0, total], by numpy."""
    total = float(schedule.total)
    c0, c1, c2, c3 = np.asarray(schedule.coefficients)
    cubic = np.polynomial.Polynomial([c0, 3 * (c1 - c0), 3 * (c2 - 2 * c1 + c0), c3 - 3 * c2 + 3 * c1 - c0])
    u = np.asarray(times) / total
    return cubic(u), cubic.deriv()(u) / total


def integrate(times: Any, decay: Any, source: Any) -> Any:
    """x `(M,)` of x' = -decay x + source on a fine mesh `(M,)`, from x = 0."""
    # Exact for constant coefficients between two times, here those of the middle.
    h = np.diff(times)
    rate = (decay[1:] + decay[:-1]) / 2
    gain = (source[1:] + source[:-1]) / 2 * h
    with np.errstate(invalid="ignore"):
        factor = np.where(rate == 0, 1.0, -np.expm1(-rate * h) / np.where(rate == 0, 1.0, rate * h))
    x = np.zeros(len(times))
    for k in range(len(h)):
        x[k + 1] = np.exp(-rate[k] * h[k]) * x[k] + factor[k] * gain[k]
    return x


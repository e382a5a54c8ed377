"""References for the cases of `first_answer.py`, by closed forms, numpy and scipy,
without fpsolve.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import by_hand
import jax
import jax.numpy as jnp
import numpy as np
import problems
import scipy.integrate
import scipy.interpolate
import scipy.linalg
import scipy.sparse.linalg
import scipy.special

Axes = tuple[np.ndarray, ...]  # nodes, one array an axis, shaped to broadcast


def axes_of(grid: Any) -> Axes:
    """The nodes of a grid."""
    return tuple(np.ix_(*(np.asarray(axis.nodes) for axis in grid.axes)))


def l1(values: Any, right: Any) -> float:
    """The largest relative L1 distance of densities on equal cells, over times."""
    pairs = zip(np.asarray(values), right, strict=True)
    return float(max(np.abs(p - q).sum() / np.abs(q).sum() for p, q in pairs))


def level_error(values: Any, right: Any) -> float:
    """The largest distance of levels, over the highest."""
    return float(np.abs(np.asarray(values) - right).max() / np.abs(right).max())


def normal(mean: Sequence[float], variance: float) -> Callable[[Axes], np.ndarray]:
    """A normal density, as a function of axes; zero where its wave would only be
    rounding.
    """

    def density(axes: Axes) -> np.ndarray:
        squares = sum((x - m) ** 2 for x, m in zip(axes, mean, strict=True))
        values = np.exp(-squares / (2 * variance)) / (2 * np.pi * variance) ** (
            len(axes) / 2
        )
        return np.where(squares < 56 * variance, values, 0.0)

    return density


def normal_averages(mean: Sequence[float], variance: float, axes: Axes) -> np.ndarray:
    """The averages of a normal density over equal cells."""
    averages = np.ones(())
    for x, m in zip(axes, mean, strict=True):
        h = np.ptp(x) / (x.size - 1)
        # Differences of small tails, on whichever side of the mean, keep their digits.
        inner, outer = (
            (h * side - np.abs(x - m)) / np.sqrt(variance) for side in (0.5, -0.5)
        )
        averages = (
            averages * (scipy.special.ndtr(inner) - scipy.special.ndtr(outer)) / h
        )
    return averages


# Waves in the sinc basis


@dataclasses.dataclass(frozen=True)
class Densities:
    """Densities on cell centres of a box, at several times, which can be interpolated
    anywhere inside.
    """

    box: Any
    values: list[np.ndarray]

    def at(self, axes: Axes) -> list[np.ndarray]:
        """One density a time."""
        return [problems.Reference(self.box, values).at(axes) for values in self.values]


def energies(potential: Callable[..., Any], axes: Axes) -> np.ndarray:
    """U on the product of the nodes."""
    return _everywhere(potential, axes)


def quantum_potential_term(
    potential: Callable[..., Any], diffusion: float, axes: Axes
) -> np.ndarray:
    """|grad U|^2 / 4D - Laplacian U / 2, by automatic differentiation."""
    square = lambda x: jnp.sum(jax.grad(potential)(x) ** 2) / (4 * diffusion)
    return _everywhere(
        lambda x: square(x) - jnp.trace(jax.hessian(potential)(x)) / 2, axes
    )


def _everywhere(f: Callable[..., Any], axes: Axes) -> np.ndarray:
    shape = np.broadcast_shapes(*(x.shape for x in axes))
    points = np.stack([np.broadcast_to(x, shape).ravel() for x in axes], axis=1)
    return np.asarray(jax.vmap(f)(jnp.asarray(points))).reshape(shape)


def evolved(
    potential: Any, diffusion: float, start: Any, times: Any, box: Any, shape: Any
) -> Densities:
    """Densities at `times`, by Chebyshev polynomials of H with Bessel coefficients."""
    axes = problems.open_axes(box, shape)
    kinetic = [diffusion * by_hand.second_derivative(x) for x in axes]
    potential_term = quantum_potential_term(potential, diffusion, axes)
    root = energies(potential, axes) / (2 * diffusion)
    root = np.exp(root.min() - root)
    product = by_hand.product_of(kinetic, potential_term)
    highest = (
        sum(np.linalg.eigvalsh(matrix)[-1] for matrix in kinetic) + potential_term.max()
    )
    wave = start(axes) / np.maximum(root, 1e-140)
    found = []
    for t in times:
        density = root * _exponential(product, highest, t, wave)
        found.append(density / (density.sum() * problems.cell(axes)))
    return Densities(box, found)


def _exponential(
    product: Any, highest: float, t: float, wave: np.ndarray
) -> np.ndarray:
    """exp(-tH) on a wave; the spectrum of H lies between 0, as H = A^T A, and
    `highest`.
    """
    half = highest / 2
    z = t * half
    c = scipy.special.ive(np.arange(int(np.sqrt(80 * z) + 80)), z)
    c[1:] *= 2
    held, spare = np.empty_like(wave), np.empty_like(wave)

    def scaled(u: np.ndarray) -> np.ndarray:
        product(u, held, spare)
        return u - held / half

    before, now = wave, scaled(wave)
    total = c[0] * before + c[1] * now
    for factor in c[2:]:
        before, now = now, 2 * scaled(now) - before
        total = total + factor * now
    return total


def levels(
    potential: Any, diffusion: float, box: Any, shape: Any, k: int
) -> np.ndarray:
    """The lowest levels of H."""
    axes = problems.open_axes(box, shape)
    matrix = np.diag(quantum_potential_term(potential, diffusion, axes).ravel())
    for i, x in enumerate(axes):
        kinetic = diffusion * by_hand.second_derivative(x)
        before = np.prod(shape[:i], dtype=int)
        after = np.prod(shape[i + 1 :], dtype=int)
        matrix += np.kron(np.eye(before), np.kron(kinetic, np.eye(after)))
    values = scipy.sparse.linalg.eigsh(matrix, k, sigma=-0.1, return_eigenvectors=False)
    return np.sort(values)


# Normal densities in traps


@dataclasses.dataclass(frozen=True)
class Trap:
    """U = stiffness(t) (x - centre(t))^2 / 2, as a potential and as two functions of
    time.
    """

    potential: Callable[..., Any]
    stiffness: Callable[[float], float]
    centre: Callable[[float], float]


def moments(
    trap: Trap, mean: float, variance: float, times: Any
) -> list[tuple[float, float]]:
    """m' = -k (m - c), v' = 2 - 2 k v, at D = 1."""

    def rates(t: float, y: np.ndarray) -> list[float]:
        k = trap.stiffness(t)
        return [-k * (y[0] - trap.centre(t)), 2 - 2 * k * y[1]]

    span = (0.0, max(times))
    path = scipy.integrate.solve_ivp(
        rates, span, [mean, variance], "DOP853", times, rtol=1e-12, atol=1e-14
    )
    return list(zip(*path.y, strict=True))


def harmonic_lag(first: Any, last: Any, schedule: Any, total: float) -> float:
    """KL at the end, of a density that starts in equilibrium and follows two mixed
    harmonic potentials.
    """
    (k, a), (q, b) = first, last
    ts = np.linspace(0, total, 4001)
    place = scipy.interpolate.CubicSpline(
        ts, np.asarray(jax.vmap(schedule)(jnp.asarray(ts)))
    )
    stiffness = lambda t: (1 - place(t)) * k + place(t) * q
    centre = lambda t: ((1 - place(t)) * k * a + place(t) * q * b) / stiffness(t)
    ((m, v),) = moments(Trap(lambda x: x, stiffness, centre), a, 1 / k, (total,))
    return float((q * v - 1 - np.log(q * v)) / 2 + q * (m - b) ** 2 / 2)


def harmonic_costs(first: Any, last: Any) -> tuple[float, float]:
    """C and the gain of the cost "exact" on that path: sqrt(g) = |H^-1 d_s U| in
    L2(pi), by Hermite functions.
    """
    (k, a), (q, b) = first, last
    x, weights = np.polynomial.legendre.leggauss(200)
    s, weights = (1 + x) / 2, weights / 2
    stiffness = (1 - s) * k + s * q
    centre = ((1 - s) * k * a + s * q * b) / stiffness
    bend, slope = (q - k) / 2, q * (centre - b) - k * (centre - a)
    cost = np.sqrt(slope**2 / stiffness**3 + bend**2 / (2 * stiffness**4))
    integral = weights @ cost
    return float(integral), float(weights @ cost**2 / integral**2)


# Finite volumes


def bernoulli(z: np.ndarray) -> np.ndarray:
    """z / (e^z - 1)."""
    safe = np.where(np.abs(z) < 1e-12, 1.0, z)
    return np.where(np.abs(z) < 1e-12, 1 - z / 2, safe / np.expm1(safe))


def volumes(potential: Any, axes: Axes) -> tuple[np.ndarray, np.ndarray]:
    """H of Scharfetter and Gummel at D = 1 without flux at the ends, `(size, size)`,
    and sqrt(pi) up to a factor.
    """
    energy = energies(potential, axes)
    index = np.arange(energy.size).reshape(energy.shape)
    matrix = np.zeros((energy.size, energy.size))
    for i, x in enumerate(axes):
        h = np.diff(x.ravel())[0]
        rise = np.diff(energy, axis=i).ravel()
        low = np.delete(index, -1, axis=i).ravel()
        high = np.delete(index, 0, axis=i).ravel()
        up, down = bernoulli(rise) / h**2, bernoulli(-rise) / h**2
        matrix[low, low] += up
        matrix[high, high] += down
        matrix[low, high] = -np.sqrt(up * down)
        matrix[high, low] = -np.sqrt(up * down)
    return matrix, np.exp((energy.min() - energy) / 2)


def line_evolved(
    potential: Any, diffusion: float, start: Any, times: Any, box: Any, axes: Axes
) -> list[np.ndarray]:
    """Densities on the nodes `axes` of a line at multiples of the first time, where a
    wave would overflow.

    Powers of the exponential of volumes, nonnegative matrices; 200, 400 and 800 of
    them, extrapolated.
    """
    levels = []
    for n in (200, 400, 800):
        x = problems.open_axes(box, (n,))
        h = problems.cell(x)
        rise = np.diff(energies(potential, x)) / diffusion
        up = diffusion * bernoulli(rise) / h**2
        down = diffusion * bernoulli(-rise) / h**2
        generator = np.diag(up, -1) + np.diag(down, 1)
        generator -= np.diag(generator.sum(axis=0))
        step = scipy.linalg.expm(times[0] * generator)
        values = [
            np.linalg.matrix_power(step, round(t / times[0])) @ start(x) for t in times
        ]
        levels.append(np.stack(Densities(box, values).at(axes)))
    return list(by_hand.extrapolated(levels))


def volumes_evolved(
    potential: Any, axes: Axes, start: np.ndarray, times: Any
) -> list[np.ndarray]:
    """Densities at `times`, of mass 1."""
    matrix, root = volumes(potential, axes)
    values, vectors = np.linalg.eigh(matrix)
    wave = vectors.T @ (start / np.maximum(root, 1e-140)).ravel()
    found = []
    for t in times:
        density = root * (vectors @ (np.exp(-t * values) * wave)).reshape(root.shape)
        found.append(density / (density.sum() * problems.cell(axes)))
    return found


def radial_levels(
    potential: Any, n: int, wave: bool, reach: float = 9.0, k: int = 4
) -> tuple[np.ndarray, float]:
    """Levels by `scipy.linalg.eigh_tridiagonal` and its seconds, potential and rates
    included; D = 1, of waves 1/2.
    """
    x = problems.centres((0.0, reach), n)
    h = reach / n
    energies(potential, (x,))  # compiles
    begun = time.perf_counter()
    energy = energies(potential, (x,))
    rise = np.zeros(n - 1) if wave else np.diff(energy)
    diffusion = 0.5 if wave else 1.0
    up, down = diffusion * bernoulli(rise) / h**2, diffusion * bernoulli(-rise) / h**2
    diagonal = np.append(up, 0.0) + np.append(0.0, down) + (energy if wave else 0.0)
    values = scipy.linalg.eigh_tridiagonal(
        diagonal, -np.sqrt(up * down), True, "i", (0, k - 1)
    )
    return values, time.perf_counter() - begun

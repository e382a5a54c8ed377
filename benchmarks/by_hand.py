"""Each kernel by hand in about twenty lines of optimised numpy, for comparison.

Each function takes a problem and sizes, prepares what does not depend on the potential
(nodes, kinetic matrices, FFT plans, poles), and returns `(run, axes)`: `run()` computes
the density on the nodes `axes` from the potential. Arrays are contiguous, products are
BLAS, and loops work in place.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import problems
import scipy.fft
import scipy.linalg
import scipy.special

try:
    import pyfftw
except ImportError:  # otherwise scipy's transforms are used
    pyfftw = None

Run = tuple[Callable[[], np.ndarray], tuple[np.ndarray, ...]]


def second_derivative(x: np.ndarray) -> np.ndarray:
    """-d^2/dx^2 in the sinc basis, `(n, n)`."""
    n, h = x.size, x.ravel()[1] - x.ravel()[0]
    i = np.arange(n)
    apart = i[:, None] - i
    off = 2.0 * (-1.0) ** apart / np.where(apart == 0, 1, apart) ** 2
    return np.where(apart == 0, np.pi**2 / 3, off) / h**2


def extrapolated(row: list[np.ndarray]) -> np.ndarray:
    """Richardson's table from results with n, 2n, 4n, ... steps of a symmetric method
    of order 2.
    """
    for j in range(1, len(row)):
        row = [b + (b - a) / (4**j - 1) for a, b in itertools.pairwise(row)]
    return row[0]


def sinc_eigh(problem: Any, box: Any, shape: Any) -> Run:
    """exp(-tH) by the eigenvectors of the whole matrix in the sinc basis, on a line."""
    axes = problems.open_axes(box, shape)
    (x,) = axes
    kinetic = second_derivative(x)
    h = problems.cell(axes)

    def run() -> np.ndarray:
        root = np.exp(-problems.potential(axes) / 2)
        matrix = kinetic.copy()
        matrix.flat[:: x.size + 1] += problem.potential_term(axes)
        values, vectors = np.linalg.eigh(matrix)
        wave = vectors @ (
            np.exp(-problem.t * values) * (problem.start(axes) / root @ vectors)
        )
        density = root * wave
        return density / (density.sum() * h)

    return run, axes


def sinc_chebyshev(problem: Any, box: Any, shape: Any, tol: float = 1e-9) -> Run:
    """exp(-tH) by Chebyshev polynomials with Bessel coefficients in the sinc basis,
    dense matrices along each axis.
    """
    axes = problems.open_axes(box, shape)
    kinetic = [second_derivative(x) for x in axes]
    reach = sum(np.linalg.eigvalsh(matrix)[-1] for matrix in kinetic)
    volume = problems.cell(axes)

    def run() -> np.ndarray:
        root = np.exp(-problems.potential(axes) / 2)
        potential_term = problem.potential_term(axes)
        highest = reach + potential_term.max()
        z = problem.t * highest / 2
        guess = np.arange(int(np.sqrt(2 * z * 40) + 60))
        coefficients = scipy.special.ive(guess, z)
        coefficients = coefficients[
            : 1 + np.flatnonzero(coefficients > tol * coefficients[0] / 100)[-1]
        ]
        coefficients[1:] *= 2
        matrices = [-4 / highest * matrix for matrix in kinetic]
        diagonal = 2 - 4 / highest * potential_term
        before = problem.start(axes) / root
        product = product_of(matrices, diagonal)
        now, spare = np.empty_like(before), np.empty_like(before)
        product(before, now, spare)
        now *= 0.5
        total = coefficients[0] * before + coefficients[1] * now
        after = np.empty_like(before)
        for c in coefficients[2:]:
            product(now, after, spare)
            after -= before
            np.multiply(after, c, out=spare)
            total += spare
            before, now, after = now, after, before
        density = root * total
        return density / (density.sum() * volume)

    return run, axes


def product_of(matrices: list[np.ndarray], diagonal: np.ndarray) -> Callable[..., None]:
    """(sum of matrices along the axes + diagonal) applied in place:
    `product(u, out, spare)`.
    """
    first, last = matrices[0], matrices[-1]
    n = diagonal.shape

    def product(u: np.ndarray, out: np.ndarray, spare: np.ndarray) -> None:
        np.multiply(diagonal, u, out=out)
        np.matmul(first, u.reshape(n[0], -1), out=spare.reshape(n[0], -1))
        np.add(out, spare, out=out)
        for matrix in matrices[1:-1]:
            np.matmul(matrix, u, out=spare)
            np.add(out, spare, out=out)
        if len(n) > 1:
            np.matmul(u.reshape(-1, n[-1]), last, out=spare.reshape(-1, n[-1]))
            np.add(out, spare, out=out)

    return product


def strang_steps(
    wave: np.ndarray,
    potential_term: np.ndarray,
    squares: np.ndarray,
    pair: Any,
    dt: float,
    count: int,
) -> Any:
    """`count` Strang steps of length dt; `pair` transforms forward and backward,
    `squares` is the kinetic energy.
    """
    forward, backward = pair
    whole, half = np.exp(-dt * potential_term), np.exp(-dt / 2 * potential_term)
    filter_ = np.exp(-dt * squares)
    wave = wave * half
    for k in range(count):
        spectrum = forward(wave)
        spectrum *= filter_
        wave = backward(spectrum)
        wave *= whole if k < count - 1 else half
    return wave


def fft_strang(problem: Any, box: Any, shape: Any, steps: int) -> Run:
    """Strang steps in the wave picture, kinetic part by real FFT, two levels of
    Richardson: (4 T(2n) - T(n)) / 3.
    """
    axes = problems.open_axes(box, shape)
    squares = wavenumbers(box, shape)
    pair = transforms(shape)
    volume = problems.cell(axes)

    def level(wave: np.ndarray, potential_term: np.ndarray, count: int) -> np.ndarray:
        return strang_steps(
            wave, potential_term, squares, pair, problem.t / count, count
        ).copy()

    def run() -> np.ndarray:
        root = np.exp(-problems.potential(axes) / 2)
        wave = problem.start(axes) / root
        potential_term = problem.potential_term(axes)
        density = root * extrapolated(
            [level(wave, potential_term, steps), level(wave, potential_term, 2 * steps)]
        )
        return density / (density.sum() * volume)

    return run, axes


def wavenumbers(box: Any, shape: Any) -> np.ndarray:
    """k^2 for the real transform on the box."""
    frequencies = [
        np.fft.fftfreq(n, (b - a) / n) for (a, b), n in zip(box, shape, strict=True)
    ]
    frequencies[-1] = np.abs(frequencies[-1][: shape[-1] // 2 + 1])
    return sum((2 * np.pi * f) ** 2 for f in np.ix_(*frequencies))


def transforms(shape: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Real n-dimensional FFT and its inverse: FFTW with a measured plan if installed,
    else scipy's.
    """
    if pyfftw is None:
        return scipy.fft.rfftn, lambda u: scipy.fft.irfftn(u, shape, overwrite_x=True)
    real = pyfftw.empty_aligned(shape, "float64")
    other = pyfftw.empty_aligned((*shape[:-1], shape[-1] // 2 + 1), "complex128")
    axes = tuple(range(len(shape)))
    make = lambda a, b, direction: pyfftw.FFTW(
        a, b, axes, direction, ("FFTW_MEASURE", "FFTW_DESTROY_INPUT")
    )
    return make(real, other, "FFTW_FORWARD"), make(other, real, "FFTW_BACKWARD")


def volumes_rational(problem: Any, box: Any, shape: Any, order: int = 10) -> Run:
    """Scharfetter-Gummel volumes on a line, exp(tL) by Carathéodory-Fejér poles and
    complex tridiagonal solves.
    """
    axes = problems.open_axes(box, shape)
    h, n = problems.cell(axes), shape[0]
    poles, residues, constant = caratheodory_fejer(order)
    upper = poles.imag > 0

    def run() -> np.ndarray:
        jump = np.diff(problems.potential(axes))
        jump[jump == 0] = 1e-300
        up, down = jump / np.expm1(jump) / h**2, -jump / np.expm1(-jump) / h**2
        diagonal = np.zeros(n)
        diagonal[:-1] -= up
        diagonal[1:] -= down
        band = np.zeros((3, n), complex)
        band[0, 1:], band[2, :-1] = problem.t * down, problem.t * up
        start = problem.start(axes)
        density = constant * start
        for pole, residue in zip(poles[upper], residues[upper], strict=True):
            band[1] = problem.t * diagonal - pole
            solved = scipy.linalg.solve_banded((1, 1), band, start, check_finite=False)
            density = density + 2 * (residue * solved).real
        return density

    return run, axes


def caratheodory_fejer(
    n: int, terms: int = 75, points: int = 1024
) -> tuple[np.ndarray, np.ndarray, float]:
    """Poles and residues of the near-best approximation of exp on the negative axis
    (Trefethen et al. 2006, fig. 4.1).

    exp(z) is about `constant + sum residue / (z - pole)`, for even n all poles in
    conjugate pairs.
    """
    w = np.exp(2j * np.pi * np.arange(points) / points)
    t, scale = w.real, 9.0
    f = np.exp(scale * (t - 1) / (t + 1 + 1e-16))
    c = np.fft.fft(f).real / points
    upper = np.polyval(c[terms::-1], w)
    u, s, v = np.linalg.svd(scipy.linalg.hankel(c[1 : terms + 1]))
    u, v, s = u[::-1, n], v[n], s[n]
    pad = np.zeros(points - terms)
    b = np.fft.fft(np.append(u, pad)) / np.fft.fft(np.append(v, pad))
    r = upper - s * w**terms * b
    zeros = np.roots(v)
    q = zeros[np.abs(zeros) > 1]
    coefficients = np.poly(q)
    p_over_q = np.fft.fft(r * np.polyval(coefficients, w)).real / points
    numerator = np.polyval(p_over_q[n::-1], q)
    residues = numerator / np.array([np.prod(a - q[q != a]) for a in q])
    poles = scale * (q - 1) ** 2 / (q + 1) ** 2
    residues = 4 * residues * poles / (q**2 - 1)
    constant = (1 + np.sum(residues / poles)).real
    return poles, residues, constant


def sinc_strang(problem: Any, box: Any, shape: Any, steps: int, levels: int = 3) -> Run:
    """P5: Strang in the sinc basis with the extra term -(d_t log pi) / 2 (T13),
    `levels` of Richardson from `steps`.
    """
    axes = problems.open_axes(box, shape)
    spectra = [np.linalg.eigh(second_derivative(x)) for x in axes]
    volume = problems.cell(axes)

    def level(
        wave: np.ndarray, count: int, parts: tuple[np.ndarray, ...]
    ) -> np.ndarray:
        dt = problem.t / count
        kicks = [
            vectors * np.exp(-dt * values) @ vectors.T for values, vectors in spectra
        ]
        a, b, c = (-dt / 2 * part for part in parts)
        spare, factor = np.empty_like(wave), np.empty_like(wave)
        wave = wave.copy()
        # half steps of the potentials at the two midpoints next to t_k, in one factor
        for k in range(count + 1):
            s = [(j + 0.5) / count for j in (k - 1, k) if 0 <= j < count]
            np.multiply(c, sum(v * v for v in s), out=factor)
            factor += np.multiply(b, sum(s), out=spare)
            factor += a * len(s)
            np.exp(factor, out=factor)
            wave *= factor
            if k < count:
                np.matmul(kicks[0], wave, out=spare)
                if len(shape) > 1:
                    np.matmul(spare, kicks[1], out=wave)
                else:
                    wave, spare = spare, wave
        return wave

    def run() -> np.ndarray:
        # quadratic in s
        potential_terms = [problem.potential_term(axes, s) for s in (0.0, 0.5, 1.0)]
        extra = problems.speed(axes) / 2
        parts = (
            potential_terms[0] - extra,
            -3 * potential_terms[0] + 4 * potential_terms[1] - potential_terms[2],
            2 * (potential_terms[0] - 2 * potential_terms[1] + potential_terms[2]),
        )
        wave = np.ascontiguousarray(
            problem.start(axes) * np.exp(problems.potential(axes, 0.0) / 2)
        )
        wave = extrapolated([level(wave, steps * 2**j, parts) for j in range(levels)])
        density = wave * np.exp(-problems.potential(axes, 1.0) / 2)
        return density / (density.sum() * volume)

    return run, axes

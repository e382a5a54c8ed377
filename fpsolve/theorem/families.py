"""Random potentials and densities, for claims about all of them: arrays, so that one
program serves every draw.

    U(x) = k x^2/2 + sum_j a_j log cosh(b_j (x - c_j)) + sum_j B_j cos(w_j x + f_j)
    p(x) = sum_j m_j exp(-(x - c_j)^2 / (2 v_j)) / sqrt(2 pi v_j)
    s(x) = sum_j A_j cos(k_j . x + f_j),      k_j of integers

Without the cosines U'' >= k. s is a field on a torus, and a gradient if each A_j is
parallel to its k_j.

The axes here are those of several theorems, which then share compiled programs.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.types import AnyArray, Numbers
from ..grid import Axis, Line, Periodic
from .problems import Function

# where k x^2/4 with k = 0.5 is 10 at its ends: sqrt(pi) of D = 1 is 4e-5 there
BOX = Line(-9.0, 9.0, 90)
TURN = 2 * np.pi
RING = Periodic(0.0, TURN, 49)  # odd, so that the highest wave has a derivative
# of a plane: a wave exp(-x^2/4) is 5e-4 at its ends, and its square 3e-7
PLANE = Line(-5.5, 5.5, 30)
TORUS = (Periodic(0.0, TURN, 19), Periodic(0.0, TURN, 19))
TERMS = 3  # of each sum: a free choice


class Landscape(eqx.Module):
    """U(x) as above; at the point x of shape `(1,)`.

    - `stiffness` k; `ramps` `(3, m)`: a, b and c, with a at least zero; `waves`
      `(3, m)`: B, w and f
    """

    stiffness: Array
    ramps: Array
    waves: Array

    def __init__(
        self,
        stiffness: float,
        ramps: Numbers | None = None,
        waves: Numbers | None = None,
    ):
        # Absent terms have the amplitude zero: the shapes, and so the programs, are
        # those of all others.
        none = np.zeros((3, TERMS))
        self.stiffness = jnp.asarray(float(stiffness))
        self.ramps = jnp.asarray(none if ramps is None else ramps)
        self.waves = jnp.asarray(none if waves is None else waves)

    def __call__(self, x: Array) -> Array:
        """U(x), a scalar."""
        height, rate, centre = self.ramps
        amplitude, frequency, phase = self.waves
        y = rate * (x[0] - centre)
        # log cosh y = log(e^y + e^-y) - log 2, which does not overflow.
        log_cosh = jnp.logaddexp(y, -y) - jnp.log(2.0)
        convex = jnp.sum(height * log_cosh)
        bounded = jnp.sum(amplitude * jnp.cos(frequency * x[0] + phase))
        return self.stiffness * x[0] ** 2 / 2 + convex + bounded


def random_convex(random: np.random.Generator) -> Landscape:
    """A convex potential of curvature k far away, between k and some 4 k elsewhere."""
    heights = random.uniform(0.3, 1.0, TERMS)
    rates = random.uniform(0.5, 1.2, TERMS)
    centres = random.uniform(-1.5, 1.5, TERMS)
    return Landscape(random.uniform(0.5, 1.0), np.stack([heights, rates, centres]))


def random_waves(random: np.random.Generator, amplitude: float) -> np.ndarray:
    """Cosines of at most this amplitude each, as `Landscape` takes them."""
    # The order of the draws decides what a seed gives.
    amplitudes = amplitude * random.uniform(-1, 1, TERMS)
    frequencies = random.uniform(0.5, 2.5, TERMS)
    phases = random.uniform(0, 2 * np.pi, TERMS)
    return np.stack([amplitudes, frequencies, phases])


def normals(
    x: np.ndarray, masses: Numbers, means: Numbers, variances: Numbers
) -> np.ndarray:
    """The mixture p at positions `(n,)`, by numpy, of m normal densities."""
    means = np.asarray(means, float)
    variances = np.asarray(variances, float)
    peaks = np.asarray(masses, float) / np.sqrt(2 * np.pi * variances)
    # Positions as rows, components as columns.
    offsets = np.asarray(x)[:, None] - means
    exponents = -(offsets**2) / (2 * variances)
    return np.exp(exponents) @ peaks


def random_normals(random: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """A mixture of two normal densities within 1.5 of zero, of variances from 0.3 to
    0.8, at positions `(n,)`.
    """
    mass = random.uniform(0.2, 0.8)
    means = random.uniform(-1.5, 1.5, 2)
    variances = random.uniform(0.3, 0.8, 2)
    return normals(x, [mass, 1 - mass], means, variances)


def entropy(
    density: np.ndarray, reference: np.ndarray, weights: np.ndarray
) -> np.ndarray | np.float64:
    """KL(p|q) = int p log(p/q) - p + q of densities `(..., n)` by numpy; a density
    below zero counts as zero.
    """
    p = np.maximum(density, 0)
    # 0 log 0 = 0.
    positive = p > 0
    ratio = np.where(positive, p, 1) / np.where(positive, reference, 1)
    # The terms - p + q make the integrand at least zero at every point.
    integrand = p * np.log(ratio) - p + reference
    return np.sum(weights * integrand, axis=-1)


class Derivatives(eqx.Module):
    """U'(x) and U''(x) of a potential on a line."""

    potential: Function

    def __call__(self, x: Array) -> Array:
        """`(2,)`."""
        slope = jax.grad(self.potential)
        # On a line one tangent gives the whole second derivative.
        along = lambda y: slope(y)[0]
        _, curvature = jax.jvp(along, (x,), (jnp.ones_like(x),))
        return jnp.append(slope(x), curvature)


def fourier_kinetic(axis: Axis) -> np.ndarray:
    """-d^2/dx^2 in the Fourier basis of an axis by numpy, `(n, n)`."""
    spacing = axis.length / axis.n
    wavenumbers = 2 * np.pi * np.fft.fftfreq(axis.n, spacing)
    # k^2 on the transform of each unit vector, and back: a column of the matrix each.
    units = np.fft.fft(np.eye(axis.n), axis=0)
    waves = wavenumbers[:, None] ** 2 * units
    return np.fft.ifft(waves, axis=0).real


class Score(eqx.Module):
    """The score -grad U of a potential, at D = 1."""

    potential: Function

    def __call__(self, x: Array) -> Array:
        """`(d,)`."""
        return -jax.grad(self.potential)(x)


class Waves(eqx.Module):
    """A field on a torus of period 2 pi, as above.

    - `amplitudes` A `(m, d)`; `wavevectors` k `(m, d)`; `phases` f `(m,)`
    """

    amplitudes: Array
    wavevectors: Array
    phases: Array

    def __init__(self, amplitudes: AnyArray, wavevectors: AnyArray, phases: AnyArray):
        self.amplitudes = jnp.asarray(amplitudes)
        self.wavevectors = jnp.asarray(wavevectors)
        self.phases = jnp.asarray(phases)

    def __call__(self, x: Array) -> Array:
        """s(x), `(d,)`."""
        return jnp.cos(self.wavevectors @ x + self.phases) @ self.amplitudes

    def __add__(self, other: "Waves") -> "Waves":
        """The sum of two fields."""
        ours = (self.amplitudes, self.wavevectors, self.phases)
        theirs = (other.amplitudes, other.wavevectors, other.phases)
        pairs = zip(ours, theirs, strict=True)
        return Waves(*(jnp.concatenate(pair) for pair in pairs))

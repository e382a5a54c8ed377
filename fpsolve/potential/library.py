"""Simple potentials with closed forms, in any dimension d. Nondimensional: energies are
in units of D if D = 1.

Harmonic    (x - c)ᵀ K (x - c) / 2
DoubleWell  B ((x₀/a)² - 1)² - F x₀ + k |x'|²/2
Quartic     c Σᵢ xᵢ⁴
MexicanHat  B (|x|²/a² - 1)²
Cosine      A Σᵢ cos(k xᵢ)
Rugged      K |x|²/2 + A Σᵢ cos(k xᵢ)
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import check_positive, is_concrete, raise_value_error
from ..core.types import Point, Scalar
from .base import StaticPotential
from .leaves import Value, as_leaf, check_definite, check_point


class Harmonic(StaticPotential):
    """U(x) = (x - c)ᵀ K (x - c) / 2: the Ornstein-Uhlenbeck process.

    The Gibbs density is Gaussian with mean c and covariance D K⁻¹. The rates are Σᵢ nᵢ
    κᵢ, where κᵢ are the eigenvalues of K and nᵢ = 0, 1, ...; the spectral gap is the
    smallest κᵢ, independent of D.

    **Arguments**: `stiffness` K, a positive number, (d,) per axis, or (d, d) symmetric
    positive definite; `center` c, a number or (d,).

    **Raises** `ValueError` for a stiffness that is not positive definite or shapes that
    do not match, and when called with x of another dimension. **Cost**: O(d), O(d²)
    with a matrix.

    ```python
    import jax.numpy as jnp
    from fpsolve.potential import Harmonic

    Harmonic(stiffness=[[2.0, 0.5], [0.5, 1.0]])(jnp.ones(2))  # 2.0
    ```
    """

    stiffness: Array
    center: Array

    def __init__(self, stiffness: Value = 1.0, center: Value = 0.0):
        self.stiffness = as_leaf("stiffness", stiffness, (0, 1, 2))
        self.center = as_leaf("center", center, (0, 1))
        # All axes of both arrays must have the same length d, which is not 0.
        sizes = {*self.stiffness.shape, *self.center.shape}
        if len(sizes) > 1 or 0 in sizes:
            allowed = (
                f"stiffness of shape {self.stiffness.shape} and center of shape "
                f"{self.center.shape} must agree"
            )
            raise_value_error(
                "stiffness",
                stiffness,
                allowed,
                "Give a number, (d,) or (d, d), and a center of as many entries.",
            )
        if self.stiffness.ndim < 2:
            check_positive(
                "stiffness",
                stiffness,
                "Give positive numbers; for a hill take -Harmonic().",
            )
        elif is_concrete(stiffness):
            check_definite("stiffness", stiffness)

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """U(x), a scalar, at the point x of shape (d,)."""
        # Where both are numbers, they fit a point of any dimension.
        sizes = (*self.stiffness.shape, *self.center.shape)
        d = sizes[0] if sizes else None
        check_point(x, d, "as the stiffness and the center have it")
        delta = x - self.center
        if self.stiffness.ndim == 2:
            force = self.stiffness @ delta
        else:
            force = self.stiffness * delta
        return 0.5 * jnp.sum(delta * force)


class DoubleWell(StaticPotential):
    """U(x) = B ((x₀/a)² - 1)² - F x₀ + k |x'|²/2, x' the other coordinates: two wells
    and a barrier.

    Without tilt: minima U = 0 at x₀ = ±a, barrier B at 0, curvatures U'' = 8B/a² in the
    wells and -4B/a² on top, so that the spectral gap is (4√2 B / π a²) exp(-B/D) for B
    ≫ D (Kramers; the sum of both escape rates).

    **Arguments**: `barrier` B > 0, `separation` a > 0 (half the distance between the
    wells), `tilt` F of either sign, `stiffness` k ≥ 0 of the other coordinates; all are
    numbers.

    **Raises** `ValueError` for numbers out of these ranges.

    ```python
    import jax.numpy as jnp
    from fpsolve.potential import DoubleWell

    DoubleWell(barrier=3.0, separation=2.0)(jnp.zeros(1))  # 3.0
    ```
    """

    barrier: Array
    separation: Array
    tilt: Array
    stiffness: Array

    def __init__(
        self,
        barrier: Value = 1.0,
        separation: Value = 1.0,
        tilt: Value = 0.0,
        stiffness: Value = 1.0,
    ):
        self.barrier = as_leaf("barrier", barrier, positive=True)
        self.separation = as_leaf("separation", separation, positive=True)
        self.tilt = as_leaf("tilt", tilt)
        self.stiffness = _non_negative("stiffness", stiffness)

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """U(x), a scalar, at the point x of shape (d,)."""
        check_point(x)
        quartic = ((x[0] / self.separation) ** 2 - 1) ** 2
        well = self.barrier * quartic - self.tilt * x[0]
        return well + 0.5 * self.stiffness * jnp.sum(x[1:] ** 2)


class Quartic(StaticPotential):
    """U(x) = c Σᵢ xᵢ⁴: one minimum U = 0 without curvature, steeper than any harmonic
    potential far outside.

    In 1-D Z = 2 Γ(5/4) (D/c)^(1/4) and <x²> = Γ(3/4)/Γ(1/4) √(D/c).

    **Arguments**: `coefficient` c > 0. **Raises** `ValueError` otherwise (for a hill
    take `-Quartic()`).

    ```python
    import jax.numpy as jnp
    from fpsolve.potential import Quartic

    Quartic(0.5)(jnp.array([1.0, 2.0]))  # 8.5
    ```
    """

    coefficient: Array

    def __init__(self, coefficient: Value = 1.0):
        self.coefficient = as_leaf("coefficient", coefficient, positive=True)

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """U(x), a scalar, at the point x of shape (d,)."""
        check_point(x)
        return self.coefficient * jnp.sum(x**4)


class MexicanHat(StaticPotential):
    """U(x) = B (|x|²/a² - 1)²: a circle (sphere) of minima U = 0 at |x| = a around a
    hill of height B, smooth at 0.

    The curvature is -4B/a² on the hill in every direction; in the valley it is 8B/a²
    across and 0 along it. For d = 1 it is a double well.

    **Arguments**: `barrier` B > 0, `radius` a > 0. **Raises** `ValueError` otherwise.

    ```python
    import jax.numpy as jnp
    from fpsolve.potential import MexicanHat

    MexicanHat(barrier=2.0)(jnp.array([0.6, 0.8]))  # 0.0
    ```
    """

    barrier: Array
    radius: Array

    def __init__(self, barrier: Value = 1.0, radius: Value = 1.0):
        self.barrier = as_leaf("barrier", barrier, positive=True)
        self.radius = as_leaf("radius", radius, positive=True)

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """U(x), a scalar, at the point x of shape (d,)."""
        check_point(x)
        # By |x|², which is smooth at the origin, and |x| is not.
        return self.barrier * (jnp.sum(x**2) / self.radius**2 - 1) ** 2


class Cosine(StaticPotential):
    """U(x) = A Σᵢ cos(k xᵢ), of period 2π/k, for `Periodic` axes whose length is a
    multiple of the period.

    Its Gibbs density is a product of von Mises densities, with Z = (2π I₀(A/D)/k)^d
    over one period. For A > 0 the minima are -A d at xᵢ = π/k (modulo the period). The
    barrier between neighbouring minima is 2|A|.

    **Arguments**: `amplitude` A of either sign, `wavenumber` k > 0. **Raises**
    `ValueError` otherwise.

    ```python
    import jax.numpy as jnp
    from fpsolve.potential import Cosine

    Cosine(amplitude=2.0, wavenumber=3.0)(jnp.zeros(2))  # 4.0
    ```
    """

    amplitude: Array
    wavenumber: Array

    def __init__(self, amplitude: Value = 1.0, wavenumber: Value = 1.0):
        self.amplitude = as_leaf("amplitude", amplitude)
        self.wavenumber = as_leaf("wavenumber", wavenumber, positive=True)

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """U(x), a scalar, at the point x of shape (d,)."""
        check_point(x)
        return self.amplitude * jnp.sum(jnp.cos(self.wavenumber * x))


class Rugged(StaticPotential):
    """U(x) = K |x|²/2 + A Σᵢ cos(k xᵢ): a harmonic potential with ripples of period
    2π/k.

    The origin is a minimum if A k² < K, else a maximum. Ripples with k ≫ 1 slow the
    diffusion by the factor I₀(A/D)⁻² (the effective diffusion of Zwanzig).

    **Arguments**: `stiffness` K ≥ 0, `amplitude` A of either sign, `wavenumber` k > 0.

    **Raises** `ValueError` for numbers out of these ranges.

    **Reference**: R. Zwanzig, Proc. Natl. Acad. Sci. 85, 2029 (1988).

    ```python
    import jax.numpy as jnp
    from fpsolve.potential import Rugged

    Rugged(stiffness=2.0, amplitude=0.5, wavenumber=20.0)(jnp.zeros(2))  # 1.0
    ```
    """

    stiffness: Array
    amplitude: Array
    wavenumber: Array

    def __init__(
        self, stiffness: Value = 1.0, amplitude: Value = 1.0, wavenumber: Value = 10.0
    ):
        self.stiffness = _non_negative("stiffness", stiffness)
        self.amplitude = as_leaf("amplitude", amplitude)
        self.wavenumber = as_leaf("wavenumber", wavenumber, positive=True)

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """U(x), a scalar, at the point x of shape (d,)."""
        check_point(x)
        ripples = self.amplitude * jnp.sum(jnp.cos(self.wavenumber * x))
        return 0.5 * self.stiffness * jnp.sum(x**2) + ripples


def _non_negative(name: str, value: Value) -> Array:
    """A number as a leaf. **Raises** `ValueError` if it is negative."""
    leaf = as_leaf(name, value)
    if is_concrete(value) and np.asarray(value) < 0:
        raise_value_error(
            name, value, "it must not be negative", "Give 0 or a positive number."
        )
    return leaf

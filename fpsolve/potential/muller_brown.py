"""The Müller-Brown surface, a standard test for reaction paths: three minima, two
saddles, no symmetry.

U(x, y) = s Σ_{k=1..4} A_k exp( a_k u² + b_k u v + c_k v² ),
u = x - x_k,   v = y - y_k
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.types import Point, Scalar
from .base import StaticPotential
from .leaves import Value, as_leaf, check_point

# The parameters of Müller and Brown (1979), with the names of the formula above.
_A = np.array([-200.0, -100.0, -170.0, 15.0])
_a = np.array([-1.0, -1.0, -6.5, 0.7])
_b = np.array([0.0, 0.0, 11.0, 0.6])
_c = np.array([-10.0, -10.0, -6.5, 0.7])
_x = np.array([1.0, 0.0, -0.5, -1.0])
_y = np.array([0.0, 0.5, 1.5, 1.0])


class MullerBrown(StaticPotential):
    """The Müller-Brown surface times `scale`; d = 2.

    Minima at scale 1: U(-0.5582, 1.4417) = -146.70, U(0.6235, 0.0280) = -108.17,
    U(-0.0500, 0.4667) = -80.77. Saddles: U(-0.8220, 0.6243) = -40.66, U(0.2125, 0.2930)
    = -72.25. Usual boxes: [-1.5, 1.2] x [-0.2, 2].

    **Arguments**: `scale` s, a positive number; 0.05 makes the barriers a few times D
    at D = 1.

    **Raises** `ValueError` for a scale that is not positive, and when called with x of
    a shape other than (2,).

    **Limits**, *mathematical*: far from the wells U grows like exp(|x|²) and overflows,
    in float32 at |x| about 10.

    **Reference**: K. Müller and L. D. Brown, Theor. Chim. Acta 53, 75 (1979).

    ```python
    import jax.numpy as jnp
    from fpsolve.potential import MullerBrown

    MullerBrown(scale=0.05)(jnp.array([-0.558, 1.442]))  # about -7.3
    ```
    """

    scale: Array

    def __init__(self, scale: Value = 1.0):
        self.scale = as_leaf("scale", scale, positive=True)

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """U(x), a scalar, at the point x of shape (2,)."""
        check_point(x, 2, "because the Müller-Brown surface is two-dimensional")
        # The parameters are float64 numpy arrays; without the conversion they would
        # promote a float32 point.
        dtype = jnp.result_type(x, self.scale)
        u = x[0] - jnp.asarray(_x, dtype)
        v = x[1] - jnp.asarray(_y, dtype)
        a = _a.astype(dtype)
        b = _b.astype(dtype)
        c = _c.astype(dtype)
        exponents = a * u**2 + b * u * v + c * v**2
        terms = _A.astype(dtype) * jnp.exp(exponents)
        return self.scale * jnp.sum(terms)

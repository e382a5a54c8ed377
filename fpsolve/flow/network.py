"""`VelocityNetwork`: a velocity v(x, t) with parameters to train, which carries N(0, 1)
at t = 0 to data at t = 1.

    v = c + (m'(t)/m(t)) (x - t c) + l f(y, t) / (m(t) + sigma)
    y = (x - t c) / m(t)
    m^2 = (1 - (1 - sigma) t)^2 + (t l)^2

For f = 0, which is so before training, v is the exact velocity of the path for Gaussian
data of mean c and standard deviation l; the perceptron f is bounded, and corrects it by
what is of order one. t enters by cos(pi j t).

Reference: arXiv 2210.02747, section 4 (the path).
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..core.checks import check_integer
from ..core.types import Count, Key, Point, Scalar
from ..potential.leaves import Value, as_leaf, check_point
from ..score.learn.perceptron import Fixed, Perceptron
from ..score.samples.validation import check_key
from .constants import CONSTANTS


class VelocityNetwork(eqx.Module):
    """A velocity field of x and t, exact for Gaussian data before training.

    **Arguments**: `dim` d; `key` of the first parameters; `width` and `depth` of the
    layers; `center`, `scale` of the data, a number or `(d,)`:
    `**fp.score.standardised(samples)` gives both. **Returns**, when called with x
    `(d,)` and t in [0, 1], the velocity `(d,)`. **Raises** `ValueError` for sizes or
    scales that are not positive. **Cost**: O(d width + depth width^2) a point.

    ```python
    import jax, jax.numpy as jnp
    import fpsolve as fp

    velocity = fp.flow.VelocityNetwork(
        1, key=jax.random.key(0), width=16, center=2.0, scale=0.5
    )
    velocity(jnp.zeros(1), 0.5).shape
    ```
    """

    network: Perceptron
    center: Fixed
    scale: Fixed

    def __init__(
        self,
        dim: Count,
        *,
        key: Key,
        width: Count = 64,
        depth: Count = 2,
        center: Value = 0.0,
        scale: Value = 1.0,
    ):
        check_integer("dim", dim, 1, "Give the number of coordinates.")
        check_integer(
            "width", width, 1, "Give the number of functions of a layer, 64 say."
        )
        check_integer("depth", depth, 1, "Give the number of layers, 2 say.")
        check_key(key)
        # Center and scale belong to the data and are not trained.
        dtype = jnp.zeros(()).dtype
        middle = as_leaf("center", center, (0, 1))
        length = as_leaf("scale", scale, (0, 1), positive=True)
        self.center = Fixed(jnp.broadcast_to(middle, (dim,)).astype(dtype))
        self.scale = Fixed(jnp.broadcast_to(length, (dim,)).astype(dtype))
        features = CONSTANTS.time_features
        self.network = Perceptron(dim, dim, width, depth, features, True, key)

    @property
    def time_dependent(self) -> bool:
        """The velocity depends on time."""
        return True

    def __call__(self, x: Point, t: Scalar) -> Array:
        """v(x, t), `(d,)`."""
        center, scale = self.center(), self.scale()
        check_point(x, center.shape[0], "as the network has it")
        x = jnp.asarray(x)
        t = jnp.asarray(t, dtype=float)
        # The width of the noise falls from 1 to the least one, and that of the data
        # rises to l.
        rest = 1 - CONSTANTS.least_noise
        start = 1 - rest * t
        width = jnp.sqrt(start**2 + (t * scale) ** 2)
        # m'/m, from m^2 = start^2 + (t l)^2.
        rate = (t * scale**2 - rest * start) / width**2
        y = (x - t * center) / width
        features = jnp.cos(jnp.pi * t * jnp.arange(CONSTANTS.time_features))
        # The velocity to narrow data grows like 1 / m, and the correction with it.
        correction = scale / (width + CONSTANTS.least_noise) * self.network(y, features)
        return center + rate * (x - t * center) + correction

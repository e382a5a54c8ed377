"""A change of temperature as a path λ -> U_λ:

U_λ(x) = β(λ) U(x),      β(λ) = β₀^(1-λ) β₁^λ,
Gibbs density exp(-β(λ) U / D) / Z_λ

β is the inverse temperature in units of 1/D, without dimension; β = 1 gives U itself.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..core.types import Formula
from ..potential.base import Potential, Scaled, as_potential
from ..potential.leaves import Value, as_leaf
from .parameter import as_lambda


class Tempering(eqx.Module):
    """A potential that is cooled or heated: λ -> β(λ) U, with log β linear in λ from
    log `start` to log `end`.

    **Arguments**: `potential` U, a potential or a callable; `start` and `end` the
    inverse temperatures β at λ = 0 and 1, positive numbers: from 0.1 to 1 it cools from
    ten times the temperature. **Returns**, when called with a number λ, a potential,
    which is time-dependent if U is.

    **Raises** `ValueError` for inverse temperatures that are not positive; when called,
    unless λ is a number.

    **Keeps**: the positions of the wells; U_0 = start U exactly, U_1 = end U to
    rounding. **Cost**: that of U. **Reference**: Kirkpatrick, Gelatt and Vecchi,
    Science 220 (1983) 671; linear in log β as in parallel tempering.

    ```python
    import jax.numpy as jnp
    from fpsolve.path import Tempering
    from fpsolve.potential import DoubleWell

    cooling = Tempering(DoubleWell(4.0), start=0.25, end=1.0)
    cooling(0.5)(jnp.zeros(1))  # 0.5 * 4.0
    ```
    """

    potential: Potential
    start: Array
    end: Array

    def __init__(self, potential: Formula, start: Value, end: Value = 1.0):
        cure = "Give a positive number: at 0.1 it is ten times as hot as at 1."
        self.potential = as_potential(potential)
        self.start = as_leaf("start", start, positive=True, cure=cure)
        self.end = as_leaf("end", end, positive=True, cure=cure)

    def inverse_temperature(self, lam: Value) -> Array:
        """β(λ) = start^(1-λ) end^λ, of the shape of λ."""
        # start^(1-λ) end^λ as an exponential, which is `start` exactly at λ = 0.
        log_ratio = jnp.log(self.end / self.start)
        return self.start * jnp.exp(jnp.asarray(lam) * log_ratio)

    def __call__(self, lam: Value) -> Potential:
        """The potential β(λ) U."""
        beta = self.inverse_temperature(as_lambda(lam))
        return Scaled(self.potential, beta)

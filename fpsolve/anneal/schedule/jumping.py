"""Schedules that jump at both ends, as the protocols of least work do.

    λ(0) = 0,     λ(t) = v(b(u)) for 0 < t < total,     λ(total) = 1,     u = t / total

v is another schedule in units of its total, and b = sum_k c_k B_k,n(u) a Bernstein
polynomial with 0 <= c_0 <= ... <= c_n <= 1. The jumps are v(c_0) and 1 - v(c_n).

A path of Gibbs densities that is passed in a finite time with the least mean work
starts and ends with a jump. For a harmonic trap of stiffness k that is moved, λ is
linear between two jumps of 1 / (2 + k total).

Reference: Schmiedl and Seifert, Phys. Rev. Lett. 98 (2007) 108301.
"""

import jax.numpy as jnp
from jaxtyping import Array

from ...core.arrays import as_array
from ...core.checks import check_finite_number, is_concrete, raise_value_error
from ...core.types import Real, Scalar
from .monotone import Bernstein, Schedule, bernstein, check_total, clip_to_unit


class Jumping(Schedule):
    """The schedule `base` after a Bernstein polynomial with `coefficients` `(n + 1,)`
    that need not reach 0 and 1.
    """

    total: Array
    base: Schedule
    coefficients: Array

    def place(self, u: Array) -> Array:
        """λ at the time u total: 0 and 1 at the ends themselves."""
        inside = self.between(u)
        return jnp.where(u <= 0, 0, jnp.where(u >= 1, 1, inside))

    def between(self, u: Array) -> Array:
        """λ at the time u total, with the one-sided limits at the ends."""
        return self.base.place(clip_to_unit(bernstein(self.coefficients, u)))

    @property
    def jumps(self) -> tuple[Array, Array]:
        """The jumps of λ at t = 0 and at `total`."""
        # `between` has the limits at the ends, where `place` has 0 and 1.
        ends = self.between(jnp.asarray([0.0, 1.0], self.total.dtype))
        return ends[0], 1 - ends[1]


def jumping(total: Scalar, first: Real, last: Real) -> Jumping:
    """A linear schedule between two jumps: λ = first + (1 - first - last) t / total for
    0 < t < total.

    **Arguments**: `total` time; `first` and `last`, the jumps at t = 0 and at `total`,
    at least 0, whose sum is at most 1. **Returns** a schedule from 0 to 1. **Raises**
    `ValueError` for other numbers.

    With both jumps 1 / (2 + k total) it moves a trap of stiffness k (mobility 1) with
    the least mean work. **Reference**: Schmiedl and Seifert, Phys. Rev. Lett. 98 (2007)
    108301.

    ```python
    from fpsolve.anneal.schedule import jumping

    jumping(2.0, 0.25, 0.25)(1.0)  # 0.5
    ```
    """
    total = check_total(total)
    cure = "Give jumps that leave something of the path: jumping(2.0, 0.25, 0.25), say."
    # Traced jumps have no values to check.
    if is_concrete(first, last):
        for name, jump in (("first", first), ("last", last)):
            if not 0 <= check_finite_number(name, jump, cure) <= 1:
                raise_value_error(name, jump, "it must be between 0 and 1", cure)
        if float(first) + float(last) > 1:
            raise_value_error(
                "last",
                last,
                f"both jumps together must be at most 1, and first = {first}",
                cure,
            )
    # λ as a function of itself, in units of its total.
    identity = Bernstein(as_array(1.0), as_array([0.0, 1.0]))
    return Jumping(total, identity, as_array([first, 1 - last]))

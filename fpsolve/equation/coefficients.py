"""The coefficients of a Fokker-Planck equation: its diffusion and its mobility.

D          one number, one for each axis, or a function of x
D / kT     the mobility, where a thermal energy kT is given: it multiplies f - grad U
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import (
    check_not_negative,
    check_positive,
    is_concrete,
    raise_value_error,
)
from ..core.types import Formula, Point, Scalar
from ..potential import Potential, takes_time
from .field import Field


def as_diffusion(value: Any) -> Array | Formula:
    """The diffusion as a function or an array; equal entries become one number."""
    if callable(value):
        if takes_time(value):
            cure = (
                "Evolve from time to time, each with lambda x: D(x, t) at the middle "
                "of the interval."
            )
            raise_value_error(
                "diffusion",
                value,
                "it may depend on x, and this one depends on time too",
                cure,
            )
        return value
    cure = "Give a number above zero, one for each axis, or a function of x."
    # Along some axes the diffusion may vanish, as along the positions of underdamped
    # motion.
    along_axes = is_concrete(value) and np.ndim(value) == 1 and len(value) > 1
    if along_axes:
        check_not_negative("diffusion", value, cure)
    if not along_axes or not np.any(np.asarray(value)):
        check_positive("diffusion", value, cure)
    array = as_array(value)
    if array.ndim > 1:
        raise_value_error(
            "diffusion",
            value,
            "it must be a number, (d,) numbers, or a function of x",
            "Give one value for each axis.",
        )
    # With one number the Gibbs density exists for every potential. A traced array of
    # several entries stays an array, since its entries cannot be compared.
    equal = array.shape == (1,)
    if is_concrete(array):
        host = np.asarray(array)
        equal = equal or bool(np.all(host == host.flat[0]))
    if not (array.ndim and equal):
        return array
    # On the host nothing is compiled for taking one entry.
    return as_array(np.asarray(array)[0]) if is_concrete(array) else array[0]


def as_thermal_energy(value: Scalar) -> Array:
    """kT as an array. **Raises** `ValueError` unless it is one positive number."""
    cure = (
        "Give the thermal energy in the units of the potential: 0.593 for kcal/mol at "
        "298 K, say."
    )
    if callable(value):
        raise_value_error("kT", value, "it must be a positive number", cure)
    check_positive("kT", value, cure)
    array = as_array(value)
    if array.ndim:
        raise_value_error("kT", value, "it must be one number", cure)
    return array


class ScaledForce(eqx.Module):
    """The force f times the mobility D / kT."""

    force: Field
    mobility: Array

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """f(x, t) D / kT, `(d,)`."""
        # In the precision of x, which a float64 mobility would raise.
        return self.force(x, t) * self.mobility.astype(x.dtype)


class ThermalDrift(eqx.Module):
    """The drift D (f - grad U) / kT of a diffusion that is not one number."""

    potential: Potential | None
    diffusion: Any
    force: Field | None
    kT: Array

    def log_gibbs(self, x: Point, t: Scalar | None = None) -> Array:
        """-U / kT at (x, t), a scalar."""
        energy = jnp.zeros((), x.dtype)
        if self.potential is not None:
            energy = jnp.asarray(self.potential(x, t))
        return -energy / self.kT.astype(x.dtype)

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """The drift at (x, t), `(d,)`."""
        drift = jnp.zeros_like(x) if self.force is None else self.force(x, t)
        if self.potential is not None:
            potential = self.potential
            energy = lambda y: jnp.asarray(potential(y, t))
            drift = drift - jax.grad(energy)(x)
        diffusion = self.diffusion(x) if callable(self.diffusion) else self.diffusion
        diffusions = jnp.broadcast_to(jnp.asarray(diffusion, x.dtype), x.shape)
        return drift * diffusions / self.kT.astype(x.dtype)

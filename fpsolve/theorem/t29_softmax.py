"""T29, softmax: the Born weights of an imaginary-time state of finitely many levels.

    psi(tau) = e^{-tau H} psi(0) / norm,  H = diag(E),  psi(0) equal:     psi_i^2 = softmax(-2 tau E)

The state is computed from the matrix exponential in another basis. Control: half the exponent, softmax(-tau E).

Reference: Wang and Maimaitiabudula, arXiv 2407.19890.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ..learning import softmax_state
from .base import Kind, Sides, Theorem, identity


class Softmax(Theorem):
    """The Born weights of e^{-tau H} on equal amplitudes are softmax(-2 tau E), to 1e-12.

    **Arguments**: `energies` E; `time` tau. With refine the time is doubled.
    """

    name: ClassVar[str] = "T29"
    statement: ClassVar[str] = "the Born weights of an imaginary-time state of finitely many levels are a softmax"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "softmax(-τE)"
    control_statement: ClassVar[str] = "with τ in the place of 2τ the weights are others"

    energies: tuple[float, ...] = (0.0, 0.4, -0.7, 1.3, 0.9)
    time: float = 0.8

    def measure(self, refine: bool) -> Sides:
        """The weights of the matrix exponential and the softmax."""
        return self._weights(1.0, refine)

    def control(self, refine: bool) -> Sides:
        """The weights of the matrix exponential and a softmax of half the exponent."""
        return self._weights(0.5, refine)

    def _weights(self, factor: float, refine: bool) -> Sides:
        tau = 2 * self.time if refine else self.time
        energies = jnp.asarray(self.energies)
        n = len(self.energies)
        # H in a rotated basis, so that nothing is diagonal in what is computed.
        rotation = np.linalg.qr(np.vander(np.linspace(1.0, 2.0, n)))[0]
        matrix = rotation @ np.diag(self.energies) @ rotation.T
        image = rotation.T @ np.asarray(jax.scipy.linalg.expm(-tau * jnp.asarray(matrix))) @ rotation @ np.ones(n)
        weights = image**2 / np.sum(image**2)
        return identity(weights, softmax_state(energies, factor * tau).weights[0], 1e-12)

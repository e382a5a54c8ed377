"""T29, softmax: the Born weights of an imaginary-time state of finitely many levels.

    psi(tau) = e^{-tau H} psi(0) / norm,  H = diag(E)
    psi_i^2 = softmax(-2 tau E)

from equal amplitudes psi(0). The state is computed from the matrix exponential in
another basis. Control: half the exponent, softmax(-tau E).

Reference: Wang and Maimaitiabudula, arXiv 2407.19890.
"""

import jax.numpy as jnp
import numpy as np
import scipy.linalg

from ..learning import softmax_state
from .base import Case, Measured, claim


@claim(
    "T29",
    "the Born weights of an imaginary-time state of finitely many levels are a softmax",
    kind="identity",
    allowed=1e-12,
    control=("softmax(-τE)", "with τ in the place of 2τ the weights are others"),
    hypotheses="the state starts with equal amplitudes",
    source="Wang and Maimaitiabudula, arXiv 2407.19890",
    sweep=4,
)
def softmax(
    case: Case,
    *,
    energies: tuple[float, ...] = (0.0, 0.4, -0.7, 1.3, 0.9),
    time: float = 0.8,
) -> Measured:
    """The weights of the matrix exponential, and the softmax, with the energies in a
    random order and rotated.
    """
    levels = case.random().permutation(np.asarray(energies))
    n = len(levels)
    # H in another basis, so that nothing is diagonal in what is computed.
    columns = np.vander(np.linspace(1.0, 2.0, n))
    rotation = np.linalg.qr(columns)[0]
    matrix = rotation @ np.diag(levels) @ rotation.T
    exponential = scipy.linalg.expm(-time * matrix)
    image = rotation.T @ exponential @ rotation @ np.ones(n)
    # Half of the time is half of the exponent.
    factor = 0.5 if case.control else 1.0
    found = softmax_state(jnp.asarray(levels), factor * time).weights[0]
    return image**2 / np.sum(image**2), np.asarray(found)

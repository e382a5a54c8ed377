"""Floor 7: scores, exact or learned from samples, and what their Score Hamiltonian says of them."""

from .reconstruct import Reconstruction as Reconstruction
from .reconstruct import reconstruct as reconstruct

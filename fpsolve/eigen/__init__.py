"""Floor 4: in modes. The lowest levels of H, by the whole matrix or by filtered subspaces."""

from .dense import dense_modes as dense_modes
from .filtered import filtered_modes as filtered_modes

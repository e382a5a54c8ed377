"""Floor 4: in modes. The lowest levels of H by the whole matrix or filtered subspaces, the lowest alone by descent."""

from .dense import dense_modes as dense_modes
from .filtered import filtered_modes as filtered_modes
from .ground import ground_mode as ground_mode
from .ground import separates as separates

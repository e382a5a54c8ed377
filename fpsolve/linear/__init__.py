"""Floor 3: linear algebra that both time and modes stand on."""

from .lanczos import highest_level as highest_level
from .lanczos import lowest_level as lowest_level

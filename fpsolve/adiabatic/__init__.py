"""Floor 7: transport along paths of potentials, what bounds its lag, and the schedules that make it small."""

from . import reverse, schedule
from .along import Along, along
from .lag import Transport
from .transport import transport

__all__ = ["Along", "Transport", "along", "reverse", "schedule", "transport"]

"""Transport along paths of potentials: costs, bounds, schedules and counterdiabatic
transport.
"""

from . import schedule as schedule
from .along import Along as Along
from .along import along as along
from .fluctuations import fluctuation_relations as fluctuation_relations
from .importance import WeightedLaw as WeightedLaw
from .importance import importance_weights as importance_weights
from .transport import transport as transport
from .transport_result import Transport as Transport
from .work_law import work_law as work_law
from .work_law_result import WorkLaw as WorkLaw

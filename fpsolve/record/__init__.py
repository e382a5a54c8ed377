"""Records of results: the numbers from which files, datasets and pictures are made."""

from .record import DIMENSIONS as DIMENSIONS
from .record import ERROR_PART as ERROR_PART
from .record import FORMAT_VERSION as FORMAT_VERSION
from .record import OBSERVABLE as OBSERVABLE
from .record import Record as Record
from .result import Result as Result

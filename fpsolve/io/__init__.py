"""Results in files and datasets. Only this package imports xarray and HDF5, and only
when they are first needed.
"""

from ..record import Record as Record
from .dataset import to_xarray as to_xarray
from .files import load as load
from .files import save as save
from .reading import describe as describe

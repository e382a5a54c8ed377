"""Floor 9: results on paper and on disk. The only place that knows matplotlib and xarray, imported lazily.

Every result becomes a `Record` (a header and named arrays); files, datasets and pictures are made from that alone.
"""

from .animate import animate as animate
from .dataset import to_xarray as to_xarray
from .files import load as load
from .files import save as save
from .plot_correspondence import plot_correspondence as plot_correspondence
from .plot_score import plot_diagnosis as plot_diagnosis
from .plot_score import plot_reconstruction as plot_reconstruction
from .plot_solution import plot_solution as plot_solution
from .plot_spectrum import plot_spectrum as plot_spectrum
from .plot_transport import plot_transport as plot_transport
from .record import Record as Record
from .record import describe as describe

save_solution = save
solution_to_xarray = to_xarray

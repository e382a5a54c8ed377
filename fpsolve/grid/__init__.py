"""Axes with their boundaries, grids as their tensor product, the Gaussian density."""

from .axis import Axis as Axis
from .gaussian import Gaussian as Gaussian
from .gaussian_on_grid import cell_averages as cell_averages
from .grid import Grid as Grid
from .grid import without_rounding as without_rounding
from .legendre import Legendre as Legendre
from .places import Places as Places
from .sampling import product_points as product_points
from .sampling import sample as sample
from .sampling import sample_product as sample_product
from .uniform import Absorbing as Absorbing
from .uniform import Line as Line
from .uniform import Periodic as Periodic
from .uniform import Reflecting as Reflecting

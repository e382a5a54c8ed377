"""Axes with their boundaries, grids as their tensor product, and the Gaussian density."""

from .axis import Axis as Axis
from .gaussian import Gaussian as Gaussian
from .grid import Grid as Grid
from .grid import product_points as product_points
from .grid import sample as sample
from .grid import sample_product as sample_product
from .legendre import Legendre as Legendre
from .uniform import Absorbing as Absorbing
from .uniform import Line as Line
from .uniform import Periodic as Periodic
from .uniform import Reflecting as Reflecting

"""Names of types of matplotlib and xarray, which are imported only where they are used:
they tell the reader which.
"""

from typing import Any, TypeAlias

Figure: TypeAlias = Any  # matplotlib.figure.Figure
Axes: TypeAlias = Any  # matplotlib.axes.Axes
Dataset: TypeAlias = Any  # xarray.Dataset

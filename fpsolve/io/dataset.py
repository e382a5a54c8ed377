"""Results as `xarray.Dataset`: named dimensions, coordinates at the grid's nodes."""

from typing import Any

import numpy as np

from ..core.extras import extra
from .reading import describe


def to_xarray(result: Any) -> Any:
    """A result as an `xarray.Dataset` (with the `io` extra).

    **Arguments**: `result` what `evolve`, `spectrum`, `correspondence` or `transport` returned, or a `Record`.
    **Returns** a dataset with dimensions `time` (or `mode`), `x0`, `x1`, ..., coordinates at the nodes of the grid,
    every array by name (`values`, `error`, `potential`, ...), and scheme, method, result and statistics as attributes.
    **Raises** `ImportError` with the command to install xarray.

    ```python
    import fpsolve as fp
    from fpsolve.io import to_xarray

    grid = fp.Grid(fp.Line(-3.0, 3.0, 32))
    data = to_xarray(fp.evolve(fp.FokkerPlanck(fp.Harmonic()), fp.Gaussian(0.5, 0.5), [0.5], grid=grid))
    ```
    """
    with extra("io", "An xarray dataset"):
        import h5netcdf  # noqa: F401  # what a dataset needs to be saved
        import xarray
    record = describe(result)
    coordinates = {f"x{i}": np.asarray(axis.nodes) for i, axis in enumerate(record.grid.axes)}
    if "times" in record.arrays:
        coordinates["time"] = record.times
    variables = {name: (record.dimensions(name), array) for name, array in record.arrays.items() if name != "times"}
    header = record.header
    words = ("kind", "fpsolve", "equation", "result", "tolerance", "bound_by")
    attributes = {name: header[name] for name in words if name in header} | header["stats"]
    attributes["grid"] = repr(record.grid)
    return xarray.Dataset(variables, coordinates, attributes)


def from_xarray(dataset: Any) -> dict[str, np.ndarray]:
    """The arrays of a dataset that was read back, complex pairs joined."""
    arrays = {name: dataset[name].to_numpy() for name in dataset.data_vars}
    if "time" in dataset.coords:
        arrays["times"] = dataset["time"].to_numpy()
    for name in [name.removesuffix("_imag") for name in arrays if name.endswith("_imag")]:
        if name + "_real" in arrays:
            arrays[name] = arrays.pop(name + "_real") + 1j * arrays.pop(name + "_imag")
    return arrays

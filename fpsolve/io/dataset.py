"""Results as `xarray.Dataset`: named dimensions, coordinates at the grid's nodes."""

import numpy as np

from ..core.extras import extra
from ..record.types import Dataset
from .reading import AnyResult, describe


def to_xarray(result: AnyResult) -> Dataset:
    """A result as an `xarray.Dataset` (with the `io` extra).

    **Arguments**: `result`, of `evolve`, `spectrum`, `correspondence` or `transport`,
    or a `Record`. **Returns** a dataset with dimensions `time` (or `mode`), `x0`, `x1`,
    ..., coordinates at the nodes of the grid, every array by name (`values`, `error`,
    `potential`, ...), and scheme, method, result and statistics as attributes.
    **Raises** `ImportError` with the command to install xarray.

    ```python
    import fpsolve as fp
    from fpsolve.io import to_xarray

    grid = fp.Grid(fp.Line(-3.0, 3.0, 32))
    data = to_xarray(
        fp.evolve(
            fp.FokkerPlanck(fp.Harmonic()), fp.Gaussian(0.5, 0.5), [0.5], grid=grid
        )
    )
    ```
    """
    with extra("io", "An xarray dataset"):
        import h5netcdf  # noqa: F401  # not used here, but without it the dataset could not be saved
        import xarray
    record = describe(result)
    # Nodes are coordinates, times too if there are any; all other arrays are variables.
    axes = enumerate(record.grid.axes)
    coordinates = {f"x{i}": np.asarray(axis.nodes) for i, axis in axes}
    if "times" in record.arrays:
        coordinates["time"] = record.times
    variables = {
        name: (record.dimensions(name), array)
        for name, array in record.arrays.items()
        if name != "times"
    }
    header = record.header
    names = ("kind", "fpsolve", "equation", "result", "tolerance", "bound_by")
    attributes = {name: header[name] for name in names if name in header}
    attributes |= header["stats"]
    # As text, since netCDF has attributes of simple types only.
    attributes["grid"] = repr(record.grid)
    return xarray.Dataset(variables, coordinates, attributes)


def from_xarray(dataset: Dataset) -> dict[str, np.ndarray]:
    """The arrays of a dataset that was read back; parts of complex ones are joined."""
    arrays = {name: dataset[name].to_numpy() for name in dataset.data_vars}
    if "time" in dataset.coords:
        arrays["times"] = dataset["time"].to_numpy()
    # netCDF has no complex numbers: `files` writes them as two real arrays.
    # A list, since the dictionary changes in the loop.
    imaginary_parts = [name for name in arrays if name.endswith("_imag")]
    for part in imaginary_parts:
        name = part.removesuffix("_imag")
        if name + "_real" in arrays:
            real = arrays.pop(name + "_real")
            imaginary = arrays.pop(name + "_imag")
            arrays[name] = real + 1j * imaginary
    return arrays

"""Results on disk: `.npz` with a JSON header, or netCDF. Writing is atomic, and reading
needs no pickle.

An `.npz` can be read without this library: `f = numpy.load(path);
json.loads(str(f["header"])); f["values"]`.
"""

import json
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..core.checks import raise_value_error
from ..core.extras import extra
from ..core.files import write_atomically
from ..core.types import FilePath
from ..record import Record
from ..record.types import Dataset
from .dataset import from_xarray, to_xarray
from .reading import AnyResult, check_record, describe

SUFFIXES = (".npz", ".nc")
# What numpy, json, xarray and `check_record` raise for a file that is damaged or not
# one of this library.
UNREADABLE = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    OSError,
    zipfile.BadZipFile,
    zlib.error,
)


def save(result: AnyResult, path: FilePath) -> None:
    """Write a result to `path`. The write is atomic: a run that is killed leaves the
    old file, or none.

    **Arguments**: `result`, of `evolve`, `spectrum`, `correspondence` or `transport`,
    or a `Record`; `path`, a file name that ends in `.npz`, or in `.nc` (netCDF, with
    the `io` extra). **Raises** `ValueError` for another ending, `ImportError` with the
    command to install the packages of netCDF.

    ```python
    import fpsolve as fp
    from fpsolve.io import load, save

    grid = fp.Grid(fp.Line(-3.0, 3.0, 32))
    save(
        fp.evolve(
            fp.FokkerPlanck(fp.Harmonic()), fp.Gaussian(0.5, 0.5), [0.5], grid=grid
        ),
        "harmonic.npz",
    )
    load("harmonic.npz").values.shape  # (1, 32)
    ```
    """
    path = check_path(path)
    record = describe(result)
    if path.suffix == ".npz":
        write_atomically(path, lambda file: _write_npz(record, file))
    else:
        # The dataset is made first: without xarray no file is begun.
        dataset = to_xarray(record)
        write = lambda file: _write_netcdf(dataset, record, path.parent, file)
        write_atomically(path, write)


def load(path: FilePath) -> Record:
    """Read what `save` wrote.

    **Arguments**: `path` a `.npz` or `.nc` file. **Returns** a `Record`: `.times`,
    `.values`, `.grid`, `.header`, `.observables`, `["any array"]`, and the result's own
    `.plot()`, `.to_xarray()`, `.save(path)`.

    **Raises** `FileNotFoundError`; `ValueError` for a file that is damaged, not written
    by `save` or of a newer format.
    """
    path = check_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    cure = "Give a file that fpsolve saved; if it did, it is damaged: save it again."
    try:
        if path.suffix == ".npz":
            # Arrays are read on access: all of them, before the file is closed.
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            return check_record(arrays, json.loads(str(arrays.pop("header"))))
        return check_record(*_read_netcdf(path))
    except UNREADABLE as error:
        # The text of a `KeyError` is the name alone.
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        message = (
            f"path = {str(path)!r}: it must be a whole fpsolve file, and is not "
            f"({reason}). {cure}"
        )
        raise ValueError(message) from error


def check_path(path: FilePath) -> Path:
    """`path` as a `Path`. **Raises** `ValueError` unless it ends in `.npz` or `.nc`."""
    path = Path(path)
    if path.suffix not in SUFFIXES:
        cure = "Name the file result.npz, or result.nc for netCDF."
        raise_value_error("path", str(path), "it must end in .npz or .nc", cure)
    return path


def _write_npz(record: Record, file: BinaryIO) -> None:
    """The arrays by name, and the header as JSON."""
    # A text is an array without dimensions, which needs no pickle.
    header = np.array(json.dumps(record.header))
    np.savez(
        file,
        allow_pickle=False,
        header=header,
        **record.arrays,
    )


def _write_netcdf(
    dataset: Dataset, record: Record, folder: Path, file: BinaryIO
) -> None:
    """The dataset with the header as an attribute. netCDF has no complex numbers: they
    become pairs of real arrays.
    """
    # Both parts are real variables with the same dimensions.
    split = [name for name in record.arrays if np.iscomplexobj(record.arrays[name])]
    for name in split:
        dataset[name + "_real"] = dataset[name].real
        dataset[name + "_imag"] = dataset[name].imag
    dataset = dataset.drop_vars(split).assign_attrs(header=json.dumps(record.header))
    # HDF5 needs a file with a name, and `file` is an open stream.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".netcdf.") as scratch:
        whole = Path(scratch) / "whole.nc"
        dataset.to_netcdf(whole, engine="h5netcdf")
        with whole.open("rb") as source:
            shutil.copyfileobj(source, file)


def _read_netcdf(path: Path) -> tuple[dict[str, np.ndarray], Any]:
    """The arrays by name, and the header."""
    with extra("io", "A .nc file"):
        import h5netcdf  # noqa: F401  # the engine by which xarray opens the file
        import xarray
    # Times of a run are numbers, which xarray would take for dates.
    with xarray.open_dataset(path, engine="h5netcdf", decode_times=False) as dataset:
        return from_xarray(dataset), json.loads(dataset.attrs["header"])

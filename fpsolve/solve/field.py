"""`Field`: values on a grid with their errors, usable as an array."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..core.checks import is_concrete, raise_value_error
from ..core.late import late
from ..core.types import DType
from ..grid import Grid
from ..record import FORMAT_VERSION, Record


class Field(NDArrayOperatorsMixin, eqx.Module):
    """Values of a function on a grid, each with its error.

    - `values` `(*shape)`; `error` `(*shape)`, the estimated absolute error of each, NaN
      where it is not known; `grid`
    - `name` what the values are

    A field is used as its values are: indexed, in arithmetic, in functions of numpy and
    of `jax.numpy`, which all return arrays. `jit`, `vmap` and `grad` take it and return
    it.

    ```python
    import fpsolve as fp

    well, grid = fp.FokkerPlanck(fp.DoubleWell(3.0)), fp.Grid(fp.Line(-2, 2, 200))
    tau = fp.mean_first_passage_time(well, grid, lambda x: x[0] > 0.9)
    slowest, uncertainty = tau.values.max(), tau.error.max()
    ```
    """

    values: Array
    error: Array
    grid: Grid = eqx.field(static=True)
    name: str = eqx.field(static=True)

    @property
    def shape(self) -> tuple[int, ...]:
        """The grid's shape; more axes in front under `vmap`."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype:
        """The type of the values."""
        return self.values.dtype

    @property
    def ndim(self) -> int:
        """The number of axes of the values."""
        return self.values.ndim

    @property
    def size(self) -> int:
        """The number of values."""
        return self.values.size

    def __jax_array__(self) -> Array:
        return self.values

    def __array__(
        self, dtype: DType | None = None, copy: bool | None = None
    ) -> np.ndarray:
        array = np.asarray(self.values)
        return array if dtype is None else array.astype(dtype)

    def __array_ufunc__(
        self,
        ufunc: np.ufunc,
        method: str,
        *inputs: Any,
        **options: Any,
    ) -> Any:
        # A traced field cannot become an array of numpy: the function of the same name
        # of jax.numpy is taken.
        if method != "__call__" or options:
            return NotImplemented
        arrays = (x.values if isinstance(x, Field) else x for x in inputs)
        return getattr(jnp, ufunc.__name__)(*arrays)

    def __getitem__(self, index: Any) -> Array:
        return self.values[index]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Array]:
        return iter(self.values)

    def __getattr__(self, name: str) -> Any:
        # Methods of arrays, such as `max` and `sum`. Names with underscores are asked
        # for by Python and JAX themselves, and `values` while a field is made.
        if name.startswith("_") or name == "values":
            raise AttributeError(name)
        return getattr(self.values, name)

    def record(self) -> Record:
        """The field as a header and named arrays. **Raises** `ValueError` if traced."""
        if not is_concrete(self.values, self.error):
            cure = "Save and plot outside of jit, vmap, grad."
            raise_value_error("field", self.name, "its values are traced", cure)
        axes = [
            {"kind": type(a).__name__, "lower": a.lower, "upper": a.upper, "n": a.n}
            for a in self.grid.axes
        ]
        header: dict[str, Any] = {
            "format": "fpsolve",
            "format_version": FORMAT_VERSION,
            "fpsolve": version("fpsolve"),
            "kind": "Field",
            "grid": axes,
            "stats": {"name": self.name},
        }
        arrays = {"values": np.asarray(self.values), "error": np.asarray(self.error)}
        return Record("Field", self.grid, arrays, header)

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with the variables `values` and `error` (extra `io`)."""
        return late("io").to_xarray(self.record())

    def plot(self) -> Any:
        """A matplotlib figure of the values, on a line with errors (extra `plot`)."""
        return late("plot").draw(self.record())

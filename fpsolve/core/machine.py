"""Cost model: how long elementary operations take on this machine. Methods are compared
by these numbers.

There are two kinds of machine, one core of a processor and an accelerator, with one set
of numbers for each kind. This is precise enough, because costs of methods usually
differ by factors of ten and more, and because on an accelerator the time to start a
step dominates. The numbers were measured by `benchmarks/kernels.py` on a processor, and
by the rows `calibrate-*` of `benchmarks/accelerator.py` on an NVIDIA H200; other
accelerators use the same numbers.
"""

import dataclasses

import jax

# The precision of matrix products. With the default an accelerator rounds float32
# factors to 10 bits or fewer.
EXACTLY = jax.lax.Precision.HIGHEST


@dataclasses.dataclass(frozen=True)
class Machine:
    """Times in seconds on the device of the default backend.

    - `start`: start of one product with an operator
    - `operation`: one addition or multiplication in a matrix product
    - `cell`: one cell and axis in a product with a finite-volume operator
    - `tridiagonal`: the solves of `fp.Rational` for one output time: their start, and
      each cell
    - `decomposition`: eigendecomposition of a symmetric n x n matrix: the factors of n
      and of n³
    """

    name: str
    start: float
    operation: float
    cell: float
    tridiagonal: tuple[float, float]
    decomposition: tuple[float, float]


# measured: benchmarks/kernels.py, one core
PROCESSOR = Machine(
    name="one core",
    start=1.0e-6,
    operation=3.3e-11,
    cell=2.2e-9,
    tridiagonal=(0.0, 3.0e-7),
    decomposition=(2.1e-6, 5.5e-10),
)

# measured: benchmarks/accelerator.py, rows calibrate-*, NVIDIA H200
ACCELERATOR = Machine(
    name="the accelerator",
    start=1.2e-5,
    operation=3.4e-14,
    cell=1.0e-11,
    tridiagonal=(9.0e-5, 1.6e-9),
    decomposition=(9.0e-6, 1.5e-12),
)


def on_processor() -> bool:
    """Whether programs are compiled for an ordinary processor, not for an accelerator.

    It is called in Python while a program is traced, so that only the form for this
    kind of machine is compiled.
    """
    return jax.default_backend() == "cpu"


def machine() -> Machine:
    """The cost model of the default backend."""
    return PROCESSOR if on_processor() else ACCELERATOR

"""What a step costs on the machine at hand: the numbers by which methods are compared.

They are of two kinds of machine, one core of a processor and an accelerator, and stand for every machine of the kind:
a choice between methods rests on ratios of ten and more, and on an accelerator mostly on how long it takes to start a
step. Measured by `benchmarks/kernels.py` on a processor and by the rows `calibrate-*` of `benchmarks/accelerator.py` on
an NVIDIA H200; cards of other kinds take the same numbers.
"""

import dataclasses

import jax

EXACTLY = jax.lax.Precision.HIGHEST  # of products of matrices, whose factors an accelerator rounds else in float32


@dataclasses.dataclass(frozen=True)
class Machine:
    """Seconds, on the device of the default backend.

    - `start`: to start one product with an operator; `operation`: one addition or multiplication in a product of
      matrices; `cell`: one cell and axis in a product on finite volumes
    - `chain`: the solves of `fp.Rational` for one time, to start them and for each cell
    - `decomposition`: of a symmetric matrix, for each row and each row cubed
    """

    name: str
    start: float
    operation: float
    cell: float
    chain: tuple[float, float]
    decomposition: tuple[float, float]


PROCESSOR = Machine("one core", 1.0e-6, 3.3e-11, 2.2e-9, (0.0, 3.0e-7), (2.1e-6, 5.5e-10))
ACCELERATOR = Machine("the accelerator", 1.2e-5, 3.4e-14, 1.0e-11, (9.0e-5, 1.6e-9), (9.0e-6, 1.5e-12))


def on_processor() -> bool:
    """Whether programs are compiled for an ordinary processor, not for an accelerator. Asked while a program is traced,
    so that only one form is traced."""
    return jax.default_backend() == "cpu"


def machine() -> Machine:
    """That of the default backend."""
    return PROCESSOR if on_processor() else ACCELERATOR

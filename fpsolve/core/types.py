"""Types of the arguments that users give to public functions, and of numbers that may
be traced.

For a static type checker these names say what is allowed. At run time they are `Any`:
the tests can run with a run-time type checker, and it must not raise its own error
before the public function raises one with a helpful message.
"""

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from jaxtyping import Array

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from jax.typing import DTypeLike

    Real: TypeAlias = float | int
    Count: TypeAlias = int
    Point: TypeAlias = Array | np.ndarray
    AnyArray: TypeAlias = Array | np.ndarray  # of JAX or numpy
    # one number, perhaps traced
    Scalar: TypeAlias = float | int | np.number | np.ndarray | Array
    # such as times
    Numbers: TypeAlias = Scalar | Sequence[Scalar] | Sequence[Sequence[Scalar]]
    Key: TypeAlias = Array  # of a random generator
    # one time: an array or a number of numpy, in a program a traced one
    Time: TypeAlias = Array
    # what goes in comes out: of JAX or of numpy
    SameArray = TypeVar("SameArray", bound=Array | np.ndarray)
    DType: TypeAlias = DTypeLike
    FilePath: TypeAlias = str | os.PathLike[str]
    ArrayModule: TypeAlias = ModuleType  # numpy or jax.numpy
    # a user's function of a point, f(x) or f(x, t), to a number or an array
    Formula: TypeAlias = Callable[..., Any]
    # a function of time alone, to a number, such as a schedule t -> lambda
    Clock: TypeAlias = Callable[..., Any]
    PotentialPath: TypeAlias = Callable[..., Formula]  # lambda -> potential
    # a number, one for each axis, or a function of x
    Diffusion: TypeAlias = Scalar | Sequence[float] | Formula
    # a density or a wave: a function of x, or its values on the grid
    Initial: TypeAlias = Formula | AnyArray
else:
    Real = Count = Point = AnyArray = Scalar = Numbers = Key = DType = FilePath = (
        ArrayModule
    ) = Any
    Formula = Clock = PotentialPath = Diffusion = Initial = Time = SameArray = Any

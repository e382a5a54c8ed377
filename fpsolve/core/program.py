"""Small programs that read users' functions on the places of a grid: compiled quickly, kept by content.

    @sampling_program
    def sample(grid, f): return grid.sample(f)

A call with functions that were read (`content.read_function`) reuses the program of any earlier call with the same
operations: their numbers are arguments. Under a transformation of JAX the function is called as it is. The last
`KEPT` programs are kept; they hold code and no arrays, some 100 kB each.
"""

import contextlib
import functools
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .checks import is_concrete
from .machine import on_processor

KEPT = 256  # programs: a session with so many different formulas at once is not expected (a free choice)

# These programs run once or a few times each, over at most some millions of points: what counts is how soon they are
# compiled. Measured for the quantum potential of a formula on 48 x 48 nodes: 45 ms with these options, 170 without.
QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}

# Programs of shapes are compiled once and run often. Measured for the eigen-solver of `spectrum` on 48 x 48 nodes:
# 2.8 s of a processor to compile with these options, 4.3 s without, and the same time to run (products and
# factorisations are library calls, which the options leave alone).
BALANCED = {
    "xla_backend_optimization_level": 1,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}

ZERO = np.zeros(())

_programs: OrderedDict[Any, Any] = OrderedDict()
_lock = threading.Lock()

F = TypeVar("F", bound=Callable[..., Any])


def full_precision(function: F) -> F:
    """`function` with products of matrices as exact as their factors. JAX lets an accelerator round the factors of a
    product in float32 to 10 bits (TF32 on NVIDIA) or 7 (bfloat16 on TPU), which is an error of some 1e-3 in silence."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            return function(*arguments, **options)

    return call  # type: ignore[return-value]


def compiled(function: F) -> F:
    """`equinox.filter_jit` in full precision."""
    return eqx.filter_jit(full_precision(function))  # type: ignore[return-value]


def sampling_program(function: F) -> F:
    """`function` of pytrees as a compiled program, kept by the content of everything in them that is no array. Under a
    transformation of JAX it is one `jit` inside the others: called as it is, each of its operations would be compiled
    by itself where `grad` or `vmap` stands outermost (measured: 330 programs for the gradient of a gap, 60 so)."""
    jitted = compiled(function)

    def traced(*arguments: Any) -> Any:
        static = jax.tree.leaves(eqx.partition(arguments, _is_array)[1])
        try:
            hash(tuple(static))
        except TypeError:
            return function(*arguments)
        return jitted(*arguments)

    return _kept_program(function, QUICK, traced)


def shape_program(function: F) -> F:
    """The same for a heavy program of arrays and static shapes, which takes no user's function. Under a transformation
    of JAX it is one `jit` inside the others."""
    return _kept_program(function, BALANCED, compiled(function))


def quick_program(function: F) -> F:
    """The same for a light program of shapes, which passes over a field a few times a call: compiled as soon as a
    sampling program."""
    return _kept_program(function, QUICK, compiled(function))


def forget_programs() -> None:
    """Drop all programs that are kept, which frees their memory; a later call compiles anew."""
    with _lock:
        _programs.clear()


def _kept_program(function: F, options: dict[str, Any], traced: Callable[..., Any]) -> F:
    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        arrays, static = eqx.partition(arguments, _is_array)
        if not is_concrete(arrays):
            return traced(*arguments)
        leaves, structure = jax.tree.flatten(static)
        # The arrays' structure tells a missing array from one that was taken out; with the shapes in the key every
        # program has one answer that is no array (its structure, a grid).
        arrays_leaves, arrays_structure = jax.tree.flatten(arrays)
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in arrays_leaves)
        key = (function, structure, tuple(leaves), arrays_structure, shapes, jnp.result_type(float))
        # Inside a user's `jit` too, what is concrete stays so. Only there: it would also compile each constant that the
        # tracing of a program meets (measured: 138 programs for a gap, 11 without).
        with jax.ensure_compile_time_eval() if _is_staged() else contextlib.nullcontext():
            answer, rest = _program(key, function, static, options)(arrays)
        return eqx.combine(answer, rest["static"])

    return call  # type: ignore[return-value]


def _is_staged() -> bool:
    """Whether a `jit` is being traced, so that operations on concrete values are written down and not done."""
    return not is_concrete(jax.device_put(ZERO))


def _is_array(leaf: Any) -> bool:
    """Whether a leaf is an argument of a program, numpy's arrays and scalars included; all else is part of its key."""
    return eqx.is_array(leaf) or isinstance(leaf, np.ndarray | np.generic)


@functools.cache
def _is_known(flag: str, value: Any) -> bool:
    """Whether XLA takes a flag, which is an error where it does not. Looked up for the versions that it was tried with
    (0.10.2 and 0.11.2), and tried with a program of nothing for later ones."""
    if jax.__version_info__ < (0, 12):
        return flag != "xla_cpu_use_fusion_emitters" or jax.__version_info__ < (0, 11)
    try:
        jax.jit(lambda: 0, compiler_options={flag: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def _program(key: Any, function: Callable[..., Any], static: Any, options: dict[str, Any]) -> Any:
    try:
        hash(key)
    except TypeError:
        return _program_of(function, static, options)
    with _lock:
        program = _programs.get(key)
        if program is None:
            program = _programs[key] = _program_of(function, static, options)
            if len(_programs) > KEPT:
                _programs.popitem(last=False)
        else:
            _programs.move_to_end(key)
    return program


def _program_of(
    function: Callable[..., Any], static: Any, options: dict[str, Any]
) -> Callable[[Any], tuple[Any, dict[str, Any]]]:
    """The program, and what of its answer is no array."""
    rest: dict[str, Any] = {}

    @full_precision
    def run(arrays: Any) -> Any:
        answer = function(*eqx.combine(arrays, static))
        arrays, rest["static"] = eqx.partition(answer, eqx.is_array)
        return arrays

    known = {flag: value for flag, value in options.items() if on_processor() and _is_known(flag, value)}
    program = jax.jit(run, compiler_options=known or None)
    return lambda arrays: (program(arrays), rest)

"""Compiled programs that evaluate users' functions on grids, cached by content.

    @sampling_program
    def sample(grid, f): return grid.sample(f)

When is a program compiled? The arguments of a call are split into arrays and everything
else. The key of the cache is (the decorated function, the options of the compiler,
everything else, the shapes and types of the arrays, the precision); a program is
compiled when its key is new, and reused with new arrays otherwise. A user's function
must have been read before (`content.read_function`): its operations then belong to the
key and its numbers to the arrays, so that equal formulas with different numbers share a
program.

When is nothing cached? Under a transformation of JAX (an argument is a tracer) the
function becomes part of the program that is being traced, and JAX itself decides what
is compiled.

The cache holds `CONSTANTS.max_programs` programs; the one used longest ago is dropped
first. They hold code and no arrays, about 100 kB each.
"""

import contextlib
import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeAlias, TypeVar

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .checks import is_concrete
from .constants import CONSTANTS
from .machine import on_processor

# Options of XLA's CPU compiler for programs whose run time is small beside their
# compile time. Measured for the quantum potential of a formula on 48 x 48 nodes: 45 ms
# to compile with these options, 170 ms without. Loops over the elements of an array
# take up to seven times as long to run.
FAST_COMPILE = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}

# Options for programs between these and JAX's own. Products and factorisations are
# library calls, which the options do not affect. Measured for the eigensolver of
# `spectrum` on 48 x 48 nodes: 2.8 s of processor time to compile with these options,
# 4.3 s without, and the same time to run; for a Chebyshev series on 48 x 48 nodes 1.1 s
# to compile, 2.1 s without, and up to 1.8 times as long to run.
BALANCED_COMPILE = {
    "xla_backend_optimization_level": 1,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}

_ZERO = np.zeros(())

Options: TypeAlias = Mapping[str, int]  # of XLA's CPU compiler
# A program takes arrays, and returns the arrays of its answer and, under the name
# "static", the rest of the answer.
Program: TypeAlias = Callable[[PyTree], tuple[PyTree, dict[str, PyTree]]]

_programs: OrderedDict[Hashable, Program] = OrderedDict()
_lock = threading.Lock()

F = TypeVar("F", bound=Callable[..., Any])


def full_precision(function: F) -> F:
    """`function` with matrix products in the full precision of their factors.

    By default JAX lets an accelerator round the factors of a float32 product to 10 bits
    (TF32 on NVIDIA) or 7 bits (bfloat16 on TPU). The error is about 1e-3, and no
    message appears.
    """

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            return function(*arguments, **options)

    return call  # type: ignore[return-value]


def public_function(function: F) -> F:
    """`function` in full precision, and run at once where it depends on nothing traced.

    Under a user's `jit`, `vmap` or `lax` loop every operation becomes part of the
    program that is being traced, also one on values that are known. A call that holds
    no tracer is therefore run by itself, once, while the user's program is traced. Its
    answer is that of the same call outside, to the last bit and with its whole error.
    """

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            if is_concrete(arguments, options):
                try:
                    with jax.core.eval_context():
                        return function(*arguments, **options)
                except (TypeError, ValueError) as error:
                    # A function of the user may close over a tracer, which no argument
                    # shows. Then the call belongs to the program that is being traced.
                    if not _is_of_a_tracer(error):
                        raise
            return function(*arguments, **options)

    return call  # type: ignore[return-value]


def _is_of_a_tracer(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, is that of an operation on a tracer
    outside of its program.
    """
    while error is not None:
        if isinstance(error, jax.errors.UnexpectedTracerError):
            return True
        error = error.__cause__ or error.__context__
    return False


def compiled(function: F) -> F:
    """`equinox.filter_jit` in full precision."""
    return eqx.filter_jit(full_precision(function))  # type: ignore[return-value]


def sampling_program(function: F) -> F:
    """Decorate a function that evaluates users' functions: compiled quickly, cached.

    All arguments are pytrees; their static parts are compared by content. Under a
    transformation of JAX the function is called inside one `jit`. Without it, `grad` or
    `vmap` on the outside would compile each operation on its own (measured: 330
    programs for the gradient of a gap, 60 with it).
    """
    jitted = compiled(function)

    def traced(*arguments: PyTree) -> PyTree:
        static = jax.tree.leaves(eqx.partition(arguments, _is_array)[1])
        try:
            hash(tuple(static))
        except TypeError:  # `jit` needs a hashable static part
            return function(*arguments)
        return jitted(*arguments)

    return _cached_program(function, FAST_COMPILE, traced)


def shape_program(function: F) -> F:
    """Decorate a heavy function of arrays and static shapes, which takes no user's
    function.

    It is compiled quickly where no argument has more than `CONSTANTS.quick_elements`
    elements, and for speed otherwise. Under a transformation of JAX it is one `jit`
    inside the others.
    """
    traced = compiled(function)
    quickly = _cached_program(function, FAST_COMPILE, traced)
    for_speed = _cached_program(function, BALANCED_COMPILE, traced)

    @functools.wraps(function)
    def call(*arguments: PyTree) -> PyTree:
        sizes = (leaf.size for leaf in jax.tree.leaves(arguments) if _is_array(leaf))
        if max(sizes, default=0) <= CONSTANTS.quick_elements:
            return quickly(*arguments)
        return for_speed(*arguments)

    return call  # type: ignore[return-value]


def long_program(function: F) -> F:
    """`shape_program` for a function that repeats its work many times: compiled for
    speed at every size.
    """
    return _cached_program(function, BALANCED_COMPILE, compiled(function))


def run_program(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a heavy function of arrays and static shapes whose caller estimates how
    long it runs.

    It is called with one argument more, `seconds`, the estimated time of a run,
    infinite where it is not known: the longer that is, the more time is spent on
    compilation. Under a transformation of JAX it is one `jit` inside the others.
    """
    traced = compiled(function)
    quickly = _cached_program(function, FAST_COMPILE, traced)
    balanced = _cached_program(function, BALANCED_COMPILE, traced)
    for_speed = _cached_program(function, {}, traced)

    @functools.wraps(function)
    def call(*arguments: PyTree, seconds: float) -> PyTree:
        if seconds <= CONSTANTS.quick_seconds:
            return quickly(*arguments)
        if seconds <= CONSTANTS.balanced_seconds:
            return balanced(*arguments)
        return for_speed(*arguments)

    return call


def quick_program(function: F) -> F:
    """Decorate a light function of arrays and static shapes, which makes a few passes
    over a field: compiled quickly.

    Under a transformation of JAX it is one `jit` inside the others.
    """
    return _cached_program(function, FAST_COMPILE, compiled(function))


def forget_programs() -> None:
    """Drop all cached programs, which frees their memory. Later calls compile again."""
    with _lock:
        _programs.clear()


def _cached_program(function: F, options: Options, traced: Callable[..., Any]) -> F:
    """`function` compiled with `options` where all arrays are concrete, and `traced`
    where one is a tracer.
    """

    @functools.wraps(function)
    def call(*arguments: PyTree) -> PyTree:
        arrays, static = eqx.partition(arguments, _is_array)
        if not is_concrete(arrays):
            return traced(*arguments)
        static_leaves, static_structure = jax.tree.flatten(static)
        # The structure of the arrays distinguishes a missing array (None) from one that
        # was partitioned out. The shapes are in the key because the static part of an
        # answer may depend on them: each program has one such part.
        array_leaves, array_structure = jax.tree.flatten(arrays)
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in array_leaves)
        key = (
            function,
            tuple(options.items()),
            static_structure,
            tuple(static_leaves),
            array_structure,
            shapes,
            jnp.result_type(float),
        )
        # Inside a user's `jit`, operations on concrete values would be staged; this
        # context runs them at once. It is entered only there, since it would also
        # compile every constant that the tracing of a program meets (measured: 138
        # programs for a gap, 11 without).
        with (
            jax.ensure_compile_time_eval() if _is_staged() else contextlib.nullcontext()
        ):
            answer, rest = _lookup(key, function, static, options)(arrays)
        return eqx.combine(answer, rest["static"])

    return call  # type: ignore[return-value]


def _is_staged() -> bool:
    """Whether a `jit` is being traced, so that operations on concrete values are
    recorded and not executed.
    """
    return not is_concrete(jax.device_put(_ZERO))


def _is_array(leaf: object) -> bool:
    """Whether a leaf is an argument of a program: an array, or a numpy scalar.

    All other leaves are part of its key.
    """
    return eqx.is_array(leaf) or isinstance(leaf, np.ndarray | np.generic)


@functools.cache
def _is_known(flag: str, value: int | bool) -> bool:
    """Whether XLA accepts a flag; it raises an error for an unknown one.

    The answer is known for the versions that were tested (0.10.2 and 0.11.2). For later
    versions an empty program is compiled with the flag.
    """
    if jax.__version_info__ < (0, 12):
        return flag != "xla_cpu_use_fusion_emitters" or jax.__version_info__ < (0, 11)
    try:
        jax.jit(lambda: 0, compiler_options={flag: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def _lookup(
    key: Hashable, function: Callable[..., Any], static: PyTree, options: Options
) -> Program:
    """The program of this key from the cache, or a new one."""
    # Without a hash, as for a function that was not read and holds a list, the program
    # is compiled and not kept.
    try:
        hash(key)
    except TypeError:
        return _new_program(function, static, options)
    # Only the creation is under the lock; the compilation happens at the first call of
    # the program.
    with _lock:
        program = _programs.get(key)
        if program is None:
            program = _programs[key] = _new_program(function, static, options)
            if len(_programs) > CONSTANTS.max_programs:
                _programs.popitem(last=False)
        else:
            _programs.move_to_end(key)
    return program


def _new_program(
    function: Callable[..., Any], static: PyTree, options: Options
) -> Program:
    """A jitted program of the arrays alone; it returns the arrays of its answer, and
    the static part of the answer.
    """
    rest: dict[str, PyTree] = {}

    @full_precision
    def run(arrays: PyTree) -> PyTree:
        answer = function(*eqx.combine(arrays, static))
        # A compiled program returns arrays only. The static part is stored at the first
        # call, while `run` is traced.
        arrays, rest["static"] = eqx.partition(answer, eqx.is_array)
        return arrays

    # Profiles and logs of compilation show this name.
    run.__name__ = function.__name__
    # The options are flags of the CPU compiler; other compilers do not know them.
    known = {
        flag: value
        for flag, value in options.items()
        if on_processor() and _is_known(flag, value)
    }
    program = jax.jit(run, compiler_options=known or None)
    return lambda arrays: (program(arrays), rest)

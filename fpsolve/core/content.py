"""Reading a user's function: its jaxpr, traced at every call and compared by content.

A function may depend on more than its arguments: on a global, a closure, an attribute,
or an array that was changed in place. A cache that is keyed by the identity of the
function misses such changes and returns stale numbers. fpsolve therefore *reads* every
user function at the start of every public call: `read_function` traces it with
`jax.make_jaxpr`, without computing anything, and splits what it finds into two parts,

    f  ->  operations (static, compared by content)  +  constants (array leaves)

The operations are the key of compiled programs (`core.program`); the constants are
arguments of these programs. Two functions with the same operations therefore share
every compiled program, whatever their numbers are, and a change of anything that the
function depends on is always seen. Functions are never compared by identity.

What is traced: every call of a public function traces each user function once (about a
millisecond for a formula). What is compiled: a program is compiled only when its
operations, or the shapes of its arguments, are new.
"""

from collections.abc import Callable, Hashable
from typing import Any

import equinox as eqx
import jax
import jax.core
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from .checks import is_concrete
from .types import AnyArray, Formula, Point


class Operations:
    """The operations of a jaxpr, without its constants. It is hashable; two are equal
    only if they compute the same.

    `jaxpr` is what is evaluated; `structure` is the pytree structure of the result;
    `key` is the content of the jaxpr as a hashable tree (`_key_of_jaxpr`).
    """

    def __init__(self, jaxpr: jex.Jaxpr, structure: Hashable, key: Hashable):
        self.jaxpr = jaxpr
        self.structure = structure
        self._key = (key, structure)
        # Keys are deep tuples, and a cache hashes them at each lookup: the hash is
        # computed once.
        self._hash = hash(self._key)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Operations)
            and self._hash == other._hash
            and self._key == other._key
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Operations({len(self.jaxpr.eqns)})"


class ReadFunction(eqx.Module):
    """A function that was read: a pytree of its constants, callable with arguments of
    the shapes it was read with.
    """

    constants: tuple[AnyArray, ...]
    operations: Operations = eqx.field(static=True)

    def __call__(self, *arguments: AnyArray) -> Any:
        """The function's value. All transformations of JAX apply to it."""
        # `eval_jaxpr` applies the operations one by one; under `jit` they become part
        # of the surrounding program.
        values = jax.core.eval_jaxpr(
            self.operations.jaxpr, self.constants, *jax.tree.leaves(arguments)
        )
        # A jaxpr returns a constant result as a literal, which is a Python or numpy
        # scalar: make it an array.
        arrays = [jnp.asarray(value) for value in values]
        return jax.tree.unflatten(self.operations.structure, arrays)

    def uses(self, argument: int) -> bool:
        """Whether the value depends on the argument of this number. Each argument must
        be one array.
        """
        jaxpr = self.operations.jaxpr
        variable = jaxpr.invars[argument]
        used = [atom for equation in jaxpr.eqns for atom in equation.invars]
        return any(atom is variable for atom in (*used, *jaxpr.outvars))


def read_function(
    function: Callable[..., Any], *example: AnyArray | jax.ShapeDtypeStruct
) -> ReadFunction:
    """Trace `function` as it is now, with arguments of the shapes of `example`.

    **Arguments**: `example`, arrays. **Returns** a `ReadFunction`. Its leaves are all
    arrays that `function` uses besides its arguments, traced or not, and its
    floating-point literals. **Cost**: one tracing, about a millisecond for a formula.
    """

    # JAX caches traces by the identity, or the equality, of a function, and would
    # return the old trace of a function whose global or attribute has changed. This
    # wrapper is a new object at each call, so JAX traces it again.
    def fresh(*arguments: Array) -> PyTree:
        return function(*arguments)

    closed, shape = jax.make_jaxpr(fresh, return_shape=True)(*example)
    constants = [
        value if isinstance(value, jax.core.Tracer | jax.Array) else np.asarray(value)
        for value in closed.consts
    ]
    jaxpr = closed.jaxpr
    # Literals become constants, so that `lambda x: 2.0 * x` and `lambda x: 3.0 * x`
    # share a program. Under a transformation of JAX they stay: the surrounding program
    # is compiled with these literals in any case.
    if is_concrete(constants):
        jaxpr, numbers = _without_literals(jaxpr)
        constants = [*constants, *numbers]
    # A function with a derivative rule of its own needs another key, since its jaxpr
    # does not contain the rule.
    try:
        key = _key_of_jaxpr(jaxpr, follow_rules=False)
    except _DerivativeRule:
        key = _key_with_derivatives(function, example)
    operations = Operations(jaxpr, jax.tree.structure(shape), key)
    return ReadFunction(tuple(constants), operations)


def _without_literals(jaxpr: jex.Jaxpr) -> tuple[jex.Jaxpr, list[np.ndarray]]:
    """The same jaxpr with its floating-point scalars as additional constants, and the
    values of these scalars.

    Integers, and literals inside a loop or an inner call, stay where they are.
    """

    def is_number(atom: jex.Var | jex.Literal) -> bool:
        if not isinstance(atom, jex.Literal) or np.ndim(atom.val):
            return False
        return jnp.issubdtype(np.asarray(atom.val).dtype, jnp.floating)

    atoms: list[Any] = [atom for equation in jaxpr.eqns for atom in equation.invars]
    numbers = [
        np.asarray(atom.val, atom.aval.dtype) for atom in atoms if is_number(atom)
    ]
    if not numbers:
        return jaxpr, numbers
    # A jaxpr of the identity provides new variables of the right types.
    identity = jax.make_jaxpr(lambda *values: values)(*numbers)
    variables = iter(identity.jaxpr.invars)
    # Replace each literal by a variable, in the same order as in `numbers`.
    added = []
    equations = []
    for equation in jaxpr.eqns:
        inputs = []
        for atom in equation.invars:
            if is_number(atom):
                atom = next(variables)
                added.append(atom)
            inputs.append(atom)
        equations.append(equation.replace(invars=inputs))
    constants = [*jaxpr.constvars, *added]
    return jaxpr.replace(constvars=constants, eqns=equations), numbers


class _DerivativeRule(Exception):
    """Raised for a function with a derivative rule of its own, which a jaxpr holds as
    an opaque object.
    """


def _key_with_derivatives(
    function: Callable[..., Any], example: tuple[AnyArray | jax.ShapeDtypeStruct, ...]
) -> Hashable:
    """The key of a function with a custom derivative rule: the content of its value and
    first two derivatives.

    Two functions may have equal values and different rules, and the rules cannot be
    compared. Tracing the derivatives runs the rules, so that the jaxpr of the second
    derivative contains what they compute.
    """

    def first_derivative(*arguments: Array) -> PyTree:
        ones = tuple(jnp.ones_like(a) for a in arguments)
        return jax.jvp(function, arguments, ones)

    def second_derivative(*arguments: Array) -> PyTree:
        ones = tuple(jnp.ones_like(a) for a in arguments)
        return jax.jvp(first_derivative, arguments, ones)

    try:
        jaxpr = jax.make_jaxpr(second_derivative)(*example).jaxpr
    except TypeError:
        # The rule is for reverse mode only. The key equals no other key, so the
        # function is never found in a cache.
        return object()
    return _key_of_jaxpr(jaxpr, follow_rules=True)


def _key_of_jaxpr(jaxpr: jex.Jaxpr, follow_rules: bool) -> Hashable:
    """A hashable tree that two jaxprs share only if they compute the same.

    Variables are numbered in the order in which they appear, since their identity
    differs between two tracings. `follow_rules` says what to do with a function that
    has a derivative rule: compare its value only (True), or raise `_DerivativeRule`
    (False).
    """
    numbers: dict[jex.Var | jex.Literal, int] = {}

    def number(variable: jex.Var | jex.Literal) -> int:
        return numbers.setdefault(variable, len(numbers))

    def atom_key(atom: jex.Var | jex.Literal) -> Hashable:
        if not isinstance(atom, jex.Literal):
            return number(atom)
        return _key_of_value(atom.val, follow_rules), str(atom.aval)

    variables = (*jaxpr.constvars, *jaxpr.invars)
    inputs = tuple((number(v), str(v.aval)) for v in variables)
    rows = []
    for equation in jaxpr.eqns:
        primitive = equation.primitive.name
        parameters = equation.params
        if primitive in ("custom_jvp_call", "custom_vjp_call"):
            if not follow_rules:
                raise _DerivativeRule
            # The other parameters are the rule itself, a function that can be compared
            # by identity only.
            parameters = {"call_jaxpr": parameters["call_jaxpr"]}
        elif primitive in ("jit", "pjit"):
            # The other parameters (name, donation, sharding) do not change what is
            # computed here.
            parameters = {"jaxpr": parameters["jaxpr"]}
        # The inputs before the outputs: the order decides the numbers of the variables.
        operands = tuple(atom_key(atom) for atom in equation.invars)
        parameter_keys = tuple(
            (k, _key_of_value(v, follow_rules)) for k, v in sorted(parameters.items())
        )
        results = tuple(number(v) for v in equation.outvars)
        rows.append((equation.primitive, operands, parameter_keys, results))
    return inputs, tuple(rows), tuple(atom_key(atom) for atom in jaxpr.outvars)


def _key_of_value(value: object, follow_rules: bool) -> Hashable:
    """The key of a parameter of an operation, or of a constant inside one.

    A value that cannot be compared gets the key `object()`, which equals no other key:
    this costs a compilation, and never returns a wrong program.
    """
    if isinstance(value, jex.ClosedJaxpr):
        constants = _key_of_value(tuple(value.consts), follow_rules)
        return _key_of_jaxpr(value.jaxpr, follow_rules), constants
    if isinstance(value, jex.Jaxpr):
        return _key_of_jaxpr(value, follow_rules)
    if isinstance(value, tuple | list):
        return tuple(_key_of_value(item, follow_rules) for item in value)
    if isinstance(value, dict):
        return tuple((k, _key_of_value(v, follow_rules)) for k, v in value.items())
    if isinstance(value, jax.core.Tracer):
        return object()
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        array = np.asarray(value)
        return array.dtype.str, array.shape, array.tobytes()
    # Types, axes, shapes, names of dimensions and the like.
    try:
        hash(value)
    except TypeError:
        return object()
    # The type belongs to the key because 1 == 1.0 == True.
    return type(value), value


def is_plain(tree: PyTree) -> bool:
    """Whether a function is a module of fpsolve with nothing but numbers inside.

    Such a function need not be read: all that it depends on are its leaves and its
    static fields.
    """
    if tree is None or eqx.is_array(tree) or isinstance(tree, jax.core.Tracer):
        return True
    if isinstance(tree, bool | int | float | complex | str | Operations):
        return True
    if isinstance(tree, tuple | list):
        return all(is_plain(item) for item in tree)
    if isinstance(tree, dict):
        return all(is_plain(item) for item in tree.values())
    # The class of a user may use globals in its methods; the classes of fpsolve do not.
    if not type(tree).__module__.startswith("fpsolve."):
        return False
    if isinstance(tree, eqx.Module):
        names = (name for name in tree.__dataclass_fields__ if hasattr(tree, name))
        return all(is_plain(getattr(tree, name)) for name in names)
    return False


def read_at(function: Formula, ndim: int) -> Formula:
    """Read a function of one point x `(ndim,)`; a plain module of fpsolve is returned
    as it is.
    """
    if is_plain(function):
        return function

    def value(x: Array) -> Array:
        return jnp.asarray(function(x))

    # The point decides the precision only: nothing is computed.
    example = np.zeros(ndim, jnp.result_type(float))
    return PointFunction(read_function(value, example))


class PointFunction(eqx.Module):
    """A function of one point that was read. It converts the point to the precision
    that it was read with.
    """

    read: ReadFunction

    def __call__(self, x: Point) -> Array:
        """The value at x."""
        return self.read(jnp.asarray(x, dtype=jnp.result_type(float)))

"""A user's function as its jaxpr: read at every call, compared by content.

A function may depend on more than its arguments: a global, a closure, an attribute, an array that was changed in
place. `read_function` traces it and keeps what it read: the operations, and the numbers apart from them,

    f  ->  operations (static, compared by content)  +  constants (array leaves)

Two readings with the same operations share every compiled program, whatever their numbers. No function is ever
compared by identity, so a change of anything that it reads is seen.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.core
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .checks import is_concrete


class Operations:
    """The operations of a jaxpr, without its constants. Hashable; equal if they compute the same."""

    def __init__(self, jaxpr: Any, structure: Any, key: Any):
        self.jaxpr = jaxpr
        self.structure = structure  # of what the function returns
        self._key = (key, structure)
        self._hash = hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Operations) and self._hash == other._hash and self._key == other._key

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Operations({len(self.jaxpr.eqns)})"


class ReadFunction(eqx.Module):
    """What `read_function` returns: callable as the function was, with the shapes that it was read with."""

    constants: tuple[Any, ...]
    operations: Operations = eqx.field(static=True)

    def __call__(self, *arguments: Any) -> Any:
        """The function's value; every transformation of JAX goes through."""
        values = jax.core.eval_jaxpr(self.operations.jaxpr, self.constants, *jax.tree.leaves(arguments))
        # A constant comes out of a jaxpr as a literal, which is no array.
        return jax.tree.unflatten(self.operations.structure, [jnp.asarray(value) for value in values])

    def uses(self, argument: int) -> bool:
        """Whether the value depends on the argument of this number; each argument is one array."""
        jaxpr = self.operations.jaxpr
        variable = jaxpr.invars[argument]
        read = [atom for equation in jaxpr.eqns for atom in equation.invars]
        return any(atom is variable for atom in (*read, *jaxpr.outvars))


def read_function(function: Callable[..., Any], *example: Any) -> ReadFunction:
    """`function` as it is now, read with arguments of the shapes and types of `example`.

    **Arguments**: `example`, arrays. **Returns** a `ReadFunction`, whose leaves are all arrays that `function` reads
    beside its arguments, traced or not, and its floating-point literals. **Cost**: one tracing, about a millisecond
    for a formula.
    """
    # A new lambda each time: JAX remembers what it traced by the identity, or the equality, of a function.
    closed, shape = jax.make_jaxpr(lambda *arguments: function(*arguments), return_shape=True)(*example)
    constants = [
        value if isinstance(value, jax.core.Tracer | jax.Array) else np.asarray(value) for value in closed.consts
    ]
    jaxpr = closed.jaxpr
    # Under a transformation the literals stay: the program around them is compiled with them anyway.
    if is_concrete(constants):
        jaxpr, numbers = _without_literals(jaxpr)
        constants = [*constants, *numbers]
    try:
        key = _key_of_jaxpr(jaxpr, follow_rules=False)
    except _DerivativeRule:
        key = _key_with_derivatives(function, example)
    return ReadFunction(tuple(constants), Operations(jaxpr, jax.tree.structure(shape), key))


def _without_literals(jaxpr: Any) -> tuple[Any, list[np.ndarray]]:
    """The same jaxpr with its floating-point scalars as constants (those in a loop or a call inside it stay)."""

    def is_number(atom: Any) -> bool:
        if not isinstance(atom, jex.Literal) or np.ndim(atom.val):
            return False
        return jnp.issubdtype(np.asarray(atom.val).dtype, jnp.floating)

    numbers = [
        np.asarray(atom.val, atom.aval.dtype) for equation in jaxpr.eqns for atom in equation.invars if is_number(atom)
    ]
    if not numbers:
        return jaxpr, numbers
    variables = iter(jax.make_jaxpr(lambda *values: values)(*numbers).jaxpr.invars)
    added, equations = [], []
    for equation in jaxpr.eqns:
        inputs = [next(variables) if is_number(atom) else atom for atom in equation.invars]
        added += [new for new, old in zip(inputs, equation.invars, strict=True) if new is not old]
        equations.append(equation.replace(invars=inputs))
    return jaxpr.replace(constvars=[*jaxpr.constvars, *added], eqns=equations), numbers


class _DerivativeRule(Exception):
    """A function carries a derivative rule of its own, which a jaxpr holds as an opaque object."""


def _key_with_derivatives(function: Callable[..., Any], example: Any) -> Any:
    """The key of a function with derivative rules: the content of its first two derivatives, which the rules yield."""

    def twice(*arguments: Any) -> Any:
        once = lambda *inner: jax.jvp(function, inner, tuple(jnp.ones_like(a) for a in inner))
        return jax.jvp(once, arguments, tuple(jnp.ones_like(a) for a in arguments))

    try:
        jaxpr = jax.make_jaxpr(twice)(*example).jaxpr
    except TypeError:  # a rule for reverse mode only: such a function is like no other, not even itself read again
        return object()
    return _key_of_jaxpr(jaxpr, follow_rules=True)


def _key_of_jaxpr(jaxpr: Any, follow_rules: bool) -> Any:
    """A hashable tree that two jaxprs share only if they compute the same."""
    names: dict[Any, int] = {}

    def name(variable: Any) -> int:
        return names.setdefault(variable, len(names))

    def atom_key(atom: Any) -> Any:
        if not isinstance(atom, jex.Literal):
            return name(atom)
        return _key_of_value(atom.val, follow_rules), str(atom.aval)

    inputs = tuple((name(v), str(v.aval)) for v in (*jaxpr.constvars, *jaxpr.invars))
    rows = []
    for equation in jaxpr.eqns:
        primitive = equation.primitive.name
        parameters = equation.params
        if primitive in ("custom_jvp_call", "custom_vjp_call"):
            if not follow_rules:
                raise _DerivativeRule
            parameters = {"call_jaxpr": parameters["call_jaxpr"]}
        elif primitive in ("jit", "pjit"):
            parameters = {"jaxpr": parameters["jaxpr"]}
        rows.append(
            (
                equation.primitive,
                tuple(atom_key(atom) for atom in equation.invars),
                tuple((k, _key_of_value(v, follow_rules)) for k, v in sorted(parameters.items())),
                tuple(name(v) for v in equation.outvars),
            )
        )
    return inputs, tuple(rows), tuple(atom_key(atom) for atom in jaxpr.outvars)


def _key_of_value(value: Any, follow_rules: bool) -> Any:
    """The key of a parameter of an operation, or of a constant inside one."""
    if isinstance(value, jex.ClosedJaxpr):
        constants = tuple(_key_of_value(constant, follow_rules) for constant in value.consts)
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
    try:
        hash(value)
    except TypeError:
        return object()  # equal to nothing else
    return type(value), value


def is_plain(tree: Any) -> bool:
    """Whether a function is one of the library's own modules with nothing but numbers inside, which need no reading:
    all that it depends on are its leaves."""
    if tree is None or isinstance(tree, bool | int | float | complex | str | Operations) or eqx.is_array(tree):
        return True
    if isinstance(tree, jax.core.Tracer):
        return True
    if isinstance(tree, tuple | list):
        return all(is_plain(item) for item in tree)
    if isinstance(tree, dict):
        return all(is_plain(item) for item in tree.values())
    if not type(tree).__module__.startswith("fpsolve."):
        return False
    if isinstance(tree, eqx.Module):
        return all(is_plain(getattr(tree, name)) for name in tree.__dataclass_fields__ if hasattr(tree, name))
    return False


def read_at(function: Callable[[Array], Any], ndim: int) -> Any:
    """A function of one point x `(ndim,)`, as it is now."""
    if is_plain(function):
        return function
    inner = read_function(lambda x: jnp.asarray(function(x)), np.zeros(ndim, jnp.result_type(float)))
    return PointFunction(inner)


class PointFunction(eqx.Module):
    """A function of one point that was read."""

    read: ReadFunction

    def __call__(self, x: Any) -> Array:
        """The value at x."""
        return self.read(jnp.asarray(x, dtype=jnp.result_type(float)))
